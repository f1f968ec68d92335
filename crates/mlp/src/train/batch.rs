//! What a step on a batch needs: the task, memory for the batch, and what is drawn.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use ndarray_rand::rand::RngCore;
use ndarray_rand::rand_distr::{Distribution, StandardNormal};
use palimpsest_numerics::Real;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::{Rng, Seed};

use super::{BatchOrder, BatchSchedule};
use crate::loss::{Loss, Scale, Targets};
use crate::passes::{Passes, Scope, backward, forward, forward_masked, parameter_gradient};
use crate::{Activation, Mlp};

/// What is learned, and how.
pub(super) struct Task<'a, T> {
    pub(super) x: ArrayView2<'a, T>,
    pub(super) targets: &'a Targets,
    pub(super) loss: Loss,
    pub(super) activation: Activation,
    pub(super) parallelism: Parallelism,
}

/// Memory for one size of batch, b.
pub(super) struct Batch<T> {
    /// Inputs as the network sees them, (b, d).
    pub(super) inputs: Array2<T>,
    pub(super) passes: Passes<T>,
    /// Dropout of each hidden layer, (b, width); none without dropout.
    pub(super) masks: Vec<Array2<T>>,
    pub(super) terms: Vec<f64>,
    /// Derivative of the batch's mean loss by the outputs, (b, C).
    pub(super) g: Array2<T>,
}

impl<T: Real> Batch<T> {
    pub(super) fn new(network: &Mlp<T>, rows: usize, schedule: &BatchSchedule) -> Self {
        let dropped = if schedule.dropout > 0.0 { network.depth() - 1 } else { 0 };
        Self {
            inputs: Array2::zeros((rows, network.inputs())),
            passes: Passes::new(network, rows),
            masks: network.layers()[..dropped]
                .iter()
                .map(|l| Array2::zeros((rows, l.weight.nrows())))
                .collect(),
            terms: vec![0.0; rows],
            g: Array2::zeros((rows, network.outputs())),
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// Log of the mean loss of `network` over all examples, and how many are missed.
    pub(super) fn evaluate(
        &self,
        network: &Mlp<T>,
        batches: &mut [Batch<T>; 2],
        terms: &mut [f64],
    ) -> (f64, usize) {
        let (n, size) = (self.x.nrows(), batches[0].terms.len());
        let mut missed = 0;
        for start in (0..n).step_by(size) {
            let rows = start..n.min(start + size);
            let passes = &mut batches[usize::from(rows.len() < size)].passes;
            forward(network, self.x.slice(s![rows.clone(), ..]), self.activation, passes, self.parallelism);
            for (index, outputs) in rows.zip(passes.output().rows()) {
                let target = self.targets.at(index);
                terms[index] = self.loss.term(outputs, target);
                missed += usize::from(target.is_missed(outputs));
            }
        }
        (self.loss.log_mean(terms), missed)
    }

    /// Writes the gradient of the mean loss of `rows` of all, which were gathered, into `gradient`; with `as_evaluated`, of all
    /// examples, whose outputs are known.
    pub(super) fn mean_gradient(
        &self,
        network: &Mlp<T>,
        rows: &[usize],
        as_evaluated: bool,
        batch: &mut Batch<T>,
        gradient: &mut Mlp<T>,
    ) {
        let parallelism = self.parallelism;
        if !as_evaluated {
            let (inputs, masks) = (batch.inputs.view(), &batch.masks);
            forward_masked(network, inputs, self.activation, masks, &mut batch.passes, parallelism);
        }
        self.weigh(batch, rows);
        backward(network, batch.g.view(), &mut batch.passes, parallelism);
        let inputs = if as_evaluated { self.x } else { batch.inputs.view() };
        let (passes, scope) = (&batch.passes, Scope::AllLayers);
        parameter_gradient(inputs, passes, T::one(), T::zero(), scope, gradient, parallelism);
    }

    /// Fills what the loss of the batch's examples, `rows` of all, weighs the outputs with.
    pub(super) fn weigh(&self, batch: &mut Batch<T>, rows: &[usize]) {
        for ((term, outputs), &row) in batch.terms.iter_mut().zip(batch.passes.output().rows()).zip(rows) {
            *term = self.loss.term(outputs, self.targets.at(row));
        }
        let scale = Scale::mean(self.loss.log_mean(&batch.terms), rows.len());
        self.derive(batch, rows, scale);
    }

    /// Fills what each example's own loss weighs its outputs with; `rows` may be fewer than the batch has room for, and the rest
    /// weighs nothing.
    pub(super) fn weigh_each(&self, batch: &mut Batch<T>, rows: &[usize]) {
        batch.g.fill(T::zero());
        for ((term, outputs), &row) in batch.terms.iter_mut().zip(batch.passes.output().rows()).zip(rows) {
            *term = self.loss.term(outputs, self.targets.at(row));
        }
        self.derive(batch, rows, Scale::each());
    }

    fn derive(&self, batch: &mut Batch<T>, rows: &[usize], scale: Scale) {
        let outputs = batch.passes.output();
        for (((g, outputs), &term), &row) in
            batch.g.rows_mut().into_iter().zip(outputs.rows()).zip(&batch.terms).zip(rows)
        {
            self.loss.derivative_into(outputs, self.targets.at(row), term, scale, g);
        }
    }
}

/// What is drawn: each epoch has streams of its own, so that a resumed run draws the same.
pub(super) struct Draws {
    /// Numbers of the examples in the order of this epoch, or those that the last [`Draws::sample`] took.
    pub(super) order: Vec<usize>,
    keys: Vec<u64>,
    orders: Rng,
    dropout: Rng,
    augmentation: Rng,
    noise: Rng,
}

impl Draws {
    pub(super) fn new(seed: Seed, n: usize) -> Self {
        Self {
            order: (0..n).collect(),
            keys: vec![0; n],
            orders: seed.named("order").rng(),
            dropout: seed.named("dropout").rng(),
            augmentation: seed.named("augmentation").rng(),
            noise: seed.named("noise").rng(),
        }
    }

    /// Goes to the streams of an epoch.
    pub(super) fn begin(&mut self, epoch: usize) {
        for rng in [&mut self.orders, &mut self.dropout, &mut self.augmentation, &mut self.noise] {
            rng.set_stream(epoch as u64);
            rng.set_word_pos(0);
        }
    }

    /// Draws the order of an epoch of so many steps.
    pub(super) fn shuffle(&mut self, order: BatchOrder, steps: usize) {
        if order == BatchOrder::Shuffled && steps > 1 {
            self.keys.iter_mut().for_each(|key| *key = self.orders.next_u64());
            let keys = &self.keys;
            self.order.sort_unstable_by_key(|&example| (keys[example], example));
        }
    }

    /// Takes each of all examples with this probability, independently of the others.
    pub(super) fn sample(&mut self, probability: f64) {
        let threshold = probability * 2_f64.powi(64);
        self.order.clear();
        for example in 0..self.keys.len() {
            let drawn = self.orders.next_u64() as f64;
            if drawn < threshold || probability >= 1.0 {
                self.order.push(example);
            }
        }
    }

    /// Adds normal noise of this deviation to every parameter.
    pub(super) fn add_noise<T: Real>(&mut self, deviation: f64, gradient: &mut Mlp<T>) {
        for layer in gradient.layers_mut() {
            for value in layer.weight.iter_mut().chain(layer.bias.iter_mut().flatten()) {
                let drawn: f64 = StandardNormal.sample(&mut self.noise);
                *value += T::of(deviation * drawn);
            }
        }
    }

    /// Fills inputs and masks of `batch` for its place in this epoch's order.
    pub(super) fn gather<T: Real>(
        &mut self,
        rows: Range<usize>,
        x: ArrayView2<'_, T>,
        schedule: &BatchSchedule,
        batch: &mut Batch<T>,
    ) {
        for (&example, mut input) in self.order[rows].iter().zip(batch.inputs.rows_mut()) {
            match &schedule.augmentation {
                Some(augmentation) => augmentation.apply(x.row(example), input, &mut self.augmentation),
                None => input.assign(&x.row(example)),
            }
        }
        let kept = T::of(1.0 / (1.0 - schedule.dropout));
        let threshold = schedule.dropout * 2_f64.powi(32);
        for value in batch.masks.iter_mut().flatten() {
            let dropped = f64::from(self.dropout.next_u32()) < threshold;
            *value = if dropped { T::zero() } else { kept };
        }
    }
}
