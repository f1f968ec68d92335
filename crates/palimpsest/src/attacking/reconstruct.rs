//! `palimpsest reconstruct`: attack the weights of a network.

use std::path::Path;

use anyhow::{Result, bail};
use palimpsest_attack::{AttackState, AttackStep, Origin, Restart, Saturation, reconstruct_from};
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::record::RECONSTRUCTIONS_FILE;
use palimpsest_runs::{Kept, RunFile};

use super::model_file::load_model;
use super::record::{Asked, write};
use super::too_short::too_short;
use crate::terminal::{Misuse, host, interrupt, lock_folder, output, threads as workers};

mod args;
mod part;
mod so_far;
mod task;
mod watch;

pub(crate) use args::threads as checked_threads;
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
