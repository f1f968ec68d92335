//! The hidden layers after the first, reduced to what training has written into them.
//!
//! What reaches the first layer's neurons passes through the later layers, and there most of the work of a step lies. Weight
//! decay leaves them a few groups of parallel neurons, which merge without a change. Without it a later layer is its
//! initialisation plus a few strong directions that training added; the initialisation's share of what passes is a sum of
//! many independent terms and small. So the layer is replaced by its strong directions, in which neurons are parallel
//! again, where that passes on nearly the same: `docs/decisions/0009-later-layers.md`.

use ndarray::{Array2, ArrayView2, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_mlp::merge::merge_parallel_neurons;
use palimpsest_mlp::passes::{self, Passes};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::iterative::{self, leading_directions};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::problem::head::Head;
use crate::problem::spectrum::largest_by_chance;
use crate::problem::start::random_start;

/// What the weights of a hidden layer after the first say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaterLayer {
    /// Its neurons.
    pub neurons: usize,
    /// Neurons that stand for them in the attack.
    pub merged: usize,
    /// Directions that stand out of what its initialisation would give by chance; [`LOOKED_AT`] + 1 if there are more.
    pub directions: usize,
    /// Largest singular value that does not stand out, as a share of the largest of all, in [0, 1]: small where weight decay
    /// has shrunk the initialisation.
    pub floor: f64,
}

impl LaterLayer {
    /// Whether hardly anything is left of the initialisation: the mark of weight decay.
    pub fn is_forgotten(&self) -> bool {
        self.directions > 0 && self.floor < FORGOTTEN
    }
}

/// Floor below which an initialisation counts as forgotten; without weight decay it is a third or more.
const FORGOTTEN: f64 = 0.05;
/// Directions that are looked for; a layer with more is left as it is.
pub const LOOKED_AT: usize = 32;
/// Median cosine between what a network and its reduction pass to the first layer, from which the reduction is taken.
const LEAST_COSINE: f64 = 0.98;
/// Inputs by which they are compared.
const PROBES: usize = 100;

/// `network` with its later hidden layers reduced, and what was seen of them. `probes` (n, r) are inputs that look like those
/// of training as far as is known.
pub(crate) fn reduce_later_layers(
    network: &Mlp<f32>,
    head: Head,
    probes: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> (Mlp<f32>, Vec<LaterLayer>) {
    let later = 1..network.depth() - 1;
    let mut strong = network.clone();
    let mut seen = Vec::with_capacity(later.len());
    for l in later.clone() {
        let weight = network.layers()[l].weight.mapv(f64::from);
        let leading = Leading::of(weight.view(), parallelism);
        let (neurons, directions) = (weight.nrows(), leading.basis.nrows());
        seen.push(LaterLayer { neurons, merged: neurons, directions, floor: leading.floor });
        if (1..=LOOKED_AT).contains(&directions) {
            strong.layers_mut()[l].weight = leading.part_of(weight.view(), parallelism).mapv(|v| v as f32);
        }
    }
    let exact = merge_parallel_neurons(network);
    let reduced = merge_parallel_neurons(&strong);
    let neurons =
        |network: &Mlp<f32>| -> usize { later.clone().map(|l| network.layers()[l].weight.nrows()).sum() };
    let taken = if neurons(&reduced) < neurons(&exact)
        && median_cosine(network, &reduced, head, probes, parallelism) >= LEAST_COSINE
    {
        reduced
    } else {
        exact
    };
    for (l, layer) in later.zip(&mut seen) {
        layer.merged = taken.layers()[l].weight.nrows();
    }
    (taken, seen)
}

/// Inputs (n, r) by which a network and its reduction are compared: of the `norm` of an input, longer along directions in
/// which the first layer is.
pub(crate) fn probes(spectrum: &[f32], norm: f64) -> Array2<f32> {
    random_start(spectrum, PROBES, norm, Seed::new(0).named("probes"))
}

/// The strong directions of a layer.
struct Leading {
    /// Orthonormal rows that span them among the layer's inputs, (directions, w).
    basis: Array2<f64>,
    floor: f64,
}

/// Rounds of orthogonal iteration.
const ROUNDS: usize = 8;

impl Leading {
    /// Of `weight` (h, w), by orthogonal iteration: a whole decomposition would take minutes for wide layers.
    fn of(weight: ArrayView2<'_, f64>, parallelism: Parallelism) -> Self {
        let (h, w) = weight.dim();
        let looked_at = (LOOKED_AT + 1).min(h).min(w);
        let seed = Seed::new(0).named("later layers");
        let iterative::Leading { directions: basis, singular_values: values } =
            leading_directions(weight, looked_at, ROUNDS, seed, parallelism);
        let largest = values.iter().copied().fold(0.0, f64::max);
        let mut left = reduce::squared_norm(weight);
        let weak = (0..looked_at).find(|&k| {
            let chance = largest_by_chance(left, (h - k, w - k)).max(f64::from(f32::EPSILON) * largest);
            left -= values[k] * values[k];
            values[k] <= chance
        });
        let (directions, floor) = match weak {
            Some(k) if largest > 0.0 => (k, values[k] / largest),
            // A small layer of nothing but strong directions.
            None if looked_at <= LOOKED_AT => (looked_at, 0.0),
            // More than were looked for.
            None => (looked_at, 1.0),
            // A layer of zeros.
            Some(_) => (0, 1.0),
        };
        Self { basis: basis.slice(s![..directions, ..]).to_owned(), floor }
    }

    /// `weight` (h, w) along these directions only.
    fn part_of(&self, weight: ArrayView2<'_, f64>, parallelism: Parallelism) -> Array2<f64> {
        let along = matmul(weight, self.basis.t(), parallelism);
        matmul(along.view(), self.basis.view(), parallelism)
    }
}

/// Median over `probes` of the cosine between what two networks with the same first layer pass to it.
fn median_cosine(
    whole: &Mlp<f32>,
    reduced: &Mlp<f32>,
    head: Head,
    probes: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> f64 {
    // Each label's pull in turn; of one output its sign makes no difference.
    let labels = (0..probes.nrows()).map(|i| Label(i % head.labels())).collect();
    let pull = head.pull(labels);
    let passed = |network: &Mlp<f32>| {
        let mut passes = Passes::new(network, probes.nrows());
        let activation = Activation::Relu;
        passes::forward(network, probes, activation, &mut passes, parallelism);
        let mut directions = Array2::zeros((probes.nrows(), network.outputs()));
        pull.directions(passes.output(), &mut directions);
        passes::backward(network, directions.view(), &mut passes, parallelism);
        passes.delta()[0].clone()
    };
    let (whole, reduced) = (passed(whole), passed(reduced));
    let mut cosines: Vec<f64> = whole
        .rows()
        .into_iter()
        .zip(reduced.rows())
        .map(|(a, b)| {
            let norms = reduce::norm(a) * reduce::norm(b);
            let product = reduce::inner(
                a.to_slice().expect("rows are contiguous"),
                b.to_slice().expect("rows are contiguous"),
            );
            product / norms.max(f64::MIN_POSITIVE)
        })
        .collect();
    upper_median(&mut cosines).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_mlp::BiasPlacement;

    use super::*;

    const SEQUENTIAL: Parallelism = Parallelism::Sequential;

    /// A network of random weights whose second hidden layer (200, 300) says `strength` times as much again of each label.
    fn trained(strength: f32) -> Mlp<f32> {
        let seed = Seed::new(3);
        let mut network = Mlp::initialise(&[40, 300, 200, 1], BiasPlacement::FirstLayer, 1.0, seed);
        let directions: Array2<f32> =
            Array2::random_using((2, 300), StandardNormal, &mut seed.named("directions").rng());
        let out = network.layers()[2].weight.row(0).to_owned();
        for (mut row, &out) in network.layers_mut()[1].weight.rows_mut().into_iter().zip(&out) {
            // Positive along its own label's direction, so that the neurons of a label work together.
            let own = directions.row(usize::from(out > 0.0)).mapv(f32::abs);
            row.scaled_add(strength / 300_f32.sqrt(), &own);
        }
        network
    }

    fn reduced(network: &Mlp<f32>) -> (Mlp<f32>, Vec<LaterLayer>) {
        let probes = probes(&[1.0; 40], 5.0);
        reduce_later_layers(network, Head::Sign, probes.view(), SEQUENTIAL)
    }

    #[test]
    fn strong_directions_replace_a_layer_and_keep_what_it_passes_on() {
        let network = trained(0.5);
        let (small, seen) = reduced(&network);
        let [layer] = seen[..] else { panic!("{seen:?}") };
        assert_eq!((layer.neurons, layer.directions), (200, 2), "{layer:?}");
        assert!(layer.merged < 60 && small.dims() == [40, 300, layer.merged, 1], "{layer:?}");
        assert!(layer.floor > FORGOTTEN && !layer.is_forgotten(), "{layer:?}");
        // Other inputs than those it was compared on.
        let others: Array2<f32> =
            Array2::random_using((50, 40), StandardNormal, &mut Seed::new(9).named("others").rng());
        assert!(median_cosine(&network, &small, Head::Sign, others.view(), SEQUENTIAL) > 0.95);
    }

    #[test]
    fn random_and_weakly_trained_layers_are_left_as_they_are() {
        for strength in [0.0, 0.1] {
            let network = trained(strength);
            let (same, seen) = reduced(&network);
            assert_eq!(same, network);
            assert_eq!((seen[0].merged, seen[0].is_forgotten()), (200, false), "{seen:?}");
        }
    }

    #[test]
    fn a_forgotten_initialisation_is_seen() {
        let mut network = trained(3.0);
        let weight = network.layers()[1].weight.mapv(f64::from);
        let strong = Leading::of(weight.view(), SEQUENTIAL).part_of(weight.view(), SEQUENTIAL);
        network.layers_mut()[1].weight = strong.mapv(|v| v as f32);
        let (_, seen) = reduced(&network);
        assert!(seen[0].is_forgotten() && seen[0].directions == 2 && seen[0].floor < 1e-5, "{seen:?}");
        network.layers_mut()[1].weight.fill(0.0);
        let (_, seen) = reduced(&network);
        assert_eq!((seen[0].directions, seen[0].is_forgotten()), (0, false));
    }

    #[test]
    fn a_layer_of_many_strong_directions_is_left_as_it_is() {
        let mut network = trained(0.0);
        for (i, mut row) in network.layers_mut()[1].weight.rows_mut().into_iter().take(50).enumerate() {
            row[i] += 10.0;
        }
        let (same, seen) = reduced(&network);
        assert_eq!((same, seen[0].directions, seen[0].is_forgotten()), (network, LOOKED_AT + 1, false));
    }

    #[test]
    fn a_network_with_one_hidden_layer_has_none() {
        let network = Mlp::initialise(&[40, 30, 1], BiasPlacement::FirstLayer, 1.0, Seed::new(1));
        assert_eq!(reduced(&network), (network, Vec::new()));
    }
}
