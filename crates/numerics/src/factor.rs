//! Factorisations through faer, each with its residual checked before it is handed out.

use dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd as faer_svd;
use faer::{Mat, MatMut, MatRef, Par, Spec};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, s};

use crate::Real;
use crate::elementwise::vectorised;
use crate::gemm::{Parallelism, gemm};
use crate::reduce;

/// Why a factorisation was not handed out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactorError {
    /// The input has NaN or infinite entries.
    #[error("a ({rows}, {cols}) matrix with NaN or infinite entries cannot be factorised")]
    NotFinite {
        /// Rows of the input.
        rows: usize,
        /// Columns of the input.
        cols: usize,
    },
    /// The iteration inside the factorisation did not converge.
    #[error("the singular value decomposition of a ({rows}, {cols}) matrix did not converge")]
    NoConvergence {
        /// Rows of the input.
        rows: usize,
        /// Columns of the input.
        cols: usize,
    },
    /// A pivot was zero or negative.
    #[error(
        "a matrix of order {order} is not positive definite (pivot {pivot}); add a larger multiple of the identity"
    )]
    NotPositiveDefinite {
        /// Order of the matrix.
        order: usize,
        /// Index of the failing pivot.
        pivot: usize,
    },
    /// The product of the factors is not the input.
    #[error(
        "a factorisation failed its check: relative residual {residual:.1e}, at most {allowed:.1e} allowed"
    )]
    Residual {
        /// Relative residual found.
        residual: f64,
        /// Largest residual accepted.
        allowed: f64,
    },
}

/// Thin singular value decomposition `A = U diag(s) Vt`.
#[derive(Clone, Debug)]
pub struct Svd<T> {
    /// Left singular vectors, (m, k) with k = min(m, n).
    pub u: Array2<T>,
    /// Singular values, k of them, descending.
    pub singular_values: Array1<T>,
    /// Right singular vectors as rows, (k, n).
    pub vt: Array2<T>,
}

/// Thin singular value decomposition of `a` (m, n).
///
/// Computed in `f64` and rounded: in `f32` the factors were seen to miss the input by 2e-4 (1,600 units of rounding).
///
/// # Errors
/// [`FactorError::NotFinite`], [`FactorError::NoConvergence`], or [`FactorError::Residual`] when
/// `||A - U S Vt|| / ||A||` exceeds a thousand units of rounding.
///
/// ```
/// use ndarray::array;
/// use palimpsest_numerics::{factor::svd, gemm::Parallelism};
/// let svd = svd(array![[3.0, 0.0], [0.0, -5.0]].view(), Parallelism::Sequential)?;
/// assert!((svd.singular_values[0] - 5.0_f64).abs() < 1e-12);
/// # Ok::<(), palimpsest_numerics::factor::FactorError>(())
/// ```
pub fn svd<T: Real>(a: ArrayView2<'_, T>, parallelism: Parallelism) -> Result<Svd<T>, FactorError> {
    let (rows, cols) = a.dim();
    if !a.iter().all(|v| v.is_finite()) {
        return Err(FactorError::NotFinite { rows, cols });
    }
    let k = rows.min(cols);
    if k == 0 {
        return Ok(Svd {
            u: Array2::zeros((rows, 0)),
            singular_values: Array1::zeros(0),
            vt: Array2::zeros((0, cols)),
        });
    }
    let input = Mat::from_fn(rows, cols, |i, j| a[[i, j]].wide());
    let (u, s, v) = decompose(input.as_ref()).ok_or(FactorError::NoConvergence { rows, cols })?;
    let svd = Svd {
        u: Array2::from_shape_fn((rows, k), |(i, j)| T::of(u[(i, j)])),
        singular_values: Array1::from_shape_fn(k, |i| T::of(s[i])),
        vt: Array2::from_shape_fn((k, cols), |(i, j)| T::of(v[(j, i)])),
    };
    let mut residual = a.to_owned();
    let scaled = &svd.u * &svd.singular_values;
    gemm(-T::one(), scaled.view(), svd.vt.view(), T::one(), residual.view_mut(), parallelism);
    check::<T>(reduce::norm(residual.view()), reduce::norm(a))?;
    Ok(svd)
}

/// `U` (m, k), `s` (k) and `V` (n, k) of a matrix (m, n), if the iteration converges.
fn decompose(a: MatRef<'_, f64>) -> Option<(Mat<f64>, faer::Col<f64>, Mat<f64>)> {
    let (rows, cols) = a.shape();
    let k = rows.min(cols);
    let (mut s, mut u, mut v) =
        (faer::Col::<f64>::zeros(k), Mat::<f64>::zeros(rows, k), Mat::<f64>::zeros(cols, k));
    // One thread: with more, faer's singular vectors differ in their last bits.
    let par = Par::Seq;
    let vectors = faer_svd::ComputeSvdVectors::Thin;
    let mut scratch =
        MemBuffer::new(faer_svd::svd_scratch::<f64>(rows, cols, vectors, vectors, par, Spec::default()));
    let (to_u, to_v) = (Some(u.as_mut()), Some(v.as_mut()));
    faer_svd::svd(a, s.as_diagonal_mut(), to_u, to_v, par, MemStack::new(&mut scratch), Spec::default())
        .ok()?;
    Some((u, s, v))
}

/// Orthonormal basis of the row space of `a` (r, d), as rows (k, d) with k the numerical rank.
///
/// Directions whose singular value is below `max(r, d)` units of rounding of the largest are left out.
///
/// # Errors
/// As [`svd`].
pub fn orthonormal_rows<T: Real>(
    a: ArrayView2<'_, T>,
    parallelism: Parallelism,
) -> Result<Array2<T>, FactorError> {
    let svd = svd(a, parallelism)?;
    let largest = svd.singular_values.first().map_or(0.0, |s| s.wide());
    let floor = largest * unit::<T>() * a.nrows().max(a.ncols()) as f64;
    let rank = svd.singular_values.iter().take_while(|s| s.wide() > floor).count();
    Ok(svd.vt.slice(s![..rank, ..]).to_owned())
}

/// A Cholesky factorisation that owns its memory, so that repeated use allocates nothing.
///
/// Fill the upper triangle of [`Cholesky::matrix_mut`] with a symmetric positive definite matrix, [`Cholesky::factor`],
/// then [`Cholesky::solve_in_place`].
pub struct Cholesky<T> {
    /// Before factoring: the matrix. After: the factor in the upper triangle, nothing of use in the lower.
    matrix: Array2<T>,
    test_vector: Vec<T>,
    expected: Vec<f64>,
    scratch: MemBuffer,
    parallelism: Parallelism,
}

impl<T: Real> Cholesky<T> {
    /// Memory for matrices of order `order`.
    pub fn with_order(order: usize, parallelism: Parallelism) -> Self {
        Self {
            matrix: Array2::zeros((order, order)),
            test_vector: (0..order).map(|i| T::of(1.0 + (i % 3) as f64)).collect(),
            expected: vec![0.0; order],
            scratch: MemBuffer::new(T::cholesky_scratch(order)),
            parallelism,
        }
    }

    /// The matrix to fill before [`Cholesky::factor`]; its lower triangle is never read.
    pub fn matrix_mut(&mut self) -> ArrayViewMut2<'_, T> {
        self.matrix.view_mut()
    }

    /// Factorises the matrix in place and checks `L L^T v = A v` on one vector.
    ///
    /// # Errors
    /// [`FactorError::NotPositiveDefinite`] or [`FactorError::Residual`] (NaN entries end in one of them).
    pub fn factor(&mut self) -> Result<(), FactorError> {
        let order = self.matrix.nrows();
        let size = self.expect_product();
        let values = self.matrix.as_slice_mut().expect("the matrix is owned and contiguous");
        // A row-major symmetric matrix read as column-major is itself: faer's lower triangle is our upper one.
        T::cholesky(MatMut::from_column_major_slice_mut(values, order, order), &mut self.scratch)
            .map_err(|pivot| FactorError::NotPositiveDefinite { order, pivot })?;
        check::<T>(self.residual(), size)
    }

    /// Logarithm of the determinant of the factorised matrix.
    pub fn log_determinant(&self) -> f64 {
        2.0 * self.matrix.diag().iter().map(|value| value.wide().ln()).sum::<f64>()
    }

    /// Solves `A X = B` for the factorised A: `rhs` (order, k) holds B before and X after.
    ///
    /// # Panics
    /// When `rhs` has another number of rows or is not in standard (row-major) layout.
    #[track_caller]
    pub fn solve_in_place(&self, mut rhs: ArrayViewMut2<'_, T>) {
        let (order, cols) = (self.matrix.nrows(), rhs.ncols());
        assert_eq!(rhs.nrows(), order, "solve_in_place: order {order}, right-hand side {:?}", rhs.dim());
        let values = self.matrix.as_slice().expect("the matrix is owned and contiguous");
        let rhs = rhs.as_slice_mut().expect("solve_in_place: the right-hand side must be row-major");
        let factor = MatRef::from_column_major_slice(values, order, order);
        solve_columns(factor, MatMut::from_row_major_slice_mut(rhs, order, cols), self.parallelism);
    }

    /// `A v` and `||A|| ||v||` for the test vector, before factoring overwrites A; from the upper triangle alone.
    fn expect_product(&mut self) -> f64 {
        self.expected.fill(0.0);
        let mut squares = 0.0;
        for (i, row) in self.matrix.rows().into_iter().enumerate() {
            let row = &row.to_slice().expect("a row is contiguous")[i..];
            let (v, diagonal) = (self.test_vector[i].wide(), row[0].wide());
            self.expected[i] += reduce::inner(row, &self.test_vector[i..]);
            add_scaled(&mut self.expected[i + 1..], v, &row[1..]);
            squares += 2.0 * reduce::sum_squares(row) - diagonal * diagonal;
        }
        (squares * reduce::sum_squares(&self.test_vector)).sqrt()
    }

    /// `||L L^T v - A v||`. Our upper triangle holds L^T: row j is column j of L.
    fn residual(&mut self) -> f64 {
        for (j, row) in self.matrix.rows().into_iter().enumerate() {
            let row = &row.to_slice().expect("a row is contiguous")[j..];
            let transposed = reduce::inner(row, &self.test_vector[j..]);
            add_scaled(&mut self.expected[j..], -transposed, row);
        }
        reduce::sum_squares(&self.expected).sqrt()
    }
}

/// `sum <- sum + factor * values`.
fn add_scaled<T: Real>(sum: &mut [f64], factor: f64, values: &[T]) {
    vectorised(|| sum.iter_mut().zip(values).for_each(|(s, v)| *s += factor * v.wide()));
}

/// Right-hand sides solved by one call of the kernel; the same cuts for any number of threads.
const SOLVED_TOGETHER: usize = 128;

fn solve_columns<T: Real>(factor: MatRef<'_, T>, rhs: MatMut<'_, T>, parallelism: Parallelism) {
    let cols = rhs.ncols();
    if cols <= SOLVED_TOGETHER {
        return T::solve_cholesky(factor, rhs);
    }
    let (left, right) = rhs.split_at_col_mut((cols / 2).next_multiple_of(SOLVED_TOGETHER));
    if parallelism == Parallelism::Sequential {
        solve_columns(factor, left, parallelism);
        solve_columns(factor, right, parallelism);
    } else {
        rayon::join(
            || solve_columns(factor, left, parallelism),
            || solve_columns(factor, right, parallelism),
        );
    }
}

fn unit<T: Real>() -> f64 {
    <T as num_traits::Float>::epsilon().wide()
}

fn check<T: Real>(residual: f64, size: f64) -> Result<(), FactorError> {
    let allowed = 1000.0 * unit::<T>();
    let residual = if size > 0.0 { residual / size } else { residual };
    if residual <= allowed { Ok(()) } else { Err(FactorError::Residual { residual, allowed }) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use proptest::prelude::*;

    use super::*;
    use crate::gemm::matmul;
    use crate::seed::Seed;

    fn draw(rows: usize, cols: usize, seed: u64) -> Array2<f64> {
        Array2::random_using((rows, cols), StandardNormal, &mut Seed::new(seed).rng())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn svd_is_orthonormal_and_sorted(rows in 1usize..40, cols in 1usize..40, seed: u64) {
            let a = draw(rows, cols, seed);
            let svd = svd(a.view(), Parallelism::Sequential).unwrap();
            let gram = matmul(svd.vt.view(), svd.vt.t(), Parallelism::Sequential);
            prop_assert!((&gram - &Array2::<f64>::eye(rows.min(cols))).iter().all(|e| e.abs() < 1e-12));
            prop_assert!(svd.singular_values.windows(2).into_iter().all(|w| w[0] >= w[1]));
        }

        #[test]
        fn cholesky_solves(order in 1usize..60, cols in 1usize..5, seed: u64) {
            let b = draw(order, order + 3, seed);
            let mut a = matmul(b.view(), b.t(), Parallelism::Sequential);
            a.diag_mut().map_inplace(|d| *d += 0.5);
            let mut cholesky = Cholesky::with_order(order, Parallelism::Sequential);
            cholesky.matrix_mut().assign(&a);
            cholesky.factor().unwrap();
            let rhs = draw(order, cols, seed ^ 1);
            let mut x = rhs.clone();
            cholesky.solve_in_place(x.view_mut());
            let back = matmul(a.view(), x.view(), Parallelism::Sequential);
            prop_assert!((&back - &rhs).iter().all(|e| e.abs() < 1e-8));
        }
    }

    #[test]
    fn rank_is_found() {
        let basis = orthonormal_rows(
            matmul(draw(30, 4, 1).view(), draw(4, 20, 2).view(), Parallelism::Sequential).view(),
            Parallelism::Sequential,
        )
        .unwrap();
        assert_eq!(basis.dim(), (4, 20));
    }

    #[test]
    fn bad_matrices_are_refused() {
        let nan = array![[1.0, f64::NAN], [0.0, 1.0]];
        assert!(matches!(
            svd(nan.view(), Parallelism::Sequential),
            Err(FactorError::NotFinite { rows: 2, cols: 2 })
        ));
        let mut cholesky = Cholesky::with_order(2, Parallelism::Sequential);
        cholesky.matrix_mut().assign(&array![[1.0, 2.0], [2.0, 1.0]]);
        assert!(matches!(cholesky.factor(), Err(FactorError::NotPositiveDefinite { order: 2, .. })));
        cholesky.matrix_mut().assign(&array![[1.0, f64::NAN], [f64::NAN, 1.0]]);
        assert!(cholesky.factor().is_err());
    }
}
