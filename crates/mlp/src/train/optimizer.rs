//! One step of an optimiser.

use palimpsest_numerics::Real;
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::Parallelism;

use super::{BatchSchedule, Decayed, Moments, Optimizer, TrainState};
use crate::Mlp;

/// The rule of a step with its numbers worked out.
#[derive(Clone, Copy)]
enum Rule<T> {
    Sgd { rate: T, momentum: T },
    Adam { rate: T, beta1: T, beta2: T, root: T, epsilon: T },
}

/// Moves the network of `state` by step number `count`, from 1, along `gradient` at the learning rate `rate`.
pub(super) fn step<T: Real>(
    schedule: &BatchSchedule,
    rate: f64,
    count: u64,
    state: &mut TrainState<T>,
    gradient: &Mlp<T>,
    parallelism: Parallelism,
) {
    let decay = schedule.weight_decay;
    // What is added to the gradient, and what weights are multiplied by.
    let (coupled, kept) = match schedule.optimizer {
        Optimizer::Sgd { .. } | Optimizer::Adam(_) => (decay, 1.0),
        Optimizer::AdamW(_) => (0.0, 1.0 - rate * decay),
    };
    let rule = match schedule.optimizer {
        Optimizer::Sgd { momentum } => {
            // The part of the first layer that no input touches feels decay alone.
            state.shrink.step(decay, momentum, rate);
            Rule::Sgd { rate: T::of(rate), momentum: T::of(momentum) }
        }
        Optimizer::Adam(moments) | Optimizer::AdamW(moments) => adam(moments, rate, count),
    };
    let bias_decays = schedule.decayed == Decayed::AllParameters;
    for (l, layer) in state.network.layers_mut().iter_mut().enumerate() {
        let gradient = &gradient.layers()[l];
        let mut first = state.velocity.as_mut().map(|m| &mut m.layers_mut()[l]);
        let mut second = state.second_moment.as_mut().map(|m| &mut m.layers_mut()[l]);
        let (coupled, kept) = (T::of(coupled), T::of(kept));
        let weights = Slices {
            theta: layer.weight.as_slice_mut().expect("weights are contiguous"),
            gradient: gradient.weight.as_slice().expect("gradients are contiguous"),
            first: first
                .as_mut()
                .map_or(&mut [], |m| m.weight.as_slice_mut().expect("moments are contiguous")),
            second: second
                .as_mut()
                .map_or(&mut [], |m| m.weight.as_slice_mut().expect("moments are contiguous")),
        };
        weights.moved(rule, coupled, kept, parallelism);
        if let (Some(bias), Some(gradient)) = (&mut layer.bias, &gradient.bias) {
            let (coupled, kept) = if bias_decays { (coupled, kept) } else { (T::zero(), T::one()) };
            let slice = "a bias is contiguous";
            let biases = Slices {
                theta: bias.as_slice_mut().expect(slice),
                gradient: gradient.as_slice().expect(slice),
                first: first
                    .and_then(|m| m.bias.as_mut())
                    .map_or(&mut [], |b| b.as_slice_mut().expect(slice)),
                second: second
                    .and_then(|m| m.bias.as_mut())
                    .map_or(&mut [], |b| b.as_slice_mut().expect(slice)),
            };
            biases.moved(rule, coupled, kept, parallelism);
        }
    }
}

/// Both averages begin at 0; what that takes from them is given back.
fn adam<T: Real>(moments: Moments, rate: f64, count: u64) -> Rule<T> {
    let Moments { beta1, beta2, epsilon } = moments;
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    Rule::Adam {
        rate: T::of(rate / (1.0 - beta1.powi(count))),
        beta1: T::of(beta1),
        beta2: T::of(beta2),
        root: T::of((1.0 - beta2.powi(count)).sqrt()),
        epsilon: T::of(epsilon),
    }
}

/// Parameters and what belongs to each of them; moments that a rule does not have are empty.
struct Slices<'a, T> {
    theta: &'a mut [T],
    gradient: &'a [T],
    first: &'a mut [T],
    second: &'a mut [T],
}

/// Elements below which a step stays on one thread.
const PIECE: usize = 1 << 16;

impl<T: Real> Slices<'_, T> {
    /// Elementwise: how it is cut changes no bit.
    fn moved(self, rule: Rule<T>, coupled: T, kept: T, parallelism: Parallelism) {
        let Self { theta, gradient, first, second } = self;
        if parallelism == Parallelism::Sequential || theta.len() < 2 * PIECE {
            return rule.apply(theta, gradient, first, second, coupled, kept);
        }
        let half = theta.len() / 2;
        let (theta, theta_right) = theta.split_at_mut(half);
        let (gradient, gradient_right) = gradient.split_at(half);
        let (first, first_right) = first.split_at_mut(half.min(first.len()));
        let (second, second_right) = second.split_at_mut(half.min(second.len()));
        let left = Slices { theta, gradient, first, second };
        let right =
            Slices { theta: theta_right, gradient: gradient_right, first: first_right, second: second_right };
        rayon::join(
            || left.moved(rule, coupled, kept, parallelism),
            || right.moved(rule, coupled, kept, parallelism),
        );
    }
}

impl<T: Real> Rule<T> {
    fn apply(self, theta: &mut [T], gradient: &[T], first: &mut [T], second: &mut [T], coupled: T, kept: T) {
        match self {
            Self::Sgd { rate, .. } if first.is_empty() => vectorised(move || {
                for (w, &g) in theta.iter_mut().zip(gradient) {
                    *w -= rate * (g + coupled * *w);
                }
            }),
            Self::Sgd { rate, momentum } => vectorised(move || {
                for ((w, &g), v) in theta.iter_mut().zip(gradient).zip(first) {
                    *v = momentum * *v + (g + coupled * *w);
                    *w -= rate * *v;
                }
            }),
            Self::Adam { rate, beta1, beta2, root, epsilon } => vectorised(move || {
                let (new1, new2) = (T::one() - beta1, T::one() - beta2);
                for (((w, &g), m), v) in theta.iter_mut().zip(gradient).zip(first).zip(second) {
                    let g = g + coupled * *w;
                    *m = beta1 * *m + new1 * g;
                    *v = beta2 * *v + new2 * g * g;
                    *w = kept * *w - rate * *m / (v.sqrt() / root + epsilon);
                }
            }),
        }
    }
}
