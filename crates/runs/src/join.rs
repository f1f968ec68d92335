//! Joins the parts of a run: all restarts there must be, of one run, each once or the same each time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use palimpsest_attack::{AttackState, Restart};

use crate::error::{Result, RunsError};
use crate::part::{DonePart, PartFile, PartFolder, read_part};

/// The parts of a run, joined.
#[derive(Debug)]
pub struct Joined {
    /// What they are parts of, as the first of them says.
    pub of: PartFile,
    /// Restarts there are.
    pub restarts: u64,
    /// The restarts.
    pub state: AttackState,
    /// Seconds that the parts took together.
    pub elapsed_s: f64,
}

/// Joins the parts in `folders`: restarts 0 to `restarts`, or to the last one that a part is for.
///
/// # Errors
/// [`RunsError::Refused`] for folders that are no parts, or parts of different runs; [`RunsError::Unusable`] for parts that are not
/// done or not there, with the commands that make them.
pub fn join(folders: &[PathBuf], restarts: Option<u64>) -> Result<Joined> {
    let parts = done_parts(folders)?;
    let Some((first_folder, first)) = parts.first() else {
        return Err(RunsError::Refused("there is nothing to join: name the folders of the parts".into()));
    };
    let of = first.of.clone();
    for (folder, part) in &parts {
        of.check_same_run(&part.of).map_err(|told| {
            let (folder, first) = (folder.display(), first_folder.display());
            RunsError::Refused(format!(
                "{folder} is of another run than {first} ({told}); leave one of them out"
            ))
        })?;
    }
    let end = parts.iter().map(|(_, part)| part.of.restarts.end).max().unwrap_or(0);
    let enough = parts.iter().filter_map(|(_, part)| part.made.enough).min();
    let restarts = restarts.unwrap_or(end);
    let needed = enough.map_or(restarts, |enough| enough.min(restarts));
    let elapsed_s = parts.iter().map(|(_, part)| part.made.elapsed_s).sum();
    let finished = all_restarts(parts, needed)?;
    let gaps = gaps(&finished, needed);
    if !gaps.is_empty() {
        let told: Vec<String> = gaps.iter().map(|gap| missing(&of, gap)).collect();
        return Err(RunsError::Unusable(format!("restarts are missing: {}", told.join("; "))));
    }
    Ok(Joined { of, restarts, state: AttackState { finished, under_way: BTreeMap::new() }, elapsed_s })
}

/// Reads parts that are all done; of those that are not, all are named.
///
/// # Errors
/// Those of [`join`].
pub fn done_parts(folders: &[PathBuf]) -> Result<Vec<(PathBuf, DonePart)>> {
    let (mut done, mut undone) = (Vec::new(), Vec::new());
    for folder in folders {
        match read_part(folder)? {
            PartFolder::Done(part) => done.push((folder.clone(), *part)),
            PartFolder::Begun(of) => undone.push(unfinished(folder, &of, "is not finished")),
            PartFolder::Damaged(of, problem) => {
                undone.push(unfinished(folder, &of, &format!("cannot be used ({problem})")));
            }
        }
    }
    if undone.is_empty() { Ok(done) } else { Err(RunsError::Unusable(undone.join("; "))) }
}

fn unfinished(folder: &Path, of: &PartFile, what: &str) -> String {
    format!("{} {what}; run: {}", folder.display(), of.command_for(&of.restarts, folder))
}

fn missing(of: &PartFile, gap: &Range<u64>) -> String {
    let folder = PathBuf::from(format!("part-{}-{}", gap.start, gap.end));
    format!("{}..{} are in no part; run: {}", gap.start, gap.end, of.command_for(gap, &folder))
}

/// The restarts below `needed`.
fn all_restarts(parts: Vec<(PathBuf, DonePart)>, needed: u64) -> Result<BTreeMap<u64, Restart>> {
    let mut finished: BTreeMap<u64, Restart> = BTreeMap::new();
    for (folder, part) in parts {
        for (number, restart) in part.made.finished.into_iter().filter(|(number, _)| *number < needed) {
            // Of two that differ neither is wrong, but a run that has either cannot be had again on one machine.
            if finished.get(&number).is_some_and(|other| !is_same(other, &restart)) {
                return Err(RunsError::Refused(format!(
                    "restart {number} in {} is not what it is in another part: they were made on machines that round differently; leave \
                     one of the parts out",
                    folder.display()
                )));
            }
            finished.insert(number, restart);
        }
    }
    Ok(finished)
}

/// Whether two runs are the same to the bit; a NaN is itself.
fn is_same(a: &Restart, b: &Restart) -> bool {
    let bytes = |restart: &Restart| postcard::to_stdvec(restart).unwrap_or_default();
    bytes(a) == bytes(b)
}

/// Ranges of numbers below `end` that are not in `finished`.
fn gaps(finished: &BTreeMap<u64, Restart>, end: u64) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut next = 0;
    for &number in finished.keys().chain([&end]) {
        if number > next {
            gaps.push(next..number);
        }
        next = number + 1;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use palimpsest_attack::{AttackParams, TerminationReason};
    use tempfile::TempDir;

    use super::*;
    use crate::record::ChannelOrder;

    fn restart(value: f32) -> Restart {
        Restart {
            coordinates: Array2::from_elem((2, 3), value),
            unrefined: None,
            multipliers: Array1::ones(2),
            relative_residual: f64::NAN,
            curve: vec![(0, 1.0)],
            termination: TerminationReason::MaxSteps,
        }
    }

    /// A folder with a part of a run with this seed.
    fn part(restarts: Range<u64>, seed: u64, value: f32) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let part = PartFile {
            made_by: "palimpsest 0".into(),
            model: "/net".into(),
            chain: None,
            channels: ChannelOrder::default(),
            network: "abc".into(),
            params: AttackParams::default(),
            seed,
            restarts: restarts.clone(),
            command: "palimpsest reconstruct --model net".into(),
        };
        let finished = restarts.map(|number| (number, restart(value + number as f32))).collect();
        part.begin(folder.path()).unwrap();
        let state = AttackState { finished, under_way: BTreeMap::new() };
        part.finish(folder.path(), &state, 2.0, None).unwrap();
        let path = folder.path().to_owned();
        (folder, path)
    }

    #[track_caller]
    fn refused(folders: &[&PathBuf], restarts: Option<u64>, words: &[&str]) {
        let folders: Vec<PathBuf> = folders.iter().map(|&folder| folder.clone()).collect();
        let message = join(&folders, restarts).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{message}\ndoes not say {word:?}");
        }
    }

    #[test]
    fn all_restarts_come_together_in_their_order() {
        let (_a, a) = part(0..2, 1, 0.0);
        let (_b, b) = part(2..5, 1, 0.0);
        let (_again, again) = part(1..3, 1, 0.0);
        for folders in [vec![a.clone(), b.clone()], vec![b.clone(), again, a.clone()]] {
            let joined = join(&folders, None).unwrap();
            assert_eq!((joined.restarts, joined.elapsed_s), (5, 2.0 * folders.len() as f64));
            let firsts: Vec<f32> =
                joined.state.finished.values().map(|restart| restart.coordinates[[0, 0]]).collect();
            assert_eq!(firsts, [0.0, 1.0, 2.0, 3.0, 4.0]);
        }
        assert_eq!(join(&[a, b], Some(3)).unwrap().state.finished.len(), 3);
    }

    #[test]
    fn what_is_missing_is_named_with_its_command() {
        let (_a, a) = part(1..2, 1, 0.0);
        let (_b, b) = part(4..5, 1, 0.0);
        refused(
            &[&a, &b],
            Some(7),
            &["0..1 are in no part", "--restarts 2..4 --out part-2-4", "--restarts 5..7 --out part-5-7"],
        );
        std::fs::remove_file(b.join("restarts.bin")).unwrap();
        let command = format!("--restarts 4..5 --out {} --resume", b.display());
        refused(&[&a, &b], None, &["is not finished", "reconstruct --model net", &command]);
        refused(&[], None, &["nothing to join"]);
        refused(&[&std::env::temp_dir()], None, &["no part of a run"]);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let (_a, a) = part(0..2, 1, 0.0);
        let (_b, b) = part(2..4, 2, 0.0);
        refused(&[&a, &b], None, &["another run", "seed was 1 and is 2"]);
        let (_c, c) = part(1..2, 1, 0.5);
        refused(&[&a, &c], None, &["restart 1", "round differently"]);
    }
}
