//! Which kinds of files are read: one line each.

use std::fmt;

use super::{Contents, ReadOptions, keras, npz, onnx, pth, safetensors, sklearn, skops};

/// Every kind that is known, in the order in which a file is tried.
const FORMATS: &[Format] = &[
    safetensors::FORMAT,
    keras::H5,
    keras::ARCHIVE,
    skops::FORMAT,
    sklearn::FORMAT,
    npz::FORMAT,
    pth::FORMAT,
    onnx::FORMAT,
];

/// Kind of a file; two are equal when their names are.
#[derive(Clone, Copy)]
pub struct Format {
    pub(super) name: &'static str,
    /// Whether bytes begin as this kind does; cheap, and never wrong about a whole file of another kind.
    pub(super) recognise: fn(&[u8]) -> bool,
    pub(super) read: for<'a> fn(&'a [u8], &ReadOptions) -> Result<Contents<'a>, String>,
}

impl Format {
    /// The ending that files of this kind have, such as `.pth`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The kind that bytes are of, told from how they begin.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        FORMATS.iter().find(|format| (format.recognise)(bytes)).copied()
    }

    /// All kinds that are known.
    pub fn all() -> &'static [Self] {
        FORMATS
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Format({})", self.name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
