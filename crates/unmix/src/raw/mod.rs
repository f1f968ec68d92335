//! Raw images, where what was taken from all inputs is known, or nothing was.
//!
//! A candidate with the mean image added back ([`crate::mean_image`]) is a raw image, and so is one of a network that was trained on raw images.
//! Much is known of raw images that is not of centred ones: no pixel is below black, edges are few and strong, and where the mean image
//! was worth looking for, many pixels are black.
//! Together these are far more equations than there are directions, so a candidate that is nearly an input can be moved until it is
//! one: reweighted least squares of its edges and its dark pixels, relative to its own contrast, pixels below black counting in full.
//! Nothing is asked of the network. `docs/decisions/0017-raw-images.md` has the measurement.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, concatenate, s};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::weighted_median;
use palimpsest_numerics::reduce;
use rayon::prelude::*;

use crate::edges::edges;
use crate::mean_image::{MeanImage, RawSources};

mod appearance;
mod background;
mod refinement;

pub use appearance::Appearance;
pub use background::Background;
use refinement::{ALONE, EDGE_SCALES, Fit};

/// Share of the mean image in an image outside of which it says nothing of the image's length.
const SHARES: (f32, f32) = (0.5, 2.0);
/// Brightest pixel but one, in units of white, that is taken for white.
const NEARLY_WHITE: (f32, f32) = (0.6, 1.6);
/// Part of white below which a pixel is black to whoever looks at it: four of 256 levels, and most of what is left of other images in a
/// background.
const NEARLY_BLACK: f32 = 0.016;
/// Cosine of a candidate with what refinement made of it from which on both tell the mean image.
const NEAR: f64 = 0.8;
/// What is added to their distance, one minus that cosine: weights are the inverse square of it.
const NEAREST: f64 = 0.01;
/// That cosine where it is not known: that of images that were found.
const OF_SOURCES: f32 = 0.95;
/// Rounds from one mean image to the next: it moves little after the first.
const MEAN_ROUNDS: usize = 10;
/// Images that a thread refines with the same memory.
const BLOCK: usize = 16;

/// The raw images of a problem.
#[derive(Clone, Debug)]
pub struct RawImages {
    /// Edges, then pixels, along each direction of the span and along the mean image, if there is one, (r or r + 1, edges + d).
    along: Array2<f32>,
    edges: usize,
    /// Mean raw image, in coordinates of the span (r), in units of the mean image; zero where nothing was taken from the inputs.
    mean: Array1<f32>,
    /// What was taken from all pixels, in units of the mean image, where that was a constant.
    constant: Option<f32>,
    /// One unit, in input values.
    unit: f32,
    /// Largest raw value, black being 0.
    white: f32,
}

impl RawImages {
    /// Those in the span of `basis` (r, d), orthonormal rows that are images of the channels, height and width `shape`, with an
    /// `mean_image` if there is one. `sources` (k, r + 1), as they are found in the span with the mean image, tell its part in the span and the unit;
    /// none if they tell nothing of them, or are no pictures that it was taken from. Without a mean image the unit is white.
    pub fn of(
        basis: ArrayView2<'_, f32>,
        shape: [usize; 3],
        (low, high): (f64, f64),
        mean_image: Option<&MeanImage>,
        sources: ArrayView2<'_, f32>,
        likely: &dyn Fn(&Appearance) -> f32,
        parallelism: Parallelism,
    ) -> Option<Self> {
        let widened = mean_image.map_or(basis.to_owned(), |mean_image| mean_image.widen(basis));
        let edges = edges(widened.view(), shape);
        let count = edges.ncols();
        let mut raw = Self {
            // Products walk along rows.
            along: concatenate![Axis(1), edges, widened].as_standard_layout().into_owned(),
            edges: count,
            mean: Array1::zeros(basis.nrows()),
            constant: mean_image.and_then(|mean_image| mean_image.constant),
            unit: (high - low) as f32,
            white: (high - low) as f32,
        };
        if mean_image.is_none() {
            return Some(raw);
        }
        let shares = sources.column(raw.mean.len());
        if !background::are_light(matmul(sources, widened.view(), parallelism).view(), shares) {
            return None;
        }
        let images = raw.of_sources(sources);
        // Pictures commonly use the range that they have.
        let looks = raw.appearances_of(images.view(), parallelism);
        let typical = positive_median(looks.iter().map(|look| (look.brightness, 1.0)))?;
        raw.unit /= typical;
        let real: Array1<f32> = looks
            .iter()
            .map(|look| likely(&Appearance { brightness: look.brightness / typical, ..*look }))
            .collect();
        raw.mean = matmul(real.view().insert_axis(Axis(0)), images.view(), parallelism)
            .index_axis_move(Axis(0), 0)
            / real.sum();
        (raw.unit.is_finite() && raw.mean.iter().all(|v| v.is_finite())).then_some(raw)
    }

    fn has_mean_image(&self) -> bool {
        self.along.nrows() > self.mean.len()
    }

    /// Sources (k, r or r + 1) as refined raw images (k, r), in units of the mean image.
    fn of_sources(&self, sources: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut rows = sources.to_owned();
        if !self.has_mean_image() {
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
    pub fn centred_sources(&self, sources: ArrayView2<'_, f32>) -> Array2<f32> {
        self.centred(self.of_sources(sources))
    }

    /// Candidates (m, r), coordinates of centred images, refined.
    pub fn refine(&self, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
        self.centred(self.refine_rows(self.with_mean_image(candidates)))
    }

    /// The same with a better mean image, which `runs` tell whose candidates were refined; their coordinates then are of images without
    /// that mean.
    ///
    /// What descent finds of an image is a multiple of the image without the mean, and what refinement makes of it is the raw image: they
    /// differ by the mean. The nearer both are the more that says.
    pub fn told_by<'a>(
        &self,
        runs: impl Iterator<Item = (&'a mut Array2<f32>, Option<&'a Array2<f32>>)>,
    ) -> Self {
        if !self.has_mean_image() {
            return self.clone();
        }
        let mut runs: Vec<_> =
            runs.map(|(refined, before)| (self.raw(refined.view()), refined, before)).collect();
        let mut better = self.clone();
        for _ in 0..MEAN_ROUNDS {
            let (mut sum, mut total) = (Array1::<f64>::zeros(self.mean.len()), 0.0);
            let pairs = runs.iter().filter_map(|(images, _, before)| Some((images, (*before)?)));
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
        for (images, refined, _) in &mut runs {
            **refined = better.centred(std::mem::take(images));
        }
        better
    }

    /// Images with some of the mean image, if there is one, (m, r or r + 1), refined and of the length that they have, (m, r).
    fn refine_rows(&self, mut rows: Array2<f32>) -> Array2<f32> {
        let refine = |rows: &mut Array2<f32>| {
            let blocks = rows.axis_chunks_iter_mut(Axis(0), BLOCK).into_par_iter();
            blocks.for_each(|block| Fit::of(self.along.view(), self.edges).refine(block));
        };
        if !self.has_mean_image() {
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

    /// Raw images (m, r), in units of the mean image, of candidates (m, r), coordinates of centred images.
    fn raw(&self, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
        &candidates / self.unit + &self.mean
    }

    /// The other way round.
    fn centred(&self, raw: Array2<f32>) -> Array2<f32> {
        (raw - &self.mean) * self.unit
    }

    /// The pixels of raw images (m, r), in units of the mean image, (m, d).
    fn pixels(&self, images: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        self.along_of(images, self.edges..self.along.ncols(), parallelism)
    }

    /// The edges or the pixels of raw images (m, r), in units of the mean image.
    fn along_of(
        &self,
        images: ArrayView2<'_, f32>,
        columns: Range<usize>,
        parallelism: Parallelism,
    ) -> Array2<f32> {
        let along = self.along.slice(s![.., columns]);
        let (basis, mean_image) = along.split_at(Axis(0), self.mean.len());
        let mut values = matmul(images, basis, parallelism);
        if self.has_mean_image() {
            values += &mean_image;
        }
        values
    }

    /// Pixels (m, d) in units of the mean image as raw input values: the brightest pixel is white if it is nearly that, and what is outside
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
    pub fn images(&self, candidates: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        self.in_range(self.pixels(self.raw(candidates).view(), parallelism))
    }

    /// The same as they are to be looked at: what is nearly black is black.
    pub fn shown(&self, candidates: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        let mut images = self.images(candidates, parallelism);
        images.mapv_inplace(|v| if v < NEARLY_BLACK * self.white { 0.0 } else { v });
        images
    }

    /// What was taken from all raw images, in input values, black being 0, (d), when images with these looks are real with these
    /// probabilities: the mean image as the sources tell it or the constant that it was, in a unit that makes the brightest pixel of the
    /// middle one white.
    pub fn mean_image(&self, images: impl Iterator<Item = (Appearance, f32)>) -> Array1<f32> {
        let mean = match self.constant {
            Some(value) => Array1::from_elem(self.along.ncols() - self.edges, value),
            None => self.pixels(self.mean.view().insert_axis(Axis(0)), ALONE).index_axis_move(Axis(0), 0),
        };
        let brightness = positive_median(images.map(|(look, real)| (look.brightness, real))).unwrap_or(1.0);
        mean * (self.unit / brightness)
    }

    /// How the raw images of candidates (m, r) look, which were `before` (m, r) until they were refined.
    pub fn appearances(
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

    /// The same of raw images (m, r), in units of the mean image, which were not refined.
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

    /// Candidates (m, r), coordinates of centred images, with the mean image that they lack, if there is one, (m, r or r + 1).
    fn with_mean_image(&self, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
        let shares = Array2::ones((candidates.nrows(), usize::from(self.has_mean_image())));
        concatenate![Axis(1), self.raw(candidates), shares]
    }
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

/// The median of `(value, weight)`; none if that is not positive.
fn positive_median(values: impl Iterator<Item = (f32, f32)>) -> Option<f32> {
    weighted_median(values).filter(|&value| value > 0.0 && value.is_finite())
}

/// The largest value but one: what is wrong with an image is often at its brightest pixel.
fn second_largest(values: ArrayView1<'_, f32>) -> f32 {
    let lowest = f32::NEG_INFINITY;
    let largest = |(first, second): (f32, f32), &v: &f32| (first.max(v), second.max(first.min(v)));
    values.iter().fold((lowest, lowest), largest).1
}

#[cfg(test)]
mod tests;
