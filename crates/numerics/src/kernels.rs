//! faer's kernels for each of the two types, compiled once and here: what is generic over the type is compiled in every crate that calls
//! it, and would carry a copy of all of faer into each.

use dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par, Spec};

/// What the products and factorisations of this crate are made of, on one thread.
pub trait Kernels: Sized {
    /// `C <- alpha A B`, or `C <- C + alpha A B`.
    fn product(c: MatMut<'_, Self>, accum: Accum, a: MatRef<'_, Self>, b: MatRef<'_, Self>, alpha: Self);

    /// Upper triangle of `C <- A A^T`.
    fn upper_product(c: MatMut<'_, Self>, a: MatRef<'_, Self>);

    /// Memory for [`Kernels::cholesky`] of a matrix of this order.
    fn cholesky_scratch(order: usize) -> StackReq;

    /// Cholesky factor in place, in the lower triangle; the index of a pivot that is not positive if there is one.
    fn cholesky(matrix: MatMut<'_, Self>, scratch: &mut MemBuffer) -> Result<(), usize>;

    /// Solves `L L^T X = B` in place.
    fn solve_cholesky(factor: MatRef<'_, Self>, rhs: MatMut<'_, Self>);
}

macro_rules! kernels_of {
    ($type:ty) => {
        impl Kernels for $type {
            fn product(
                c: MatMut<'_, Self>,
                accum: Accum,
                a: MatRef<'_, Self>,
                b: MatRef<'_, Self>,
                alpha: Self,
            ) {
                matmul(c, accum, a, b, alpha, Par::Seq);
            }

            fn upper_product(c: MatMut<'_, Self>, a: MatRef<'_, Self>) {
                use triangular::BlockStructure::{Rectangular, TriangularUpper};
                let b = a.transpose();
                let (full, accum) = (Rectangular, Accum::Replace);
                triangular::matmul(c, TriangularUpper, accum, a, full, b, full, 1.0, Par::Seq);
            }

            fn cholesky_scratch(order: usize) -> StackReq {
                llt::factor::cholesky_in_place_scratch::<Self>(order, Par::Seq, Spec::default())
            }

            fn cholesky(matrix: MatMut<'_, Self>, scratch: &mut MemBuffer) -> Result<(), usize> {
                let stack = MemStack::new(scratch);
                llt::factor::cholesky_in_place(matrix, Default::default(), Par::Seq, stack, Spec::default())
                    .map(|_| ())
                    .map_err(|llt::factor::LltError::NonPositivePivot { index }| index)
            }

            fn solve_cholesky(factor: MatRef<'_, Self>, rhs: MatMut<'_, Self>) {
                let no_scratch = &mut MemBuffer::new(StackReq::EMPTY);
                llt::solve::solve_in_place(factor, rhs, Par::Seq, MemStack::new(no_scratch));
            }
        }
    };
}

kernels_of!(f32);
kernels_of!(f64);
