//! Does the attack know what it has found? Its ranking and its confidence against the truth.

use ndarray::ArrayView1;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::matching::{Matching, Pairing, match_by};
use crate::score::{Protocol, search_ncc, shown_ssim};
use crate::table::Thresholds;
use crate::{CandidateImages, MetricsError, Result, TargetImages};

/// What a candidate turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// It exceeds the held-out threshold for a training image that none ranked above it had.
    Real,
    /// It exceeds the threshold for a training image that was had already.
    Duplicate,
    /// It does not exceed the threshold.
    Chance,
}

/// A candidate beside its nearest training image.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct CandidateTruth {
    /// Row of the training image.
    pub target: usize,
    /// NCC of the two.
    pub ncc: f64,
    /// SSIM of the two; `None` when the protocol has none.
    pub ssim: Option<f64>,
    /// What it is by NCC.
    pub by_ncc: Verdict,
    /// What it is by SSIM; `None` when the protocol has none.
    pub by_ssim: Option<Verdict>,
}

/// What each candidate is (m entries, in the order of the candidates).
///
/// The nearest training image is searched by NCC, as a target's nearest candidate is. `ranking` lists all candidates,
/// surest first (0..m when there is none): of several for one training image the surest is real, the others are
/// duplicates. The thresholds come from [`thresholds`](crate::table::thresholds).
///
/// # Errors
/// What [`score_against`](crate::score::score_against) refuses.
///
/// # Panics
/// When shapes differ, when the ranking does not list every candidate once, or when the protocol has an SSIM and the
/// thresholds have none or the reverse.
#[track_caller]
pub fn candidate_truth(
    candidates: CandidateImages<'_>,
    training: TargetImages<'_>,
    protocol: &Protocol,
    thresholds: &Thresholds,
    ranking: &[usize],
    parallelism: Parallelism,
) -> Result<Vec<CandidateTruth>> {
    let mut listed = ranking.to_vec();
    listed.sort_unstable();
    assert!(
        listed.into_iter().eq(0..candidates.count()),
        "a ranking lists each of {} candidates once",
        candidates.count()
    );
    assert_eq!(
        protocol.ssim.is_some(),
        thresholds.ssim.is_some(),
        "protocol and thresholds differ in having an SSIM"
    );
    let ncc = search_ncc(candidates, training, protocol, parallelism)?;
    let swapped = match_by(ncc.t(), Pairing::Nearest)?;
    let pairs = Matching { target: swapped.candidate, candidate: swapped.target, ncc: swapped.ncc };
    let ssim = shown_ssim(candidates, training, &pairs, protocol)?;
    let by_ncc = verdicts(&pairs, &pairs.ncc, thresholds.ncc, ranking);
    let by_ssim = ssim.as_ref().zip(thresholds.ssim).map(|(ssim, cut)| verdicts(&pairs, ssim, cut, ranking));
    let truth = (0..pairs.count()).map(|j| CandidateTruth {
        target: pairs.target[j],
        ncc: pairs.ncc[j],
        ssim: ssim.as_ref().map(|ssim| ssim[j]),
        by_ncc: by_ncc[j],
        by_ssim: by_ssim.as_ref().map(|by_ssim| by_ssim[j]),
    });
    Ok(truth.collect())
}

/// How many of the surest candidates are real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct PrecisionAt {
    /// Number of candidates looked at.
    pub k: usize,
    /// How many of them are real.
    pub real: usize,
}

impl PrecisionAt {
    /// The share of real ones, in [0, 1].
    pub fn precision(self) -> f64 {
        self.real as f64 / self.k as f64
    }
}

/// Counts the real among the first k of a ranking, surest first; k is cut to the length of the ranking.
///
/// # Panics
/// When k is 0, the ranking is empty or names a candidate without a flag.
///
/// ```
/// use palimpsest_metrics::calibration::precision_at;
/// let at_2 = precision_at(2, &[2, 0, 1], &[false, true, true]);
/// assert_eq!((at_2.real, at_2.precision()), (1, 0.5));
/// ```
#[track_caller]
pub fn precision_at(k: usize, ranking: &[usize], real: &[bool]) -> PrecisionAt {
    assert!(k > 0 && !ranking.is_empty(), "precision at {k} of a ranking of {}", ranking.len());
    let k = k.min(ranking.len());
    PrecisionAt { k, real: ranking[..k].iter().filter(|&&j| real[j]).count() }
}

/// Candidates of similar claimed confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct CalibrationBin {
    /// Mean confidence that was claimed, in [0, 1].
    pub claimed: f64,
    /// How many of them are real.
    pub real: usize,
    /// How many there are, at least 1.
    pub of: usize,
    /// Wilson interval of the share of real ones, at level 95 %.
    pub interval: [f64; 2],
}

impl CalibrationBin {
    /// The share of real ones, in [0, 1].
    pub fn observed(&self) -> f64 {
        self.real as f64 / self.of as f64
    }
}

/// Claimed against observed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Calibration {
    /// Bins that are not empty, ascending in confidence.
    pub bins: Vec<CalibrationBin>,
    /// Mean over the candidates of the gap between claimed and observed in their bin, in [0, 1].
    pub expected_error: f64,
}

/// Calibration of confidences (m) in [0, 1] against flags (m), in `bins` equal intervals of confidence.
///
/// # Errors
/// [`MetricsError::Parameter`] for a confidence outside [0, 1] or no bins; [`MetricsError::Empty`].
///
/// # Panics
/// When there are not as many flags as confidences.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::calibration::calibration;
/// let curve = calibration(array![0.9, 0.8, 0.1, 0.2].view(), &[true, true, false, false], 2)?;
/// assert_eq!((curve.bins[1].observed(), curve.bins.len()), (1.0, 2));
/// assert!((curve.expected_error - 0.15).abs() < 1e-12);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
///
/// # Source
/// Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 3.
#[track_caller]
pub fn calibration(confidence: ArrayView1<'_, f64>, real: &[bool], bins: usize) -> Result<Calibration> {
    assert_eq!(confidence.len(), real.len(), "as many flags as confidences are needed");
    if confidence.is_empty() {
        return Err(MetricsError::Empty { what: "confidences", rows: 0, columns: 1 });
    }
    const MOST_BINS: usize = 1000;
    if !(1..=MOST_BINS).contains(&bins) {
        let allowed = format!("from 1 to {MOST_BINS}");
        return Err(MetricsError::Parameter {
            name: "number of calibration bins",
            allowed,
            got: bins as f64,
        });
    }
    let mut members: Vec<(Vec<f64>, usize)> = vec![(Vec::new(), 0); bins];
    for (&claimed, &real) in confidence.iter().zip(real) {
        if !(0.0..=1.0).contains(&claimed) {
            let allowed = "in [0, 1]".into();
            return Err(MetricsError::Parameter { name: "confidence", allowed, got: claimed });
        }
        let bin = &mut members[((claimed * bins as f64) as usize).min(bins - 1)];
        bin.0.push(claimed);
        bin.1 += usize::from(real);
    }
    let bins: Vec<_> = members
        .into_iter()
        .filter(|(claimed, _)| !claimed.is_empty())
        .map(|(claimed, real)| CalibrationBin {
            claimed: reduce::sum(&claimed) / claimed.len() as f64,
            real,
            of: claimed.len(),
            interval: wilson(real, claimed.len()),
        })
        .collect();
    let gaps: Vec<f64> =
        bins.iter().map(|bin| bin.of as f64 * (bin.claimed - bin.observed()).abs()).collect();
    Ok(Calibration { bins, expected_error: reduce::sum(&gaps) / confidence.len() as f64 })
}

/// Interval at level 95 % for a share of which `hits` of `of` were seen, in [0, 1].
///
/// # Panics
/// When `of` is 0 or less than `hits`.
///
/// # Source
/// Wilson, "Probable inference", Journal of the American Statistical Association 22, 1927.
#[track_caller]
pub fn wilson(hits: usize, of: usize) -> [f64; 2] {
    assert!(of > 0 && hits <= of, "a share of {hits} in {of}");
    const Z: f64 = 1.959_963_984_540_054; // the normal quantile at 0.975
    let (n, share) = (of as f64, hits as f64 / of as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    // The share lies inside, which rounding could deny at 0 and 1.
    [(centre - half).clamp(0.0, share), (centre + half).clamp(share, 1.0)]
}

/// Goes down the ranking and lets each training image be found once.
fn verdicts(pairs: &Matching, scores: &[f64], threshold: f64, ranking: &[usize]) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::Chance; scores.len()];
    let mut had = std::collections::HashSet::new();
    for &j in ranking.iter().filter(|&&j| scores[j] > threshold) {
        verdicts[j] = if had.insert(pairs.target[j]) { Verdict::Real } else { Verdict::Duplicate };
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};
    use proptest::prelude::*;

    use super::*;
    use crate::ImageShape;

    #[test]
    fn the_surest_of_several_is_real() {
        let truth = array![[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let found = array![
            [1.0, 0.1, 0.0, 0.0], // target 0
            [5.0, 0.0, 0.0, 0.1], // target 0 again
            [0.0, 0.9, 0.4, 0.8], // nothing
            [0.0, 0.0, 3.0, 0.0]  // target 1
        ];
        let shape = ImageShape { channels: 1, height: 2, width: 2 };
        let candidates = CandidateImages::new(found.view(), found.view(), shape).unwrap();
        let training = TargetImages::new(truth.view(), truth.view(), shape).unwrap();
        let protocol = Protocol::published(shape);
        let flags = |ranking: &[usize]| {
            let thresholds = Thresholds { ncc: 0.9, ssim: Some(0.9) };
            let truth = candidate_truth(
                candidates,
                training,
                &protocol,
                &thresholds,
                ranking,
                Parallelism::Sequential,
            );
            truth.unwrap()
        };
        use Verdict::*;
        let by_order = flags(&[0, 1, 2, 3]);
        let verdicts = |truth: &[CandidateTruth]| truth.iter().map(|t| t.by_ncc).collect::<Vec<_>>();
        assert_eq!(verdicts(&by_order), [Real, Duplicate, Chance, Real]);
        assert_eq!(verdicts(&flags(&[3, 2, 1, 0])), [Duplicate, Real, Chance, Real]);
        assert_eq!(by_order.iter().map(|t| t.target).collect::<Vec<_>>()[..2], [0, 0]);
        assert_eq!(by_order[3].target, 1);
        assert!(by_order[3].ncc > 0.999_99 && by_order[3].ssim.unwrap() > 0.999);
        assert_eq!(by_order[3].by_ssim, Some(Real));
        assert_eq!(by_order[2].by_ssim, Some(Chance));
    }

    #[test]
    #[should_panic(expected = "lists each of 2 candidates once")]
    fn a_ranking_that_repeats_panics() {
        let images = array![[1.0, 0.0], [0.0, 1.0]];
        let shape = ImageShape::vector(2);
        let candidates = CandidateImages::new(images.view(), images.view(), shape).unwrap();
        let training = TargetImages::new(images.view(), images.view(), shape).unwrap();
        let thresholds = Thresholds { ncc: 0.5, ssim: None };
        let protocol = Protocol::published(shape);
        let _ =
            candidate_truth(candidates, training, &protocol, &thresholds, &[0, 0], Parallelism::Sequential);
    }

    #[test]
    fn precision_looks_at_no_more_than_there_is() {
        assert_eq!(precision_at(9, &[1, 0], &[true, false]), PrecisionAt { k: 2, real: 1 });
    }

    #[test]
    fn wilson_is_that_of_the_books() {
        // Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
        for (hits, of, expected) in
            [(81, 263, [0.2553, 0.3662]), (15, 148, [0.0624, 0.1605]), (0, 20, [0.0, 0.1611])]
        {
            for (got, expected) in wilson(hits, of).iter().zip(expected) {
                assert!((got - expected).abs() < 5e-5, "{hits} of {of}: {got} and {expected}");
            }
        }
        assert_eq!(wilson(5, 5)[1], 1.0);
    }

    #[test]
    fn confidences_are_checked() {
        for wrong in [-0.1, 1.5, f64::NAN] {
            assert!(calibration(array![wrong].view(), &[true], 10).is_err(), "{wrong}");
        }
        assert!(calibration(array![0.5].view(), &[true], 0).is_err());
        assert!(calibration(array![0.5].view(), &[true], usize::MAX).is_err());
        assert!(matches!(calibration(array![].view(), &[], 10), Err(MetricsError::Empty { .. })));
    }

    proptest! {
        #[test]
        fn bins_hold_every_candidate_once(
            pairs in prop::collection::vec((0.0..=1.0_f64, any::<bool>()), 1..200), bins in 1usize..20,
        ) {
            let confidence: Array1<f64> = pairs.iter().map(|pair| pair.0).collect();
            let real: Vec<bool> = pairs.iter().map(|pair| pair.1).collect();
            let curve = calibration(confidence.view(), &real, bins).unwrap();
            prop_assert_eq!(curve.bins.iter().map(|bin| bin.of).sum::<usize>(), pairs.len());
            prop_assert_eq!(curve.bins.iter().map(|bin| bin.real).sum::<usize>(), real.iter().filter(|r| **r).count());
            prop_assert!(curve.bins.windows(2).all(|pair| pair[0].claimed < pair[1].claimed));
            prop_assert!(curve.bins.iter().all(|bin| (bin.interval[0]..=bin.interval[1]).contains(&bin.observed())));
            // One bin: the gap of the means, whatever the order.
            let gap = (confidence.mean().unwrap() - real.iter().filter(|r| **r).count() as f64 / pairs.len() as f64).abs();
            prop_assert!((calibration(confidence.view(), &real, 1).unwrap().expected_error - gap).abs() < 1e-12);
            prop_assert!(curve.expected_error >= gap - 1e-12);
        }
    }
}
