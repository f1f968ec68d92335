//! What can go wrong when images are unmixed.

use palimpsest_numerics::factor::FactorError;

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
    /// A factorisation inside failed.
    #[error(transparent)]
    Factor(#[from] FactorError),
}
