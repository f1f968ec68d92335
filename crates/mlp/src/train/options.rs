//! How a network is trained: schedules, spaces and limits.

use palimpsest_numerics::gemm::Parallelism;
use serde::{Deserialize, Serialize};

use crate::MlpError;

/// How the parameters move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Full-batch gradient descent on the mean logistic loss with a fixed step.
    ///
    /// # Source
    /// Haim et al. (2022), section 5: step 0.01, 1,000,000 epochs.
    GradientDescent {
        /// Step size, > 0.
        step_size: f64,
    },
    /// Gradient descent on the *logarithm* of the mean loss: time runs 1/loss times faster, the path is that of
    /// gradient flow. After 100 epochs the step halves whenever the log loss rises and else grows by 2 % up to
    /// `step_size`.
    LossNormalised {
        /// Largest step size, > 0; 0.01 suits the published widths.
        step_size: f64,
    },
    /// Heavy-ball descent (momentum 0.9) on mean loss + (weight_decay / 2) ||theta||^2, with 200 epochs of warm-up
    /// and a cosine fall to 0.1 % over the last 30 % of `max_epochs`. Ends near a true stationary point.
    ///
    /// # Source
    /// Buzaglo et al. (2023), section 4, for why weight decay gives an exact stationarity equation.
    WeightDecay {
        /// Strength, > 0; 1e-3 to 2e-3 suits n of 100 to 500.
        weight_decay: f64,
        /// Largest step size, > 0; 0.15 suits the published widths.
        step_size: f64,
    },
    /// Descent on the logarithm of the mean loss like [`Schedule::LossNormalised`], in a quarter of the epochs: momentum
    /// 0.5, and a step that follows the loss. From the sixth epoch on the step grows by 5 %, up to five times `step_size`,
    /// while the log loss falls by at most 0.1 an epoch; it shrinks by 10 % when it falls by more; it halves, and momentum
    /// starts anew, when it rises.
    PacedFlow {
        /// First step size, > 0; 0.01 suits the published widths.
        step_size: f64,
    },
}

/// In which coordinates the first layer is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainingSpace {
    /// On all d inputs.
    Full,
    /// On coordinates in the span of the training inputs: the same trajectory, fewer columns.
    ExactSubspace,
}

/// Options of [`train`](super::train); checked once on entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainParams {
    /// How the parameters move.
    pub schedule: Schedule,
    /// Epochs after which training ends in any case, >= 1.
    pub max_epochs: usize,
    /// Log of the mean loss at which training ends, if given.
    pub until_log_loss: Option<f64>,
    /// Coordinates of the first layer.
    pub space: TrainingSpace,
    /// Threads for each product.
    pub parallelism: Parallelism,
}

impl TrainParams {
    /// `schedule` for up to 8,000 epochs, in the exact subspace, on the calling thread.
    pub fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            max_epochs: 8_000,
            until_log_loss: None,
            space: TrainingSpace::ExactSubspace,
            parallelism: Parallelism::Sequential,
        }
    }

    pub(super) fn check(&self) -> Result<(), MlpError> {
        let positive = |name, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(MlpError::BadOption { name, allowed: "a finite number above 0", got: value.to_string() })
            }
        };
        match self.schedule {
            Schedule::GradientDescent { step_size }
            | Schedule::LossNormalised { step_size }
            | Schedule::PacedFlow { step_size } => positive("step_size", step_size)?,
            Schedule::WeightDecay { weight_decay, step_size } => {
                positive("weight_decay", weight_decay)?;
                positive("step_size", step_size)?;
            }
        }
        if self.max_epochs == 0 {
            return Err(MlpError::BadOption { name: "max_epochs", allowed: "at least 1", got: "0".into() });
        }
        if self.until_log_loss.is_some_and(|l| !l.is_finite()) {
            return Err(MlpError::BadOption {
                name: "until_log_loss",
                allowed: "a finite number",
                got: "NaN".into(),
            });
        }
        Ok(())
    }
}
