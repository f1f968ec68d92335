//! Full-batch descent by the schedules that need it.

use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView2};
use palimpsest_numerics::Real;
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::Parallelism;
use rayon::prelude::*;

use super::epoch::{check_finite, stop};
use super::options::HeavyBall;
use super::{Epoch, Schedule, TrainOutcome, TrainParams, TrainState};
use crate::loss::{Loss, Scale, Targets};
use crate::passes::{Passes, Scope, backward, forward, parameter_gradient};
use crate::{Mlp, MlpError};

/// Descends from `network`, or goes on `from` where a descent from it was; also returns the factor by which weight
/// decay shrank whatever no input touches.
pub(super) fn descend<T: Real>(
    network: Mlp<T>,
    x: ArrayView2<'_, T>,
    targets: &Targets,
    params: &TrainParams,
    from: Option<TrainState<T>>,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<(TrainOutcome<T>, f64), MlpError> {
    let (n, loss, parallelism) = (x.nrows(), params.loss, params.parallelism);
    let mut state = TrainState::start(network, params.schedule);
    if let Some(from) = from {
        from.check_fits(&state)?;
        state = from;
    }
    let mut passes = Passes::new(&state.network, n);
    let mut terms = vec![0.0; n];
    let mut g = Array2::zeros((n, state.network.outputs()));
    for index in state.epoch.. {
        state.epoch = index;
        forward(&state.network, x, params.activation, &mut passes, parallelism);
        let training_errors = measure(loss, targets, &passes, &mut terms);
        let log_loss = loss.log_mean(&terms);
        check_finite(loss, log_loss, index)?;
        let pace = Pace::at(&state, log_loss, params);
        let step_size = pace.step_size;
        let epoch =
            Epoch { index, log_loss, training_errors, step_size, network: &state.network, state: &state };
        let stop = stop(params, index, log_loss, observer(&epoch));
        if let Some(reason) = stop {
            let network = state.network;
            let outcome = TrainOutcome { network, epochs: index, log_loss, training_errors, reason };
            return Ok((outcome, state.shrink.factor));
        }
        // Only now: a run resumed from what the observer saw comes by above again.
        (state.step_share, state.previous_log_loss) = (pace.step_share, log_loss);
        let scale = match params.schedule {
            Schedule::LossNormalised { .. } | Schedule::PacedFlow { .. } => Scale::log_of_mean(log_loss, n),
            _ => Scale::mean(log_loss, n),
        };
        for (((g, row), target), &term) in
            g.rows_mut().into_iter().zip(passes.output().rows()).zip(targets.iter()).zip(&terms)
        {
            loss.derivative_into(row, target, term, scale, g);
        }
        backward(&state.network, g.view(), &mut passes, parallelism);
        step(&mut state, x, &passes, &pace, params);
    }
    unreachable!("the loop over all integers returns at max_epochs")
}

/// Fills in the loss of each example, and counts those that are missed.
fn measure<T: Real>(loss: Loss, targets: &Targets, passes: &Passes<T>, terms: &mut [f64]) -> usize {
    let mut training_errors = 0;
    for ((term, target), row) in terms.iter_mut().zip(targets.iter()).zip(passes.output().rows()) {
        *term = loss.term(row, target);
        training_errors += usize::from(target.is_missed(row));
    }
    training_errors
}

/// How far the next step goes.
struct Pace {
    step_size: f64,
    /// Share of the step size that the schedule has come to.
    step_share: f64,
    /// Momentum of [`Schedule::PacedFlow`].
    flow_momentum: f64,
}

impl Pace {
    /// From `state`, whose logarithm of the loss is `log_loss`.
    fn at<T: Real>(state: &TrainState<T>, log_loss: f64, params: &TrainParams) -> Self {
        let index = state.epoch;
        let (mut step_share, mut flow_momentum) = (state.step_share, FLOW_MOMENTUM);
        let step_size = match params.schedule {
            Schedule::GradientDescent { step_size } => step_size,
            Schedule::LossNormalised { step_size } => {
                if index > 100 {
                    step_share = if log_loss > state.previous_log_loss {
                        step_share * 0.5
                    } else {
                        f64::min(1.0, step_share * 1.02)
                    };
                }
                step_size * step_share
            }
            Schedule::PacedFlow { step_size } => {
                if index > 5 {
                    let fall = state.previous_log_loss - log_loss;
                    if fall < 0.0 {
                        (step_share, flow_momentum) = (step_share * 0.5, 0.0);
                    } else if fall > 0.1 {
                        step_share *= 0.9;
                    } else {
                        step_share = f64::min(5.0, step_share * 1.05);
                    }
                }
                step_size * step_share
            }
            Schedule::WeightDecay { step_size, .. } | Schedule::HeavyBall { step_size, .. } => {
                step_size * heavy_ball_profile(index, params.max_epochs)
            }
            Schedule::Batches(_) | Schedule::PrivateBatches { .. } => {
                unreachable!("batches have a loop of their own")
            }
        };
        Self { step_size, step_share, flow_momentum }
    }
}

/// A step along the gradient of `passes`.
fn step<T: Real>(
    state: &mut TrainState<T>,
    x: ArrayView2<'_, T>,
    passes: &Passes<T>,
    pace: &Pace,
    params: &TrainParams,
) {
    let (step_size, parallelism) = (pace.step_size, params.parallelism);
    let ball = params.schedule.heavy_ball();
    let (alpha, beta, sum) = match (&mut state.velocity, ball) {
        (Some(velocity), Some(ball)) => (1.0, ball.momentum, velocity),
        (Some(velocity), _) => (-step_size, pace.flow_momentum, velocity),
        (None, _) => (-step_size, 1.0, &mut state.network),
    };
    parameter_gradient(x, passes, T::of(alpha), T::of(beta), Scope::AllLayers, sum, parallelism);
    match (&mut state.velocity, ball) {
        (Some(velocity), Some(HeavyBall { weight_decay, momentum, .. })) => {
            // v <- v + weight_decay * w; w <- w - step * v, where v holds momentum and loss gradient.
            let (decay, by) = (T::of(weight_decay), T::of(step_size));
            for_each_parameter(&mut state.network, velocity, parallelism, |w, v| {
                *v += decay * *w;
                *w -= by * *v;
            });
            state.shrink.step(weight_decay, momentum, step_size);
        }
        (Some(velocity), _) => for_each_parameter(&mut state.network, velocity, parallelism, |w, v| *w += *v),
        (None, _) => {}
    }
}

/// More momentum leaves the path of the flow: with 0.9 the certificate was worse by a fifth.
const FLOW_MOMENTUM: f64 = 0.5;

/// Warm-up over 200 epochs, then 1, then a cosine fall from 1 to 0.001 over the last 30 %.
fn heavy_ball_profile(index: usize, max_epochs: usize) -> f64 {
    let (epoch, total) = (index as f64, max_epochs as f64);
    let warm = ((epoch + 1.0) / 200.0).min(1.0);
    let fall = ((epoch / total - 0.7) / 0.3).clamp(0.0, 1.0);
    warm * (0.5005 + 0.4995 * (std::f64::consts::PI * fall).cos())
}

/// Calls `update(weight, velocity)` for each parameter.
fn for_each_parameter<T: Real>(
    network: &mut Mlp<T>,
    velocity: &mut Mlp<T>,
    parallelism: Parallelism,
    update: impl Fn(&mut T, &mut T) + Sync,
) {
    let update =
        |w: &mut [T], v: &mut [T]| vectorised(|| w.iter_mut().zip(v).for_each(|(w, v)| update(w, v)));
    for (layer, v) in network.layers_mut().iter_mut().zip(velocity.layers_mut()) {
        let w = layer.weight.as_slice_mut().expect("weights are contiguous");
        let v_weight = v.weight.as_slice_mut().expect("velocities are contiguous");
        match parallelism {
            Parallelism::Sequential => update(w, v_weight),
            // Elementwise: how it is cut changes no bit.
            Parallelism::Threads(_) => {
                w.par_chunks_mut(1 << 16)
                    .zip(v_weight.par_chunks_mut(1 << 16))
                    .for_each(|(w, v)| update(w, v));
            }
        }
        if let (Some(b), Some(v)) = (&mut layer.bias, &mut v.bias) {
            let b = b.as_slice_mut().expect("a bias is contiguous");
            update(b, v.as_slice_mut().expect("a bias velocity is contiguous"));
        }
    }
}
