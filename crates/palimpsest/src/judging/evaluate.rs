//! `palimpsest evaluate`: judge a reconstruction against the training images and against nulls.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ndarray::{ArrayView1, Axis};
use palimpsest_datasets::InputShape as DataShape;
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::calibration::{
    CandidateTruth, PrecisionAt, Verdict, calibration, candidate_truth, precision_at,
};
use palimpsest_metrics::distance::{distance_table, judge_rows};
use palimpsest_metrics::judge::pool::Contestants;
use palimpsest_metrics::judge::{Evidence, evaluate as judge_all};
use palimpsest_metrics::null_model::NullModel;
use palimpsest_metrics::score::{Protocol, Scores};
use palimpsest_metrics::table::{ScoreTable, judge, score_table, thresholds};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_report::ConfidenceKind;
use palimpsest_runs::{RunFile, files};

use super::contestants::{InSpan, Nulls, Twofold, check_width, image_shape, targets};
use super::data::{DataArgs, VictimData};
use super::printed::print;
use super::score::{DataRecord, DistanceScore, Limit, Match, RankingScore, ScoreFile};
use crate::attacking::found::Found;
use crate::attacking::input_shape::InputShape;
use crate::terminal::{lock_folder, output};

/// Judge a reconstruction against the training images and against nulls.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest evaluate --reconstruction runs/attack --data fashion-mnist --task odd-even --n 100 --out runs/judged
  palimpsest evaluate --reconstruction runs/attack --data cifar10 --data-dir data/cifar10 --task animals-vehicles --n 500 --out runs/judged

Writes score.json, prints the table, and what the training inputs themselves would count in the attack's directions. Where the attack tells the mean image, its pictures are shown with that, and what they count with the training mean is printed, too. --data, --task, --n, --counts and --normalize (or
--subtract) must be those of the victim's training.")]
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

impl EvaluateArgs {
    /// With the shape of an input that the attack was told, where none is declared for the data.
    fn with_declared_shape(mut self) -> Result<Self> {
        if self.data.input_shape.is_none() {
            let run: RunFile = files::read_json(&self.reconstruction.join("run.json"))?;
            self.data.input_shape = run.input_shape.map(|sides| InputShape { sides, channels: run.channels });
        }
        Ok(self)
    }
}

/// Seed of the judge's noise and bootstrap.
const JUDGE_SEED: u64 = 0;

/// Carries out `palimpsest evaluate`.
///
/// # Errors
/// Files that cannot be read or do not fit together; [`Misuse`](crate::terminal::Misuse) for data that cannot be had.
pub fn run(args: &EvaluateArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let args = &args.clone().with_declared_shape()?;
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
    check_width(&found.candidates, data)?;
    let bench = Bench::new(data.shape);
    let nulls = Nulls::of(&found, data, &bench.seed)?;
    let kept = InSpan::of(&found, data, bench.parallelism)?;
    let candidates = Twofold::of_attack(&found, data, found.candidates.clone());
    let restored = found.mean_image.is_some().then(|| Twofold::restored(data, found.candidates.clone()));
    let (training, held_out) = targets(data)?;
    let pool = Contestants {
        attack: candidates.images(bench.shape)?,
        training,
        held_out,
        class_means: nulls.class_means.images(bench.shape)?,
        weight_rows: nulls.weight_rows.images(bench.shape)?,
        noise: nulls.noise.images(bench.shape)?,
        in_span: kept.as_ref().map(|kept| kept.images.images(bench.shape)).transpose()?,
    };
    // The list has one estimate for each distinct input: those alone are claims.
    let ranking = &found.run.ranking;
    let listed = found.estimates(&args.reconstruction)?;
    let listed = listed.unwrap_or_else(|| found.candidates.select(Axis(0), ranking));
    let claims = Twofold::of_attack(&found, data, listed);
    let claims = claims.images(bench.shape)?;
    let (kind, confidence) = found.claimed(data.input_kind());
    let claimed: Vec<f64> = ranking.iter().map(|&j| f64::from(confidence[j])).collect();
    let probabilities = (kind == ConfidenceKind::Probability).then_some(claimed.as_slice());
    let evidence = Evidence { pool, list: claims, probabilities };
    let (judgement, scored) = judge_all(&evidence, &bench.protocol, bench.parallelism)?;
    let in_order: Vec<usize> = (0..ranking.len()).collect();
    let limits = thresholds(&scored)?;
    let truth = candidate_truth(claims, training, &bench.protocol, &limits, &in_order, bench.parallelism)?;
    let directions = kept.as_ref().map_or(0, |kept| kept.directions);
    let mut score = ScoreFile {
        reconstruction: output::absolute(&args.reconstruction),
        data: DataRecord::of(&args.data, data),
        ranking: judge_ranking(&claimed, &truth)?,
        judgement: Some(judgement),
        table: score_table(&scored, &bench.protocol, &bench.seed.named("bootstrap"))?,
        with_training_mean: bench.with_training_mean(restored.as_ref(), &pool)?,
        distances: bench.distances(&pool)?,
        limit: bench.limit(&pool, directions)?,
        truth: kept.map(|kept| kept.fit),
        matches: matches(&scored[0].nearest, data.train.count()),
        classes: Vec::new(),
        seed: JUDGE_SEED,
    };
    score.classes = score.of_each_class(data);
    files::write_json(&args.out.join("score.json"), &score)?;
    Ok(score)
}

/// How the judge measures.
struct Bench {
    shape: ImageShape,
    protocol: Protocol,
    seed: Seed,
    parallelism: Parallelism,
}

impl Bench {
    fn new(shape: DataShape) -> Self {
        let shape = image_shape(shape);
        Self {
            shape,
            protocol: Protocol::published(shape),
            seed: Seed::new(JUDGE_SEED).named("judge"),
            parallelism: Parallelism::of_threads(rayon::current_num_threads()),
        }
    }

    /// The table with the mean image that the judge knows, where the attack tells one of its own.
    fn with_training_mean<'a>(
        &self,
        restored: Option<&'a Twofold>,
        pool: &Contestants<'a>,
    ) -> Result<Option<ScoreTable>> {
        let Some(restored) = restored else { return Ok(None) };
        let attack = restored.images(self.shape)?;
        let scored = judge(attack, pool.training, &models(pool), &self.protocol, self.parallelism)?;
        Ok(Some(score_table(&scored, &self.protocol, &self.seed.named("bootstrap"))?))
    }

    /// How near rows come; none for pictures.
    fn distances(&self, pool: &Contestants<'_>) -> Result<Option<DistanceScore>> {
        if !self.shape.is_vector() {
            return Ok(None);
        }
        let rows = judge_rows(pool.attack, pool.training, &models(pool))?;
        let table = distance_table(&rows, &self.seed.named("bootstrap"))?;
        Ok(Some(DistanceScore { table, nearest: rows[0].nearest.clone() }))
    }

    /// What finding every training image as far as the directions hold it would count.
    fn limit(&self, pool: &Contestants<'_>, directions: usize) -> Result<Option<Limit>> {
        let Some(perfect) = pool.in_span else { return Ok(None) };
        let held_out = [NullModel::HeldOut(pool.held_out)];
        let rows = judge(perfect, pool.training, &held_out, &self.protocol, self.parallelism)?;
        let table = score_table(&rows, &self.protocol, &self.seed.named("limit"))?;
        Ok(Some(Limit { directions, table }))
    }
}

fn models<'a>(pool: &Contestants<'a>) -> [NullModel<'a>; 4] {
    [
        NullModel::HeldOut(pool.held_out),
        NullModel::ClassMeans(pool.class_means),
        NullModel::WeightRows(pool.weight_rows),
        NullModel::RandomNoise(pool.noise),
    ]
}

/// The best candidate of each of `n` training images.
fn matches(nearest: &Scores, n: usize) -> Vec<Match> {
    let of = |i: usize| Match {
        candidate: nearest.matching.candidate[i],
        ncc: nearest.matching.ncc[i],
        ssim: nearest.ssim.as_ref().map(|ssim| ssim[i]),
    };
    (0..n).map(of).collect()
}

/// How a list of `claimed` confidences, surest first, stands to what its entries are.
fn judge_ranking(claimed: &[f64], truth: &[CandidateTruth]) -> Result<RankingScore> {
    // By SSIM where there are pictures, by NCC for vectors.
    let is_real = |t: &CandidateTruth| t.by_ssim.unwrap_or(t.by_ncc) == Verdict::Real;
    let real: Vec<bool> = truth.iter().map(is_real).collect();
    let in_order: Vec<usize> = (0..claimed.len()).collect();
    let mut precision_at: Vec<PrecisionAt> =
        [10, 20, 50].iter().map(|&k| precision_at(k, &in_order, &real)).collect();
    // A short ranking has no best 50: it is counted once, whole.
    precision_at.dedup_by_key(|best| best.k);
    Ok(RankingScore {
        ranked: claimed.len(),
        precision_at,
        calibration: calibration(ArrayView1::from(claimed), &real, 10)?,
        real,
    })
}
