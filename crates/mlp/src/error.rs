//! What can go wrong with networks, files and training.

use std::path::PathBuf;

use palimpsest_numerics::range::OutOfRange;

/// Everything this crate reports; shape mistakes of a caller panic instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MlpError {
    /// The layers do not form a network.
    #[error("not a network: {0}")]
    NotANetwork(String),
    /// A weight or bias is NaN or infinite.
    #[error(
        "layer {layer} has NaN or infinite weights; the network was not trained to an end or the file is damaged"
    )]
    NotFinite {
        /// Index of the layer, from 0.
        layer: usize,
    },
    /// A file holds no matrix such as was asked for; says which there are.
    #[error("no layer fits: {0}")]
    NoSuchMatrix(String),
    /// A tensor that was asked for has values that are NaN or infinite.
    #[error(
        "`{name}` has NaN or infinite values; the network was not trained to an end or the file is damaged"
    )]
    NotFiniteTensor {
        /// Name of the tensor.
        name: String,
    },
    /// The bytes are not a checkpoint of ours.
    #[error("not a readable checkpoint: {0}")]
    BadCheckpoint(String),
    /// The bytes are not a usable file of weights of that kind.
    #[error("this {format} file is not read: {problem}")]
    BadWeights {
        /// Kind of the file, by its usual ending.
        format: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A training option is out of range.
    #[error("{name} must be {allowed}, got {got}")]
    BadOption {
        /// Name of the option.
        name: &'static str,
        /// The range allowed.
        allowed: &'static str,
        /// What was given.
        got: String,
    },
    /// Training produced a NaN or an infinity.
    #[error(
        "training diverged at epoch {epoch} (the loss is not a number); make the inputs of ordinary size, or take a \
         smaller step size or less weight decay"
    )]
    Diverged {
        /// The epoch at which it was seen.
        epoch: usize,
    },
    /// A state to resume from is not one of this run.
    #[error(
        "the state to resume from is of another run: widths {:?}{}, here {:?}{}; repeat the options of that run, or \
         start anew",
        state.0, with_velocity(state.1), run.0, with_velocity(run.1)
    )]
    ForeignState {
        /// Widths of the state's network, and whether it has a velocity.
        state: (Vec<usize>, bool),
        /// The same of the run.
        run: (Vec<usize>, bool),
    },
    /// A factorisation inside failed.
    #[error(transparent)]
    Factor(#[from] palimpsest_numerics::factor::FactorError),
}

fn with_velocity(has_velocity: bool) -> &'static str {
    if has_velocity { " with a velocity" } else { "" }
}

impl From<OutOfRange> for MlpError {
    fn from(OutOfRange { name, allowed, got }: OutOfRange) -> Self {
        Self::BadOption { name, allowed, got }
    }
}
