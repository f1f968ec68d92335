//! `palimpsest merge`: joins the parts of an attack that several machines have made.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use palimpsest_runs::MADE_BY;
use palimpsest_runs::join::{Joined, join};

use super::bounds::MAX_RESTARTS;
use super::input_shape::{InputShape, to_channels_first};
use super::model_file::{Model, load_model};
use super::reconstruct::{self, Known, PoolName, Task, attack_from, digest};
use crate::terminal::{Misuse, ResumeArgs, lock_folder, output};

/// Join parts of an attack: restarts made by several machines with `reconstruct --restarts A..B`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest reconstruct --model net.safetensors --input-shape 3x32x32 --restarts 0..8 --out part-0
  palimpsest reconstruct --model net.safetensors --input-shape 3x32x32 --restarts 8..16 --out part-1
  palimpsest merge part-0 part-1 --out runs/attack
  palimpsest merge part-* --restarts 64 --out runs/attack

Writes what `reconstruct --restarts 16` would have written, to the bit, however the restarts were split; only the times differ, and all
machines must have the same kind of processor, as products round by its instructions. Here is done what needs all restarts: the
search for activation patterns, pooling. Parts of another network, seed, options or version are refused; a part that is
missing or was not finished is named with the command that makes it. After Ctrl-C or a kill the same command begins again.")]
pub struct MergeArgs {
    /// Folders that `reconstruct --restarts A..B` wrote.
    #[arg(value_name = "DIR", required = true)]
    pub parts: Vec<PathBuf>,
    /// How many restarts there must be [default: up to the last that a part is for].
    #[arg(long, value_name = "R")]
    pub restarts: Option<u64>,
    /// The network, where it is no longer where the parts found it; its weights must be the same.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Threads [default: all cores]; the result is the same for any number.
    #[arg(long, value_name = "T")]
    pub threads: Option<usize>,
    /// In which form all candidates are kept [default: inputs, or coordinates where these would take more than 64 MiB].
    #[arg(long, value_enum, value_name = "FORM", num_args = 0..=1, default_missing_value = "coordinates")]
    pub keep_pool: Option<PoolName>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Carries out `palimpsest merge`.
///
/// # Errors
/// Whatever keeps the parts from being joined; [`Misuse`] for options that cannot work.
pub fn run(args: &MergeArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let threads = reconstruct::checked_threads(args.threads)?;
    if let Some(restarts) = args.restarts.filter(|restarts| !(1..=MAX_RESTARTS as u64).contains(restarts)) {
        return Err(Misuse(format!("--restarts must be between 1 and {MAX_RESTARTS}, got {restarts}")).into());
    }
    let joined = join(&args.parts, args.restarts)?;
    output::note(&format!("{} restarts of {} parts", joined.state.finished.len(), args.parts.len()));
    let task = task(args, &joined, threads)?;
    let Joined { state, elapsed_s, .. } = joined;
    let attacked = attack_from(&task, Known { state, elapsed_s })?;
    if attacked.broken_off {
        output::note("stopped early; the same command begins again");
    }
    reconstruct::tell("merge", &args.out, &attacked.dropped());
    Ok(())
}

/// The attack that the parts are of.
fn task(args: &MergeArgs, joined: &Joined, threads: usize) -> Result<Task> {
    let of = &joined.of;
    ensure!(
        of.made_by == MADE_BY,
        "the parts were made by {}, and this is {MADE_BY}; merge them with that, or make them again",
        of.made_by
    );
    let model = args.model.clone().unwrap_or_else(|| of.model.clone());
    let Model { mut network, .. } = load_model(&model, of.chain.as_deref())?;
    if let Some(sides) = of.params.prior.image_shape {
        to_channels_first(&mut network, InputShape { sides, channels: of.channels });
    }
    ensure!(
        digest(&network) == of.network,
        "{} is not the network that the parts are of; name that by --model",
        model.display()
    );
    let mut params = of.params;
    params.restarts = joined.restarts as usize;
    Ok(Task {
        model,
        chain: of.chain.clone(),
        channels: of.channels,
        network,
        params,
        seed: of.seed,
        threads,
        time_limit_s: None,
        out: args.out.clone(),
        resume: ResumeArgs::when_possible(&args.out),
        pool: args.keep_pool.map(Into::into),
        live: false,
    })
}
