//! What can go wrong with the folder of a run.

use std::error::Error;
use std::path::Path;

/// Why a folder, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunsError {
    /// Another option, or another folder, would do: the caller's to correct.
    #[error("{0}")]
    Refused(String),
    /// The folder cannot serve now, with what can be done about it.
    #[error("{0}")]
    Unusable(String),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] palimpsest_mlp::MlpError),
    /// A file cannot be read, written, or made sense of.
    #[error("{doing}")]
    File {
        /// What was tried, on which file.
        doing: String,
        /// What the system or the format says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A result of this crate.
pub type Result<T, E = RunsError> = std::result::Result<T, E>;

impl RunsError {
    /// `doing` failed because of `source`.
    pub(crate) fn file(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::File { doing: doing.into(), source: source.into() }
    }

    /// `path` cannot be brought into the form of a file.
    pub(crate) fn encoding(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::file(format!("cannot encode {}", path.display()), source)
    }
}
