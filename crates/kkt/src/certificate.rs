//! How well the true training data explain the weights: the best any attack on this equation could do.
//!
//! Minimises `||theta - sum_i lambda_i y_i grad_theta Phi(x_i)||` over `lambda >= 0`. Gradients are never formed: a
//! layer's gradient is the outer product of a delta and an input, so the Gram matrix is the elementwise product of the
//! two Gram matrices. Everything is in `f64`. It needs the truth and is therefore the judge's, or a trainer's.

use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_mlp::passes::{self, Passes, Scope};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, matmul, matvec};
use palimpsest_numerics::nnls::{NnlsError, nnls};
use palimpsest_numerics::reduce;
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
    let n = x.nrows();
    let mut passes = Passes::new(network, n);
    passes::forward(network, x, activation, &mut passes, parallelism);
    let signs = Array2::from_shape_fn((n, 1), |(i, _)| f64::from(labels[i]));
    passes::backward(network, signs.view(), &mut passes, parallelism);
    let depth = network.depth();
    let mut terms = Vec::with_capacity(depth);
    for (l, layer) in network.layers().iter().enumerate() {
        let h = if l == 0 { x } else { passes.hidden()[l - 1].view() };
        let delta = passes.delta().get(l).map_or(signs.view(), |d| d.view());
        let mut gram = matmul(h, h.t(), parallelism);
        // <W, delta h^T> + <b, delta> = <delta, W h + b>.
        let mut z = matmul(h, layer.weight.t(), parallelism);
        let mut squared_norm = reduce::squared_norm(layer.weight.view());
        if let Some(bias) = &layer.bias {
            gram += 1.0;
            z += bias;
            squared_norm += reduce::squared_norm(bias.view());
        }
        gram *= &matmul(delta, delta.t(), parallelism);
        let target = Array1::from_shape_fn(n, |i| (&delta.row(i) * &z.row(i)).sum());
        terms.push((gram, target, squared_norm));
    }
    let fitted = match scope {
        Scope::FirstLayer => &terms[..1],
        Scope::AllLayers => &terms[..],
    };
    let gram = fitted.iter().fold(Array2::zeros((n, n)), |sum, (gram, ..)| sum + gram);
    let target = fitted.iter().fold(Array1::zeros(n), |sum, (_, target, _)| sum + target);
    let lambda = nnls(gram.view(), target.view())?.x;
    let squared = |(gram, target, norm): &(Array2<f64>, Array1<f64>, f64)| {
        let fit = (&lambda * &(matvec(gram.view(), lambda.view()) - target * 2.0)).sum();
        (norm + fit).max(0.0)
    };
    let layers: Vec<f64> = terms.iter().map(|t| (squared(t) / t.2.max(f64::MIN_POSITIVE)).sqrt()).collect();
    let (left, size) = fitted.iter().fold((0.0, 0.0), |(left, size), t| (left + squared(t), size + t.2));
    Ok(StationarityCertificate {
        scope,
        gate_alpha: (activation.sharpness() > 0.0).then(|| activation.sharpness()),
        relative_residual: (left / size.max(f64::MIN_POSITIVE)).sqrt(),
        layers,
        support: lambda.iter().filter(|&&l| l > 0.0).count(),
        multipliers: lambda.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_mlp::{BiasPlacement, Dense};
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::stationarity::{OutputWeighting, StationarityResidual, TermWeights};

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
            let weighting = OutputWeighting::Binary(labels.clone());
            let lambda = Array1::from(certificate.multipliers.clone());
            let squared = residual.evaluate(
                &net,
                activation,
                &weighting,
                x.view(),
                lambda.view(),
                Parallelism::Sequential,
            );
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
