//! One row: a network is made, attacked, judged, and asked for its members.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use ndarray::{Axis, concatenate, s};
use palimpsest::attacking::reconstruct::{self, ReconstructArgs, Restarts};
use palimpsest::judging::evaluate::{self, EvaluateArgs};
use palimpsest::judging::score::ScoreFile;
use palimpsest::terminal::{clock, interrupt, lock_folder, output};
use palimpsest_attack::evidence::membership::{Outputs, Weights, assess};
use palimpsest_datasets::{LoadParams, load_with};
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_runs::files;

use super::super::asked::DefencesArgs;
use super::super::results;
use super::super::unfinished::broken_off;
use super::super::victims::ReproduceArgs;
use super::case::Case;
use super::listed::Base;
use super::network::{self, Network};
use super::row::Row;

/// NCC above which a candidate is nearly exact.
pub(super) const NEARLY_EXACT: f64 = 0.99;
/// References and other records for the members, where there are enough held-out examples.
const REFERENCES: usize = 1000;
const OTHERS: usize = 2000;

/// Where a row is kept.
const FILE: &str = "row.json";

/// Whether the row of `case` is there.
pub(super) fn is_done(args: &ReproduceArgs, case: &Case) -> bool {
    case.folder(args).join(FILE).exists()
}

/// The row of `case`: read, if it is there, else made; what took room is removed then.
pub(super) fn row(args: &ReproduceArgs, what: &DefencesArgs, case: &Case) -> Result<Row> {
    let folder = case.folder(args);
    let file = folder.join(FILE);
    if is_done(args, case) {
        return Ok(files::read_json(&file)?);
    }
    let made = network::made(args, case)?;
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let attacked = attack(args, what, case, &made)?;
    let members = members(args, case, &made, parallelism)?;
    let loss = made.record.loss;
    let rows = made.data.centered.nrows();
    let told = outputs(&made.weights, made.data.centered.view(), parallelism);
    let row = Row {
        task: case.task(),
        defence: case.defence.name.into(),
        told: case.defence.told.into(),
        family: case.defence.family.into(),
        base: case.defence.base.name().into(),
        seed: case.seed,
        n: rows,
        hidden: case.widths(),
        test_accuracy: 100.0 * made.data.accuracy(&made.weights, loss, parallelism).0,
        training_errors: rows - made.data.train.goals.right(told.view(), loss),
        certificate: made.data.unexplained(&made.weights, loss, parallelism)?,
        nearly_exact: attacked.nearly_exact,
        legible: attacked.legible,
        legible_held_out: attacked.legible_held_out,
        sure: attacked.sure,
        sure_real: attacked.sure_real,
        tpr_at_01: members.tpr_at_01,
        tpr_at_1: members.tpr_at_1,
        others: members.others,
        references: members.references,
        epsilon: made.record.privacy.as_ref().map(|privacy| privacy.epsilon),
        restarts: attacked.restarts,
        cut: attacked.cut,
        training_s: made.record.trained.training_s,
        attack_s: attacked.elapsed_s,
        membership_s: members.elapsed_s,
        machine: results::machine(),
        date: clock::today(),
        command: command(args, what, case),
    };
    files::write_json(&file, &row)?;
    let is_base = case.defence.name == Base::Decay.name();
    for part in ["attack", "judged", "victim"].iter().filter(|part| !(is_base && **part == "victim")) {
        let _ = fs::remove_dir_all(folder.join(part));
    }
    Ok(row)
}

/// The command that makes this row again.
fn command(args: &ReproduceArgs, what: &DefencesArgs, case: &Case) -> String {
    let data = if args.cifar10_dir.is_some() { " --cifar10-dir DIR" } else { "" };
    let kind = case.kind.words().split(' ').next().unwrap_or_default();
    let block = args.block.map_or_else(String::new, |block| format!(" --block {block}"));
    format!(
        "cargo xtask reproduce defences{data}{block} --kinds {kind} --n {} --hidden {} --restarts {} --seeds {} --only {}",
        case.n,
        case.widths(),
        what.restarts,
        case.seed,
        case.defence.name
    )
}

/// What an attack found, counted with the truth.
#[derive(Default)]
struct Attacked {
    nearly_exact: usize,
    legible: usize,
    legible_held_out: usize,
    sure: usize,
    sure_real: usize,
    restarts: usize,
    elapsed_s: f64,
    /// Whether a time limit ended it.
    cut: bool,
}

/// An attack that weights refuse finds nothing.
fn attack(args: &ReproduceArgs, what: &DefencesArgs, case: &Case, made: &Network) -> Result<Attacked> {
    let folder = case.folder(args);
    let found = reconstructed(args, what, case, made, &folder.join("attack"));
    let (restarts, elapsed_s, cut) = match found {
        Ok(record) => record,
        Err(error) if interrupt::requested() => return Err(error),
        Err(error) => {
            output::note(&format!("the attack found nothing to work on: {error:#}"));
            return Ok(Attacked::default());
        }
    };
    let out = folder.join("judged");
    let _lock = lock_folder(&out)?;
    let judged = EvaluateArgs { reconstruction: folder.join("attack"), data: made.data_args.clone(), out };
    let score = evaluate::evaluate(&judged, &made.data)?;
    Ok(Attacked { restarts, elapsed_s, cut, ..counted(&score) })
}

/// Restarts and seconds of the attack whose files are in `out` then, and whether its time limit cut it.
fn reconstructed(
    args: &ReproduceArgs,
    what: &DefencesArgs,
    case: &Case,
    made: &Network,
    out: &Path,
) -> Result<(usize, f64, bool)> {
    let _lock = lock_folder(out)?;
    let done = reconstruct::attack(&ReconstructArgs {
        restarts: Some(Restarts::Count(what.restarts)),
        time_limit: args.time_limit,
        seed: case.seed,
        ..ReconstructArgs::defaults(made.model.clone(), out.to_path_buf())
    })?;
    ensure!(!done.broken_off, broken_off(args));
    let record = done.done();
    Ok((record.restarts.len(), record.elapsed_s, record.stopped_early))
}

fn counted(score: &ScoreFile) -> Attacked {
    let judgement = score.judgement.as_ref();
    let sure = judgement.and_then(|judgement| judgement.reliability.as_ref()).map(|held| held.sure);
    Attacked {
        nearly_exact: score.matches.iter().filter(|found| found.ncc > NEARLY_EXACT).count(),
        legible: judgement.map_or(0, |judgement| judgement.legible.legible),
        legible_held_out: judgement.map_or(0, |judgement| judgement.legible_held_out),
        sure: sure.map_or(0, |sure| sure.called),
        sure_real: sure.map_or(0, |sure| sure.real),
        ..Attacked::default()
    }
}

/// How well members are told from others.
struct Told {
    tpr_at_01: f64,
    tpr_at_1: f64,
    others: usize,
    references: usize,
    elapsed_s: f64,
}

fn members(args: &ReproduceArgs, case: &Case, made: &Network, parallelism: Parallelism) -> Result<Told> {
    let data_dir = made.data_args.data_dir.as_deref();
    let params = LoadParams { data_dir, block: args.block, ..LoadParams::default() };
    let test = load_with(case.data, &params)?.test;
    let (references, others) = shares(test.count());
    let seen = made.data.scaling.apply(test.inputs().slice(s![..references + others, ..]));
    let records = concatenate(Axis(0), &[made.data.centered.view(), seen.slice(s![references.., ..])])?;
    let start = clock::now();
    let weights = Weights::Network(&made.weights, Outputs::Classes);
    let found = assess(weights, records.view(), Some(seen.slice(s![..references, ..])), parallelism)?;
    let elapsed_s = clock::now().saturating_sub(start).as_secs_f64();
    let scores: Vec<f64> = found.records.iter().map(|record| record.score).collect();
    let (members, rest) = scores.split_at(made.data.centered.nrows());
    Ok(Told {
        tpr_at_01: true_positives(members, rest, 0.001),
        tpr_at_1: true_positives(members, rest, 0.01),
        others,
        references,
        elapsed_s,
    })
}

/// How many held-out examples are references, and how many others.
fn shares(held_out: usize) -> (usize, usize) {
    let references = REFERENCES.min(held_out / 2);
    (references, OTHERS.min(held_out - references))
}

/// Per cent of `members` above all but this share of `others`.
pub(crate) fn true_positives(members: &[f64], others: &[f64], rate: f64) -> f64 {
    let mut sorted = others.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let bar = sorted.get((rate * others.len() as f64).floor() as usize).copied().unwrap_or(f64::NEG_INFINITY);
    100.0 * members.iter().filter(|&&score| score > bar).count() as f64 / members.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_others_pass_than_the_rate_allows() {
        let others: Vec<f64> = (0..2000).map(f64::from).collect();
        let members = [1990.0, 1998.5, 1997.0, 3000.0];
        // Two of 2000 others may pass: the bar is the third.
        assert_eq!(true_positives(&members, &others, 0.001), 50.0);
        assert_eq!(true_positives(&members, &others, 0.01), 100.0);
        assert_eq!(true_positives(&members, &[f64::INFINITY; 5], 0.001), 0.0);
    }

    #[test]
    fn held_out_examples_are_shared_out() {
        assert_eq!(shares(10_000), (1000, 2000));
        assert_eq!(shares(1000), (500, 500));
    }
}
