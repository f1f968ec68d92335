//! How a network is trained: schedules, spaces and limits.

use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::{OutOfRange, at_least_one, finite, positive, within};
use serde::{Deserialize, Serialize};

use super::batch_options::{BatchSchedule, Optimizer};
use super::privacy::Privacy;
use crate::loss::Loss;
use crate::{Activation, MlpError};

/// How the parameters move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Full-batch gradient descent on the mean loss with a fixed step.
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
    /// Batches and an optimiser, as tutorials train: SGD, Adam or AdamW.
    Batches(BatchSchedule),
    /// Batches with differential privacy (DP-SGD): each step is on a sample in which each example is with probability batch size
    /// over n, each example's gradient is clipped, and noise is added to every parameter. [`SampledGaussian::of`] says what
    /// that makes; `order` and the size of a last batch mean nothing.
    ///
    /// Private are the steps. What else is told of the examples is not: their mean, if it was taken off, a loss or an accuracy on them, and
    /// the seed, from which the noise can be made again.
    ///
    /// # Source
    /// Abadi et al. (2016), algorithm 1.
    ///
    /// [`SampledGaussian::of`]: super::SampledGaussian::of
    PrivateBatches {
        /// The optimiser and its options.
        batches: BatchSchedule,
        /// Clipping and noise.
        privacy: Privacy,
    },
    /// [`Schedule::WeightDecay`] with another momentum: what the start has left is forgotten by a factor of e every
    /// (1 - momentum) / (step_size * weight_decay) epochs, so that more momentum needs fewer of them.
    HeavyBall {
        /// Strength, > 0; as in [`Schedule::WeightDecay`].
        weight_decay: f64,
        /// Largest step size, > 0.
        step_size: f64,
        /// Momentum, at least 0 and below 1.
        momentum: f64,
    },
}

/// A heavy ball with weight decay, whichever schedule says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct HeavyBall {
    pub(super) weight_decay: f64,
    pub(super) step_size: f64,
    pub(super) momentum: f64,
}

/// Momentum of [`Schedule::WeightDecay`].
const MOMENTUM: f64 = 0.9;

impl Schedule {
    /// Whether the first layer moves in the span of the inputs only, so that [`TrainingSpace::ExactSubspace`] is exact:
    /// not when each weight has a step of its own, nor when inputs are altered.
    pub fn keeps_span(&self) -> bool {
        match self {
            Self::Batches(batches) => {
                matches!(batches.optimizer, Optimizer::Sgd { .. }) && batches.augmentation.is_none()
            }
            // Noise is in every direction.
            Self::PrivateBatches { .. } => false,
            _ => true,
        }
    }

    /// That of a descent with weight decay; none of the others.
    pub(super) fn heavy_ball(&self) -> Option<HeavyBall> {
        match *self {
            Self::WeightDecay { weight_decay, step_size } => {
                Some(HeavyBall { weight_decay, step_size, momentum: MOMENTUM })
            }
            Self::HeavyBall { weight_decay, step_size, momentum } => {
                Some(HeavyBall { weight_decay, step_size, momentum })
            }
            _ => None,
        }
    }

    /// The options of batches, with privacy or without; none of full-batch descent.
    pub fn batches(&self) -> Option<&BatchSchedule> {
        match self {
            Self::Batches(batches) | Self::PrivateBatches { batches, .. } => Some(batches),
            _ => None,
        }
    }
}

/// In which coordinates the first layer is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainingSpace {
    /// On all d inputs.
    Full,
    /// On coordinates in the span of the training inputs: the same trajectory, fewer columns.
    ExactSubspace,
}

/// Options of [`train`](super::train) and [`train_on`](super::train_on); checked once on entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainParams {
    /// What is made small.
    pub loss: Loss,
    /// Activation of the hidden layers; its derivative is the declared one.
    pub activation: Activation,
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
    /// `schedule` on the logistic loss of a ReLU network for up to 8,000 epochs, in the exact subspace where that is exact,
    /// on the calling thread.
    pub fn new(schedule: Schedule) -> Self {
        let space = if schedule.keeps_span() { TrainingSpace::ExactSubspace } else { TrainingSpace::Full };
        Self {
            loss: Loss::Logistic,
            activation: Activation::Relu,
            schedule,
            max_epochs: 8_000,
            until_log_loss: None,
            space,
            parallelism: Parallelism::Sequential,
        }
    }

    pub(super) fn check(&self) -> Result<(), MlpError> {
        match self.schedule {
            Schedule::GradientDescent { step_size } => positive("step_size", step_size)?,
            Schedule::LossNormalised { step_size } | Schedule::PacedFlow { step_size } => {
                positive("step_size", step_size)?;
                if !self.loss.vanishes() {
                    let allowed =
                        "logistic or unsmoothed softmax where the logarithm of the loss is descended";
                    return Err(OutOfRange::new("loss", allowed, format!("{:?}", self.loss)).into());
                }
            }
            Schedule::WeightDecay { weight_decay, step_size } => {
                positive("weight_decay", weight_decay)?;
                positive("step_size", step_size)?;
            }
            Schedule::HeavyBall { weight_decay, step_size, momentum } => {
                positive("weight_decay", weight_decay)?;
                positive("step_size", step_size)?;
                within("momentum", momentum, 0.0..1.0, "at least 0 and below 1")?;
            }
            Schedule::Batches(batches) => batches.check()?,
            Schedule::PrivateBatches { batches, privacy } => {
                batches.check()?;
                privacy.check()?;
            }
        }
        if self.space == TrainingSpace::ExactSubspace && !self.schedule.keeps_span() {
            let allowed = "Full with Adam, AdamW, augmentation or privacy";
            return Err(OutOfRange::new("space", allowed, "ExactSubspace").into());
        }
        at_least_one("max_epochs", self.max_epochs)?;
        if let Some(target) = self.until_log_loss {
            finite("until_log_loss", target)?;
        }
        Ok(())
    }
}
