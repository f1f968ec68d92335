//! Training to a KKT point, by three schedules behind one loop.
//!
//! The loop owns neither clock nor terminal: an observer sees every epoch and may end the run, which is how time
//! limits, certificates and progress lines are added from outside.

use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView1, ArrayView2};
use palimpsest_numerics::Real;
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::Parallelism;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::loss::{log_loss_gradient, log_mean_loss};
use crate::passes::{Passes, Scope, backward, forward, parameter_gradient};
use crate::{Activation, InputSubspace, Mlp, MlpError};

/// How the parameters move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// Full-batch gradient descent on the mean logistic loss with a fixed step.
    ///
    /// # Source
    /// Haim et al. (2022), section 5: step 0.01, 1,000,000 epochs.
    GradientDescent {
        /// Step size, > 0.
        step_size: f64,
    },
    /// Gradient descent on the *logarithm* of the mean loss: time runs 1/loss times faster, the path is that of
    /// gradient flow. After 100 epochs the step halves whenever the log loss rises and else grows by 2 % up to
    /// `step_size`.
    LossNormalised {
        /// Largest step size, > 0; 0.01 suits the published widths.
        step_size: f64,
    },
    /// Heavy-ball descent (momentum 0.9) on mean loss + (weight_decay / 2) ||theta||^2, with 200 epochs of warm-up
    /// and a cosine fall to 0.1 % over the last 30 % of `max_epochs`. Ends near a true stationary point.
    ///
    /// # Source
    /// Buzaglo et al. (2023), section 4, for why weight decay gives an exact stationarity equation.
    WeightDecay {
        /// Strength, > 0; 1e-3 to 2e-3 suits n of 100 to 500.
        weight_decay: f64,
        /// Largest step size, > 0; 0.15 suits the published widths.
        step_size: f64,
    },
    /// Descent on the logarithm of the mean loss like [`Schedule::LossNormalised`], in a quarter of the epochs: momentum
    /// 0.5, and a step that follows the loss. From the sixth epoch on the step grows by 5 %, up to five times `step_size`,
    /// while the log loss falls by at most 0.1 an epoch; it shrinks by 10 % when it falls by more; it halves, and momentum
    /// starts anew, when it rises.
    PacedFlow {
        /// First step size, > 0; 0.01 suits the published widths.
        step_size: f64,
    },
}

/// In which coordinates the first layer is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrainingSpace {
    /// On all d inputs.
    Full,
    /// On coordinates in the span of the training inputs: the same trajectory, fewer columns.
    ExactSubspace,
}

/// Options of [`train`]; checked once on entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainParams {
    /// How the parameters move.
    pub schedule: Schedule,
    /// Epochs after which training ends in any case, >= 1.
    pub max_epochs: usize,
    /// Log of the mean loss at which training ends, if given.
    pub until_log_loss: Option<f64>,
    /// Coordinates of the first layer.
    pub space: TrainingSpace,
    /// Threads for each product.
    pub parallelism: Parallelism,
}

impl TrainParams {
    /// `schedule` for up to 8,000 epochs, in the exact subspace, on the calling thread.
    pub fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            max_epochs: 8_000,
            until_log_loss: None,
            space: TrainingSpace::ExactSubspace,
            parallelism: Parallelism::Sequential,
        }
    }

    fn check(&self) -> Result<(), MlpError> {
        let positive = |name, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(())
            } else {
                Err(MlpError::BadOption { name, allowed: "a finite number above 0", got: value.to_string() })
            }
        };
        match self.schedule {
            Schedule::GradientDescent { step_size }
            | Schedule::LossNormalised { step_size }
            | Schedule::PacedFlow { step_size } => positive("step_size", step_size)?,
            Schedule::WeightDecay { weight_decay, step_size } => {
                positive("weight_decay", weight_decay)?;
                positive("step_size", step_size)?;
            }
        }
        if self.max_epochs == 0 {
            return Err(MlpError::BadOption { name: "max_epochs", allowed: "at least 1", got: "0".into() });
        }
        if self.until_log_loss.is_some_and(|l| !l.is_finite()) {
            return Err(MlpError::BadOption {
                name: "until_log_loss",
                allowed: "a finite number",
                got: "NaN".into(),
            });
        }
        Ok(())
    }
}

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

/// Where a descent stands before a step, in training coordinates; [`resume`] goes on from it to the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Real + Serialize", deserialize = "T: Real + Deserialize<'de>"))]
pub struct TrainState<T> {
    epoch: usize,
    network: Mlp<T>,
    /// Of the heavy ball and the paced flow; the other schedules have none.
    velocity: Option<Mlp<T>>,
    shrink: Shrink,
    /// Share of the declared step and the log loss before, of the two schedules on the log loss.
    step_share: f64,
    previous_log_loss: f64,
}

impl<T: Real> TrainState<T> {
    /// Steps taken so far.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    fn start(network: Mlp<T>, schedule: Schedule) -> Self {
        Self {
            epoch: 0,
            velocity: matches!(schedule, Schedule::WeightDecay { .. } | Schedule::PacedFlow { .. })
                .then(|| network.zeros_like()),
            network,
            shrink: Shrink { factor: 1.0, velocity: 0.0 },
            step_share: 1.0,
            previous_log_loss: f64::INFINITY,
        }
    }

    /// Whether a run that would start at `other` could have come here.
    fn check_fits(&self, other: &Self) -> Result<(), MlpError> {
        let shape = |network: &Mlp<T>| -> Vec<_> {
            network.layers().iter().map(|l| (l.weight.dim(), l.bias.is_some())).collect()
        };
        let same = shape(&self.network) == shape(&other.network)
            && self.velocity.as_ref().map(shape) == other.velocity.as_ref().map(shape);
        let dims = |state: &Self| (state.network.dims(), state.velocity.is_some());
        if same { Ok(()) } else { Err(MlpError::ForeignState { state: dims(self), run: dims(other) }) }
    }
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

/// Descends from `network`, or goes on `from` where a descent from it was; also returns the factor by which weight
/// decay shrank whatever no input touches.
fn descend<T: Real>(
    network: Mlp<T>,
    x: ArrayView2<'_, T>,
    labels: ArrayView1<'_, T>,
    params: &TrainParams,
    from: Option<TrainState<T>>,
    observer: &mut dyn FnMut(&Epoch<'_, T>) -> ControlFlow<()>,
) -> Result<(TrainOutcome<T>, f64), MlpError> {
    let (n, parallelism) = (x.nrows(), params.parallelism);
    let mut state = TrainState::start(network, params.schedule);
    if let Some(from) = from {
        from.check_fits(&state)?;
        state = from;
    }
    let mut passes = Passes::new(&state.network, n);
    let (mut margins, mut weights) = (vec![0.0; n], vec![0.0; n]);
    let mut g = Array2::zeros((n, 1));
    for index in state.epoch.. {
        state.epoch = index;
        forward(&state.network, x, Activation::Relu, &mut passes, parallelism);
        for ((margin, &y), &o) in margins.iter_mut().zip(labels).zip(passes.output().column(0)) {
            *margin = (y * o).wide();
        }
        let log_loss = log_mean_loss(&margins);
        if !log_loss.is_finite() {
            return Err(MlpError::Diverged { epoch: index });
        }
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
            Schedule::WeightDecay { step_size, .. } => {
                step_size * heavy_ball_profile(index, params.max_epochs)
            }
        };
        let training_errors = margins.iter().filter(|&&m| m <= 0.0).count();
        let epoch =
            Epoch { index, log_loss, training_errors, step_size, network: &state.network, state: &state };
        let stop = observer(&epoch).is_break().then_some(StopReason::Observer);
        let stop = stop.or((index >= params.max_epochs).then_some(StopReason::MaxEpochs));
        let stop =
            params.until_log_loss.filter(|&target| log_loss <= target).map(|_| StopReason::LogLoss).or(stop);
        if let Some(reason) = stop {
            let network = state.network;
            let outcome = TrainOutcome { network, epochs: index, log_loss, training_errors, reason };
            return Ok((outcome, state.shrink.factor));
        }
        // Only now: a run resumed from what the observer saw comes by above again.
        (state.step_share, state.previous_log_loss) = (step_share, log_loss);
        // d(log L)/dm, turned into d(mean L)/dm by the factor L where the schedule asks for it.
        log_loss_gradient(&margins, log_loss, &mut weights);
        let scale = match params.schedule {
            Schedule::LossNormalised { .. } | Schedule::PacedFlow { .. } => 1.0,
            Schedule::GradientDescent { .. } | Schedule::WeightDecay { .. } => log_loss.exp(),
        };
        for ((g, &w), &y) in g.iter_mut().zip(&weights).zip(labels) {
            *g = T::of(w * scale) * y;
        }
        backward(&state.network, g.view(), &mut passes, parallelism);
        let (alpha, beta, sum) = match (&mut state.velocity, params.schedule) {
            (Some(velocity), Schedule::WeightDecay { .. }) => (1.0, MOMENTUM, velocity),
            (Some(velocity), _) => (-step_size, flow_momentum, velocity),
            (None, _) => (-step_size, 1.0, &mut state.network),
        };
        parameter_gradient(x, &passes, T::of(alpha), T::of(beta), Scope::AllLayers, sum, parallelism);
        match (&mut state.velocity, params.schedule) {
            (Some(velocity), Schedule::WeightDecay { weight_decay, .. }) => {
                // v <- v + weight_decay * w; w <- w - step * v, where v holds momentum and loss gradient.
                let (decay, step) = (T::of(weight_decay), T::of(step_size));
                for_each_parameter(&mut state.network, velocity, parallelism, |w, v| {
                    *v += decay * *w;
                    *w -= step * *v;
                });
                state.shrink.step(weight_decay, step_size);
            }
            (Some(velocity), _) => {
                for_each_parameter(&mut state.network, velocity, parallelism, |w, v| *w += *v)
            }
            (None, _) => {}
        }
    }
    unreachable!("the loop over all integers returns at max_epochs")
}

const MOMENTUM: f64 = 0.9;
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

/// The same heavy ball for the part of the first layer outside the span of the data, which feels decay alone: that
/// part keeps its direction, so one number describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shrink {
    factor: f64,
    velocity: f64,
}

impl Shrink {
    fn step(&mut self, weight_decay: f64, step_size: f64) {
        self.velocity = MOMENTUM * self.velocity + weight_decay * self.factor;
        self.factor -= step_size * self.velocity;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::BiasPlacement;

    fn problem() -> (Mlp<f64>, Array2<f64>, Array1<f64>) {
        let inputs = Array2::random_using((12, 30), StandardNormal, &mut Seed::new(1).rng());
        let labels = Array1::from_shape_fn(12, |i| if i % 3 == 0 { 1.0 } else { -1.0 });
        (Mlp::initialise(&[30, 25, 20, 1], BiasPlacement::FirstLayer, 0.05, Seed::new(2)), inputs, labels)
    }

    fn run(schedule: Schedule, space: TrainingSpace, epochs: usize) -> TrainOutcome<f64> {
        let (net, x, y) = problem();
        let params = TrainParams { max_epochs: epochs, space, ..TrainParams::new(schedule) };
        train(net, x.view(), y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn the_exact_subspace_follows_the_same_trajectory() {
        for schedule in [
            Schedule::GradientDescent { step_size: 0.1 },
            Schedule::LossNormalised { step_size: 0.05 },
            Schedule::PacedFlow { step_size: 0.05 },
            Schedule::WeightDecay { weight_decay: 1e-2, step_size: 0.05 },
        ] {
            let full = run(schedule, TrainingSpace::Full, 300);
            let subspace = run(schedule, TrainingSpace::ExactSubspace, 300);
            for (a, b) in full.network.layers().iter().zip(subspace.network.layers()) {
                assert!((&a.weight - &b.weight).iter().all(|e| e.abs() < 1e-9), "{schedule:?}");
            }
        }
    }

    #[test]
    fn loss_normalised_descent_reaches_losses_that_underflow() {
        let (net, x, y) = problem();
        for schedule in [Schedule::LossNormalised { step_size: 0.1 }, Schedule::PacedFlow { step_size: 0.1 }]
        {
            let params = TrainParams {
                until_log_loss: Some(-800.0),
                max_epochs: 100_000,
                ..TrainParams::new(schedule)
            };
            let outcome =
                train(net.clone(), x.view(), y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!((outcome.reason, outcome.training_errors), (StopReason::LogLoss, 0), "{schedule:?}");
        }
    }

    #[test]
    fn the_paced_flow_ends_where_small_steps_end() {
        let (net, x, y) = problem();
        let end = |schedule| {
            let params =
                TrainParams { until_log_loss: Some(-6.0), max_epochs: 100_000, ..TrainParams::new(schedule) };
            train(net.clone(), x.view(), y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap()
        };
        let (small, paced) = (
            end(Schedule::LossNormalised { step_size: 0.001 }),
            end(Schedule::PacedFlow { step_size: 0.01 }),
        );
        assert!(paced.epochs * 4 < small.epochs, "{} and {} epochs", paced.epochs, small.epochs);
        let first = |o: &TrainOutcome<f64>| o.network.layers()[0].weight.clone();
        let (a, b) = (first(&small), first(&paced));
        let cosine = (&a * &b).sum() / ((&a * &a).sum() * (&b * &b).sum()).sqrt();
        assert!(cosine > 0.98, "cosine {cosine}");
    }

    #[test]
    fn weight_decay_ends_at_a_stationary_point() {
        let wd = 2e-2;
        let schedule = Schedule::WeightDecay { weight_decay: wd, step_size: 0.1 };
        let (_, x, y) = problem();
        let net = run(schedule, TrainingSpace::ExactSubspace, 20_000).network;
        let mut passes = Passes::new(&net, 12);
        forward(&net, x.view(), Activation::Relu, &mut passes, Parallelism::Sequential);
        let margins: Vec<f64> = passes.output().column(0).iter().zip(&y).map(|(o, y)| o * y).collect();
        let mut g = vec![0.0; 12];
        let log_loss = log_mean_loss(&margins);
        log_loss_gradient(&margins, log_loss, &mut g);
        let g = Array2::from_shape_fn((12, 1), |(i, _)| g[i] * log_loss.exp() * y[i]);
        backward(&net, g.view(), &mut passes, Parallelism::Sequential);
        let mut residual = net.clone();
        parameter_gradient(
            x.view(),
            &passes,
            1.0,
            wd,
            Scope::AllLayers,
            &mut residual,
            Parallelism::Sequential,
        );
        let size: f64 = net.layers().iter().map(|l| l.weight.iter().map(|v| v * v).sum::<f64>()).sum();
        let left: f64 = residual.layers().iter().map(|l| l.weight.iter().map(|v| v * v).sum::<f64>()).sum();
        // Neurons that sit on a kink keep a share of the residual.
        assert!((left / size).sqrt() / wd < 0.2, "relative residual {}", (left / size).sqrt() / wd);
    }

    #[test]
    fn a_run_resumed_anywhere_ends_in_the_same_bits() {
        let (net, x, y) = problem();
        for schedule in [
            Schedule::GradientDescent { step_size: 0.1 },
            // Large enough for steps to be halved.
            Schedule::LossNormalised { step_size: 0.5 },
            Schedule::PacedFlow { step_size: 0.5 },
            Schedule::WeightDecay { weight_decay: 1e-2, step_size: 0.05 },
        ] {
            for space in [TrainingSpace::Full, TrainingSpace::ExactSubspace] {
                let params = TrainParams { max_epochs: 300, space, ..TrainParams::new(schedule) };
                let whole = run(schedule, space, 300);
                for stop_at in [0, 1, 101, 150, 299, 300] {
                    let mut seen = None;
                    let mut stop = |e: &Epoch<'_, f64>| {
                        seen = (e.index == stop_at).then(|| postcard::to_stdvec(e.state).unwrap());
                        if seen.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    };
                    train(net.clone(), x.view(), y.view(), &params, &mut stop).unwrap();
                    let state: TrainState<f64> = postcard::from_bytes(&seen.unwrap()).unwrap();
                    assert_eq!(state.epoch(), stop_at);
                    let mut go_on = |_: &Epoch<'_, f64>| ControlFlow::Continue(());
                    let resumed =
                        resume(net.clone(), x.view(), y.view(), &params, state, &mut go_on).unwrap();
                    assert_eq!(resumed.network, whole.network, "{schedule:?} {space:?} {stop_at}");
                    assert_eq!(resumed.log_loss.to_bits(), whole.log_loss.to_bits());
                    assert_eq!((resumed.epochs, resumed.reason), (whole.epochs, whole.reason));
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn mutated_states_are_refused_or_of_a_fitting_shape(
            edits in proptest::collection::vec((0_usize..2000, 0_u8..), 1..5),
        ) {
            let net = Mlp::<f32>::initialise(&[5, 4, 1], BiasPlacement::FirstLayer, 0.5, Seed::new(1));
            let decay = Schedule::WeightDecay { weight_decay: 1e-2, step_size: 0.05 };
            let start = TrainState::start(net, decay);
            let mut bytes = postcard::to_stdvec(&start).unwrap();
            let length = bytes.len();
            edits.iter().for_each(|&(at, value)| bytes[at % length] = value);
            if let Ok(state) = postcard::from_bytes::<TrainState<f32>>(&bytes) {
                let _ = state.check_fits(&start);
            }
            let _ = postcard::from_bytes::<TrainState<f32>>(&bytes[..length - 1]);
        }
    }

    #[test]
    fn a_state_of_another_run_is_refused() {
        let (net, x, y) = problem();
        let other = Mlp::initialise(&[30, 24, 20, 1], BiasPlacement::FirstLayer, 0.05, Seed::new(2));
        let decay = Schedule::WeightDecay { weight_decay: 1e-2, step_size: 0.05 };
        let plain = Schedule::GradientDescent { step_size: 0.1 };
        for (network, schedule) in [(other, plain), (net.clone(), decay)] {
            let state = TrainState::start(network, schedule);
            let params = TrainParams { space: TrainingSpace::Full, ..TrainParams::new(plain) };
            let mut go_on = |_: &Epoch<'_, f64>| ControlFlow::Continue(());
            let error =
                resume(net.clone(), x.view(), y.view(), &params, state, &mut go_on).unwrap_err().to_string();
            assert!(error.contains("another run"), "{error}");
        }
    }

    #[test]
    fn observers_stop_and_bad_options_are_named() {
        let (net, x, y) = problem();
        let params = TrainParams::new(Schedule::GradientDescent { step_size: 0.1 });
        let mut stop_at_five = |e: &Epoch<'_, f64>| {
            if e.index == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = train(net.clone(), x.view(), y.view(), &params, &mut stop_at_five).unwrap();
        assert_eq!((outcome.epochs, outcome.reason), (5, StopReason::Observer));
        for step_size in [0.0, -1.0, f64::NAN] {
            let params = TrainParams::new(Schedule::GradientDescent { step_size });
            let error = train(net.clone(), x.view(), y.view(), &params, &mut stop_at_five).unwrap_err();
            assert!(error.to_string().contains("step_size must be"), "{error}");
        }
        let params = TrainParams::new(Schedule::GradientDescent { step_size: 1e30 });
        let error = train(net, x.view(), y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, MlpError::Diverged { .. }), "{error}");
    }
}
