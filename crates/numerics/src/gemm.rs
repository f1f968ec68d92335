//! The door for matrix products.
//!
//! One function, [`gemm()`], computes `C <- alpha A B + beta C` on array views. A transpose is the view's own
//! (`a.t()`), since a view carries its strides; nothing is copied. How many threads work on one product is an
//! argument, never ambient. The same bits come out for any number of threads: work is split over rows and
//! columns of `C`, never over the inner dimension.
//!
//! This is the only module of the workspace with `unsafe` code: the call into the product kernel, which takes
//! raw pointers.

use std::num::NonZeroUsize;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2};

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

    pub(crate) fn faer(self) -> faer::Par {
        match self {
            Self::Sequential => faer::Par::Seq,
            Self::Threads(n) => faer::Par::rayon(n.get()),
        }
    }

    fn kernel(self) -> gemm::Parallelism {
        match self {
            Self::Sequential => gemm::Parallelism::None,
            Self::Threads(n) => gemm::Parallelism::Rayon(n.get()),
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
    mut c: ArrayViewMut2<'_, T>,
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
    if m == 0 || n == 0 {
        return;
    }
    let (a_strides, b_strides) = (a.strides(), b.strides());
    let c_strides: [isize; 2] = [c.strides()[0], c.strides()[1]];
    // SAFETY: the three views are valid for reads (a, b) and writes (c) at every index below their
    // dimensions with exactly these strides (in elements, negative ones included, counted from the first
    // logical element, which is what `as_ptr` points at); the dimensions chain, as asserted above; `c` is
    // borrowed mutably, so it overlaps neither `a` nor `b`; T is f32 or f64 (the trait is sealed), two types
    // for which the kernel is implemented.
    #[expect(unsafe_code, reason = "the product kernel takes raw pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_strides[1],
            c_strides[0],
            beta != T::zero(),
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            beta,
            alpha,
            false,
            false,
            false,
            parallelism.kernel(),
        );
    }
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
        for (m, k, n) in [(500, 300, 257), (64, 1000, 64), (1000, 100, 1), (33, 7, 900)] {
            let (a, b) = (draw(m, k, "a").mapv(|v| v as f32), draw(n, k, "b").mapv(|v| v as f32));
            let one = matmul(a.view(), b.t(), Parallelism::Sequential);
            for threads in [2, 3, 4] {
                assert_eq!(one, matmul(a.view(), b.t(), Parallelism::of_threads(threads)), "{m} {k} {n}");
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
