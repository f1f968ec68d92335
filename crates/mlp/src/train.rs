//! Training: full-batch descent to a KKT point, and batches with SGD, Adam or AdamW as tutorials train.
//!
//! [`train`] is the door for one output and labels -1 and +1, [`train_on`] the one for any [`Loss`](crate::loss::Loss) and
//! number of outputs. [`Schedule`] says how the parameters move; [`Schedule::Batches`] has the options of an optimiser,
//! [`Schedule::PrivateBatches`] those of differential privacy, and [`SampledGaussian`] says how much of it that is.
//!
//! The loops own neither clock nor terminal: an observer sees every epoch and may end the run, which is how time
//! limits, certificates and progress lines are added from outside. All of them give the same bits for any number of
//! threads, and after a stop and a resume.

use std::ops::ControlFlow;

use ndarray::{ArrayView1, ArrayView2};
use palimpsest_numerics::Real;

use crate::loss::Targets;
use crate::{InputSubspace, Mlp, MlpError};

mod augmentation;
mod batch;
mod batch_options;
#[cfg(test)]
mod batch_tests;
mod batches;
mod descent;
mod epoch;
mod optimizer;
mod options;
mod privacy;
mod private;
#[cfg(test)]
mod private_tests;
mod state;
#[cfg(test)]
mod tests;

use batches::descend_in_batches;
use descent::descend;

pub use augmentation::Augmentation;
pub use batch_options::{BatchOrder, BatchSchedule, Decayed, Moments, Optimizer, RateDecay};
pub use epoch::{Epoch, StopReason, TrainOutcome};
pub use options::{Schedule, TrainParams, TrainingSpace};
pub use privacy::{Privacy, SampledGaussian};
pub use state::TrainState;

/// Trains `network`, of one output, on `inputs` (n, d) with `labels` (n) in {-1, +1}.
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
    train_on(network, inputs, &signs(labels), params, None, observer)
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
    train_on(network, inputs, &signs(labels), params, Some(state), observer)
}

/// Trains `network` on `inputs` (n, d) for any loss and targets (n), from its start or going on `from` a state that an
/// observer saw in a run with the same other arguments. The outcome is the same to the bit as if it had never stopped.
///
/// # Errors
/// [`MlpError::BadOption`] for impossible options and targets of a kind that `params.loss` does not take,
/// [`MlpError::Diverged`] when the loss becomes NaN, [`MlpError::Factor`] for NaN inputs, and
/// [`MlpError::ForeignState`] when the state cannot be of this run.
///
/// # Panics
/// When shapes do not fit, a label is not +-1 or names no output, or a value is not finite.
#[track_caller]
pub fn train_on<T: Real>(
    network: Mlp<T>,
    inputs: ArrayView2<'_, T>,
    targets: &Targets,
    params: &TrainParams,
    from: Option<TrainState<T>>,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<TrainOutcome<T>, MlpError> {
    params.check()?;
    assert_eq!(inputs.ncols(), network.inputs(), "train: inputs are {:?}", inputs.dim());
    assert!(inputs.nrows() > 0, "train: no examples");
    params.loss.check(targets, network.outputs())?;
    if let Some(augmentation) = params.schedule.batches().and_then(|batches| batches.augmentation) {
        augmentation.check_pixels(inputs.ncols())?;
    }
    targets.expect_shape((inputs.nrows(), network.outputs()));
    let run = |network, x: ArrayView2<'_, T>, observer| match &params.schedule {
        Schedule::Batches(batches) => {
            descend_in_batches(network, x, targets, params, (batches, None), from, observer)
        }
        Schedule::PrivateBatches { batches, privacy } => {
            descend_in_batches(network, x, targets, params, (batches, Some(*privacy)), from, observer)
        }
        _ => descend(network, x, targets, params, from, observer),
    };
    let parallelism = params.parallelism;
    match params.space {
        TrainingSpace::Full => run(network, inputs, observer).map(|(outcome, _)| outcome),
        TrainingSpace::ExactSubspace => {
            let subspace = InputSubspace::spanned_by(inputs, parallelism)?;
            let remainder = subspace.remainder(network.layers()[0].weight.view(), parallelism);
            let projected = subspace.project_network(&network, parallelism);
            let coordinates = subspace.project(inputs, parallelism);
            let (outcome, kept) = run(projected, coordinates.view(), observer)?;
            let network = subspace.lift_network(&outcome.network, remainder, T::of(kept), parallelism);
            Ok(TrainOutcome { network, ..outcome })
        }
    }
}

/// Labels as targets.
#[track_caller]
fn signs<T: Real>(labels: ArrayView1<'_, T>) -> Targets {
    assert!(labels.iter().all(|y| y.abs() == T::one()), "train: labels must be -1 or +1");
    Targets::Signs(labels.iter().map(|&y| if y > T::zero() { 1 } else { -1 }).collect())
}
