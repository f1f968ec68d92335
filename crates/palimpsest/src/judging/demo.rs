//! `palimpsest demo`: the whole walk on embedded images.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use palimpsest_datasets::DataName;
use palimpsest_runs::record::MODEL_FILE;

use super::data::{DataArgs, VictimData};
use super::descent::Descent;
use super::evaluate::{self, EvaluateArgs};
use super::printed::print;
use super::regime::RegimeArgs;
use super::report;
use super::train::{self, TrainArgs};
use crate::attacking::reconstruct::{self, ReconstructArgs, Restarts};
use crate::attacking::unjudged::unjudged;
use crate::terminal::{ResumeArgs, clock, interrupt, lock_folder, output};

/// Train on embedded Fashion-MNIST, attack the weights, judge, and write a report: the whole walk.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest demo
  palimpsest demo --out runs/demo

Takes about twenty seconds on two cores, and shows its first pictures after five to ten. Open the report.html it names in any browser.")]
pub struct DemoArgs {
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "demo")]
    out: PathBuf,
}

/// Training images of the demo.
const EXAMPLES: usize = 100;
/// Steps of its training, which has more momentum than usual ones: as near to a stationary point as the usual 4,000.
const EPOCHS: usize = 1500;
/// Restarts of the demo's attack, chosen for time.
const RESTARTS: usize = 4;

/// Carries out `palimpsest demo`.
///
/// # Errors
/// Whatever keeps one of its four commands from its end.
pub fn run(args: &DemoArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let data_args = DataArgs::balanced(DataName::FashionMnist, "odd-even".parse()?, EXAMPLES);
    let (victim, attack, judged) =
        (args.out.join("victim"), args.out.join("attack"), args.out.join("judged"));
    let mut stages: Vec<(String, f64)> = Vec::new();

    output::note(&format!("1/4 training a classifier on {EXAMPLES} images"));
    let data = VictimData::load(&data_args)?;
    let _victim_lock = lock_folder(&victim)?;
    let train_args = TrainArgs {
        data: data_args.clone(),
        hidden: vec![1000, 1000],
        regime: RegimeArgs { weight_decay: Some(2e-3), ..RegimeArgs::default() },
        epochs: Some(EPOCHS),
        descent: Descent::AsOne,
        seed: 0,
        out: victim.clone(),
        resume: ResumeArgs::when_possible(&victim),
    };
    timed(&mut stages, "train", || train::victim(&train_args, &data))?;

    output::note("2/4 attacking its weights from random starts");
    let attack_args = ReconstructArgs {
        restarts: Some(Restarts::Count(RESTARTS)),
        // Left out for time: it takes longer than all restarts.
        pattern_rounds: Some(0),
        live: true,
        ..ReconstructArgs::defaults(victim.join(MODEL_FILE), attack.clone())
    };
    let _attack_lock = lock_folder(&attack)?;
    let attacked = timed(&mut stages, "attack", || reconstruct::attack(&attack_args))?;

    output::note("3/4 judging what came back against the training images and against nulls");
    let _judged_lock = lock_folder(&judged)?;
    let evaluate_args = EvaluateArgs { reconstruction: attack, data: data_args, out: judged.clone() };
    let score = timed(&mut stages, "judge", || evaluate::evaluate(&evaluate_args, &data))?;

    output::note("4/4 writing the report");
    let before = stages.clone();
    timed(&mut stages, "report", || {
        // In the place of the page that was written while the attack was under way.
        unjudged(&score.reconstruction)?;
        report::judged(&judged, &score, &data, &before)
    })?;
    attacked.done();
    print(&score);
    for (name, elapsed_s) in &stages {
        output::line(&format!("{name:>8} {elapsed_s:7.1} s"));
    }
    output::line(&format!("report: {}", output::absolute(&judged.join("report.html")).display()));
    Ok(())
}

fn timed<T>(stages: &mut Vec<(String, f64)>, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if interrupt::requested() {
        bail!("interrupted before the stage `{name}`; the same command goes on from here");
    }
    let start = clock::now();
    let result = work()?;
    stages.push((name.to_owned(), (clock::now() - start).as_secs_f64()));
    Ok(result)
}
