//! Files written whole or not at all, and read with a limit: arrays as `.npy`, records as JSON.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use ndarray::{Array, ArrayBase, Data, Dimension};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};
use palimpsest_mlp::checkpoint::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, RunsError};

/// What our files say they were made by.
pub const MADE_BY: &str = concat!("palimpsest ", env!("CARGO_PKG_VERSION"));

/// Writes an array as `.npy`.
///
/// # Errors
/// [`RunsError::File`].
pub fn write_npy<A, S, D>(path: &Path, array: &ArrayBase<S, D>) -> Result<()>
where
    A: WritableElement,
    S: Data<Elem = A>,
    D: Dimension,
{
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).map_err(|error| RunsError::encoding(path, error))?;
    write_whole(path, &bytes)
}

/// Writes an array as `.npy` if there is one; else removes what an earlier run has left in its place.
///
/// # Errors
/// [`RunsError::File`].
pub fn write_npy_if_any<A: WritableElement, D: Dimension>(
    path: &Path,
    array: Option<&Array<A, D>>,
) -> Result<()> {
    match array {
        Some(array) => write_npy(path, array),
        None if path.exists() => fs::remove_file(path)
            .map_err(|error| RunsError::file(format!("cannot remove {}", path.display()), error)),
        None => Ok(()),
    }
}

/// Longest header of our own arrays, in bytes.
const MAX_NPY_HEADER: u16 = 256;

/// Reads an `.npy` array as [`write_npy`] writes it.
///
/// # Errors
/// [`RunsError::File`] for a file that is not there, cut off, of another type or larger than it says.
pub fn read_npy<A: ReadableElement, D: Dimension>(path: &Path) -> Result<Array<A, D>> {
    let bytes = read_limited(path)?;
    let read = || -> std::result::Result<_, Box<dyn Error + Send + Sync>> {
        // Checked here because the reader asks for as much memory as the header announces.
        if !bytes.starts_with(b"\x93NUMPY\x01") {
            return Err("it does not begin like an .npy file".into());
        }
        let length = bytes.get(8..10).map_or(u16::MAX, |b| u16::from_le_bytes([b[0], b[1]]));
        if length > MAX_NPY_HEADER {
            return Err(format!("its header is longer than {MAX_NPY_HEADER} bytes").into());
        }
        let mut rest = bytes.as_slice();
        let values = Header::from_reader(&mut rest)?.shape.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
        if values.is_none_or(|n| n > rest.len()) {
            return Err("it announces more values than it holds".into());
        }
        Ok(Array::read_npy(bytes.as_slice())?)
    };
    read().map_err(|error| {
        RunsError::file(
            format!("{} is not the array it should be; run the command that writes it again", path.display()),
            error,
        )
    })
}

/// Writes a value as pretty JSON.
///
/// # Errors
/// [`RunsError::File`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| RunsError::encoding(path, error))?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}

/// Reads a JSON file.
///
/// # Errors
/// [`RunsError::File`] for a file that is not there or of another version.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_limited(path)?).map_err(|error| {
        let advice = "is damaged or of another version; run the command that writes it again";
        RunsError::file(format!("{} {advice}", path.display()), error)
    })
}

/// Writes `bytes` whole or not at all.
///
/// # Errors
/// [`RunsError::Write`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(write_atomically(path, bytes)?)
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
    read().map_err(|error| RunsError::file(format!("cannot read {}", path.display()), error))
}
