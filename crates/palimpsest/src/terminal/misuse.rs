//! The caller's mistake, found out after the command line was parsed.

use palimpsest_numerics::range::OutOfRange;

/// An option whose value cannot work: exit code 2.
#[derive(Debug)]
pub struct Misuse(pub String);

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

impl From<OutOfRange> for Misuse {
    fn from(error: OutOfRange) -> Self {
        Self(error.to_string())
    }
}
