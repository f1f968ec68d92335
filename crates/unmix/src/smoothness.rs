//! Smoothness prior of images: one under which photographs are likely and what an equation alone allows is not.
//!
//! Natural images have a power spectrum that falls as the square of the frequency. With `x P x` the sum of the squared
//! differences of neighbouring pixels, and a little of the squared mean of each channel, exp(-x P x) is the Gaussian prior
//! of such images (`docs/decisions/0018-a-prior-on-edges.md`).

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce;
use palimpsest_numerics::whitening::root;

use crate::edges::edges;

/// Weight of the squared mean of a channel, as a share of that of the lowest frequency that is none.
const OF_MEAN: f64 = 0.5;

/// The smoothness prior in the coordinates of a span of images, scaled so that images whose power along each frequency is the
/// inverse of its weight have, on average, the energy `x x`.
#[derive(Clone, Debug)]
pub struct SmoothnessPrior {
    /// P, (r, r), symmetric.
    pub matrix: Array2<f32>,
    /// A matrix L with P = L L^T, (r, r): images compare as `x L`.
    pub root: Array2<f32>,
}

impl SmoothnessPrior {
    /// Of `basis` (r, d), orthonormal rows that are images of the channels, height and width `shape`.
    ///
    /// # Errors
    /// [`FactorError`] when the basis is not finite.
    ///
    /// # Panics
    /// When the shape is not that of the rows.
    #[track_caller]
    pub fn of(
        basis: ArrayView2<'_, f32>,
        shape: [usize; 3],
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        let [channels, height, width] = shape;
        let basis = basis.mapv(f64::from);
        let differences = edges(basis.view(), shape);
        let planes = (basis.nrows(), channels, height * width);
        let planes = basis.to_shape(planes).expect("smoothness prior: the shape is not that of the rows");
        let means = planes.sum_axis(Axis(2)) / ((height * width) as f64).sqrt();
        let of_mean = OF_MEAN * weight(1, height.max(width));
        // Mean weight of a frequency in images whose power is the inverse of it.
        let inverses: f64 = (0..height)
            .flat_map(|u| (0..width).map(move |v| weight(u, height) + weight(v, width)))
            .map(|weight| 1.0 / weight.max(of_mean))
            .sum();
        let scale = inverses / (height * width) as f64;
        let energy = matmul(differences.view(), differences.t(), parallelism)
            + matmul(means.view(), means.t(), parallelism) * of_mean;
        let energy = energy * scale;
        let root = root(energy.view(), parallelism)?;
        Ok(Self { matrix: energy.mapv(|v| v as f32), root: root.mapv(|v| v as f32) })
    }

    /// Energy of all `rows` (m, r) together, in units of their squared norm.
    pub fn relative(&self, rows: ArrayView2<'_, f32>, parallelism: Parallelism) -> f64 {
        let energies = matmul(rows, self.root.view(), parallelism);
        reduce::squared_norm(energies.view()) / reduce::squared_norm(rows).max(f64::MIN_POSITIVE)
    }
}

/// Sum of squared differences of neighbours in a wave of length one and `index` half periods on `side` pixels.
fn weight(index: usize, side: usize) -> f64 {
    2.0 - 2.0 * (PI * index as f64 / side as f64).cos()
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use palimpsest_numerics::factor::svd;

    use super::*;

    #[test]
    fn it_is_that_of_differences_and_means_and_scaled_to_its_own_images() {
        let shape = [2, 3, 4];
        let alone = Parallelism::Sequential;
        let prior = SmoothnessPrior::of(Array2::eye(24).view(), shape, alone).unwrap();
        // The squared length of an image of its spectrum is the trace of the inverse, and the energy the number of values.
        let spectrum = svd(prior.matrix.view(), alone).unwrap().singular_values;
        let length: f64 = spectrum.iter().map(|&s| 1.0 / f64::from(s)).sum();
        assert!((length - 24.0).abs() < 1e-3, "{length}");
        let of = |image: &Array1<f32>| matmul(image.view().insert_axis(Axis(0)), prior.root.view(), alone);
        let squared = |image: &Array1<f32>| of(image).iter().map(|v| f64::from(v * v)).sum::<f64>();
        let ratio = |a: &Array1<f32>, b: &Array1<f32>| squared(a) / squared(b);
        let constant = Array1::ones(24);
        // One step of two at a border of four columns, in both channels and all rows.
        let step = Array1::from_shape_fn(24, |i| if i % 4 < 2 { -1.0 } else { 1.0 });
        let expected = 6.0 * 4.0 / (24.0 * 0.5 * weight(1, 4));
        let seen = ratio(&step, &constant);
        assert!((seen - expected).abs() < 1e-4 * expected, "{seen} {expected}");
    }
}
