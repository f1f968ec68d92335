//! `palimpsest evaluate`: judge a reconstruction against the training images and against nulls.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use palimpsest_metrics::calibration::{
    CandidateTruth, PrecisionAt, Verdict, calibration, candidate_truth, precision_at,
};
use palimpsest_metrics::distance::{distance_table, judge_rows};
use palimpsest_metrics::judge::pool::Contestants;
use palimpsest_metrics::judge::{Evidence, evaluate as judge_all};
use palimpsest_metrics::null_model::{NullModel, class_means, random_noise, typical_norm, weight_rows};
use palimpsest_metrics::score::Protocol;
use palimpsest_metrics::table::{judge, score_table, thresholds};
use palimpsest_metrics::{CandidateImages, TargetImages};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use palimpsest_report::ConfidenceKind;
use palimpsest_runs::files;

use super::contestants::{InSpan, check_width, image_shape, shown, targets};
use super::data::{DataArgs, VictimData};
use super::printed::print;
use super::score::{DataRecord, DistanceScore, Limit, Match, RankingScore, ScoreFile};
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
