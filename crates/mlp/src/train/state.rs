//! Where a run of training stands, so that it can go on from there.

use palimpsest_numerics::Real;
use serde::{Deserialize, Serialize};

use super::{Optimizer, Schedule};
use crate::{Mlp, MlpError};

/// Where a descent stands before a step, in training coordinates; [`resume`](super::resume) goes on from it to the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Real + Serialize", deserialize = "T: Real + Deserialize<'de>"))]
pub struct TrainState<T> {
    pub(super) epoch: usize,
    pub(super) network: Mlp<T>,
    /// Of the heavy ball, the paced flow and momentum; with Adam the average of the gradient. The others have none.
    pub(super) velocity: Option<Mlp<T>>,
    /// Adam's average of the squared gradient.
    pub(super) second_moment: Option<Mlp<T>>,
    pub(super) shrink: Shrink,
    /// Share of the declared step and the log loss before, of the two schedules on the log loss.
    pub(super) step_share: f64,
    pub(super) previous_log_loss: f64,
}

impl<T: Real> TrainState<T> {
    /// Steps taken so far.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    pub(super) fn start(network: Mlp<T>, schedule: Schedule) -> Self {
        let (first, second) = match schedule {
            Schedule::GradientDescent { .. } | Schedule::LossNormalised { .. } => (false, false),
            Schedule::WeightDecay { .. } | Schedule::HeavyBall { .. } | Schedule::PacedFlow { .. } => {
                (true, false)
            }
            Schedule::Batches(batches) | Schedule::PrivateBatches { batches, .. } => {
                match batches.optimizer {
                    Optimizer::Sgd { momentum } => (momentum > 0.0, false),
                    Optimizer::Adam(_) | Optimizer::AdamW(_) => (true, true),
                }
            }
        };
        Self {
            epoch: 0,
            velocity: first.then(|| network.zeros_like()),
            second_moment: second.then(|| network.zeros_like()),
            network,
            shrink: Shrink { factor: 1.0, velocity: 0.0 },
            step_share: 1.0,
            previous_log_loss: f64::INFINITY,
        }
    }

    /// Whether a run that would start at `other` could have come here.
    pub(super) fn check_fits(&self, other: &Self) -> Result<(), MlpError> {
        let shape = |network: &Mlp<T>| -> Vec<_> {
            network.layers().iter().map(|l| (l.weight.dim(), l.bias.is_some())).collect()
        };
        let same = shape(&self.network) == shape(&other.network)
            && self.velocity.as_ref().map(shape) == other.velocity.as_ref().map(shape)
            && self.second_moment.as_ref().map(shape) == other.second_moment.as_ref().map(shape);
        let dims = |state: &Self| (state.network.dims(), state.velocity.is_some());
        if same { Ok(()) } else { Err(MlpError::ForeignState { state: dims(self), run: dims(other) }) }
    }
}

/// The same descent with momentum for the part of the first layer outside the span of the data, which feels decay alone: that
/// part keeps its direction, so one number describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shrink {
    pub(super) factor: f64,
    velocity: f64,
}

impl Shrink {
    pub(super) fn step(&mut self, weight_decay: f64, momentum: f64, step_size: f64) {
        self.velocity = momentum * self.velocity + weight_decay * self.factor;
        self.factor -= step_size * self.velocity;
    }
}
