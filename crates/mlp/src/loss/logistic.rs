//! Logistic loss in log space.
//!
//! For a margin m = y Phi(x), the loss is `log(1 + e^-m)`. Trained far enough it underflows, while its logarithm
//! does not; all of training is steered by the logarithm.

/// `log(log(1 + exp(-margin)))`: the logarithm of one example's logistic loss.
///
/// Exact to rounding for every finite margin, also where the loss itself underflows.
///
/// ```
/// use palimpsest_mlp::loss::log_logistic;
/// assert!((log_logistic(0.0) - 2_f64.ln().ln()).abs() < 1e-15);
/// assert_eq!(log_logistic(5000.0), -5000.0);
/// ```
pub fn log_logistic(margin: f64) -> f64 {
    if margin > 40.0 {
        // log(1 + t) = t (1 - t/2 + ..) and t < 5e-18.
        -margin
    } else if margin < -40.0 {
        (-margin).ln()
    } else {
        (-margin).exp().ln_1p().ln()
    }
}

/// `log(sigmoid(-margin))`: the logarithm of the size of the loss's derivative.
pub fn log_slope(margin: f64) -> f64 {
    if margin > 0.0 { -margin - (-margin).exp().ln_1p() } else { -(margin.exp().ln_1p()) }
}

/// Mean logistic loss over margins, as its logarithm; `-inf` is never returned for finite margins.
///
/// # Panics
/// When there are no margins.
#[track_caller]
pub fn log_mean_loss(margins: &[f64]) -> f64 {
    assert!(!margins.is_empty(), "log_mean_loss: no margins");
    // The largest logarithm belongs to the smallest margin; a NaN stays one in the sum below.
    let largest = log_logistic(margins.iter().copied().fold(f64::INFINITY, f64::min));
    if !largest.is_finite() {
        return largest;
    }
    largest
        + (margins.iter().map(|&m| (log_logistic(m) - largest).exp()).sum::<f64>() / margins.len() as f64)
            .ln()
}

/// Derivative of `log(mean loss)` with respect to each margin (all <= 0), written into `out`.
///
/// # Panics
/// When the lengths differ.
#[track_caller]
pub fn log_loss_gradient(margins: &[f64], log_mean_loss: f64, out: &mut [f64]) {
    assert_eq!(margins.len(), out.len(), "log_loss_gradient: lengths differ");
    let log_total = log_mean_loss + (margins.len() as f64).ln();
    for (out, &m) in out.iter_mut().zip(margins) {
        *out = -(log_slope(m) - log_total).exp();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_losses_are_exact() {
        // Mean of e^-1000 and e^-1001 over two examples.
        let expected = -1000.0 + ((1.0 + (-1.0_f64).exp()) / 2.0).ln();
        assert!((log_mean_loss(&[1000.0, 1001.0]) - expected).abs() < 1e-12);
        let mut gradient = [0.0; 2];
        log_loss_gradient(&[1000.0, 1001.0], expected, &mut gradient);
        assert!((gradient[0] + gradient[1] + 1.0).abs() < 1e-12, "the shares sum to one");
        assert!((gradient[1] / gradient[0] - (-1.0_f64).exp()).abs() < 1e-12);
    }

    #[test]
    fn agrees_with_the_direct_formula_where_that_works() {
        let margins: Vec<f64> = (-30..60).map(|i| f64::from(i) * 0.3).collect();
        let direct = margins.iter().map(|m| (-m).exp().ln_1p()).sum::<f64>() / margins.len() as f64;
        let logarithm = log_mean_loss(&margins);
        assert!((logarithm - direct.ln()).abs() < 1e-13);
        let mut gradient = vec![0.0; margins.len()];
        log_loss_gradient(&margins, logarithm, &mut gradient);
        let h = 1e-6;
        for i in [0, 20, 45, 89] {
            let mut shifted = margins.clone();
            shifted[i] += h;
            let up = log_mean_loss(&shifted);
            shifted[i] -= 2.0 * h;
            let slope = (up - log_mean_loss(&shifted)) / (2.0 * h);
            assert!((slope - gradient[i]).abs() < 1e-8);
        }
    }

    #[test]
    fn nan_is_kept() {
        assert!(!log_mean_loss(&[f64::NAN, 1.0]).is_finite());
    }
}
