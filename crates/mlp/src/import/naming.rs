//! Names from a file, as they may be printed.

pub(super) use palimpsest_numerics::zip::shown;

/// Most keys listed for one file.
pub(super) const MAX_LISTED: usize = 50;
