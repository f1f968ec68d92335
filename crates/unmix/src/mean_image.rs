//! The image that was taken from all inputs before training.
//!
//! Inputs are commonly centred: the mean image, or a constant, is taken from each. Of pictures on a black background every centred
//! input then has the same negative picture as its background, with edges of its own, and what was few and strong is so no more.
//! With the mean image as one more direction of the span the raw pictures are back in it, and [`crate::separation`] finds them. That
//! direction is not known, but what is found with a poor one tells a better: along it the edges of all sources together are
//! fewest, a robust fit with one unknown a pixel. The fit is repeated until it stays as it is.
//!
//! Sources then know more: how much of the mean image is in each gives its sign and its length, since raw pictures have it once.
//! `docs/decisions/0015-offset.md` has the measurement.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
use palimpsest_numerics::iterative::{Stop, conjugate_gradients};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

use crate::separation::{Separation, SeparationParams, WhitenedEdges, separate};

/// Most fits of the mean image.
const ROUNDS: usize = 6;
/// Cosine with the former direction from which on it stays as it is.
const SETTLED: f64 = 0.99;
/// Separations after which the mean image must have made edges fewer.
const TRIAL_ROUNDS: usize = 3;
/// Contrast with the mean image, as a share of that without, above which there is none.
const WORTHWHILE: f64 = 0.97;
/// Sources whose contrast counts, as a share of the directions.
pub(crate) const COUNTED: f64 = 0.25;
/// Reweighted fits of a round.
const FITS: usize = 10;
/// Most steps of the conjugate gradients of a fit.
const STEPS: usize = 200;
/// Residual of a fit, relative to the right side, at which it is good enough.
const TOLERANCE: f64 = 1e-4;
/// Pull of each pixel towards zero, relative to the mean weight of an edge.
const RIDGE: f64 = 1e-6;
/// Share of the mean image in a source, relative to the median, outside of which the source says nothing of it.
const CONSISTENT: (f64, f64) = (0.5, 2.0);

/// What the span of centred images lacks of the raw ones.
#[derive(Clone, Debug)]
pub struct MeanImage {
    /// The part of the mean image outside of the span, (d) of length one; raw images have a positive share of it.
    pub direction: Array1<f32>,
    /// Where the mean image is a constant, its value in an image with one unit of `direction`.
    pub constant: Option<f32>,
}

impl MeanImage {
    /// Looks for the mean image of the images in the span of `basis` (r, d), orthonormal rows that are images of the channels, height and
    /// width `shape`; `plain` is what [`separate`] finds in that span. None where sources with a mean image have no fewer edges.
    ///
    /// # Errors
    /// [`FactorError`] when a factorisation fails.
    ///
    /// # Panics
    /// When the shape is not that of the rows.
    #[track_caller]
    pub fn find(
        basis: ArrayView2<'_, f32>,
        shape: [usize; 3],
        plain: &Separation,
        params: &SeparationParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Self>, FactorError> {
        // Where inputs vary a lot there is something to take from them.
        let spread = basis.map_axis(Axis(0), |pixel| reduce::norm(pixel) as f32);
        let Some(mut mean_image) = Self::outside(basis, spread, parallelism) else { return Ok(None) };
        for round in 0..ROUNDS {
            let edges = WhitenedEdges::of(mean_image.widen(basis).view(), shape, parallelism)?;
            let found = separate(&edges, params, seed.indexed(round as u64), parallelism, observe)?;
            let counted = (COUNTED * basis.nrows() as f64).ceil() as usize;
            let counted = counted.min(plain.contrasts.len()).min(found.contrasts.len());
            let better = least(&found.contrasts, counted) < WORTHWHILE * least(&plain.contrasts, counted);
            if counted == 0 || (round + 1 >= TRIAL_ROUNDS && !better) {
                return Ok(None);
            }
            let fitted =
                mean_image.fit(basis, shape, found.coordinates.view(), params.edge_scales.1, parallelism);
            let Some(next) = Self::outside(basis, fitted, parallelism) else { return Ok(None) };
            let cosine = reduce::inner(
                mean_image.direction.as_slice().expect("vectors are contiguous"),
                next.direction.as_slice().expect("vectors are contiguous"),
            );
            mean_image = next.towards_light(basis, found.coordinates.view(), parallelism);
            if cosine.abs() > SETTLED {
                return Ok(Some(mean_image));
            }
        }
        Ok(None)
    }

    /// The span's rows and the mean image's direction, (r + 1, d).
    pub fn widen(&self, basis: ArrayView2<'_, f32>) -> Array2<f32> {
        concatenate![Axis(0), basis, self.direction.view().insert_axis(Axis(0))]
    }

    /// A constant in all pixels of images in the span of `basis` (r, d), orthonormal rows; none where it is in the span.
    pub fn uniform(basis: ArrayView2<'_, f32>, parallelism: Parallelism) -> Option<Self> {
        let mean_image = Self::outside(basis, Array1::ones(basis.ncols()), parallelism)?;
        // A vector of ones has this much of its part outside.
        let share = reduce::sum(mean_image.direction.as_slice().expect("vectors are contiguous"));
        Some(Self { constant: Some(share.recip() as f32), ..mean_image })
    }

    /// The part of an image outside of the span, if there is one.
    pub(crate) fn outside(
        basis: ArrayView2<'_, f32>,
        image: Array1<f32>,
        parallelism: Parallelism,
    ) -> Option<Self> {
        let length = reduce::norm(image.view());
        let mut rest = image.insert_axis(Axis(0));
        let inside = matmul(rest.view(), basis.t(), parallelism);
        gemm(-1.0, inside.view(), basis, 1.0, rest.view_mut(), parallelism);
        let left = reduce::norm(rest.view());
        (left > length * f64::from(f32::EPSILON).sqrt())
            .then(|| Self { direction: rest.index_axis_move(Axis(0), 0) / left as f32, constant: None })
    }

    /// Turns the direction so that raw images are bright on the whole.
    fn towards_light(
        self,
        basis: ArrayView2<'_, f32>,
        sources: ArrayView2<'_, f32>,
        parallelism: Parallelism,
    ) -> Self {
        let raw = RawSources::of(sources);
        let light = matmul(raw.coordinates.view(), basis, parallelism).sum()
            + raw.coordinates.nrows() as f32 * self.direction.sum();
        if light < 0.0 { Self { direction: -self.direction, ..self } } else { self }
    }

    /// The direction along which sources with one unit of it have the fewest edges.
    fn fit(
        &self,
        basis: ArrayView2<'_, f32>,
        shape: [usize; 3],
        sources: ArrayView2<'_, f32>,
        edge_scale: f64,
        parallelism: Parallelism,
    ) -> Array1<f32> {
        let raw = RawSources::of(sources);
        let images = matmul(raw.coordinates.view(), basis, parallelism).mapv(f64::from);
        let grid = Grid { shape };
        let edges: Vec<Vec<f64>> = (images.rows().into_iter())
            .map(|image| {
                let mut edges = vec![0.0; grid.edges()];
                grid.edges_of(image.to_slice().expect("rows are contiguous"), &mut edges);
                edges
            })
            .collect();
        let mut mean_image = self.direction.mapv(f64::from).to_vec();
        let mut along = vec![0.0; grid.edges()];
        let (mut weight, mut pull) = (along.clone(), along.clone());
        let mut target = vec![0.0; mean_image.len()];
        for _ in 0..FITS {
            grid.edges_of(&mean_image, &mut along);
            weight.fill(0.0);
            pull.fill(0.0);
            for edges in &edges {
                let squares = edges.iter().zip(&along).map(|(e, g)| (e + g) * (e + g));
                let strong = edge_scale * edge_scale * squares.sum::<f64>() / along.len() as f64;
                for (((e, g), weight), pull) in edges.iter().zip(&along).zip(&mut weight).zip(&mut pull) {
                    let w = 1.0 / (strong + (e + g) * (e + g));
                    *weight += w;
                    *pull -= w * e;
                }
            }
            grid.images_of(&pull, &mut target);
            grid.solve(&weight, &target, &mut mean_image);
        }
        mean_image.into_iter().map(|v| v as f32).collect()
    }
}

/// Sources as raw images: those with much or little of the mean image left out.
pub(crate) struct RawSources {
    /// Coordinates in the span of sources with one unit of the mean image, (k, r).
    pub(crate) coordinates: Array2<f32>,
}

impl RawSources {
    /// Of sources (k, r + 1), the mean image's share last.
    pub(crate) fn of(sources: ArrayView2<'_, f32>) -> Self {
        let rank = sources.ncols() - 1;
        let shares: Vec<f64> = sources
            .rows()
            .into_iter()
            .map(|source| f64::from(source[rank]).abs() / reduce::norm(source.slice(s![..rank])))
            .collect();
        let median = upper_median(&mut shares.clone()).unwrap_or(0.0);
        let consistent: Vec<usize> = (0..shares.len())
            .filter(|&i| shares[i] > CONSISTENT.0 * median && shares[i] < CONSISTENT.1 * median)
            .collect();
        let mut coordinates = Array2::zeros((consistent.len(), rank));
        for (mut row, &i) in coordinates.rows_mut().into_iter().zip(&consistent) {
            row.assign(&sources.slice(s![i, ..rank]));
            row /= sources[[i, rank]];
        }
        Self { coordinates }
    }

    /// Median length of the coordinates.
    pub(crate) fn typical_length(&self) -> f32 {
        let mut lengths: Vec<f64> = self.coordinates.rows().into_iter().map(reduce::norm).collect();
        upper_median(&mut lengths).unwrap_or(0.0) as f32
    }
}

/// Mean of the `count` smallest of `values`.
fn least(values: &[f32], count: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f32::total_cmp);
    values[..count].iter().map(|&v| f64::from(v)).sum::<f64>() / count as f64
}

/// Pixels of images of the channels, height and width `shape` and their edges: differences of neighbours, those beyond the
/// border being black.
struct Grid {
    shape: [usize; 3],
}

impl Grid {
    /// Vertical edges of a channel.
    fn vertical(&self) -> usize {
        (self.shape[1] + 1) * self.shape[2]
    }

    /// Edges of a channel.
    fn of_channel(&self) -> usize {
        self.vertical() + self.shape[1] * (self.shape[2] + 1)
    }

    fn edges(&self) -> usize {
        self.shape[0] * self.of_channel()
    }

    /// Calls `each` with the edge, its first and its second pixel, which are none beyond the border.
    fn for_each(&self, mut each: impl FnMut(usize, Option<usize>, Option<usize>)) {
        let [channels, height, width] = self.shape;
        for channel in 0..channels {
            let (first_edge, first) = (channel * self.of_channel(), channel * height * width);
            for row in 0..=height {
                for column in 0..width {
                    let above = (row > 0).then(|| first + (row - 1) * width + column);
                    let below = (row < height).then_some(first + row * width + column);
                    each(first_edge + row * width + column, above, below);
                }
            }
            for row in 0..height {
                for column in 0..=width {
                    let left = (column > 0).then(|| first + row * width + column - 1);
                    let right = (column < width).then_some(first + row * width + column);
                    each(first_edge + self.vertical() + row * (width + 1) + column, left, right);
                }
            }
        }
    }

    /// The edges of an image.
    fn edges_of(&self, image: &[f64], edges: &mut [f64]) {
        let value = |pixel: Option<usize>| pixel.map_or(0.0, |pixel| image[pixel]);
        self.for_each(|edge, first, second| edges[edge] = value(second) - value(first));
    }

    /// The transpose of [`Grid::edges_of`].
    fn images_of(&self, edges: &[f64], image: &mut [f64]) {
        image.fill(0.0);
        self.for_each(|edge, first, second| {
            if let Some(first) = first {
                image[first] -= edges[edge];
            }
            if let Some(second) = second {
                image[second] += edges[edge];
            }
        });
    }

    /// Moves `image` to the least weighted squares of its edges whose gradient is `target`, by conjugate gradients.
    fn solve(&self, weight: &[f64], target: &[f64], image: &mut [f64]) {
        let ridge = RIDGE * weight.iter().sum::<f64>() / weight.len() as f64;
        let mut edges = vec![0.0; self.edges()];
        let apply = |image: &[f64], out: &mut [f64]| {
            self.edges_of(image, &mut edges);
            edges.iter_mut().zip(weight).for_each(|(edge, w)| *edge *= w);
            self.images_of(&edges, out);
            out.iter_mut().zip(image).for_each(|(out, v)| *out += ridge * v);
        };
        conjugate_gradients(apply, target, image, Stop { tolerance: TOLERANCE, steps: STEPS });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ndarray::ArrayView1;
    use palimpsest_numerics::factor::orthonormal_rows;
    use rand::Rng as _;

    use super::*;

    const SIDE: usize = 24;
    pub(crate) const SHAPE: [usize; 3] = [1, SIDE, SIDE];
    const ALONE: Parallelism = Parallelism::Sequential;

    /// Images of a few bright rectangles on a black background, mostly in the middle.
    pub(crate) fn images() -> Array2<f32> {
        let mut rng = Seed::new(3).named("images").rng();
        let mut images = Array2::zeros((30, SIDE * SIDE));
        for image in images.rows_mut() {
            let mut image = image.into_shape_with_order((SIDE, SIDE)).unwrap();
            for _ in 0..4 {
                let (top, left) = (rng.random_range(2..SIDE / 2), rng.random_range(2..SIDE / 2));
                let (bottom, right) =
                    (rng.random_range(top + 3..SIDE - 1), rng.random_range(left + 3..SIDE - 1));
                image.slice_mut(s![top..bottom, left..right]).fill(rng.random_range(0.2..1.0));
            }
        }
        images
    }

    /// Images without their mean, and the mean.
    pub(crate) fn centred() -> (Array2<f32>, Array1<f32>) {
        let images = images();
        let mean = images.mean_axis(Axis(0)).unwrap();
        (&images - &mean, mean)
    }

    /// Orthonormal rows that span `images`, which have no part in common: their sum is zero.
    pub(crate) fn basis(images: &Array2<f32>) -> Array2<f32> {
        orthonormal_rows(images.slice(s![1.., ..]), ALONE).unwrap()
    }

    fn along(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
        reduce::inner(a.to_slice().unwrap(), b.to_slice().unwrap())
    }

    fn found(basis: &Array2<f32>) -> Option<MeanImage> {
        let (params, seed) = (SeparationParams::default(), Seed::new(5));
        let go_on = &mut |_| ControlFlow::Continue(());
        let edges = WhitenedEdges::of(basis.view(), SHAPE, ALONE).unwrap();
        let plain = separate(&edges, &params, seed, ALONE, go_on).unwrap();
        MeanImage::find(basis.view(), SHAPE, &plain, &params, seed, ALONE, go_on).unwrap()
    }

    #[test]
    fn the_mean_of_pictures_on_black_is_found_and_tells_their_signs() {
        let (centred, mean) = centred();
        let basis = basis(&centred);
        let mean_image = found(&basis).expect("there is one");
        let truth = MeanImage::outside(basis.view(), mean, ALONE).unwrap();
        let cosine = along(mean_image.direction.view(), truth.direction.view());
        assert!(cosine > 0.95, "{cosine}");
        let edges = WhitenedEdges::of(mean_image.widen(basis.view()).view(), SHAPE, ALONE).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        let sources = separate(&edges, &SeparationParams::default(), Seed::new(6), ALONE, go_on).unwrap();
        let raw = RawSources::of(sources.coordinates.view());
        let mut rows = matmul(raw.coordinates.view(), basis.view(), ALONE);
        rows += &mean_image.direction;
        let mut right = 0;
        for image in images().rows() {
            let length = reduce::norm(image);
            let cosines = rows.rows().into_iter().map(|row| along(image, row) / length / reduce::norm(row));
            right += usize::from(cosines.fold(-1.0, f64::max) > 0.95);
        }
        assert!(right >= 24, "{right} of 30");
    }

    #[test]
    fn raw_pictures_have_no_mean_image() {
        assert!(found(&orthonormal_rows(images().view(), ALONE).unwrap()).is_none());
    }

    #[test]
    fn a_fit_of_edges_is_the_image_that_has_them() {
        let grid = Grid { shape: [2, 3, 4] };
        let image: Vec<f64> = (0..24).map(|i| f64::from(i * i % 7)).collect();
        let (mut edges, mut target, mut fitted) = (vec![0.0; grid.edges()], vec![0.0; 24], vec![0.0; 24]);
        grid.edges_of(&image, &mut edges);
        assert_eq!(edges.len(), 2 * (4 * 4 + 3 * 5));
        let weight: Vec<f64> = (0..edges.len()).map(|i| 1.0 + (i % 3) as f64).collect();
        edges.iter_mut().zip(&weight).for_each(|(edge, w)| *edge *= w);
        grid.images_of(&edges, &mut target);
        grid.solve(&weight, &target, &mut fitted);
        for (fitted, v) in fitted.iter().zip(&image) {
            assert!((fitted - v).abs() < 1e-2, "{fitted} for {v}");
        }
    }
}
