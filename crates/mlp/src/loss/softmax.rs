//! Cross-entropy of a softmax.
//!
//! Without label smoothing, the loss of an example of class y is the logistic loss of the margin
//! `Phi_y - log sum_{c != y} exp(Phi_c)`. That keeps its logarithm and its slope exact however small it is.

use ndarray::{ArrayView1, ArrayViewMut1};
use palimpsest_numerics::Real;

/// `Phi_y - log sum_{c != y} exp(Phi_c)`; not a number or infinite when an output is.
pub(super) fn margin<T: Real>(outputs: ArrayView1<'_, T>, class: usize) -> f64 {
    outputs[class].wide() - log_sum_exp(outputs, Some(class))
}

/// `slope` times the derivative of [`margin`] by each output.
pub(super) fn margin_derivative_into<T: Real>(
    outputs: ArrayView1<'_, T>,
    class: usize,
    slope: f64,
    mut out: ArrayViewMut1<'_, T>,
) {
    let others = log_sum_exp(outputs, Some(class));
    for (c, (out, &output)) in out.iter_mut().zip(outputs).enumerate() {
        *out = T::of(if c == class { slope } else { -slope * (output.wide() - others).exp() });
    }
}

/// Cross-entropy with the target (1 - smoothing) one-hot + smoothing / C.
pub(super) fn smoothed<T: Real>(outputs: ArrayView1<'_, T>, class: usize, smoothing: f64) -> f64 {
    let all = log_sum_exp(outputs, None);
    // Sums over outputs run in index order on one thread.
    let spread: f64 = outputs.iter().map(|output| all - output.wide()).sum();
    (1.0 - smoothing) * (all - outputs[class].wide()) + smoothing / outputs.len() as f64 * spread
}

/// Derivative of [`smoothed`] by each output, over `examples`.
pub(super) fn smoothed_derivative_into<T: Real>(
    outputs: ArrayView1<'_, T>,
    class: usize,
    smoothing: f64,
    examples: f64,
    mut out: ArrayViewMut1<'_, T>,
) {
    let all = log_sum_exp(outputs, None);
    let even = smoothing / outputs.len() as f64;
    for (c, (out, &output)) in out.iter_mut().zip(outputs).enumerate() {
        let target = even + if c == class { 1.0 - smoothing } else { 0.0 };
        *out = T::of(((output.wide() - all).exp() - target) / examples);
    }
}

/// `log sum exp` of all outputs but one, or of all.
fn log_sum_exp<T: Real>(outputs: ArrayView1<'_, T>, without: Option<usize>) -> f64 {
    let kept = || outputs.iter().enumerate().filter(|(c, _)| Some(*c) != without).map(|(_, o)| o.wide());
    // A NaN is passed over here and stays one in the sum.
    let largest = kept().fold(f64::NEG_INFINITY, f64::max);
    largest + kept().map(|output| (output - largest).exp()).sum::<f64>().ln()
}
