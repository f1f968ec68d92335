//! Half-size images, as the published protocol searches on.

use ndarray::{Array2, ArrayView2, Axis};

use crate::{ImageShape, MetricsError, Result};

/// Cubic convolution with a = -0.75, halfway between two pixels: weights at distances 1.5, 0.5, 0.5, 1.5.
const TAPS: [f64; 4] = [-0.09375, 0.59375, 0.59375, -0.09375];

/// Bicubic images of half the height and width (rounded down), with their shape: (n, d) to (n, d').
///
/// Nothing is smoothed before sampling, and beyond the border its last pixel is repeated.
///
/// # Errors
/// [`MetricsError::TooSmall`] when a side has fewer than 2 pixels.
///
/// # Panics
/// When a row is not as long as the shape says.
///
/// ```
/// use ndarray::Array2;
/// use palimpsest_metrics::{ImageShape, resize::half_size};
///
/// let grey = Array2::from_elem((5, 3 * 32 * 32), 0.3);
/// let (half, shape) = half_size(grey.view(), ImageShape { channels: 3, height: 32, width: 32 })?;
/// assert_eq!(shape, ImageShape { channels: 3, height: 16, width: 16 });
/// assert_eq!(half, Array2::from_elem((5, 768), 0.3));
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
///
/// # Source
/// PyTorch, `interpolate(scale_factor=0.5, mode="bicubic", align_corners=False, antialias=False)`. Output pixel o lies
/// at 2 o + 0.5 of the input, so the four weights are the same everywhere.
#[track_caller]
pub fn half_size(images: ArrayView2<'_, f32>, shape: ImageShape) -> Result<(Array2<f32>, ImageShape)> {
    shape.assert_width("images to resize", images);
    let ImageShape { channels, height, width } = shape;
    if height < 2 || width < 2 {
        return Err(MetricsError::TooSmall { what: "half size".into(), shape, side: 2 });
    }
    let half = ImageShape { channels, height: height / 2, width: width / 2 };
    let images = images.as_standard_layout();
    let mut halves = Array2::zeros((images.nrows(), half.size()));
    let mut line = vec![0.0; width];
    for (image, mut small) in images.axis_iter(Axis(0)).zip(halves.axis_iter_mut(Axis(0))) {
        let (image, small) =
            (image.to_slice().expect("standard layout"), small.as_slice_mut().expect("standard layout"));
        for (channel, small) in image.chunks_exact(shape.plane()).zip(small.chunks_exact_mut(half.plane())) {
            for (y, small) in small.chunks_exact_mut(half.width).enumerate() {
                line.fill(0.0);
                for (tap, row) in TAPS.iter().zip(sources(y, height)) {
                    for (sum, &pixel) in line.iter_mut().zip(&channel[row * width..]) {
                        *sum += tap * f64::from(pixel);
                    }
                }
                for (x, pixel) in small.iter_mut().enumerate() {
                    let columns = sources(x, width);
                    *pixel = (0..4).map(|k| TAPS[k] * line[columns[k]]).sum::<f64>() as f32;
                }
            }
        }
    }
    Ok((halves, half))
}

/// The four pixels of a line of `len` around output pixel `o`.
fn sources(o: usize, len: usize) -> [usize; 4] {
    [(2 * o).saturating_sub(1), 2 * o, 2 * o + 1, (2 * o + 2).min(len - 1)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::null_model::random_noise;
    use palimpsest_numerics::seed::Seed;

    /// Cubic convolution written from its definition, for any position.
    fn definition(image: &[f32], shape: ImageShape, c: usize, y: usize, x: usize) -> f64 {
        let kernel = |t: f64| {
            let (a, t) = (-0.75, t.abs());
            match t {
                t if t <= 1.0 => (a + 2.0) * t.powi(3) - (a + 3.0) * t.powi(2) + 1.0,
                t if t < 2.0 => a * t.powi(3) - 5.0 * a * t.powi(2) + 8.0 * a * t - 4.0 * a,
                _ => 0.0,
            }
        };
        let position = |o: usize| (o as f64 + 0.5) * 2.0 - 0.5;
        let (mut total, py, px) = (0.0, position(y), position(x));
        for i in -3..shape.height as isize + 3 {
            for j in -3..shape.width as isize + 3 {
                let row = i.clamp(0, shape.height as isize - 1) as usize;
                let column = j.clamp(0, shape.width as isize - 1) as usize;
                let pixel = f64::from(image[c * shape.plane() + row * shape.width + column]);
                total += kernel(py - i as f64) * kernel(px - j as f64) * pixel;
            }
        }
        total
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            n in 0usize..3, channels in 1usize..4, height in 2usize..9, width in 2usize..9, seed: u64,
        ) {
            let shape = ImageShape { channels, height, width };
            let images = random_noise(n, shape.size(), 1.0, &Seed::new(seed));
            let (small, half) = half_size(images.view(), shape).unwrap();
            prop_assert_eq!(small.dim(), (n, channels * (height / 2) * (width / 2)));
            for ((i, at), &got) in small.indexed_iter() {
                let (c, y, x) = (at / half.plane(), at % half.plane() / half.width, at % half.width);
                let expected = definition(images.row(i).to_slice().unwrap(), shape, c, y, x);
                prop_assert!((f64::from(got) - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn agrees_with_pytorch() {
        let fixture: Value = serde_json::from_str(include_str!("../fixtures/resize.json")).unwrap();
        for case in fixture["cases"].as_array().unwrap() {
            let side = |i: usize| case["shape"][i].as_u64().unwrap() as usize;
            let shape = ImageShape { channels: side(1), height: side(2), width: side(3) };
            let values = |name: &str| -> Vec<f64> {
                case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
            };
            let input = Array2::from_shape_vec((side(0), shape.size()), values("input")).unwrap();
            let (half, _) = half_size(input.mapv(|v| v as f32).view(), shape).unwrap();
            assert_eq!(half.len(), values("half").len());
            for (got, expected) in half.iter().zip(values("half")) {
                assert!((f64::from(*got) - expected).abs() < 1e-6, "{shape}: {got} and {expected}");
            }
        }
    }

    #[test]
    fn a_line_cannot_be_halved() {
        let error = half_size(Array2::zeros((1, 9)).view(), ImageShape::vector(9)).unwrap_err().to_string();
        assert!(
            error.starts_with("images of 1x1x9 (channels x height x width) are too small for half size"),
            "{error}"
        );
    }
}
