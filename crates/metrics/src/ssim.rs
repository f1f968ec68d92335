//! Structural similarity: how alike two images look.

use ndarray::{ArrayView2, Axis};
use palimpsest_numerics::{Real, reduce};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::image::check_finite;
use crate::{ImageShape, MetricsError, Result};

/// Constants of the index, in units of the data range.
const K1: f64 = 0.01;
const K2: f64 = 0.03;
/// What kornia adds to the denominator; on two black patches it lowers the index by 1e-5.
const DENOMINATOR_FLOOR: f64 = 1e-12;

/// How SSIM is computed. There is no default: a wrong window or range silently changes every number.
///
/// ```
/// use palimpsest_metrics::ssim::{Padding, SsimParams};
/// // The protocol of the published counts, on pixels in [0, 1].
/// let published = SsimParams { window: 3, sigma: 1.5, data_range: 1.0, padding: Padding::Reflect };
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct SsimParams {
    /// Side of the Gaussian window, in pixels; odd.
    pub window: usize,
    /// Standard deviation of the Gaussian, in pixels; above 0.
    pub sigma: f64,
    /// Largest possible value minus smallest: 1 for pixels in [0, 1]; above 0.
    pub data_range: f64,
    /// What lies beyond the border.
    pub padding: Padding,
}

/// What a window sees beyond the border of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Padding {
    /// The image mirrored about its border pixel: `c b | a b c | b a`.
    Reflect,
}

impl SsimParams {
    /// The window's weights in one direction, summing to 1; checks the parameters against the shape.
    fn weights(&self, shape: ImageShape) -> Result<Vec<f64>> {
        let wrong =
            |name, allowed: &str, got| Err(MetricsError::Parameter { name, allowed: allowed.into(), got });
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if self.window.is_multiple_of(2) {
            return wrong("SSIM window", "odd", self.window as f64);
        }
        if !positive(self.sigma) {
            return wrong("SSIM sigma", "finite and above 0 pixels", self.sigma);
        }
        if !positive(self.data_range) {
            return wrong("SSIM data range", "finite and above 0", self.data_range);
        }
        let radius = self.window / 2;
        // Before anything is allocated: a mirrored window may not reach past the opposite border.
        if shape.height.min(shape.width) <= radius {
            let what = format!("an SSIM window of {} with mirrored borders", self.window);
            return Err(MetricsError::TooSmall { what, shape, side: radius + 1 });
        }
        let bell = |i: usize| (-(i as f64 - radius as f64).powi(2) / (2.0 * self.sigma * self.sigma)).exp();
        let mut weights: Vec<f64> = (0..self.window).map(bell).collect();
        let total = reduce::sum(&weights);
        weights.iter_mut().for_each(|w| *w /= total);
        Ok(weights)
    }
}

/// Mean SSIM over pixels and channels, at most 1, of each row of `a` (n, d) with the same row of `b` (n, d).
///
/// # Errors
/// [`MetricsError::Parameter`] and [`MetricsError::TooSmall`] for parameters that do not fit,
/// [`MetricsError::Empty`], and [`MetricsError::NonFinite`] with the row.
///
/// # Panics
/// When the two batches or the shape differ in size.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::{ImageShape, ssim::{Padding, SsimParams, ssim_pairs}};
///
/// let params = SsimParams { window: 3, sigma: 1.5, data_range: 1.0, padding: Padding::Reflect };
/// let (a, b) = (array![[0.1, 0.9, 0.9, 0.1]], array![[0.9, 0.1, 0.1, 0.9]]);
/// let shape = ImageShape { channels: 1, height: 2, width: 2 };
/// assert!(ssim_pairs(a.view(), a.view(), shape, &params)?[0] > 0.9999);
/// assert!(ssim_pairs(a.view(), b.view(), shape, &params)?[0] < 0.0);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
///
/// # Source
/// Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment", 2004, eq. 13, with K1 = 0.01 and K2 = 0.03; equal to
/// `kornia.metrics.ssim` (its 1e-12 in the denominator included), window 3 being what the published counts use.
#[track_caller]
pub fn ssim_pairs<T: Real>(
    a: ArrayView2<'_, T>,
    b: ArrayView2<'_, T>,
    shape: ImageShape,
    params: &SsimParams,
) -> Result<Vec<f64>> {
    assert_eq!(a.dim(), b.dim(), "SSIM compares pairs: both batches need the same shape");
    shape.assert_width("images for SSIM", a);
    check_finite("left images of SSIM", a)?;
    check_finite("right images of SSIM", b)?;
    let mut planes = Planes::new(params.weights(shape)?, shape, params.data_range);
    let (a, b) = (a.as_standard_layout(), b.as_standard_layout());
    let pairs = a.axis_iter(Axis(0)).zip(b.axis_iter(Axis(0)));
    Ok(pairs
        .map(|(a, b)| {
            let (a, b) = (a.to_slice().expect("standard layout"), b.to_slice().expect("standard layout"));
            let channels = a.chunks_exact(shape.plane()).zip(b.chunks_exact(shape.plane()));
            // Channels have equally many pixels, so the mean of their means is the mean over all.
            channels.map(|(a, b)| planes.ssim(a, b)).sum::<f64>() / shape.channels as f64
        })
        .collect())
}

/// Buffers for one channel of a pair, used again for the next.
struct Planes {
    weights: Vec<f64>,
    shape: ImageShape,
    data_range: f64,
    /// A channel of each image, then their squares, then their product.
    moments: [Vec<f64>; 5],
    blurred: [Vec<f64>; 5],
    /// One row with its mirrored borders.
    line: Vec<f64>,
    /// A channel blurred along its rows only.
    rows: Vec<f64>,
}

impl Planes {
    fn new(weights: Vec<f64>, shape: ImageShape, data_range: f64) -> Self {
        let plane = || vec![0.0; shape.plane()];
        Self {
            line: vec![0.0; shape.width + weights.len() - 1],
            weights,
            shape,
            data_range,
            moments: std::array::from_fn(|_| plane()),
            blurred: std::array::from_fn(|_| plane()),
            rows: plane(),
        }
    }

    /// Mean SSIM of one channel.
    fn ssim<T: Real>(&mut self, a: &[T], b: &[T]) -> f64 {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let (a, b) = (a.wide(), b.wide());
            for (moment, value) in self.moments.iter_mut().zip([a, b, a * a, b * b, a * b]) {
                moment[i] = value;
            }
        }
        for (source, target) in self.moments.iter().zip(&mut self.blurred) {
            blur(source, target, &self.weights, self.shape.width, &mut self.line, &mut self.rows);
        }
        let (c1, c2) = ((K1 * self.data_range).powi(2), (K2 * self.data_range).powi(2));
        let [mean_a, mean_b, aa, bb, ab] = &self.blurred;
        let map = &mut self.rows;
        for (i, value) in map.iter_mut().enumerate() {
            let (u, v) = (mean_a[i], mean_b[i]);
            let (uu, vv, uv) = (u * u, v * v, u * v);
            let above = (2.0 * uv + c1) * (2.0 * (ab[i] - uv) + c2);
            let below = (uu + vv + c1) * ((aa[i] - uu) + (bb[i] - vv) + c2);
            *value = above / (below + DENOMINATOR_FLOOR);
        }
        reduce::sum(map) / map.len() as f64
    }
}

/// Blurs a plane along its rows, then along its columns, with mirrored borders.
fn blur(
    source: &[f64],
    target: &mut [f64],
    weights: &[f64],
    width: usize,
    line: &mut [f64],
    rows: &mut [f64],
) {
    let (radius, height) = (weights.len() / 2, source.len() / width);
    for (source, row) in source.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        line[radius..radius + width].copy_from_slice(source);
        for k in 0..radius {
            line[k] = source[radius - k];
            line[radius + width + k] = source[width - 2 - k];
        }
        row.fill(0.0);
        for (k, &weight) in weights.iter().enumerate() {
            row.iter_mut().zip(&line[k..]).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    for (y, out) in target.chunks_exact_mut(width).enumerate() {
        out.fill(0.0);
        for (k, &weight) in weights.iter().enumerate() {
            let from = (y + k).abs_diff(radius); // mirrored at the top
            let from = from.min(2 * (height - 1) - from); // and at the bottom
            out.iter_mut().zip(&rows[from * width..]).for_each(|(sum, value)| *sum += weight * value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use ndarray::{Array2, s};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::null_model::random_noise;
    use palimpsest_numerics::seed::Seed;

    fn params(window: usize) -> SsimParams {
        SsimParams { window, sigma: 1.5, data_range: 1.0, padding: Padding::Reflect }
    }

    /// The formula at one pixel after another, with a two-dimensional window.
    fn naive(a: &[f32], b: &[f32], shape: ImageShape, params: &SsimParams) -> f64 {
        let radius = (params.window / 2) as isize;
        let mirror = |i: isize, len: usize| {
            let i = i.abs();
            let last = len as isize - 1;
            (if i > last { 2 * last - i } else { i }) as usize
        };
        let mut total = 0.0;
        for c in 0..shape.channels {
            for y in 0..shape.height as isize {
                for x in 0..shape.width as isize {
                    let (mut weight, mut ea, mut eb, mut eaa, mut ebb, mut eab) =
                        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
                    for dy in -radius..=radius {
                        for dx in -radius..=radius {
                            let w = (-((dy * dy + dx * dx) as f64) / (2.0 * params.sigma.powi(2))).exp();
                            let at = c * shape.plane()
                                + mirror(y + dy, shape.height) * shape.width
                                + mirror(x + dx, shape.width);
                            let (a, b) = (f64::from(a[at]), f64::from(b[at]));
                            weight += w;
                            ea += w * a;
                            eb += w * b;
                            eaa += w * a * a;
                            ebb += w * b * b;
                            eab += w * a * b;
                        }
                    }
                    let (ea, eb) = (ea / weight, eb / weight);
                    let (va, vb) = (eaa / weight - ea * ea, ebb / weight - eb * eb);
                    let cov = eab / weight - ea * eb;
                    let (c1, c2) = ((0.01 * params.data_range).powi(2), (0.03 * params.data_range).powi(2));
                    total += (2.0 * ea * eb + c1) * (2.0 * cov + c2)
                        / ((ea * ea + eb * eb + c1) * (va + vb + c2) + 1e-12);
                }
            }
        }
        total / shape.size() as f64
    }

    proptest! {
        #[test]
        fn agrees_with_the_formula(
            n in 1usize..4, channels in 1usize..4, height in 1usize..9, width in 1usize..9, radius in 0usize..5,
            sigma in 0.3..3.0_f64, data_range in 0.5..300.0_f64, seed: u64,
        ) {
            let shape = ImageShape { channels, height, width };
            let params = SsimParams { window: 2 * radius + 1, sigma, data_range, padding: Padding::Reflect };
            let seed = Seed::new(seed);
            let a = random_noise(n, shape.size(), 0.3 * data_range, &seed.named("a"));
            let b = random_noise(n, shape.size(), 0.1 * data_range, &seed.named("b")) + &a;
            let got = ssim_pairs(a.view(), b.view(), shape, &params);
            if height.min(width) <= radius {
                let refused = matches!(got, Err(MetricsError::TooSmall { .. }));
                prop_assert!(refused);
            } else {
                for (i, got) in got.unwrap().into_iter().enumerate() {
                    let (a, b) = (a.row(i), b.row(i));
                    let expected = naive(a.to_slice().unwrap(), b.to_slice().unwrap(), shape, &params);
                    prop_assert!((got - expected).abs() < 1e-10, "{got} and {expected}");
                }
            }
        }
    }

    #[test]
    fn agrees_with_kornia() {
        let fixture: Value = serde_json::from_str(include_str!("../fixtures/ssim.json")).unwrap();
        let mut compared = 0;
        for pair in fixture["pairs"].as_array().unwrap() {
            let side = |i: usize| pair["shape"][i].as_u64().unwrap() as usize;
            let shape = ImageShape { channels: side(1), height: side(2), width: side(3) };
            let image = |name: &str| {
                let mut values = Vec::new();
                flatten(&pair[name], &mut values);
                Array2::from_shape_vec((side(0), shape.size()), values).unwrap()
            };
            for window in [3, 11] {
                let Some(expected) = pair[format!("ssim{window}")].as_array() else { continue };
                let got = ssim_pairs(image("a").view(), image("b").view(), shape, &params(window)).unwrap();
                assert_eq!(got.len(), expected.len());
                for (got, expected) in got.iter().zip(expected) {
                    let expected = expected.as_f64().unwrap();
                    assert!((got - expected).abs() < 1e-10, "window {window}: {got} and {expected}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 7);
    }

    fn flatten(value: &Value, into: &mut Vec<f64>) {
        match value.as_array() {
            Some(values) => values.iter().for_each(|v| flatten(v, into)),
            None => into.push(value.as_f64().unwrap()),
        }
    }

    #[test]
    fn agrees_with_kornia_on_official_images() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        let goldens = shared.join("reference/ssim.json");
        let Ok(text) = std::fs::read_to_string(&goldens) else {
            println!("SKIPPED: no {}", goldens.display());
            return;
        };
        let goldens: Value = serde_json::from_str(&text).unwrap();
        let grey = ImageShape { channels: 1, height: 28, width: 28 };
        let colour = ImageShape { channels: 3, height: 32, width: 32 };
        let sets = [
            ("mnist_test_first6_vs_next", "data/mnist/t10k-images-idx3-ubyte.gz", 16, 784, grey),
            ("cifar10_test_first6_vs_next", "data/cifar10/test_batch.bin.gz", 1, 3073, colour),
        ];
        for (name, file, header, stride, shape) in sets {
            let file = shared.join(file);
            let bytes = match Command::new("gzip").arg("-dc").arg(&file).output() {
                Ok(output) if output.status.success() => output.stdout,
                _ => {
                    println!("SKIPPED {name}: cannot unpack {}", file.display());
                    continue;
                }
            };
            let pixel = |(i, j): (usize, usize)| f64::from(bytes[header + i * stride + j]) / 255.0;
            let images = Array2::from_shape_fn((6, shape.size()), pixel);
            for window in [3, 11] {
                let (first, next) = (images.slice(s![..5, ..]), images.slice(s![1.., ..]));
                let got = ssim_pairs(first, next, shape, &params(window)).unwrap();
                for (i, got) in got.iter().enumerate() {
                    let expected = goldens[name][format!("ssim{window}")][i].as_f64().unwrap();
                    assert!(
                        (got - expected).abs() < 1e-6,
                        "{name} {i}, window {window}: {got} and {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn parameters_are_checked() {
        let image = Array2::<f32>::zeros((1, 16));
        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        let message = |params: SsimParams| {
            ssim_pairs(image.view(), image.view(), shape, &params).unwrap_err().to_string()
        };
        assert_eq!(message(params(4)), "SSIM window must be odd, got 4");
        assert_eq!(
            message(SsimParams { sigma: 0.0, ..params(3) }),
            "SSIM sigma must be finite and above 0 pixels, got 0"
        );
        assert!(message(SsimParams { data_range: f64::NAN, ..params(3) }).contains("data range"));
        assert!(message(params(usize::MAX)).contains("too small"), "no allocation for an absurd window");
        assert!(ssim_pairs(image.view(), image.view(), shape, &params(7)).is_ok());
    }

    #[test]
    fn constant_images_have_a_score() {
        let (grey, black) = (Array2::<f32>::from_elem((1, 16), 0.5), Array2::<f32>::zeros((1, 16)));
        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        let score =
            |a: &Array2<f32>, b: &Array2<f32>| ssim_pairs(a.view(), b.view(), shape, &params(3)).unwrap()[0];
        assert!((score(&grey, &grey) - 1.0).abs() < 1e-8);
        assert!((score(&black, &black) - 1.0).abs() < 2e-5);
        assert!((score(&grey, &black) - 1e-4 / 0.2501).abs() < 1e-8);
    }
}
