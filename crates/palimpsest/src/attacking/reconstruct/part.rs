//! `palimpsest reconstruct --restarts A..B`: some restarts of a run, as a part to be merged with others.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use palimpsest_attack::{AttackState, AttackStep, Part, Restart, make_restarts};
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::join::done_parts;
use palimpsest_runs::part::{PartFolder, RESTARTS_FILE, read_part};
use palimpsest_runs::{Kept, MADE_BY, PartFile};

use super::args::ReconstructArgs;
use super::task::{Task, digest, sentence, sentence_of_stopped};
use super::watch::Watch;
use crate::terminal::{Misuse, command_line, host, output, threads as workers};

/// Makes the restarts of these `numbers` in the folder of `args`, which the caller has locked.
pub(super) fn make(args: &ReconstructArgs, numbers: Range<u64>) -> Result<()> {
    let task = Task::of(args)?;
    let part = part_of(&task, numbers.clone());
    if args.resume.resume && is_done(&part, &task.out) {
        output::note(&format!("{} is done already", task.out.display()));
        return Ok(());
    }
    let known = known(&part, &args.known)?;
    task.require_memory((numbers.end - numbers.start) as usize)?;
    let resume = task.resume;
    // How many restarts there are is not known here, and the range is all the same for a part that goes on.
    let (kept, mut from) =
        Kept::open(&task.out, resume.start(), resume.interval()?, &snapshot_of(&part), host())?;
    part.begin(&task.out)?;
    from.finished.extend(known.finished);
    let watch = Watch::begin(&kept, &from, &task.params, numbers.clone(), task.limit());
    let keep = |number: u64, restart: &Restart| kept.finish(number, restart);
    let observe = |at: &AttackStep<'_>| watch.see(at);
    let pool = workers::pool(task.threads)?;
    let seed = Seed::new(task.seed);
    let made = pool.install(|| {
        make_restarts(&task.network, &task.params, seed, numbers.clone(), &from, &observe, &keep)
    });
    let stopped = watch.end();
    if stopped || made.is_err() {
        kept.write();
    }
    let made = made.map_err(if stopped { sentence_of_stopped } else { sentence })?;
    end(&part, &task.out, &made, kept)
}

/// Writes what was made, if it is all.
fn end(part: &PartFile, out: &Path, made: &Part, kept: Kept) -> Result<()> {
    let numbers = &part.restarts;
    let last = made.enough.map_or(numbers.end, |enough| enough.clamp(numbers.start, numbers.end));
    let (all, told) = (last - numbers.start, format!("{}..{}", numbers.start, numbers.end));
    if made.finished < all {
        // No success for a scheduler that waits for all parts.
        let finished = made.finished;
        bail!("stopped early after {finished} of {all} restarts; --resume goes on from here");
    }
    kept.state(|state| part.finish(out, state, kept.elapsed_s(), made.enough))?;
    let elapsed_s = kept.elapsed_s();
    kept.remove();
    if let Some(enough) = made.enough {
        output::line(&format!("after {enough} restarts more of them are of no use"));
    }
    output::line(&format!("restarts {told}: {all} made in {elapsed_s:.1} s"));
    output::line(&format!(
        "wrote {}; palimpsest merge joins parts",
        output::absolute(&out.join(RESTARTS_FILE)).display()
    ));
    output::event(
        "result",
        &serde_json::json!({
            "command": "reconstruct", "out": output::absolute(out), "part": told, "restarts": all, "enough": made.enough,
            "elapsed_s": elapsed_s,
        }),
    );
    Ok(())
}

/// What is made in the folder of `task`: the restarts of these `numbers`.
fn part_of(task: &Task, numbers: Range<u64>) -> PartFile {
    PartFile {
        made_by: MADE_BY.into(),
        model: output::absolute(&task.model),
        chain: task.chain.clone(),
        channels: task.channels,
        network: digest(&task.network),
        params: task.params,
        seed: task.seed,
        restarts: numbers,
        command: command_line::without(&["--restarts", "--out"], &["--resume"]),
    }
}

/// What a snapshot of a part must have in common with it: all but where its files are and how it was called.
fn snapshot_of(part: &PartFile) -> PartFile {
    PartFile { model: PathBuf::new(), chain: None, command: String::new(), ..part.clone() }
}

/// Whether `folder` holds just this part, done.
fn is_done(part: &PartFile, folder: &Path) -> bool {
    matches!(read_part(folder), Ok(PartFolder::Done(done)) if snapshot_of(&done.of) == snapshot_of(part))
}

/// The restarts in `folders`, which are parts of the same run.
fn known(part: &PartFile, folders: &[PathBuf]) -> Result<AttackState> {
    let mut state = AttackState::default();
    for (folder, known) in done_parts(folders)? {
        part.check_same_run(&known.of).map_err(|told| {
            anyhow!(Misuse(format!("--known {} is of another run ({told}); leave it out", folder.display())))
        })?;
        state.finished.extend(known.made.finished);
    }
    Ok(state)
}
