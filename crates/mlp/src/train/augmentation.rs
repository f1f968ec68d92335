//! Images that are mirrored and shifted at random, each time they are seen.

use ndarray::{ArrayView1, ArrayViewMut1, s};
use ndarray_rand::rand::RngCore;
use palimpsest_numerics::Real;
use palimpsest_numerics::range::{OutOfRange, within};
use palimpsest_numerics::seed::Rng;
use serde::{Deserialize, Serialize};

use crate::MlpError;

/// How an image is altered before a step.
///
/// It acts on the inputs as they are given to training: after a mean image was taken off, what is mirrored is the
/// difference, and what comes in from outside is 0, which is that mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Channels, height and width of an input, channels first.
    pub shape: [usize; 3],
    /// Probability to exchange left and right, in [0, 1]; 0.5 is usual.
    pub flip_probability: f64,
    /// Largest shift in pixels, down to up and left to right, each evenly drawn; below height and width.
    ///
    /// # Source
    /// The same as cropping an image padded with this many zeros on each side, PyTorch's `RandomCrop(padding)`.
    pub shift: usize,
}

impl Augmentation {
    pub(super) fn check(&self) -> Result<(), MlpError> {
        let [channels, height, width] = self.shape;
        if channels == 0 || height == 0 || width == 0 {
            let allowed = "at least one channel, row and column";
            return Err(OutOfRange::new("augmentation.shape", allowed, format!("{:?}", self.shape)).into());
        }
        within("augmentation.flip_probability", self.flip_probability, 0.0..=1.0, "from 0 to 1")?;
        let allowed = "below height and width of an image";
        within("augmentation.shift", self.shift, ..height.min(width), allowed)?;
        Ok(())
    }

    /// Whether the shape is that of inputs of `inputs` numbers.
    pub(super) fn check_pixels(&self, inputs: usize) -> Result<(), MlpError> {
        let pixels = self.shape.iter().try_fold(1_usize, |pixels, &side| pixels.checked_mul(side));
        if pixels == Some(inputs) {
            return Ok(());
        }
        let allowed = "a shape with as many numbers as an input has";
        let got = format!("{:?} for inputs of {inputs}", self.shape);
        Err(OutOfRange::new("augmentation.shape", allowed, got).into())
    }

    /// Writes one altered `image` (d) into `out` (d).
    pub(super) fn apply<T: Real>(
        &self,
        image: ArrayView1<'_, T>,
        mut out: ArrayViewMut1<'_, T>,
        rng: &mut Rng,
    ) {
        let [channels, height, width] = self.shape;
        // Always three draws, so that one option does not change what another draws.
        let [flip, down, right] = [(); 3].map(|()| rng.next_u32());
        let flip = f64::from(flip) < self.flip_probability * 2_f64.powi(32);
        // Of 2 shift + 1 places; the place that a number falls on is even to one part in a million.
        let span = 2 * self.shift + 1;
        let place = |drawn: u32| ((u64::from(drawn) * span as u64) >> 32) as isize - self.shift as isize;
        let (down, right) = (place(down), place(right));
        out.fill(T::zero());
        for channel in 0..channels {
            for row in 0..height {
                let Some(from_row) = row.checked_add_signed(-down).filter(|&r| r < height) else { continue };
                let start = (channel * height + from_row) * width;
                let source = image.slice(s![start..start + width]);
                for column in 0..width {
                    let Some(from) = column.checked_add_signed(-right).filter(|&c| c < width) else {
                        continue;
                    };
                    let from = if flip { width - 1 - from } else { from };
                    out[(channel * height + row) * width + column] = source[from];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn altered(augmentation: Augmentation, image: &Array1<f64>, times: usize) -> Vec<Array1<f64>> {
        let mut rng = Seed::new(1).rng();
        let mut draw = || {
            let mut out = Array1::from_elem(image.len(), f64::NAN);
            augmentation.apply(image.view(), out.view_mut(), &mut rng);
            out
        };
        (0..times).map(|_| draw()).collect()
    }

    #[test]
    fn a_flip_exchanges_left_and_right_of_each_row() {
        let augmentation = Augmentation { shape: [2, 1, 3], flip_probability: 1.0, shift: 0 };
        let image = array![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(altered(augmentation, &image, 1)[0], array![3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        let half = Augmentation { flip_probability: 0.5, ..augmentation };
        let flipped = altered(half, &image, 1000).iter().filter(|out| out[0] == 3.0).count();
        assert!((450..550).contains(&flipped), "{flipped} of 1000");
    }

    #[test]
    fn every_shift_comes_equally_often_and_zeros_come_in() {
        let augmentation = Augmentation { shape: [1, 3, 3], flip_probability: 0.0, shift: 1 };
        // One bright pixel in the middle says where the image went.
        let mut image = Array1::zeros(9);
        image[4] = 1.0;
        let mut places = [0; 9];
        for out in altered(augmentation, &image, 9000) {
            assert_eq!(out.sum(), 1.0);
            places[out.iter().position(|&v| v == 1.0).unwrap()] += 1;
        }
        assert!(places.iter().all(|&count| (850..1150).contains(&count)), "{places:?}");
        let corner = array![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let lost = altered(augmentation, &corner, 9000).iter().filter(|out| out.sum() == 0.0).count();
        assert!((4700..5300).contains(&lost), "{lost} of 9000 shifts lead out of the image");
    }

    #[test]
    fn impossible_ones_are_named() {
        let fine = Augmentation { shape: [3, 8, 8], flip_probability: 0.5, shift: 2 };
        assert!(fine.check().is_ok());
        for (bad, name) in [
            (Augmentation { shape: [3, 0, 8], ..fine }, "augmentation.shape"),
            (Augmentation { flip_probability: 1.5, ..fine }, "flip_probability"),
            (Augmentation { shift: 8, ..fine }, "augmentation.shift must be below height and width"),
        ] {
            assert!(bad.check().unwrap_err().to_string().contains(name));
        }
    }
}
