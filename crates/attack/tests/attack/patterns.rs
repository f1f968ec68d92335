//! Inputs found exactly from their activation patterns, on small networks trained here; and the nulls.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayView1, Axis};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_attack::Origin;
use palimpsest_attack::search::annealed::DescentParams;
use palimpsest_attack::{
    AttackParams, AttackStep, Method, PatternParams, PriorKnowledge, Reconstruction, reconstruct,
};
use palimpsest_mlp::train::{Schedule, TrainParams, train};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::seed::Seed;
use rand::seq::SliceRandom;

const EXAMPLES: usize = 20;
const INPUTS: usize = 100;

struct Victim {
    network: Mlp<f32>,
    inputs: Array2<f32>,
    labels: Array1<f32>,
}

/// Centred Gaussian inputs of unequal variance, and a network trained on them with weight decay to its stationary point.
static VICTIM: LazyLock<Victim> = LazyLock::new(|| {
    let seed = Seed::new(8);
    let mut inputs: Array2<f32> =
        Array2::random_using((EXAMPLES, INPUTS), StandardNormal, &mut seed.named("inputs").rng());
    for (j, mut column) in inputs.columns_mut().into_iter().enumerate() {
        column *= 1.0 / (1.0 + 0.1 * j as f32).sqrt();
    }
    inputs -= &inputs.mean_axis(Axis(0)).expect("there are inputs");
    let labels = Array1::from_shape_fn(EXAMPLES, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
    let start =
        Mlp::initialise(&[INPUTS, 600, 300, 1], BiasPlacement::FirstLayer, 0.05, seed.named("weights"));
    let schedule = Schedule::WeightDecay { weight_decay: 4e-3, step_size: 0.15 };
    let params = TrainParams { max_epochs: 4000, ..TrainParams::new(schedule) };
    let outcome = train(start, inputs.view(), labels.view(), &params, &mut |_| ControlFlow::Continue(()))
        .expect("the options are in range");
    assert_eq!(outcome.training_errors, 0);
    Victim { network: outcome.network, inputs, labels }
});

fn attacked(
    network: &Mlp<f32>,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
) -> Reconstruction {
    let norm = (0..INPUTS).map(|j| 1.0 / (1.0 + 0.1 * j as f64)).sum::<f64>().sqrt();
    let mut params =
        AttackParams::of(Method::Annealed(DescentParams { steps: 800, ..DescentParams::default() }), 3);
    params.prior =
        PriorKnowledge { input_range: (-1.0, 1.0), input_norm: Some(norm), ..PriorKnowledge::default() };
    params.patterns = Some(PatternParams { after_restarts: 3, restarts: 4, ..PatternParams::default() });
    reconstruct(network, &params, Seed::new(5), observe).expect("the network can be attacked")
}

fn on(threads: usize, network: &Mlp<f32>) -> Reconstruction {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    pool.install(|| attacked(network, &|_| ControlFlow::Continue(())))
}

/// Cosine with, and index of, the nearest input.
fn nearest(candidate: ArrayView1<'_, f32>, inputs: &Array2<f32>) -> (f32, usize) {
    let norm = |v: ArrayView1<'_, f32>| v.iter().map(|v| v * v).sum::<f32>().sqrt();
    let cosine = |input: ArrayView1<'_, f32>| (&input * &candidate).sum() / norm(input) / norm(candidate);
    let all = inputs.rows().into_iter().enumerate().map(|(i, input)| (cosine(input), i));
    all.fold((-1.0, 0), |best, this| if this.0 > best.0 { this } else { best })
}

#[test]
fn inputs_come_back_exactly_and_those_called_sure_are_real() {
    let victim = &*VICTIM;
    let found = on(2, &victim.network);
    let all = found.candidates.len();
    let mut seen = BTreeSet::new();
    let exact = found.count(Origin::ActivationPattern);
    for i in all - exact..all {
        let (cosine, input) = nearest(found.candidates.view().row(i), &victim.inputs);
        if cosine > 0.95 {
            seen.insert(input);
            assert_eq!(found.labels[i].sign() as f32, victim.labels[input]);
        }
        assert!(cosine > 0.6 || found.confidence[i] < 0.95, "{cosine} is called {}", found.confidence[i]);
    }
    // 12 of 20 when it was written.
    assert!(seen.len() >= 6, "only {} came back", seen.len());
    let ranked = &found.ranking[..exact.min(found.ranking.len())];
    assert!(ranked.iter().filter(|&&i| i >= all - exact).count() >= 6, "they are not ranked first");
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let network = &VICTIM.network;
    let [one, two] = [1, 2].map(|threads| on(threads, network));
    assert!(one.count(Origin::ActivationPattern) > 0 && one.origins == two.origins);
    assert_eq!(one.candidates, two.candidates);
    assert_eq!(one.confidence, two.confidence);
}

#[test]
fn shuffled_and_random_weights_give_nothing_exact() {
    let trained = &VICTIM.network;
    let mut shuffled = trained.clone();
    for (l, layer) in shuffled.layers_mut().iter_mut().enumerate() {
        let values = layer.weight.as_slice_mut().unwrap();
        values.shuffle(&mut Seed::new(3).indexed(l as u64).rng());
    }
    let random = Mlp::initialise(&trained.dims(), BiasPlacement::FirstLayer, 0.05, Seed::new(4));
    for network in [shuffled, random] {
        assert_eq!(on(2, &network).count(Origin::ActivationPattern), 0);
    }
}

/// The same first layer with each neuron before another's later weights: span, spectra and decay are as they were, so the search is
/// begun, and nothing that later layers say of a neuron is true of it.
#[test]
fn exchanged_neurons_pass_the_gates_and_give_nothing_exact() {
    let mut network = VICTIM.network.clone();
    let mut order: Vec<usize> = (0..network.dims()[1]).collect();
    order.shuffle(&mut Seed::new(3).rng());
    let first = &mut network.layers_mut()[0];
    first.weight = first.weight.select(Axis(0), &order);
    first.bias = first.bias.as_ref().map(|bias| bias.select(Axis(0), &order));
    let found = on(2, &network);
    let record = found.stages.iter().find(|record| record.stage == "activation patterns").unwrap();
    assert_eq!((record.why_not.clone(), found.count(Origin::ActivationPattern)), (None, 0));
}

#[test]
fn an_observer_ends_the_search_and_what_was_found_is_kept() {
    let network = &VICTIM.network;
    let rounds = AtomicUsize::new(0);
    let found = attacked(network, &|step| match step {
        AttackStep::Restart(_)
        | AttackStep::Separation(_)
        | AttackStep::Separated(_)
        | AttackStep::Agreed(_) => ControlFlow::Continue(()),
        AttackStep::Patterns(at) => {
            rounds.fetch_max(at.round, Ordering::Relaxed);
            if at.round < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    });
    assert_eq!(rounds.into_inner(), 2);
    assert_eq!(found.restarts.len(), 3);
}
