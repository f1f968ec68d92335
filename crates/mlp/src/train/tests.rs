use ndarray::{Array1, Array2};
use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

use super::*;
use crate::loss::{log_loss_gradient, log_mean_loss};
use crate::passes::{Passes, Scope, backward, forward, parameter_gradient};
use crate::{Activation, BiasPlacement};

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
        Schedule::HeavyBall { weight_decay: 1e-2, step_size: 0.05, momentum: 0.97 },
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
    for schedule in [Schedule::LossNormalised { step_size: 0.1 }, Schedule::PacedFlow { step_size: 0.1 }] {
        let params =
            TrainParams { until_log_loss: Some(-800.0), max_epochs: 100_000, ..TrainParams::new(schedule) };
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
    let (small, paced) =
        (end(Schedule::LossNormalised { step_size: 0.001 }), end(Schedule::PacedFlow { step_size: 0.01 }));
    assert!(paced.epochs * 4 < small.epochs, "{} and {} epochs", paced.epochs, small.epochs);
    let first = |o: &TrainOutcome<f64>| o.network.layers()[0].weight.clone();
    let (a, b) = (first(&small), first(&paced));
    let cosine = (&a * &b).sum() / ((&a * &a).sum() * (&b * &b).sum()).sqrt();
    assert!(cosine > 0.98, "cosine {cosine}");
}

#[test]
fn more_momentum_forgets_the_start_sooner_and_nine_tenths_is_the_usual_one() {
    let (net, x, _) = problem();
    let subspace = InputSubspace::spanned_by(x.view(), Parallelism::Sequential).unwrap();
    let left = |network: &Mlp<f64>| {
        let remainder = subspace.remainder(network.layers()[0].weight.view(), Parallelism::Sequential);
        remainder.iter().map(|v| v * v).sum::<f64>().sqrt()
    };
    let (weight_decay, step_size) = (1e-2, 0.05);
    let ended = |schedule| run(schedule, TrainingSpace::ExactSubspace, 1000).network;
    let with = |momentum| ended(Schedule::HeavyBall { weight_decay, step_size, momentum });
    let usual = ended(Schedule::WeightDecay { weight_decay, step_size });
    assert_eq!(with(0.9), usual);
    // A factor of e every 200 epochs becomes one every 50; a quarter of the epochs has small steps.
    let (usual, more) = (left(&usual) / left(&net), left(&with(0.975)) / left(&net));
    assert!(usual < 0.1 && more < 1e-2 * usual, "{usual} and {more}");
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
    parameter_gradient(x.view(), &passes, 1.0, wd, Scope::AllLayers, &mut residual, Parallelism::Sequential);
    let size: f64 = net.layers().iter().map(|l| l.weight.iter().map(|v| v * v).sum::<f64>()).sum();
    let left: f64 = residual.layers().iter().map(|l| l.weight.iter().map(|v| v * v).sum::<f64>()).sum();
    // Neurons that sit on a ReLU breakpoint keep a share of the residual.
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
        Schedule::HeavyBall { weight_decay: 1e-2, step_size: 0.05, momentum: 0.97 },
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
                let resumed = resume(net.clone(), x.view(), y.view(), &params, state, &mut go_on).unwrap();
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
