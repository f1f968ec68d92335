//! Images of 1/f noise: nothing that anybody photographed, with the smoothness of photographs.
//!
//! A network that is trained on them holds them, and nothing else; an attack that expects smooth images must not call
//! smooth images that it made up.

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::seed::Seed;

use crate::ImageShape;
use crate::null_model::random_noise;
use crate::score::min_max;

/// Images (m, d) in [0, 1] whose amplitude falls as one over the spatial frequency, channels alike but for a tenth.
///
/// Row i depends on the seed and i alone.
///
/// # Panics
/// When the shape has no pixel.
///
/// ```
/// use palimpsest_metrics::{ImageShape, pink_noise::pink_noise};
/// use palimpsest_numerics::seed::Seed;
///
/// let images = pink_noise(3, ImageShape { channels: 3, height: 8, width: 6 }, &Seed::new(1));
/// assert_eq!(images.dim(), (3, 144));
/// assert!(images.iter().all(|v| (0.0..=1.0).contains(v)));
/// ```
///
/// # Source
/// Field, "Relations between the statistics of natural images and the response properties of cortical cells", Journal of
/// the Optical Society of America A 4(12), 1987: amplitude spectra of photographs fall as 1/f.
#[track_caller]
pub fn pink_noise(m: usize, shape: ImageShape, seed: &Seed) -> Array2<f32> {
    assert!(shape.size() > 0, "images of {shape} have no pixel");
    /// Share of the amplitude that a channel has for itself.
    const OWN: f32 = 0.1;
    let (rows, columns) = (cosines(shape.height), cosines(shape.width));
    let common = random_noise(m, shape.plane(), 1.0, &seed.named("common"));
    let own = random_noise(m, shape.size(), 1.0, &seed.named("own"));
    let mut images = Array2::zeros((m, shape.size()));
    for (i, mut image) in images.rows_mut().into_iter().enumerate() {
        for channel in 0..shape.channels {
            let spectrum = Array2::from_shape_fn((shape.height, shape.width), |(u, v)| {
                let at = u * shape.width + v;
                let drawn = common[[i, at]] + OWN * own[[i, channel * shape.plane() + at]];
                // Half a period of the whole side is the unit of u and of v.
                let frequency = f64::hypot(u as f64 / shape.height as f64, v as f64 / shape.width as f64);
                if frequency > 0.0 { (f64::from(drawn) / frequency) as f32 } else { 0.0 }
            });
            let plane = inverse(spectrum.view(), &rows, &columns);
            let start = channel * shape.plane();
            plane.iter().enumerate().for_each(|(at, &v)| image[start + at] = v);
        }
    }
    min_max(images.view())
}

/// An image (h, w) out of its cosine spectrum (h, w).
fn inverse(spectrum: ArrayView2<'_, f32>, rows: &Array2<f32>, columns: &Array2<f32>) -> Array2<f32> {
    let along_rows = matmul(spectrum, columns.view(), Parallelism::Sequential);
    matmul(rows.t(), along_rows.view(), Parallelism::Sequential)
}

/// Orthonormal cosines of the discrete cosine transform of a side of n pixels, one a row, (n, n).
fn cosines(n: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, n), |(u, x)| {
        let scale = if u == 0 { 1.0 } else { 2.0_f64 } / n as f64;
        (scale.sqrt() * (PI * (x as f64 + 0.5) * u as f64 / n as f64).cos()) as f32
    })
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;

    #[test]
    fn cosines_are_orthonormal_and_the_inverse_is_a_double_sum() {
        let (rows, columns) = (cosines(5), cosines(7));
        let gram = matmul(columns.view(), columns.t(), Parallelism::Sequential);
        assert!((&gram - &Array2::<f32>::eye(7)).iter().all(|e| e.abs() < 1e-6));
        let spectrum = random_noise(5, 7, 1.0, &Seed::new(2));
        let image = inverse(spectrum.view(), &rows, &columns);
        for ((y, x), &got) in image.indexed_iter() {
            let mut slow = 0.0;
            for ((u, v), &amplitude) in spectrum.indexed_iter() {
                slow += amplitude * rows[[u, y]] * columns[[v, x]];
            }
            assert!((got - slow).abs() < 1e-5);
        }
    }

    #[test]
    fn power_falls_with_the_square_of_the_frequency_and_rows_are_their_own() {
        let shape = ImageShape { channels: 1, height: 32, width: 32 };
        let images = pink_noise(200, shape, &Seed::new(4));
        let cosines = cosines(32);
        let mut power = Array2::<f64>::zeros((32, 32));
        for image in images.rows() {
            let plane = image.to_shape((32, 32)).unwrap();
            let half = matmul(cosines.view(), plane.view(), Parallelism::Sequential);
            power +=
                &matmul(half.view(), cosines.t(), Parallelism::Sequential).mapv(|v| f64::from(v).powi(2));
        }
        // Along an axis, from frequency 2 to 16: eight times the frequency, a sixty-fourth of the power.
        let ratio = power[[0, 2]] / power[[0, 16]];
        assert!((32.0..128.0).contains(&ratio), "{ratio}");
        assert_eq!(pink_noise(7, shape, &Seed::new(4)), images.slice(s![..7, ..]));
        assert_ne!(pink_noise(200, shape, &Seed::new(5)), images);
    }

    #[test]
    fn channels_are_nearly_alike_as_in_photographs() {
        let shape = ImageShape { channels: 3, height: 16, width: 16 };
        let images = pink_noise(20, shape, &Seed::new(1));
        for image in images.rows() {
            let (red, green) = (image.slice(s![..256]), image.slice(s![256..512]));
            let ncc = crate::ncc::ncc_matrix(
                red.insert_axis(ndarray::Axis(0)),
                green.insert_axis(ndarray::Axis(0)),
                ImageShape { channels: 1, height: 16, width: 16 },
                Parallelism::Sequential,
            );
            let ncc = ncc.unwrap()[[0, 0]];
            assert!(ncc > 0.9 && ncc < 1.0, "{ncc}");
        }
    }
}
