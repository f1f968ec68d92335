//! Edges in which all directions of a span are uncorrelated, for all its truncations at once.
//!
//! Whitening is lower triangular: a whitened direction is made of a direction of the span and those before it. So the first r rows
//! whiten the leading truncation of rank r, and one whitening of an operator serves the whole grid.

use ndarray::{Array2, Array3, Axis, s};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
use palimpsest_numerics::whitening::{lower_inverse, whiten_in_order};

use crate::operators::{Edges, LANES};

/// Columns of a chunk, about: as many edges of a block of directions as stay in the second-level cache.
const CHUNK: usize = 576;
/// Variance of a direction that those before it do not explain, relative to the largest of all, below which it has no edges.
const LEAST_VARIANCE: f64 = 1e-9;

/// Edges of images along the whitened directions of a span.
pub(super) struct WhitenedEdges {
    /// (chunks, r, columns of a chunk).
    pub(super) chunks: Array3<f32>,
    /// From whitened directions to coordinates, lower triangular, (r, r).
    pub(super) to_coordinates: Array2<f32>,
    /// Differences of a group.
    pub(super) group: usize,
    /// Groups of an image.
    pub(super) sites: usize,
    /// Groups of zeros that fill up the last tiles and chunk.
    pub(super) padding: usize,
}

impl WhitenedEdges {
    /// Whitens the `edges` of a basis.
    pub(super) fn of(edges: &Edges, parallelism: Parallelism) -> Self {
        let differences = (edges.sites * edges.group).max(1) as f64;
        let gram =
            matmul(edges.values.view(), edges.values.t(), parallelism).mapv(|v| f64::from(v) / differences);
        let to_coordinates = whiten_in_order(gram.view(), LEAST_VARIANCE).mapv(|v| v as f32);
        let (rows, columns) = edges.values.dim();
        let tile = LANES * edges.group;
        let width = (CHUNK / tile).max(1) * tile;
        let mut chunks = Array3::zeros((columns.div_ceil(width), rows, width));
        for (mut chunk, edges) in chunks.outer_iter_mut().zip(edges.values.axis_chunks_iter(Axis(1), width)) {
            let chunk = chunk.slice_mut(s![.., ..edges.ncols()]);
            gemm(1.0, to_coordinates.view(), edges, 0.0, chunk, parallelism);
        }
        let padding = chunks.len_of(Axis(0)) * width / edges.group - edges.sites;
        Self { chunks, to_coordinates, group: edges.group, sites: edges.sites, padding }
    }

    /// From coordinates to whitened directions, lower triangular, (r, r): there the product of two unit rows is the cosine of their edges.
    /// A direction without edges has none.
    pub(super) fn inverse(&self) -> Array2<f32> {
        lower_inverse(self.to_coordinates.view()).mapv(|v| v as f32)
    }

    /// Number of differences of an image.
    pub(super) fn differences(&self) -> usize {
        self.sites * self.group
    }
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::operators::EdgeOperator;

    #[test]
    fn every_truncation_of_every_operator_is_white() {
        for (shape, columns) in [([3, 9, 7], 189), ([1, 11, 10], 110)] {
            let images: Array2<f32> =
                Array2::random_using((12, columns), StandardNormal, &mut Seed::new(1).rng());
            for operator in EdgeOperator::of_channels(shape[0]) {
                let edges = operator.edges(images.view(), shape);
                let whitened = WhitenedEdges::of(&edges, Parallelism::Sequential);
                let mut products = Array2::<f32>::zeros((12, 12));
                for chunk in whitened.chunks.outer_iter() {
                    products += &matmul(chunk, chunk.t(), Parallelism::Sequential);
                }
                products /= whitened.differences() as f32;
                assert!((&products - &Array2::<f32>::eye(12)).iter().all(|v| v.abs() < 1e-3), "{operator:?}");
                let back = matmul(
                    whitened.inverse().view(),
                    whitened.to_coordinates.view(),
                    Parallelism::Sequential,
                );
                assert!((&back - &Array2::<f32>::eye(12)).iter().all(|v| v.abs() < 1e-3), "{operator:?}");
                let zeros = whitened.chunks.len() / 12 - whitened.differences();
                assert_eq!(zeros, whitened.padding * whitened.group, "{operator:?}");
            }
        }
    }
}
