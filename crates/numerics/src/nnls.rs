//! Non-negative least squares by an active set.
//!
//! Minimises `x^T K x / 2 - b^T x` over `x >= 0` for a symmetric positive semidefinite `K`; with `K = A^T A` and
//! `b = A^T t` that is `||A x - t||^2`. Variables swap between the zero set and the free set in blocks, and one by
//! one when blocks stop helping, which makes the method finite for positive definite `K`.
//!
//! # Source
//! Portugal, Judice, Vicente, "A comparison of block pivoting and interior-point algorithms for linear least
//! squares problems with nonnegative variables", Math. Comp. 63 (1994), the hybrid algorithm.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::factor::{Cholesky, FactorError};
use crate::gemm::{Parallelism, matvec};

/// A solution of [`nnls`] with the evidence that it is one.
#[derive(Clone, Debug)]
pub struct NnlsSolution {
    /// The minimiser, every entry >= 0.
    pub x: Array1<f64>,
    /// Largest violation of the KKT conditions, relative to the largest `|b|`: gradient below zero on the zero
    /// set, or away from zero on the free set.
    pub kkt_violation: f64,
    /// Linear systems solved.
    pub iterations: usize,
}

/// Why [`nnls`] gave no solution.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnlsError {
    /// A free block could not be factorised even with the ridge.
    #[error("non-negative least squares: {0}")]
    Factor(#[from] FactorError),
    /// The limit on pivoting steps was reached.
    #[error("non-negative least squares did not settle within {iterations} linear systems; is K symmetric?")]
    IterationLimit {
        /// Systems solved.
        iterations: usize,
    },
}

/// Minimises `x^T K x / 2 - b^T x` over `x >= 0`: `k` (n, n) symmetric positive semidefinite, `b` (n).
///
/// A ridge of 1e-12 of the mean diagonal is added so that repeated columns do not stop it.
///
/// # Errors
/// [`NnlsError`]; NaN input ends in [`NnlsError::Factor`] or [`NnlsError::IterationLimit`].
///
/// # Panics
/// When the shapes differ.
///
/// ```
/// use ndarray::array;
/// let k = array![[2.0, 0.0], [0.0, 1.0]];
/// let solution = palimpsest_numerics::nnls::nnls(k.view(), array![4.0, -1.0].view())?;
/// assert!((solution.x[0] - 2.0).abs() < 1e-9 && solution.x[1] == 0.0);
/// # Ok::<(), palimpsest_numerics::nnls::NnlsError>(())
/// ```
#[track_caller]
pub fn nnls(k: ArrayView2<'_, f64>, b: ArrayView1<'_, f64>) -> Result<NnlsSolution, NnlsError> {
    let n = b.len();
    assert_eq!(k.dim(), (n, n), "nnls: K is {:?}, b has {n} entries", k.dim());
    let mean_diagonal = k.diag().iter().map(|d| d.abs()).sum::<f64>() / n.max(1) as f64;
    let ridge = 1e-12 * mean_diagonal.max(f64::MIN_POSITIVE);
    let tolerance = 1e-11 * b.iter().fold(0.0_f64, |a, v| a.max(v.abs())).max(f64::MIN_POSITIVE);
    let limit = 100 + 20 * n;
    // Most multipliers of our problems are positive: start with every variable free.
    let mut free = vec![true; n];
    let mut fewest = usize::MAX;
    let mut block_tries = 10;
    for iterations in 1..=limit {
        let x = solve_on(k, b, &free, ridge)?;
        let gradient = matvec(k, x.view()) - b;
        let infeasible: Vec<usize> =
            (0..n).filter(|&i| if free[i] { x[i] < 0.0 } else { gradient[i] < -tolerance }).collect();
        let Some(&last) = infeasible.last() else {
            if x.iter().any(|v| v.is_nan()) {
                break;
            }
            return Ok(NnlsSolution { kkt_violation: violation(&x, &gradient, b), x, iterations });
        };
        if infeasible.len() < fewest {
            (fewest, block_tries) = (infeasible.len(), 10);
            infeasible.iter().for_each(|&i| free[i] = !free[i]);
        } else if block_tries > 0 {
            block_tries -= 1;
            infeasible.iter().for_each(|&i| free[i] = !free[i]);
        } else {
            // Murty's rule: the last infeasible variable alone.
            free[last] = !free[last];
        }
    }
    Err(NnlsError::IterationLimit { iterations: limit })
}

fn solve_on(
    k: ArrayView2<'_, f64>,
    b: ArrayView1<'_, f64>,
    free: &[bool],
    ridge: f64,
) -> Result<Array1<f64>, FactorError> {
    let index: Vec<usize> = (0..b.len()).filter(|&i| free[i]).collect();
    let order = index.len();
    let mut x = Array1::zeros(b.len());
    if order == 0 {
        return Ok(x);
    }
    let mut cholesky = Cholesky::with_order(order, Parallelism::Sequential);
    let mut block = cholesky.matrix_mut();
    for (i, &row) in index.iter().enumerate() {
        for (j, &col) in index.iter().enumerate() {
            block[[i, j]] = k[[row, col]];
        }
        block[[i, i]] += ridge;
    }
    cholesky.factor()?;
    let mut rhs = Array2::from_shape_fn((order, 1), |(i, _)| b[index[i]]);
    cholesky.solve_in_place(rhs.view_mut());
    for (i, &row) in index.iter().enumerate() {
        x[row] = rhs[[i, 0]];
    }
    Ok(x)
}

fn violation(x: &Array1<f64>, gradient: &Array1<f64>, b: ArrayView1<'_, f64>) -> f64 {
    let scale = b.iter().fold(f64::MIN_POSITIVE, |a, v| a.max(v.abs()));
    x.iter().zip(gradient).map(|(&x, &g)| if x > 0.0 { g.abs() } else { (-g).max(0.0) }).fold(0.0, f64::max)
        / scale
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use proptest::prelude::*;

    use super::*;
    use crate::gemm::matmul;
    use crate::seed::Seed;

    fn problem(rows: usize, n: usize, seed: u64) -> (Array2<f64>, Array1<f64>) {
        let a: Array2<f64> =
            Array2::random_using((rows, n), StandardNormal, &mut Seed::new(seed).named("a").rng());
        let t: Array2<f64> =
            Array2::random_using((rows, 1), StandardNormal, &mut Seed::new(seed).named("t").rng());
        let b = matmul(a.t(), t.view(), Parallelism::Sequential).column(0).to_owned();
        (matmul(a.t(), a.view(), Parallelism::Sequential), b)
    }

    /// Every subset of free variables in turn: the twin for up to a dozen variables.
    fn brute_force(k: &Array2<f64>, b: &Array1<f64>) -> f64 {
        let value = |x: &Array1<f64>| 0.5 * (x * &matvec(k.view(), x.view())).sum() - (x * b).sum();
        (0..1_usize << b.len())
            .filter_map(|set| {
                let free: Vec<bool> = (0..b.len()).map(|i| set >> i & 1 == 1).collect();
                let x = solve_on(k.view(), b.view(), &free, 1e-12).ok()?;
                x.iter().all(|&v| v >= 0.0).then(|| value(&x))
            })
            .fold(0.0, f64::min)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn finds_the_global_minimum(n in 1usize..9, extra in 0usize..10, seed: u64) {
            let (k, b) = problem(n + extra, n, seed);
            let solution = nnls(k.view(), b.view()).unwrap();
            prop_assert!(solution.x.iter().all(|&v| v >= 0.0));
            prop_assert!(solution.kkt_violation < 1e-6, "violation {}", solution.kkt_violation);
            let value = 0.5 * (&solution.x * &matvec(k.view(), solution.x.view())).sum() - (&solution.x * &b).sum();
            prop_assert!((value - brute_force(&k, &b)).abs() < 1e-6 * (1.0 + value.abs()));
        }
    }

    #[test]
    fn larger_and_rank_deficient_problems_settle() {
        for (rows, n) in [(300, 200), (40, 60)] {
            let (k, b) = problem(rows, n, 3);
            let solution = nnls(k.view(), b.view()).unwrap();
            assert!(solution.kkt_violation < 1e-5, "{rows} x {n}: {}", solution.kkt_violation);
        }
    }

    #[test]
    fn nan_is_an_error() {
        let (mut k, b) = problem(5, 4, 1);
        k[[1, 2]] = f64::NAN;
        k[[2, 1]] = f64::NAN;
        assert!(nnls(k.view(), b.view()).is_err());
    }
}
