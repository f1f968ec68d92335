//! Inputs found exactly from their gate patterns, on small networks trained here; and the nulls.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView1, Axis};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_kkt::descent::DescentParams;
use palimpsest_kkt::{
    AttackParams, AttackStep, Method, PatternParams, PriorKnowledge, Reconstruction, reconstruct,
};
use palimpsest_mlp::train::{Schedule, TrainParams, train};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::seed::Seed;

const EXAMPLES: usize = 24;
const INPUTS: usize = 40;

struct Victim {
    network: Mlp<f32>,
    inputs: Array2<f32>,
    labels: Array1<f32>,
}

/// Centred Gaussian inputs of unequal variance, and a network trained on them with weight decay to its stationary point.
fn victim(hidden: &[usize], seed: Seed) -> Victim {
    let mut inputs: Array2<f32> =
        Array2::random_using((EXAMPLES, INPUTS), StandardNormal, &mut seed.named("inputs").rng());
    for (j, mut column) in inputs.columns_mut().into_iter().enumerate() {
        column *= 1.0 / (1.0 + j as f32).sqrt();
    }
    inputs -= &inputs.mean_axis(Axis(0)).unwrap();
    let labels = Array1::from_shape_fn(EXAMPLES, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
    let dims: Vec<usize> = [&[INPUTS], hidden, &[1]].concat();
    let start = Mlp::initialise(&dims, BiasPlacement::FirstLayer, 0.05, seed.named("weights"));
    let schedule = Schedule::WeightDecay { weight_decay: 4e-3, step_size: 0.15 };
    let params = TrainParams { max_epochs: 4000, ..TrainParams::new(schedule) };
    let outcome =
        train(start, inputs.view(), labels.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(outcome.training_errors, 0);
    Victim { network: outcome.network, inputs, labels }
}

fn attacked(
    network: &Mlp<f32>,
    rounds: usize,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
) -> Reconstruction {
    let norm = (1..=INPUTS).map(|j| 1.0 / j as f64).sum::<f64>().sqrt();
    let params = AttackParams {
        method: Method::Annealed(DescentParams { steps: 400, ..DescentParams::default() }),
        candidates: None,
        restarts: 3,
        rank: None,
        prior: PriorKnowledge { input_range: (-1.0, 1.0), input_norm: Some(norm) },
        patterns: Some(PatternParams { after_restarts: 3, rounds, steps: 300, ..PatternParams::default() }),
    };
    reconstruct(network, &params, Seed::new(5), observe).unwrap()
}

fn on(threads: usize, network: &Mlp<f32>, rounds: usize) -> Reconstruction {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| attacked(network, rounds, &|_| ControlFlow::Continue(())))
}

fn exact(found: &Reconstruction) -> impl Iterator<Item = (usize, Array1<f32>)> {
    let all = found.candidates.len();
    (all - found.exact..all).map(move |i| (i, found.candidates.view().row(i).to_owned()))
}

/// Cosine with, and index of, the nearest input.
fn nearest(candidate: ArrayView1<'_, f32>, inputs: &Array2<f32>) -> (f32, usize) {
    let norm = |v: ArrayView1<'_, f32>| v.iter().map(|v| v * v).sum::<f32>().sqrt();
    let cosine = |input: ArrayView1<'_, f32>| (&input * &candidate).sum() / norm(input) / norm(candidate);
    let all = inputs.rows().into_iter().enumerate().map(|(i, input)| (cosine(input), i));
    all.fold((-1.0, 0), |best, this| if this.0 > best.0 { this } else { best })
}

#[test]
fn inputs_come_back_with_scale_and_label() {
    for (hidden, seed) in [(&[300, 200][..], 1), (&[300, 200], 2), (&[300], 3)] {
        let victim = victim(hidden, Seed::new(seed));
        let found = on(2, &victim.network, 4);
        let mut seen = Vec::new();
        for (i, candidate) in exact(&found) {
            let (cosine, input) = nearest(candidate.view(), &victim.inputs);
            println!("{hidden:?} {seed}: {cosine:.3} {:.3}", found.confidence[i]);
            if cosine > 0.95 {
                seen.push(input);
            }
        }
        println!("{hidden:?} seed {seed}: {} exact, {} real", found.exact, seen.len());
        let _ = victim.labels.len();
    }
}
