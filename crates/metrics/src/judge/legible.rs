//! The first headline: of the first n images of the ranked list, how many distinct training images can be read in them.
//!
//! It cannot be bought with more candidates, and a reader without the truth sees exactly these images.

use ndarray::ArrayView2;
use palimpsest_numerics::gemm::Parallelism;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::image::check_finite;
use crate::matching::match_above;
use crate::score::{Protocol, search_ncc};
use crate::{CandidateImages, Result, TargetImages};

/// NCC above which an image is legible: nearly the same picture, brightness and contrast aside.
pub const LEGIBLE: f64 = 0.9;

/// What the first n images of a ranked list are, n being the number of training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Legible {
    /// Number of training images n: as many of the list are looked at.
    pub n: usize,
    /// Images looked at: n, or the whole list when it is shorter.
    pub ranked: usize,
    /// Training images that have an image of their own among them with NCC above [`LEGIBLE`].
    pub legible: usize,
    /// The same with the sign left open: NCC above [`LEGIBLE`] or below its negative.
    pub up_to_sign: usize,
    /// Images looked at that resemble a training image but are not counted: another image has it already.
    pub repeated: usize,
    /// Images looked at that are negatives: NCC with a training image below -[`LEGIBLE`], and with none above it.
    pub negatives: usize,
    /// Images looked at that are none of these.
    pub others: usize,
}

/// Counts what is legible in a list, surest first.
///
/// The list may be longer than the training set; what follows the first n is not looked at. NCC is that of the search of
/// the protocol, in the coordinates of the network.
///
/// # Errors
/// What the search refuses: see [`score_against`](crate::score::score_against).
///
/// # Panics
/// When list and training images differ in shape.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::{CandidateImages, ImageShape, TargetImages, judge::legible::legible, score::Protocol};
/// use palimpsest_numerics::gemm::Parallelism;
///
/// let truth = array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
/// let list = array![[2.0, 0.0, 0.0], [0.0, -1.0, 0.0], [3.0, 0.0, 0.1], [0.0, 0.0, 9.0]];
/// let shape = ImageShape::vector(3);
/// let list = CandidateImages::new(list.view(), list.view(), shape)?;
/// let truth = TargetImages::new(truth.view(), truth.view(), shape)?;
/// // The fourth comes too late.
/// let found = legible(list, truth, &Protocol::published(shape), Parallelism::Sequential)?;
/// assert_eq!((found.legible, found.up_to_sign, found.repeated, found.negatives), (1, 2, 1, 1));
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
#[track_caller]
pub fn legible(
    list: CandidateImages<'_>,
    training: TargetImages<'_>,
    protocol: &Protocol,
    parallelism: Parallelism,
) -> Result<Legible> {
    let ncc = search_ncc(list.first(training.count()), training, protocol, parallelism)?;
    legible_by(ncc.view())
}

/// The same from the NCC (n training images, k images of the list, k at most n).
pub(crate) fn legible_by(ncc: ArrayView2<'_, f32>) -> Result<Legible> {
    check_finite("NCC of a list", ncc)?;
    let (n, ranked) = ncc.dim();
    let legible = match_above(ncc, LEGIBLE).len();
    let up_to_sign = match_above(ncc.mapv(f32::abs).view(), LEGIBLE).len();
    let (mut alike, mut negatives) = (0, 0);
    for image in ncc.columns() {
        let any = |is: &dyn Fn(f64) -> bool| image.iter().any(|&v| is(f64::from(v)));
        if any(&|v| v > LEGIBLE) {
            alike += 1;
        } else if any(&|v| v < -LEGIBLE) {
            negatives += 1;
        }
    }
    let others = ranked - alike - negatives;
    Ok(Legible { n, ranked, legible, up_to_sign, repeated: alike - legible, negatives, others })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;
    use crate::matching::tests::most_pairs;
    use crate::null_model::random_noise;
    use palimpsest_numerics::seed::Seed;

    #[test]
    fn counts_are_those_done_by_hand() {
        let ncc = array![
            [0.95, 0.91, 0.2, -0.95, 0.0],
            [0.92, 0.1, 0.2, 0.95, 0.0],
            [0.1, 0.1, -0.93, 0.0, 0.9],
            [0.0, 0.0, 0.1, 0.0, -0.1]
        ];
        // Image 0 goes to training image 1 or 0, image 1 to 0, image 3 to 1: two are distinct. Image 4 is at the bar, not above.
        let found = legible_by(ncc.view()).unwrap();
        assert_eq!((found.n, found.ranked), (4, 5));
        assert_eq!((found.legible, found.repeated), (2, 1));
        assert_eq!((found.negatives, found.others), (1, 1));
        assert_eq!(found.up_to_sign, 3);
    }

    #[test]
    fn a_list_shorter_than_the_training_set_is_looked_at_whole() {
        let found = legible_by(array![[0.99], [0.1]].view()).unwrap();
        assert_eq!((found.n, found.ranked, found.legible, found.others), (2, 1, 1, 0));
        assert!(legible_by(Array2::zeros((2, 0)).view()).is_err());
        assert!(legible_by(array![[f32::NAN]].view()).is_err());
    }

    proptest! {
        #[test]
        fn every_image_is_one_thing_and_the_counts_are_maximal(n in 1usize..6, k in 1usize..6, seed: u64) {
            let ncc = random_noise(n, k, 1.0, &Seed::new(seed)).mapv(|v| v.clamp(-1.0, 1.0));
            let found = legible_by(ncc.view()).unwrap();
            prop_assert_eq!(found.legible + found.repeated + found.negatives + found.others, found.ranked);
            prop_assert_eq!(found.legible, most_pairs(ncc.mapv(|v| f64::from(v) > LEGIBLE).view()));
            prop_assert_eq!(found.up_to_sign, most_pairs(ncc.mapv(|v| f64::from(v).abs() > LEGIBLE).view()));
            prop_assert!(found.up_to_sign >= found.legible);
        }
    }
}
