//! The same bits for any number of threads, for training and for every attack.
//!
//! Sizes are such that products are really split: the kernel stays on one thread below about 600,000 multiplications,
//! and weights are updated in parallel from 65,536 on.

use std::ops::ControlFlow;

use ndarray::{Array1, ArrayView1};
use palimpsest_attack::search::alternating::AlternatingParams;
use palimpsest_attack::search::annealed::DescentParams;
use palimpsest_attack::search::published::GradientParams;
use palimpsest_attack::{AttackParams, Method, PriorKnowledge, Reconstruction, reconstruct};
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::train::{
    Augmentation, BatchSchedule, Moments, Optimizer, Schedule, TrainParams, TrainingSpace, train, train_on,
};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

const THREADS: [usize; 3] = [1, 2, 4];

/// Runs `job` on a pool of its own.
fn on_threads<R: Send>(threads: usize, job: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(job)
}

fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    values.into_iter().map(|v| v.to_bits()).collect()
}

fn network_bits(network: &Mlp<f32>) -> Vec<u32> {
    network.layers().iter().flat_map(|l| bits(l.weight.iter().chain(l.bias.iter().flatten()))).collect()
}

/// Everything of a reconstruction that a report is made of.
fn reconstruction_bits(found: &Reconstruction) -> [Vec<u32>; 5] {
    let residuals: Vec<f32> = found.restarts.iter().map(|restart| restart.relative_residual as f32).collect();
    [
        bits(found.candidates.view()),
        bits(&found.multipliers),
        bits(&found.confidence),
        bits(&found.spectrum),
        bits(ArrayView1::from(&residuals)),
    ]
}

/// First layers (inputs, width): that of small images, where an SVD on several threads once lost bits, and a long one
/// whose restarts agree with each other.
const FIRST_LAYERS: [(usize, usize); 2] = [(784, 300), (110, 700)];
const EXAMPLES: usize = 60;

fn trained(
    (inputs, width): (usize, usize),
    schedule: Schedule,
    space: TrainingSpace,
    epochs: usize,
    threads: usize,
) -> Mlp<f32> {
    let net = Mlp::initialise(&[inputs, width, 60, 1], BiasPlacement::FirstLayer, 1e-3, Seed::new(2));
    let x = Mlp::<f32>::initialise(&[inputs, EXAMPLES], BiasPlacement::Nowhere, 0.5, Seed::new(1));
    let x = x.layers()[0].weight.view();
    let y = Array1::from_shape_fn(EXAMPLES, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
    let params = TrainParams {
        max_epochs: epochs,
        space,
        parallelism: Parallelism::of_threads(threads),
        ..TrainParams::new(schedule)
    };
    on_threads(threads, || {
        train(net, x, y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap().network
    })
}

#[test]
fn training() {
    for schedule in [
        Schedule::GradientDescent { step_size: 0.1 },
        Schedule::LossNormalised { step_size: 0.05 },
        Schedule::PacedFlow { step_size: 0.05 },
        Schedule::WeightDecay { weight_decay: 2e-3, step_size: 0.1 },
        Schedule::HeavyBall { weight_decay: 2e-3, step_size: 0.1, momentum: 0.97 },
    ] {
        for space in [TrainingSpace::Full, TrainingSpace::ExactSubspace] {
            let [one, two, four] =
                THREADS.map(|threads| network_bits(&trained(FIRST_LAYERS[0], schedule, space, 60, threads)));
            assert!(
                one == two && one == four,
                "{schedule:?} in {space:?} differs between 1, 2 and 4 threads"
            );
        }
    }
}

#[test]
fn training_in_batches() {
    let (inputs, width) = FIRST_LAYERS[0];
    let x = Mlp::<f32>::initialise(&[inputs, EXAMPLES], BiasPlacement::Nowhere, 0.5, Seed::new(1));
    let x = x.layers()[0].weight.view();
    let targets = Targets::Classes((0..EXAMPLES).map(|i| i * 7 % 10).collect());
    for optimizer in [
        Optimizer::Sgd { momentum: 0.9 },
        Optimizer::Adam(Moments::default()),
        Optimizer::AdamW(Moments::default()),
    ] {
        let [one, two, four] = THREADS.map(|threads| {
            let net =
                Mlp::initialise(&[inputs, width, 60, 10], BiasPlacement::Everywhere, 0.05, Seed::new(2));
            let schedule = Schedule::Batches(BatchSchedule {
                weight_decay: 1e-3,
                dropout: 0.2,
                augmentation: Some(Augmentation { shape: [1, 28, 28], flip_probability: 0.5, shift: 2 }),
                ..BatchSchedule::new(optimizer, 1e-3, 25, 4)
            });
            let params = TrainParams {
                loss: Loss::Softmax { label_smoothing: 0.1 },
                max_epochs: 10,
                parallelism: Parallelism::of_threads(threads),
                ..TrainParams::new(schedule)
            };
            let run = || train_on(net, x, &targets, &params, None, &mut |_| ControlFlow::Continue(()));
            network_bits(&on_threads(threads, run).unwrap().network)
        });
        assert!(one == two && one == four, "{optimizer:?} differs between 1, 2 and 4 threads");
    }
}

#[test]
fn every_attack() {
    let decay = Schedule::WeightDecay { weight_decay: 2e-3, step_size: 0.1 };
    let methods = [
        Method::Annealed(DescentParams { steps: 40, ..DescentParams::default() }),
        Method::Alternating(AlternatingParams { steps: 40, ..AlternatingParams::default() }),
        Method::Gradient(GradientParams { steps: 30, ..GradientParams::default() }),
    ];
    let mut agreed = false;
    for first_layer in FIRST_LAYERS {
        let network = trained(first_layer, decay, TrainingSpace::ExactSubspace, 800, 2);
        for method in methods {
            // One restart puts all threads into its products, several get one thread each.
            for restarts in [1, 3] {
                agreed |= attack_on_all_threads(&network, method, restarts);
            }
        }
    }
    assert!(agreed, "all confidences are 0: comparing them says nothing");
}

/// Compares the reconstructions; whether any candidate has a confidence above 0.
fn attack_on_all_threads(network: &Mlp<f32>, method: Method, restarts: usize) -> bool {
    let prior = PriorKnowledge::default();
    let mut params = AttackParams::of(method, restarts);
    params.candidates = Some(EXAMPLES);
    params.prior = prior;
    let attack = |threads: usize, seed: u64| {
        let run = || reconstruct(network, &params, Seed::new(seed), &|_| ControlFlow::Continue(())).unwrap();
        reconstruction_bits(&on_threads(threads, run))
    };
    let [one, two, four] = THREADS.map(|threads| attack(threads, 7));
    let parts = ["candidates", "multipliers", "confidence", "spectrum", "residuals"];
    for (part, name) in parts.iter().enumerate() {
        assert!(
            one[part] == two[part] && one[part] == four[part],
            "{name} of {restarts} restarts of {method:?} differ between 1, 2 and 4 threads"
        );
    }
    assert_ne!(one, attack(2, 8), "the seed does not matter");
    one[2].iter().any(|&score| score != 0)
}
