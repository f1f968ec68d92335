use ndarray::{Array1, Array2, Axis};
use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use palimpsest_autograd::Tape;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use proptest::prelude::*;

use super::*;
use crate::loss::Loss;
use crate::loss::tests::{any_loss, on_tape};
use crate::passes::tests::{any_activation, masked_on_tape, parts};
use crate::passes::{Passes, Scope, backward, forward, parameter_gradient};
use crate::{Activation, BiasPlacement};

fn go_on(_: &Epoch<'_, f64>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The same training one number at a time, gradients by the tape: parameters as in [`parts`].
fn slow_twin(
    net: &Mlp<f64>,
    x: &Array2<f64>,
    targets: &Targets,
    params: &TrainParams,
    schedule: &BatchSchedule,
) -> Vec<Array2<f64>> {
    let mut theta = parts(net);
    let zeros: Vec<Array2<f64>> = theta.iter().map(|p| Array2::zeros(p.dim())).collect();
    let (mut first, mut second) = (zeros.clone(), zeros);
    // Weights have as many columns as the layer below has values; a bias is a single row after them.
    let is_bias: Vec<bool> =
        net.layers().iter().flat_map(|l| [Some(false), l.bias.as_ref().map(|_| true)]).flatten().collect();
    let mut count = 0;
    for epoch in 0..params.max_epochs {
        let rate = schedule.rate(epoch);
        let examples: Vec<usize> = (0..x.nrows()).collect();
        for rows in examples.chunks(schedule.batch_size) {
            count += 1;
            let tape = Tape::new();
            let vars: Vec<_> = theta.iter().map(|p| tape.var(p.clone())).collect();
            let inputs = tape.var(x.select(Axis(0), rows));
            let outputs = *masked_on_tape(net, &vars, inputs, params.activation, &[]).last().unwrap();
            let targets = match targets {
                Targets::Signs(s) => Targets::Signs(rows.iter().map(|&i| s[i]).collect()),
                Targets::Classes(c) => Targets::Classes(rows.iter().map(|&i| c[i]).collect()),
                Targets::Values(v) => Targets::Values(v.select(Axis(0), rows)),
            };
            let mean = on_tape(params.loss, outputs, &targets).scale(1.0 / rows.len() as f64);
            let gradient = tape.grad(mean, &vars);
            for p in 0..theta.len() {
                let decays = !is_bias[p] || schedule.decayed == Decayed::AllParameters;
                let decay = if decays { schedule.weight_decay } else { 0.0 };
                for (at, &g) in gradient[p].value().indexed_iter() {
                    let w = &mut theta[p][at];
                    let (m, v) = (&mut first[p][at], &mut second[p][at]);
                    match schedule.optimizer {
                        Optimizer::Sgd { momentum } => {
                            *m = momentum * *m + g + decay * *w;
                            *w -= rate * *m;
                        }
                        Optimizer::Adam(b) | Optimizer::AdamW(b) => {
                            let coupled = matches!(schedule.optimizer, Optimizer::Adam(_));
                            let g = if coupled { g + decay * *w } else { g };
                            if !coupled {
                                *w -= rate * decay * *w;
                            }
                            *m = b.beta1 * *m + (1.0 - b.beta1) * g;
                            *v = b.beta2 * *v + (1.0 - b.beta2) * g * g;
                            let m_hat = *m / (1.0 - b.beta1.powi(count));
                            let v_hat = *v / (1.0 - b.beta2.powi(count));
                            *w -= rate * m_hat / (v_hat.sqrt() + b.epsilon);
                        }
                    }
                }
            }
        }
    }
    theta
}

fn any_optimizer() -> impl Strategy<Value = Optimizer> {
    // A large epsilon: where a gradient is rounding alone, Adam would make steps of the rounding.
    let moments = || {
        (0.0..0.95_f64, 0.5..0.999_f64, 0.01..0.1_f64).prop_map(|(beta1, beta2, epsilon)| Moments {
            beta1,
            beta2,
            epsilon,
        })
    };
    prop_oneof![
        Just(Optimizer::Sgd { momentum: 0.0 }),
        (0.1..0.95_f64).prop_map(|momentum| Optimizer::Sgd { momentum }),
        moments().prop_map(Optimizer::Adam),
        moments().prop_map(Optimizer::AdamW),
    ]
}

proptest! {
    #[test]
    fn every_optimiser_agrees_with_loops_and_the_tape(
        (hidden, (loss, targets)) in (
            prop::collection::vec(1_usize..6, 0..3),
            (1_usize..5, 1_usize..8).prop_flat_map(|(classes, n)| any_loss(classes, n)),
        ),
        placement in prop::sample::select(vec![
            BiasPlacement::FirstLayer, BiasPlacement::Everywhere, BiasPlacement::Nowhere,
        ]),
        (optimizer, activation, batch_size) in (any_optimizer(), any_activation(), 1_usize..9),
        (weight_decay, weights_only, halve_every) in (0.0..0.3_f64, any::<bool>(), 1_usize..4),
        seed in any::<u64>(),
    ) {
        let outputs = match &targets {
            Targets::Signs(_) => 1,
            // One more than the largest label is enough for any of these losses.
            Targets::Classes(classes) => classes.iter().max().unwrap().max(&1) + 1,
            Targets::Values(values) => values.ncols(),
        };
        let dims: Vec<usize> = [3].into_iter().chain(hidden).chain([outputs]).collect();
        let net = Mlp::<f64>::initialise(&dims, placement, 0.7, Seed::new(seed));
        let x = Array2::random_using((targets.len(), 3), StandardNormal, &mut Seed::new(seed).named("x").rng());
        let schedule = BatchSchedule {
            order: BatchOrder::AsGiven,
            weight_decay,
            decayed: if weights_only { Decayed::Weights } else { Decayed::AllParameters },
            rate_decay: Some(RateDecay { every: halve_every, factor: 0.5 }),
            ..BatchSchedule::new(optimizer, 0.02, batch_size, 0)
        };
        let params = TrainParams {
            loss, activation, max_epochs: 3, space: TrainingSpace::Full, ..TrainParams::new(Schedule::Batches(schedule))
        };
        let found = train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap().network;
        for (found, expected) in parts(&found).iter().zip(slow_twin(&net, &x, &targets, &params, &schedule)) {
            prop_assert!(
                (found - &expected).iter().all(|e| e.abs() < 1e-9), "{:?} {:?}: {} and {}", optimizer, loss, found, expected
            );
        }
    }
}

/// A ten-class task of 23 images of 2 x 4 x 4.
fn problem() -> (Mlp<f64>, Array2<f64>, Targets) {
    let x = Array2::random_using((23, 32), StandardNormal, &mut Seed::new(1).rng());
    let net = Mlp::initialise(&[32, 25, 20, 10], BiasPlacement::Everywhere, 0.1, Seed::new(2));
    (net, x, Targets::Classes((0..23).map(|i| i * 7 % 10).collect()))
}

fn softmax(schedule: Schedule, epochs: usize) -> TrainParams {
    let loss = Loss::Softmax { label_smoothing: 0.0 };
    TrainParams { loss, max_epochs: epochs, ..TrainParams::new(schedule) }
}

#[test]
fn the_exact_subspace_is_exact_for_sgd_in_batches() {
    let (net, x, targets) = problem();
    let schedule = BatchSchedule {
        weight_decay: 1e-2,
        dropout: 0.2,
        ..BatchSchedule::new(Optimizer::Sgd { momentum: 0.9 }, 0.02, 5, 3)
    };
    let run = |space| {
        let params = TrainParams { space, ..softmax(Schedule::Batches(schedule), 40) };
        train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap().network
    };
    let (full, subspace) = (run(TrainingSpace::Full), run(TrainingSpace::ExactSubspace));
    assert_ne!(full, net);
    for (a, b) in parts(&full).iter().zip(parts(&subspace)) {
        assert!((a - &b).iter().all(|e| e.abs() < 1e-9));
    }
}

#[test]
fn a_run_in_batches_resumed_anywhere_ends_in_the_same_bits() {
    let (net, x, targets) = problem();
    let augmentation = Some(Augmentation { shape: [2, 4, 4], flip_probability: 0.5, shift: 1 });
    for optimizer in [
        Optimizer::Sgd { momentum: 0.0 },
        Optimizer::Sgd { momentum: 0.9 },
        Optimizer::Adam(Moments::default()),
        Optimizer::AdamW(Moments::default()),
    ] {
        let schedule = BatchSchedule {
            weight_decay: 1e-2,
            dropout: 0.3,
            augmentation,
            ..BatchSchedule::new(optimizer, 0.01, 4, 5)
        };
        let params = softmax(Schedule::Batches(schedule), 12);
        let run = |from, observer: &mut dyn FnMut(&Epoch<'_, f64>) -> ControlFlow<()>| {
            train_on(net.clone(), x.view(), &targets, &params, from, observer).unwrap()
        };
        let whole = run(None, &mut go_on);
        for stop_at in [0, 1, 7, 12] {
            let mut seen = None;
            run(None, &mut |e| {
                seen = (e.index == stop_at).then(|| postcard::to_stdvec(e.state).unwrap());
                if seen.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let resumed = run(Some(postcard::from_bytes(&seen.unwrap()).unwrap()), &mut go_on);
            assert_eq!(resumed.network, whole.network, "{optimizer:?} {stop_at}");
            assert_eq!(resumed.log_loss.to_bits(), whole.log_loss.to_bits());
            assert_eq!((resumed.epochs, resumed.reason), (whole.epochs, whole.reason));
        }
        // The seed matters, and so does each thing that is drawn.
        let other = |schedule| {
            let params = softmax(Schedule::Batches(schedule), 12);
            train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap().network
        };
        assert_ne!(other(BatchSchedule { seed: 6, ..schedule }), whole.network);
        assert_ne!(other(BatchSchedule { dropout: 0.0, ..schedule }), whole.network);
        assert_ne!(other(BatchSchedule { augmentation: None, ..schedule }), whole.network);
        assert_ne!(other(BatchSchedule { order: BatchOrder::AsGiven, ..schedule }), whole.network);
    }
}

#[test]
fn weight_decay_ends_where_the_pulls_make_the_weights() {
    let (net, x, classes) = problem();
    let values = Array2::random_using((23, 10), StandardNormal, &mut Seed::new(4).rng());
    let decay = 2e-2;
    for (loss, targets) in [
        (Loss::Softmax { label_smoothing: 0.0 }, classes.clone()),
        (Loss::Softmax { label_smoothing: 0.2 }, classes),
        (Loss::Squared, Targets::Values(values)),
    ] {
        // A smooth activation: at a breakpoint the equation holds between two slopes.
        let activation = Activation::Silu;
        let full_batch = Schedule::WeightDecay { weight_decay: decay, step_size: 0.05 };
        let adam = BatchSchedule {
            weight_decay: decay,
            rate_decay: Some(RateDecay { every: 4000, factor: 0.3 }),
            ..BatchSchedule::new(Optimizer::Adam(Moments::default()), 3e-3, 23, 0)
        };
        for schedule in [full_batch, Schedule::Batches(adam)] {
            let params = TrainParams { loss, activation, max_epochs: 30_000, ..TrainParams::new(schedule) };
            let net = train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap().network;
            let mut passes = Passes::new(&net, 23);
            forward(&net, x.view(), activation, &mut passes, Parallelism::Sequential);
            let pull = loss.pull(passes.output(), &targets) / (23.0 * decay);
            backward(&net, pull.view(), &mut passes, Parallelism::Sequential);
            let mut left = net.clone();
            let scope = Scope::AllLayers;
            parameter_gradient(x.view(), &passes, 1.0, -1.0, scope, &mut left, Parallelism::Sequential);
            let size = |net: &Mlp<f64>| parts(net).iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
            let residual = size(&left) / size(&net);
            assert!(residual < 1e-2, "{loss:?} {schedule:?}: {residual}");
        }
    }
}

#[test]
fn softmax_is_descended_where_it_underflows() {
    let (net, x, targets) = problem();
    for schedule in [Schedule::LossNormalised { step_size: 0.1 }, Schedule::PacedFlow { step_size: 0.1 }] {
        let params = TrainParams { until_log_loss: Some(-800.0), ..softmax(schedule, 100_000) };
        let outcome = train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap();
        assert_eq!((outcome.reason, outcome.training_errors), (StopReason::LogLoss, 0), "{schedule:?}");
    }
    let smoothed = TrainParams {
        loss: Loss::Softmax { label_smoothing: 0.1 },
        ..softmax(Schedule::PacedFlow { step_size: 0.1 }, 10)
    };
    let error = train_on(net, x.view(), &targets, &smoothed, None, &mut go_on).unwrap_err().to_string();
    assert!(error.contains("loss must be logistic or unsmoothed softmax"), "{error}");
}

#[test]
fn two_logits_train_as_one_output() {
    let (_, x, _) = problem();
    let labels = Array1::from_shape_fn(23, |i| if i % 3 == 0 { 1.0 } else { -1.0 });
    let classes = Targets::Classes(labels.iter().map(|&y| usize::from(y > 0.0)).collect());
    // Two opposite rows whose difference is the one row: the same function, so the same gradient below.
    let one = Mlp::initialise(&[32, 8, 1], BiasPlacement::FirstLayer, 0.3, Seed::new(3));
    let mut two = Mlp::initialise(&[32, 8, 2], BiasPlacement::FirstLayer, 0.3, Seed::new(3));
    let last = one.layers()[1].weight.row(0).to_owned();
    two.layers_mut()[1].weight.row_mut(0).assign(&(&last * -0.5));
    two.layers_mut()[1].weight.row_mut(1).assign(&(&last * 0.5));
    two.layers_mut()[0] = one.layers()[0].clone();
    let params =
        TrainParams { max_epochs: 1, ..TrainParams::new(Schedule::GradientDescent { step_size: 0.1 }) };
    let one = train(one, x.view(), labels.view(), &params, &mut go_on).unwrap();
    let params = TrainParams { loss: Loss::Softmax { label_smoothing: 0.0 }, ..params };
    let two = train_on(two, x.view(), &classes, &params, None, &mut go_on).unwrap();
    assert!(
        (&one.network.layers()[0].weight - &two.network.layers()[0].weight).iter().all(|e| e.abs() < 1e-12)
    );
    assert_eq!(one.training_errors, two.training_errors);
}

#[test]
fn options_of_batches_are_checked() {
    let (net, x, targets) = problem();
    let fine = BatchSchedule::new(Optimizer::Sgd { momentum: 0.9 }, 0.1, 5, 0);
    let image = Augmentation { shape: [2, 4, 4], flip_probability: 0.5, shift: 1 };
    let moments = |beta1, epsilon| Optimizer::Adam(Moments { beta1, epsilon, ..Moments::default() });
    for (schedule, named) in [
        (
            BatchSchedule { learning_rate: 0.0, ..fine },
            "learning_rate must be a finite number above 0, got 0",
        ),
        (BatchSchedule { optimizer: Optimizer::Sgd { momentum: 1.0 }, ..fine }, "momentum must be"),
        (BatchSchedule { optimizer: moments(-0.1, 1e-8), ..fine }, "beta1 must be"),
        (BatchSchedule { optimizer: moments(0.9, 0.0), ..fine }, "epsilon must be"),
        (BatchSchedule { batch_size: 0, ..fine }, "batch_size must be at least 1"),
        (BatchSchedule { weight_decay: f64::NAN, ..fine }, "weight_decay must be"),
        (BatchSchedule { dropout: 1.0, ..fine }, "dropout must be at least 0 and below 1, got 1"),
        (BatchSchedule { rate_decay: Some(RateDecay { every: 0, factor: 0.5 }), ..fine }, "rate_decay.every"),
        (
            BatchSchedule { rate_decay: Some(RateDecay { every: 1, factor: 1.5 }), ..fine },
            "rate_decay.factor",
        ),
        (
            BatchSchedule { augmentation: Some(Augmentation { shape: [3, 4, 4], ..image }), ..fine },
            "as many numbers",
        ),
    ] {
        let params = softmax(Schedule::Batches(schedule), 1);
        let error =
            train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let adam = BatchSchedule::new(Optimizer::Adam(Moments::default()), 0.1, 5, 0);
    let params = TrainParams { space: TrainingSpace::ExactSubspace, ..softmax(Schedule::Batches(adam), 1) };
    let error = train_on(net, x.view(), &targets, &params, None, &mut go_on).unwrap_err().to_string();
    assert!(error.contains("space must be Full with Adam"), "{error}");
}

#[test]
fn a_step_that_is_too_large_is_told() {
    let (net, x, targets) = problem();
    let schedule = Schedule::Batches(BatchSchedule::new(Optimizer::Sgd { momentum: 0.0 }, 1e30, 5, 0));
    // Of the squared error even a bias alone runs away.
    let params = TrainParams { loss: Loss::Squared, ..softmax(schedule, 50) };
    let error = train_on(net, x.view(), &targets, &params, None, &mut go_on).unwrap_err();
    assert!(matches!(error, MlpError::Diverged { .. }), "{error}");
}
