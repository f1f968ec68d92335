//! Neurons that say the same thing, merged into one.
//!
//! Weight decay drives the hidden layers after the first to very low rank: their neurons end up in a few groups whose
//! incoming weights are parallel. ReLU is positively homogeneous, `relu(s z) = s relu(z)` for s > 0, so a group acts
//! as one neuron. The smaller network computes the same function, with the same derivatives by the first layer, for a
//! fraction of the products.

use ndarray::{Array1, Array2, Axis};
use palimpsest_numerics::{Real, reduce};

use crate::{Dense, Mlp};

mod as_one;

pub use as_one::AsOne;

/// Neurons by group, the strongest of each first.
type Groups = Vec<Vec<usize>>;

/// Cosine above which incoming weights count as parallel; what remains of the initialisation tilts them a little.
const PARALLEL_COSINE: f64 = 0.98;
/// Share of a layer's total contribution that its weakest neurons may have together to be left out where they are
/// parallel to none.
const NEGLIGIBLE_SHARE: f64 = 1e-3;

/// `network` with the parallel neurons of every hidden layer after the first merged.
///
/// A layer is left as it is unless that at least halves it. Biases count as one more incoming weight. A merged neuron has the root mean square incoming length of its group, so that a soft gate of given slope acts on it
/// as on them. With groups that are exactly parallel the function is unchanged.
///
/// ```
/// use ndarray::{array, Array2};
/// use palimpsest_mlp::{Dense, Mlp, merge::merge_parallel_neurons};
/// let dense = |weight: Array2<f64>| Dense { weight, bias: None };
/// let first = dense(array![[1.0, 2.0], [3.0, -1.0]]);
/// let second = dense(array![[1.0, 1.0], [2.0, 2.0], [0.5, 0.5], [4.0, 4.0]]);
/// let network = Mlp::new(vec![first, second, dense(array![[1.0, 1.0, 1.0, 1.0]])])?;
/// assert_eq!(merge_parallel_neurons(&network).dims(), [2, 2, 1, 1]);
/// # Ok::<(), palimpsest_mlp::MlpError>(())
/// ```
pub fn merge_parallel_neurons<T: Real>(network: &Mlp<T>) -> Mlp<T> {
    let mut layers = network.layers().to_vec();
    for l in 1..layers.len() - 1 {
        let (incoming, outgoing) = (&with_bias(&layers[l]), &layers[l + 1].weight);
        let groups = groups(incoming, outgoing, |_, _| true);
        if groups.is_empty() || 2 * groups.len() > incoming.nrows() {
            continue;
        }
        let mut merged_in = Array2::zeros((groups.len(), incoming.ncols()));
        let mut merged_out = Array2::zeros((outgoing.nrows(), groups.len()));
        for (g, group) in groups.iter().enumerate() {
            let (row, column) = merge(incoming, outgoing, group);
            merged_in.row_mut(g).assign(&row);
            merged_out.column_mut(g).assign(&column);
        }
        let inputs = layers[l].weight.ncols();
        let (weight, bias) = merged_in.view().split_at(Axis(1), inputs);
        let bias = layers[l].bias.is_some().then(|| bias.column(0).to_owned());
        layers[l] = Dense { weight: weight.to_owned(), bias };
        layers[l + 1].weight = merged_out;
    }
    Mlp::new(layers).expect("merging keeps widths chained and numbers finite")
}

/// Weights of a layer with its bias, if it has one, as last column: what has to be parallel for neurons to act as one.
fn with_bias<T: Real>(layer: &Dense<T>) -> Array2<T> {
    let mut rows = layer.weight.clone();
    if let Some(bias) = &layer.bias {
        rows.push_column(bias.view()).expect("a bias for each neuron");
    }
    rows.as_standard_layout().into_owned()
}

/// Groups of neurons with parallel incoming weights that are the `same` as the first of their group; negligible ones may be in none.
fn groups<T: Real>(
    incoming: &Array2<T>,
    outgoing: &Array2<T>,
    same: impl Fn(usize, usize) -> bool,
) -> Groups {
    let lengths: Vec<f64> = incoming.rows().into_iter().map(reduce::norm).collect();
    let contribution: Vec<f64> =
        outgoing.columns().into_iter().map(reduce::norm).zip(&lengths).map(|(out, len)| out * len).collect();
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by(|&a, &b| contribution[b].total_cmp(&contribution[a]).then(a.cmp(&b)));
    let spare = NEGLIGIBLE_SHARE * contribution.iter().sum::<f64>();
    let mut left: f64 = contribution.iter().sum();
    let all = incoming.as_slice().expect("weights are row-major");
    let row = |k: usize| &all[k * incoming.ncols()..(k + 1) * incoming.ncols()];
    let mut groups: Groups = Vec::new();
    for neuron in order {
        let parallel = |group: &&mut Vec<usize>| {
            let product = reduce::inner(row(group[0]), row(neuron));
            product > PARALLEL_COSINE * lengths[group[0]] * lengths[neuron] && same(group[0], neuron)
        };
        match groups.iter_mut().find(parallel) {
            Some(group) => group.push(neuron),
            // What this neuron and all weaker ones give together can be missed.
            None if left <= spare => {}
            None => groups.push(vec![neuron]),
        }
        left -= contribution[neuron];
        if 2 * groups.len() > lengths.len() {
            break;
        }
    }
    groups
}

/// Incoming and outgoing weights of the neuron that stands for `group`.
///
/// With lengths s_k along a common direction, the group gives `sum_k out_k s_k relu(direction . h)`. The direction is
/// the mean of the incoming weights, each counted by what it contributes.
fn merge<T: Real>(incoming: &Array2<T>, outgoing: &Array2<T>, group: &[usize]) -> (Array1<T>, Array1<T>) {
    let lengths: Vec<f64> = group.iter().map(|&k| reduce::norm(incoming.row(k))).collect();
    let mut direction = Array1::<T>::zeros(incoming.ncols());
    let mut out = Array1::<T>::zeros(outgoing.nrows());
    for (&k, &length) in group.iter().zip(&lengths) {
        let column = outgoing.index_axis(Axis(1), k);
        direction.scaled_add(T::of(reduce::norm(column)), &incoming.row(k));
        out.scaled_add(T::of(length), &column);
    }
    let mean_square = lengths.iter().map(|s| s * s).sum::<f64>() / lengths.len() as f64;
    let length = mean_square.sqrt();
    let scale = length / reduce::norm(direction.view()).max(f64::MIN_POSITIVE);
    (direction * T::of(scale), out / T::of(length.max(f64::MIN_POSITIVE)))
}

#[cfg(test)]
mod tests {
    use palimpsest_numerics::gemm::Parallelism;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::BiasPlacement;
    use crate::passes::outputs;

    fn draw(rows: usize, cols: usize, name: &str) -> Array2<f64> {
        Mlp::initialise(&[cols, rows], BiasPlacement::Nowhere, 1.0, Seed::new(1).named(name)).layers()[0]
            .weight
            .clone()
    }

    /// A network whose second hidden layer has `groups` directions, tilted by `noise`.
    fn collapsed(groups: usize, noise: f64) -> Mlp<f64> {
        let directions = draw(groups, 30, "directions");
        let lengths = draw(40, 1, "lengths").mapv(|v: f64| v.abs() + 0.1);
        let mut second = draw(40, 30, "noise") * noise;
        for (k, mut row) in second.rows_mut().into_iter().enumerate() {
            row.scaled_add(lengths[[k, 0]], &directions.row(k % groups));
        }
        let first =
            Dense { weight: draw(30, 12, "first"), bias: Some(draw(1, 30, "bias").row(0).to_owned()) };
        let dense = |weight| Dense { weight, bias: None };
        Mlp::new(vec![first, dense(second), dense(draw(1, 40, "last"))]).unwrap()
    }

    #[test]
    fn a_collapsed_network_keeps_its_function() {
        let x = draw(25, 12, "x");
        for (noise, tolerance) in [(0.0, 1e-12), (1e-3, 1e-2)] {
            let network = collapsed(3, noise);
            let merged = merge_parallel_neurons(&network);
            assert_eq!(merged.dims(), [12, 30, 3, 1]);
            let (whole, small) = (
                outputs(&network, x.view(), Parallelism::Sequential),
                outputs(&merged, x.view(), Parallelism::Sequential),
            );
            let scale = reduce::norm(whole.column(0)) / 5.0;
            assert!((&whole - &small).iter().all(|e| e.abs() < tolerance * scale), "{noise}");
        }
    }

    #[test]
    fn a_network_without_parallel_neurons_is_left_alone() {
        let network = Mlp::<f64>::initialise(&[8, 20, 16, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(2));
        assert_eq!(merge_parallel_neurons(&network), network);
        let shallow = Mlp::<f64>::initialise(&[8, 20, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(2));
        assert_eq!(merge_parallel_neurons(&shallow), shallow);
        let biased = Mlp::<f64>::initialise(&[8, 20, 16, 1], BiasPlacement::Everywhere, 0.1, Seed::new(2));
        assert_eq!(merge_parallel_neurons(&biased), biased);
    }

    #[test]
    fn dead_neurons_do_not_stand_in_the_way() {
        let mut network = collapsed(2, 0.0);
        network.layers_mut()[2].weight.slice_mut(ndarray::s![.., 5..]).fill(0.0);
        let merged = merge_parallel_neurons(&network);
        assert_eq!(merged.dims(), [12, 30, 2, 1]);
        let mut dead = network.clone();
        dead.layers_mut()[2].weight.fill(0.0);
        assert_eq!(merge_parallel_neurons(&dead), dead);
    }
}
