//! What can go wrong in the library.

use std::path::PathBuf;

/// Why an audit, an attack or a training cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file holds no network that can be attacked.
    #[error("{}: {problem}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An option is out of range.
    #[error("{0}")]
    Option(String),
    /// The attack cannot be begun, or found nothing.
    #[error(transparent)]
    Attack(#[from] palimpsest_attack::AttackError),
    /// Training cannot be begun, or met a number that is not finite.
    #[error(transparent)]
    Train(#[from] palimpsest_mlp::MlpError),
    /// Results cannot be written or described.
    #[error("{0}")]
    Results(String),
}

/// A result of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;
