//! Inner loops do not allocate: counted over the whole process, on one thread and on two.
//!
//! One test in a binary of its own, since the counter sees every thread.

#![cfg(test)]

use std::alloc::System;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2};
use palimpsest_attack::search::alternating::{AlternatingParams, alternate};
use palimpsest_attack::search::annealed::{DescentParams, anneal};
use palimpsest_attack::search::published::{GradientParams, descend};
use palimpsest_attack::{AttackProblem, PriorKnowledge, Step};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::train::{
    Augmentation, BatchSchedule, Moments, Optimizer, Schedule, TrainParams, TrainingSpace, train, train_on,
};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::seed::Seed;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Products of this size are cut for two threads.
const WIDTH: usize = 256;
const INPUTS: usize = 300;
const BATCH: usize = 128;
/// Steps before counting: curves grow in powers of two.
const WARM_UP: usize = 17;
const STEPS: usize = 30;

/// Notes the number of allocations at each step, without allocating itself.
struct Watch {
    at: [usize; STEPS],
}

impl Watch {
    fn new() -> Self {
        Self { at: [0; STEPS] }
    }

    fn see(&mut self, index: usize) -> ControlFlow<()> {
        if let Some(at) = self.at.get_mut(index) {
            let stats = COUNTED.stats();
            *at = stats.allocations + stats.reallocations;
        }
        ControlFlow::Continue(())
    }

    #[track_caller]
    fn assert_none(&self, what: &str) {
        assert!(self.at[STEPS - 1] > 0, "{what}: the steps were not seen");
        let made: Vec<usize> = self.at[WARM_UP..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(made.iter().all(|&n| n == 0), "{what}: allocations by step {made:?}");
    }
}

fn network() -> Mlp<f32> {
    Mlp::initialise(&[INPUTS, WIDTH, WIDTH, 1], BiasPlacement::FirstLayer, 0.05, Seed::new(1))
}

fn training(parallelism: Parallelism, threads: usize) {
    let x = Mlp::<f32>::initialise(&[INPUTS, BATCH], BiasPlacement::Nowhere, 0.5, Seed::new(2));
    let y = Array1::from_shape_fn(BATCH, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
    for schedule in [
        Schedule::GradientDescent { step_size: 0.1 },
        Schedule::LossNormalised { step_size: 0.01 },
        Schedule::PacedFlow { step_size: 0.01 },
        Schedule::WeightDecay { weight_decay: 2e-3, step_size: 0.1 },
        Schedule::HeavyBall { weight_decay: 2e-3, step_size: 0.1, momentum: 0.97 },
    ] {
        for space in [TrainingSpace::Full, TrainingSpace::ExactSubspace] {
            let params = TrainParams { max_epochs: STEPS, space, parallelism, ..TrainParams::new(schedule) };
            let mut watch = Watch::new();
            let x = x.layers()[0].weight.view();
            train(network(), x, y.view(), &params, &mut |epoch| watch.see(epoch.index)).unwrap();
            watch.assert_none(&format!("{schedule:?} in {space:?} on {threads} threads"));
        }
    }
}

fn training_in_batches(parallelism: Parallelism, threads: usize) {
    let x = Mlp::<f32>::initialise(&[INPUTS, BATCH], BiasPlacement::Nowhere, 0.5, Seed::new(2));
    let x = x.layers()[0].weight.view();
    let targets = Targets::Classes((0..BATCH).map(|i| i % 10).collect());
    for optimizer in [Optimizer::Sgd { momentum: 0.9 }, Optimizer::Adam(Moments::default())] {
        let schedule = Schedule::Batches(BatchSchedule {
            weight_decay: 1e-3,
            dropout: 0.2,
            augmentation: Some(Augmentation { shape: [3, 10, 10], flip_probability: 0.5, shift: 2 }),
            ..BatchSchedule::new(optimizer, 1e-3, 50, 4)
        });
        let params = TrainParams {
            loss: Loss::Softmax { label_smoothing: 0.0 },
            max_epochs: STEPS,
            parallelism,
            ..TrainParams::new(schedule)
        };
        let network =
            Mlp::initialise(&[INPUTS, WIDTH, WIDTH, 10], BiasPlacement::Everywhere, 0.05, Seed::new(1));
        let mut watch = Watch::new();
        train_on(network, x, &targets, &params, None, &mut |epoch| watch.see(epoch.index)).unwrap();
        watch.assert_none(&format!("{optimizer:?} in batches on {threads} threads"));
    }
}

fn attacks(parallelism: Parallelism, threads: usize) {
    let network = network();
    let problem =
        AttackProblem::prepare(&network, PriorKnowledge::default(), Some(200), parallelism).unwrap();
    let pull = OutputPull::Binary((0..BATCH).map(|i| Label((i + 1) % 2)).collect());
    let seed = Seed::new(3);
    let annealed = DescentParams { steps: STEPS, ..DescentParams::default() };
    let alternating = AlternatingParams { steps: STEPS, ..AlternatingParams::default() };
    let gradient = GradientParams { steps: STEPS, ..GradientParams::default() };
    for method in ["annealed", "alternating", "gradient"] {
        let mut watch = Watch::new();
        let mut observe = |step: &Step<'_>| watch.see(step.index);
        let observe = &mut observe;
        let restart = match method {
            "annealed" => anneal(&problem, &pull, &annealed, seed, parallelism, observe),
            "alternating" => alternate(&problem, &pull, &alternating, seed, parallelism, observe),
            _ => descend(&network, &pull, &gradient, seed, parallelism, observe),
        };
        assert!(restart.relative_residual.is_finite(), "{method} did not run: {:?}", restart.termination);
        watch.assert_none(&format!("{method} on {threads} threads"));
    }
}

#[test]
fn inner_loops_do_not_allocate() {
    let before = COUNTED.stats().allocations;
    let taken = Array2::<f32>::zeros((10, 10));
    assert!(COUNTED.stats().allocations > before, "the counter does not count {:?}", taken.dim());
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // Kernels take their packing memory once a thread, and on a busy machine a thread may have nothing to do for long.
        pool.broadcast(|_| {
            let factor = Array2::<f32>::ones((WIDTH, WIDTH));
            assert_eq!(matmul(factor.view(), factor.view(), Parallelism::Sequential)[[0, 0]], WIDTH as f32);
        });
        pool.install(|| {
            training(Parallelism::of_threads(threads), threads);
            training_in_batches(Parallelism::of_threads(threads), threads);
            attacks(Parallelism::of_threads(threads), threads);
        });
    }
}
