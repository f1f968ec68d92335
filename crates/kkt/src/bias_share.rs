//! The sign ambiguity: candidates that are the negative of an input, told apart by the biases.
//!
//! With activations g, a backpropagated signal d and a multiplier lambda, an input x gives the first layer's weights `lambda (d . g) x^T`. Its
//! negative -x has the activations 1 - g, but for the bias, and gives `lambda (d . g) x^T - lambda d x^T`: the same, up to a
//! matrix with the left factor d that all inputs of a label share, so that others make up for it at little cost. Descent
//! begins with soft gates, to which inputs that lie against the mean of their label look the wrong way round, and takes
//! their negatives for them.
//!
//! Biases have no such ambiguity: x gives them `lambda d . g`, and its negative `lambda d . (1 - g)`. So where a candidate
//! stands for -x, the biases are explained best by *minus* what it gives them, along all directions but the backpropagated signals.
//! `docs/decisions/0013-norms-and-mirrors.md` has the measurement.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::factor::{Cholesky, FactorError, orthonormal_rows};
use palimpsest_numerics::gemm::{Parallelism, matmul, matvec, symmetric};

use crate::outputs::{Label, OutputPull};
use crate::stationarity::StationarityResidual;

/// Ridge of the least squares, as a share of the mean squared norm of what a candidate gives the biases.
const RIDGE: f64 = 0.1;

/// Bias shares of the candidates of the last evaluation of `residual`, (m), in what `known` first-layer deltas (h, K) leave of the biases;
/// nothing where the first layer has no biases, multipliers have no labels, or the candidates give the biases nothing.
pub fn shares_at(
    network: &Mlp<f32>,
    residual: &StationarityResidual<f32>,
    pull: &OutputPull,
    known: Option<ArrayView2<'_, f32>>,
    parallelism: Parallelism,
) -> Option<Array1<f64>> {
    let (bias, labels) = network.layers()[0].bias.as_ref().zip(pull.labels())?;
    // An input and its negative differ by what its label asks of the neurons.
    let all = residual.backpropagated_signals();
    let mut signals = Array2::<f64>::zeros((network.outputs().max(2), all.ncols()));
    for (row, &Label(label)) in all.rows().into_iter().zip(labels) {
        let mut sum = signals.row_mut(label);
        sum.zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
    }
    for delta in known.iter().flat_map(|known| known.columns()) {
        signals.push_row(delta.mapv(f64::from).view()).expect("deltas have an entry for each neuron");
    }
    bias_shares(residual.first_deltas(), signals.view(), bias.view(), parallelism).ok()
}

/// The same at the end of a run, whose candidates have the coordinates `x` (m, r) and the multipliers `lambda` (m) and see hard gates;
/// 0 where the candidates give the biases nothing. `residual` is memory.
pub fn shares_of_restart(
    network: &Mlp<f32>,
    residual: &mut StationarityResidual<f32>,
    pull: &OutputPull,
    (x, lambda): (ArrayView2<'_, f32>, ArrayView1<'_, f32>),
    known: Option<ArrayView2<'_, f32>>,
    parallelism: Parallelism,
) -> Array1<f32> {
    residual.evaluate(network, Activation::Relu, pull, x, lambda, parallelism);
    let shares = shares_at(network, residual, pull, known, parallelism);
    shares.map_or_else(|| Array1::zeros(lambda.len()), |shares| shares.mapv(|share| share as f32))
}

/// How much of what each candidate gives the first layer's biases is found in them, (m): 1 for an input and its multiplier,
/// negative for the negative of one.
///
/// `deltas` (m, h) are what the candidates give the biases, `signals` (k, h) directions in which an input and its
/// negative do not differ, `bias` (h) the biases.
///
/// # Errors
/// [`FactorError`] when the least squares cannot be solved, as for deltas that are all zero or not finite.
fn bias_shares(
    deltas: ArrayView2<'_, f32>,
    signals: ArrayView2<'_, f64>,
    bias: ArrayView1<'_, f32>,
    parallelism: Parallelism,
) -> Result<Array1<f64>, FactorError> {
    let signals = orthonormal_rows(signals, parallelism)?;
    let without_signals = |rows: Array2<f64>| {
        let along = matmul(rows.view(), signals.t(), parallelism);
        rows - matmul(along.view(), signals.view(), parallelism)
    };
    let given = without_signals(deltas.mapv(f64::from));
    let bias = without_signals(bias.mapv(f64::from).insert_axis(Axis(0))).remove_axis(Axis(0));
    let (m, h) = given.dim();
    // (G G^T + ridge)^-1 G b = G (G^T G + ridge)^-1 b: the smaller of the two.
    let fewer_candidates = m <= h;
    let sides = if fewer_candidates { given.view() } else { given.t() };
    let mut cholesky = Cholesky::with_order(sides.nrows(), parallelism);
    let mut gram = cholesky.matrix_mut();
    symmetric(sides, gram.view_mut(), parallelism);
    let ridge = RIDGE * gram.diag().sum() / m as f64;
    gram.diag_mut().mapv_inplace(|value| value + ridge);
    cholesky.factor()?;
    let solve = |right: Array1<f64>| {
        let mut solution = right.insert_axis(Axis(1));
        cholesky.solve_in_place(solution.view_mut());
        solution.remove_axis(Axis(1))
    };
    Ok(if fewer_candidates {
        solve(matvec(given.view(), bias.view()))
    } else {
        matvec(given.view(), solve(bias).view())
    })
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::{StandardNormal, Uniform};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    /// Gates of `m` candidates on `h` neurons with a backpropagated signal, and the biases of inputs every third of which has its
    /// negative among the candidates.
    fn shares(m: usize, h: usize) -> Array1<f64> {
        let mut rng = Seed::new(4).named("mirror").rng();
        let signal: Array1<f64> = Array1::random_using(h, StandardNormal, &mut rng);
        let chance: Array2<f64> = Array2::random_using((m, h), Uniform::new(0.0, 1.0).unwrap(), &mut rng);
        let gates = chance.mapv(|chance| f64::from(u8::from(chance < 0.5)));
        let mut bias = Array1::zeros(h);
        for (i, gates) in gates.rows().into_iter().enumerate() {
            bias += &(&signal * &if i % 3 == 0 { 1.0 - &gates } else { gates.to_owned() });
        }
        let deltas = (&gates * &signal).mapv(|v| v as f32);
        let signal = signal.insert_axis(Axis(0));
        let bias = bias.mapv(|v| v as f32);
        bias_shares(deltas.view(), signal.view(), bias.view(), Parallelism::Sequential).unwrap()
    }

    #[test]
    fn negatives_have_negative_shares() {
        for (i, share) in shares(60, 300).iter().enumerate() {
            let turned = i % 3 == 0;
            assert!(if turned { *share < -0.5 } else { *share > 0.5 }, "{i}: {share}");
        }
    }

    #[test]
    fn more_candidates_than_neurons_are_told_apart_for_the_most_part() {
        let shares = shares(150, 100);
        let right = shares.iter().enumerate().filter(|(i, share)| (**share < 0.0) == (i % 3 == 0)).count();
        assert!(right > 120, "{right} of 150");
    }

    #[test]
    fn deltas_of_zero_are_an_error() {
        let zeros = Array2::<f32>::zeros((4, 6));
        let signals = Array2::<f64>::ones((1, 6));
        let bias = Array1::<f32>::ones(6);
        assert!(bias_shares(zeros.view(), signals.view(), bias.view(), Parallelism::Sequential).is_err());
    }
}
