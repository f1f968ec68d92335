//! Squared error, summed over the outputs.

use ndarray::{ArrayView1, ArrayViewMut1};
use palimpsest_numerics::Real;

use super::Target;

/// `sum_c (Phi_c - t_c)^2`.
pub(super) fn value<T: Real>(outputs: ArrayView1<'_, T>, target: Target<'_>) -> f64 {
    // Sums over outputs run in index order on one thread.
    let square = |(c, output): (usize, &T)| (output.wide() - target.value(c)).powi(2);
    outputs.iter().enumerate().map(square).sum()
}

/// Derivative of [`value`] by each output, over `examples`.
pub(super) fn derivative_into<T: Real>(
    outputs: ArrayView1<'_, T>,
    target: Target<'_>,
    examples: f64,
    mut out: ArrayViewMut1<'_, T>,
) {
    for (c, (out, &output)) in out.iter_mut().zip(outputs).enumerate() {
        *out = T::of(2.0 * (output.wide() - target.value(c)) / examples);
    }
}
