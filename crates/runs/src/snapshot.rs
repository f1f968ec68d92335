//! Snapshots of a long run: what it needs to go on to the same bits after an interrupt, a kill or a power cut.
//!
//! Two files take turns, each written whole or not at all, so that one good one is there at every moment. Layout: 8
//! bytes magic `PLMPSNAP`, `u32` version, `u64` length of the body, 32 bytes BLAKE3 of the body, then the body (postcard):
//! the snapshot's number, the run's options as JSON, and the state. All integers are little-endian.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palimpsest_mlp::checkpoint::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Host;
use crate::error::{Result, RunsError};

const MAGIC: &[u8; 8] = b"PLMPSNAP";
const VERSION: u32 = 3;
const HEADER: usize = 8 + 4 + 8 + 32;
/// Largest file: twice the state of the largest network that `train` makes.
const MAX_BYTES: u64 = 5 << 30;
const SLOTS: u64 = 2;

/// How a run begins in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// From its start; refused where an unfinished run has left a snapshot.
    Anew,
    /// From the last snapshot, if there is one; all options must be as they were.
    FromSnapshot,
}

impl Resume {
    /// Of a run inside a command of several: goes on when there is something to go on from.
    pub fn when_possible(folder: &Path) -> Self {
        if slots(folder).iter().any(|slot| slot.exists()) { Self::FromSnapshot } else { Self::Anew }
    }
}

/// The snapshots of one run in its folder, which the caller has locked.
#[derive(Debug)]
pub struct Snapshots {
    folder: PathBuf,
    options: String,
    every: Duration,
    host: Host,
    last: Duration,
    /// Number of the next one; the newest has the largest.
    next: u64,
    failing: bool,
}

impl Snapshots {
    /// The snapshots of the run that `options` describe (a JSON object), and the state to go on from, if it is asked for
    /// and there is one. The next one is due after `every`.
    ///
    /// # Errors
    /// [`RunsError::Refused`] when there is one and it was not asked for, or it is of a run with other options;
    /// [`RunsError::Unusable`] when none of those there is whole; [`RunsError::File`].
    pub fn open<T: DeserializeOwned>(
        folder: &Path,
        resume: Resume,
        every: Duration,
        options: &impl Serialize,
        host: Host,
    ) -> Result<(Self, Option<T>)> {
        let options = serde_json::to_string(options)
            .map_err(|error| RunsError::file("cannot encode the options", error))?;
        let mut snapshots = Self {
            folder: folder.to_owned(),
            options,
            every,
            host,
            last: (host.now)(),
            next: 0,
            failing: false,
        };
        let there: Vec<PathBuf> = slots(folder).into_iter().filter(|slot| slot.exists()).collect();
        let names = there.iter().map(|slot| slot.display().to_string()).collect::<Vec<_>>().join(" and ");
        if there.is_empty() {
            if resume == Resume::FromSnapshot {
                (host.tell)(&format!("{} holds no snapshot; this run starts anew", folder.display()));
            }
            return Ok((snapshots, None));
        }
        if resume == Resume::Anew {
            return Err(RunsError::Refused(format!(
                "{} holds the snapshot of an unfinished run; add --resume to go on with it, choose another --out \
                 folder, or delete {names} to start anew",
                folder.display()
            )));
        }
        let Some(newest) = newest(&there, host) else {
            return Err(RunsError::Unusable(format!(
                "no snapshot in {} can be used; delete {names} to start anew",
                folder.display()
            )));
        };
        if newest.options != snapshots.options {
            return Err(RunsError::Refused(format!(
                "the snapshot in {} is of another run ({}); repeat its options, choose another --out folder, or \
                 delete {names} to start anew",
                folder.display(),
                differences(&newest.options, &snapshots.options)
            )));
        }
        let state = postcard::from_bytes(newest.state()).map_err(|error| {
            RunsError::file(
                format!(
                    "the snapshot in {} is of another version; delete {names} to start anew",
                    folder.display()
                ),
                error,
            )
        })?;
        snapshots.next = newest.number.saturating_add(1);
        Ok((snapshots, Some(state)))
    }

    /// Least time between two.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Whether it is time for the next one.
    pub fn due(&self) -> bool {
        (self.host.now)().saturating_sub(self.last) >= self.every
    }

    /// Writes one in place of the older of the two. A full disk does not end the run: it is told once, and tried again.
    pub fn write(&mut self, state: &impl Serialize) {
        let slot = &slots(&self.folder)[(self.next % SLOTS) as usize];
        let written = pack(self.next, &self.options, state)
            .and_then(|bytes| write_atomically(slot, &bytes).map_err(|error| error.to_string()));
        match &written {
            Ok(()) => self.next += 1,
            Err(error) if !self.failing => (self.host.tell)(&format!("{error}; the run goes on without")),
            Err(_) => {}
        }
        self.failing = written.is_err();
        self.last = (self.host.now)();
    }

    /// Removes them: the run is done, and its results are written.
    pub fn remove(self) {
        for slot in slots(&self.folder) {
            // One that stays costs a sentence the next time.
            let _ = fs::remove_file(slot);
        }
    }
}

/// The bytes of a file of this kind.
pub(crate) fn pack(number: u64, options: &str, state: &impl Serialize) -> Result<Vec<u8>, String> {
    // The header's place first, so that the body is written once.
    let bytes =
        postcard::to_extend(&(number, options), vec![0; HEADER]).map_err(|error| error.to_string())?;
    let mut bytes = postcard::to_extend(state, bytes).map_err(|error| error.to_string())?;
    let (header, body) = bytes.split_at_mut(HEADER);
    if body.len() as u64 > MAX_BYTES - HEADER as u64 {
        return Err(format!("a snapshot of {} bytes is above the limit of {MAX_BYTES}", body.len()));
    }
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..20].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[20..].copy_from_slice(blake3::hash(body).as_bytes());
    Ok(bytes)
}

/// The newest of the snapshots that are whole; of the others it is told that they are left.
fn newest(there: &[PathBuf], host: Host) -> Option<Found> {
    let mut newest: Option<Found> = None;
    for slot in there {
        match read(slot) {
            Ok(found) if newest.as_ref().is_none_or(|best| found.number > best.number) => {
                newest = Some(found);
            }
            Ok(_) => {}
            Err(problem) => (host.tell)(&format!("{} is left unused: {problem}", slot.display())),
        }
    }
    newest
}

fn slots(folder: &Path) -> [PathBuf; SLOTS as usize] {
    [folder.join("snapshot-1.bin"), folder.join("snapshot-2.bin")]
}

/// A snapshot whose checksum is right.
pub(crate) struct Found {
    number: u64,
    pub(crate) options: String,
    bytes: Vec<u8>,
    state_at: usize,
}

impl Found {
    pub(crate) fn state(&self) -> &[u8] {
        &self.bytes[self.state_at..]
    }
}

/// Reads a file that [`pack`] made.
pub(crate) fn read(path: &Path) -> Result<Found, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(format!("it is no regular file of at most {MAX_BYTES} bytes"));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    parse(bytes)
}

fn parse(bytes: Vec<u8>) -> Result<Found, String> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else { return Err("it is cut off".into()) };
    if &header[..8] != MAGIC {
        return Err("it does not begin like a snapshot".into());
    }
    if header[8..12] != VERSION.to_le_bytes() {
        return Err(format!("it is of another version than {VERSION}"));
    }
    if header[12..20] != (body.len() as u64).to_le_bytes() {
        return Err("it is cut off or has bytes too many".into());
    }
    if &header[20..] != blake3::hash(body).as_bytes() {
        return Err("its checksum does not match".into());
    }
    let ((number, options), state) =
        postcard::take_from_bytes::<(u64, String)>(body).map_err(|error| error.to_string())?;
    let state_at = bytes.len() - state.len();
    Ok(Found { number, options, bytes, state_at })
}

/// What two JSON objects of options differ in.
pub(crate) fn differences(then: &str, now: &str) -> String {
    let parse = |text| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (then, now) = (parse(then), parse(now));
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    let told = names
        .into_iter()
        .filter(|&name| then.get(name) != now.get(name))
        .map(|name| format!("{name} was {} and is {}", shown(then.get(name)), shown(now.get(name))));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Resume = Resume::FromSnapshot;
    const HOST: Host = Host { now: || Duration::from_secs(1000), tell: |_| {} };

    fn open(folder: &Path, resume: Resume, seed: u64) -> Result<(Snapshots, Option<Vec<u32>>)> {
        Snapshots::open(folder, resume, Duration::ZERO, &json!({ "seed": seed, "n": 10 }), HOST)
    }

    fn folder_with(states: &[&[u32]]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (mut snapshots, found) = open(folder.path(), NOW, 1).unwrap();
        assert_eq!(found, None);
        states.iter().for_each(|state| snapshots.write(state));
        folder
    }

    #[test]
    fn the_newest_comes_back_and_two_are_kept() {
        let folder = folder_with(&[&[1], &[2, 3], &[4, 5, 6]]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let (mut snapshots, state) = open(folder.path(), NOW, 1).unwrap();
        assert_eq!(state, Some(vec![4, 5, 6]));
        // The numbers go on, too.
        snapshots.write(&vec![7_u32]);
        let (snapshots, state) = open(folder.path(), NOW, 1).unwrap();
        assert_eq!(state, Some(vec![7]));
        snapshots.remove();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_one_gives_way_to_the_other() {
        let folder = folder_with(&[&[1], &[2, 3]]);
        let newest = folder.path().join("snapshot-2.bin");
        let whole = fs::read(&newest).unwrap();
        assert!(parse(whole.clone()).is_ok() && parse([&whole[..], &[0]].concat()).is_err());
        for end in 0..whole.len() {
            assert!(parse(whole[..end].to_vec()).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            assert!(parse(flipped).is_err(), "flipped at {at}");
        }
        fs::write(&newest, &whole[1..]).unwrap();
        assert_eq!(open(folder.path(), NOW, 1).unwrap().1, Some(vec![1]));
        let (mut snapshots, _) = open(folder.path(), NOW, 1).unwrap();
        snapshots.write(&vec![8_u32]);
        assert_eq!(open(folder.path(), NOW, 1).unwrap().1, Some(vec![8]), "the damaged one is replaced");
        for slot in slots(folder.path()) {
            fs::write(slot, "nothing of use").unwrap();
        }
        let message = open(folder.path(), NOW, 1).unwrap_err().to_string();
        assert!(message.contains("delete"), "{message}");
    }

    #[test]
    fn a_foreign_or_forgotten_one_is_refused_with_advice() {
        let folder = folder_with(&[&[1]]);
        let message = open(folder.path(), NOW, 2).unwrap_err().to_string();
        for word in ["seed was 1 and is 2", "repeat its options", "delete"] {
            assert!(message.contains(word), "{message}");
        }
        let message = open(folder.path(), Resume::Anew, 1).unwrap_err().to_string();
        assert!(message.contains("--resume") && message.contains("delete"), "{message}");
    }

    #[test]
    fn a_checksum_over_nonsense_is_no_state() {
        let folder = folder_with(&[&[1]]);
        for body in [&b""[..], &[0xff; 40], &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            let header = [&MAGIC[..], &VERSION.to_le_bytes(), &(body.len() as u64).to_le_bytes()].concat();
            let bytes = [&header[..], blake3::hash(body).as_bytes(), body].concat();
            fs::write(folder.path().join("snapshot-2.bin"), bytes).unwrap();
            assert_eq!(open(folder.path(), NOW, 1).unwrap().1, Some(vec![1]));
        }
    }

    #[test]
    fn they_are_due_by_their_interval() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path(), NOW, 1).unwrap().0.due());
        let open = |every| {
            Snapshots::open::<u32>(folder.path(), NOW, Duration::from_secs(every), &json!({}), HOST)
                .unwrap()
                .0
        };
        let mut seldom = open(10);
        assert!(!seldom.due());
        seldom.host.now = || Duration::from_secs(1009);
        assert!(!seldom.due());
        seldom.host.now = || Duration::from_secs(1010);
        assert!(seldom.due());
        seldom.write(&1_u32);
        assert!(!seldom.due(), "the time runs from the last one");
    }
}
