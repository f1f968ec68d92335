//! Least squares whose weights change from solve to solve, by Cholesky of the normal equations; the memory is kept.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use crate::Real;
use crate::elementwise::vectorised;
use crate::factor::{Cholesky, FactorError};
use crate::gemm::{Parallelism, symmetric};

/// A step of iteratively reweighted least squares in p unknowns, and its memory.
///
/// ```
/// use ndarray::{Axis, array};
/// use palimpsest_numerics::iterative::WeightedLeastSquares;
///
/// // One unknown, seen twice: as 1, and, four times as heavy, as 2.
/// let mut step = WeightedLeastSquares::with_shape(1, 2);
/// step.factor(array![[1.0, 1.0]].view(), &[1.0, 2.0], None, 0.0)?;
/// let mut solution = array![[1.0 * 1.0 + 4.0 * 2.0]];
/// step.solve_in_place(solution.view_mut());
/// assert!((solution[[0, 0]] - 9.0 / 5.0_f64).abs() < 1e-12);
/// # Ok::<(), palimpsest_numerics::factor::FactorError>(())
/// ```
pub struct WeightedLeastSquares<T> {
    weighted: Array2<T>,
    normal: Cholesky<T>,
}

impl<T: Real> WeightedLeastSquares<T> {
    /// Memory for so many unknowns and equations.
    pub fn with_shape(unknowns: usize, equations: usize) -> Self {
        Self {
            weighted: Array2::zeros((unknowns, equations)),
            normal: Cholesky::with_order(unknowns, Parallelism::Sequential),
        }
    }

    /// Factorises `sum_j w_j a_j a_j^T + diag`, with `ridge` of its mean diagonal added, for equations `a_j` in the columns
    /// of `equations` (p, rows) and `roots` (rows), the square roots of their weights.
    ///
    /// # Errors
    /// [`FactorError`] when the matrix is not positive definite even so.
    ///
    /// # Panics
    /// When a shape is another, or a row of the equations is not contiguous.
    #[track_caller]
    pub fn factor(
        &mut self,
        equations: ArrayView2<'_, T>,
        roots: &[T],
        diagonal: Option<ArrayView1<'_, T>>,
        ridge: T,
    ) -> Result<(), FactorError> {
        assert_eq!(equations.dim(), self.weighted.dim(), "weighted least squares: the equations");
        assert_eq!(roots.len(), equations.ncols(), "weighted least squares: one weight an equation");
        for (row, mut weighted) in equations.rows().into_iter().zip(self.weighted.rows_mut()) {
            let row = row.to_slice().expect("weighted least squares: rows must be contiguous");
            let weighted = weighted.as_slice_mut().expect("rows are contiguous");
            vectorised(|| {
                for ((weighted, v), root) in weighted.iter_mut().zip(row).zip(roots) {
                    *weighted = *v * *root;
                }
            });
        }
        let mut normal = self.normal.matrix_mut();
        symmetric(self.weighted.view(), normal.view_mut(), Parallelism::Sequential);
        let mut own = normal.diag_mut();
        if let Some(diagonal) = diagonal {
            own += &diagonal;
        }
        let ridge = ridge * own.sum() / T::of(own.len() as f64);
        own += ridge;
        self.normal.factor()
    }

    /// Solves for the right-hand sides (p, k), by the last [`WeightedLeastSquares::factor`].
    ///
    /// # Panics
    /// As [`Cholesky::solve_in_place`].
    #[track_caller]
    pub fn solve_in_place(&self, rhs: ArrayViewMut2<'_, T>) {
        self.normal.solve_in_place(rhs);
    }
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn at_the_solution_the_weighted_residual_is_orthogonal(
            unknowns in 1_usize..8,
            more in 0_usize..12,
            seed: u64,
        ) {
            let rows = unknowns + more;
            let draw = |shape, name| -> Array2<f64> {
                Array2::random_using(shape, StandardNormal, &mut Seed::new(seed).named(name).rng())
            };
            let (equations, seen) = (draw((unknowns, rows), "equations"), draw((rows, 1), "right"));
            let roots: Vec<f64> = draw((rows, 1), "roots").iter().map(|v| 0.1 + v.abs()).collect();
            let diagonal = draw((unknowns, 1), "diagonal").column(0).mapv(|v| 0.1 + v.abs());
            let mut step = WeightedLeastSquares::with_shape(unknowns, rows);
            step.factor(equations.view(), &roots, Some(diagonal.view()), 0.0).unwrap();
            // Written out with loops: sum_j w_j a_j (seen_j - a_j x) = diag x.
            let mut x = Array2::zeros((unknowns, 1));
            for i in 0..unknowns {
                x[[i, 0]] = (0..rows).map(|j| roots[j] * roots[j] * equations[[i, j]] * seen[[j, 0]]).sum();
            }
            step.solve_in_place(x.view_mut());
            for i in 0..unknowns {
                let mut left = -diagonal[i] * x[[i, 0]];
                for j in 0..rows {
                    let fitted: f64 = (0..unknowns).map(|k| equations[[k, j]] * x[[k, 0]]).sum();
                    left += roots[j] * roots[j] * equations[[i, j]] * (seen[[j, 0]] - fitted);
                }
                prop_assert!(left.abs() < 1e-7 * (1.0 + x.iter().map(|v| v.abs()).sum::<f64>()), "{left}");
            }
        }
    }

    #[test]
    fn equations_that_say_nothing_are_refused_without_a_ridge() {
        let mut step = WeightedLeastSquares::<f32>::with_shape(2, 3);
        let equations = Array2::ones((2, 3));
        assert!(step.factor(equations.view(), &[0.0; 3], None, 1e-6).is_err());
        assert!(step.factor(equations.view(), &[1.0; 3], None, 1e-3).is_ok());
    }
}
