//! What sources are pictures on: it says whether a constant, or nothing, was taken from the inputs.

use ndarray::{ArrayView1, ArrayView2, Axis};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce;

use crate::mean_image::COUNTED;
use crate::separation::Separation;

/// Share of the squares of a raw image that is below black for noise alone: 0.001 at the median where inputs are raw, 0.06 to 0.4 where
/// they are centred.
const BELOW_BLACK: f64 = 0.02;
/// Share of the pixels that may be darker than the background.
const DARKER: f64 = 0.05;
/// Square of a pixel, in units of the mean square, up to which it is as good as black, and the share of pixels that are.
const NEARLY_BLACK: f64 = 0.04;
const BLACK: f64 = 0.25;
/// Share of the sources that are light where their share of the mean image is positive: 0.88 to 0.93 of pictures on black, about half of others,
/// which have nothing in common with a direction that was found to have few edges.
const LIGHT: f64 = 0.75;
/// Share of the squares of such a source that is below black, at the median: 0.01 to 0.19 of pictures on black, 0.15 to 0.5 of others.
const DARK_SIDE: f64 = 0.25;

/// What the sparsest sources of a span are pictures on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// On black, as raw images are: nothing was taken from the inputs.
    Black,
    /// On one value that is not zero: a constant was taken from the inputs.
    Constant,
    /// On something else.
    Other,
}

impl Background {
    /// Of `sources` (k, r), of either sign, in the span of `basis` (r, d): that of more than half of the sparsest.
    pub fn of(basis: ArrayView2<'_, f32>, sources: &Separation, parallelism: Parallelism) -> Self {
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

/// Whether `sources` (k, d), of either sign, are light where their `shares` (k) of the mean image are positive, as raw images are.
pub(super) fn are_light(sources: ArrayView2<'_, f32>, shares: ArrayView1<'_, f32>) -> bool {
    let (mut light, mut below) = (0, Vec::with_capacity(sources.nrows()));
    for (source, share) in sources.rows().into_iter().zip(shares) {
        let dark: f64 =
            source.iter().filter(|&&v| v * share.signum() < 0.0).map(|&v| f64::from(v).powi(2)).sum();
        light += usize::from(source.sum() * share.signum() > 0.0);
        below.push(dark / reduce::squared_norm(source).max(f64::MIN_POSITIVE));
    }
    let most = light as f64 >= LIGHT * below.len() as f64;
    most && upper_median(&mut below).is_some_and(|below| below < DARK_SIDE)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ndarray::{Array2, s};
    use palimpsest_numerics::factor::orthonormal_rows;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::mean_image::tests::{SHAPE, centred, images};
    use crate::raw::ALONE;
    use crate::separation::{SeparationParams, WhitenedEdges, separate};

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
    fn raw_pictures_have_one_light_side_and_mixtures_have_two() {
        let images = images();
        let mut sources = images.clone();
        // A source has either sign, and its share of the mean image the same.
        let mut shares = ndarray::Array1::ones(images.nrows());
        for i in (0..images.nrows()).step_by(2) {
            sources.row_mut(i).mapv_inplace(|v| -v);
            shares[i] = -1.0;
        }
        assert!(are_light(sources.view(), shares.view()));
        // Shares that say nothing of the sign.
        assert!(!are_light(sources.view(), ndarray::Array1::ones(images.nrows()).view()));
        // Pictures that are as dark as they are light.
        let (centred, _) = centred();
        assert!(!are_light(centred.view(), ndarray::Array1::ones(centred.nrows()).view()));
    }
}
