//! What is known of a picture without any truth.

use ndarray::{Array1, ArrayView1};
use palimpsest_numerics::reduce::squared_norm;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::clusters::FoundIn;
use super::diagnostics::Diagnostics;
use crate::operators::OPERATORS;

/// What is known of a picture without any truth.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct Evidence {
    /// Settings (truncation and operator) in which it was found.
    pub support: usize,
    /// The same with truncations that are alike counted less: an operator counts one and the octaves between the truncations in which it
    /// found the picture, steps of more than an octave as one.
    pub effective_support: f64,
    /// `effective_support` as a share of what it would be had every setting found the picture, in [0, 1].
    pub support_share: f64,
    /// Settings that found it, as a share of those of the truncations from the first that did, in (0, 1].
    pub persistence: f64,
    /// Mean `ln(1 + (e / s)^2)` over its edges e in units of their root mean square, s being the last edge scale: small where edges are
    /// few and strong.
    pub contrast: f64,
    /// Mean cosine, without sign, of edges of the sources with the one that most settings agree with.
    pub tightness: f64,
    /// Rank of the smallest truncation in which it was found.
    pub rank_first: usize,
    /// Rank of the largest truncation in which it was found.
    pub rank_last: usize,
    /// That rank as a share of the largest that was separated, in (0, 1]: small where larger truncations take the picture apart.
    pub reach: f64,
    /// Pictures that most operators agree on, as a share of the directions, averaged over the truncations from the first to the last in
    /// which it was found: small where far more images than directions were mixed.
    pub confirmed_share: f64,
    /// How confirmed pictures grow with the directions that were separated, as an exponent: about 1 while each direction is an image, near 0 or
    /// below where far more images than directions were mixed. 0 of a single truncation.
    pub growth: f64,
    /// Mean persistence of all pictures, in (0, 1]: small where what one truncation shows the next takes apart.
    pub usual_persistence: f64,
    /// Share of its squared length along the first singular direction: large for what all images have in common.
    pub leading_share: f64,
    /// How evenly its square is spread over the values of an input, relative to the better supported half of the pictures: 1 for a picture like
    /// these, near 0 for a spot.
    pub spread: f64,
    /// Whether smaller truncations had found two thirds of the pictures before it was.
    pub is_late: bool,
    /// Whether separations ended before they had seen all: then nobody is sure.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ended_early: bool,
}

impl Evidence {
    /// Probability that the picture is one of the images that were mixed, up to sign, in (0, 1).
    ///
    /// A logistic in its [`features`](Self::features), fitted to networks and to null spans that hold no image of their own:
    /// `docs/decisions/0040-images-mixtures-negatives.md`; `cargo xtask reproduce calibrate-pictures` fits this form to other looks. Less for a
    /// [spot](Self::is_spot), and at most 0.9 where separations ended early.
    pub fn probability(&self) -> f64 {
        let sum: f64 = self.features().iter().zip(WEIGHTS).map(|(feature, weight)| feature * weight).sum();
        let spread = if self.is_spot() { self.spread.max(f64::MIN_POSITIVE) } else { SPOT };
        let of_spot = SPOT_WEIGHT * (spread / SPOT).ln();
        let probability = 1.0 / (1.0 + (-(sum + INTERCEPT + of_spot)).exp());
        if self.ended_early { probability.min(UNSURE) } else { probability }
    }

    /// What the probability is estimated from: support, logarithm of what the tightness lacks of one, logarithm of the reach, growth, and the
    /// persistence of all pictures.
    pub fn features(&self) -> [f64; 5] {
        let lacking = (1.0 - self.tightness).max(LEAST_LACKING);
        [self.support as f64, lacking.ln(), self.reach.ln(), self.growth, self.usual_persistence]
    }

    /// Whether this was found late and is far less spread than the other pictures, as what Adam leaves in a few pixels:
    /// `docs/decisions/0038-spots.md`.
    pub fn is_spot(&self) -> bool {
        self.is_late && self.spread < SPOT
    }

    /// Whether this looks like what all images have in common, as the mean of digits does, instead of one image.
    pub fn is_shared_background(&self) -> bool {
        self.leading_share > BACKGROUND
    }
}

/// Weights of the features of a probability.
const WEIGHTS: [f64; 5] = [0.078, -1.726, 3.812, 3.637, 3.324];
/// What is added to the weighted features.
const INTERCEPT: f64 = -6.906;
/// Largest probability of a picture where separations ended early.
const UNSURE: f64 = 0.9;
/// What a tightness lacks of one, at least.
const LEAST_LACKING: f64 = 0.003;
/// Spread below which a picture is a spot, and what its logarithm below that weighs: fitted to eight networks (`docs/decisions/0038-spots.md`).
const SPOT: f64 = 0.6;
const SPOT_WEIGHT: f64 = 4.0;
/// Share of the squared length along the first singular direction above which a picture is taken for a shared background.
const BACKGROUND: f64 = 0.5;

/// Evidence of a picture (r), of length one, with this contrast of edges.
pub(super) fn of(
    found: &FoundIn,
    diagnostics: &Diagnostics,
    contrast: f32,
    picture: ArrayView1<'_, f32>,
) -> Evidence {
    let ranks = &diagnostics.ranks;
    let settings: Vec<(usize, usize)> = found.settings.iter().map(|s| (s.operator, s.rank)).collect();
    let first = settings.iter().map(|s| s.1).min().unwrap_or(0);
    let last = settings.iter().map(|s| s.1).max().unwrap_or(0);
    let effective_support = effective(&settings, ranks);
    let everywhere: Vec<(usize, usize)> =
        (0..OPERATORS).flat_map(|operator| (0..ranks.len()).map(move |rank| (operator, rank))).collect();
    let shares =
        diagnostics.confirmed.iter().zip(ranks).map(|(&confirmed, &rank)| confirmed as f64 / rank as f64);
    // Of the truncations in which it was found.
    let confirmed_share = shares.skip(first).take(last + 1 - first).sum::<f64>() / (last + 1 - first) as f64;
    Evidence {
        support: settings.len(),
        effective_support,
        support_share: effective_support / effective(&everywhere, ranks),
        persistence: settings.len() as f64 / (OPERATORS * (ranks.len() - first)) as f64,
        contrast: f64::from(contrast),
        tightness: found.tightness,
        rank_first: ranks[first],
        rank_last: ranks[last],
        reach: ranks[last] as f64 / ranks[ranks.len() - 1] as f64,
        confirmed_share,
        growth: growth(diagnostics),
        usual_persistence: 1.0,
        leading_share: picture.first().map_or(0.0, |&v| f64::from(v * v)),
        spread: 1.0,
        is_late: false,
        ended_early: diagnostics.ended_early,
    }
}

/// Exponent of the confirmed pictures of each truncation in its rank, by least squares of their logarithms.
fn growth(diagnostics: &Diagnostics) -> f64 {
    let logarithms = |counts: &[usize]| counts.iter().map(|&count| (count.max(1) as f64).ln()).collect();
    let (ranks, confirmed): (Array1<f64>, Array1<f64>) =
        (logarithms(&diagnostics.ranks), logarithms(&diagnostics.confirmed));
    let centred = &ranks - ranks.mean().unwrap_or(0.0);
    let squares = squared_norm(centred.view());
    if squares > 0.0 { (&centred * &confirmed).sum() / squares } else { 0.0 }
}

/// Effective number of `settings`, (operator, index of rank) in rising order.
fn effective(settings: &[(usize, usize)], ranks: &[usize]) -> f64 {
    let mut total = 0.0;
    for (i, &(operator, rank)) in settings.iter().enumerate() {
        total += match i.checked_sub(1).map(|before| settings[before]) {
            Some((same, before)) if same == operator => {
                (ranks[rank] as f64 / ranks[before] as f64).log2().min(1.0)
            }
            _ => 1.0,
        };
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_late_picture_of_little_spread_is_less_probable_for_it() {
        let diagnostics =
            Diagnostics { ranks: vec![25], confirmed: vec![20], new: vec![20], ..Diagnostics::default() };
        let found = FoundIn { settings: vec![], tightness: 0.9 };
        let picture =
            Evidence { rank_first: 25, ..of(&found, &diagnostics, 1.0, ndarray::arr1(&[0.1]).view()) };
        let of = |spread, is_late| Evidence { spread, is_late, ..picture.clone() }.probability();
        assert_eq!([of(1.0, true), of(0.6, true), of(0.1, false)], [of(1.0, false); 3]);
        assert!(of(0.2, true) < of(0.4, true) && of(0.4, true) < of(1.0, true));
        let sure = Evidence { tightness: 0.999, support: 60, growth: 1.0, ..picture.clone() };
        assert!(sure.probability() > 0.95 && Evidence { ended_early: true, ..sure }.probability() == UNSURE);
    }

    #[test]
    fn pictures_grow_with_directions_or_do_not() {
        let of = |ranks: &[usize], confirmed: &[usize]| {
            growth(&Diagnostics {
                ranks: ranks.to_vec(),
                confirmed: confirmed.to_vec(),
                ..Diagnostics::default()
            })
        };
        assert!((of(&[20, 40, 80], &[20, 40, 80]) - 1.0).abs() < 1e-12);
        assert!((of(&[20, 40, 80], &[10, 20, 40]) - 1.0).abs() < 1e-12);
        assert!(of(&[20, 40, 80], &[20, 20, 10]) < 0.0);
        assert_eq!([of(&[20], &[20]), of(&[20, 40], &[0, 0])], [0.0; 2]);
    }

    #[test]
    fn neighbouring_truncations_count_less() {
        let ranks = [25, 50, 60, 240];
        assert_eq!(effective(&[(0, 0), (0, 1)], &ranks), 2.0);
        assert_eq!(effective(&[(0, 0), (1, 0)], &ranks), 2.0);
        assert!(effective(&[(0, 1), (0, 2)], &ranks) < 1.3);
        assert_eq!(effective(&[(0, 2), (0, 3)], &ranks), 2.0);
    }
}
