//! Parallel neurons trained as one, and taken apart again.

use ndarray::{Array1, Array2, Axis};
use palimpsest_numerics::{Real, reduce};

use super::{Groups, PARALLEL_COSINE, groups, with_bias};
use crate::{Dense, Mlp};

/// A network whose parallel neurons are one neuron each, and how they share it.
///
/// Neurons of a hidden layer after the first that are parallel, in what comes in and in what goes out, and that have as much of the one as
/// of the other, stay so under descent with weight decay: each moves as one neuron that has the weights of all, times its share.
/// So the smaller network can be trained in their place, and its stationary points are those of the larger. Neurons that are
/// parallel to none and give next to nothing are left out, and are zero afterwards.
///
/// ```
/// use ndarray::{array, Array2};
/// use palimpsest_mlp::{Dense, Mlp, merge::AsOne};
/// let dense = |weight: Array2<f64>| Dense { weight, bias: None };
/// let first = dense(array![[1.0, 2.0], [3.0, -1.0]]);
/// let second = dense(array![[0.6, 0.8], [1.2, 1.6], [0.3, 0.4], [2.4, 3.2]]);
/// let network = Mlp::new(vec![first, second, dense(array![[1.0, 2.0, 0.5, 4.0]])])?;
/// let one = AsOne::of(&network);
/// assert_eq!(one.network.dims(), [2, 2, 1, 1]);
/// assert_eq!(one.apart(&one.network).dims(), network.dims());
/// # Ok::<(), palimpsest_mlp::MlpError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AsOne<T> {
    /// The smaller network.
    pub network: Mlp<T>,
    /// Of each layer but the last, the group of each of its neurons and its share of it, where neurons were made one.
    shares: Vec<Option<Shares>>,
}

/// The group of each neuron, if it is in one, and its share: their squares in a group sum to 1.
type Shares = Vec<Option<(usize, f64)>>;

impl<T: Real> AsOne<T> {
    /// `network` with parallel neurons as one. A layer is left as it is unless that at least halves it.
    pub fn of(network: &Mlp<T>) -> Self {
        let mut layers = network.layers().to_vec();
        let mut shares = vec![None; layers.len()];
        for l in 1..layers.len() - 1 {
            let (incoming, outgoing) = (with_bias(&layers[l]), layers[l + 1].weight.clone());
            let same = |a: usize, b: usize| {
                let (a, b) = (outgoing.column(a), outgoing.column(b));
                let product: f64 = a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum();
                product > PARALLEL_COSINE * reduce::norm(a) * reduce::norm(b)
            };
            let groups = groups(&incoming, &outgoing, same);
            if groups.is_empty() || 2 * groups.len() > incoming.nrows() {
                continue;
            }
            let (rows, columns, of_layer) = joined(&incoming, &outgoing, &groups);
            let (weight, bias) = rows.view().split_at(Axis(1), layers[l].weight.ncols());
            let bias = layers[l].bias.is_some().then(|| bias.column(0).to_owned());
            layers[l] = Dense { weight: weight.to_owned(), bias };
            layers[l + 1].weight = columns;
            shares[l] = Some(of_layer);
        }
        let network = Mlp::new(layers).expect("joining keeps widths chained and numbers finite");
        Self { network, shares }
    }

    /// Gives each neuron its share of `trained`, which was this network before it was trained.
    ///
    /// # Panics
    /// When `trained` has other widths.
    #[track_caller]
    pub fn apart(&self, trained: &Mlp<T>) -> Mlp<T> {
        assert_eq!(trained.dims(), self.network.dims(), "apart: another network");
        let mut layers = trained.layers().to_vec();
        for (l, shares) in self.shares.iter().enumerate().filter_map(|(l, s)| Some((l, s.as_ref()?))) {
            let rows = with_bias(&layers[l]);
            let columns = layers[l + 1].weight.clone();
            let mut own_rows = Array2::zeros((shares.len(), rows.ncols()));
            let mut own_columns = Array2::zeros((columns.nrows(), shares.len()));
            for (neuron, &share) in shares.iter().enumerate() {
                let Some((group, share)) = share else { continue };
                own_rows.row_mut(neuron).scaled_add(T::of(share), &rows.row(group));
                own_columns.column_mut(neuron).scaled_add(T::of(share), &columns.column(group));
            }
            let (weight, bias) = own_rows.view().split_at(Axis(1), layers[l].weight.ncols());
            let bias = layers[l].bias.is_some().then(|| bias.column(0).to_owned());
            layers[l] = Dense { weight: weight.to_owned(), bias };
            layers[l + 1].weight = own_columns;
        }
        Mlp::new(layers).expect("shares keep widths chained and numbers finite")
    }
}

/// One row and one column for each group, of one length, and the share of each neuron.
fn joined<T: Real>(
    incoming: &Array2<T>,
    outgoing: &Array2<T>,
    groups: &Groups,
) -> (Array2<T>, Array2<T>, Shares) {
    let mut rows = Array2::zeros((groups.len(), incoming.ncols()));
    let mut columns = Array2::zeros((outgoing.nrows(), groups.len()));
    let mut shares = vec![None; incoming.nrows()];
    for (g, group) in groups.iter().enumerate() {
        let lengths =
            |k: usize| (reduce::norm(incoming.row(k)), reduce::norm(outgoing.index_axis(Axis(1), k)));
        let (mut row, mut column) =
            (Array1::<T>::zeros(incoming.ncols()), Array1::<T>::zeros(outgoing.nrows()));
        let mut given = 0.0;
        for &k in group {
            let (inward, outward) = lengths(k);
            row.scaled_add(T::of(outward), &incoming.row(k));
            column.scaled_add(T::of(inward), &outgoing.column(k));
            given += inward * outward;
        }
        for &k in group {
            let (inward, outward) = lengths(k);
            shares[k] = Some((g, (inward * outward / given.max(f64::MIN_POSITIVE)).sqrt()));
        }
        let to_length = |sum: &Array1<T>| given.sqrt() / reduce::norm(sum.view()).max(f64::MIN_POSITIVE);
        rows.row_mut(g).assign(&(&row * T::of(to_length(&row))));
        columns.column_mut(g).assign(&(&column * T::of(to_length(&column))));
    }
    (rows, columns, shares)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use palimpsest_numerics::gemm::Parallelism;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::BiasPlacement;
    use crate::passes::outputs;
    use crate::train::{Schedule, TrainParams, train};

    /// A balanced network whose second hidden layer has two directions, a third of its neurons with the one.
    fn parallel(outputs: usize) -> Mlp<f64> {
        let draw = |dims: &[usize], name| {
            Mlp::<f64>::initialise(dims, BiasPlacement::FirstLayer, 0.4, Seed::new(3).named(name))
        };
        let base = draw(&[12, 30, 2, outputs], "base");
        let (rows, columns) = (&base.layers()[1].weight, &base.layers()[2].weight);
        let (mut second, mut third) = (Array2::zeros((24, 30)), Array2::zeros((outputs, 24)));
        for k in 0..24 {
            let (group, length) = (usize::from(k % 3 == 0), 0.05 + 0.02 * k as f64);
            let (row, column) = (rows.row(group), columns.column(group));
            second.row_mut(k).assign(&(&row * (length / reduce::norm(row))));
            third.column_mut(k).assign(&(&column * (length / reduce::norm(column))));
        }
        let dense = |weight| Dense { weight, bias: None };
        Mlp::new(vec![base.layers()[0].clone(), dense(second), dense(third)]).unwrap()
    }

    fn far(a: &Mlp<f64>, b: &Mlp<f64>) -> f64 {
        let pairs = a.layers().iter().zip(b.layers());
        pairs.flat_map(|(a, b)| (&a.weight - &b.weight).into_iter()).fold(0.0, |most, e| e.abs().max(most))
    }

    #[test]
    fn apart_and_as_one_are_the_same_function_and_the_same_network() {
        for outputs_of in [1, 3] {
            let network = parallel(outputs_of);
            let one = AsOne::of(&network);
            assert_eq!(one.network.dims(), [12, 30, 2, outputs_of]);
            assert!(far(&one.apart(&one.network), &network) < 1e-12);
            let x = Mlp::<f64>::initialise(&[12, 25], BiasPlacement::Nowhere, 1.0, Seed::new(4)).layers()[0]
                .weight
                .clone();
            let (small, whole) = (
                outputs(&one.network, x.view(), Parallelism::Sequential),
                outputs(&network, x.view(), Parallelism::Sequential),
            );
            assert!((&small - &whole).iter().all(|e| e.abs() < 1e-12));
        }
    }

    #[test]
    fn descent_of_one_neuron_is_that_of_all_it_stands_for() {
        let network = parallel(1);
        let x = Mlp::<f64>::initialise(&[12, 20], BiasPlacement::Nowhere, 1.0, Seed::new(5)).layers()[0]
            .weight
            .clone();
        let y = Array1::from_shape_fn(20, |i| if i % 3 == 0 { 1.0 } else { -1.0 });
        let schedule = Schedule::WeightDecay { weight_decay: 1e-2, step_size: 0.1 };
        let params = TrainParams { max_epochs: 300, ..TrainParams::new(schedule) };
        let trained = |network: Mlp<f64>| {
            train(network, x.view(), y.view(), &params, &mut |_| ControlFlow::Continue(())).unwrap().network
        };
        let one = AsOne::of(&network);
        assert!(far(&trained(network.clone()), &network) > 0.05, "it moves");
        assert!(far(&one.apart(&trained(one.network.clone())), &trained(network)) < 1e-9);
    }

    #[test]
    fn neurons_that_pull_apart_are_not_one() {
        let mut network = parallel(1);
        let before = AsOne::of(&network).network.dims();
        network.layers_mut()[2].weight[[0, 0]] *= -1.0;
        assert_eq!((before[2], AsOne::of(&network).network.dims()[2]), (2, 3));
        let other = Mlp::<f64>::initialise(&[8, 20, 16, 1], BiasPlacement::Everywhere, 0.1, Seed::new(2));
        assert_eq!(AsOne::of(&other).network, other);
    }
}
