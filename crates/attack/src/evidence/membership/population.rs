//! The metric of a population: the shrunk second moments of records that were not trained on.

use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_numerics::factor::{Cholesky, FactorError};
use palimpsest_numerics::gemm::{Parallelism, matmul, symmetric};
use palimpsest_numerics::reduce;

/// `S = R^T R / n + e I` of references R (n, d), with `e` a multiple of the mean second moment of a value.
///
/// It is never written down: by the matrix inversion lemma products with its inverse need a system of order n only.
///
/// # Source
/// Ledoit and Wolf (2004) for shrinking second moments to a multiple of the identity; the multiple is fixed here.
pub struct Population {
    references: Array2<f64>,
    ridge: f64,
    system: Cholesky<f64>,
    parallelism: Parallelism,
}

impl Population {
    /// The metric of `references` (n, d) with `shrinkage` > 0 times their mean second moment on the diagonal.
    ///
    /// # Errors
    /// [`FactorError`] when references are all zero or not finite.
    ///
    /// # Panics
    /// When there are no references.
    pub fn of(
        references: ArrayView2<'_, f64>,
        shrinkage: f64,
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        let (n, d) = references.dim();
        assert!(n > 0 && d > 0, "a population of {n} records of {d} values");
        let ridge = shrinkage * reduce::squared_norm(references) / (n * d) as f64;
        let mut system = Cholesky::with_order(n, parallelism);
        symmetric(references, system.matrix_mut(), parallelism);
        system.matrix_mut().diag_mut().mapv_inplace(|value| value + n as f64 * ridge);
        system.factor()?;
        Ok(Self { references: references.to_owned(), ridge, system, parallelism })
    }

    /// Number of references.
    pub fn size(&self) -> usize {
        self.references.nrows()
    }

    /// What is on the diagonal, > 0.
    pub fn ridge(&self) -> f64 {
        self.ridge
    }

    /// `S^-1 x` for each row of `x` (m, d), as rows.
    ///
    /// # Panics
    /// When rows have another length than references.
    #[track_caller]
    pub fn inverse_times(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        // (n, m) in standard layout: what the solver wants.
        let mut inner = matmul(self.references.view(), x.t(), self.parallelism);
        self.system.solve_in_place(inner.view_mut());
        let explained = matmul(inner.t(), self.references.view(), self.parallelism);
        (&x - &explained) / self.ridge
    }
}

/// Inner products of the rows of `a` and `b`, (m).
///
/// # Panics
/// When the shapes differ.
#[track_caller]
pub fn row_products(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array1<f64> {
    assert_eq!(a.dim(), b.dim(), "row_products: {:?} and {:?}", a.dim(), b.dim());
    let (a, b) = (a.as_standard_layout(), b.as_standard_layout());
    a.rows()
        .into_iter()
        .zip(b.rows())
        .map(|(a, b)| {
            reduce::inner(
                a.to_slice().expect("rows are contiguous"),
                b.to_slice().expect("rows are contiguous"),
            )
        })
        .collect()
}

/// `x^T S^-1 x` of a reference when it is left out of the second moments, from the same with it, `total`, and their number n.
///
/// # Source
/// Sherman and Morrison (1950). In exact arithmetic `total < n`; rounding is kept from turning the sign.
pub fn left_out(total: f64, n: usize) -> f64 {
    let n = n as f64;
    total * n / (n - total).max(n * 1e-9)
}

/// What a span explains of a left-out reference, from what it explains of it with it, `explained <= total`.
///
/// For `A = V S^-1 V^T + P` and `b = V S^-1 x` the explained part is `b^T A^-1 b`; leaving x out multiplies b by `n / (n - total)`
/// and adds `b b^T / (n - total)` to A.
pub fn explained_left_out(explained: f64, total: f64, n: usize) -> f64 {
    let n = n as f64;
    let rest = (n - total).max(n * 1e-9);
    (n / rest).powi(2) * explained / (1.0 + explained / rest)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, s};
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn normal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        Array2::random_using((rows, columns), StandardNormal, &mut Seed::new(seed).rng())
    }

    /// `S^-1 x` with the matrix written down.
    fn slow(references: &Array2<f64>, ridge: f64, n: usize, x: &Array2<f64>) -> Array2<f64> {
        let d = references.ncols();
        let mut system = Cholesky::with_order(d, Parallelism::Sequential);
        let moments = matmul(references.t(), references.view(), Parallelism::Sequential) / n as f64;
        system.matrix_mut().assign(&(moments + Array2::<f64>::eye(d) * ridge));
        system.factor().unwrap();
        let mut solved = x.t().as_standard_layout().into_owned();
        system.solve_in_place(solved.view_mut());
        solved.reversed_axes()
    }

    #[test]
    fn products_with_the_inverse_are_those_of_the_matrix_written_down() {
        for (n, d) in [(30, 12), (9, 20)] {
            let (references, x) = (normal(n, d, 1), normal(4, d, 2));
            let population = Population::of(references.view(), 0.3, Parallelism::Sequential).unwrap();
            let expected = slow(&references, population.ridge(), n, &x);
            let found = population.inverse_times(x.view());
            assert!((&found - &expected).iter().all(|e| e.abs() < 1e-9), "{n} {d}");
        }
    }

    #[test]
    fn leaving_one_out_by_formula_is_leaving_it_out() {
        let (n, d, r) = (25, 14, 5);
        let (references, span) = (normal(n, d, 3), normal(r, d, 4));
        let population = Population::of(references.view(), 0.5, Parallelism::Sequential).unwrap();
        let explained = |inverse_span: &Array2<f64>, x: ArrayView2<'_, f64>| {
            let mut system = Cholesky::with_order(r, Parallelism::Sequential);
            let a = matmul(span.view(), inverse_span.t(), Parallelism::Sequential) + Array2::<f64>::eye(r);
            system.matrix_mut().assign(&a);
            system.factor().unwrap();
            let b = matmul(inverse_span.view(), x.t(), Parallelism::Sequential);
            let mut solved = b.clone();
            system.solve_in_place(solved.view_mut());
            (&b * &solved).sum()
        };
        let all = population.inverse_times(span.view());
        for i in [0, 7, 24] {
            let x = references.slice(s![i..=i, ..]).to_owned();
            let total = row_products(population.inverse_times(x.view()).view(), x.view())[0];
            let keep: Vec<usize> = (0..n).filter(|&j| j != i).collect();
            let others = references.select(Axis(0), &keep);
            let slow_total = (&slow(&others, population.ridge(), n, &x) * &x).sum();
            assert!((left_out(total, n) - slow_total).abs() < 1e-9 * slow_total, "{i}");
            let slow_explained = explained(&slow(&others, population.ridge(), n, &span), x.view());
            let fast = explained_left_out(explained(&all, x.view()), total, n);
            assert!((fast - slow_explained).abs() < 1e-9 * slow_explained.abs(), "{fast} {slow_explained}");
        }
    }
}
