//! Conjugate gradients for a positive definite matrix that is only known by its products.

use crate::reduce;

/// When an iteration ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    /// Residual, relative to the right-hand side, at which the solution is good enough.
    pub tolerance: f64,
    /// Most steps.
    pub steps: usize,
}

/// Moves `solution` (n) towards `A x = target`, and says how many steps were taken.
///
/// `apply(x, out)` writes `A x` into `out`, for a symmetric positive definite A of order n.
///
/// # Panics
/// When target and solution are not equally long.
///
/// ```
/// use palimpsest_numerics::iterative::{Stop, conjugate_gradients};
///
/// let apply = |x: &[f64], out: &mut [f64]| {
///     out[0] = 4.0 * x[0] + x[1];
///     out[1] = x[0] + 3.0 * x[1];
/// };
/// let mut x = [0.0, 0.0];
/// let steps = conjugate_gradients(apply, &[1.0, 2.0], &mut x, Stop { tolerance: 1e-12, steps: 10 });
/// assert!(steps <= 3 && (x[0] - 1.0 / 11.0).abs() < 1e-12 && (x[1] - 7.0 / 11.0).abs() < 1e-12);
/// ```
///
/// # Source
/// Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems (1952).
#[track_caller]
pub fn conjugate_gradients(
    mut apply: impl FnMut(&[f64], &mut [f64]),
    target: &[f64],
    solution: &mut [f64],
    stop: Stop,
) -> usize {
    assert_eq!(target.len(), solution.len(), "conjugate gradients: right-hand side and solution");
    let mut product = vec![0.0; solution.len()];
    apply(solution, &mut product);
    let mut residual: Vec<f64> = target.iter().zip(&product).map(|(t, p)| t - p).collect();
    let mut search = residual.clone();
    let mut squares = reduce::sum_squares(&residual);
    let enough = stop.tolerance * stop.tolerance * reduce::sum_squares(target);
    for step in 0..stop.steps {
        if squares <= enough {
            return step;
        }
        apply(&search, &mut product);
        let length = squares / reduce::inner(&search, &product);
        for (((v, s), r), p) in solution.iter_mut().zip(&search).zip(&mut residual).zip(&product) {
            *v += length * s;
            *r -= length * p;
        }
        let former = std::mem::replace(&mut squares, reduce::sum_squares(&residual));
        search.iter_mut().zip(&residual).for_each(|(s, r)| *s = r + squares / former * *s);
    }
    stop.steps
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView1, Axis};
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use proptest::prelude::*;

    use super::*;
    use crate::factor::Cholesky;
    use crate::gemm::{Parallelism, matmul, matvec};
    use crate::seed::Seed;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn the_solution_is_that_of_cholesky(order in 1_usize..30, seed: u64) {
            let draw = |rows, cols, seed| -> Array2<f64> {
                Array2::random_using((rows, cols), StandardNormal, &mut Seed::new(seed).rng())
            };
            let b = draw(order, order + 3, seed);
            let mut a = matmul(b.view(), b.t(), Parallelism::Sequential);
            a.diag_mut().map_inplace(|d| *d += 0.5);
            let target = draw(order, 1, seed ^ 1);
            let mut x = draw(order, 1, seed ^ 2).index_axis_move(Axis(1), 0).to_vec();
            let apply = |x: &[f64], out: &mut [f64]| {
                out.copy_from_slice(matvec(a.view(), ArrayView1::from(x)).as_slice().unwrap());
            };
            let stop = Stop { tolerance: 1e-11, steps: 20 * order + 20 };
            let steps = conjugate_gradients(apply, target.as_slice().unwrap(), &mut x, stop);
            prop_assert!(steps < stop.steps, "{steps}");
            let mut cholesky = Cholesky::with_order(order, Parallelism::Sequential);
            cholesky.matrix_mut().assign(&a);
            cholesky.factor().unwrap();
            let mut expected = target.clone();
            cholesky.solve_in_place(expected.view_mut());
            prop_assert!(x.iter().zip(&expected).all(|(x, e)| (x - e).abs() < 1e-6 * (1.0 + e.abs())));
        }
    }

    #[test]
    fn the_limit_of_steps_ends_it_and_a_solution_stays() {
        let apply = |x: &[f64], out: &mut [f64]| {
            for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
                *out = (i + 1) as f64 * x;
            }
        };
        let mut x = vec![0.0; 50];
        let stop = Stop { tolerance: 0.0, steps: 3 };
        assert_eq!(conjugate_gradients(apply, &[1.0; 50], &mut x, stop), 3);
        let mut exact: Vec<f64> = (1..=50).map(|i| 1.0 / f64::from(i)).collect();
        let before = exact.clone();
        let stop = Stop { tolerance: 1e-12, steps: 3 };
        assert_eq!(conjugate_gradients(apply, &[1.0; 50], &mut exact, stop), 0);
        assert_eq!(exact, before);
    }
}
