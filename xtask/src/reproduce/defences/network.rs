//! A network of the table: trained, or made of one that was.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use palimpsest::judging::classifier::{self, TrainCommand, VictimRecord};
use palimpsest::judging::data::{DataArgs, VictimData};
use palimpsest::terminal::{ResumeArgs, lock_folder};
use palimpsest_mlp::train::StopReason;
use palimpsest_mlp::{Checkpoint, Mlp};
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::files;
use palimpsest_runs::record::MODEL_FILE;

use super::super::unfinished::{broken_off, finished};
use super::super::victims::ReproduceArgs;
use super::altered::Alteration;
use super::case::Case;
use super::listed::{self, Made, Training};

/// A network with what it was trained on.
pub(crate) struct Network {
    pub(crate) weights: Mlp<f32>,
    /// How it, or the network that it was made of, was trained.
    pub(super) record: VictimRecord,
    pub(crate) data: VictimData,
    pub(crate) data_args: DataArgs,
    /// The file of the weights.
    pub(super) model: PathBuf,
}

/// The network of `case`.
pub(super) fn made(args: &ReproduceArgs, case: &Case) -> Result<Network> {
    match &case.defence.made {
        Made::Trained(training) => trained(args, case, training),
        Made::Altered(alteration) => altered(args, case, *alteration),
    }
}

/// The network of the base, its weights changed.
fn altered(args: &ReproduceArgs, case: &Case, alteration: Alteration) -> Result<Network> {
    let base = listed::all().into_iter().find(|defence| defence.name == case.defence.base.name());
    let base = case.with(base.context("a base is a defence")?);
    let training = base.training().context("a base is trained")?;
    let mut made = trained(args, &base, &training)?;
    let seed = Seed::new(case.seed).named("alteration").named(case.defence.name);
    alteration.apply(&mut made.weights, &seed);
    let folder = case.folder(args).join("victim");
    let _lock = lock_folder(&folder)?;
    let provenance = Checkpoint::load(&made.model)?.provenance;
    made.model = folder.join(MODEL_FILE);
    Checkpoint { network: made.weights.clone(), provenance }.save(&made.model)?;
    Ok(made)
}

/// The network of `case`, trained if it is not there.
pub(crate) fn trained(args: &ReproduceArgs, case: &Case, training: &Training) -> Result<Network> {
    let data = case.data(args, training.times.unwrap_or(1), training.subtract)?;
    trained_on(args, case, training, data, (case.seed, case.folder(args).join("victim")))
}

/// A network trained like `case` on other data, from another seed, in a folder of its own; it is trained if it is not there.
pub(crate) fn trained_on(
    args: &ReproduceArgs,
    case: &Case,
    training: &Training,
    data_args: DataArgs,
    (seed, out): (u64, PathBuf),
) -> Result<Network> {
    let record = if finished(&out, "train.json") {
        files::read_json(&out.join("train.json"))?
    } else {
        classifier::taught(&TrainCommand {
            data: data_args.data,
            data_dir: data_args.data_dir.clone(),
            task: data_args.task.clone(),
            n: data_args.n.unwrap_or(case.n),
            counts: None,
            block: data_args.block,
            subtract: data_args.subtract,
            input_shape: None,
            hidden: training.hidden.clone().unwrap_or_else(|| case.hidden.clone()),
            regime: training.regime.clone(),
            epochs: training.epochs,
            seed,
            resume: ResumeArgs::when_possible(&out),
            recipe: training.recipe.clone(),
            out: out.clone(),
        })?
    };
    ensure!(record.trained.stop != StopReason::Observer, broken_off(args));
    let model = out.join(MODEL_FILE);
    let weights = Checkpoint::load(&model)?.network;
    Ok(Network { weights, record, data: VictimData::load(&data_args)?, data_args, model })
}
