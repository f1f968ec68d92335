//! Equations whose weights change from solve to solve.

use ndarray::{Array1, Array2, ArrayViewMut1, Axis};
use palimpsest_numerics::iterative::WeightedLeastSquares;

/// Equations in p unknowns, and the memory of their least squares.
pub(super) struct WeightedEquations {
    /// One equation a column, (p, rows).
    equations: Array2<f64>,
    least_squares: WeightedLeastSquares<f64>,
}

impl WeightedEquations {
    /// Takes equations as columns, (p, rows).
    pub(super) fn new(equations: Array2<f64>) -> Self {
        let (unknowns, rows) = equations.dim();
        Self { equations, least_squares: WeightedLeastSquares::with_shape(unknowns, rows) }
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
        let roots: Vec<f64> = weights.iter().map(|weight| weight.sqrt()).collect();
        let diagonal = diagonal.map(|diagonal| diagonal.view());
        self.least_squares.factor(self.equations.view(), &roots, diagonal, relative_ridge).ok()?;
        let mut solution = right.clone();
        self.least_squares.solve_in_place(solution.view_mut().insert_axis(Axis(1)));
        solution.iter().all(|v| v.is_finite()).then_some(solution)
    }

    /// Solves `(sum_j w_j a_j a_j^T + diag(diagonal)) x = right` for two right-hand sides; zeros for the second where there is none.
    pub(super) fn solve_both(
        &mut self,
        weights: &Array1<f64>,
        diagonal: &Array1<f64>,
        right: &Array1<f64>,
        other: Option<&Array1<f64>>,
    ) -> Option<[Array1<f64>; 2]> {
        let solution = self.solve(weights, Some(diagonal), right, 0.0)?;
        let mut second = other.cloned().unwrap_or_else(|| Array1::zeros(right.len()));
        if other.is_some() {
            self.least_squares.solve_in_place(second.view_mut().insert_axis(Axis(1)));
        }
        Some([solution, second])
    }
}
