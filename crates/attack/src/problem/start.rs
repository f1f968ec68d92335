//! Random coordinates that look like inputs as far as the spectrum tells.

use ndarray::{Array2, Axis};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

/// Random coordinates (m, r) of a given norm, longer where the first layer's singular values (r) are large.
pub(crate) fn random_start(spectrum: &[f32], m: usize, norm: f64, seed: Seed) -> Array2<f32> {
    let mut x: Array2<f32> =
        Array2::random_using((m, spectrum.len()), StandardNormal, &mut seed.named("candidates").rng());
    for (mut column, &s) in x.axis_iter_mut(Axis(1)).zip(spectrum) {
        column.mapv_inplace(|v| v * s);
    }
    for mut row in x.rows_mut() {
        let scale = norm / reduce::norm(row.view()).max(f64::MIN_POSITIVE);
        row.mapv_inplace(|v| v * scale as f32);
    }
    x
}
