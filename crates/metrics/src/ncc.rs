//! Normalised cross-correlation: how alike two images are, brightness and contrast of each channel aside.

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce;

use crate::image::check_finite;
use crate::{ImageShape, Result};

/// NCC (n, m), in [-1, 1] up to rounding, of each row of `a` (n, d) with each row of `b` (m, d).
///
/// Every channel is brought to zero mean and unit norm; the NCC of two images is the mean over their channels of the
/// inner products. A constant channel has no direction and correlates 0 with everything, itself included.
///
/// # Errors
/// [`MetricsError::Empty`](crate::MetricsError::Empty); [`MetricsError::NonFinite`](crate::MetricsError::NonFinite)
/// with the row.
///
/// # Panics
/// When a row is not as long as the shape says.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::{ImageShape, ncc::ncc_matrix};
/// use palimpsest_numerics::gemm::Parallelism;
///
/// let (a, b) = (array![[0.0, 1.0, 2.0]], array![[5.0, 7.0, 9.0], [3.0, 2.0, 1.0], [4.0, 4.0, 4.0]]);
/// let ncc = ncc_matrix(a.view(), b.view(), ImageShape::vector(3), Parallelism::Sequential)?;
/// assert!((ncc - array![[1.0, -1.0, 0.0]]).iter().all(|e| e.abs() < 1e-6));
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
///
/// # Source
/// `ncc_dist` in `evaluations.py` of the code of Haim et al., NeurIPS 2022; that distance falls as this NCC rises.
#[track_caller]
pub fn ncc_matrix(
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    shape: ImageShape,
    parallelism: Parallelism,
) -> Result<Array2<f32>> {
    let (a, b) = (normalized("left images of NCC", a, shape)?, normalized("right images of NCC", b, shape)?);
    Ok(matmul(a.view(), b.t(), parallelism))
}

/// Rows (n, d) whose channels have zero mean and equal norms, the norm of the row being at most 1.
fn normalized(what: &'static str, images: ArrayView2<'_, f32>, shape: ImageShape) -> Result<Array2<f32>> {
    shape.assert_width(what, images);
    check_finite(what, images)?;
    let mut unit = images.as_standard_layout().into_owned();
    let mut wide = vec![0.0_f64; shape.plane()];
    for mut image in unit.axis_iter_mut(Axis(0)) {
        let image = image.as_slice_mut().expect("standard layout");
        for channel in image.chunks_exact_mut(shape.plane()) {
            let largest = channel.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
            wide.iter_mut().zip(&*channel).for_each(|(w, &v)| *w = f64::from(v));
            let mean = reduce::sum(&wide) / wide.len() as f64;
            wide.iter_mut().for_each(|w| *w -= mean);
            let norm = reduce::sum_squares(&wide).sqrt();
            // What is no larger than the rounding of the values themselves is a constant image.
            let rounding = f64::from(largest) * f64::from(f32::EPSILON) * (wide.len() as f64).sqrt();
            let scale = if norm > rounding { 1.0 / (norm * (shape.channels as f64).sqrt()) } else { 0.0 };
            channel.iter_mut().zip(&wide).for_each(|(v, &w)| *v = (w * scale) as f32);
        }
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView1, array};
    use proptest::prelude::*;

    use super::*;
    use crate::MetricsError;
    use crate::null_model::random_noise;
    use palimpsest_numerics::seed::Seed;

    /// Pearson's correlation of each channel, as in a textbook, averaged.
    fn textbook(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>, shape: ImageShape) -> f64 {
        let mut total = 0.0;
        for c in 0..shape.channels {
            let at = |image: ArrayView1<'_, f32>, i| f64::from(image[c * shape.plane() + i]);
            let n = shape.plane() as f64;
            let mean = |image| (0..shape.plane()).map(|i| at(image, i)).sum::<f64>() / n;
            let (mean_a, mean_b) = (mean(a), mean(b));
            let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
            for i in 0..shape.plane() {
                let (u, v) = (at(a, i) - mean_a, at(b, i) - mean_b);
                ab += u * v;
                aa += u * u;
                bb += v * v;
            }
            if aa > 0.0 && bb > 0.0 {
                total += ab / (aa * bb).sqrt();
            }
        }
        total / shape.channels as f64
    }

    proptest! {
        #[test]
        fn agrees_with_the_textbook(
            n in 1usize..5, m in 1usize..5, channels in 1usize..4, height in 1usize..6, width in 2usize..6,
            offset in -2.0_f32..2.0, seed: u64,
        ) {
            let shape = ImageShape { channels, height, width };
            let seed = Seed::new(seed);
            let a = random_noise(n, shape.size(), 0.3, &seed.named("a")) + offset;
            let mut b = random_noise(m, shape.size(), 2.0, &seed.named("b"));
            b.row_mut(0).fill(offset); // a constant image among the others
            let ncc = ncc_matrix(a.view(), b.view(), shape, Parallelism::of_threads(2)).unwrap();
            for ((i, j), &got) in ncc.indexed_iter() {
                prop_assert!((f64::from(got) - textbook(a.row(i), b.row(j), shape)).abs() < 2e-6);
            }
            prop_assert!(ncc.column(0).iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn constant_images_correlate_with_nothing() {
        for value in [0.0, 0.1, 0.7, 1e-30, 1e30, f32::MAX] {
            let mut image = Array2::from_elem((1, 784), value);
            let ncc = |image: &Array2<f32>| {
                ncc_matrix(image.view(), image.view(), ImageShape::vector(784), Parallelism::Sequential)
                    .unwrap()[[0, 0]]
            };
            assert_eq!(ncc(&image), 0.0, "{value}");
            image[[0, 5]] = value + value * f32::EPSILON; // one unit in the last place is still constant
            if value < f32::MAX {
                assert_eq!(ncc(&image), 0.0, "{value}");
            }
        }
    }

    #[test]
    fn extreme_scales_neither_overflow_nor_vanish() {
        let a = array![[1e38_f32, -1e38, 2e38], [1e-30, -1e-30, 2e-30]];
        let ncc = ncc_matrix(a.view(), a.view(), ImageShape::vector(3), Parallelism::Sequential).unwrap();
        assert!(ncc.iter().all(|v| (v - 1.0).abs() < 1e-6), "{ncc}");
    }

    #[test]
    fn a_nan_is_refused_with_its_row() {
        let a = array![[1.0_f32, 2.0], [f32::NAN, 0.0]];
        let error =
            ncc_matrix(a.view(), a.view(), ImageShape::vector(2), Parallelism::Sequential).unwrap_err();
        assert!(matches!(error, MetricsError::NonFinite { row: 1, column: 0, .. }), "{error}");
    }

    #[test]
    fn views_of_any_stride_give_the_same() {
        let a = random_noise(6, 12, 1.0, &Seed::new(3));
        let transposed = a.t().as_standard_layout().into_owned();
        let shape = ImageShape { channels: 3, height: 2, width: 2 };
        let ncc = |a| ncc_matrix(a, a, shape, Parallelism::Sequential).unwrap();
        assert_eq!(ncc(a.view()), ncc(transposed.t()));
    }
}
