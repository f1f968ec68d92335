//! How well the true training data explain the weights: the best any attack on this equation could do.
//!
//! Minimises `||theta - sum_i lambda_i y_i grad_theta Phi(x_i)||` over `lambda >= 0`. Gradients are never formed: a
//! layer's gradient is the outer product of a delta and an input, so the Gram matrix is the elementwise product of the
//! two Gram matrices, made in blocks of rows. Everything is in `f64`. It needs the truth and is therefore the judge's, or a trainer's.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};
use palimpsest_mlp::passes::{self, Passes, Scope};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::nnls::{NnlsError, nnls};
use serde::{Deserialize, Serialize};

/// How close a network is to a KKT point of its training data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StationarityCertificate {
    /// What the multipliers were fitted to.
    pub scope: Scope,
    /// Slope of the gates used, as alpha of a sigmoid; infinite for a hard gate is written as `null`.
    pub gate_alpha: Option<f64>,
    /// `||residual|| / ||theta||` over the scope.
    pub relative_residual: f64,
    /// The same for each layer on its own, with the multipliers of the scope.
    pub layers: Vec<f64>,
    /// Examples with a positive multiplier.
    pub support: usize,
    /// The multipliers, one per example, in the convention without 1/m.
    pub multipliers: Vec<f64>,
}

/// Certifies `network` on inputs `x` (n, d) with `labels` (n) in {-1, +1}.
///
/// # Errors
/// [`NnlsError`] when the multipliers cannot be found (NaN inputs, say).
///
/// # Panics
/// When shapes do not fit or the network has more than one output.
#[track_caller]
pub fn certify(
    network: &Mlp<f64>,
    activation: Activation,
    x: ArrayView2<'_, f64>,
    labels: &[i8],
    scope: Scope,
    parallelism: Parallelism,
) -> Result<StationarityCertificate, NnlsError> {
    assert_eq!(
        (x.nrows(), network.outputs()),
        (labels.len(), 1),
        "certify: one label an example, one output"
    );
    let signs = Array2::from_shape_fn((x.nrows(), 1), |(i, _)| f64::from(labels[i]));
    certify_pulls(network, activation, x, signs.view(), scope, parallelism)
}

/// [`certify`] for any number of outputs C: row i of `pulls` (n, C) is the direction in which example i pulls on the outputs, as
/// [`Loss::pull`](palimpsest_mlp::loss::Loss::pull) says it; its size is what the multiplier says.
///
/// # Errors
/// Those of [`certify`].
///
/// # Panics
/// When shapes do not fit.
#[track_caller]
pub fn certify_pulls(
    network: &Mlp<f64>,
    activation: Activation,
    x: ArrayView2<'_, f64>,
    pulls: ArrayView2<'_, f64>,
    scope: Scope,
    parallelism: Parallelism,
) -> Result<StationarityCertificate, NnlsError> {
    assert_eq!(
        (x.nrows(), network.outputs()),
        pulls.dim(),
        "certify_pulls: one row an example, one column an output"
    );
    let mut passes = Passes::new(network, x.nrows());
    passes::forward(network, x, activation, &mut passes, parallelism);
    passes::backward(network, pulls, &mut passes, parallelism);
    let lambda = {
        let (gram, target) = normal_equations(network, x, &passes, pulls, scope, parallelism);
        nnls(gram.view(), target.view())?.x
    };
    let weighted = &pulls * &lambda.view().insert_axis(Axis(1));
    passes::backward(network, weighted.view(), &mut passes, parallelism);
    let mut residual = network.clone();
    passes::parameter_gradient(x, &passes, -1.0, 1.0, Scope::AllLayers, &mut residual, parallelism);
    let (left, size) = (squared_layers(&residual), squared_layers(network));
    let relative = |left: f64, size: f64| (left / size.max(f64::MIN_POSITIVE)).sqrt();
    let fitted = |squares: &[f64]| match scope {
        Scope::FirstLayer => squares[0],
        Scope::AllLayers => squares.iter().sum(),
    };
    Ok(StationarityCertificate {
        scope,
        gate_alpha: (activation.sharpness() > 0.0).then(|| activation.sharpness()),
        relative_residual: relative(fitted(&left), fitted(&size)),
        layers: left.iter().zip(&size).map(|(&left, &size)| relative(left, size)).collect(),
        support: lambda.iter().filter(|&&l| l > 0.0).count(),
        multipliers: lambda.to_vec(),
    })
}

/// Inner products (n, n) of the gradients of the examples of `passes`, and theirs (n) with the parameters, in the layers of `scope`.
fn normal_equations(
    network: &Mlp<f64>,
    x: ArrayView2<'_, f64>,
    passes: &Passes<f64>,
    pulls: ArrayView2<'_, f64>,
    scope: Scope,
    parallelism: Parallelism,
) -> (Array2<f64>, Array1<f64>) {
    let n = x.nrows();
    let (mut gram, mut target) = (Array2::<f64>::zeros((n, n)), Array1::<f64>::zeros(n));
    for (l, layer) in network.layers().iter().enumerate().filter(|(l, _)| scope.holds(*l)) {
        let h = if l == 0 { x } else { passes.hidden()[l - 1].view() };
        let delta = passes.delta().get(l).map_or(pulls, |d| d.view());
        let shift = if layer.bias.is_some() { 1.0 } else { 0.0 };
        add_gram(h, delta, shift, &mut gram, parallelism);
        // <W, delta h^T> + <b, delta> = <delta, W h + b>.
        for rows in blocks(n) {
            let (h, delta) = (h.slice(s![rows.clone(), ..]), delta.slice(s![rows.clone(), ..]));
            let mut z = matmul(h, layer.weight.t(), parallelism);
            if let Some(bias) = &layer.bias {
                z += bias;
            }
            for ((target, z), delta) in target.slice_mut(s![rows]).iter_mut().zip(z.rows()).zip(delta.rows())
            {
                *target += (&z * &delta).sum();
            }
        }
    }
    symmetrise(&mut gram);
    (gram, target)
}

/// Rows of the Gram matrix that are made at once: memory stays near that of the matrix itself.
const BLOCK: usize = 512;

fn blocks(n: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(BLOCK).map(move |start| start..n.min(start + BLOCK))
}

/// Adds a layer's inner products of gradients, `(h_i . h_j + shift) (delta_i . delta_j)`, to the upper
/// triangle of `gram` (n, n), in blocks of rows.
fn add_gram(
    h: ArrayView2<'_, f64>,
    delta: ArrayView2<'_, f64>,
    shift: f64,
    gram: &mut Array2<f64>,
    parallelism: Parallelism,
) {
    for rows in blocks(h.nrows()) {
        let product = |a: ArrayView2<'_, f64>| {
            matmul(a.slice(s![rows.clone(), ..]), a.slice(s![rows.start.., ..]).t(), parallelism)
        };
        Zip::from(gram.slice_mut(s![rows.clone(), rows.start..]))
            .and(&product(h))
            .and(&product(delta))
            .for_each(|gram, &h, &delta| *gram += (h + shift) * delta);
    }
}

fn symmetrise(upper: &mut Array2<f64>) {
    for i in 0..upper.nrows() {
        for j in 0..i {
            upper[[i, j]] = upper[[j, i]];
        }
    }
}

/// Squared norm of each layer, weights and bias together.
fn squared_layers(network: &Mlp<f64>) -> Vec<f64> {
    let (weights, biases) = passes::squared_norms(network);
    weights.iter().zip(&biases).map(|(weight, bias)| weight + bias).collect()
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_mlp::{BiasPlacement, Dense};
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::outputs::{Label, OutputPull};
    use crate::stationarity::{StationarityResidual, TermWeights};

    fn problem() -> (Mlp<f64>, Array2<f64>, Vec<i8>) {
        let x = Array2::random_using((9, 12), StandardNormal, &mut Seed::new(1).rng());
        let net = Mlp::initialise(&[12, 20, 15, 1], BiasPlacement::FirstLayer, 0.3, Seed::new(2));
        (net, x, (0..9).map(|i| if i % 2 == 0 { 1 } else { -1 }).collect())
    }

    #[test]
    fn agrees_with_the_residual_of_its_own_multipliers() {
        let (net, x, labels) = problem();
        let activation = Activation::SigmoidGate { alpha: 20.0 };
        for scope in [Scope::FirstLayer, Scope::AllLayers] {
            let certificate =
                certify(&net, activation, x.view(), &labels, scope, Parallelism::Sequential).unwrap();
            let mut residual = StationarityResidual::new(&net, 9, Scope::AllLayers);
            let pull = OutputPull::Binary(labels.iter().map(|&y| Label::of_sign(y)).collect());
            let lambda = Array1::from(certificate.multipliers.clone());
            let squared =
                residual.evaluate(&net, activation, &pull, x.view(), lambda.view(), Parallelism::Sequential);
            let mut terms = TermWeights::uniform(3);
            if scope == Scope::FirstLayer {
                terms.weights[1..].fill(0.0);
            }
            let (weights, biases) = passes::squared_norms(&net);
            let size = crate::stationarity::SquaredResidual { weights, biases }.total(&terms);
            let expected = (squared.total(&terms) / size).sqrt();
            assert!((certificate.relative_residual - expected).abs() < 1e-9, "{scope:?}");
        }
    }

    #[test]
    fn several_outputs_are_certified_by_the_directions_in_which_examples_pull() {
        // One linear layer: row c of the weights is the sum of lambda_i pull_ic x_i.
        let (_, x, _) = problem();
        let lambda = Array1::from_shape_fn(9, |i| 0.1 + i as f64);
        let pulls = Array2::random_using((9, 3), StandardNormal, &mut Seed::new(3).rng());
        let weighted = &pulls * &lambda.view().insert_axis(Axis(1));
        let weight = matmul(weighted.t(), x.view(), Parallelism::Sequential);
        let net = Mlp::new(vec![Dense { weight, bias: None }]).unwrap();
        let certified = |pulls: ArrayView2<'_, f64>| {
            let scope = Scope::AllLayers;
            certify_pulls(&net, Activation::Relu, x.view(), pulls, scope, Parallelism::Sequential).unwrap()
        };
        let certificate = certified(pulls.view());
        assert!(certificate.relative_residual < 1e-6);
        assert!(certificate.multipliers.iter().zip(&lambda).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(certified(pulls.mapv(f64::abs).view()).relative_residual > 0.1);
    }

    #[test]
    fn a_network_made_of_its_gradients_is_certified() {
        // One linear layer: grad Phi(x) = x, so theta = sum lambda y x exactly.
        let (_, x, labels) = problem();
        let lambda = Array1::from_shape_fn(9, |i| 0.1 + i as f64);
        let signed = Array2::from_shape_fn((1, 9), |(_, i)| lambda[i] * f64::from(labels[i]));
        let weight = matmul(signed.view(), x.view(), Parallelism::Sequential);
        let net = Mlp::new(vec![Dense { weight, bias: None }]).unwrap();
        let certificate =
            certify(&net, Activation::Relu, x.view(), &labels, Scope::AllLayers, Parallelism::Sequential)
                .unwrap();
        assert!(certificate.relative_residual < 1e-6);
        assert!(certificate.multipliers.iter().zip(&lambda).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
