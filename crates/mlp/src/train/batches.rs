//! Descent in batches: one step of the optimiser a batch.

use std::ops::{ControlFlow, Range};

use ndarray::{Array2, ArrayView2, s};
use ndarray_rand::rand::RngCore;
use palimpsest_numerics::Real;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::{Rng, Seed};

use super::epoch::{check_finite, stop};
use super::optimizer;
use super::{BatchOrder, BatchSchedule, Epoch, TrainOutcome, TrainParams, TrainState};
use crate::loss::{Loss, Scale, Targets};
use crate::passes::{Passes, Scope, backward, forward, forward_masked, parameter_gradient};
use crate::{Activation, Mlp, MlpError};

/// Descends from `network`, or goes on `from` where a descent from it was; also returns the factor by which weight
/// decay shrank whatever no input touches.
pub(super) fn descend_in_batches<T: Real>(
    network: Mlp<T>,
    x: ArrayView2<'_, T>,
    targets: &Targets,
    params: &TrainParams,
    schedule: &BatchSchedule,
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
        draws.begin(index, schedule.order, steps);
        for number in 0..steps {
            let rows = number * size..n.min((number + 1) * size);
            let batch = &mut batches[usize::from(rows.len() < size)];
            if !as_evaluated {
                draws.gather(rows.clone(), x, schedule, batch);
                let (inputs, masks) = (batch.inputs.view(), &batch.masks);
                forward_masked(
                    &state.network,
                    inputs,
                    params.activation,
                    masks,
                    &mut batch.passes,
                    parallelism,
                );
            }
            task.weigh(batch, &draws.order[rows]);
            backward(&state.network, batch.g.view(), &mut batch.passes, parallelism);
            let inputs = if as_evaluated { x } else { batch.inputs.view() };
            let (passes, scope) = (&batch.passes, Scope::AllLayers);
            parameter_gradient(inputs, passes, T::one(), T::zero(), scope, &mut gradient, parallelism);
            let count = index as u64 * steps as u64 + number as u64 + 1;
            optimizer::step(schedule, step_size, count, &mut state, &gradient, parallelism);
        }
    }
    unreachable!("the loop over all integers returns at max_epochs")
}

/// What is learned, and how.
struct Task<'a, T> {
    x: ArrayView2<'a, T>,
    targets: &'a Targets,
    loss: Loss,
    activation: Activation,
    parallelism: Parallelism,
}

/// Memory for one size of batch, b.
struct Batch<T> {
    /// Inputs as the network sees them, (b, d).
    inputs: Array2<T>,
    passes: Passes<T>,
    /// Dropout of each hidden layer, (b, width); none without dropout.
    masks: Vec<Array2<T>>,
    terms: Vec<f64>,
    /// Derivative of the batch's mean loss by the outputs, (b, C).
    g: Array2<T>,
}

impl<T: Real> Batch<T> {
    fn new(network: &Mlp<T>, rows: usize, schedule: &BatchSchedule) -> Self {
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
    fn evaluate(&self, network: &Mlp<T>, batches: &mut [Batch<T>; 2], terms: &mut [f64]) -> (f64, usize) {
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

    /// Fills what the loss of the batch's examples, `rows` of all, weighs the outputs with.
    fn weigh(&self, batch: &mut Batch<T>, rows: &[usize]) {
        for ((term, outputs), &row) in batch.terms.iter_mut().zip(batch.passes.output().rows()).zip(rows) {
            *term = self.loss.term(outputs, self.targets.at(row));
        }
        let scale = Scale::mean(self.loss.log_mean(&batch.terms), rows.len());
        let outputs = batch.passes.output();
        for (((g, outputs), &term), &row) in
            batch.g.rows_mut().into_iter().zip(outputs.rows()).zip(&batch.terms).zip(rows)
        {
            self.loss.derivative_into(outputs, self.targets.at(row), term, scale, g);
        }
    }
}

/// What is drawn: each epoch has streams of its own, so that a resumed run draws the same.
struct Draws {
    /// Numbers of the examples in the order of this epoch.
    order: Vec<usize>,
    keys: Vec<u64>,
    orders: Rng,
    dropout: Rng,
    augmentation: Rng,
}

impl Draws {
    fn new(seed: Seed, n: usize) -> Self {
        Self {
            order: (0..n).collect(),
            keys: vec![0; n],
            orders: seed.named("order").rng(),
            dropout: seed.named("dropout").rng(),
            augmentation: seed.named("augmentation").rng(),
        }
    }

    /// Goes to the streams of an epoch and draws its order.
    fn begin(&mut self, epoch: usize, order: BatchOrder, steps: usize) {
        for rng in [&mut self.orders, &mut self.dropout, &mut self.augmentation] {
            rng.set_stream(epoch as u64);
            rng.set_word_pos(0);
        }
        if order == BatchOrder::Shuffled && steps > 1 {
            self.keys.iter_mut().for_each(|key| *key = self.orders.next_u64());
            let keys = &self.keys;
            self.order.sort_unstable_by_key(|&example| (keys[example], example));
        }
    }

    /// Fills inputs and masks of `batch` for its place in this epoch's order.
    fn gather<T: Real>(
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
