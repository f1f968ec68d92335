//! Is what is called sure real? Probabilities of ranked images, one each, sign included, against what the images are.
//!
//! Thousands of candidates near zero make any calibration error small, so only images above a half are looked at.

use ndarray::ArrayView2;
use palimpsest_numerics::reduce;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::calibration::{CalibrationBin, wilson};
use crate::image::check_finite;
use crate::{MetricsError, Result};

/// Probability from which an image is called sure.
pub const SURE: f64 = 0.95;
/// Lower edges of the bins; the last ends at 1.
const EDGES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, SURE];

/// What an image of a ranked list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Finding {
    /// It exceeds the threshold for a training image that none ranked above it had.
    Real,
    /// It exceeds the threshold for a training image that was had already.
    Repeated,
    /// It does not, but its negative exceeds it for some training image.
    Negative,
    /// Neither.
    Chance,
}

/// What each image of a list is (k), surest first, from its NCC with the training images (n, k).
///
/// # Errors
/// [`MetricsError::Empty`]; [`MetricsError::NonFinite`] with the row.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::judge::reliability::{Finding::*, findings};
///
/// let ncc = array![[0.99, 0.97, -0.95, 0.1], [0.2, 0.1, 0.3, -0.2]];
/// assert_eq!(findings(ncc.view(), 0.9)?, [Real, Repeated, Negative, Chance]);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
pub fn findings(ncc: ArrayView2<'_, f32>, threshold: f64) -> Result<Vec<Finding>> {
    check_finite("NCC of a list", ncc)?;
    let mut had = vec![false; ncc.nrows()];
    let found = ncc.columns().into_iter().map(|image| {
        let mut nearest = 0;
        let mut lowest = f32::INFINITY;
        for (target, &v) in image.iter().enumerate() {
            if v > image[nearest] {
                nearest = target;
            }
            lowest = lowest.min(v);
        }
        if f64::from(image[nearest]) > threshold {
            if std::mem::replace(&mut had[nearest], true) { Finding::Repeated } else { Finding::Real }
        } else if f64::from(-lowest) > threshold {
            Finding::Negative
        } else {
            Finding::Chance
        }
    });
    Ok(found.collect())
}

/// Images called sure, and what they are.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Sure {
    /// Images with a probability of at least [`SURE`].
    pub called: usize,
    /// Of these, distinct training images.
    pub real: usize,
    /// Of these, images of training images that a surer one shows.
    pub repeated: usize,
    /// Of these, negatives of training images.
    pub negatives: usize,
    /// Of these, nothing.
    pub chance: usize,
    /// Wilson interval of the share of real ones, at level 95 %; none when nothing is called sure.
    pub interval: Option<[f64; 2]>,
}

/// How far probabilities above a half hold.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Reliability {
    /// NCC that a real image exceeds.
    pub threshold: f64,
    /// Number of images in the list.
    pub ranked: usize,
    /// Bins from 0.5 to 0.6, 0.7, 0.8, 0.9, 0.95 and 1, those that are not empty, ascending.
    pub bins: Vec<CalibrationBin>,
    /// Images called sure.
    pub sure: Sure,
}

/// Reliability of the probabilities (k), in [0, 1], of a list whose images are these (k) at this threshold.
///
/// # Errors
/// [`MetricsError::Parameter`] for a probability outside [0, 1].
///
/// # Panics
/// When there are not as many findings as probabilities.
///
/// ```
/// use palimpsest_metrics::judge::reliability::{Finding::*, reliability};
///
/// let held = reliability(&[0.99, 0.96, 0.7, 0.2], &[Real, Negative, Real, Chance], 0.9)?;
/// assert_eq!((held.sure.called, held.sure.real, held.sure.negatives), (2, 1, 1));
/// assert_eq!(held.bins.iter().map(|bin| bin.of).sum::<usize>(), 3);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
#[track_caller]
pub fn reliability(probabilities: &[f64], findings: &[Finding], threshold: f64) -> Result<Reliability> {
    assert_eq!(probabilities.len(), findings.len(), "as many findings as probabilities are needed");
    if let Some(&got) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(MetricsError::Parameter { name: "probability", allowed: "in [0, 1]".into(), got });
    }
    let between = |low: f64, high: f64| {
        let members = probabilities.iter().zip(findings).filter(move |(p, _)| (low..high).contains(*p));
        members.map(|(&p, &finding)| (p, finding)).collect::<Vec<_>>()
    };
    // Nothing is above 1, so infinity closes the last bin.
    let ends = EDGES[1..].iter().copied().chain([f64::INFINITY]);
    let bins = EDGES.iter().zip(ends).filter_map(|(&low, high)| bin(&between(low, high))).collect();
    let sure = between(SURE, f64::INFINITY);
    Ok(Reliability { threshold, ranked: findings.len(), bins, sure: called(&sure) })
}

fn bin(members: &[(f64, Finding)]) -> Option<CalibrationBin> {
    let of = members.len();
    let claimed: Vec<f64> = members.iter().map(|member| member.0).collect();
    let real = members.iter().filter(|member| member.1 == Finding::Real).count();
    (of > 0).then(|| CalibrationBin {
        claimed: reduce::sum(&claimed) / of as f64,
        real,
        of,
        interval: wilson(real, of),
    })
}

fn called(members: &[(f64, Finding)]) -> Sure {
    let count = |wanted| members.iter().filter(|member| member.1 == wanted).count();
    let (called, real) = (members.len(), count(Finding::Real));
    Sure {
        called,
        real,
        repeated: count(Finding::Repeated),
        negatives: count(Finding::Negative),
        chance: count(Finding::Chance),
        interval: (called > 0).then(|| wilson(real, called)),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_surest_image_of_a_training_image_is_the_real_one() {
        let ncc = array![[0.3, 0.91, 0.99, -0.1, 0.9], [0.2, -0.99, 0.1, -0.92, 0.0]];
        use Finding::*;
        // The second is nearest to the first training image and counts as that, though its negative is there, too.
        assert_eq!(findings(ncc.view(), 0.9).unwrap(), [Chance, Real, Repeated, Negative, Chance]);
        assert!(findings(array![[f32::NAN]].view(), 0.9).is_err());
        assert!(findings(Array2::zeros((0, 2)).view(), 0.9).is_err());
    }

    #[test]
    fn bins_and_sure_ones_are_those_counted_by_hand() {
        use Finding::*;
        let probabilities = [1.0, 0.95, 0.9499, 0.9, 0.5, 0.4999, 0.0];
        let held = reliability(&probabilities, &[Real, Negative, Real, Repeated, Chance, Real, Chance], 0.9)
            .unwrap();
        let bins: Vec<_> = held.bins.iter().map(|bin| (bin.real, bin.of)).collect();
        assert_eq!(bins, [(0, 1), (1, 2), (1, 2)]);
        assert!((held.bins[1].claimed - 0.92495).abs() < 1e-12);
        assert_eq!(held.sure.interval, Some(wilson(1, 2)));
        assert_eq!((held.sure.called, held.sure.negatives, held.sure.chance), (2, 1, 0));
        let none = reliability(&[0.3], &[Chance], 0.9).unwrap();
        assert_eq!((none.sure.called, none.sure.interval, none.bins.len()), (0, None, 0));
        assert_eq!(reliability(&[], &[], 0.9).unwrap().ranked, 0);
        for wrong in [-0.1, 1.5, f64::NAN] {
            assert!(reliability(&[wrong], &[Real], 0.9).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_image_above_a_half_is_in_one_bin(
            images in prop::collection::vec((0.0..=1.0_f64, 0..4_usize), 0..80),
        ) {
            let kinds = [Finding::Real, Finding::Repeated, Finding::Negative, Finding::Chance];
            let probabilities: Vec<f64> = images.iter().map(|image| image.0).collect();
            let found: Vec<Finding> = images.iter().map(|image| kinds[image.1]).collect();
            let held = reliability(&probabilities, &found, 0.5).unwrap();
            let above = probabilities.iter().filter(|p| **p >= 0.5).count();
            prop_assert_eq!(held.bins.iter().map(|bin| bin.of).sum::<usize>(), above);
            let Sure { called, real, repeated, negatives, chance, .. } = held.sure;
            prop_assert_eq!(called, real + repeated + negatives + chance);
            prop_assert_eq!(called, probabilities.iter().filter(|p| **p >= SURE).count());
            prop_assert!(held.bins.windows(2).all(|pair| pair[0].claimed < pair[1].claimed));
        }

        #[test]
        fn as_many_are_real_as_training_images_are_had(
            n in 1usize..6, k in 1usize..12, threshold in 0.1..0.9_f64, seed: u64,
        ) {
            use crate::null_model::random_noise;
            let ncc = random_noise(n, k, 0.6, &palimpsest_numerics::seed::Seed::new(seed));
            let found = findings(ncc.view(), threshold).unwrap();
            let mut had = std::collections::HashSet::new();
            for image in ncc.columns() {
                let best = (0..n).reduce(|a, b| if image[b] > image[a] { b } else { a }).unwrap();
                if f64::from(image[best]) > threshold { had.insert(best); }
            }
            prop_assert_eq!(found.iter().filter(|f| **f == Finding::Real).count(), had.len());
        }
    }
}
