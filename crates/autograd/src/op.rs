//! The operations and what they compute. What they differentiate to is in `vjp`.

use ndarray::{ArcArray2, Array2};
use palimpsest_numerics::{
    Real,
    elementwise::{relu_step, softplus_slope},
    gemm::{Parallelism, matmul},
    reduce,
};

/// How a value on the tape came to be: its operation and the indices of its inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op<T> {
    Leaf,
    Unary(Unary<T>, usize),
    Binary(Binary, usize, usize),
}

/// Operations of one array x (m, n).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unary<T> {
    Transpose,
    Scale(T),
    /// From (m, n) to this shape, each side of which is the same or 1.
    SumTo((usize, usize)),
    /// To this shape, from one each side of which is the same or 1.
    BroadcastTo((usize, usize)),
    SquareNorm,
    LogSumExpRows,
    Step,
    Relu,
    ReluGated {
        alpha: T,
    },
    Sigmoid,
    Softplus {
        beta: T,
    },
    Exp,
    Log,
    Sqrt,
    Reciprocal,
}

/// Operations of two arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Matmul,
}

impl<T: Real> Unary<T> {
    #[track_caller]
    pub(crate) fn eval(self, x: &ArcArray2<T>) -> ArcArray2<T> {
        let value = match self {
            Self::Transpose => return x.clone().reversed_axes(),
            Self::Scale(c) => x.mapv(|v| c * v),
            Self::SumTo(shape) => sum_to(x, shape),
            Self::BroadcastTo(shape) => match x.broadcast(shape) {
                Some(view) => view.to_owned(),
                None => panic!(
                    "broadcast_to: {:?} does not stretch to {shape:?}; each side must be the same or 1",
                    x.dim()
                ),
            },
            Self::SquareNorm => Array2::from_elem((1, 1), T::of(reduce::squared_norm(x.view()))),
            Self::LogSumExpRows => log_sum_exp_rows(x),
            Self::Step => x.mapv(|v| relu_step(v).1),
            Self::Relu | Self::ReluGated { .. } => x.mapv(|v| relu_step(v).0),
            Self::Sigmoid => x.mapv(|v| v.saturating_sigmoid()),
            Self::Softplus { beta } => x.mapv(|v| softplus_slope(v, beta).0),
            Self::Exp => x.mapv(|v| v.exp()),
            Self::Log => x.mapv(|v| v.ln()),
            Self::Sqrt => x.mapv(|v| v.sqrt()),
            Self::Reciprocal => x.mapv(|v| v.recip()),
        };
        value.into_shared()
    }
}

impl Binary {
    #[track_caller]
    pub(crate) fn eval<T: Real>(self, a: &ArcArray2<T>, b: &ArcArray2<T>) -> ArcArray2<T> {
        let fits = match self {
            Self::Matmul => a.ncols() == b.nrows(),
            _ => a.dim() == b.dim(),
        };
        assert!(fits, "{self:?}: left is {:?}, right is {:?} (rows, cols)", a.dim(), b.dim());
        let value = match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Matmul => matmul(a.view(), b.view(), Parallelism::Sequential),
        };
        value.into_shared()
    }
}

/// Sums over contiguous slices in index order, so that the layout of `x` does not change a bit.
fn sum_to<T: Real>(x: &ArcArray2<T>, (rows, cols): (usize, usize)) -> Array2<T> {
    let sum = |values: &[T]| T::of(reduce::sum(values));
    let by_row = if rows == 1 && cols != 1 { x.t() } else { x.view() };
    let by_row = by_row.as_standard_layout();
    if (rows, cols) == (1, 1) {
        return Array2::from_elem((1, 1), sum(by_row.as_slice().expect("standard layout is contiguous")));
    }
    let sums = by_row.rows().into_iter().map(|r| sum(r.as_slice().expect("standard layout is contiguous")));
    Array2::from_shape_vec((rows, cols), sums.collect()).expect("one sum for each row or column kept")
}

fn log_sum_exp_rows<T: Real>(x: &ArcArray2<T>) -> Array2<T> {
    Array2::from_shape_fn((x.nrows(), 1), |(i, _)| {
        let largest = x.row(i).fold(T::neg_infinity(), |a, &b| a.max(b));
        // Subtracting an infinity from itself would make a NaN of a sum that has a value.
        let shift = if largest.is_finite() { largest } else { T::zero() };
        let terms: Vec<T> = x.row(i).iter().map(|&v| (v - shift).exp()).collect();
        shift + T::of(reduce::sum(&terms)).ln()
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;

    fn array_of(shape: (usize, usize), values: &[f64]) -> ArcArray2<f64> {
        Array2::from_shape_fn(shape, |(i, j)| values[(i * shape.1 + j) % values.len()]).into_shared()
    }

    proptest! {
        #[test]
        fn sums_and_broadcasts_agree_with_loops(
            m in 0usize..5, n in 0usize..5, values in prop::collection::vec(-2.0..2.0_f64, 25),
        ) {
            // A transposed array on purpose: its memory order is not its index order.
            let x = array_of((n, m), &values).reversed_axes();
            let mut total = [[0.0; 6]; 6]; // row i, column j; 5 holds the sums
            for i in 0..m {
                for j in 0..n {
                    for cell in [(i, 5), (5, j), (5, 5)] {
                        total[cell.0][cell.1] += x[[i, j]];
                    }
                }
            }
            let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
            let (all, rows, cols) =
                (sum_to(&x, (1, 1)), sum_to(&x, (m, 1)), sum_to(&x, (1, n)));
            prop_assert!(close(all[[0, 0]], total[5][5]));
            prop_assert!((0..m).all(|i| close(rows[[i, 0]], total[i][5])));
            prop_assert!((0..n).all(|j| close(cols[[0, j]], total[5][j])));

            for from in [(1, 1), (m, 1), (1, n)] {
                let small = array_of(from, &values);
                let wide = Unary::BroadcastTo((m, n)).eval(&small);
                prop_assert_eq!(wide.dim(), (m, n));
                prop_assert!(wide.indexed_iter().all(|((i, j), &v)| v == small[[i % from.0, j % from.1]]));
            }
        }

        #[test]
        fn log_sum_exp_agrees_with_its_definition(
            m in 1usize..4, n in 1usize..5, values in prop::collection::vec(-3.0..3.0_f64, 20),
        ) {
            let x = array_of((m, n), &values);
            let y = Unary::LogSumExpRows.eval(&x);
            for i in 0..m {
                let plain: f64 = x.row(i).iter().map(|v| v.exp()).sum();
                prop_assert!((y[[i, 0]] - plain.ln()).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn log_sum_exp_survives_its_extremes() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let x = array![[1e3, 1e3], [-1e3, -1e3], [-inf, -inf], [inf, 0.0], [inf, nan]].into_shared();
        let y = Unary::LogSumExpRows.eval(&x);
        assert!((y[[0, 0]] - (1e3 + 2.0_f64.ln())).abs() < 1e-12);
        assert!((y[[1, 0]] - (-1e3 + 2.0_f64.ln())).abs() < 1e-12);
        assert_eq!((y[[2, 0]], y[[3, 0]]), (-inf, inf));
        assert!(y[[4, 0]].is_nan());
    }

    #[test]
    fn elementwise_values_agree_with_the_standard_library() {
        for v in [-1.5_f64, -0.25, 0.25, 1.5] {
            let of = |op: Unary<f64>| op.eval(&Array2::from_elem((1, 1), v).into_shared())[[0, 0]];
            let close =
                |op: Unary<f64>, expected: f64| assert!((of(op) - expected).abs() < 1e-14, "{op:?} at {v}");
            let positive = if v > 0.0 { v } else { 0.0 };
            close(Unary::Scale(-2.0), -2.0 * v);
            close(Unary::Step, if v > 0.0 { 1.0 } else { 0.0 });
            close(Unary::Relu, positive);
            close(Unary::ReluGated { alpha: 3.0 }, positive);
            close(Unary::Sigmoid, 1.0 / (1.0 + (-v).exp()));
            close(Unary::Softplus { beta: 2.0 }, (2.0 * v).exp().ln_1p() / 2.0);
            close(Unary::Exp, v.exp());
            close(Unary::Reciprocal, 1.0 / v);
            close(Unary::SquareNorm, v * v);
            if v > 0.0 {
                close(Unary::Log, v.ln());
                close(Unary::Sqrt, v.sqrt());
            }
        }
    }
}
