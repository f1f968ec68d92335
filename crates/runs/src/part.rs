//! Part of a run: some of its restarts in a folder of their own, to be joined with the others.
//!
//! [`PART_FILE`] says at the start which restarts of which run are made there, and by which command; [`RESTARTS_FILE`] is written
//! when all of them are done, whole or not at all, in the layout of a snapshot ([`crate::snapshot`]).

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use palimpsest_attack::{AttackParams, AttackState, Restart};
use serde::{Deserialize, Serialize};

use crate::error::{Result, RunsError};
use crate::files::{read_json, write_json, write_whole};
use crate::record::ChannelOrder;
use crate::snapshot::{differences, pack, read as read_packed};

/// Which restarts of which run a folder is for.
pub const PART_FILE: &str = "part.json";
/// The restarts, once all of them are done.
pub const RESTARTS_FILE: &str = "restarts.bin";

/// What [`PART_FILE`] holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartFile {
    /// The program that makes it.
    pub made_by: String,
    /// The network that is attacked, by absolute path.
    pub model: PathBuf,
    /// The chain of layers that is meant, where the file holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// In which order the network takes the values of a picture.
    #[serde(default)]
    pub channels: ChannelOrder,
    /// Checksum of the network, as it takes them channel by channel.
    pub network: String,
    /// Every option of the attack; how many restarts it has in all is not known here.
    pub params: AttackParams,
    /// Seed of the starts.
    pub seed: u64,
    /// Numbers of the restarts.
    pub restarts: Range<u64>,
    /// The command, for a shell, without its restarts and its folder.
    pub command: String,
}

/// A part whose restarts are done.
#[derive(Debug)]
pub struct DonePart {
    /// What it is of.
    pub of: PartFile,
    /// What has come of it.
    pub made: Made,
}

/// What has come of a part.
#[derive(Debug, Deserialize)]
pub struct Made {
    /// Seconds it took, over all its sessions.
    pub elapsed_s: f64,
    /// How many restarts are of use in all, if it is fewer than were asked for.
    pub enough: Option<u64>,
    /// The restarts.
    pub finished: BTreeMap<u64, Restart>,
}

/// [`Made`], borrowed.
#[derive(Serialize)]
struct Making<'a> {
    elapsed_s: f64,
    enough: Option<u64>,
    finished: BTreeMap<u64, &'a Restart>,
}

impl PartFile {
    /// Says in `folder` what will be made there, and removes what was made there before.
    ///
    /// # Errors
    /// [`RunsError`] when the folder cannot be written to.
    pub fn begin(&self, folder: &Path) -> Result<()> {
        let old = folder.join(RESTARTS_FILE);
        if old.exists() {
            fs::remove_file(&old)
                .map_err(|error| RunsError::file(format!("cannot remove {}", old.display()), error))?;
        }
        write_json(&folder.join(PART_FILE), self)
    }

    /// Writes those of `state` that belong to this part: it is done.
    ///
    /// # Errors
    /// [`RunsError`] when they cannot be written.
    pub fn finish(
        &self,
        folder: &Path,
        state: &AttackState,
        elapsed_s: f64,
        enough: Option<u64>,
    ) -> Result<()> {
        let path = folder.join(RESTARTS_FILE);
        let finished =
            state.finished.range(self.restarts.clone()).map(|(&number, restart)| (number, restart));
        let making = Making { elapsed_s, enough, finished: finished.collect() };
        let of = serde_json::to_string(self).map_err(|error| RunsError::encoding(&path, error))?;
        write_whole(&path, &pack(0, &of, &making).map_err(|error| RunsError::encoding(&path, error))?)
    }

    /// The command that makes `restarts` in `folder`.
    pub fn command_for(&self, restarts: &Range<u64>, folder: &Path) -> String {
        format!(
            "{} --restarts {}..{} --out {} --resume",
            self.command,
            restarts.start,
            restarts.end,
            folder.display()
        )
    }

    /// Whether `other` is part of the same run.
    ///
    /// # Errors
    /// What they differ in, in words.
    pub fn check_same_run(&self, other: &Self) -> Result<(), String> {
        let told = differences(&self.identity(), &other.identity());
        if told.is_empty() { Ok(()) } else { Err(told) }
    }

    /// What decides the bits of a restart, but for its number: a JSON object.
    fn identity(&self) -> String {
        #[derive(Serialize)]
        struct Identity<'a> {
            made_by: &'a str,
            network: &'a str,
            seed: u64,
            #[serde(flatten)]
            params: AttackParams,
        }
        let mut params = self.params;
        params.restarts = 1;
        let Self { made_by, network, seed, .. } = self;
        // What cannot be encoded differs in nothing; it could not have been written either.
        serde_json::to_string(&Identity { made_by, network, seed: *seed, params }).unwrap_or_default()
    }
}

/// What is in the folder of a part.
#[derive(Debug)]
pub enum PartFolder {
    /// All restarts that it is for.
    Done(Box<DonePart>),
    /// It was begun: a kill, an interrupt or a time limit came before its end, or it still runs.
    Begun(Box<PartFile>),
    /// Its restarts are there but cannot be used, for this reason.
    Damaged(Box<PartFile>, String),
}

/// Reads the folder of a part.
///
/// # Errors
/// [`RunsError::Refused`] for a folder that is none.
pub fn read_part(folder: &Path) -> Result<PartFolder> {
    let path = folder.join(PART_FILE);
    if !path.is_file() {
        return Err(RunsError::Refused(format!(
            "{} is no part of a run: it has no {PART_FILE}, which reconstruct --restarts A..B --out {0} writes",
            folder.display()
        )));
    }
    let of: PartFile = read_json(&path)?;
    let path = folder.join(RESTARTS_FILE);
    if !path.exists() {
        return Ok(PartFolder::Begun(Box::new(of)));
    }
    Ok(match read_made(&path, &of) {
        Ok(made) => PartFolder::Done(Box::new(DonePart { of, made })),
        Err(problem) => PartFolder::Damaged(Box::new(of), problem),
    })
}

fn read_made(path: &Path, of: &PartFile) -> Result<Made, String> {
    let packed = read_packed(path)?;
    let inside: PartFile = serde_json::from_str(&packed.options).map_err(|error| error.to_string())?;
    if inside != *of {
        return Err(format!("it is not of what {PART_FILE} beside it says"));
    }
    let made: Made = postcard::from_bytes(packed.state()).map_err(|error| error.to_string())?;
    let end = made.enough.map_or(of.restarts.end, |enough| enough.min(of.restarts.end));
    if !made.finished.keys().copied().eq(of.restarts.start..end.max(of.restarts.start)) {
        return Err("it does not hold the restarts it should".into());
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(restarts: Range<u64>) -> PartFile {
        PartFile {
            made_by: "palimpsest 0".into(),
            model: "/net".into(),
            chain: None,
            channels: ChannelOrder::default(),
            network: "abc".into(),
            params: AttackParams::default(),
            seed: 3,
            restarts,
            command: "palimpsest reconstruct --model net".into(),
        }
    }

    #[test]
    fn a_part_is_begun_done_or_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let refused = read_part(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("no part of a run"), "{refused}");
        let part = part(4..6);
        part.begin(folder.path()).unwrap();
        assert!(matches!(read_part(folder.path()).unwrap(), PartFolder::Begun(of) if *of == part));
        // Rounds that were done before it: nothing to make.
        part.finish(folder.path(), &AttackState::default(), 1.5, Some(4)).unwrap();
        let done = read_part(folder.path()).unwrap();
        assert!(matches!(&done, PartFolder::Done(done) if done.made.elapsed_s == 1.5), "{done:?}");
        let path = folder.path().join(RESTARTS_FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            for bytes in [&flipped[..], &whole[..at]] {
                fs::write(&path, bytes).unwrap();
                let read = read_part(folder.path()).unwrap();
                assert!(matches!(read, PartFolder::Damaged(..)), "{at}");
            }
        }
        part.finish(folder.path(), &AttackState::default(), 1.5, None).unwrap();
        let short = read_part(folder.path()).unwrap();
        assert!(matches!(&short, PartFolder::Damaged(_, why) if why.contains("restarts it should")));
        part.begin(folder.path()).unwrap();
        assert!(!path.exists(), "what was made before is gone");
    }

    #[test]
    fn parts_of_other_runs_are_told_apart() {
        assert_eq!(part(0..4).check_same_run(&part(4..9)), Ok(()));
        let mut seeded = part(4..8);
        seeded.seed = 4;
        let mut versioned = part(4..8);
        versioned.made_by = "palimpsest 1".into();
        let mut ranked = part(4..8);
        ranked.params.rank = Some(9);
        let mut counted = part(4..8);
        counted.params.restarts = 99;
        assert_eq!(
            part(0..4).check_same_run(&counted),
            Ok(()),
            "how many there are in all is another matter"
        );
        for (other, words) in
            [(seeded, "seed was 3 and is 4"), (versioned, "palimpsest 1"), (ranked, "rank was null and is 9")]
        {
            let told = part(0..4).check_same_run(&other).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn the_command_of_a_part_can_be_typed() {
        let typed = part(0..4).command_for(&(4..8), Path::new("part-1"));
        assert_eq!(typed, "palimpsest reconstruct --model net --restarts 4..8 --out part-1 --resume");
    }
}
