//! One folder, one writer: a lock that the system takes back however its holder ends.
//!
//! The lock is on a file in the folder that also says who holds it. A holder that was killed leaves the file behind,
//! but no lock, so the next one simply takes over and clears away what was half written.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Host;
use crate::error::{Result, RunsError};

const NAME: &str = ".palimpsest-lock";
/// Most bytes of a holder's name that are shown.
const MAX_HOLDER_BYTES: u64 = 300;
/// How often a file is tried: a holder that was killed keeps its lock until the system has taken its memory back, and one
/// that ends takes the file's name with it.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// The right to write into a folder, given back when dropped.
#[derive(Debug)]
#[must_use = "the folder is locked only while this lives"]
pub struct FolderLock {
    path: PathBuf,
    /// The folder, if it was not there before.
    made: Option<PathBuf>,
    _file: File,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // The lock goes with the file's last handle; a name left behind does no harm.
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.made {
            // Only an empty one goes: a command that was refused leaves no trace.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Creates a folder for results and locks it, which also shows that files can be written there.
///
/// A second writer is told `holder`: which process this is, where, and since when.
///
/// # Errors
/// [`RunsError::Unusable`] with the holder when another process writes there; [`RunsError::File`].
pub fn lock_folder(folder: &Path, holder: &str, host: Host) -> Result<FolderLock> {
    let cannot = |error: io::Error| {
        RunsError::file(format!("cannot write into {}; choose another --out folder", folder.display()), error)
    };
    let made = (!folder.exists()).then(|| folder.to_owned());
    fs::create_dir_all(folder).map_err(cannot)?;
    let path = folder.join(NAME);
    for attempt in 1..=TRIES {
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if attempt < TRIES => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(TryLockError::WouldBlock) => return Err(RunsError::Unusable(held(folder, file))),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                (host.tell)(&format!("{} cannot be locked; let no other run write there", folder.display()));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        if still_named(&file, &path) {
            file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).map_err(cannot)?;
            clear_leftovers(folder);
            return Ok(FolderLock { path, made, _file: file });
        }
    }
    Err(cannot(io::Error::other(format!("{} is not a file of its own", path.display()))))
}

fn held(folder: &Path, file: File) -> String {
    let mut bytes = Vec::new();
    // Where a lock also forbids reading, the holder stays unknown.
    let _ = file.take(MAX_HOLDER_BYTES).read_to_end(&mut bytes);
    let text: String = String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).collect();
    let holder = if text.is_empty() { "another process".to_owned() } else { text };
    format!(
        "{} is being written by {holder}; wait for its end, stop it, or choose another --out folder",
        folder.display()
    )
}

/// Whether the locked file is still what others will find under that name, and no link to elsewhere.
#[cfg(unix)]
fn still_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Where open files keep their names, a locked file is the one that others find.
#[cfg(not(unix))]
fn still_named(_: &File, _: &Path) -> bool {
    true
}

/// Removes temporary files of a holder that was killed while it wrote.
fn clear_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".palimpsest-") && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock_folder(folder: &Path) -> Result<FolderLock> {
        let host = Host { now: || Duration::ZERO, tell: |_| {} };
        super::lock_folder(folder, "process 7 on here, started 2026", host)
    }

    #[test]
    fn a_second_writer_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock_folder(folder.path()).unwrap();
        let refusal = lock_folder(folder.path()).unwrap_err().to_string();
        for word in ["process 7 on here, started 20", "--out"] {
            assert!(refusal.contains(word), "{refusal}");
        }
        drop(lock);
        drop(lock_folder(folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        let new = folder.path().join("new");
        drop(lock_folder(&new).unwrap());
        assert!(!new.exists(), "an empty folder is not left either");
        let lock = lock_folder(&new).unwrap();
        fs::write(new.join("result"), "content").unwrap();
        drop(lock);
        assert!(new.join("result").exists());
    }

    #[test]
    fn what_a_killed_holder_left_is_cleared_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [NAME, ".palimpsest-x7.tmp", "model.palimpsest", "notes.tmp"] {
            fs::write(folder.path().join(name), "process 1 on elsewhere, started never").unwrap();
        }
        drop(lock_folder(folder.path()).unwrap());
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["model.palimpsest", "notes.tmp"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_in_the_lock_s_place_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("precious");
        fs::write(&elsewhere, "content").unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink(&elsewhere, run.join(NAME)).unwrap();
        assert!(lock_folder(&run).is_err());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "content");
    }

    #[test]
    fn many_writers_at_once_never_hold_it_together() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        if let Ok(lock) = lock_folder(folder.path()) {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the folder");
                            entered.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
        assert!(entered.into_inner() >= 50);
    }
}
