//! `cargo xtask reproduce`: the numbers of the README, from training to table.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use ndarray::{Array1, Array2};
use palimpsest_datasets::DataName;
use palimpsest_kkt::confidence::{Appearance, Evidence, features_of_agreed};
use palimpsest_metrics::logistic::fit_logistic;
use palimpsest_metrics::table::RowKind;
use palimpsest_metrics::tally::Tally;
use palimpsest_report::render_text_table;
use serde::{Deserialize, Serialize};

use crate::data::{DataArgs, VictimData};
use crate::evaluate::{self, EvaluateArgs, ScoreFile, training_row};
use crate::lock::lock_folder;
use crate::reconstruct::{self, APPEARANCE_FILE, Range, ReconstructArgs, RunFile};
use crate::snapshot::ResumeArgs;
use crate::train::{self, RegimeArgs, TrainArgs};
use crate::{Misuse, interrupt, output};

/// Make the benchmark's victims, attack them, and print one table.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask reproduce victims --only mnist-100 --seeds 1
  cargo xtask reproduce attack --cifar10-dir data/cifar10 --only cifar10-100-weight-decay --seeds 1,3,5
  cargo xtask reproduce attack --only minus --seeds 1
  cargo xtask reproduce calibrate --seeds 0,2,4

Options were tuned on even seeds; report odd ones. Victims and attacks that are there already are not made again. The
whole benchmark takes hours; --only picks the victims whose name contains a text: `minus` those whose inputs lost a constant, or
nothing, instead of their mean.")]
pub(crate) struct ReproduceArgs {
    #[command(subcommand)]
    what: What,
    /// Folder that holds CIFAR-10; without it its victims are left out.
    #[arg(long, value_name = "DIR", global = true)]
    cifar10_dir: Option<PathBuf>,
    /// Only victims whose name contains this.
    #[arg(long, value_name = "TEXT", global = true)]
    only: Option<String>,
    /// Seeds of victims and attacks.
    #[arg(long, value_name = "SEEDS", global = true, value_delimiter = ',', default_values_t = [1, 3, 5])]
    seeds: Vec<u64>,
    /// Seconds for each attack [default: 120 for 100 examples, 600 for 500].
    #[arg(long, value_name = "SECONDS", global = true)]
    time_limit: Option<f64>,
    /// Folder for victims, attacks and tables.
    #[arg(long, value_name = "DIR", global = true, default_value = "runs/reproduce")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum What {
    /// Train the victims.
    Victims,
    /// Train what is missing, attack, judge, and print the table.
    Attack,
    /// Fit the confidence model to attacks that were judged, and print its coefficients.
    Calibrate,
}

/// How far a victim is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Regime {
    Published,
    Deep,
    WeightDecay,
}

/// A victim of the benchmark.
#[derive(Clone, Debug)]
struct Victim {
    data: DataName,
    n: usize,
    regime: Regime,
    hidden: Vec<usize>,
    /// What is taken from every pixel instead of the training mean.
    subtract: Option<f32>,
    seed: u64,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regime = match self.regime {
            Regime::Published => "published",
            Regime::Deep => "deep",
            Regime::WeightDecay => "weight-decay",
        };
        let hidden: Vec<String> = self.hidden.iter().map(usize::to_string).collect();
        let inputs = self.subtract.map_or_else(String::new, |value| format!("-minus{value}"));
        write!(f, "{}-{}-{regime}-{}{inputs}-seed{}", self.data, self.n, hidden.join("x"), self.seed)
    }
}

/// One line of the table, `table.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    victim: String,
    ssim_at_threshold: String,
    ncc_at_threshold: String,
    /// By SSIM with the training mean, as published, where pictures are shown with one that the attack tells.
    with_training_mean: Option<String>,
    /// By SSIM and NCC, if every training image were found as far as the attack's directions hold it.
    limit: Option<(usize, usize)>,
    ssim_above_04: usize,
    held_out_above_04: usize,
    /// What the training images themselves make of held-out ones: a perfect attack would count as many above 0.4.
    held_out_above_04_at_limit: Option<usize>,
    one_to_one: usize,
    ten_best: f64,
    precision: Vec<(usize, usize)>,
    sure: usize,
    sure_and_real: usize,
    calibration_error: f64,
    restarts: usize,
    seconds: f64,
}

pub(crate) fn run(args: &ReproduceArgs) -> Result<()> {
    let victims = victims(args);
    ensure!(
        !victims.is_empty(),
        Misuse("no victim is left; check --only, and give --cifar10-dir for CIFAR-10".into())
    );
    let _lock = lock_folder(&args.out)?;
    let mut lines = Vec::new();
    for victim in &victims {
        if interrupt::requested() {
            bail!("interrupted; what was finished is in {}", args.out.display());
        }
        match args.what {
            What::Victims => train_victim(args, victim)?,
            What::Attack => {
                train_victim(args, victim)?;
                lines.push(attack(args, victim)?);
                output::write_json(&args.out.join("table.json"), &lines)?;
            }
            What::Calibrate => {}
        }
    }
    match args.what {
        What::Victims => output::line(&format!("{} victims in {}", victims.len(), args.out.display())),
        What::Attack => print(&lines),
        What::Calibrate => calibrate(args, &victims)?,
    }
    Ok(())
}

fn victims(args: &ReproduceArgs) -> Vec<Victim> {
    let mut all = Vec::new();
    for data in [DataName::Cifar10, DataName::Mnist, DataName::FashionMnist] {
        if data == DataName::Cifar10 && args.cifar10_dir.is_none() {
            continue;
        }
        for n in [100, 500] {
            for regime in [Regime::Published, Regime::Deep, Regime::WeightDecay] {
                for hidden in [vec![1000, 1000], vec![1000], vec![500, 500, 500]] {
                    for &seed in &args.seeds {
                        all.push(Victim { data, n, regime, hidden: hidden.clone(), subtract: None, seed });
                    }
                }
            }
        }
        // What whoever has no mean image does: pictures on black as they are, or around zero.
        for subtract in [0.0, 0.5].into_iter().filter(|_| data != DataName::Cifar10) {
            for &seed in &args.seeds {
                let (regime, hidden) = (Regime::WeightDecay, vec![1000, 1000]);
                all.push(Victim { data, n: 100, regime, hidden, subtract: Some(subtract), seed });
            }
        }
    }
    all.retain(|victim| args.only.as_deref().is_none_or(|text| victim.to_string().contains(text)));
    all
}

impl Victim {
    fn data(&self, args: &ReproduceArgs) -> Result<DataArgs> {
        let task = if self.data == DataName::Cifar10 { "animals-vehicles" } else { "odd-even" };
        let data_dir = args.cifar10_dir.clone().filter(|_| self.data == DataName::Cifar10);
        Ok(DataArgs { data: self.data, data_dir, task: task.parse()?, n: self.n, subtract: self.subtract })
    }

    fn folder(&self, args: &ReproduceArgs, part: &str) -> PathBuf {
        args.out.join(self.to_string()).join(part)
    }
}

fn train_victim(args: &ReproduceArgs, victim: &Victim) -> Result<()> {
    let out = victim.folder(args, "victim");
    if out.join("train.json").exists() {
        return Ok(());
    }
    output::note(&format!("training {victim}"));
    let regime = match victim.regime {
        Regime::Published => RegimeArgs { until_log_loss: Some(-11.5), ..RegimeArgs::default() },
        Regime::Deep => RegimeArgs { until_log_loss: Some(-1000.0), ..RegimeArgs::default() },
        Regime::WeightDecay => {
            let decay = if victim.n > 100 { 1e-3 } else { 2e-3 };
            RegimeArgs { weight_decay: Some(decay), ..RegimeArgs::default() }
        }
    };
    let data_args = victim.data(args)?;
    let data = VictimData::load(&data_args)?;
    let _lock = lock_folder(&out)?;
    let train_args = TrainArgs {
        data: data_args,
        hidden: victim.hidden.clone(),
        regime,
        epochs: None,
        seed: victim.seed,
        resume: ResumeArgs::when_possible(&out),
        out,
    };
    train::victim(&train_args, &data)?;
    Ok(())
}

fn attack(args: &ReproduceArgs, victim: &Victim) -> Result<Line> {
    let (attacked, judged) = (victim.folder(args, "attack"), victim.folder(args, "judged"));
    if !attacked.join("run.json").exists() {
        output::note(&format!("attacking {victim}"));
        let limit = args.time_limit.unwrap_or(if victim.n > 100 { 600.0 } else { 120.0 });
        let _lock = lock_folder(&attacked)?;
        let model = victim.folder(args, "victim").join("model.palimpsest");
        let defaults = ReconstructArgs::defaults(model, attacked.clone());
        // Whoever takes a constant from all pixels knows it.
        let shift = f64::from(victim.subtract.unwrap_or(0.0));
        reconstruct::attack(&ReconstructArgs {
            time_limit: Some(limit),
            seed: victim.seed,
            input_range: Range(defaults.input_range.0 - shift, defaults.input_range.1 - shift),
            ..defaults
        })?
        .done();
    }
    let data_args = victim.data(args)?;
    let data = VictimData::load(&data_args)?;
    let _lock = lock_folder(&judged)?;
    let evaluate_args = EvaluateArgs { reconstruction: attacked.clone(), data: data_args, out: judged };
    let score = evaluate::evaluate(&evaluate_args, &data)?;
    line(victim, &score, &attacked)
}

fn line(victim: &Victim, score: &ScoreFile, attacked: &Path) -> Result<Line> {
    let run: RunFile = output::read_json(&attacked.join("run.json"))?;
    let confidence: Array1<f32> = output::read_npy(&attacked.join("confidence.npy"))?;
    let row = training_row(score)?;
    let held_out = score.table.row(RowKind::HeldOut).context("score.json has no row for held-out images")?;
    let ssim = row.ssim.as_ref().context("the judge has no SSIM for these inputs")?;
    let counted = |t: &Tally| format!("{} ({:.0} to {:.0})", t.above_threshold, t.interval[0], t.interval[1]);
    let sure: Vec<bool> = run.ranking.iter().map(|&j| confidence[j] >= 0.95).collect();
    let both = sure.iter().zip(&score.ranking.real).filter(|(sure, real)| **sure && **real).count();
    Ok(Line {
        victim: victim.to_string(),
        ssim_at_threshold: counted(ssim),
        ncc_at_threshold: counted(&row.ncc),
        with_training_mean: score
            .with_training_mean
            .as_ref()
            .and_then(|table| table.row(RowKind::Training)?.ssim.as_ref().map(counted)),
        limit: score
            .limit
            .as_ref()
            .and_then(|limit| limit.table.row(RowKind::Training))
            .and_then(|row| Some((row.ssim.as_ref()?.above_threshold, row.ncc.above_threshold))),
        ssim_above_04: ssim.above_cut,
        held_out_above_04: held_out.ssim.as_ref().map_or(0, |tally| tally.above_cut),
        held_out_above_04_at_limit: score
            .limit
            .as_ref()
            .and_then(|limit| limit.table.row(RowKind::HeldOut))
            .and_then(|row| Some(row.ssim.as_ref()?.above_cut)),
        one_to_one: ssim.unique_above_cut,
        ten_best: ssim.mean_of_ten_best,
        precision: score.ranking.precision_at.iter().map(|p| (p.k, p.real)).collect(),
        sure: sure.iter().filter(|s| **s).count(),
        sure_and_real: both,
        calibration_error: score.ranking.calibration.expected_error,
        restarts: run.runs.len(),
        seconds: run.elapsed_s,
    })
}

fn print(lines: &[Line]) {
    let header = [
        "victim",
        "0.1 % SSIM",
        "training mean",
        "0.1 % NCC",
        "limits",
        "SSIM > 0.4",
        "held out, at the limit",
        "one to one",
        "ten best",
        "real of best",
        "sure, real",
        "ECE",
        "restarts",
        "seconds",
    ];
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let real: Vec<String> = line.precision.iter().map(|(k, real)| format!("{real}/{k}")).collect();
            vec![
                line.victim.clone(),
                line.ssim_at_threshold.clone(),
                line.with_training_mean.clone().unwrap_or_default(),
                line.ncc_at_threshold.clone(),
                line.limit.map_or_else(String::new, |(ssim, ncc)| format!("{ssim}, {ncc}")),
                line.ssim_above_04.to_string(),
                format!(
                    "{}{}",
                    line.held_out_above_04,
                    line.held_out_above_04_at_limit
                        .map_or_else(String::new, |at_limit| format!(", {at_limit}"))
                ),
                line.one_to_one.to_string(),
                format!("{:.3}", line.ten_best),
                real.join(" "),
                format!("{}, {}", line.sure, line.sure_and_real),
                format!("{:.3}", line.calibration_error),
                line.restarts.to_string(),
                format!("{:.0}", line.seconds),
            ]
        })
        .collect();
    output::line(&render_text_table(&header, &rows));
}

/// Fits the confidence model; every victim counts alike, however many candidates it left.
fn calibrate(args: &ReproduceArgs, victims: &[Victim]) -> Result<()> {
    // Others, candidates whose raw images are known, and images on which rounds of restarts agreed.
    let mut fits: [Fit; 3] = Default::default();
    for victim in victims {
        let (attacked, judged) = (victim.folder(args, "attack"), victim.folder(args, "judged"));
        if !judged.join("score.json").exists() {
            continue;
        }
        let score: ScoreFile = output::read_json(&judged.join("score.json"))?;
        let run: RunFile = output::read_json(&attacked.join("run.json"))?;
        let agreement: Array1<f32> = output::read_npy(&attacked.join("agreement.npy"))?;
        let path = attacked.join("bias_shares.npy");
        let bias_shares: Option<Array1<f32>> = path.exists().then(|| output::read_npy(&path)).transpose()?;
        let path = attacked.join(APPEARANCE_FILE);
        let looks: Option<Array2<f32>> = path.exists().then(|| output::read_npy(&path)).transpose()?;
        // Inputs that were solved for exactly or agreed on by a round, the last ones, have probabilities of their own.
        let solved = agreement.len().saturating_sub(run.agreed);
        let of_runs = solved.saturating_sub(run.exact);
        let ranked = run.ranking.iter().zip(&score.ranking.real);
        let agreed = ranked.clone().filter(|(candidate, _)| **candidate >= solved);
        let count = agreed.clone().count();
        if let (Some(shares), true) = (&bias_shares, count > 0) {
            fits[2].victims += 1;
            for (&candidate, &is_real) in agreed {
                let features = features_of_agreed(agreement[candidate], shares[candidate]);
                fits[2].push(&features, is_real, count);
            }
        }
        let fit = &mut fits[usize::from(looks.is_some())];
        let ranked = ranked.filter(|(candidate, _)| **candidate < of_runs);
        let count = ranked.clone().count();
        fit.victims += 1;
        for (&candidate, &is_real) in ranked {
            let evidence = Evidence {
                agreement: agreement[candidate],
                distinct_share: run.distinct_share,
                bias_share: bias_shares.as_ref().map(|shares| shares[candidate]),
                appearance: looks.as_ref().map(|looks| Appearance {
                    contrast: looks[[candidate, 0]],
                    brightness: looks[[candidate, 1]],
                    unchanged: looks[[candidate, 2]],
                }),
            };
            fit.push(&evidence.features(), is_real, count);
        }
    }
    ensure!(
        fits.iter().any(|fit| fit.victims > 0),
        Misuse("no judged attack is there; run `reproduce attack` for these seeds first".into())
    );
    for (fit, what) in fits.into_iter().zip(["centred", "raw", "agreed"]).filter(|(fit, _)| fit.victims > 0) {
        let Fit { victims, features, real, weights } = fit;
        let features = Array2::from_shape_vec((real.len(), features.len() / real.len()), features)?;
        let coefficients = fit_logistic(features.view(), &real, &weights)?;
        output::line(&format!(
            "{what} images: {victims} victims, {} candidates, coefficients {coefficients:.2}",
            real.len()
        ));
    }
    Ok(())
}

/// What a confidence model is fitted on.
#[derive(Default)]
struct Fit {
    victims: usize,
    features: Vec<f64>,
    real: Vec<bool>,
    weights: Vec<f64>,
}

impl Fit {
    /// Adds one of `count` candidates of a victim.
    fn push(&mut self, features: &[f64], is_real: bool, count: usize) {
        self.features.extend(features);
        self.real.push(is_real);
        self.weights.push(1.0 / count as f64);
    }
}
