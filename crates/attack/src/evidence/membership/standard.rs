//! What is usual for a record like this one: a statistic relative to its regression on covariates, over the references.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use palimpsest_numerics::factor::{Cholesky, FactorError};
use palimpsest_numerics::gemm::{Parallelism, matmul, matvec};

/// Ridge of the regression, as a share of each covariate's squares: covariates may be nearly the same.
const RIDGE: f64 = 1e-9;

/// A regression over references.
pub struct Standard {
    means: Array1<f64>,
    scales: Array1<f64>,
    coefficients: Array1<f64>,
    system: Cholesky<f64>,
    deviation: f64,
    /// Studentised residuals of the references, each as if it had been left out of the regression's errors, (n).
    pub references: Array1<f64>,
}

impl Standard {
    /// Regresses `values` (n) of references on their `covariates` (n, c), with an intercept.
    ///
    /// # Errors
    /// [`FactorError`] when a number is not finite.
    ///
    /// # Panics
    /// When shapes differ or there are no more references than covariates.
    pub fn of(values: ArrayView1<'_, f64>, covariates: ArrayView2<'_, f64>) -> Result<Self, FactorError> {
        let (n, c) = covariates.dim();
        assert!(values.len() == n && n > c + 2, "{} values with ({n}, {c}) covariates", values.len());
        let means = covariates.mean_axis(ndarray::Axis(0)).expect("there are references");
        let centred = &covariates - &means;
        let scales = centred.map_axis(ndarray::Axis(0), |column| {
            (column.iter().map(|v| v * v).sum::<f64>() / n as f64).sqrt().max(f64::MIN_POSITIVE)
        });
        let design = design(covariates, &means, &scales);
        let mut system = Cholesky::with_order(c + 1, Parallelism::Sequential);
        let mut gram = matmul(design.t(), design.view(), Parallelism::Sequential);
        gram.diag_mut().mapv_inplace(|value| value + RIDGE * n as f64);
        system.matrix_mut().assign(&gram);
        system.factor()?;
        let mut solution = matmul(design.t(), values.insert_axis(ndarray::Axis(1)), Parallelism::Sequential);
        system.solve_in_place(solution.view_mut());
        let coefficients = solution.column(0).to_owned();
        let errors = &values - &matvec(design.view(), coefficients.view());
        let leverages = leverages(&system, &design);
        let squares: f64 = errors.iter().map(|e| e * e).sum();
        let deviation = (squares / (n - c - 1) as f64).sqrt().max(f64::MIN_POSITIVE);
        let references = errors
            .iter()
            .zip(&leverages)
            .map(|(e, leverage)| e / (deviation * (1.0 - leverage).max(1e-3).sqrt()))
            .collect();
        Ok(Self { means, scales, coefficients, system, deviation, references })
    }

    /// Studentised distance of `values` (m) from what their `covariates` (m, c) make expect.
    ///
    /// # Panics
    /// When shapes differ.
    pub fn apply(&self, values: ArrayView1<'_, f64>, covariates: ArrayView2<'_, f64>) -> Array1<f64> {
        let design = design(covariates, &self.means, &self.scales);
        let errors = &values - &matvec(design.view(), self.coefficients.view());
        let leverages = leverages(&self.system, &design);
        errors
            .iter()
            .zip(&leverages)
            .map(|(e, leverage)| e / (self.deviation * (1.0 + leverage).sqrt()))
            .collect()
    }
}

/// Covariates in units of their deviation, behind a column of ones, (n, c + 1).
fn design(covariates: ArrayView2<'_, f64>, means: &Array1<f64>, scales: &Array1<f64>) -> Array2<f64> {
    Array2::from_shape_fn((covariates.nrows(), covariates.ncols() + 1), |(i, j)| match j {
        0 => 1.0,
        j => (covariates[[i, j - 1]] - means[j - 1]) / scales[j - 1],
    })
}

/// `x^T (X^T X)^-1 x` of each row of a design.
fn leverages(system: &Cholesky<f64>, design: &Array2<f64>) -> Array1<f64> {
    let mut solved = design.t().as_standard_layout().into_owned();
    system.solve_in_place(solved.view_mut());
    (0..design.nrows()).map(|i| (0..design.ncols()).map(|j| design[[i, j]] * solved[[j, i]]).sum()).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    #[test]
    fn what_the_covariates_explain_is_taken_away() {
        let n = 400;
        let covariates: Array2<f64> = Array2::random_using((n, 2), StandardNormal, &mut Seed::new(1).rng());
        let noise: Array2<f64> = Array2::random_using((n, 1), StandardNormal, &mut Seed::new(2).rng());
        let values = Array1::from_shape_fn(n, |i| {
            5.0 + 3.0 * covariates[[i, 0]] - covariates[[i, 1]] + 0.5 * noise[[i, 0]]
        });
        let standard = Standard::of(values.view(), covariates.view()).unwrap();
        let mean = standard.references.sum() / n as f64;
        let square = standard.references.iter().map(|z| z * z).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.05, "{mean} {square}");
        // A value two units above what is usual is four deviations away, near the middle or not.
        for at in [0.0, 1.5] {
            let covariates = Array2::from_elem((1, 2), at);
            let z = standard.apply(Array1::from_elem(1, 5.0 + 2.0 * at + 2.0).view(), covariates.view())[0];
            assert!((z - 4.0).abs() < 0.4, "{z}");
        }
    }

    #[test]
    fn references_are_as_if_left_out() {
        let n = 30;
        let covariates: Array2<f64> = Array2::random_using((n, 3), StandardNormal, &mut Seed::new(3).rng());
        let values = covariates.map_axis(Axis(1), |row| row[0] + row[1] * row[2]);
        let all = Standard::of(values.view(), covariates.view()).unwrap();
        let keep: Vec<usize> = (1..n).collect();
        let others =
            Standard::of(values.select(Axis(0), &keep).view(), covariates.select(Axis(0), &keep).view())
                .unwrap();
        let left_out =
            others.apply(values.select(Axis(0), &[0]).view(), covariates.select(Axis(0), &[0]).view())[0];
        // The error's deviation is that with all of them, so the two agree to about one in n.
        assert!((left_out - all.references[0]).abs() < 0.2 * left_out.abs().max(0.5), "{left_out}");
    }
}
