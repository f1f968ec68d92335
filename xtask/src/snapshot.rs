//! Snapshots of a long run: what it needs to go on to the same bits after an interrupt, a kill or a power cut.
//!
//! Two files take turns, each written whole or not at all, so that one good one is there at every moment. Layout: 8
//! bytes magic `PLMPSNAP`, `u32` version, `u64` length of the body, 32 bytes BLAKE3 of the body, then the body (postcard):
//! the snapshot's number, the run's options as JSON, and the state. All integers are little-endian.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use palimpsest_mlp::checkpoint::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Misuse, output};

const MAGIC: &[u8; 8] = b"PLMPSNAP";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 32;
/// Largest file: twice the state of the largest network that `train` makes.
const MAX_BYTES: u64 = 5 << 30;
const SLOTS: u64 = 2;

/// How a run may go on after it was cut off.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Go on from the last snapshot in --out, after an interrupt or a kill; all other options must be as they were.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Seconds between snapshots, at least; an interrupt writes one besides.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub(crate) snapshot_every: f64,
}

impl ResumeArgs {
    /// Of a run inside a command of several: goes on when there is something to go on from.
    pub(crate) fn when_possible(folder: &Path) -> Self {
        Self { resume: slots(folder).iter().any(|slot| slot.exists()), snapshot_every: 30.0 }
    }

    fn interval(&self) -> Result<Duration> {
        Duration::try_from_secs_f64(self.snapshot_every).map_err(|_| {
            let got = self.snapshot_every;
            Misuse(format!("--snapshot-every must be a number of seconds of at least 0, got {got}")).into()
        })
    }
}

/// The snapshots of one run in its folder, which the caller has locked.
#[derive(Debug)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    options: String,
    every: Duration,
    last: Instant,
    /// Number of the next one; the newest has the largest.
    next: u64,
    failing: bool,
}

impl Snapshots {
    /// The snapshots of the run that `options` describe (a JSON object), and the state to go on from, if it is asked for
    /// and there is one.
    pub(crate) fn open<T: DeserializeOwned>(
        folder: &Path,
        args: &ResumeArgs,
        options: &impl Serialize,
    ) -> Result<(Self, Option<T>)> {
        let mut snapshots = Self {
            folder: folder.to_owned(),
            options: serde_json::to_string(options).context("cannot encode the options")?,
            every: args.interval()?,
            last: Instant::now(),
            next: 0,
            failing: false,
        };
        let there: Vec<PathBuf> = slots(folder).into_iter().filter(|slot| slot.exists()).collect();
        let names = there.iter().map(|slot| slot.display().to_string()).collect::<Vec<_>>().join(" and ");
        if there.is_empty() {
            if args.resume {
                output::note(&format!("{} holds no snapshot; this run starts anew", folder.display()));
            }
            return Ok((snapshots, None));
        }
        if !args.resume {
            bail!(Misuse(format!(
                "{} holds the snapshot of an unfinished run; add --resume to go on with it, choose another --out \
                 folder, or delete {names} to start anew",
                folder.display()
            )));
        }
        let mut newest: Option<Found> = None;
        for slot in &there {
            match read(slot) {
                Ok(found) if newest.as_ref().is_none_or(|best| found.number > best.number) => {
                    newest = Some(found);
                }
                Ok(_) => {}
                Err(problem) => output::note(&format!("{} is left unused: {problem:#}", slot.display())),
            }
        }
        let Some(newest) = newest else {
            bail!("no snapshot in {} can be used; delete {names} to start anew", folder.display());
        };
        if newest.options != snapshots.options {
            bail!(Misuse(format!(
                "the snapshot in {} is of another run ({}); repeat its options, choose another --out folder, or \
                 delete {names} to start anew",
                folder.display(),
                differences(&newest.options, &snapshots.options)
            )));
        }
        let state = postcard::from_bytes(newest.state()).with_context(|| {
            format!(
                "the snapshot in {} is of another version; delete {names} to start anew",
                folder.display()
            )
        })?;
        snapshots.next = newest.number.saturating_add(1);
        Ok((snapshots, Some(state)))
    }

    /// Least time between two.
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Whether it is time for the next one.
    pub(crate) fn due(&self) -> bool {
        // A clock that cannot jump.
        self.last.elapsed() >= self.every
    }

    /// Writes one in place of the older of the two. A full disk does not end the run: it is told once, and tried again.
    pub(crate) fn write(&mut self, state: &impl Serialize) {
        let written = self.bytes(state).and_then(|bytes| {
            Ok(write_atomically(&slots(&self.folder)[(self.next % SLOTS) as usize], &bytes)?)
        });
        match &written {
            Ok(()) => self.next += 1,
            Err(error) if !self.failing => output::note(&format!("{error:#}; the run goes on without")),
            Err(_) => {}
        }
        self.failing = written.is_err();
        self.last = Instant::now();
    }

    /// Removes them: the run is done, and its results are written.
    pub(crate) fn remove(self) {
        for slot in slots(&self.folder) {
            // One that stays costs a sentence the next time.
            let _ = fs::remove_file(slot);
        }
    }

    fn bytes(&self, state: &impl Serialize) -> Result<Vec<u8>> {
        // The header's place first, so that the body is written once.
        let bytes = postcard::to_extend(&(self.next, &self.options), vec![0; HEADER])?;
        let mut bytes = postcard::to_extend(state, bytes)?;
        let (header, body) = bytes.split_at_mut(HEADER);
        if body.len() as u64 > MAX_BYTES - HEADER as u64 {
            bail!("a snapshot of {} bytes is above the limit of {MAX_BYTES}", body.len());
        }
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&(body.len() as u64).to_le_bytes());
        header[20..].copy_from_slice(blake3::hash(body).as_bytes());
        Ok(bytes)
    }
}

fn slots(folder: &Path) -> [PathBuf; SLOTS as usize] {
    [folder.join("snapshot-1.bin"), folder.join("snapshot-2.bin")]
}

/// A snapshot whose checksum is right.
struct Found {
    number: u64,
    options: String,
    bytes: Vec<u8>,
    state_at: usize,
}

impl Found {
    fn state(&self) -> &[u8] {
        &self.bytes[self.state_at..]
    }
}

fn read(path: &Path) -> Result<Found> {
    let metadata = fs::metadata(path)?;
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        bail!("it is no regular file of at most {MAX_BYTES} bytes");
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    parse(bytes)
}

fn parse(bytes: Vec<u8>) -> Result<Found> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else { bail!("it is cut off") };
    if &header[..8] != MAGIC {
        bail!("it does not begin like a snapshot");
    }
    if header[8..12] != VERSION.to_le_bytes() {
        bail!("it is of another version than {VERSION}");
    }
    if header[12..20] != (body.len() as u64).to_le_bytes() {
        bail!("it is cut off or has bytes too many");
    }
    if &header[20..] != blake3::hash(body).as_bytes() {
        bail!("its checksum does not match");
    }
    let ((number, options), state) = postcard::take_from_bytes::<(u64, String)>(body)?;
    let state_at = bytes.len() - state.len();
    Ok(Found { number, options, bytes, state_at })
}

/// What two JSON objects of options differ in.
fn differences(then: &str, now: &str) -> String {
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

    const NOW: ResumeArgs = ResumeArgs { resume: true, snapshot_every: 0.0 };

    fn open(folder: &Path, args: ResumeArgs, seed: u64) -> Result<(Snapshots, Option<Vec<u32>>)> {
        Snapshots::open(folder, &args, &json!({ "seed": seed, "n": 10 }))
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
        let anew = ResumeArgs { resume: false, ..NOW };
        let message = open(folder.path(), anew, 1).unwrap_err().to_string();
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
        let seldom = ResumeArgs { snapshot_every: 1e6, ..NOW };
        assert!(!open(folder.path(), seldom, 1).unwrap().0.due());
        for wrong in [-1.0, f64::NAN, 1e30] {
            assert!(open(folder.path(), ResumeArgs { snapshot_every: wrong, ..NOW }, 1).is_err(), "{wrong}");
        }
    }
}
