//! The gradient of a step with differential privacy: a random sample of the examples, each one's gradient clipped, noise on the sum.

use ndarray::Axis;
use palimpsest_numerics::Real;

use super::batch::{Batch, Draws, Task};
use super::privacy::Privacy;
use super::{BatchSchedule, SampledGaussian};
use crate::Mlp;
use crate::passes::{Scope, backward, forward_masked, parameter_gradient, squared_gradient_norms};

impl SampledGaussian {
    /// What so many epochs on `examples` examples by this schedule are: each of an epoch's n / batch size steps, rounded up, takes
    /// each example with probability batch size / n.
    pub fn of(schedule: &BatchSchedule, privacy: Privacy, examples: usize, epochs: usize) -> Self {
        let size = schedule.batch_size.min(examples);
        Self {
            noise_multiplier: privacy.noise_multiplier,
            sampling_rate: size as f64 / examples as f64,
            steps: epochs as u64 * examples.div_ceil(size) as u64,
        }
    }
}

/// Writes the noised mean of clipped gradients into `gradient`: the sum over a sample, divided by the size that it has on average,
/// which tells nothing of the size it has.
///
/// # Source
/// Abadi et al. (2016), algorithm 1; the sample by Poisson as the accounting assumes.
pub(super) fn private_gradient<T: Real>(
    network: &Mlp<T>,
    task: &Task<'_, T>,
    (schedule, privacy): (&BatchSchedule, Privacy),
    draws: &mut Draws,
    batch: &mut Batch<T>,
    gradient: &mut Mlp<T>,
) {
    let (n, size) = (task.x.nrows(), batch.terms.len());
    draws.sample(size as f64 / n as f64);
    clear(gradient);
    for start in (0..draws.order.len()).step_by(size) {
        let rows = start..draws.order.len().min(start + size);
        draws.gather(rows.clone(), task.x, schedule, batch);
        add_clipped(network, task, &draws.order[rows], privacy.clip, batch, gradient);
    }
    draws.add_noise(privacy.noise_multiplier * privacy.clip, gradient);
    scale(gradient, 1.0 / size as f64);
}

/// Adds the gradients of the examples that were gathered, `rows` of all, each of them of at most the norm `clip`.
pub(super) fn add_clipped<T: Real>(
    network: &Mlp<T>,
    task: &Task<'_, T>,
    rows: &[usize],
    clip: f64,
    batch: &mut Batch<T>,
    gradient: &mut Mlp<T>,
) {
    let parallelism = task.parallelism;
    let (inputs, masks) = (batch.inputs.view(), &batch.masks);
    forward_masked(network, inputs, task.activation, masks, &mut batch.passes, parallelism);
    task.weigh_each(batch, rows);
    backward(network, batch.g.view(), &mut batch.passes, parallelism);
    squared_gradient_norms(network, batch.inputs.view(), &batch.passes, &mut batch.terms);
    for (mut g, &square) in batch.g.axis_iter_mut(Axis(0)).zip(&batch.terms).take(rows.len()) {
        let norm = square.sqrt();
        if norm > clip {
            g.mapv_inplace(|value| T::of(value.wide() * (clip / norm)));
        }
    }
    // A gradient is linear in what the loss weighs its outputs with.
    backward(network, batch.g.view(), &mut batch.passes, parallelism);
    let scope = Scope::AllLayers;
    let inputs = batch.inputs.view();
    parameter_gradient(inputs, &batch.passes, T::one(), T::one(), scope, gradient, parallelism);
}

fn clear<T: Real>(gradient: &mut Mlp<T>) {
    for layer in gradient.layers_mut() {
        layer.weight.fill(T::zero());
        layer.bias.iter_mut().for_each(|bias| bias.fill(T::zero()));
    }
}

fn scale<T: Real>(gradient: &mut Mlp<T>, factor: f64) {
    for layer in gradient.layers_mut() {
        layer.weight.mapv_inplace(|value| value * T::of(factor));
        layer.bias.iter_mut().for_each(|bias| bias.mapv_inplace(|value| value * T::of(factor)));
    }
}
