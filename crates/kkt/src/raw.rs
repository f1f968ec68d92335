//! Raw images, where what was taken from all inputs is known, or nothing was.
//!
//! A candidate with the offset added back ([`crate::offset`]) is a raw image, and so is one of a network that was trained on raw images.
//! Much is known of raw images that is not of centred ones: no pixel is below black, edges are few and strong, and where the offset
//! was worth looking for, many pixels are black.
//! Together these are far more equations than there are directions, so a candidate that is nearly an input can be moved until it is
//! one: reweighted least squares of its edges and its dark pixels, relative to its own contrast, pixels below black counting in full.
//! Nothing is asked of the network. `docs/decisions/0017-raw-images.md` has the measurement.

use std::ops::Range;

use ndarray::{
    Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, Zip, concatenate, s,
};
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::factor::Cholesky;
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul, symmetric};
use palimpsest_numerics::reduce;
use rayon::prelude::*;

use crate::confidence::{Appearance, ConfidenceModel, Evidence};
use crate::offset::{Offset, RawSources};
use crate::reconstruction::Run;
use crate::separation::{Separation, edges};

/// Edge, in units of the root mean square edge of an image, from which on an edge counts as strong: first and last.
const EDGE_SCALES: (f64, f64) = (1.0, 0.1);
/// Fits from the first to the last edge scale.
const FIRST_FITS: usize = 6;
/// Fits at the last one, in which dark pixels count, too.
const LAST_FITS: usize = 4;
/// Pixel, in units of the root mean square pixel of an image, up to which a pixel is dark.
const DARK: f32 = 0.05;
/// Weight of dark pixels beside edges.
const DARK_WEIGHT: f32 = 0.1;
/// Ridge of the least squares, relative to their mean diagonal.
const RIDGE: f32 = 1e-6;
/// Share of the offset in an image outside of which it says nothing of the image's length.
const SHARES: (f32, f32) = (0.5, 2.0);
/// Brightest pixel, in units of white, that is taken for white.
const NEARLY_WHITE: (f32, f32) = (0.6, 1.6);
/// Cosine of a candidate with what refinement made of it from which on both tell the mean image.
const NEAR: f64 = 0.8;
/// What is added to their distance, one minus that cosine: weights are the inverse square of it.
const NEAREST: f64 = 0.01;
/// That cosine where it is not known: that of images that were found.
const OF_SOURCES: f32 = 0.95;
/// Rounds from one mean image to the next: it moves little after the first.
const MEAN_ROUNDS: usize = 10;
/// Sources that tell whether raw images are in the span, as a share of the directions.
const COUNTED: f64 = 0.25;
/// Share of the squares of a raw image that is below black for noise alone: 0.001 at the median where inputs are raw, 0.06 to 0.4 where
/// they are centred.
const BELOW_BLACK: f64 = 0.02;
/// Share of the pixels that may be darker than the background.
const DARKER: f64 = 0.05;
/// Square of a pixel, in units of the mean square, up to which it is as good as black, and the share of pixels that are.
const NEARLY_BLACK: f64 = 0.04;
const BLACK: f64 = 0.25;
/// Images that a thread refines with the same memory.
const BLOCK: usize = 16;
/// Products of a block: blocks run side by side.
const ALONE: Parallelism = Parallelism::Sequential;

/// The raw images of a problem.
#[derive(Clone, Debug)]
pub(crate) struct RawImages {
    /// Edges, then pixels, along each direction of the span and along the offset, if there is one, (r or r + 1, edges + d).
    along: Array2<f32>,
    edges: usize,
    /// Mean raw image, in coordinates of the span (r), in units of the offset; zero where nothing was taken from the inputs.
    mean: Array1<f32>,
    /// One unit, in input values.
    unit: f32,
    /// Largest raw value, black being 0.
    white: f32,
}

impl RawImages {
    /// Those in the span of `basis` (r, d), orthonormal rows that are images of the channels, height and width `shape`, with an
    /// `offset` if there is one. `sources` (k, r + 1), as they are found in the span with the offset, tell the mean image and the unit;
    /// none if they tell nothing of them. Without an offset the unit is white.
    pub(crate) fn of(
        basis: ArrayView2<'_, f32>,
        shape: [usize; 3],
        (low, high): (f64, f64),
        offset: Option<&Offset>,
        sources: ArrayView2<'_, f32>,
        parallelism: Parallelism,
    ) -> Option<Self> {
        let widened = offset.map_or(basis.to_owned(), |offset| offset.widen(basis));
        let edges = edges(widened.view(), shape);
        let count = edges.ncols();
        let mut raw = Self {
            // Products walk along rows.
            along: concatenate![Axis(1), edges, widened].as_standard_layout().into_owned(),
            edges: count,
            mean: Array1::zeros(basis.nrows()),
            unit: (high - low) as f32,
            white: (high - low) as f32,
        };
        if offset.is_none() {
            return Some(raw);
        }
        let images = raw.of_sources(sources);
        // Pictures commonly use the range that they have.
        let looks = raw.appearances_of(images.view(), parallelism);
        let typical = weighted_median(looks.iter().map(|look| (look.brightness, 1.0)))?;
        raw.unit /= typical;
        // As if all restarts agreed on them.
        let real: Array1<f32> = looks
            .iter()
            .map(|look| {
                let appearance = Some(Appearance { brightness: look.brightness / typical, ..*look });
                let evidence = Evidence { agreement: 1.0, distinct_share: 1.0, bias_share: None, appearance };
                ConfidenceModel::default().probability(&evidence, 0.0, usize::MAX)
            })
            .collect();
        raw.mean = matmul(real.view().insert_axis(Axis(0)), images.view(), parallelism)
            .index_axis_move(Axis(0), 0)
            / real.sum();
        (raw.unit.is_finite() && raw.mean.iter().all(|v| v.is_finite())).then_some(raw)
    }

    fn has_offset(&self) -> bool {
        self.along.nrows() > self.mean.len()
    }

    /// Sources (k, r or r + 1) as refined raw images (k, r), in units of the offset.
    fn of_sources(&self, sources: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut rows = sources.to_owned();
        if !self.has_offset() {
            return self.refine_rows(rows);
        }
        let rank = self.mean.len();
        let typical = RawSources::of(sources).typical_length();
        for mut row in rows.rows_mut() {
            let length = reduce::norm(row.slice(s![..rank])) as f32;
            if length > 0.0 {
                row *= typical / length * row[rank].signum();
            }
        }
        self.refine_rows(rows)
    }

    /// Centred images (k, r) of sources (k, r or r + 1).
    pub(crate) fn centred_sources(&self, sources: ArrayView2<'_, f32>) -> Array2<f32> {
        self.centred(self.of_sources(sources))
    }

    /// Candidates (m, r), coordinates of centred images, refined.
    pub(crate) fn refine(&self, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
        self.centred(self.refine_rows(self.with_offset(candidates)))
    }

    /// The same with a better mean image, which `runs` tell whose candidates were refined; their coordinates then are of images without
    /// that mean.
    ///
    /// What descent finds of an image is a multiple of the image without the mean, and what refinement makes of it is the raw image: they
    /// differ by the mean. The nearer both are the more that says.
    pub(crate) fn told_by<'a>(&self, runs: impl Iterator<Item = &'a mut Run>) -> Self {
        if !self.has_offset() {
            return self.clone();
        }
        let mut runs: Vec<(Array2<f32>, &mut Run)> =
            runs.map(|run| (self.raw(run.coordinates.view()), run)).collect();
        let mut better = self.clone();
        for _ in 0..MEAN_ROUNDS {
            let (mut sum, mut total) = (Array1::<f64>::zeros(self.mean.len()), 0.0);
            let pairs = runs.iter().filter_map(|(images, run)| Some((images, run.unrefined.as_ref()?)));
            for (image, before) in
                pairs.flat_map(|(images, before)| images.rows().into_iter().zip(before.rows()))
            {
                let of = Multiple::of(before, image, better.mean.view());
                if of.cosine > NEAR {
                    let weight = (1.0 + NEAREST - of.cosine).powi(-2);
                    Zip::from(&mut sum).and(image).and(before).for_each(|sum, &image, &before| {
                        *sum += weight * (f64::from(image) - f64::from(before) / of.factor);
                    });
                    total += weight;
                }
            }
            if total > 0.0 {
                better.mean = sum.mapv(|v| (v / total) as f32);
            }
        }
        for (images, run) in &mut runs {
            run.coordinates = better.centred(std::mem::take(images));
        }
        better
    }

    /// Images with some of the offset, if there is one, (m, r or r + 1), refined and of the length that they have, (m, r).
    fn refine_rows(&self, mut rows: Array2<f32>) -> Array2<f32> {
        let refine = |rows: &mut Array2<f32>| {
            let blocks = rows.axis_chunks_iter_mut(Axis(0), BLOCK).into_par_iter();
            blocks.for_each(|block| self.refine_block(block));
        };
        if !self.has_offset() {
            // Upside down there is no light.
            let pixels = self.pixels(rows.view(), ALONE);
            for (mut row, image) in rows.rows_mut().into_iter().zip(pixels.rows()) {
                row *= image.sum().signum();
            }
            refine(&mut rows);
            return self.with_white(rows);
        }
        refine(&mut rows);
        let rank = self.mean.len();
        for mut row in rows.rows_mut() {
            let share = row[rank].clamp(SHARES.0, SHARES.1);
            row /= share;
        }
        rows.slice_move(s![.., ..rank])
    }

    /// Raw images (m, r) of any length whose brightest pixel but one becomes white.
    fn with_white(&self, mut images: Array2<f32>) -> Array2<f32> {
        let pixels = self.pixels(images.view(), ALONE);
        for (mut row, image) in images.rows_mut().into_iter().zip(pixels.rows()) {
            let brightness = second_largest(image) * self.unit / self.white;
            if brightness > 0.0 {
                row /= brightness;
            }
        }
        images
    }

    fn refine_block(&self, mut block: ArrayViewMut2<'_, f32>) {
        let mut fit = Fit::of(self);
        for mut row in block.rows_mut() {
            fit.before.assign(&row);
            let falling = EDGE_SCALES.1 / EDGE_SCALES.0;
            let scale = |fit: usize| EDGE_SCALES.0 * falling.powf(fit as f64 / (FIRST_FITS - 1) as f64);
            let first = (0..FIRST_FITS).map(|fit| (scale(fit) as f32, 0.0));
            let last = std::iter::repeat_n((EDGE_SCALES.1 as f32, DARK_WEIGHT), LAST_FITS);
            if !first.chain(last).all(|(scale, dark)| fit.step(row.view_mut(), scale, dark)) {
                row.assign(&fit.before);
            }
        }
    }

    /// Raw images (m, r), in units of the offset, of candidates (m, r), coordinates of centred images.
    fn raw(&self, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
        &candidates / self.unit + &self.mean
    }

    /// The other way round.
    fn centred(&self, raw: Array2<f32>) -> Array2<f32> {
        (raw - &self.mean) * self.unit
    }

    /// The pixels of raw images (m, r), in units of the offset, (m, d).
    fn pixels(&self, images: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        self.along_of(images, self.edges..self.along.ncols(), parallelism)
    }

    /// The edges or the pixels of raw images (m, r), in units of the offset.
    fn along_of(
        &self,
        images: ArrayView2<'_, f32>,
        columns: Range<usize>,
        parallelism: Parallelism,
    ) -> Array2<f32> {
        let along = self.along.slice(s![.., columns]);
        let (basis, offset) = along.split_at(Axis(0), self.mean.len());
        let mut values = matmul(images, basis, parallelism);
        if self.has_offset() {
            values += &offset;
        }
        values
    }

    /// Pixels (m, d) in units of the offset as raw input values: the brightest pixel is white if it is nearly that, and what is outside
    /// of the range is brought to its ends.
    fn in_range(&self, mut pixels: Array2<f32>) -> Array2<f32> {
        for mut image in pixels.rows_mut() {
            let brightness = second_largest(image.view()) * self.unit / self.white;
            let nearly = brightness > NEARLY_WHITE.0 && brightness < NEARLY_WHITE.1;
            let unit = if nearly { self.unit / brightness } else { self.unit };
            image.mapv_inplace(|v| (v * unit).clamp(0.0, self.white));
        }
        pixels
    }

    /// Raw images in input values, black being 0, of candidates (m, r), coordinates of centred images, (m, d).
    pub(crate) fn images(&self, candidates: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        self.in_range(self.pixels(self.raw(candidates).view(), parallelism))
    }

    /// The mean raw image in input values, black being 0, (d), when images with these looks are real with these probabilities: what
    /// the sources say of it, in a unit that makes the brightest pixel of the middle one white.
    pub(crate) fn mean_image(&self, images: impl Iterator<Item = (Appearance, f32)>) -> Array1<f32> {
        let mean = self.pixels(self.mean.view().insert_axis(Axis(0)), ALONE).index_axis_move(Axis(0), 0);
        let brightness = weighted_median(images.map(|(look, real)| (look.brightness, real))).unwrap_or(1.0);
        mean * (self.unit / brightness)
    }

    /// How the raw images of candidates (m, r) look, which were `before` (m, r) until they were refined.
    pub(crate) fn appearances(
        &self,
        candidates: ArrayView2<'_, f32>,
        before: ArrayView2<'_, f32>,
        parallelism: Parallelism,
    ) -> Vec<Appearance> {
        let raw = self.raw(candidates);
        let mut looks = self.appearances_of(raw.view(), parallelism);
        for (look, (image, before)) in looks.iter_mut().zip(raw.rows().into_iter().zip(before.rows())) {
            let cosine = Multiple::of(before, image, self.mean.view()).cosine as f32;
            look.unchanged = if cosine.is_finite() { cosine } else { 0.0 };
        }
        looks
    }

    /// The same of raw images (m, r), in units of the offset, which were not refined.
    fn appearances_of(&self, raw: ArrayView2<'_, f32>, parallelism: Parallelism) -> Vec<Appearance> {
        let edges = self.along_of(raw, 0..self.edges, parallelism);
        let pixels = self.pixels(raw, parallelism);
        let of = |(edges, pixels): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
            let strong = EDGE_SCALES.1 * EDGE_SCALES.1 * reduce::squared_norm(edges) / edges.len() as f64;
            let contrast: Vec<f64> = edges.iter().map(|&e| (f64::from(e).powi(2) / strong).ln_1p()).collect();
            let contrast = (reduce::sum(&contrast) / contrast.len() as f64) as f32;
            let brightness = second_largest(pixels) * self.unit / self.white;
            Appearance {
                // Without edges, as if they were all alike.
                contrast: if contrast.is_finite() { contrast } else { EDGE_SCALES.1.powi(-2).ln_1p() as f32 },
                brightness: if brightness.is_finite() { brightness } else { 0.0 },
                unchanged: OF_SOURCES,
            }
        };
        edges.rows().into_iter().zip(pixels.rows()).map(of).collect()
    }

    /// Candidates (m, r), coordinates of centred images, with the offset that they lack, if there is one, (m, r or r + 1).
    pub(crate) fn with_offset(&self, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
        let shares = Array2::ones((candidates.nrows(), usize::from(self.has_offset())));
        concatenate![Axis(1), self.raw(candidates), shares]
    }

    /// Candidates of images (m, r or r + 1) with any length.
    pub(crate) fn without_offset(&self, images: ArrayView2<'_, f32>) -> Array2<f32> {
        if !self.has_offset() {
            return self.centred(self.with_white(images.to_owned()));
        }
        let (raw, offset) = images.split_at(Axis(1), self.mean.len());
        self.centred(&raw / &offset)
    }
}

/// What the sparsest sources of a span are pictures on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    /// On black, as raw images are: nothing was taken from the inputs.
    Black,
    /// On one value that is not zero: a constant was taken from the inputs.
    Constant,
    /// On something else.
    Other,
}

impl Background {
    /// Of `sources` (k, r), of either sign, in the span of `basis` (r, d): that of more than half of the sparsest.
    pub(crate) fn of(basis: ArrayView2<'_, f32>, sources: &Separation, parallelism: Parallelism) -> Self {
        let mut order: Vec<usize> = (0..sources.contrasts.len()).collect();
        order.sort_by(|&a, &b| sources.contrasts[a].total_cmp(&sources.contrasts[b]));
        order.truncate((COUNTED * basis.nrows() as f64).ceil() as usize);
        let images = matmul(sources.coordinates.select(Axis(0), &order).view(), basis, parallelism);
        let most = |test: &dyn Fn(ArrayView1<'_, f32>) -> bool| {
            2 * images.rows().into_iter().filter(|image| test(*image)).count() > images.nrows()
        };
        let on_constant = |image: ArrayView1<'_, f32>| {
            let mut values = image.to_vec();
            values.sort_by(f32::total_cmp);
            let darker = (DARKER * values.len() as f64) as usize;
            let (low, high) = (values[darker], values[values.len() - 1 - darker]);
            is_on_black(image.mapv(|v| v - low).view()) || is_on_black(image.mapv(|v| high - v).view())
        };
        if most(&|image| is_on_black((&image * image.sum().signum()).view())) {
            Self::Black
        } else if most(&on_constant) {
            Self::Constant
        } else {
            Self::Other
        }
    }
}

/// Whether hardly a pixel of `image` is below black and many are black.
fn is_on_black(image: ArrayView1<'_, f32>) -> bool {
    let all = reduce::squared_norm(image);
    let below: f64 = image.iter().filter(|&&v| v < 0.0).map(|&v| f64::from(v).powi(2)).sum();
    let dark = (NEARLY_BLACK * all / image.len() as f64).sqrt() as f32;
    let black = image.iter().filter(|v| v.abs() < dark).count();
    below < BELOW_BLACK * all && black as f64 > BLACK * image.len() as f64
}

/// How nearly a candidate is a multiple of an image without the mean.
struct Multiple {
    factor: f64,
    cosine: f64,
}

impl Multiple {
    fn of(candidate: ArrayView1<'_, f32>, image: ArrayView1<'_, f32>, mean: ArrayView1<'_, f32>) -> Self {
        let (mut product, mut squared) = (0.0, 0.0);
        Zip::from(candidate).and(image).and(mean).for_each(|&candidate, &image, &mean| {
            let centred = f64::from(image - mean);
            product += f64::from(candidate) * centred;
            squared += centred * centred;
        });
        Self { factor: product / squared, cosine: product / (squared.sqrt() * reduce::norm(candidate)) }
    }
}

/// The value below which half of the weight of `(value, weight)` lies; none if that is not positive.
fn weighted_median(values: impl Iterator<Item = (f32, f32)>) -> Option<f32> {
    let mut values: Vec<(f32, f32)> = values.collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = 0.5 * values.iter().map(|(_, weight)| weight).sum::<f32>();
    let mut below = 0.0;
    let middle = values.iter().find(|(_, weight)| {
        below += weight;
        below >= half
    });
    middle.map(|&(value, _)| value).filter(|&value| value > 0.0 && value.is_finite())
}

/// The largest value but one: what is wrong with an image is often at its brightest pixel.
fn second_largest(values: ArrayView1<'_, f32>) -> f32 {
    let lowest = f32::NEG_INFINITY;
    let largest = |(first, second): (f32, f32), &v: &f32| (first.max(v), second.max(first.min(v)));
    values.iter().fold((lowest, lowest), largest).1
}

/// The reweighted least squares of one image, and its memory.
struct Fit<'a> {
    raw: &'a RawImages,
    /// The image before the first step, (r + 1).
    before: Array1<f32>,
    /// Edges and pixels of the image, (1, edges + d).
    values: Array2<f32>,
    /// Square roots of the weights of the squares, (edges + d).
    roots: Vec<f32>,
    weighted: Array2<f32>,
    normal: Cholesky<f32>,
    next: Array2<f32>,
}

impl<'a> Fit<'a> {
    fn of(raw: &'a RawImages) -> Self {
        let (order, columns) = raw.along.dim();
        Self {
            raw,
            before: Array1::zeros(order),
            values: Array2::zeros((1, columns)),
            roots: vec![0.0; columns],
            weighted: Array2::zeros((order, columns)),
            normal: Cholesky::with_order(order, ALONE),
            next: Array2::zeros((order, 1)),
        }
    }

    /// Moves an image (r + 1) to the least weighted squares at edges as strong as before; whether that could be done.
    fn step(&mut self, mut image: ArrayViewMut1<'_, f32>, edge_scale: f32, dark_weight: f32) -> bool {
        let along = self.raw.along.view();
        let edges = self.raw.edges;
        gemm(1.0, image.view().insert_axis(Axis(0)), along, 0.0, self.values.view_mut(), ALONE);
        let values = self.values.as_slice_mut().expect("values are contiguous");
        let root_mean_square =
            |values: &[f32]| (reduce::sum_squares(values) / values.len() as f64).sqrt() as f32;
        let (of_edges, of_pixels) = values.split_at_mut(edges);
        let (edge, pixel) = (root_mean_square(of_edges), root_mean_square(of_pixels));
        let (edge_roots, pixel_roots) = self.roots.split_at_mut(edges);
        weigh_edges(of_edges, edge, edge_scale, edge_roots);
        weigh_pixels(of_pixels, pixel, 1.0 / (edge_scale * edge_scale), dark_weight, pixel_roots);
        for (row, mut weighted) in along.rows().into_iter().zip(self.weighted.rows_mut()) {
            let row = row.to_slice().expect("rows are contiguous");
            let weighted = weighted.as_slice_mut().expect("rows are contiguous");
            vectorised(|| {
                for ((weighted, v), root) in weighted.iter_mut().zip(row).zip(&self.roots) {
                    *weighted = v * root;
                }
            });
        }
        let mut normal = self.normal.matrix_mut();
        symmetric(self.weighted.view(), normal.view_mut(), ALONE);
        let ridge = RIDGE * normal.diag().sum() / normal.nrows() as f32;
        normal.diag_mut().mapv_inplace(|v| v + ridge);
        if self.normal.factor().is_err() {
            return false;
        }
        // The slope of what is held: the mean square of the edges.
        let of_edges = self.values.slice(s![.., ..edges]);
        let next = self.next.view_mut();
        gemm(1.0 / edges as f32, along.slice(s![.., ..edges]), of_edges.t(), 0.0, next, ALONE);
        self.normal.solve_in_place(self.next.view_mut());
        gemm(1.0, self.next.t(), along, 0.0, self.values.view_mut(), ALONE);
        let now = root_mean_square(&self.values.as_slice().expect("values are contiguous")[..edges]);
        let length = edge / now;
        image.zip_mut_with(&self.next.column(0), |old, &new| *old = length * new);
        length.is_finite() && length > 0.0
    }
}

/// Square roots of the weights of edges: those that are strong, in units of `unit`, count little.
fn weigh_edges(edges: &[f32], unit: f32, scale: f32, roots: &mut [f32]) {
    let (strong, share) = (scale * scale, 1.0 / edges.len() as f32);
    let squared = 1.0 / (unit * unit);
    vectorised(|| {
        for (root, edge) in roots.iter_mut().zip(edges) {
            *root = (share / (strong + edge * edge * squared)).sqrt();
        }
    });
}

/// Square roots of the weights of pixels: those below black count `below`, dark ones `dark`.
fn weigh_pixels(pixels: &[f32], unit: f32, below: f32, dark: f32, roots: &mut [f32]) {
    let share = 1.0 / pixels.len() as f32;
    let squared = 1.0 / (unit * unit);
    vectorised(|| {
        for (root, &pixel) in roots.iter_mut().zip(pixels) {
            let black = if pixel < 0.0 { below } else { 0.0 };
            *root = (share * (black + dark / (DARK * DARK + pixel * pixel * squared))).sqrt();
        }
    });
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_numerics::seed::Seed;

    use std::ops::ControlFlow;

    use palimpsest_numerics::factor::orthonormal_rows;

    use super::*;
    use crate::offset::tests::{SHAPE, basis, centred, images};
    use crate::reconstruction::TerminationReason;
    use crate::separation::{SeparationParams, WhitenedEdges, separate};

    /// Raw images of a span, told from its true images and the true offset; the centred images, and the basis.
    fn known() -> (RawImages, Array2<f32>, Array2<f32>) {
        let (centred, mean) = centred();
        let basis = basis(&centred);
        let offset = Offset::outside(basis.view(), mean, ALONE).unwrap();
        let sources = matmul(images().view(), offset.widen(basis.view()).t(), ALONE);
        let raw = RawImages::of(basis.view(), SHAPE, (0.0, 1.0), Some(&offset), sources.view(), ALONE);
        (raw.expect("sources tell it"), centred, basis)
    }

    fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
        reduce::inner(&a.to_vec(), &b.to_vec()) / reduce::norm(a) / reduce::norm(b)
    }

    /// Coordinates of the centred images, with noise of `share` of their length.
    fn rough(centred: &Array2<f32>, basis: &Array2<f32>, share: f32) -> Array2<f32> {
        let mut rows = matmul(centred.view(), basis.t(), ALONE);
        let noise: Array2<f32> =
            Array2::random_using(rows.dim(), StandardNormal, &mut Seed::new(2).named("noise").rng());
        for (mut row, noise) in rows.rows_mut().into_iter().zip(noise.rows()) {
            let length = reduce::norm(row.view()) / reduce::norm(noise);
            row.scaled_add(share * length as f32, &noise);
        }
        rows
    }

    #[test]
    fn rough_images_become_exact_ones() {
        let (raw, centred, basis) = known();
        let rough = rough(&centred, &basis, 0.5);
        let near = |candidates: &Array2<f32>| {
            let lifted = matmul(candidates.view(), basis.view(), ALONE);
            centred.rows().into_iter().zip(lifted.rows()).filter(|(a, b)| cosine(*a, *b) > 0.99).count()
        };
        assert_eq!(near(&rough), 0);
        let refined = raw.refine(rough.view());
        assert!(near(&refined) >= 24, "{} of {}", near(&refined), rough.nrows());
        // Whatever they become, they look more like images.
        let contrast = |candidates: &Array2<f32>| -> f32 {
            raw.appearances(candidates.view(), candidates.view(), ALONE)
                .iter()
                .map(|look| look.contrast)
                .sum()
        };
        assert!(contrast(&refined) < 0.8 * contrast(&rough));
    }

    #[test]
    fn raw_inputs_need_no_offset() {
        let images = images();
        let basis = orthonormal_rows(images.view(), ALONE).unwrap();
        let sources = matmul(images.view(), basis.t(), ALONE);
        let raw = RawImages::of(basis.view(), SHAPE, (0.0, 2.0), None, sources.view(), ALONE).unwrap();
        let mut rough = rough(&images, &basis, 0.4) * 3.0;
        // Some are found upside down.
        rough.slice_mut(s![..10, ..]).mapv_inplace(|v| -v);
        let near = |shown: &Array2<f32>| {
            let pairs = shown.rows().into_iter().zip(images.rows());
            pairs.filter(|(shown, image)| cosine(*shown, *image) > 0.98).count()
        };
        let shown = raw.images(raw.refine(rough.view()).view(), ALONE);
        assert_eq!(near(&raw.images(rough.view(), ALONE)), 0);
        assert!(near(&shown) >= 24, "{} of 30", near(&shown));
        for image in shown.rows() {
            assert!((second_largest(image) - 2.0).abs() < 1e-3, "white is 2");
        }
        // Of any length, as merged ones are, and there and back.
        let refined = raw.refine(rough.view());
        let back = raw.without_offset((raw.with_offset(refined.view()) * 0.2).view());
        assert!((&back - &refined).iter().all(|v| v.abs() < 1e-3));
        let looks = raw.appearances(refined.view(), rough.view(), ALONE);
        assert!(looks.iter().skip(10).all(|look| look.unchanged > 0.5), "{looks:?}");
        assert!(raw.mean_image(looks.into_iter().map(|look| (look, 1.0))).iter().all(|&v| v == 0.0));
    }

    #[test]
    fn pictures_on_black_are_told_from_centred_ones() {
        let separated = |images: &Array2<f32>| {
            let basis = orthonormal_rows(images.view(), ALONE).unwrap();
            let edges = WhitenedEdges::of(basis.view(), SHAPE, ALONE).unwrap();
            let params = SeparationParams::default();
            let go_on = &mut |_| ControlFlow::Continue(());
            let plain = separate(&edges, &params, Seed::new(4), ALONE, go_on).unwrap();
            Background::of(basis.view(), &plain, ALONE)
        };
        let (centred, _) = centred();
        let images = images();
        assert_eq!(separated(&images), Background::Black);
        assert_eq!(separated(&(&images - 0.5)), Background::Constant);
        assert_eq!(separated(&centred.slice(s![1.., ..]).to_owned()), Background::Other);
    }

    #[test]
    fn sources_tell_sign_and_length() {
        let (raw, centred, basis) = known();
        let (_, mean) = crate::offset::tests::centred();
        let offset = Offset::outside(basis.view(), mean, ALONE).unwrap();
        let mut sources = matmul(images().view(), offset.widen(basis.view()).t(), ALONE);
        for (i, mut source) in sources.rows_mut().into_iter().enumerate() {
            let length = reduce::norm(source.view()) as f32;
            source *= if i % 2 == 0 { 1.0 } else { -1.0 } / length;
        }
        let rows = matmul(raw.centred_sources(sources.view()).view(), basis.view(), ALONE);
        let pairs = || rows.rows().into_iter().zip(centred.rows());
        let right = pairs().filter(|(row, image)| cosine(*row, *image) > 0.95).count();
        assert!(right >= 24, "{right} of 30");
        for (row, image) in pairs() {
            let length = reduce::norm(row) / reduce::norm(image);
            assert!((0.5..2.0).contains(&length), "{length}");
        }
    }

    #[test]
    fn true_images_look_like_images_and_mixtures_do_not() {
        let (raw, centred, basis) = known();
        let of = |share| {
            let rows = rough(&centred, &basis, share);
            raw.appearances(rows.view(), rows.view(), ALONE)
        };
        let least = of(2.0).iter().map(|look| look.contrast).fold(f32::INFINITY, f32::min);
        for look in of(0.0) {
            assert!(look.contrast < least, "{look:?}, {least}");
            assert!((0.4..1.6).contains(&look.brightness), "{look:?}");
        }
    }

    #[test]
    fn images_are_in_range_and_the_mean_is_what_was_taken() {
        let (raw, centred, basis) = known();
        let rows = rough(&centred, &basis, 0.0);
        let shown = raw.images(rows.view(), ALONE);
        assert!(shown.iter().all(|v| (0.0..=1.0).contains(v)));
        for (shown, image) in shown.rows().into_iter().zip(images().rows()) {
            assert!(cosine(shown, image) > 0.98, "{}", cosine(shown, image));
        }
        let looks = raw.appearances(rows.view(), rows.view(), ALONE);
        let mean = raw.mean_image(looks.into_iter().map(|look| (look, 1.0)));
        let (_, truth) = crate::offset::tests::centred();
        assert!(cosine(mean.view(), truth.view()) > 0.98, "{}", cosine(mean.view(), truth.view()));
        // There and back.
        let back = raw.without_offset((raw.with_offset(rows.view()) * 3.0).view());
        assert!((&back - &rows).iter().all(|v| v.abs() < 1e-3));
    }

    #[test]
    fn what_refinement_changed_tells_the_mean() {
        let (raw, centred, basis) = known();
        let truth = matmul(centred.view(), basis.t(), ALONE);
        let images = raw.raw(truth.view());
        let error =
            |told: &RawImages| reduce::norm((&told.mean - &raw.mean).view()) / reduce::norm(raw.mean.view());
        // A mean that is wrong, and restarts whose candidates are multiples of the images without the right one.
        let mut wrong = raw.clone();
        wrong.mean += &(&images.row(0) * 0.2);
        let run = |before: Array2<f32>| Run {
            coordinates: wrong.centred(images.clone()),
            unrefined: Some(before),
            multipliers: Array1::zeros(images.nrows()),
            relative_residual: 0.1,
            curve: Vec::new(),
            termination: TerminationReason::MaxSteps,
        };
        let mut runs = [0.2, 0.4, f32::NAN].map(|share| run(rough(&centred, &basis, share) * 1.7));
        let told = wrong.told_by(runs.iter_mut());
        assert!(
            error(&wrong) > 0.1 && error(&told) < 0.4 * error(&wrong),
            "{} {}",
            error(&wrong),
            error(&told)
        );
        for run in &runs {
            let kept = told.raw(run.coordinates.view()) - &images;
            assert!(kept.iter().all(|v| v.abs() < 1e-4), "the images stay");
        }
        // Restarts that found nothing tell nothing.
        let mut runs = [run(rough(&centred, &basis, 50.0))];
        assert_eq!(wrong.told_by(runs.iter_mut()).mean, wrong.mean);
    }

    #[test]
    fn what_is_not_finite_stays_as_it_is() {
        let (raw, centred, basis) = known();
        let mut rows = rough(&centred, &basis, 0.1);
        rows.row_mut(3).fill(f32::NAN);
        let refined = raw.refine(rows.view());
        assert!(refined.row(3).iter().all(|v| v.is_nan()));
        let finite = |row: ArrayView1<'_, f32>| row.iter().all(|v| v.is_finite());
        assert_eq!(refined.rows().into_iter().filter(|row| finite(*row)).count(), rows.nrows() - 1);
    }

    #[test]
    fn a_weighted_median_is_where_half_of_the_weight_is() {
        let of = |values: &[(f32, f32)]| weighted_median(values.iter().copied());
        assert_eq!(of(&[(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]), Some(2.0));
        assert_eq!(of(&[(3.0, 5.0), (1.0, 1.0), (2.0, 1.0)]), Some(3.0));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0.0, 1.0)]), None);
    }
}
