//! `palimpsest reconstruct`: attack the weights of a network.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use ndarray::{Array1, Array2, Axis};
use palimpsest_attack::{
    AttackParams, AttackState, AttackStep, Label, Origin, Reconstruction, Restart, Saturation,
    reconstruct_from,
};
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::pool::write_pool;
use palimpsest_runs::record::{
    APPEARANCE_FILE, ChannelOrder, LABELS_FILE, MEAN_IMAGE_FILE, RECONSTRUCTIONS_FILE,
};
use palimpsest_runs::{Kept, MADE_BY, PoolForm, RunFile, files};

use super::model_file::load_model;
use super::too_short::too_short;
use crate::terminal::{Misuse, host, interrupt, lock_folder, output, threads as workers};

mod args;
mod memory_need;
mod part;
mod so_far;
mod task;
mod watch;

pub(super) use args::MAX_RESTARTS;
pub(crate) use args::params;
pub(crate) use args::threads as checked_threads;
pub(crate) use memory_need::{attack_bytes, most_restarts};
pub(super) use task::{Task, digest, sentence, sentence_of_stopped};
pub(super) use watch::Watch;

pub use args::{PoolName, Range, ReconstructArgs, Restarts};

/// Carries out `palimpsest reconstruct`.
///
/// # Errors
/// Whatever keeps the attack from its end; [`Misuse`] for options that cannot work.
pub fn run(args: &ReconstructArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    for note in load_model(&args.model, args.chain.as_deref())?.notes {
        output::note(&note);
    }
    if let Some(Restarts::Numbers(numbers)) = &args.restarts {
        return part::make(args, numbers.clone());
    }
    if !args.known.is_empty() {
        bail!(Misuse("--known belongs to --restarts A..B; leave it out".into()));
    }
    let attacked = attack(args)?;
    if attacked.broken_off {
        output::note("stopped early; --resume goes on from here");
    }
    tell("reconstruct", &args.out, &attacked.done());
    Ok(())
}

/// Says what an attack has found, by its `record` in the folder `out`.
pub(super) fn tell(command: &str, out: &Path, record: &RunFile) {
    output::line(&record.exposure.sentences());
    let collapsed = record.restarts.iter().filter(|r| r.collapsed).count();
    output::line(&format!(
        "{} candidates from {} of {} restarts in {:.1} s (rank {}, {} a restart{})",
        record.candidates,
        record.restarts.len(),
        record.params.restarts,
        record.elapsed_s,
        record.rank,
        record.candidates_per_restart,
        if collapsed > 0 { format!(", {collapsed} collapsed") } else { String::new() },
    ));
    let residuals: Vec<String> =
        record.restarts.iter().map(|r| format!("{:.3}", r.relative_residual)).collect();
    let separated = record.restarts.iter().filter(|restart| restart.separated).count();
    if separated > 0 {
        output::line(&format!(
            "{separated} restarts began with images separated from the row space of the weights"
        ));
    }
    for stage in &record.stages {
        output::line(&match &stage.why_not {
            Some(why_not) => format!("stage {}: not used, {why_not}", stage.stage),
            None => format!("stage {}: {} candidates", stage.stage, stage.candidates),
        });
    }
    if !residuals.is_empty() {
        output::line(&format!("relative residuals {}", residuals.join(" ")));
    }
    output::line(&format!("wrote {}", output::absolute(&out.join(RECONSTRUCTIONS_FILE)).display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": command,
            "out": output::absolute(out),
            "candidates": record.candidates,
            "exact": record.count(Origin::ActivationPattern),
            "agreed": record.count(Origin::Deflation),
            "stages": record.stages,
            "distinct": record.ranking.len(),
            "restarts": record.restarts.len(),
            "residuals": record.restarts.iter().map(|r| r.relative_residual).collect::<Vec<_>>(),
            "stopped_early": record.stopped_early,
            "elapsed_s": record.elapsed_s,
        }),
    );
}

/// An attack whose files are written. Its snapshots stay until it is [`done`](Self::done), so that a command which goes on
/// with the files, and is killed, need not attack again.
#[must_use]
pub struct Attacked {
    /// What was done and found.
    pub record: RunFile,
    /// Whether an interrupt ended it, so that there is something to go on with.
    pub broken_off: bool,
    kept: Kept,
}

impl Attacked {
    /// Nothing can be lost any more: removes the snapshots, unless the attack was broken off.
    pub fn done(self) -> RunFile {
        if !self.broken_off {
            self.kept.remove();
        }
        self.record
    }

    /// Removes the snapshots of an attack that does not go on from them.
    pub(super) fn dropped(self) -> RunFile {
        self.kept.remove();
        self.record
    }
}

/// Runs the attack that `args` describe and writes its files into the folder, which the caller has locked.
pub fn attack(args: &ReconstructArgs) -> Result<Attacked> {
    attack_from(&Task::of(args)?, Known::default())
}

/// What is known of an attack beforehand.
#[derive(Default)]
pub(super) struct Known {
    pub(super) state: AttackState,
    /// Seconds that it took.
    pub(super) elapsed_s: f64,
}

/// Runs the attack of a `task`, of which something is `known`, and writes its files into its folder, which the caller has locked.
pub(super) fn attack_from(task: &Task, known: Known) -> Result<Attacked> {
    let Task { network, params, seed, threads, out, resume, .. } = task;
    task.require_memory(params.restarts)?;
    let (kept, mut from) = Kept::open(out, resume.start(), resume.interval()?, &task.options(), host())?;
    from.finished.extend(known.state.finished);
    let watch = Watch::begin(&kept, &from, params, 0..params.restarts as u64, task.limit());
    let so_far = task.live.then(|| so_far::SoFar::of(task));
    let keep = |number: u64, restart: &Restart| {
        kept.finish(number, restart);
        if let Some(so_far) = &so_far {
            so_far.see(number, restart, || known.elapsed_s + kept.elapsed_s());
        }
    };
    let observe = |at: &AttackStep<'_>| {
        if let (AttackStep::Separated(images), Some(so_far)) = (at, &so_far) {
            so_far.separated(images, || known.elapsed_s + kept.elapsed_s());
        }
        watch.see(at)
    };
    let pool = workers::pool(*threads)?;
    let found = pool.install(|| reconstruct_from(network, params, Seed::new(*seed), &from, &observe, &keep));
    let stopped = watch.end();
    if let Some(so_far) = so_far {
        so_far.end();
    }
    // A time limit ends a run as it was asked to; an interrupt only breaks it off.
    let broken_off = stopped && interrupt::requested();
    if broken_off {
        kept.write();
    }
    let found = found.map_err(if stopped { sentence_of_stopped } else { sentence })?;
    let asked = Asked {
        model: output::absolute(&task.model),
        chain: task.chain.clone(),
        channels: task.channels,
        dims: network.dims(),
        params: *params,
        seed: *seed,
        threads: *threads,
        time_limit_s: task.time_limit_s,
    };
    if let Some(saturation) = &found.saturation {
        output::note(&nothing_new(saturation));
    }
    let elapsed_s = known.elapsed_s + kept.elapsed_s();
    let record = RunFile { elapsed_s, stopped_early: stopped, ..asked.record(&found) };
    write(out, &found, &record, task.pool)?;
    if let Some(sentence) = too_short(&record) {
        output::note(&format!("warning: {sentence}"));
    }
    Ok(Attacked { record, broken_off, kept })
}

/// That an attack ended by itself.
pub(super) fn nothing_new(saturation: &Saturation) -> String {
    let Saturation { restarts, last, found } = saturation;
    format!(
        "ended by itself after {restarts} restarts: the last {last} brought nothing new (inputs on which restarts agree: {found})"
    )
}

/// What an attack was asked to do, and on what.
pub(crate) struct Asked {
    pub(crate) model: PathBuf,
    pub(crate) chain: Option<String>,
    pub(crate) channels: ChannelOrder,
    pub(crate) dims: Vec<usize>,
    pub(crate) params: AttackParams,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) time_limit_s: Option<f64>,
}

impl Asked {
    /// The record of what was found, by an attack that took no time and came to its end.
    pub(crate) fn record(self, found: &Reconstruction) -> RunFile {
        let Self { model, chain, channels, dims, params, seed, threads, time_limit_s } = self;
        RunFile {
            made_by: MADE_BY.into(),
            model,
            chain,
            dims,
            input_shape: params.prior.image_shape,
            channels,
            params,
            seed,
            threads,
            time_limit_s,
            exposure: found.exposure.clone(),
            saturation: found.saturation,
            rank: found.rank,
            candidates_per_restart: found.candidates_per_restart,
            candidates: found.candidates.len(),
            origins: found.origins.clone(),
            stages: found.stages.clone(),
            distinct_share: found.distinct_share,
            ranking: found.ranking.clone(),
            witnesses: found.witnesses.clone(),
            input_norm: found.input_norm,
            spectrum: found.spectrum.clone(),
            stopped_early: false,
            restarts: found.restarts.clone(),
            elapsed_s: 0.0,
        }
    }
}

/// Writes the labels: -1 and +1 where there are two, else class numbers.
fn write_labels(folder: &Path, found: &Reconstruction) -> Result<()> {
    let (path, labels) = (folder.join(LABELS_FILE), &found.labels);
    if found.head.labels() == 2 {
        let signs: Array1<i8> = labels.iter().map(|label| label.sign() as i8).collect();
        return Ok(files::write_npy(&path, &signs)?);
    }
    let classes: Array1<u32> = labels.iter().map(|&Label(class)| class as u32).collect();
    Ok(files::write_npy(&path, &classes)?)
}

/// Writes the files of the contract, the pool in the form asked for.
pub(crate) fn write(
    folder: &Path,
    found: &Reconstruction,
    record: &RunFile,
    pool: Option<PoolForm>,
) -> Result<()> {
    write_pool(folder, found.candidates.view(), found.in_span.as_ref(), pool)?;
    files::write_npy(&folder.join("multipliers.npy"), &found.multipliers)?;
    write_labels(folder, found)?;
    files::write_npy(&folder.join("confidence.npy"), &found.confidence)?;
    files::write_npy(&folder.join("agreement.npy"), &found.agreement)?;
    files::write_npy_if_any(&folder.join("bias_shares.npy"), found.bias_share.as_ref())?;
    let looks = found.appearance.as_ref().map(|looks| {
        Array2::from(
            looks.iter().map(|look| [look.contrast, look.brightness, look.unchanged]).collect::<Vec<_>>(),
        )
    });
    files::write_npy_if_any(&folder.join(APPEARANCE_FILE), looks.as_ref())?;
    let mean = found.mean_image.clone().map(|mean| mean.insert_axis(Axis(0)));
    files::write_npy_if_any(&folder.join(MEAN_IMAGE_FILE), mean.as_ref())?;
    files::write_npy(&folder.join(RECONSTRUCTIONS_FILE), &found.merged.view().to_owned())?;
    Ok(files::write_json(&folder.join("run.json"), record)?)
}
