//! Weighted least squares, solved by Cholesky; the memory is kept between solves.

use ndarray::{Array1, Array2, ArrayViewMut1, Axis, Zip};
use palimpsest_numerics::factor::Cholesky;
use palimpsest_numerics::gemm::{Parallelism, symmetric};

/// Equations in p unknowns, whose weights change from solve to solve.
pub(super) struct WeightedEquations {
    /// One equation a column, (p, rows).
    equations: Array2<f64>,
    weighted: Array2<f64>,
    cholesky: Cholesky<f64>,
}

impl WeightedEquations {
    /// Takes equations as columns, (p, rows).
    pub(super) fn new(equations: Array2<f64>) -> Self {
        Self {
            weighted: Array2::zeros(equations.raw_dim()),
            cholesky: Cholesky::with_order(equations.nrows(), Parallelism::Sequential),
            equations,
        }
    }

    /// The coefficients of one unknown in all equations, (rows).
    pub(super) fn unknown_mut(&mut self, index: usize) -> ArrayViewMut1<'_, f64> {
        self.equations.row_mut(index)
    }

    /// Solves `(sum_j w_j a_j a_j^T + diag) x = right` for weights (rows) >= 0, with `relative_ridge` of the mean diagonal
    /// added. Nothing when the matrix is not positive definite even so.
    pub(super) fn solve(
        &mut self,
        weights: &Array1<f64>,
        diagonal: Option<&Array1<f64>>,
        right: &Array1<f64>,
        relative_ridge: f64,
    ) -> Option<Array1<f64>> {
        let roots = weights.mapv(f64::sqrt);
        Zip::from(self.weighted.rows_mut()).and(self.equations.rows()).for_each(|mut to, from| {
            Zip::from(&mut to).and(&from).and(&roots).for_each(|to, &from, &root| *to = root * from);
        });
        let mut matrix = self.cholesky.matrix_mut();
        symmetric(self.weighted.view(), matrix.view_mut(), Parallelism::Sequential);
        let mut own = matrix.diag_mut();
        if let Some(diagonal) = diagonal {
            own += diagonal;
        }
        let ridge = relative_ridge * own.sum() / own.len() as f64;
        own += ridge;
        self.cholesky.factor().ok()?;
        let mut solution = right.clone();
        self.cholesky.solve_in_place(solution.view_mut().insert_axis(Axis(1)));
        solution.iter().all(|v| v.is_finite()).then_some(solution)
    }
}
