//! Logistic regression with a few features: what turns a score into a probability.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use palimpsest_numerics::factor::Cholesky;
use palimpsest_numerics::gemm::Parallelism;

use crate::{MetricsError, Result};

/// Pull of every coefficient towards zero: keeps them finite where the data can be separated.
const RIDGE: f64 = 1e-3;
/// Newton steps; a dozen are enough where any are.
const STEPS: usize = 100;

/// Coefficients (k) that maximise the likelihood of `outcomes` (n) given `features` (n, k), each observation counted
/// `weights` (n) times, by Newton steps with a small ridge.
///
/// # Errors
/// [`MetricsError::NonFinite`] when a feature is not finite.
///
/// # Panics
/// When there is no observation or feature, or the lengths differ.
///
/// ```
/// use palimpsest_metrics::logistic::fit_logistic;
/// let features = ndarray::array![[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]];
/// let fitted = fit_logistic(features.view(), &[true, false, true, true], &[1.0; 4])?;
/// assert!(fitted[0].abs() < 0.05 && fitted[1] > 1.0);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
#[track_caller]
pub fn fit_logistic(
    features: ArrayView2<'_, f64>,
    outcomes: &[bool],
    weights: &[f64],
) -> Result<Array1<f64>> {
    let (n, k) = features.dim();
    assert!(n > 0 && k > 0, "fit_logistic: nothing to fit");
    assert_eq!(
        (outcomes.len(), weights.len()),
        (n, n),
        "fit_logistic: one outcome and weight an observation"
    );
    if let Some(((row, column), &value)) = features.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(MetricsError::NonFinite { what: "features of a logistic fit", row, column, value });
    }
    let mut coefficients = Array1::<f64>::zeros(k);
    for _ in 0..STEPS {
        let mut gradient = &coefficients * RIDGE;
        let mut hessian = Array2::<f64>::eye(k) * RIDGE;
        for ((row, &outcome), &weight) in features.axis_iter(Axis(0)).zip(outcomes).zip(weights) {
            let score: f64 = row.iter().zip(&coefficients).map(|(f, c)| f * c).sum();
            let p = 1.0 / (1.0 + (-score).exp());
            gradient.scaled_add(weight * (p - f64::from(u8::from(outcome))), &row);
            for (i, &feature) in row.iter().enumerate() {
                hessian.row_mut(i).scaled_add(weight * p * (1.0 - p) * feature, &row);
            }
        }
        let mut newton = Cholesky::with_order(k, Parallelism::Sequential);
        newton.matrix_mut().assign(&hessian);
        newton.factor().expect("a ridge makes the Hessian positive definite");
        let mut step = gradient;
        newton.solve_in_place(step.view_mut().insert_axis(Axis(1)));
        coefficients -= &step;
        if step.iter().all(|s| s.abs() < 1e-10) {
            break;
        }
    }
    Ok(coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_is_where_the_gradient_vanishes_and_separable_data_stay_finite() {
        let x = Array2::from_shape_fn(
            (60, 2),
            |(i, j)| if j == 0 { 1.0 } else { f64::from(i as u8) / 20.0 - 1.5 },
        );
        let outcomes: Vec<bool> =
            (0..60).map(|i| (i * 7 % 20) as f64 / 20.0 < 0.2 + i as f64 / 100.0).collect();
        let weights: Vec<f64> = (0..60).map(|i| 0.5 + f64::from(u8::from(i % 3 == 0))).collect();
        let fitted = fit_logistic(x.view(), &outcomes, &weights).unwrap();
        let gradient: f64 = (0..60)
            .map(|i| {
                let score = fitted[0] + fitted[1] * x[[i, 1]];
                weights[i] * (1.0 / (1.0 + (-score).exp()) - f64::from(u8::from(outcomes[i]))) * x[[i, 1]]
            })
            .sum();
        assert!((gradient + RIDGE * fitted[1]).abs() < 1e-8, "{gradient}");
        let separable: Vec<bool> = (0..60).map(|i| i >= 30).collect();
        let fitted = fit_logistic(x.view(), &separable, &[1.0; 60]).unwrap();
        assert!(fitted.iter().all(|c| c.is_finite()) && fitted[1] > 3.0);
        let mut broken = x.clone();
        broken[[3, 1]] = f64::NAN;
        assert!(fit_logistic(broken.view(), &separable, &[1.0; 60]).is_err());
    }
}
