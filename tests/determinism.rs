//! The same bits for any number of threads, for training and for every attack.
//!
//! Sizes are such that products are really split: the kernel stays on one thread below about 600,000 multiplications,
//! and weights are updated in parallel from 65,536 on.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView1};
use palimpsest_kkt::alternating::AlternatingParams;
use palimpsest_kkt::descent::DescentParams;
use palimpsest_kkt::gradient::GradientParams;
use palimpsest_kkt::{AttackParams, Method, PriorKnowledge, Reconstruction, reconstruct};
use palimpsest_mlp::train::{Schedule, TrainParams, TrainingSpace, train};
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
    let residuals: Vec<f32> = found.runs.iter().map(|run| run.relative_residual as f32).collect();
    [
        bits(found.candidates.view()),
        bits(&found.multipliers),
        bits(&found.confidence),
        bits(&found.spectrum),
        bits(ArrayView1::from(&residuals)),
    ]
}

/// Widths 110-700-60-1 on 60 inputs with norms like those of small images.
fn problem() -> (Mlp<f32>, Array2<f32>, Array1<f32>) {
    let net = Mlp::initialise(&[110, 700, 60, 1], BiasPlacement::FirstLayer, 1e-3, Seed::new(2));
    let x = Mlp::<f32>::initialise(&[110, 60], BiasPlacement::Nowhere, 0.5, Seed::new(1)).layers()[0]
        .weight
        .clone();
    (net, x, Array1::from_shape_fn(60, |i| if i % 2 == 0 { 1.0 } else { -1.0 }))
}

fn trained(schedule: Schedule, space: TrainingSpace, epochs: usize, threads: usize) -> Mlp<f32> {
    let (net, x, y) = problem();
    let params = TrainParams {
        max_epochs: epochs,
        space,
        parallelism: Parallelism::of_threads(threads),
        ..TrainParams::new(schedule)
    };
    on_threads(threads, || {
        train(net, x.view(), y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap().network
    })
}

#[test]
fn training() {
    for schedule in [
        Schedule::GradientDescent { step_size: 0.1 },
        Schedule::LossNormalised { step_size: 0.05 },
        Schedule::WeightDecay { weight_decay: 2e-3, step_size: 0.1 },
    ] {
        for space in [TrainingSpace::Full, TrainingSpace::ExactSubspace] {
            let [one, two, four] =
                THREADS.map(|threads| network_bits(&trained(schedule, space, 60, threads)));
            assert!(
                one == two && one == four,
                "{schedule:?} in {space:?} differs between 1, 2 and 4 threads"
            );
        }
    }
}

#[test]
fn every_attack() {
    let network = trained(
        Schedule::WeightDecay { weight_decay: 2e-3, step_size: 0.1 },
        TrainingSpace::ExactSubspace,
        800,
        2,
    );
    let annealed = Method::Annealed(DescentParams { steps: 40, ..DescentParams::default() });
    let alternating = Method::Alternating(AlternatingParams { steps: 40, ..AlternatingParams::default() });
    let gradient = Method::Gradient(GradientParams { steps: 30, ..GradientParams::default() });
    let mut agreed = false;
    for method in [annealed, alternating, gradient] {
        // One restart puts all threads into its products, several get one thread each.
        for restarts in [1, 3] {
            let params = AttackParams {
                method,
                candidates: Some(60),
                restarts,
                rank: None,
                prior: PriorKnowledge::default(),
            };
            let attack = |seed: u64| {
                let network = &network;
                move || {
                    reconstruct(network, &params, Seed::new(seed), &|_| ControlFlow::Continue(())).unwrap()
                }
            };
            let [one, two, four] =
                THREADS.map(|threads| reconstruction_bits(&on_threads(threads, attack(7))));
            for (part, name) in
                ["candidates", "multipliers", "confidence", "spectrum", "residuals"].iter().enumerate()
            {
                assert!(
                    one[part] == two[part] && one[part] == four[part],
                    "{name} of {restarts} restarts of {method:?} differ between 1, 2 and 4 threads"
                );
            }
            agreed |= one[2].iter().any(|&score| score != 0);
            assert_ne!(one, reconstruction_bits(&on_threads(2, attack(8))), "the seed does not matter");
        }
    }
    assert!(agreed, "all confidences are 0: comparing them says nothing");
}
