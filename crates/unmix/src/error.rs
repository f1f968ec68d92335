//! What can go wrong with a separation.

use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::range::OutOfRange;

/// Everything this crate reports; shape mistakes of a caller panic instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnmixError {
    /// An option is out of range.
    #[error("{name} must be {allowed}, got {got}")]
    BadOption {
        /// Name of the option.
        name: &'static str,
        /// The range allowed.
        allowed: &'static str,
        /// What was given.
        got: String,
    },
    /// The declared shape of the images is not that of the rows, or too small to have edges.
    #[error(
        "images of {channels}x{height}x{width} do not fit rows of {columns} values, at least 3 high and wide"
    )]
    BadShape {
        /// Channels declared.
        channels: usize,
        /// Height declared.
        height: usize,
        /// Width declared.
        width: usize,
        /// Values of a row.
        columns: usize,
    },
    /// There is not one singular value for each row of the basis, or one is not finite.
    #[error("{rows} rows of a basis need as many finite singular values, got {got}")]
    BadSpectrum {
        /// Rows of the basis.
        rows: usize,
        /// Finite singular values given.
        got: usize,
    },
    /// No direction has a singular value above zero.
    #[error("there is nothing to separate: no direction has a singular value above zero")]
    NothingMixed,
    /// The basis has NaN or infinite entries.
    #[error("a basis of {rows} rows has entries that are not finite")]
    NotFinite {
        /// Rows of the basis.
        rows: usize,
    },
    /// A factorisation inside failed.
    #[error(transparent)]
    Factor(#[from] FactorError),
}

impl From<OutOfRange> for UnmixError {
    fn from(OutOfRange { name, allowed, got }: OutOfRange) -> Self {
        Self::BadOption { name, allowed, got }
    }
}
