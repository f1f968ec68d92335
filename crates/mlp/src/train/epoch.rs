//! What is seen of a run while it goes on, and how it ends.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::options::TrainParams;
use super::state::TrainState;
use crate::loss::Loss;
use crate::{Mlp, MlpError};

/// What an observer sees before each step.
#[derive(Debug)]
pub struct Epoch<'a, T> {
    /// Epochs so far; in full-batch descent the steps taken.
    pub index: usize,
    /// Log of the mean loss over all examples, without weight decay, dropout or augmentation.
    pub log_loss: f64,
    /// Training examples on the wrong side or of another class, ties among them; 0 where targets are values.
    pub training_errors: usize,
    /// Present step size.
    pub step_size: f64,
    /// The network in training coordinates: in [`crate::train::TrainingSpace::ExactSubspace`] its first layer has one column per
    /// coordinate.
    pub network: &'a Mlp<T>,
    /// Everything from which [`crate::train::resume`] goes on.
    pub state: &'a TrainState<T>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// `max_epochs` were made.
    MaxEpochs,
    /// The log loss reached `until_log_loss`.
    LogLoss,
    /// The observer ended it.
    Observer,
}

/// A trained network and how it ended.
#[derive(Clone, Debug)]
pub struct TrainOutcome<T> {
    /// The network on all d inputs.
    pub network: Mlp<T>,
    /// Epochs; in full-batch descent the steps taken.
    pub epochs: usize,
    /// Log of the mean loss at the end.
    pub log_loss: f64,
    /// Training examples on the wrong side or of another class at the end.
    pub training_errors: usize,
    /// Why training ended.
    pub reason: StopReason,
}

/// NaN and infinities end a run; only a loss that can be 0 may have a log of minus infinity.
pub(super) fn check_finite(loss: Loss, log_loss: f64, epoch: usize) -> Result<(), MlpError> {
    let exactly_fitted = !loss.vanishes() && log_loss == f64::NEG_INFINITY;
    if log_loss.is_finite() || exactly_fitted { Ok(()) } else { Err(MlpError::Diverged { epoch }) }
}

/// Whether training by `params` ends after `index` epochs, at `log_loss`, and why.
pub(super) fn stop(
    params: &TrainParams,
    index: usize,
    log_loss: f64,
    observed: ControlFlow<()>,
) -> Option<StopReason> {
    if params.until_log_loss.is_some_and(|target| log_loss <= target) {
        return Some(StopReason::LogLoss);
    }
    let observer = observed.is_break().then_some(StopReason::Observer);
    observer.or((index >= params.max_epochs).then_some(StopReason::MaxEpochs))
}
