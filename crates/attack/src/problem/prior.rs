//! What the attacker declares to know besides the weights.

use palimpsest_numerics::range::{OutOfRange, positive};
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::problem::head::Task;

/// What the attacker declares to know besides the weights. Everything here is written into the run's record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriorKnowledge {
    /// Smallest and largest raw input value, before the mean was removed: (0, 1) for images.
    pub input_range: (f64, f64),
    /// Typical Euclidean norm of an input as the network saw it, if known; otherwise see [`crate::AttackProblem::input_norm`].
    pub input_norm: Option<f64>,
    /// Channels, height and width of an input, if inputs are images: what [`palimpsest_unmix::separation`] needs.
    pub image_shape: Option<[usize; 3]>,
    /// What the network was trained to tell.
    #[serde(default)]
    pub task: Task,
}

impl Default for PriorKnowledge {
    /// A classifier of inputs between 0 and 1, norm and shape unknown.
    fn default() -> Self {
        Self { input_range: (0.0, 1.0), input_norm: None, image_shape: None, task: Task::default() }
    }
}

impl PriorKnowledge {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`].
    pub fn check(&self) -> Result<(), AttackError> {
        let (low, high) = self.input_range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            let allowed = "two finite numbers, the smaller first";
            return Err(OutOfRange::new("input range", allowed, format!("{low},{high}")).into());
        }
        if let Some(norm) = self.input_norm {
            positive("input norm", norm)?;
        }
        Ok(())
    }

    /// Norm of a typical natural image of `inputs` values without the mean image: a quarter of the range in every value.
    pub(crate) fn norm_of_image(&self, inputs: usize) -> f64 {
        let (low, high) = self.input_range;
        0.25 * (high - low) * (inputs as f64).sqrt()
    }
}
