//! The door for matrix products.
//!
//! [`gemm()`] computes `C <- alpha A B + beta C` on array views, [`symmetric`] the upper triangle of `C <- A A^T` for half
//! the work. A transpose is the view's own (`a.t()`), since a view carries its strides; nothing is copied. How many
//! threads work on one product is an argument, never ambient.
//!
//! The kernel is faer's, always called for one thread; products are cut over rows of `C` for several. Every number is
//! summed in the same order however `C` is cut, so the same bits come out for any number of threads. Nothing is allocated
//! but the kernel's packing memory, once a thread.
//!
//! This is the only module of the workspace with `unsafe` code: handing views to the kernel, which takes raw pointers.

use std::num::NonZeroUsize;

use faer::{Accum, MatMut, MatRef};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};

use crate::Real;

/// How many threads may work on one product or factorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Parallelism {
    /// The calling thread alone: what a restart inside a parallel loop wants.
    #[default]
    Sequential,
    /// Up to this many threads of the current rayon pool.
    Threads(NonZeroUsize),
}

impl Parallelism {
    /// `Sequential` for 0 or 1 threads, `Threads(n)` above.
    pub fn of_threads(threads: usize) -> Self {
        match NonZeroUsize::new(threads) {
            Some(n) if n.get() > 1 => Self::Threads(n),
            _ => Self::Sequential,
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Sequential => 1,
            Self::Threads(n) => n.get(),
        }
    }
}

/// `C <- alpha A B + beta C` with A (m, k), B (k, n), C (m, n), any strides.
///
/// With `beta` zero, C is not read, so its old contents (NaN included) do not matter.
///
/// # Panics
/// When the shapes do not chain; the message has all three.
///
/// ```
/// use ndarray::{array, Array2};
/// use palimpsest_numerics::gemm::{gemm, Parallelism};
/// let a = array![[1.0_f32, 2.0], [0.0, 1.0]];
/// let mut c = Array2::<f32>::ones((2, 2));
/// gemm(1.0, a.t(), a.view(), 2.0, c.view_mut(), Parallelism::Sequential);
/// assert_eq!(c, array![[3.0, 4.0], [4.0, 7.0]]);
/// ```
#[track_caller]
pub fn gemm<T: Real>(
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    c: ArrayViewMut2<'_, T>,
    parallelism: Parallelism,
) {
    let ((m, k), (k_b, n)) = (a.dim(), b.dim());
    assert!(
        k == k_b && c.dim() == (m, n),
        "gemm: A is {:?}, B is {:?}, C is {:?}; needed (m, k), (k, n), (m, n)",
        a.dim(),
        b.dim(),
        c.dim()
    );
    cut(alpha, a, b, beta, c, parallelism.count());
}

/// Products of fewer multiplications are not cut: small ones take other kernels, which sum in another order.
const LEAST_PIECE: usize = 1 << 20;
/// Rows of a piece, at least: a product of one row is a product of a vector.
const LEAST_ROWS: usize = 32;

fn cut<T: Real>(
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    c: ArrayViewMut2<'_, T>,
    threads: usize,
) {
    let (m, n) = c.dim();
    let half = m / 2;
    if threads < 2 || half < LEAST_ROWS || n < 2 || half * n * a.ncols() < LEAST_PIECE {
        return piece(alpha, a, b, beta, c);
    }
    let (a_top, a_bottom) = a.split_at(Axis(0), half);
    let (c_top, c_bottom) = c.split_at(Axis(0), half);
    rayon::join(
        || cut(alpha, a_top, b, beta, c_top, threads / 2),
        || cut(alpha, a_bottom, b, beta, c_bottom, threads - threads / 2),
    );
}

fn piece<T: Real>(
    alpha: T,
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    beta: T,
    mut c: ArrayViewMut2<'_, T>,
) {
    let accum = if beta == T::zero() { Accum::Replace } else { Accum::Add };
    if accum == Accum::Add && beta != T::one() {
        c *= beta;
    }
    T::product(destination(&mut c), accum, operand(&a), operand(&b), alpha);
}

/// Upper triangle, diagonal included, of `C <- A A^T` with A (m, k) and C (m, m); the lower triangle of C is left with
/// numbers of no meaning.
///
/// # Panics
/// When the shapes do not fit.
///
/// ```
/// use ndarray::{array, Array2};
/// use palimpsest_numerics::gemm::{symmetric, Parallelism};
/// let mut c = Array2::<f64>::zeros((2, 2));
/// symmetric(array![[1.0, 2.0], [0.0, 3.0]].view(), c.view_mut(), Parallelism::Sequential);
/// assert_eq!((c[[0, 0]], c[[0, 1]], c[[1, 1]]), (5.0, 6.0, 9.0));
/// ```
#[track_caller]
pub fn symmetric<T: Real>(a: ArrayView2<'_, T>, c: ArrayViewMut2<'_, T>, parallelism: Parallelism) {
    let m = a.nrows();
    assert_eq!(c.dim(), (m, m), "symmetric: A is {:?}, C is {:?}; needed (m, k), (m, m)", a.dim(), c.dim());
    upper(a, c, parallelism.count());
}

fn upper<T: Real>(a: ArrayView2<'_, T>, mut c: ArrayViewMut2<'_, T>, threads: usize) {
    let m = a.nrows();
    if m <= TRIANGLE {
        // The same cuts for any number of threads, so that every number is summed by the same kernel.
        return T::upper_product(destination(&mut c), operand(&a));
    }
    let half = (m / 2).next_multiple_of(LEAST_ROWS);
    let (a_top, a_bottom) = a.split_at(Axis(0), half);
    let (c_top, c_bottom) = c.split_at(Axis(0), half);
    let (c_left, mut c_right) = c_top.split_at(Axis(1), half);
    let (_, c_bottom) = c_bottom.split_at(Axis(1), half);
    cut(T::one(), a_top, a_bottom.t(), T::zero(), c_right.view_mut(), threads);
    let (first, second) = (|| upper(a_top, c_left, threads / 2), || upper(a_bottom, c_bottom, threads / 2));
    if threads > 1 {
        rayon::join(first, second);
    } else {
        (first(), second()).0
    }
}

/// Order up to which a triangle is one call of the kernel.
const TRIANGLE: usize = 256;

#[expect(unsafe_code, reason = "the kernel's views are made from raw pointers")]
fn operand<'a, T: Real>(view: &'a ArrayView2<'_, T>) -> MatRef<'a, T> {
    let ((rows, cols), strides) = (view.dim(), view.strides());
    // SAFETY: the view is valid for reads at every index below its dimensions with exactly these strides (in elements,
    // negative ones included, counted from the first logical element, which is what `as_ptr` points at), for at least
    // the lifetime of the borrow.
    unsafe { MatRef::from_raw_parts(view.as_ptr(), rows, cols, strides[0], strides[1]) }
}

#[expect(unsafe_code, reason = "the kernel's views are made from raw pointers")]
fn destination<'a, T: Real>(view: &'a mut ArrayViewMut2<'_, T>) -> MatMut<'a, T> {
    let (rows, cols) = view.dim();
    let (row_stride, col_stride) = (view.strides()[0], view.strides()[1]);
    // SAFETY: as for `operand`, for reads and writes; the view is borrowed mutably, so nothing else reaches its elements.
    unsafe { MatMut::from_raw_parts_mut(view.as_mut_ptr(), rows, cols, row_stride, col_stride) }
}

/// `A B` as a new array: A (m, k), B (k, n), result (m, n).
///
/// # Panics
/// When the inner dimensions differ.
#[track_caller]
pub fn matmul<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>, parallelism: Parallelism) -> Array2<T> {
    let mut c = Array2::zeros((a.nrows(), b.ncols()));
    gemm(T::one(), a, b, T::zero(), c.view_mut(), parallelism);
    c
}

/// `A v` as a new vector: A (m, k), v (k), result (m).
///
/// # Panics
/// When the inner dimensions differ.
#[track_caller]
pub fn matvec<T: Real>(a: ArrayView2<'_, T>, v: ArrayView1<'_, T>) -> Array1<T> {
    matmul(a, v.insert_axis(ndarray::Axis(1)), Parallelism::Sequential).remove_axis(ndarray::Axis(1))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, Axis, s};
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;

    /// The twin a child can check.
    fn naive<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) -> Array2<T> {
        let mut c = Array2::zeros((a.nrows(), b.ncols()));
        for i in 0..a.nrows() {
            for j in 0..b.ncols() {
                for k in 0..a.ncols() {
                    c[[i, j]] += a[[i, k]] * b[[k, j]];
                }
            }
        }
        c
    }

    fn draw(rows: usize, cols: usize, name: &str) -> Array2<f64> {
        Array2::random_using((rows, cols), StandardNormal, &mut Seed::new(1).named(name).rng())
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_product(
            m in 0usize..40, k in 0usize..40, n in 0usize..40,
            ta: bool, tb: bool, reversed: bool, alpha in -2.0..2.0, beta in -2.0..2.0,
        ) {
            let a = if ta { draw(k, m, "a").reversed_axes() } else { draw(m, k, "a") };
            let b = if tb { draw(n, k, "b").reversed_axes() } else { draw(k, n, "b") };
            let mut a = a.view();
            if reversed { a.invert_axis(Axis(0)); }
            let c0 = draw(m, n, "c");
            let expected = naive(a, b.view()) * alpha + &c0 * beta;
            let mut c = c0.clone();
            gemm(alpha, a, b.view(), beta, c.view_mut(), Parallelism::Sequential);
            prop_assert!((&c - &expected).iter().all(|e| e.abs() < 1e-11));
            let mut single = c0.mapv(|v| v as f32);
            let (a, b) = (a.mapv(|v| v as f32), b.mapv(|v| v as f32));
            gemm(alpha as f32, a.view(), b.view(), beta as f32, single.view_mut(), Parallelism::of_threads(2));
            prop_assert!((&single - &expected.mapv(|v| v as f32)).iter().all(|e| e.abs() < 2e-3));
        }
    }

    #[test]
    fn any_thread_count_gives_the_same_bits() {
        let shapes =
            [(500, 300, 257), (64, 1000, 64), (1000, 100, 1), (33, 7, 900), (1000, 1, 300), (131, 2100, 99)];
        for (m, k, n) in shapes {
            let (a, b) = (draw(m, k, "a").mapv(|v| v as f32), draw(n, k, "b").mapv(|v| v as f32));
            let one = matmul(a.view(), b.t(), Parallelism::Sequential);
            for threads in [2, 3, 4] {
                assert_eq!(one, matmul(a.view(), b.t(), Parallelism::of_threads(threads)), "{m} {k} {n}");
            }
        }
    }

    #[test]
    fn a_symmetric_product_is_the_upper_triangle_of_the_product() {
        for (m, k) in [(0, 3), (1, 1), (5, 7), (300, 40), (701, 90)] {
            let a = draw(m, k, "a");
            let expected = naive(a.view(), a.t());
            let mut one = Array2::from_elem((m, m), f64::NAN);
            symmetric(a.view(), one.view_mut(), Parallelism::Sequential);
            for threads in [2, 3, 4] {
                let mut many = Array2::from_elem((m, m), f64::NAN);
                symmetric(a.view(), many.view_mut(), Parallelism::of_threads(threads));
                for i in 0..m {
                    for j in i..m {
                        assert!((one[[i, j]] - expected[[i, j]]).abs() < 1e-11, "{m} {k} at {i} {j}");
                        assert_eq!(one[[i, j]].to_bits(), many[[i, j]].to_bits(), "{m} {k} {threads}");
                    }
                }
            }
        }
    }

    #[test]
    fn beta_zero_does_not_read_the_destination() {
        let a = draw(3, 3, "a");
        let mut c = Array2::from_elem((3, 3), f64::NAN);
        gemm(1.0, a.view(), a.view(), 0.0, c.view_mut(), Parallelism::Sequential);
        assert!(c.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn writes_into_a_strided_destination_only() {
        let a = draw(4, 4, "a");
        let mut c = Array2::<f64>::zeros((8, 8));
        gemm(1.0, a.view(), a.view(), 0.0, c.slice_mut(s![..;2, ..;2]), Parallelism::Sequential);
        let product = naive(a.view(), a.view());
        assert!((&c.slice(s![..;2, ..;2]) - &product).iter().all(|e| e.abs() < 1e-12));
        assert!(c.slice(s![1..;2, ..]).iter().all(|&v| v == 0.0));
    }

    #[test]
    #[should_panic(expected = "A is (2, 3), B is (2, 3)")]
    fn names_the_shapes_that_do_not_chain() {
        let a = draw(2, 3, "a");
        let _ = matmul(a.view(), a.view(), Parallelism::Sequential);
    }
}
