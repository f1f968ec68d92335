//! A data set that was loaded: two parts, and where they came from.

use std::path::PathBuf;

use crate::catalogue::Origin;
use crate::{Dataset, Reading};

/// Training and held-out examples that do not overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Examples to train on.
    pub train: Dataset,
    /// Separate examples that no training may see.
    pub test: Dataset,
    /// The files they came from, in the order they were read.
    pub files: Vec<DataFile>,
    /// What was read otherwise than it is written, to be said aloud; each once.
    pub readings: Vec<Reading>,
}

/// A file that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Path, or name of an embedded file.
    pub name: PathBuf,
    /// SHA-256 of the unpacked bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// What the checksum says about it.
    pub origin: Origin,
}
