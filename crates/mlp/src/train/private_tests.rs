use ndarray::{Array2, Axis};
use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use palimpsest_autograd::Tape;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use proptest::prelude::*;

use super::batch::{Batch, Draws, Task};
use super::private::add_clipped;
use super::*;
use crate::loss::Loss;
use crate::loss::tests::{any_loss, on_tape};
use crate::passes::tests::{any_activation, masked_on_tape, parts};
use crate::{Activation, BiasPlacement};

fn go_on(_: &Epoch<'_, f64>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn selected(targets: &Targets, rows: &[usize]) -> Targets {
    match targets {
        Targets::Signs(signs) => Targets::Signs(rows.iter().map(|&i| signs[i]).collect()),
        Targets::Classes(classes) => Targets::Classes(rows.iter().map(|&i| classes[i]).collect()),
        Targets::Values(values) => Targets::Values(values.select(Axis(0), rows)),
    }
}

/// The sum of clipped gradients of `rows`, each made by the tape and clipped as it is written: parameters as in [`parts`].
fn slow_twin(
    net: &Mlp<f64>,
    x: &Array2<f64>,
    targets: &Targets,
    (loss, activation): (Loss, Activation),
    rows: &[usize],
    clip: f64,
) -> Vec<Array2<f64>> {
    let theta = parts(net);
    let mut sum: Vec<Array2<f64>> = theta.iter().map(|p| Array2::zeros(p.dim())).collect();
    for &row in rows {
        let tape = Tape::new();
        let vars: Vec<_> = theta.iter().map(|p| tape.var(p.clone())).collect();
        let input = tape.var(x.select(Axis(0), &[row]));
        let output = *masked_on_tape(net, &vars, input, activation, &[]).last().unwrap();
        let gradient = tape.grad(on_tape(loss, output, &selected(targets, &[row])), &vars);
        let square: f64 = gradient.iter().map(|g| g.value().iter().map(|v| v * v).sum::<f64>()).sum();
        let factor = (clip / square.sqrt()).min(1.0);
        for (sum, gradient) in sum.iter_mut().zip(&gradient) {
            *sum = &*sum + &(&*gradient.value() * factor);
        }
    }
    sum
}

fn size(net: &Mlp<f64>) -> f64 {
    parts(net).iter().flatten().map(|v| v * v).sum::<f64>().sqrt()
}

/// The sum of clipped gradients of `rows`, in batches of two.
fn clipped(
    net: &Mlp<f64>,
    x: &Array2<f64>,
    targets: &Targets,
    (loss, activation): (Loss, Activation),
    rows: &[usize],
    clip: f64,
) -> Mlp<f64> {
    let task = Task { x: x.view(), targets, loss, activation, parallelism: Parallelism::Sequential };
    let schedule = BatchSchedule::new(Optimizer::Sgd { momentum: 0.0 }, 0.1, 2, 0);
    let mut batch = Batch::new(net, 2, &schedule);
    let mut draws = Draws::new(Seed::new(0), x.nrows());
    let mut sum = net.zeros_like();
    for rows in rows.chunks(2) {
        draws.order = rows.to_vec();
        draws.gather(0..rows.len(), x.view(), &schedule, &mut batch);
        add_clipped(net, &task, rows, clip, &mut batch, &mut sum);
    }
    sum
}

proptest! {
    #[test]
    fn clipped_sums_agree_with_the_tape_and_one_example_moves_them_by_the_clip_at_most(
        hidden in prop::collection::vec(1_usize..6, 0..3),
        (loss, targets) in (1_usize..5, 1_usize..8).prop_flat_map(|(classes, n)| any_loss(classes, n)),
        placement in prop::sample::select(vec![
            BiasPlacement::FirstLayer, BiasPlacement::Everywhere, BiasPlacement::Nowhere,
        ]),
        (activation, clip, seed) in (any_activation(), 1e-3..3.0_f64, any::<u64>()),
    ) {
        let outputs = match &targets {
            Targets::Signs(_) => 1,
            Targets::Classes(classes) => classes.iter().max().unwrap().max(&1) + 1,
            Targets::Values(values) => values.ncols(),
        };
        let dims: Vec<usize> = [3].into_iter().chain(hidden).chain([outputs]).collect();
        let net = Mlp::<f64>::initialise(&dims, placement, 0.7, Seed::new(seed));
        let x = Array2::random_using((targets.len(), 3), StandardNormal, &mut Seed::new(seed).named("x").rng());
        let how = (loss, activation);
        let all: Vec<usize> = (0..targets.len()).collect();
        let sum = clipped(&net, &x, &targets, how, &all, clip);
        for (found, expected) in parts(&sum).iter().zip(slow_twin(&net, &x, &targets, how, &all, clip)) {
            prop_assert!((found - &expected).iter().all(|e| e.abs() < 1e-9), "{:?}: {} {}", loss, found, expected);
        }
        let without = clipped(&net, &x, &targets, how, &all[1..], clip);
        let mut moved = sum;
        for (layer, without) in moved.layers_mut().iter_mut().zip(without.layers()) {
            layer.weight -= &without.weight;
            if let (Some(bias), Some(without)) = (&mut layer.bias, &without.bias) {
                *bias -= without;
            }
        }
        prop_assert!(size(&moved) <= clip * (1.0 + 1e-9), "{} above {}", size(&moved), clip);
        // An example alone has the norm of the clip where its gradient is longer.
        let alone = size(&clipped(&net, &x, &targets, how, &all[..1], clip));
        let whole = size(&clipped(&net, &x, &targets, how, &all[..1], 1e9));
        prop_assert!((alone - whole.min(clip)).abs() < 1e-9, "{alone} of {whole} at {clip}");
    }
}

fn problem() -> (Mlp<f64>, Array2<f64>, Targets) {
    let x = Array2::random_using((20, 12), StandardNormal, &mut Seed::new(1).rng());
    let net = Mlp::initialise(&[12, 9, 3], BiasPlacement::Everywhere, 0.3, Seed::new(2));
    (net, x, Targets::Classes((0..20).map(|i| i * 7 % 3).collect()))
}

fn params(batches: BatchSchedule, privacy: Privacy, epochs: usize) -> TrainParams {
    let schedule = Schedule::PrivateBatches { batches, privacy };
    let loss = Loss::Softmax { label_smoothing: 0.0 };
    TrainParams { loss, max_epochs: epochs, ..TrainParams::new(schedule) }
}

#[test]
fn one_step_has_the_noise_that_is_declared() {
    let (net, x, targets) = problem();
    // A clip so small that the gradient is nothing beside the noise.
    let privacy = Privacy { clip: 1e-6, noise_multiplier: 1e6 };
    let batches = BatchSchedule::new(Optimizer::Sgd { momentum: 0.0 }, 1.0, 5, 3);
    let after = |batches| {
        let params = TrainParams { max_epochs: 1, ..params(batches, privacy, 1) };
        train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap().network
    };
    let trained = after(batches);
    let steps: Vec<f64> = parts(&trained)
        .iter()
        .zip(parts(&net))
        .flat_map(|(a, b)| (a - &b).into_raw_vec_and_offset().0)
        .collect();
    // Four steps, each of noise of deviation 1 over the expected size 5.
    let variance = steps.iter().map(|v| v * v).sum::<f64>() / steps.len() as f64;
    let expected = 4.0 / 25.0;
    let spread = 4.0 * expected * (2.0 / steps.len() as f64).sqrt();
    assert!((variance - expected).abs() < spread, "{variance} for {expected}");
    assert_ne!(after(BatchSchedule { seed: 4, ..batches }), trained);
}

#[test]
fn without_noise_or_clipping_a_step_on_all_is_a_step_on_all() {
    let (net, x, targets) = problem();
    for optimizer in
        [Optimizer::Sgd { momentum: 0.9 }, Optimizer::Adam(Moments { epsilon: 0.1, ..Moments::default() })]
    {
        let batches = BatchSchedule { weight_decay: 1e-2, ..BatchSchedule::new(optimizer, 0.05, 20, 3) };
        let private = params(batches, Privacy { clip: 1e6, noise_multiplier: 1e-18 }, 30);
        let plain = TrainParams {
            space: TrainingSpace::Full,
            loss: private.loss,
            max_epochs: 30,
            ..TrainParams::new(Schedule::Batches(batches))
        };
        let run =
            |params| train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap().network;
        for (a, b) in parts(&run(private)).iter().zip(parts(&run(plain))) {
            assert!((a - &b).iter().all(|e| e.abs() < 1e-9), "{optimizer:?}");
        }
    }
}

#[test]
fn a_private_run_resumed_ends_in_the_same_bits() {
    let (net, x, targets) = problem();
    let batches =
        BatchSchedule { dropout: 0.3, ..BatchSchedule::new(Optimizer::Sgd { momentum: 0.9 }, 0.05, 6, 3) };
    let params = params(batches, Privacy { clip: 0.5, noise_multiplier: 0.7 }, 9);
    let whole = train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap();
    let mut seen = None;
    let mut stop = |e: &Epoch<'_, f64>| {
        seen = (e.index == 4).then(|| e.state.clone());
        if seen.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    train_on(net.clone(), x.view(), &targets, &params, None, &mut stop).unwrap();
    let resumed = train_on(net, x.view(), &targets, &params, seen, &mut go_on).unwrap();
    assert_eq!(resumed.network, whole.network);
}

#[test]
fn samples_are_of_poisson() {
    let mut draws = Draws::new(Seed::new(5), 40);
    let sizes: Vec<usize> = (0..2000)
        .map(|_| {
            draws.sample(0.25);
            draws.order.len()
        })
        .collect();
    let mean = sizes.iter().sum::<usize>() as f64 / 2000.0;
    let variance = sizes.iter().map(|&s| (s as f64 - mean).powi(2)).sum::<f64>() / 2000.0;
    // Of the binomial distribution, 10 and 7.5.
    assert!((mean - 10.0).abs() < 0.25 && (variance - 7.5).abs() < 1.0, "{mean} {variance}");
    draws.sample(1.0);
    assert!(draws.order.iter().copied().eq(0..40));
}

#[test]
fn options_of_privacy_are_checked() {
    let (net, x, targets) = problem();
    let fine = Privacy { clip: 1.0, noise_multiplier: 1.0 };
    let batches = BatchSchedule::new(Optimizer::Sgd { momentum: 0.0 }, 0.1, 5, 0);
    let told = |params: TrainParams| {
        train_on(net.clone(), x.view(), &targets, &params, None, &mut go_on).unwrap_err().to_string()
    };
    assert!(told(params(batches, Privacy { clip: 0.0, ..fine }, 1)).contains("clip must be"));
    assert!(
        told(params(batches, Privacy { noise_multiplier: f64::NAN, ..fine }, 1)).contains("noise_multiplier")
    );
    let subspace = TrainParams { space: TrainingSpace::ExactSubspace, ..params(batches, fine, 1) };
    assert!(told(subspace).contains("space must be Full with Adam, AdamW, augmentation or privacy"));
    let made = SampledGaussian::of(&batches, fine, 18, 10);
    assert_eq!((made.sampling_rate, made.steps), (5.0 / 18.0, 40));
}
