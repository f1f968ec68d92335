//! What can go wrong with an attack.

use std::ops::Range;

use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::range::OutOfRange;
use palimpsest_unmix::UnmixError;

/// Everything this crate reports; shape mistakes of a caller panic instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
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
    /// The network has no training data to give back by this method.
    #[error("this network cannot be attacked: {0}")]
    NotAttackable(String),
    /// A restart to go on from is not one of this attack.
    #[error(
        "restart {restart} of the attack to go on from is of another network or of other options: {problem}"
    )]
    ForeignRestart {
        /// Index of the restart.
        restart: u64,
        /// What does not fit.
        problem: String,
    },
    /// Restarts come in rounds, and those before the ones that were asked for are not known.
    #[error(
        "restarts of this network come in rounds, each on what the ones before have left of the equation: restarts {}..{} come before \
         these, and of them {missing} is not among those that are known", .needed.start, .needed.end
    )]
    EarlierRestarts {
        /// Restarts that must be known.
        needed: Range<u64>,
        /// The first of them that is not.
        missing: u64,
    },
    /// No restart came to an end.
    #[error("no restart finished: {0}")]
    NothingFinished(String),
    /// A factorisation inside failed.
    #[error(transparent)]
    Factor(#[from] FactorError),
}

impl From<UnmixError> for AttackError {
    fn from(error: UnmixError) -> Self {
        match error {
            UnmixError::BadOption { name, allowed, got } => Self::BadOption { name, allowed, got },
            UnmixError::Factor(error) => Self::Factor(error),
            other => Self::NotAttackable(other.to_string()),
        }
    }
}

impl From<OutOfRange> for AttackError {
    fn from(OutOfRange { name, allowed, got }: OutOfRange) -> Self {
        Self::BadOption { name, allowed, got }
    }
}
