//! `cargo xtask reproduce`: the numbers of the README, from training to table.

mod asked;
mod calibrate;
mod constants;
mod defences;
mod kinds;
mod listed;
mod membership;
mod nulls;
mod paper;
mod pictures;
mod results;
mod rows;
mod tables;
mod unfinished;
mod victims;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::Array1;
use palimpsest::attacking::reconstruct::{self, ReconstructArgs};
use palimpsest::judging::data::{DataArgs, VictimData};
use palimpsest::judging::descent::Descent;
use palimpsest::judging::evaluate::{self, EvaluateArgs};
use palimpsest::judging::regime::RegimeArgs;
use palimpsest::judging::score::{ScoreFile, training_row};
use palimpsest::judging::train::{self, TrainArgs};
use palimpsest::start::{self, FirstLayer};
use palimpsest::terminal::{Misuse, ResumeArgs, interrupt, lock_folder, output};
use palimpsest_metrics::table::RowKind;
use palimpsest_metrics::tally::Tally;
use palimpsest_mlp::train::StopReason;
use palimpsest_mlp::{BiasPlacement, Checkpoint, Mlp, Provenance};
use palimpsest_numerics::seed::Seed;
use palimpsest_report::render_text_table;
use palimpsest_runs::record::MODEL_FILE;
use palimpsest_runs::{MADE_BY, RunFile, files};
use serde::{Deserialize, Serialize};

use self::calibrate::calibrate;
use self::nulls::Null;
use self::rows::{NullRow, Row, Rows};
use self::unfinished::{broken_off, finished};
pub(crate) use self::victims::ReproduceArgs;
use self::victims::{Regime, Victim, What, victims};

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
    /// Of a null, those called sure that are among what it was trained on, or that its rows span.
    #[serde(skip_serializing_if = "Option::is_none")]
    sure_and_own: Option<usize>,
    calibration_error: f64,
    restarts: usize,
    seconds: f64,
}

pub(crate) fn run(args: &ReproduceArgs) -> Result<()> {
    match &args.what {
        What::Table(table) => return tables::run(*table),
        What::Constants(what) => return constants::run(*what),
        What::CalibrateList(list) => return listed::calibrate(list),
        What::CalibratePictures(looks) => return pictures::calibrate(looks),
        What::Defences(what) => return defences::run(args, what),
        What::Membership(what) => return membership::run(args, what),
        What::Kinds(what) => return kinds::run(args, *what),
        What::Paper => {
            return paper::run(args, &|victim| {
                make(args, victim)?;
                attack(args, victim).map(|_| ())
            });
        }
        What::Victims | What::Attack(_) | What::Nulls(_) | What::Calibrate => {}
    }
    let victims = victims(args);
    ensure!(
        !victims.is_empty(),
        Misuse("no victim is left; check --only, and give --cifar10-dir for CIFAR-10".into())
    );
    let _lock = lock_folder(&args.out)?;
    let table = if matches!(args.what, What::Nulls(_)) { "nulls.json" } else { "table.json" };
    // A null in which nothing is found by its time limit keeps no other from being judged.
    let (mut lines, mut not_judged) = (Vec::new(), Vec::new());
    let rows_file = args.out.join("rows.json");
    let mut rows = Rows::read(&rows_file)?;
    for victim in &victims {
        if interrupt::requested() {
            bail!(broken_off(args));
        }
        match args.what {
            What::Victims => make(args, victim)?,
            What::Attack(what) | What::Nulls(what) => {
                make(args, victim)?;
                let (line, row) = match attack(args, victim) {
                    Err(error) if victim.null.is_some() && !interrupt::requested() => {
                        output::note(&format!("{victim} is not judged: {error:#}"));
                        not_judged.push(victim.to_string());
                        continue;
                    }
                    attacked => attacked?,
                };
                if what.write {
                    match &row {
                        Some(row) => results::put(&results::table("report-block"), Row::OF_ONE, row)?,
                        None => {
                            let row = NullRow::of(args, victim, line.sure, line.sure_and_own.unwrap_or(0))?;
                            results::put(&results::table("nulls"), NullRow::OF_ONE, &row)?;
                        }
                    }
                }
                lines.push(line);
                files::write_json(&args.out.join(table), &lines)?;
                if let Some(row) = row {
                    rows.put(row);
                    files::write_json(&rows_file, &rows)?;
                }
            }
            _ => {}
        }
    }
    match args.what {
        What::Victims => output::line(&format!("{} victims in {}", victims.len(), args.out.display())),
        What::Attack(_) => print(&lines),
        What::Nulls(_) => {
            print(&lines);
            let sum = |count: fn(&Line) -> usize| lines.iter().map(count).sum::<usize>();
            output::line(&format!(
                "called 95 % sure: {}; of these {} are among what their network was trained on",
                sum(|line| line.sure),
                sum(|line| line.sure_and_own.unwrap_or(0)),
            ));
        }
        What::Calibrate => calibrate(args, &victims)?,
        _ => {}
    }
    ensure!(not_judged.is_empty(), "not judged, by what is said above: {}", not_judged.join(", "));
    Ok(())
}

/// Makes the network of `victim`, if it is not there.
fn make(args: &ReproduceArgs, victim: &Victim) -> Result<()> {
    let out = victim.folder(args, "victim");
    let untrained = |network: Mlp<f32>, image_shape| -> Result<()> {
        let _lock = lock_folder(&out)?;
        let provenance = Provenance { made_by: MADE_BY.into(), image_shape, ..Provenance::default() };
        Ok(Checkpoint { network, provenance }.save(&out.join(MODEL_FILE))?)
    };
    let seed = Seed::new(victim.seed);
    match victim.null {
        None => train_victim(args, victim, victim.data(args)?),
        Some(Null::Random) => {
            let data = VictimData::load(&victim.data(args)?)?;
            let dims = start::widths(data.centered.ncols(), &victim.hidden)?;
            let first_layer = match victim.regime {
                Regime::WeightDecay => FirstLayer::Ordinary,
                Regime::Published | Regime::Deep => FirstLayer::Small,
            };
            let network = start::initial(&dims, BiasPlacement::FirstLayer, first_layer, victim.seed);
            untrained(network, data.image_shape())
        }
        Some(null @ (Null::Shuffled | Null::Neurons)) => {
            let trained = Victim { null: None, ..victim.clone() };
            train_victim(args, &trained, trained.data(args)?)?;
            let model = trained.folder(args, "victim").join(MODEL_FILE);
            let Checkpoint { mut network, provenance } = Checkpoint::load(&model)?;
            match null {
                Null::Neurons => nulls::exchange_neurons(&mut network, &seed.named("neurons")),
                _ => nulls::shuffle(&mut network, &seed.named("shuffled")),
            }
            untrained(network, provenance.image_shape)
        }
        Some(null) => {
            let real = victim.data(args)?;
            let own = null.trained_on(&real, &out)?.context("the others are trained on something")?;
            {
                let _lock = lock_folder(&out)?;
                null.write(&real, &out, &seed.named(&null.to_string()))?;
            }
            train_victim(args, victim, own)
        }
    }
}

fn train_victim(args: &ReproduceArgs, victim: &Victim, data_args: DataArgs) -> Result<()> {
    let out = victim.folder(args, "victim");
    if finished(&out, "train.json") {
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
    let data = VictimData::load(&data_args)?;
    let _lock = lock_folder(&out)?;
    let train_args = TrainArgs {
        data: data_args,
        hidden: victim.hidden.clone(),
        regime,
        epochs: None,
        descent: Descent::Whole,
        seed: victim.seed,
        resume: ResumeArgs::when_possible(&out),
        out,
    };
    let (_, record) = train::victim(&train_args, &data)?;
    ensure!(record.trained.stop != StopReason::Observer, broken_off(args));
    Ok(())
}

/// Attacks a victim and judges that, if it was not done before: its line, and its row where it is no null.
fn attack(args: &ReproduceArgs, victim: &Victim) -> Result<(Line, Option<Row>)> {
    let attacked = victim.folder(args, "attack");
    if !finished(&attacked, "run.json") {
        output::note(&format!("attacking {victim}"));
        let limit = args.time_limit.unwrap_or(if victim.n > 100 { 600.0 } else { 120.0 });
        let _lock = lock_folder(&attacked)?;
        let model = victim.folder(args, "victim").join(MODEL_FILE);
        let done = reconstruct::attack(&ReconstructArgs {
            time_limit: Some(limit),
            seed: victim.seed,
            ..ReconstructArgs::defaults(model, attacked.clone())
        })?;
        ensure!(!done.broken_off, broken_off(args));
        done.done();
    }
    let judge = |data_args: DataArgs, out: PathBuf| {
        let data = VictimData::load(&data_args)?;
        let _lock = lock_folder(&out)?;
        evaluate::evaluate(&EvaluateArgs { reconstruction: attacked.clone(), data: data_args, out }, &data)
    };
    let real = victim.data(args)?;
    let score = judge(real.clone(), victim.folder(args, "judged"))?;
    let mut line = line(victim, &score, &attacked)?;
    if let Some(null) = victim.null {
        line.sure_and_own = match null.trained_on(&real, &victim.folder(args, "victim"))? {
            Some(own) => {
                let score = judge(own, victim.folder(args, "judged-by-own"))?;
                Some(sure_and_real(&score, &attacked)?.1)
            }
            None => Some(if null.holds_the_images() { line.sure_and_real } else { 0 }),
        };
    }
    let command = args.command("attack", victim.data, victim, victim.seed);
    let row = victim.null.is_none().then(|| Row::of(victim, &score, &attacked, command));
    Ok((line, row.transpose()?))
}

/// How many candidates an attack calls 95 % sure, and how many of these are real.
fn sure_and_real(score: &ScoreFile, attacked: &Path) -> Result<(usize, usize)> {
    let run: RunFile = files::read_json(&attacked.join("run.json"))?;
    let confidence: Array1<f32> = files::read_npy(&attacked.join("confidence.npy"))?;
    let real = run.ranking.iter().zip(&score.ranking.real);
    let sure: Vec<bool> = real.filter(|(j, _)| confidence[**j] >= 0.95).map(|(_, real)| *real).collect();
    Ok((sure.len(), sure.iter().filter(|real| **real).count()))
}

fn line(victim: &Victim, score: &ScoreFile, attacked: &Path) -> Result<Line> {
    let run: RunFile = files::read_json(&attacked.join("run.json"))?;
    let (sure, sure_and_real) = sure_and_real(score, attacked)?;
    let row = training_row(score)?;
    let held_out = score.table.row(RowKind::HeldOut).context("score.json has no row for held-out images")?;
    let ssim = row.ssim.as_ref().context("the judge has no SSIM for these inputs")?;
    let counted = |t: &Tally| format!("{} ({:.0} to {:.0})", t.above_threshold, t.interval[0], t.interval[1]);
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
        sure,
        sure_and_real,
        sure_and_own: None,
        calibration_error: score.ranking.calibration.expected_error,
        restarts: run.restarts.len(),
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
