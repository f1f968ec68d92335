//! The sign of pictures, by what the weights have of each in their neurons.
//!
//! The first layer is a sum over the training inputs, `W = sum_i l_i x_i^T`. With k pictures that are about the inputs up to sign and length,
//! their duals read a left factor of each from the weights: `l_j = W d_j`. It is the signal that the network sends back to the first layer,
//! and that of an input is another one than that of its negative: about the other half of the neurons is active. So the sign is that whose
//! signal is in the left factor.
//!
//! Duals are those of edges where inputs are smooth images: pictures are much alike, their edges are not, so that inputs that nobody has found
//! leave less in a left factor (`docs/decisions/0042-left-factors-by-edges.md`).
//!
//! Pictures are not exact, and the part of another input that is in a dual brings that input's signal into the left factor. These signals are known, so
//! they are noise of a known shape: vectors of neurons are compared by the inverse of its covariance, `I + Q Q^T / c` with Q the signals of all
//! other pictures and of their negatives. `docs/decisions/0036-signs.md` has what that brings, and `0040-images-mixtures-negatives.md` what a
//! second comparison does, in which the others hardly matter.

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::factor::{Cholesky, FactorError};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::{squared_norm, unit_rows};

use crate::evidence::membership::gradient::{Outputs, first_layer_deltas};
use crate::problem::head::Head;
use crate::problem::prepared::AttackProblem;

/// Added to the moments of pictures of length one, so that those that are much alike have duals of a moderate length: of edges, and of pictures as
/// they are.
const ALIKE: (f64, f64) = (1.0, 0.03);
/// Noise of each neuron, c, where the signals of other pictures have length one: so little that these are all but left out, and so much that they
/// hardly matter.
const NEURON: [f64; 2] = [0.03, 30.0];
/// Lengths that a picture is given, in units of the typical one: which neurons it activates depends on it where there are biases, and nobody knows it.
const LENGTHS: [f32; 2] = [0.7, 1.4];

/// How much the weights' left factor of a picture is like the signal of the picture, and like that of its negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Likeness {
    /// Cosine with each, in [-1, 1], without what it has of the signals of other pictures.
    pub(crate) without_others: [f64; 2],
    /// The same, nearly as they are.
    pub(crate) plain: [f64; 2],
}

impl Likeness {
    /// How much more it is like the signal of the picture than like that of its negative, without others' and as they are, in [-2, 2].
    pub(crate) fn own_sign(&self) -> [f32; 2] {
        [self.without_others, self.plain].map(|[own, negative]| (own - negative) as f32)
    }
}

/// Likeness of the left factor of each of `pictures` (k, r), of any length and either sign, to their signals, k. The pictures are coordinates of
/// inputs of the problem.
///
/// # Errors
/// [`FactorError`] when a picture or a weight is not finite.
pub(crate) fn likeness(
    problem: &AttackProblem,
    pictures: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Result<Vec<Likeness>, FactorError> {
    let smoothness = problem.image_prior.as_ref().and_then(|prior| prior.smoothness.as_ref());
    let unit = unit_rows(pictures);
    let weight = problem.network.layers()[0].weight.view();
    let left = match smoothness {
        Some(prior) => {
            let [pictures, weight] =
                [unit.view(), weight].map(|rows| matmul(rows, prior.root.view(), parallelism));
            left_factors(weight.view(), unit_rows(pictures.view()).view(), ALIKE.0, parallelism)?
        }
        None => left_factors(weight, unit.view(), ALIKE.1, parallelism)?,
    };
    let inputs = unit * problem.input_norm as f32;
    likeness_to_signals(&problem.network, problem.head, left.view(), inputs.view(), parallelism)
}

/// Likeness of the `left` factors (k, h) to the signals of their `inputs` (k, r): the mean over [`LENGTHS`].
fn likeness_to_signals(
    network: &Mlp<f32>,
    head: Head,
    left: ArrayView2<'_, f64>,
    inputs: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Result<Vec<Likeness>, FactorError> {
    let [mut without_others, mut plain] = NEURON.map(|_| Array2::zeros((left.nrows(), 2)));
    for length in LENGTHS {
        let own = signals(network, head, (&inputs * length).view(), parallelism);
        let of_negatives = -signals(network, head, (&inputs * -length).view(), parallelism);
        let signals = concatenate![Axis(0), own, of_negatives];
        for (neuron, mean) in NEURON.into_iter().zip([&mut without_others, &mut plain]) {
            let cosines = cosines(signals.view(), left, neuron, parallelism)?;
            let cosines = if head == Head::Number { cosines.mapv_into(f64::abs) } else { cosines };
            mean.scaled_add(1.0 / LENGTHS.len() as f64, &cosines);
        }
    }
    let pairs = without_others.rows().into_iter().zip(plain.rows());
    Ok(pairs
        .map(|(without, plain)| Likeness {
            without_others: [without[0], without[1]],
            plain: [plain[0], plain[1]],
        })
        .collect())
}

/// What the duals of `pictures` (k, s), of length one, read from `weight` (h, s), (k, h); `alike` is added to the moments of the pictures.
fn left_factors(
    weight: ArrayView2<'_, f32>,
    pictures: ArrayView2<'_, f32>,
    alike: f64,
    parallelism: Parallelism,
) -> Result<Array2<f64>, FactorError> {
    let pictures = pictures.mapv(f64::from);
    let mut moments = Cholesky::with_order(pictures.nrows(), parallelism);
    moments.matrix_mut().assign(&matmul(pictures.view(), pictures.t(), parallelism));
    moments.matrix_mut().diag_mut().mapv_inplace(|moment| moment + alike);
    moments.factor()?;
    let mut duals = pictures;
    moments.solve_in_place(duals.view_mut());
    Ok(matmul(duals.view(), weight.mapv(f64::from).t(), parallelism))
}

/// What the network sends back to the first layer for `inputs` (m, r), pulled to its own answer: unit vectors, (m, h).
fn signals(
    network: &Mlp<f32>,
    head: Head,
    inputs: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Array2<f64> {
    // The sign of a pull that is unknown does not matter: of such a head the size of a cosine counts.
    let outputs = if head == Head::Number { Outputs::Values } else { Outputs::Classes };
    let mut signals = first_layer_deltas(network, outputs, inputs, parallelism).left;
    for mut signal in signals.rows_mut() {
        let length = squared_norm(signal.view()).sqrt();
        signal.mapv_inplace(|v| if length > 0.0 { v / length } else { 0.0 });
    }
    signals
}

/// Cosines of each of the `left` factors (k, h) with the signal of its picture and of its negative, (k, 2), where all other
/// `signals` (2 k, h), those of pictures first, are noise beside one of variance `neuron` in each neuron.
///
/// With `K = G G^T + c I` of all signals G, all products in the metric without the two of picture j follow from the blocks of j in
/// the inverse of K.
fn cosines(
    signals: ArrayView2<'_, f64>,
    left: ArrayView2<'_, f64>,
    neuron: f64,
    parallelism: Parallelism,
) -> Result<Array2<f64>, FactorError> {
    let k = left.nrows();
    let mut moments = Cholesky::with_order(2 * k, parallelism);
    moments.matrix_mut().assign(&matmul(signals, signals.t(), parallelism));
    moments.matrix_mut().diag_mut().mapv_inplace(|moment| moment + neuron);
    moments.factor()?;
    let mut inverse = Array2::eye(2 * k);
    moments.solve_in_place(inverse.view_mut());
    let products = matmul(signals, left.t(), parallelism);
    let solved = matmul(inverse.view(), products.view(), parallelism);
    let mut cosines = Array2::zeros((k, 2));
    for j in 0..k {
        let block = inverse.slice(s![j..; k, j..; k]);
        let determinant = block[[0, 0]] * block[[1, 1]] - block[[0, 1]] * block[[1, 0]];
        let inverted = [[block[[1, 1]], -block[[0, 1]]], [-block[[1, 0]], block[[0, 0]]]]
            .map(|row| row.map(|v| v / determinant));
        let of_left = [solved[[j, j]], solved[[k + j, j]]];
        let shared: f64 = products.column(j).iter().zip(solved.column(j)).map(|(a, b)| a * b).sum();
        let with = inverted.map(|row| row[0] * of_left[0] + row[1] * of_left[1]);
        let own = squared_norm(left.row(j)) - shared + of_left[0] * with[0] + of_left[1] * with[1];
        for sign in [0, 1] {
            let square = own * (inverted[sign][sign] - neuron);
            cosines[[j, sign]] =
                if square > 0.0 { (with[sign] / square.sqrt()).clamp(-1.0, 1.0) } else { 0.0 };
        }
    }
    Ok(cosines)
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    const NORM: f32 = 3.0;
    /// Deviation of biases: less than that of pre-activations, which is about 0.3.
    const BIAS: f64 = 0.1;

    fn draw(rows: usize, columns: usize, name: &str) -> Array2<f32> {
        Array2::random_using((rows, columns), StandardNormal, &mut Seed::new(4).named(name).rng())
    }

    /// A network whose first layer is the sum of its own signals at `inputs` (k, r) times these.
    fn stationary(head: Head, outputs: usize, inputs: &Array2<f32>) -> Mlp<f32> {
        let start = Mlp::<f32>::initialise(
            &[inputs.ncols(), 1000, outputs],
            BiasPlacement::FirstLayer,
            BIAS,
            Seed::new(2),
        );
        let mut layers = start.layers().to_vec();
        for _ in 0..30 {
            let network = Mlp::new(layers.clone()).unwrap();
            let left = signals(&network, head, inputs.view(), Parallelism::Sequential).mapv(|v| v as f32);
            layers[0].weight = matmul(left.t(), inputs.view(), Parallelism::Sequential);
        }
        Mlp::new(layers).unwrap()
    }

    #[test]
    fn the_sign_of_an_input_is_in_its_left_factor() {
        for (head, outputs) in [(Head::Sign, 1), (Head::Classes(3), 3)] {
            let inputs = unit_rows(draw(8, 20, "inputs").view()) * NORM;
            let network = stationary(head, outputs, &inputs);
            // Every other picture is turned, and none is exact.
            let mut pictures = inputs / NORM + draw(8, 20, "errors") * 0.01;
            pictures.slice_mut(s![1..; 2, ..]).mapv_inplace(|v| -v);
            let pictures = unit_rows(pictures.view());
            let (weight, alone) = (network.layers()[0].weight.view(), Parallelism::Sequential);
            let left = left_factors(weight, pictures.view(), ALIKE.1, alone).unwrap();
            let inputs = pictures * NORM;
            let found = likeness_to_signals(&network, head, left.view(), inputs.view(), alone).unwrap();
            // Of classes the signals of all inputs of one are much alike, and tell signs only without each other.
            let metrics = if head == Head::Sign { 0..2 } else { 0..1 };
            for metric in metrics {
                let signs: Vec<f32> = found.iter().map(|likeness| likeness.own_sign()[metric]).collect();
                let right =
                    signs.iter().enumerate().filter(|(i, sign)| (**sign > 0.0) == (i % 2 == 0)).count();
                assert!(right >= 7, "{head:?}: {signs:?}");
            }
        }
    }

    #[test]
    fn a_map_of_pictures_and_rows_changes_no_left_factor_where_all_inputs_are_known() {
        let alone = Parallelism::Sequential;
        let (inputs, left) = (draw(8, 20, "inputs"), draw(8, 50, "left"));
        let weight = matmul(left.t(), inputs.view(), alone);
        let map = draw(20, 30, "map");
        let [mapped, mapped_weight] =
            [inputs.view(), weight.view()].map(|rows| matmul(rows, map.view(), alone));
        let pairs = [(inputs.view(), weight.view()), (mapped.view(), mapped_weight.view())];
        for (pictures, weight) in pairs {
            let read = left_factors(weight, unit_rows(pictures).view(), 1e-9, alone).unwrap();
            let read = unit_rows(read.mapv(|v| v as f32).view());
            let error = (&read - &unit_rows(left.view())).mapv(f32::abs).fold(0.0, |a: f32, &b| a.max(b));
            assert!(error < 1e-3, "{error}");
        }
    }

    #[test]
    fn cosines_are_those_of_the_metric_without_a_pictures_own_signals() {
        let (signals, left) =
            (unit_rows(draw(8, 30, "signals").view()).mapv(f64::from), draw(4, 30, "left").mapv(f64::from));
        let fast = cosines(signals.view(), left.view(), NEURON[0], Parallelism::Sequential).unwrap();
        for j in 0..4 {
            let others: Vec<usize> = (0..8).filter(|i| i % 4 != j).collect();
            let others = signals.select(Axis(0), &others);
            let mut covariance = Cholesky::with_order(30, Parallelism::Sequential);
            covariance.matrix_mut().assign(
                &(matmul(others.t(), others.view(), Parallelism::Sequential) / NEURON[0]
                    + Array2::<f64>::eye(30)),
            );
            covariance.factor().unwrap();
            let product = |a: ndarray::ArrayView1<'_, f64>, b: ndarray::ArrayView1<'_, f64>| {
                let mut solved = b.to_owned().insert_axis(Axis(1));
                covariance.solve_in_place(solved.view_mut());
                a.iter().zip(&solved).map(|(a, b)| a * b).sum::<f64>()
            };
            for sign in [0, 1] {
                let (l, g) = (left.row(j), signals.row(j + 4 * sign));
                let slow = product(l, g) / (product(l, l) * product(g, g)).sqrt();
                assert!(
                    (fast[[j, sign]] - slow).abs() < 1e-9,
                    "{} and {slow} of {j}, {sign}",
                    fast[[j, sign]]
                );
            }
        }
    }
}
