//! Which search is run from each start.

use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::search::adam;
use crate::search::alternating::{self, AlternatingParams};
use crate::search::annealed::DescentParams;
use crate::search::published::{self, GradientParams};

/// Which attack is run from each start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Method {
    /// Descent on the first layer's residual while the gates sharpen; in the weights' subspace.
    Annealed(DescentParams),
    /// Gates fixed, least squares, repeat; in the weights' subspace.
    Alternating(AlternatingParams),
    /// The published momentum descent, on all inputs.
    Gradient(GradientParams),
}

impl Method {
    /// Steps of a restart.
    pub fn steps(&self) -> usize {
        match self {
            Self::Annealed(options) => options.steps,
            Self::Alternating(options) => options.steps,
            Self::Gradient(options) => options.steps,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        match self {
            Self::Annealed(options) => options.check(),
            Self::Alternating(options) => options.check(),
            Self::Gradient(options) => options.check(),
        }
    }

    /// Whether it works in the coordinates of the weights' own subspace, instead of on inputs.
    pub(crate) fn is_in_subspace(&self) -> bool {
        !matches!(self, Self::Gradient(_))
    }

    pub(crate) fn moments(&self) -> usize {
        match self {
            Self::Annealed(_) => adam::MOMENTS,
            Self::Alternating(_) => alternating::MOMENTS,
            Self::Gradient(_) => published::MOMENTS,
        }
    }
}
