//! Numbers on a tape and what can be done with them.

use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

use ndarray::{ArcArray2, Array2, ArrayView2};
use palimpsest_numerics::Real;

use crate::{
    Tape,
    op::{Binary, Op, Unary},
};

/// An array (rows, cols) on a [`Tape`]; scalars are (1, 1).
///
/// It is a tape reference and an index: copy it freely. `+`, `-`, `*` (element by element) and unary `-` work on
/// arrays of equal shapes. Every operation of two variables panics when they live on different tapes.
///
/// ```
/// use ndarray::array;
/// use palimpsest_autograd::Tape;
///
/// let tape = Tape::new();
/// let (a, b) = (tape.var(array![[1.0, 2.0]]), tape.var(array![[3.0, 4.0]]));
/// assert_eq!((a * b - a).value(), array![[2.0, 6.0]]);
/// assert_eq!(a.matmul(b.t()).item(), 11.0);
/// ```
#[derive(Clone, Copy)]
pub struct Var<'t, T: Real> {
    pub(crate) tape: &'t Tape<T>,
    pub(crate) index: usize,
}

impl<T: Real> Tape<T> {
    /// Puts an array (rows, cols) on the tape: a variable or a constant, the tape makes no difference.
    ///
    /// An `Array2` is moved, an `ArcArray2` shared; neither is copied.
    pub fn var(&self, value: impl Into<ArcArray2<T>>) -> Var<'_, T> {
        self.put(Op::Leaf, value.into())
    }

    /// Puts a number on the tape, as an array (1, 1).
    pub fn scalar(&self, value: T) -> Var<'_, T> {
        self.var(Array2::from_elem((1, 1), value))
    }

    pub(crate) fn put(&self, op: Op<T>, value: ArcArray2<T>) -> Var<'_, T> {
        Var { tape: self, index: self.push(op, value) }
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The tape this variable lives on.
    pub fn tape(self) -> &'t Tape<T> {
        self.tape
    }

    /// Shape (rows, cols).
    pub fn shape(self) -> (usize, usize) {
        self.with_value(|v| v.dim())
    }

    /// A copy of the value, (rows, cols).
    pub fn value(self) -> Array2<T> {
        self.with_value(|v| v.to_owned())
    }

    /// Reads the value, (rows, cols), without copying it.
    pub fn with_value<R>(self, read: impl FnOnce(ArrayView2<'_, T>) -> R) -> R {
        read(self.tape.node(self.index).value.view())
    }

    /// The number held by an array (1, 1).
    ///
    /// # Panics
    /// When the shape is another.
    #[track_caller]
    pub fn item(self) -> T {
        assert_eq!(self.shape(), (1, 1), "item: shape is {:?}, needed (1, 1)", self.shape());
        self.with_value(|v| v[[0, 0]])
    }

    /// Matrix product: (m, k) by (k, n) to (m, n). Transpose with [`t`](Self::t), at no cost.
    ///
    /// # Panics
    /// When the inner dimensions differ.
    #[track_caller]
    pub fn matmul(self, right: Self) -> Self {
        self.binary(Binary::Matmul, right)
    }

    /// Transpose: (m, n) to (n, m), sharing the buffer.
    pub fn t(self) -> Self {
        self.unary(Unary::Transpose)
    }

    /// `factor` times each element, the factor being a constant.
    pub fn scale(self, factor: T) -> Self {
        self.unary(Unary::Scale(factor))
    }

    /// Sum of all elements, (1, 1).
    pub fn sum(self) -> Self {
        self.sum_to((1, 1))
    }

    /// Sum of each row: (m, n) to (m, 1).
    pub fn sum_rows(self) -> Self {
        self.sum_to((self.shape().0, 1))
    }

    /// Sum of each column: (m, n) to (1, n).
    pub fn sum_cols(self) -> Self {
        self.sum_to((1, self.shape().1))
    }

    /// Repeats an array (1, 1), (1, n) or (m, 1) to (m, n).
    ///
    /// # Panics
    /// When a side is neither 1 nor already right.
    #[track_caller]
    pub fn broadcast_to(self, shape: (usize, usize)) -> Self {
        if self.shape() == shape { self } else { self.unary(Unary::BroadcastTo(shape)) }
    }

    /// Sum of the products of corresponding elements, (1, 1).
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn inner(self, other: Self) -> Self {
        (self * other).sum()
    }

    /// Sum of the squares of all elements, (1, 1).
    pub fn square_norm(self) -> Self {
        self.unary(Unary::SquareNorm)
    }

    /// `log(sum_j exp(x_ij))` of each row, without overflow: (m, n) to (m, 1).
    pub fn log_sum_exp_rows(self) -> Self {
        self.unary(Unary::LogSumExpRows)
    }

    /// 1 where positive, else 0; its derivative is zero everywhere.
    pub fn step(self) -> Self {
        self.unary(Unary::Step)
    }

    /// `max(z, 0)`, whose derivative is [`step`](Self::step) (0 at the breakpoint).
    pub fn relu(self) -> Self {
        self.unary(Unary::Relu)
    }

    /// `max(z, 0)`, whose derivative is *declared* to be `sigmoid(alpha z)`, and the derivative of that
    /// `alpha s (1 - s)`, and so on.
    ///
    /// # Panics
    /// When `alpha` is not positive.
    ///
    /// # Source
    /// Haim et al. 2022 (arXiv 2206.07758): a hard gate gives a stationarity objective no useful slope.
    #[track_caller]
    pub fn relu_gated(self, alpha: T) -> Self {
        assert!(alpha > T::zero(), "relu_gated: alpha must be positive, got {alpha}");
        self.unary(Unary::ReluGated { alpha })
    }

    /// `1 / (1 + exp(-z))`, saturating.
    pub fn sigmoid(self) -> Self {
        self.unary(Unary::Sigmoid)
    }

    /// `log(1 + exp(beta z)) / beta`, without overflow; its derivative is `sigmoid(beta z)`.
    ///
    /// # Panics
    /// When `beta` is not positive.
    #[track_caller]
    pub fn softplus(self, beta: T) -> Self {
        assert!(beta > T::zero(), "softplus: beta must be positive, got {beta}");
        self.unary(Unary::Softplus { beta })
    }

    /// `exp` of each element.
    pub fn exp(self) -> Self {
        self.unary(Unary::Exp)
    }

    /// Natural logarithm of each element; NaN below zero.
    pub fn log(self) -> Self {
        self.unary(Unary::Log)
    }

    /// Square root of each element; NaN below zero.
    pub fn sqrt(self) -> Self {
        self.unary(Unary::Sqrt)
    }

    /// `1 / z` of each element.
    pub fn reciprocal(self) -> Self {
        self.unary(Unary::Reciprocal)
    }

    pub(crate) fn sum_to(self, shape: (usize, usize)) -> Self {
        if self.shape() == shape { self } else { self.unary(Unary::SumTo(shape)) }
    }

    #[track_caller]
    fn unary(self, op: Unary<T>) -> Self {
        let value = op.eval(&self.tape.node(self.index).value);
        self.tape.put(Op::Unary(op, self.index), value)
    }

    #[track_caller]
    fn binary(self, op: Binary, right: Self) -> Self {
        assert!(std::ptr::eq(self.tape, right.tape), "{op:?}: the two variables live on different tapes");
        let value = op.eval(&self.tape.node(self.index).value, &self.tape.node(right.index).value);
        self.tape.put(Op::Binary(op, self.index, right.index), value)
    }
}

impl<'t, T: Real> Add for Var<'t, T> {
    type Output = Self;

    #[track_caller]
    fn add(self, right: Self) -> Self {
        self.binary(Binary::Add, right)
    }
}

impl<'t, T: Real> Sub for Var<'t, T> {
    type Output = Self;

    #[track_caller]
    fn sub(self, right: Self) -> Self {
        self.binary(Binary::Sub, right)
    }
}

/// Element by element; the matrix product is [`Var::matmul`].
impl<'t, T: Real> Mul for Var<'t, T> {
    type Output = Self;

    #[track_caller]
    fn mul(self, right: Self) -> Self {
        self.binary(Binary::Mul, right)
    }
}

impl<'t, T: Real> Neg for Var<'t, T> {
    type Output = Self;

    fn neg(self) -> Self {
        self.scale(-T::one())
    }
}

impl<'t, T: Real> fmt::Debug for Var<'t, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived form would print the whole tape.
        f.debug_struct("Var").field("index", &self.index).field("value", &self.value()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use ndarray::Array2;

    use super::*;

    fn message<R>(mistake: impl FnOnce() -> R) -> String {
        *catch_unwind(AssertUnwindSafe(mistake)).err().unwrap().downcast::<String>().unwrap()
    }

    #[test]
    fn mistakes_are_named_with_both_shapes() {
        let (tape, other) = (Tape::<f64>::new(), Tape::new());
        let a = tape.var(Array2::zeros((2, 3)));
        let b = tape.var(Array2::zeros((2, 1)));
        for (expected, said) in [
            ("Add: left is (2, 3), right is (2, 1)", message(|| a + b)),
            ("Sub: left is (2, 3), right is (2, 1)", message(|| a - b)),
            ("Mul: left is (2, 1), right is (2, 3)", message(|| b * a)),
            ("Matmul: left is (2, 3), right is (2, 1)", message(|| a.matmul(b))),
            ("broadcast_to: (2, 3) does not stretch to (4, 3)", message(|| a.broadcast_to((4, 3)))),
            ("item: shape is (2, 3)", message(|| a.item())),
            ("different tapes", message(|| a + other.var(Array2::zeros((2, 3))))),
        ] {
            assert!(said.contains(expected), "{said:?} does not say {expected:?}");
        }
    }

    #[test]
    fn parameters_are_checked() {
        let tape = Tape::new();
        let z = tape.scalar(1.0_f32);
        assert!(message(|| z.softplus(0.0)).contains("beta must be positive, got 0"));
        assert!(message(|| z.relu_gated(f32::NAN)).contains("alpha must be positive, got NaN"));
    }
}
