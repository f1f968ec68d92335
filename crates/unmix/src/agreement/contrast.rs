//! The contrast of edges: `ln(threshold + |e|^2) / 2` summed over groups, its slope and its curvature.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;

use super::whitening::WhitenedEdges;
use crate::operators::{LANES, squares};

/// A setting is one task: its products run alone.
const ALONE: Parallelism = Parallelism::Sequential;

/// Sum of the second derivatives of a group of zeros.
pub(super) fn curvature_at_zero(threshold: f32, group: usize) -> f32 {
    group as f32 / threshold
}

/// `1 / q` of the groups of a tile, q being `threshold + |e|^2`, and their second derivatives added to `sums`.
#[inline(always)]
fn inverses(q: &[f32; LANES], group: usize, threshold: f32, sums: &mut [f32; LANES]) -> [f32; LANES] {
    let size = group as f32;
    let mut inverse = [0.0_f32; LANES];
    for i in 0..LANES {
        inverse[i] = 1.0 / q[i];
        sums[i] += ((size - 2.0) * q[i] + 2.0 * threshold) * inverse[i] * inverse[i];
    }
    inverse
}

/// Replaces edges e by the slope `e / (threshold + |group of e|^2)` of the contrast, and gives the sum of its second derivatives.
pub(super) fn slopes(edges: &mut [f32], group: usize, threshold: f32) -> f32 {
    vectorised(
        #[inline(always)]
        move || {
            let mut sums = [0.0_f32; LANES];
            for tile in edges.chunks_exact_mut(LANES * group) {
                let q = squares(tile, threshold);
                let inverse = inverses(&q, group, threshold, &mut sums);
                for plane in tile.chunks_exact_mut(LANES) {
                    for (v, inverse) in plane.iter_mut().zip(&inverse) {
                        *v *= inverse;
                    }
                }
            }
            sums.iter().sum::<f32>()
        },
    )
}

/// Writes the slopes of the contrast at `edges`, as [`slopes`] does, and gives the sum of its second derivatives and that of
/// `ln(1 + |edges of a group|^2 / threshold)` over the groups, which is not finite where an edge is not.
///
/// Products of the arguments stand for their logarithms; what of a product is a power of two is counted apart, so that one logarithm a lane is left.
pub(super) fn slopes_and_logarithm(
    edges: &[f32],
    slopes: &mut [f32],
    group: usize,
    threshold: f32,
) -> (f32, f64) {
    vectorised(
        #[inline(always)]
        move || {
            let mut sums = [0.0_f32; LANES];
            let mut not_finite = [0.0_f32; LANES];
            let (mut products, mut twos) = ([1.0_f64; LANES], [0_u64; LANES]);
            let tiles = edges.chunks_exact(LANES * group).zip(slopes.chunks_exact_mut(LANES * group));
            for (tile, slopes) in tiles {
                let q = squares(tile, threshold);
                let inverse = inverses(&q, group, threshold, &mut sums);
                for i in 0..LANES {
                    not_finite[i] += 0.0 * q[i];
                    let bits = (products[i] * f64::from(q[i])).to_bits();
                    twos[i] += bits >> MANTISSA_BITS;
                    products[i] = f64::from_bits((bits & MANTISSA) | ONE);
                }
                for (slopes, edges) in slopes.chunks_exact_mut(LANES).zip(tile.chunks_exact(LANES)) {
                    for i in 0..LANES {
                        slopes[i] = edges[i] * inverse[i];
                    }
                }
            }
            let groups = edges.len() / group;
            // An exponent is stored with a bias, that of one.
            let twos = twos.iter().sum::<u64>() as f64 - (groups as u64 * (ONE >> MANTISSA_BITS)) as f64;
            let logarithm = products.iter().map(|product| product.ln()).sum::<f64>()
                + twos * std::f64::consts::LN_2
                - groups as f64 * f64::from(threshold).ln();
            (sums.iter().sum(), logarithm + f64::from(not_finite.iter().sum::<f32>()))
        },
    )
}

/// Bits of an `f64`: how many its mantissa has, which they are, and those of one.
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const ONE: u64 = 1.0_f64.to_bits();

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

    #[test]
    fn a_logarithm_a_lane_is_one_a_group() {
        for (group, scale) in [(1, 3.0), (6, 3.0), (1, 1e18), (6, 1e-3)] {
            let edges: Vec<f32> =
                (0..40 * LANES * group).map(|i| ((7 * i % 31) as f32 - 15.0) * scale).collect();
            let threshold = 0.09;
            let squares = |tile: &[f32], lane: usize| -> f64 {
                (0..group).map(|plane| f64::from(tile[plane * LANES + lane]).powi(2)).sum()
            };
            let expected: f64 = edges
                .chunks(LANES * group)
                .flat_map(|tile| (0..LANES).map(move |lane| (1.0 + squares(tile, lane) / 0.09).ln()))
                .sum();
            let (mut at_once, mut alone) = (vec![0.0; edges.len()], edges.clone());
            let (curvature, logarithm) = slopes_and_logarithm(&edges, &mut at_once, group, threshold);
            assert!(
                (logarithm - expected).abs() < 1e-5 * expected,
                "{group} {scale}: {logarithm} {expected}"
            );
            assert_eq!((curvature, at_once), (slopes(&mut alone, group, threshold), alone));
        }
        for wrong in [f32::NAN, f32::INFINITY, 1e30] {
            let mut edges = [0.5; 3 * LANES];
            edges[20] = wrong;
            let (_, logarithm) = slopes_and_logarithm(&edges, &mut [0.0; 3 * LANES], 1, 0.3);
            assert!(!logarithm.is_finite(), "{wrong}");
        }
    }
}
