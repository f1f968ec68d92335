//! Low-dimensional subspaces of input space in which nothing is lost.
//!
//! Two of them matter. Gradient descent changes the first layer only inside the span of the training inputs, so
//! training on n coordinates follows the same trajectory as training on d pixels. And what a trained first layer
//! says about its data lies in the span of its leading right singular vectors, so an attack can work there.

use ndarray::{Array2, ArrayView2, s};
use palimpsest_numerics::Real;
use palimpsest_numerics::factor::{self, FactorError, Svd};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};

use crate::Mlp;

/// A subspace of input space given by an orthonormal basis.
#[derive(Clone, Debug)]
pub struct InputSubspace<T> {
    basis: Array2<T>,
}

impl<T: Real> InputSubspace<T> {
    /// The row space of `inputs` (n, d).
    ///
    /// # Errors
    /// [`FactorError`] for NaN inputs or a factorisation that fails its check.
    pub fn spanned_by(inputs: ArrayView2<'_, T>, parallelism: Parallelism) -> Result<Self, FactorError> {
        Ok(Self { basis: factor::orthonormal_rows(inputs, parallelism)? })
    }

    /// The span of the `rank` leading right singular vectors of a decomposition.
    ///
    /// # Panics
    /// When `rank` exceeds the number of singular vectors.
    #[track_caller]
    pub fn leading(svd: &Svd<T>, rank: usize) -> Self {
        Self { basis: svd.vt.slice(s![..rank, ..]).to_owned() }
    }

    /// Number of coordinates, r.
    pub fn rank(&self) -> usize {
        self.basis.nrows()
    }

    /// Orthonormal basis vectors as rows, (r, d).
    pub fn basis(&self) -> ArrayView2<'_, T> {
        self.basis.view()
    }

    /// Coordinates (n, r) of the rows of `x` (n, d).
    ///
    /// # Panics
    /// When the number of inputs differs.
    #[track_caller]
    pub fn project(&self, x: ArrayView2<'_, T>, parallelism: Parallelism) -> Array2<T> {
        matmul(x, self.basis.t(), parallelism)
    }

    /// Rows (n, d) with the coordinates `z` (n, r).
    ///
    /// # Panics
    /// When the number of coordinates differs.
    #[track_caller]
    pub fn lift(&self, z: ArrayView2<'_, T>, parallelism: Parallelism) -> Array2<T> {
        matmul(z, self.basis.view(), parallelism)
    }

    /// The network on coordinates: the same function on the subspace, with r inputs.
    ///
    /// # Panics
    /// When the number of inputs differs.
    #[track_caller]
    pub fn project_network(&self, network: &Mlp<T>, parallelism: Parallelism) -> Mlp<T> {
        network.with_first_weight(self.project(network.layers()[0].weight.view(), parallelism))
    }

    /// The part (out, d) of a first-layer weight (out, d) that no input of the subspace meets.
    pub(crate) fn remainder(&self, weight: ArrayView2<'_, T>, parallelism: Parallelism) -> Array2<T> {
        let mut remainder = weight.to_owned();
        let inside = self.project(weight, parallelism);
        gemm(-T::one(), inside.view(), self.basis.view(), T::one(), remainder.view_mut(), parallelism);
        remainder
    }

    /// The network on pixels whose first layer is the lifted one of `network` plus `scale * remainder` (out, d).
    pub(crate) fn lift_network(
        &self,
        network: &Mlp<T>,
        remainder: Array2<T>,
        scale: T,
        parallelism: Parallelism,
    ) -> Mlp<T> {
        let mut weight = remainder;
        let inside = network.layers()[0].weight.view();
        gemm(T::one(), inside, self.basis.view(), scale, weight.view_mut(), parallelism);
        network.with_first_weight(weight)
    }
}
