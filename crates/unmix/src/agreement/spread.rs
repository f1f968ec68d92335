//! How evenly a picture is spread over the values of an input.
//!
//! Adam leaves directions behind which are strong in a few pixels. Their edges are sparser than those of any image, so separations agree
//! on them, but they are spots, and they show in the larger truncations only. What counts as a spot the other pictures tell.

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::median;

/// Share of the pictures that are found early: what is made of the strong directions of a layer is no remainder of training.
const EARLY: f64 = 2.0 / 3.0;
/// Pictures that are lifted at once.
const AT_ONCE: usize = 32;

/// Participation ratio `(sum v^2)^2 / (d sum v^4)` of the values v of each of `pictures` (k, r), which are coordinates along `basis` (r, d), relative
/// to the median of the first half of them, (k): 1 for pictures like these, near 0 for a spot.
pub(super) fn spreads(
    pictures: ArrayView2<'_, f32>,
    basis: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Vec<f64> {
    let lifted = pictures.axis_chunks_iter(Axis(0), AT_ONCE).map(|some| matmul(some, basis, parallelism));
    let ratios: Vec<f64> = lifted.flat_map(|values| participation(&values)).collect();
    if ratios.is_empty() {
        return ratios;
    }
    let usual = median(&ratios[..ratios.len().div_ceil(2)]);
    ratios.iter().map(|ratio| ratio / usual.max(f64::MIN_POSITIVE)).collect()
}

/// Of pictures `first` found at these ranks, the rank by which two thirds were found: those first found beyond it are late. 0 where there are none.
pub(super) fn last_early(mut first: Vec<usize>) -> usize {
    first.sort_unstable();
    first.get((EARLY * first.len() as f64) as usize).copied().unwrap_or(0)
}

fn participation(values: &Array2<f32>) -> Vec<f64> {
    let of_row = |row: ndarray::ArrayView1<'_, f32>| {
        let (mut squares, mut fourths) = (0.0, 0.0);
        for &value in row {
            let square = f64::from(value).powi(2);
            squares += square;
            fourths += square * square;
        }
        squares * squares / (row.len() as f64 * fourths.max(f64::MIN_POSITIVE))
    };
    values.rows().into_iter().map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_third_of_the_pictures_come_after_is_early() {
        assert_eq!(last_early(vec![121, 25, 33, 25, 42, 121]), 121);
        assert_eq!(last_early(vec![121, 25, 33, 25, 42, 93, 121]), 93);
        assert_eq!(last_early(Vec::new()), 0);
    }

    #[test]
    fn a_spot_is_far_below_pictures_that_fill_their_frame() {
        let basis = Array2::eye(64);
        let mut pictures = Array2::from_shape_fn((40, 64), |(i, j)| ((i * 7 + j * 13) % 11) as f32 - 5.0);
        pictures.row_mut(39).fill(0.0);
        pictures[[39, 5]] = 1.0;
        let spreads = spreads(pictures.view(), basis.view(), Parallelism::Sequential);
        assert_eq!(spreads.len(), 40);
        assert!(spreads[..39].iter().all(|spread| (0.8..1.2).contains(spread)), "{spreads:?}");
        assert!(spreads[39] < 0.05, "{}", spreads[39]);
        assert!(
            self::spreads(pictures.view().split_at(Axis(0), 0).0, basis.view(), Parallelism::Sequential)
                .is_empty()
        );
    }
}
