//! Sparse-edge prior of images: an image has few strong edges, a blend of images many weak ones.
//!
//! A power spectrum cannot tell an image from a blend: both have the same. The distribution of edges can. The edges of all channels and
//! both directions at a pixel are one group, taken to have a multivariate Cauchy distribution, whose scale is a share of the image's own
//! root mean square edge: so the prior knows neither length nor sign. `docs/decisions/0031-sparse-edges.md` has the measurement.
//!
//! # Source
//! The contrast of [`crate::agreement`], as the logarithm of a density.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;

use crate::operators::{EdgeOperator, LANES, squares};

/// Weight of a chroma difference beside luminance.
const CHROMA: f32 = 2.5;
/// Squared scale of the density, in mean squared edges of the image.
const SCALE: f32 = 0.09;
/// Parts of the sites, of which one speaks at a time.
const PARTS: usize = 4;

/// The prior in the coordinates of a span of images.
#[derive(Clone, Debug)]
pub struct SparseEdges {
    /// Interleaved tiles of sites.
    parts: Vec<Part>,
    group: usize,
    sites: usize,
}

/// Edges of the span at some sites.
#[derive(Clone, Debug)]
struct Part {
    /// (r, columns), tiles as [`crate::operators::Edges`] has them.
    edges: Array2<f32>,
    sites: usize,
}

/// What [`SparseEdges::add_gradient`] works in, for up to m images.
#[derive(Clone, Debug)]
pub struct Workspace {
    values: Array2<f32>,
}

impl SparseEdges {
    /// Of `basis` (r, d), rows that are images of the channels, height and width `shape`; nothing where these are too small to have edges.
    ///
    /// # Panics
    /// When the shape is not that of the rows.
    #[track_caller]
    pub fn of(basis: ArrayView2<'_, f32>, shape: [usize; 3]) -> Option<Self> {
        let [channels, height, width] = shape;
        assert_eq!(
            channels * height * width,
            basis.ncols(),
            "sparse edges: the shape is not that of the rows"
        );
        if basis.nrows() == 0 || height < 3 || width < 3 {
            return None;
        }
        let chroma = if channels == 3 { CHROMA } else { 1.0 };
        let edges = EdgeOperator::Joint { chroma }.edges(basis, shape);
        let tile = LANES * edges.group;
        let tiles = edges.values.ncols() / tile;
        let parts = (0..PARTS.min(tiles)).map(|part| {
            let own: Vec<usize> = (part..tiles).step_by(PARTS).collect();
            let mut values = Array2::zeros((basis.nrows(), own.len() * tile));
            for (i, of) in own.iter().enumerate() {
                let from = edges.values.slice(s![.., of * tile..(of + 1) * tile]);
                values.slice_mut(s![.., i * tile..(i + 1) * tile]).assign(&from);
            }
            // Only the last tile has zeros after its sites.
            let missing = if own.contains(&(tiles - 1)) { tiles * LANES - edges.sites } else { 0 };
            Part { edges: values, sites: own.len() * LANES - missing }
        });
        Some(Self { parts: parts.collect(), group: edges.group, sites: edges.sites })
    }

    /// Weight that the logarithm of the density has beside [`SparseEdges::contrasts`]: sites times half of the freedom of a group.
    pub fn log_density_weight(&self) -> f64 {
        self.sites as f64 * (1.0 + self.group as f64) / 2.0
    }

    /// Room for the gradients of `images` images.
    pub fn workspace(&self, images: usize) -> Workspace {
        let columns = self.parts.iter().map(|part| part.edges.ncols()).max().unwrap_or(0);
        Workspace { values: Array2::zeros((images, columns)) }
    }

    /// Adds to `gradient` (m, r) `weight` times the gradient of the contrast of each image with coordinates `x` (m, r), estimated from the
    /// part of the sites whose turn it is at step `index`.
    ///
    /// # Panics
    /// When shapes differ from those of the span and of the workspace.
    #[track_caller]
    pub fn add_gradient(
        &self,
        index: usize,
        weight: f32,
        x: ArrayView2<'_, f32>,
        workspace: &mut Workspace,
        gradient: ArrayViewMut2<'_, f32>,
        parallelism: Parallelism,
    ) {
        let part = &self.parts[index % self.parts.len()];
        let mut values = workspace.values.slice_mut(s![..x.nrows(), ..]);
        let mut values = values.slice_mut(s![.., ..part.edges.ncols()]);
        gemm(1.0, x, part.edges.view(), 0.0, values.view_mut(), parallelism);
        for mut row in values.rows_mut() {
            slopes(row.as_slice_mut().expect("a part of a row is contiguous"), self.group, part.sites);
        }
        gemm(weight, values.view(), part.edges.t(), 1.0, gradient, parallelism);
    }

    /// Mean over the sites of `ln(1 + |e|^2 / (s^2 mean |e|^2))` for each image with coordinates `x` (m, r), (m); 0 for an image without
    /// edges.
    pub fn contrasts(&self, x: ArrayView2<'_, f32>, parallelism: Parallelism) -> Vec<f64> {
        let mut of_sites: Vec<Vec<f64>> = vec![Vec::with_capacity(self.sites); x.nrows()];
        for part in &self.parts {
            let mut values = Array2::zeros((x.nrows(), part.edges.ncols()));
            gemm(1.0, x, part.edges.view(), 0.0, values.view_mut(), parallelism);
            for (row, squares) in values.rows().into_iter().zip(&mut of_sites) {
                for tile in row.to_slice().expect("rows are contiguous").chunks(LANES * self.group) {
                    squares.extend((0..LANES).map(|lane| {
                        tile.chunks(LANES).map(|plane| f64::from(plane[lane]).powi(2)).sum::<f64>()
                    }));
                }
            }
        }
        let contrast = |squares: &Vec<f64>| {
            let threshold = f64::from(SCALE) * squares.iter().sum::<f64>() / self.sites as f64;
            let logarithms = squares.iter().map(|square| (1.0 + square / threshold).ln());
            if threshold > 0.0 { logarithms.sum::<f64>() / self.sites as f64 } else { 0.0 }
        };
        of_sites.iter().map(contrast).collect()
    }
}

/// Replaces the `edges` of an image by the slope of its contrast at each, over `sites` groups; zeros that fill up a tile stay zero.
fn slopes(edges: &mut [f32], group: usize, sites: usize) {
    let energy = reduce::sum_squares(edges) as f32;
    if !(energy > 0.0 && energy.is_finite()) {
        edges.fill(0.0);
        return;
    }
    let count = sites as f32;
    let threshold = SCALE * energy / count;
    vectorised(
        #[inline(always)]
        move || {
            // Sum over the sites of the share |e|^2 / (threshold + |e|^2).
            let mut shares = [0.0_f32; LANES];
            for tile in edges.chunks_exact(LANES * group) {
                let squares = squares(tile, 0.0);
                for (share, square) in shares.iter_mut().zip(squares) {
                    *share += square / (threshold + square);
                }
            }
            let share = shares.iter().sum::<f32>() / energy;
            let scale = 2.0 / count;
            for tile in edges.chunks_exact_mut(LANES * group) {
                let slopes = squares(tile, 0.0).map(|square| scale * (1.0 / (threshold + square) - share));
                for plane in tile.chunks_exact_mut(LANES) {
                    for (v, slope) in plane.iter_mut().zip(&slopes) {
                        *v *= slope;
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    const ALONE: Parallelism = Parallelism::Sequential;

    fn random(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        Array2::random_using((rows, columns), StandardNormal, &mut Seed::new(seed).rng())
    }

    /// The sum over all parts is the gradient of the contrast only where their mean energies agree; an image of one part says it exactly.
    #[test]
    fn the_gradient_is_that_of_the_contrast() {
        // One tile, so one part: 4 x 4 differences of 5 x 5 pixels.
        for shape in [[1, 5, 5], [3, 5, 5]] {
            let basis = random(6, shape.iter().product(), 1);
            let prior = SparseEdges::of(basis.view(), shape).unwrap();
            assert_eq!(prior.parts.len(), 1);
            let x = random(3, 6, 2);
            let mut gradient = Array2::zeros((3, 6));
            prior.add_gradient(5, 1.0, x.view(), &mut prior.workspace(3), gradient.view_mut(), ALONE);
            for i in 0..3 {
                for k in 0..6 {
                    let at = |offset: f32| {
                        let mut moved = x.clone();
                        moved[[i, k]] += offset;
                        prior.contrasts(moved.view(), ALONE)[i]
                    };
                    let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                    assert!(
                        (slope - f64::from(gradient[[i, k]])).abs() < 2e-3,
                        "{shape:?} {i} {k}: {slope} {gradient}"
                    );
                }
            }
        }
    }

    #[test]
    fn parts_hold_every_site_once_and_length_and_sign_do_not_matter() {
        let shape = [3, 12, 9];
        let basis = random(5, 324, 3);
        let prior = SparseEdges::of(basis.view(), shape).unwrap();
        assert_eq!(prior.parts.iter().map(|part| part.sites).sum::<usize>(), 11 * 8);
        let x = random(2, 5, 4);
        let (one, other) = (prior.contrasts(x.view(), ALONE), prior.contrasts((&x * -3.0).view(), ALONE));
        assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{one:?} {other:?}");
        // Homogeneous of degree 0: the slope along an image is 0.
        let mut gradient = Array2::zeros((2, 5));
        for index in 0..PARTS {
            prior.add_gradient(index, 1.0, x.view(), &mut prior.workspace(2), gradient.view_mut(), ALONE);
        }
        let along = (&gradient * &x).sum_axis(ndarray::Axis(1));
        assert!(along.iter().all(|v| v.abs() < 1e-4), "{along}");
    }

    #[test]
    fn an_image_has_a_smaller_contrast_than_blends_and_one_without_edges_none() {
        // Rectangles of one colour, and their blends.
        let image = |i: usize| {
            (0..100).map(move |p| f32::from(u8::from(p % 10 < i && p / 10 < 11 - i))).collect::<Vec<f32>>()
        };
        let rows: Vec<f32> = (1..9).flat_map(image).collect();
        let basis = Array2::from_shape_vec((8, 100), rows).unwrap();
        let prior = SparseEdges::of(basis.view(), [1, 10, 10]).unwrap();
        let images = prior.contrasts(Array2::eye(8).view(), ALONE);
        let blends = prior.contrasts(random(8, 8, 5).view(), ALONE);
        let largest = images.iter().copied().fold(0.0, f64::max);
        assert!(blends.iter().all(|&blend| blend > largest), "{images:?} {blends:?}");
        assert_eq!(prior.contrasts(Array2::zeros((1, 8)).view(), ALONE), [0.0]);
        let mut gradient = Array2::zeros((1, 8));
        prior.add_gradient(
            0,
            1.0,
            Array2::zeros((1, 8)).view(),
            &mut prior.workspace(1),
            gradient.view_mut(),
            ALONE,
        );
        assert!(gradient.iter().all(|&v| v == 0.0));
    }
}
