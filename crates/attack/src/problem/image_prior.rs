//! What is true of images in general, in the coordinates of an attack.

use palimpsest_mlp::InputSubspace;
use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_unmix::smoothness::SmoothnessPrior;
use palimpsest_unmix::sparsity::SparseEdges;

/// Energy of the rows of the weights under the smoothness prior, relative to their squared norms, above which the inputs are not the
/// smooth images that are likely under it: 0.87 on CIFAR-10, 1.4 and 1.6 on MNIST and Fashion-MNIST (n = 500).
const MOST_ENERGY: f64 = 1.1;

/// Priors of inputs that are images.
#[derive(Clone, Debug)]
pub struct ImagePrior {
    /// How smooth images are; nothing where the weights are no sums of smooth ones.
    pub smoothness: Option<SmoothnessPrior>,
    /// How few strong edges they have; nothing where they are too small.
    pub sparse_edges: Option<SparseEdges>,
}

impl ImagePrior {
    /// Of images of the channels, height and width `shape` in `subspace`, whose mixtures are the rows of `weight` (h, r).
    ///
    /// # Errors
    /// [`FactorError`] when the directions are not finite.
    pub(crate) fn of(
        subspace: &InputSubspace<f32>,
        shape: [usize; 3],
        weight: ndarray::ArrayView2<'_, f32>,
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        let smoothness = SmoothnessPrior::of(subspace.basis(), shape, parallelism)?;
        let is_smooth = smoothness.relative(weight, parallelism) <= MOST_ENERGY;
        let sparse_edges = SparseEdges::of(subspace.basis(), shape);
        Ok(Self { smoothness: is_smooth.then_some(smoothness), sparse_edges })
    }
}
