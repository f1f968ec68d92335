//! Printing, and files written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use ndarray::{Array, ArrayBase, Data, Dimension};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};
use palimpsest_mlp::checkpoint::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What our files say they were made by.
pub(crate) const MADE_BY: &str = concat!("palimpsest ", env!("CARGO_PKG_VERSION"));

/// Who reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A person: results as text on standard output, notes and progress on standard error.
    Person,
    /// A program: one JSON object a line on standard output, each with an `event`.
    Machine,
    /// Nobody: errors only.
    Quiet,
}

static MODE: OnceLock<Mode> = OnceLock::new();

/// Sets who reads; called once, first thing.
pub(crate) fn set_mode(mode: Mode) {
    // A second call would be a mistake in this program, and the first stays in force.
    let _ = MODE.set(mode);
}

/// Who reads: a person unless told otherwise.
pub(crate) fn mode() -> Mode {
    MODE.get().copied().unwrap_or(Mode::Person)
}

/// Prints a line of results for a person; a program gets them by [`event`].
pub(crate) fn line(text: &str) {
    if mode() == Mode::Person {
        // Not `println!`, which panics when a reader such as `head` has gone; the files are written all the same.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Prints a line that is not a result: what is being done, what to know.
pub(crate) fn note(text: &str) {
    match mode() {
        Mode::Person => {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        Mode::Machine => event("note", &serde_json::json!({ "text": text })),
        Mode::Quiet => {}
    }
}

/// Prints an event for a program: the fields of `value`, an object, and `event`.
pub(crate) fn event(name: &str, value: &impl Serialize) {
    if mode() != Mode::Machine {
        return;
    }
    #[derive(Serialize)]
    struct Event<'a, T> {
        event: &'a str,
        #[serde(flatten)]
        value: &'a T,
    }
    if let Ok(text) = serde_json::to_string(&Event { event: name, value }) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Prints an error, to whoever reads.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    event("error", &serde_json::json!({ "text": text }));
}

/// Writes an array as `.npy`.
pub(crate) fn write_npy<A, S, D>(path: &Path, array: &ArrayBase<S, D>) -> Result<()>
where
    A: WritableElement,
    S: Data<Elem = A>,
    D: Dimension,
{
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).with_context(|| format!("cannot encode {}", path.display()))?;
    Ok(write_atomically(path, &bytes)?)
}

/// Writes an array as `.npy` if there is one; else removes what an earlier run has left in its place.
pub(crate) fn write_npy_if_any<A: WritableElement, D: Dimension>(
    path: &Path,
    array: Option<&Array<A, D>>,
) -> Result<()> {
    match array {
        Some(array) => write_npy(path, array),
        None if path.exists() => {
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
        }
        None => Ok(()),
    }
}

/// Longest header of our own arrays, in bytes.
const MAX_NPY_HEADER: u16 = 256;

/// Reads an `.npy` array as [`write_npy`] writes it.
pub(crate) fn read_npy<A: ReadableElement, D: Dimension>(path: &Path) -> Result<ndarray::Array<A, D>> {
    let bytes = read_limited(path)?;
    let read = || {
        // Checked here because the reader asks for as much memory as the header announces.
        ensure!(bytes.starts_with(b"\x93NUMPY\x01"), "it does not begin like an .npy file");
        let length = bytes.get(8..10).map_or(u16::MAX, |b| u16::from_le_bytes([b[0], b[1]]));
        ensure!(length <= MAX_NPY_HEADER, "its header is longer than {MAX_NPY_HEADER} bytes");
        let mut rest = bytes.as_slice();
        let values = Header::from_reader(&mut rest)?.shape.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
        ensure!(values.is_some_and(|n| n <= rest.len()), "it announces more values than it holds");
        Ok(ndarray::Array::read_npy(bytes.as_slice())?)
    };
    read().with_context(|| {
        format!("{} is not the array it should be; run the command that writes it again", path.display())
    })
}

/// Writes a value as pretty JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text =
        serde_json::to_string_pretty(value).with_context(|| format!("cannot encode {}", path.display()))?;
    text.push('\n');
    Ok(write_atomically(path, text.as_bytes())?)
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_limited(path)?).with_context(|| {
        format!("{} is damaged or of another version; run the command that writes it again", path.display())
    })
}

/// Largest file of a run folder.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A regular file of limited size, whole: a pipe would be waited for, a device never end.
fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file of at most 4 GiB"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// `path` made absolute for a message, without touching the disk beyond the current folder's name.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
