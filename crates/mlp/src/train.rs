//! Training to a KKT point, by three schedules behind one loop.
//!
//! The loop owns neither clock nor terminal: an observer sees every epoch and may end the run, which is how time
//! limits, certificates and progress lines are added from outside.

use std::ops::ControlFlow;

use ndarray::{ArrayView1, ArrayView2};
use palimpsest_numerics::Real;
use serde::{Deserialize, Serialize};

use crate::{InputSubspace, Mlp, MlpError};

mod descent;
mod options;
mod state;
#[cfg(test)]
mod tests;

use descent::descend;

pub use options::{Schedule, TrainParams, TrainingSpace};
pub use state::TrainState;

/// What an observer sees before each step.
#[derive(Debug)]
pub struct Epoch<'a, T> {
    /// Steps taken so far.
    pub index: usize,
    /// Log of the mean logistic loss, without weight decay.
    pub log_loss: f64,
    /// Training examples with margin <= 0.
    pub training_errors: usize,
    /// Present step size.
    pub step_size: f64,
    /// The network in training coordinates: in [`TrainingSpace::ExactSubspace`] its first layer has one column per
    /// coordinate.
    pub network: &'a Mlp<T>,
    /// Everything from which [`resume`] goes on.
    pub state: &'a TrainState<T>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// `max_epochs` steps were taken.
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
    /// Steps taken.
    pub epochs: usize,
    /// Log of the mean logistic loss at the end.
    pub log_loss: f64,
    /// Training examples with margin <= 0 at the end.
    pub training_errors: usize,
    /// Why training ended.
    pub reason: StopReason,
}

/// Trains `network` on `inputs` (n, d) with `labels` (n) in {-1, +1} by full-batch descent.
///
/// # Errors
/// [`MlpError::BadOption`] for impossible options, [`MlpError::Diverged`] when the loss becomes NaN, and
/// [`MlpError::Factor`] for NaN inputs.
///
/// # Panics
/// When shapes do not fit, the network has more than one output, or a label is not +-1.
#[track_caller]
pub fn train<T: Real>(
    network: Mlp<T>,
    inputs: ArrayView2<'_, T>,
    labels: ArrayView1<'_, T>,
    params: &TrainParams,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<TrainOutcome<T>, MlpError> {
    train_from(network, inputs, labels, params, None, observer)
}

/// Goes on with a run of [`train`] that an observer saw at `state`; all other arguments are those of that run. The
/// outcome is the same to the bit as if it had never stopped.
///
/// # Errors
/// Those of [`train`], and [`MlpError::ForeignState`] when the state cannot be of this run.
///
/// # Panics
/// As [`train`].
#[track_caller]
pub fn resume<T: Real>(
    network: Mlp<T>,
    inputs: ArrayView2<'_, T>,
    labels: ArrayView1<'_, T>,
    params: &TrainParams,
    state: TrainState<T>,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<TrainOutcome<T>, MlpError> {
    train_from(network, inputs, labels, params, Some(state), observer)
}

#[track_caller]
fn train_from<T: Real>(
    network: Mlp<T>,
    inputs: ArrayView2<'_, T>,
    labels: ArrayView1<'_, T>,
    params: &TrainParams,
    from: Option<TrainState<T>>,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<TrainOutcome<T>, MlpError> {
    params.check()?;
    assert_eq!(network.outputs(), 1, "train: a binary task needs one output");
    assert_eq!(
        (inputs.ncols(), labels.len()),
        (network.inputs(), inputs.nrows()),
        "train: inputs are {:?}",
        inputs.dim()
    );
    assert!(labels.iter().all(|y| y.abs() == T::one()), "train: labels must be -1 or +1");
    let parallelism = params.parallelism;
    match params.space {
        TrainingSpace::Full => {
            descend(network, inputs, labels, params, from, observer).map(|(outcome, _)| outcome)
        }
        TrainingSpace::ExactSubspace => {
            let subspace = InputSubspace::spanned_by(inputs, parallelism)?;
            let remainder = subspace.remainder(network.layers()[0].weight.view(), parallelism);
            let projected = subspace.project_network(&network, parallelism);
            let coordinates = subspace.project(inputs, parallelism);
            let (outcome, kept) = descend(projected, coordinates.view(), labels, params, from, observer)?;
            let network = subspace.lift_network(&outcome.network, remainder, T::of(kept), parallelism);
            Ok(TrainOutcome { network, ..outcome })
        }
    }
}
