//! Square roots of a matrix of second moments, and directions in which it is the identity.

use ndarray::{Array2, ArrayView2, s};

use crate::Real;
use crate::factor::{FactorError, svd};
use crate::gemm::{Parallelism, gemm, matmul};
use crate::reduce;

/// An `L` with `L L^T = moments`, for a symmetric positive semidefinite matrix (r, r): rows compare as `x L`.
///
/// # Errors
/// As [`svd`].
pub fn root(moments: ArrayView2<'_, f64>, parallelism: Parallelism) -> Result<Array2<f64>, FactorError> {
    let svd = svd(moments, parallelism)?;
    Ok(&svd.vt.t() * &svd.singular_values.mapv(f64::sqrt))
}

/// The `W` (k, r) with `W moments W^T = 1`, the strongest direction first, for a symmetric positive semidefinite matrix
/// (r, r); directions weaker than `least` of the strongest are left out.
///
/// # Errors
/// As [`svd`].
///
/// ```
/// use ndarray::array;
/// use palimpsest_numerics::{gemm::Parallelism, whitening::whiten};
///
/// let w = whiten(array![[4.0, 0.0], [0.0, 0.0]].view(), 1e-9, Parallelism::Sequential)?;
/// assert_eq!((w.dim(), w[[0, 0]].abs()), ((1, 2), 0.5));
/// # Ok::<(), palimpsest_numerics::factor::FactorError>(())
/// ```
pub fn whiten(
    moments: ArrayView2<'_, f64>,
    least: f64,
    parallelism: Parallelism,
) -> Result<Array2<f64>, FactorError> {
    let svd = svd(moments, parallelism)?;
    let least = least * svd.singular_values.first().copied().unwrap_or(0.0);
    let kept = svd.singular_values.iter().filter(|&&power| power > least).count();
    let mut rows = svd.vt.slice_move(s![..kept, ..]);
    for (mut row, power) in rows.rows_mut().into_iter().zip(&svd.singular_values) {
        row /= power.sqrt();
    }
    Ok(rows)
}

/// The lower triangular `W` (r, r) with `W moments W^T = 1`: its first k rows whiten the first k directions alone.
///
/// A direction of whose variance those before it leave less than `least` of the largest gets a row of zeros.
///
/// # Panics
/// When the matrix is not square.
#[track_caller]
pub fn whiten_in_order(moments: ArrayView2<'_, f64>, least: f64) -> Array2<f64> {
    let order = moments.nrows();
    assert_eq!(moments.ncols(), order, "whitening: second moments are square");
    let least = least * moments.diag().iter().copied().fold(0.0, f64::max);
    let mut rows = Array2::<f64>::zeros((order, order));
    let (mut along, mut own) = (Array2::zeros((order, 1)), Array2::zeros((1, order)));
    for i in 0..order {
        let (before, mut along, mut own) =
            (rows.slice(s![..i, ..i]), along.slice_mut(s![..i, ..]), own.slice_mut(s![.., ..i]));
        let mut variance = moments[[i, i]];
        if i > 0 {
            gemm(1.0, before, moments.slice(s![..i, i..=i]), 0.0, along.view_mut(), Parallelism::Sequential);
            gemm(-1.0, along.t(), before, 0.0, own.view_mut(), Parallelism::Sequential);
            variance -= reduce::squared_norm(along.view());
        }
        if variance > least {
            let scale = 1.0 / variance.sqrt();
            let own = own.row(0).mapv(|v| v * scale);
            rows.slice_mut(s![i, ..i]).assign(&own);
            rows[[i, i]] = scale;
        }
    }
    rows
}

/// The inverse of a lower triangular matrix (r, r), lower triangular; a row without a diagonal entry stays zero.
///
/// # Panics
/// When the matrix is not square.
#[track_caller]
pub fn lower_inverse<T: Real>(lower: ArrayView2<'_, T>) -> Array2<f64> {
    let order = lower.nrows();
    assert_eq!(lower.ncols(), order, "inverse of a lower triangular matrix: it must be square");
    let mut inverse = Array2::<f64>::zeros((order, order));
    for i in 0..order {
        let pivot = lower[[i, i]].wide();
        if pivot == 0.0 {
            continue;
        }
        let before = lower.slice(s![i..=i, ..i]).mapv(Real::wide);
        let row = matmul(before.view(), inverse.slice(s![..i, ..i]), Parallelism::Sequential) / -pivot;
        inverse.slice_mut(s![i, ..i]).assign(&row.row(0));
        inverse[[i, i]] = 1.0 / pivot;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;

    const ALONE: Parallelism = Parallelism::Sequential;

    /// Second moments of `rank` random vectors of `order` numbers.
    fn moments(order: usize, rank: usize, seed: u64) -> Array2<f64> {
        let rows: Array2<f64> =
            Array2::random_using((order, rank), StandardNormal, &mut Seed::new(seed).rng());
        matmul(rows.view(), rows.t(), ALONE)
    }

    fn off(seen: &Array2<f64>, expected: &Array2<f64>) -> f64 {
        seen.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn white_is_white(order in 1_usize..12, seed: u64) {
            let moments = moments(order, order + 8, seed);
            let whites = [whiten(moments.view(), 1e-9, ALONE).unwrap(), whiten_in_order(moments.view(), 1e-9)];
            for white in whites {
                let half = matmul(white.view(), moments.view(), ALONE);
                prop_assert!(off(&matmul(half.view(), white.t(), ALONE), &Array2::eye(order)) < 1e-8);
            }
            let root = root(moments.view(), ALONE).unwrap();
            prop_assert!(off(&matmul(root.view(), root.t(), ALONE), &moments) < 1e-9 * moments.diag().sum());
            let lower = whiten_in_order(moments.view(), 1e-9);
            let back = matmul(lower_inverse(lower.view()).view(), lower.view(), ALONE);
            prop_assert!(off(&back, &Array2::eye(order)) < 1e-8);
        }
    }

    #[test]
    fn directions_without_variance_are_left_out_or_zero() {
        let moments = moments(6, 3, 1);
        assert_eq!(whiten(moments.view(), 1e-9, ALONE).unwrap().dim(), (3, 6));
        let ordered = whiten_in_order(moments.view(), 1e-9);
        assert!(ordered.slice(s![3.., ..]).iter().all(|&v| v == 0.0), "{ordered}");
        assert!(lower_inverse(ordered.view()).slice(s![3.., ..]).iter().all(|&v| v == 0.0));
    }

    #[test]
    fn a_truncation_is_whitened_by_the_first_rows() {
        let moments = moments(7, 12, 2);
        let all = whiten_in_order(moments.view(), 1e-9);
        let few = whiten_in_order(moments.slice(s![..4, ..4]), 1e-9);
        assert_eq!(all.slice(s![..4, ..4]), few);
    }
}
