//! `palimpsest evaluate`: judge a reconstruction against the training images and against nulls.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_datasets::InputShape;
use palimpsest_metrics::calibration::{
    CandidateTruth, PrecisionAt, Verdict, calibration, candidate_truth, precision_at,
};
use palimpsest_metrics::distance::{distance_table, judge_rows};
use palimpsest_metrics::judge::pool::{Contestants, Measure};
use palimpsest_metrics::judge::span::{Fit, TruthFit, fit_of_truth, project, shares_kept};
use palimpsest_metrics::judge::{Evidence, Judgement, evaluate as judge_all};
use palimpsest_metrics::null_model::{NullModel, class_means, random_noise, typical_norm, weight_rows};
use palimpsest_metrics::score::Protocol;
use palimpsest_metrics::table::{RowKind, judge, score_table, thresholds};
use palimpsest_metrics::{CandidateImages, ImageShape, TargetImages};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use palimpsest_report::{ConfidenceKind, render_score_table, render_text_table};
use palimpsest_runs::files;

use super::data::{DataArgs, VictimData};
use super::score::{DataRecord, DistanceScore, Limit, Match, RankingScore, ScoreFile};
use super::section::judge_section;
use crate::attacking::found::Found;
use crate::terminal::{lock_folder, output};

/// Judge a reconstruction against the training images and against nulls.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest evaluate --reconstruction runs/attack --data fashion-mnist --task odd-even --n 100 --out runs/judged
  palimpsest evaluate --reconstruction runs/attack --data cifar10 --data-dir data/cifar10 --task animals-vehicles --n 500 --out runs/judged

Writes score.json, prints the table, and what the training inputs themselves would count in the attack's directions. Where the attack tells the mean image, its pictures are shown with that, and what they count with the training mean is printed, too. --data, --task, --n and --subtract must be those of the victim's training.")]
pub struct EvaluateArgs {
    /// Folder that `reconstruct` wrote.
    #[arg(long, value_name = "DIR")]
    pub reconstruction: PathBuf,
    /// The data the victim was trained on.
    #[command(flatten)]
    pub data: DataArgs,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Seed of the judge's noise and bootstrap.
const JUDGE_SEED: u64 = 0;

/// Carries out `palimpsest evaluate`.
///
/// # Errors
/// Files that cannot be read or do not fit together; [`Misuse`](crate::terminal::Misuse) for data that cannot be had.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let data = VictimData::load(&args.data)?;
    let score = evaluate(args, &data)?;
    print(&score);
    output::line(&format!("wrote {}", output::absolute(&args.out.join("score.json")).display()));
    output::event(
        "result",
        &serde_json::json!({ "command": "evaluate", "out": output::absolute(&args.out), "table": score.table }),
    );
    Ok(())
}

/// Judges the reconstruction that `args` name and writes `score.json`.
pub fn evaluate(args: &EvaluateArgs, data: &VictimData) -> Result<ScoreFile> {
    let found = Found::read(&args.reconstruction)?;
    let Found { run, candidates, network, .. } = &found;
    check_width(candidates, data)?;
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let shape = image_shape(data.shape);
    let seed = Seed::new(JUDGE_SEED).named("judge");

    let as_shown = shown(&found, data, candidates.view());
    let attack = CandidateImages::new(candidates.view(), as_shown.view(), shape)?;
    let (training, held_out) = targets(data)?;
    let means = class_means(data.centered.view(), &data.labels())?;
    let rows = weight_rows(network.layers()[0].weight.view(), typical_norm(candidates.view()));
    let deviation = (reduce::squared_norm(candidates.view()) / candidates.len() as f64).sqrt();
    let noise = random_noise(candidates.nrows(), candidates.ncols(), deviation, &seed.named("noise"));
    // Each null as it is compared (centred) and as it is shown (mean restored).
    let restored = |centered: &Array2<f32>| data.scaling.restore(centered.view());
    let (shown_means, shown_rows, shown_noise) = (restored(&means), restored(&rows), restored(&noise));
    let kept = InSpan::of(&found, data, parallelism)?;
    let in_span =
        kept.as_ref().map(|kept| CandidateImages::new(kept.centered.view(), kept.restored.view(), shape));
    let in_span = in_span.transpose()?;
    let pool = Contestants {
        attack,
        training,
        held_out,
        class_means: CandidateImages::new(means.view(), shown_means.view(), shape)?,
        weight_rows: CandidateImages::new(rows.view(), shown_rows.view(), shape)?,
        noise: CandidateImages::new(noise.view(), shown_noise.view(), shape)?,
        in_span,
    };
    let models = [
        NullModel::HeldOut(pool.held_out),
        NullModel::ClassMeans(pool.class_means),
        NullModel::WeightRows(pool.weight_rows),
        NullModel::RandomNoise(pool.noise),
    ];
    // The ranking names one candidate for each distinct input: those alone are claims.
    let claims = candidates.select(Axis(0), &run.ranking);
    let shown_claims = shown(&found, data, claims.view());
    let claims = CandidateImages::new(claims.view(), shown_claims.view(), shape)?;
    let (kind, confidence) = found.claimed(data.input_kind());
    let claimed: Vec<f64> = run.ranking.iter().map(|&j| f64::from(confidence[j])).collect();
    let probabilities = (kind == ConfidenceKind::Probability).then_some(claimed.as_slice());
    let protocol = Protocol::published(shape);
    let evidence = Evidence { pool, list: claims, probabilities };
    let (judgement, scored) = judge_all(&evidence, &protocol, parallelism)?;
    let table = score_table(&scored, &protocol, &seed.named("bootstrap"))?;
    let as_published = found.mean_image.as_ref().map(|_| restored(candidates));
    let with_training_mean = as_published
        .as_ref()
        .map(|restored| {
            let attack = CandidateImages::new(candidates.view(), restored.view(), shape)?;
            let scored = judge(attack, training, &models, &protocol, parallelism)?;
            score_table(&scored, &protocol, &seed.named("bootstrap"))
        })
        .transpose()?;
    let directions = kept.as_ref().map_or(0, |kept| kept.directions);
    let limit = in_span
        .map(|perfect| limit(perfect, directions, (training, held_out), &protocol, &seed, parallelism))
        .transpose()?;
    let distances = if shape.is_vector() {
        let rows = judge_rows(attack, training, &models)?;
        let table = distance_table(&rows, &seed.named("bootstrap"))?;
        Some(DistanceScore { table, nearest: rows[0].nearest.clone() })
    } else {
        None
    };
    let nearest = &scored[0].nearest;
    let matches = (0..args.data.n)
        .map(|i| Match {
            candidate: nearest.matching.candidate[i],
            ncc: nearest.matching.ncc[i],
            ssim: nearest.ssim.as_ref().map(|s| s[i]),
        })
        .collect();
    let limits = thresholds(&scored)?;
    let in_order: Vec<usize> = (0..run.ranking.len()).collect();
    let truth = candidate_truth(claims, training, &protocol, &limits, &in_order, parallelism)?;
    let score = ScoreFile {
        reconstruction: output::absolute(&args.reconstruction),
        data: DataRecord {
            data: args.data.data.to_string(),
            data_dir: args.data.data_dir.as_deref().map(output::absolute),
            task: args.data.task.to_string(),
            n: args.data.n,
            counts: args.data.counts.as_ref().map(ToString::to_string),
            block: args.data.block.map(|block| block.to_string()),
            held_out: data.held_out.rows.len(),
            subtract: args.data.subtract,
        },
        ranking: judge_ranking(&run.ranking, &truth, confidence)?,
        judgement: Some(judgement),
        truth: kept.map(|kept| kept.fit),
        table,
        with_training_mean,
        distances,
        limit,
        matches,
        seed: JUDGE_SEED,
    };
    files::write_json(&args.out.join("score.json"), &score)?;
    Ok(score)
}

/// Candidates (m, d) of an attack in the units of the raw inputs: with the mean image that the attack tells, or else with what the judge
/// knows was taken from them.
pub fn shown(found: &Found, data: &VictimData, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
    match &found.mean_image {
        Some(mean) => &candidates + mean,
        None => data.scaling.restore(candidates),
    }
}

/// The training and the held-out images.
fn targets(data: &VictimData) -> Result<(TargetImages<'_>, TargetImages<'_>)> {
    let shape = image_shape(data.shape);
    Ok((
        TargetImages::new(data.centered.view(), data.train.dataset.inputs(), shape)?,
        TargetImages::new(data.held_out_centered.view(), data.held_out.dataset.inputs(), shape)?,
    ))
}

/// The training images as far as the directions of an attack keep them.
struct InSpan {
    directions: usize,
    centered: Array2<f32>,
    restored: Array2<f32>,
    fit: Fit,
}

impl InSpan {
    /// None for an attack on all inputs.
    fn of(found: &Found, data: &VictimData, parallelism: Parallelism) -> Result<Option<Self>> {
        let Some(basis) = found.span(parallelism)? else { return Ok(None) };
        let mut centered = project(data.centered.view(), basis.view(), parallelism);
        let mut restored = data.scaling.restore(centered.view());
        if found.mean_image.is_some() {
            // An attack that knows raw images keeps them in the range of inputs.
            let raw = data.train.dataset.inputs();
            let (low, high) =
                raw.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
            restored.mapv_inplace(|v| v.clamp(low, high));
            centered = data.scaling.apply(restored.view());
        }
        let shares = |inputs: &Array2<f32>| shares_kept(inputs.view(), basis.view(), parallelism);
        let fit = fit_of_truth(&shares(&data.centered), &shares(&data.held_out_centered));
        Ok(Some(Self { directions: basis.nrows(), centered, restored, fit }))
    }
}

/// What finding every training image as far as the directions hold it would count.
fn limit<'a>(
    perfect: CandidateImages<'a>,
    directions: usize,
    (training, held_out): (TargetImages<'a>, TargetImages<'a>),
    protocol: &Protocol,
    seed: &Seed,
    parallelism: Parallelism,
) -> Result<Limit> {
    let rows = judge(perfect, training, &[NullModel::HeldOut(held_out)], protocol, parallelism)?;
    let table = score_table(&rows, protocol, &seed.named("limit"))?;
    Ok(Limit { directions, table })
}

/// Prints the first headline, the counts beside their nulls, and what was called sure.
fn print_judgement(judgement: &Judgement) {
    let Judgement { legible, legible_held_out, pool, reliability, .. } = judgement;
    output::line(&format!(
        "legible: {} of {} training images among the first {} of the list (NCC above 0.9; {} with the sign left open; \
         {} of the images are negatives); of held-out images {legible_held_out}",
        legible.legible, legible.n, legible.ranked, legible.up_to_sign, legible.negatives
    ));
    let header = [
        "over the pool, one-to-one",
        "bar",
        "found",
        "held out",
        "class means",
        "rows of W1",
        "noise",
        "span keeps",
        "",
    ];
    let rows: Vec<Vec<String>> = pool
        .counts
        .iter()
        .map(|count| {
            let measure = if count.measure == Measure::Ncc { "NCC" } else { "SSIM" };
            let mark = count.class_means_reach.map_or_else(String::new, |n| format!("class means reach {n}"));
            vec![
                measure.into(),
                format!("{:.3}", count.threshold),
                count.count.to_string(),
                format!("{} of {}", count.held_out, pool.held_out),
                count.class_means.to_string(),
                count.weight_rows.to_string(),
                count.noise.to_string(),
                count.span_keeps.map_or_else(|| "-".into(), |n| n.to_string()),
                mark,
            ]
        })
        .collect();
    output::line(&render_text_table(&header, &rows));
    if let Some(reliability) = reliability {
        let sure = &reliability.sure;
        let interval = sure.interval.map_or_else(String::new, |[low, high]| {
            format!(" (Wilson interval of the share {:.0} to {:.0} %)", 100.0 * low, 100.0 * high)
        });
        output::line(&format!(
            "called 95 % sure: {}, of these {} real{interval}, {} again, {} negatives, {} nothing",
            sure.called, sure.real, sure.repeated, sure.negatives, sure.chance
        ));
    }
}

/// Prints the table and the ranking.
pub fn print(score: &ScoreFile) {
    if let Some(fit) = score.truth.as_ref().filter(|fit| fit.verdict == TruthFit::Foreign) {
        output::note(&format!("warning: {fit}"));
    }
    if let Some(judgement) = &score.judgement {
        print_judgement(judgement);
    }
    output::line(&render_score_table(&judge_section(score)));
    let cells =
        |of: &dyn Fn(&PrecisionAt) -> String| score.ranking.precision_at.iter().map(of).collect::<Vec<_>>();
    let header: Vec<String> = cells(&|p| format!("best {}", p.k));
    let header: Vec<&str> =
        std::iter::once("truth-free ranking").chain(header.iter().map(String::as_str)).collect();
    let row = std::iter::once("real".to_owned()).chain(cells(&|p| p.real.to_string())).collect();
    output::line(&render_text_table(&header, &[row]));
    if let Some(table) = &score.with_training_mean
        && let Some(row) = table.row(RowKind::Training)
        && let Some(ssim) = &row.ssim
    {
        let published = match score.data.subtract {
            Some(_) => "what was taken",
            None => "the training mean, as published",
        };
        output::line(&format!(
            "pictures are shown with the mean image that the attack tells; with {published}, {} count by SSIM",
            ssim.above_threshold
        ));
    }
    if let Some(limit) = &score.limit
        && let Some(row) = limit.table.row(RowKind::Training)
    {
        let by_ssim = row.ssim.as_ref().map(|ssim| format!("{} by SSIM, ", ssim.above_threshold));
        output::line(&format!(
            "upper limit: the training inputs themselves, in the {} directions of the attack, count {}{} by NCC at the same rate",
            limit.directions,
            by_ssim.unwrap_or_default(),
            row.ncc.above_threshold
        ));
    }
}

/// Checks that candidates fit the data.
pub fn check_width(candidates: &Array2<f32>, data: &VictimData) -> Result<()> {
    let (got, expected) = (candidates.ncols(), data.centered.ncols());
    ensure!(
        got == expected,
        "the candidates have {got} values each and the data {expected}: name the data the victim was trained on"
    );
    Ok(())
}

/// The judge's view of an input's shape.
pub fn image_shape(shape: InputShape) -> ImageShape {
    match shape {
        InputShape::Image { channels, height, width } => ImageShape { channels, height, width },
        InputShape::Vector { len } => ImageShape::vector(len),
    }
}

fn judge_ranking(
    ranking: &[usize],
    truth: &[CandidateTruth],
    confidence: ArrayView1<'_, f32>,
) -> Result<RankingScore> {
    // By SSIM where there are pictures, by NCC for vectors.
    let is_real = |t: &CandidateTruth| t.by_ssim.unwrap_or(t.by_ncc) == Verdict::Real;
    let real: Vec<bool> = truth.iter().map(is_real).collect();
    let claimed = Array1::from_iter(ranking.iter().map(|&j| f64::from(confidence[j])));
    let in_order: Vec<usize> = (0..ranking.len()).collect();
    let mut precision_at: Vec<PrecisionAt> =
        [10, 20, 50].iter().map(|&k| precision_at(k, &in_order, &real)).collect();
    // A short ranking has no best 50: it is counted once, whole.
    precision_at.dedup_by_key(|best| best.k);
    Ok(RankingScore {
        ranked: ranking.len(),
        precision_at,
        calibration: calibration(claimed.view(), &real, 10)?,
        real,
    })
}
