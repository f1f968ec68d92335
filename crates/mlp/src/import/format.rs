//! A kind of file that is read.

use std::fmt;

use super::contents::Contents;
use super::options::ReadOptions;

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
