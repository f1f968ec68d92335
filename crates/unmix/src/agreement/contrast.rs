//! The contrast of edges: `ln(threshold + |e|^2) / 2` summed over groups, its slope and its curvature.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;

use super::whitening::WhitenedEdges;
use crate::operators::LANES;

/// A setting is one task: its products run alone.
const ALONE: Parallelism = Parallelism::Sequential;

/// Sum of the second derivatives of a group of zeros.
pub(super) fn curvature_at_zero(threshold: f32, group: usize) -> f32 {
    group as f32 / threshold
}

/// Replaces edges e by the slope `e / (threshold + |group of e|^2)` of the contrast, and gives the sum of its second derivatives.
pub(super) fn slopes(edges: &mut [f32], group: usize, threshold: f32) -> f32 {
    let size = group as f32;
    vectorised(move || {
        let mut sums = [0.0_f32; LANES];
        for tile in edges.chunks_exact_mut(LANES * group) {
            let mut q = [threshold; LANES];
            for plane in tile.chunks_exact(LANES) {
                for (q, v) in q.iter_mut().zip(plane) {
                    *q += v * v;
                }
            }
            let mut inverse = [0.0_f32; LANES];
            for i in 0..LANES {
                inverse[i] = 1.0 / q[i];
                sums[i] += ((size - 2.0) * q[i] + 2.0 * threshold) * inverse[i] * inverse[i];
            }
            for plane in tile.chunks_exact_mut(LANES) {
                for (v, inverse) in plane.iter_mut().zip(&inverse) {
                    *v *= inverse;
                }
            }
        }
        sums.iter().sum::<f32>()
    })
}

pub(super) fn to_unit(row: &mut [f32]) {
    let length = reduce::sum_squares(row).sqrt() as f32;
    let scale = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    row.iter_mut().for_each(|v| *v *= scale);
}

/// Mean of `ln(1 + e^2 / strong)` over single edges, of each of `directions` (m, r).
pub(super) fn contrasts(
    whitened: &WhitenedEdges,
    directions: ArrayView2<'_, f32>,
    scale: f32,
) -> Array1<f32> {
    let mut sums = vec![0.0_f64; directions.nrows()];
    let (mut values, strong) =
        (Array2::zeros((directions.nrows(), whitened.chunks.len_of(Axis(2)))), scale * scale);
    for chunk in whitened.chunks.outer_iter() {
        gemm(1.0, directions, chunk.slice(s![..directions.ncols(), ..]), 0.0, values.view_mut(), ALONE);
        for (row, sum) in values.rows().into_iter().zip(&mut sums) {
            // One logarithm for several edges: eight factors of the size of an f32 are no more than an f64 holds.
            let row = row.to_slice().expect("rows are contiguous");
            let log =
                |edges: &[f32]| edges.iter().map(|e| 1.0 + f64::from(e * e / strong)).product::<f64>().ln();
            *sum += row.chunks(8).map(log).sum::<f64>();
        }
    }
    let count = whitened.differences() as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The twin a child can check: value and derivatives of `sum over groups of ln(threshold + |e|^2) / 2`, by differences.
    #[test]
    fn slopes_and_curvature_are_the_derivatives_of_the_contrast() {
        for group in [1, 2, 6] {
            let threshold = 0.3 * group as f32;
            let edges: Vec<f32> =
                (0..3 * LANES * group).map(|i| ((7 * i % 31) as f32 - 15.0) * 0.1).collect();
            let contrast = |edges: &[f64]| {
                let mut sum = 0.0;
                for tile in edges.chunks(LANES * group) {
                    for lane in 0..LANES {
                        let squares: f64 = (0..group).map(|plane| tile[plane * LANES + lane].powi(2)).sum();
                        sum += 0.5 * (f64::from(threshold) + squares).ln();
                    }
                }
                sum
            };
            let exact: Vec<f64> = edges.iter().map(|&e| f64::from(e)).collect();
            let mut fast = edges.clone();
            let curvature = slopes(&mut fast, group, threshold);
            let (step, mut expected) = (1e-4, 0.0);
            for i in 0..edges.len() {
                let at = |offset: f64| {
                    let mut moved = exact.clone();
                    moved[i] += offset;
                    contrast(&moved)
                };
                let slope = (at(step) - at(-step)) / (2.0 * step);
                assert!((slope - f64::from(fast[i])).abs() < 1e-5, "{group} {i}: {slope} {}", fast[i]);
                expected += (at(step) - 2.0 * at(0.0) + at(-step)) / (step * step);
            }
            assert!(
                (expected - f64::from(curvature)).abs() < 1e-3 * expected.abs(),
                "{expected} {curvature}"
            );
            let zero = curvature_at_zero(threshold, group);
            assert!((slopes(&mut vec![0.0; LANES * group], group, threshold) - 16.0 * zero).abs() < 1e-3);
        }
    }
}
