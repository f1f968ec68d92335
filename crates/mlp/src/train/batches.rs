//! Descent in batches: one step of the optimiser a batch.

use std::ops::ControlFlow;

use ndarray::ArrayView2;
use palimpsest_numerics::Real;
use palimpsest_numerics::seed::Seed;

use super::batch::{Batch, Draws, Task};
use super::epoch::{check_finite, stop};
use super::optimizer;
use super::privacy::Privacy;
use super::private::private_gradient;
use super::{BatchSchedule, Epoch, TrainOutcome, TrainParams, TrainState};
use crate::loss::Targets;
use crate::{Mlp, MlpError};

/// Descends from `network`, or goes on `from` where a descent from it was; also returns the factor by which weight
/// decay shrank whatever no input touches. With `private`, each step is on a random sample, with clipped gradients and noise.
pub(super) fn descend_in_batches<T: Real>(
    network: Mlp<T>,
    x: ArrayView2<'_, T>,
    targets: &Targets,
    params: &TrainParams,
    (schedule, private): (&BatchSchedule, Option<Privacy>),
    from: Option<TrainState<T>>,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<(TrainOutcome<T>, f64), MlpError> {
    let mut state = TrainState::start(network, params.schedule);
    if let Some(from) = from {
        from.check_fits(&state)?;
        state = from;
    }
    let (n, parallelism) = (x.nrows(), params.parallelism);
    let size = schedule.batch_size.min(n);
    let task = Task { x, targets, loss: params.loss, activation: params.activation, parallelism };
    let mut batches = [size, n % size].map(|rows| Batch::new(&state.network, rows, schedule));
    let mut gradient = state.network.zeros_like();
    let mut terms = vec![0.0; n];
    let mut draws = Draws::new(Seed::new(schedule.seed).named("training"), n);
    let steps = n.div_ceil(size);
    // One batch of all examples as they are has been evaluated before its step.
    let as_evaluated = steps == 1 && schedule.dropout == 0.0 && schedule.augmentation.is_none();
    for index in state.epoch.. {
        state.epoch = index;
        let (log_loss, training_errors) = task.evaluate(&state.network, &mut batches, &mut terms);
        check_finite(params.loss, log_loss, index)?;
        let step_size = schedule.rate(index);
        let epoch =
            Epoch { index, log_loss, training_errors, step_size, network: &state.network, state: &state };
        if let Some(reason) = stop(params, index, log_loss, observer(&epoch)) {
            let network = state.network;
            let outcome = TrainOutcome { network, epochs: index, log_loss, training_errors, reason };
            return Ok((outcome, state.shrink.factor));
        }
        draws.begin(index);
        if private.is_none() {
            draws.shuffle(schedule.order, steps);
        }
        for number in 0..steps {
            if let Some(privacy) = private {
                let (how, batch) = ((schedule, privacy), &mut batches[0]);
                private_gradient(&state.network, &task, how, &mut draws, batch, &mut gradient);
            } else {
                let rows = number * size..n.min((number + 1) * size);
                let batch = &mut batches[usize::from(rows.len() < size)];
                if !as_evaluated {
                    draws.gather(rows.clone(), x, schedule, batch);
                }
                task.mean_gradient(&state.network, &draws.order[rows], as_evaluated, batch, &mut gradient);
            }
            let count = index as u64 * steps as u64 + number as u64 + 1;
            optimizer::step(schedule, step_size, count, &mut state, &gradient, parallelism);
        }
    }
    unreachable!("the loop over all integers returns at max_epochs")
}
