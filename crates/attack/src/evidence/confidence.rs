//! How likely a candidate is a real training input, told without the truth.
//!
//! Agreement across restarts ranks candidates well, but what an agreement is worth depends on the data: among images
//! that are much alike, restarts also agree on what is common to all. How alike the inputs are shows in how few distinct
//! candidates the restarts leave. A logistic model of the two, fitted on networks that were trained for the purpose,
//! turns agreement into a probability. It counts only as far as the weights are explained at all: from random weights,
//! restarts agree on nothing that was learned.

use palimpsest_unmix::raw::Appearance;
use serde::{Deserialize, Serialize};

/// Logistic model of what is known of a candidate.
///
/// The default was fitted by `cargo xtask reproduce calibrate` on networks of even seeds; `docs/decisions/0005` and `0017` have the
/// measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceModel {
    /// Coefficients of [`Evidence::features`] where nothing is known of how a candidate looks.
    pub coefficients: [f64; FEATURES],
    /// The same where its [`Appearance`] is known.
    pub coefficients_of_raw: [f64; FEATURES_OF_RAW],
}

/// Features of a candidate of which nothing is known but what the network says.
pub const FEATURES: usize = 5;
/// Features of a candidate whose [`Appearance`] is known.
pub const FEATURES_OF_RAW: usize = 6;

/// What is known of a candidate without the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// Mean cosine with the nearest candidates of the other restarts, in [0, 1].
    pub agreement: f32,
    /// Share of the attack's candidates that are distinct, in (0, 1].
    pub distinct_share: f64,
    /// How much of what the candidate and the nearest ones of the other restarts give the biases of the first layer is found in
    /// them, on average: about 1 for an input, 0 or less for its negative. Nothing where there are no biases.
    pub bias_share: Option<f32>,
    /// How it looks as a raw image, where it is known what was taken from all inputs.
    pub appearance: Option<Appearance>,
}

impl Default for ConfidenceModel {
    fn default() -> Self {
        Self {
            coefficients: [-4.83, 7.12, 0.85, 2.77, 0.73],
            coefficients_of_raw: [-0.36, 2.27, -4.97, -2.56, 0.51, 3.18],
        }
    }
}

/// Runs below which agreement is too uncertain to make anyone sure.
const ENOUGH_RESTARTS: usize = 4;
/// Largest probability given on fewer restarts.
const UNSURE: f64 = 0.9;
/// Cosine above which atanh is cut off.
const LARGEST_COSINE: f64 = 0.995;
/// Bias shares outside of this say no more than its ends.
const BIAS_SHARES: (f64, f64) = (-0.5, 1.5);
/// Distance of the logarithm of a brightness from 0 above which more says no more.
const MOST_UNUSUAL: f64 = 0.7;
/// What a candidate without a bias share is taken to have: about that of one that is no input.
const UNKNOWN_SHARE: f64 = 0.5;

impl Evidence {
    /// 1, atanh(agreement), ln(distinct share), the product of the two, and the product of the first and the bias share; where the
    /// appearance is known 1, atanh(agreement), contrast, how far the logarithm of the brightness is from 0, the bias share, and
    /// atanh(unchanged).
    pub fn features(&self) -> Vec<f64> {
        let atanh = |cosine: f32| f64::from(cosine).clamp(0.0, LARGEST_COSINE).atanh();
        let agreement = atanh(self.agreement);
        let distinct = self.distinct_share.max(f64::MIN_POSITIVE).ln();
        let (least, most) = BIAS_SHARES;
        let share = self.bias_share.map_or(UNKNOWN_SHARE, |share| f64::from(share).clamp(least, most));
        match self.appearance {
            None => vec![1.0, agreement, distinct, agreement * distinct, agreement * share],
            Some(Appearance { contrast, brightness, unchanged }) => {
                let unusual = f64::from(brightness).max(f64::MIN_POSITIVE).ln().abs().min(MOST_UNUSUAL);
                vec![1.0, agreement, f64::from(contrast), unusual, share, atanh(unchanged)]
            }
        }
    }
}

impl ConfidenceModel {
    /// Probability in [0, 1] that the candidate is a real training input.
    ///
    /// `relative_residual` is that of the attack's restarts: the part of the first layer that they leave unexplained.
    /// Fewer than four `restarts` make nobody surer than 0.9.
    pub fn probability(&self, evidence: &Evidence, relative_residual: f64, restarts: usize) -> f32 {
        let features = evidence.features();
        let coefficients: &[f64] =
            if evidence.appearance.is_some() { &self.coefficients_of_raw } else { &self.coefficients };
        let score: f64 = features.iter().zip(coefficients).map(|(f, c)| f * c).sum();
        let largest = if restarts < ENOUGH_RESTARTS { UNSURE } else { 1.0 };
        (explained(relative_residual) / (1.0 + (-score).exp())).min(largest) as f32
    }
}

/// Coefficients of 1, of the nearness of held-out agreement to 1, and of that of stability, for inputs found from their activation
/// patterns; fitted on even seeds (decision 0007).
const PATTERN: [f64; 3] = [-17.6, 3.0, 1.66];
/// Shortfalls from 1 below which nothing is nearer.
const NEAREST: (f64, f64) = (2e-3, 1e-4);

/// Probability in [0, 1] that an input found from its activation pattern is a real training input, from its
/// held-out agreement and stability: only an input that is right predicts the gates of
/// neurons that it was not solved from, and stays what it is without them.
pub fn probability_of_pattern(held_out_agreement: f64, stability: f64) -> f64 {
    let nearness = |value: f64, nearest: f64| -(1.0 - value + nearest).max(nearest).ln();
    let agrees = nearness(held_out_agreement, NEAREST.0);
    let stays = nearness(stability, NEAREST.1);
    let score = PATTERN[0] + PATTERN[1] * agrees + PATTERN[2] * stays;
    1.0 / (1.0 + (-score).exp())
}

/// Coefficients of 1, atanh(agreement) and the bias share, for images on which a round of restarts agreed; fitted on even seeds
/// (decision 0023).
const AGREED: [f64; 3] = [-0.73, 3.61, 0.25];

/// Probability in [0, 1] that an image on which a round of restarts agreed is a real training input, when the first round left
/// `relative_residual` of the first layer unexplained.
pub(crate) fn probability_of_agreed(agreement: f32, bias_share: f32, relative_residual: f64) -> f64 {
    let score: f64 = features_of_agreed(agreement, bias_share).iter().zip(&AGREED).map(|(f, c)| f * c).sum();
    explained(relative_residual) / (1.0 + (-score).exp())
}

/// What the probability of an image on which a round of restarts agreed is estimated from: 1, atanh(agreement) and the bias share.
pub fn features_of_agreed(agreement: f32, bias_share: f32) -> [f64; 3] {
    let (least, most) = BIAS_SHARES;
    [1.0, f64::from(agreement).clamp(0.0, LARGEST_COSINE).atanh(), f64::from(bias_share).clamp(least, most)]
}

/// The part of the first layer's square that is explained, in [0, 1].
fn explained(relative_residual: f64) -> f64 {
    (1.0 - relative_residual * relative_residual).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_and_variety_make_sure_and_unexplained_weights_do_not() {
        let model = ConfidenceModel::default();
        let evidence = |agreement, distinct_share, bias_share| Evidence {
            agreement,
            distinct_share,
            bias_share,
            appearance: None,
        };
        let p = |agreement, distinct, residual| {
            model.probability(&evidence(agreement, distinct, Some(1.0)), residual, 8)
        };
        assert!(p(0.98, 0.5, 0.1) > 0.95);
        assert!(p(0.9, 0.15, 0.05) < 0.7);
        // In whitened coordinates (decision 0016) what is no input agrees to about 0.5 at the median.
        assert!(p(0.4, 0.5, 0.1) < 0.1 && p(0.5, 0.5, 0.1) < 0.15);
        assert!(p(1.0, 0.25, 0.999) < 0.05);
        assert!(model.probability(&evidence(0.95, 0.5, Some(1.0)), 0.1, 3) <= 0.9);
        let share = |share| model.probability(&evidence(0.9, 0.5, share), 0.1, 8);
        assert!(share(Some(-0.5)) < share(None) && share(None) < share(Some(1.0)));
        // How it looks, where that is known.
        let look_of = |agreement, contrast, brightness, unchanged| {
            let appearance = Some(Appearance { contrast, brightness, unchanged });
            let evidence = Evidence { appearance, ..evidence(agreement, 0.5, Some(1.0)) };
            model.probability(&evidence, 0.1, 8)
        };
        let look = |agreement, contrast, brightness| look_of(agreement, contrast, brightness, 0.9);
        assert!(look(0.99, 1.0, 1.0) > 0.95);
        assert!(look_of(0.9, 1.5, 1.0, 0.5) < look(0.9, 1.5, 1.0));
        assert!(look(0.99, 3.0, 1.0) < 0.5 && look(0.4, 1.0, 1.0) < 0.9);
        assert!(look(0.9, 1.5, 1.5) < look(0.9, 1.5, 1.0) && look(0.9, 1.5, 0.7) < look(0.9, 1.5, 1.0));
        assert!((0.0..=1.0).contains(&look(0.9, 0.0, 0.0)));
        for i in 0..20 {
            let (low, high) = (i as f32 / 20.0, (i + 1) as f32 / 20.0);
            assert!(p(low, 0.4, 0.1) <= p(high, 0.4, 0.1));
            assert!((0.0..=1.0).contains(&p(low, 1e-9, 2.0)));
        }
    }

    #[test]
    fn what_a_round_agrees_on_is_likelier_the_more_it_agrees_and_nothing_where_nothing_is_explained() {
        let p = |agreement, bias_share, residual| probability_of_agreed(agreement, bias_share, residual);
        assert!(p(0.95, 1.0, 0.16) > 0.95 && p(0.5, 0.35, 0.16) < 0.9);
        assert!(p(0.7, 0.35, 0.16) < p(0.8, 0.35, 0.16) && p(0.7, 0.35, 0.16) < p(0.7, 1.0, 0.16));
        assert!(p(1.0, 1.0, 0.999) < 0.05);
        assert_eq!(p(0.7, f32::INFINITY, 0.16), p(0.7, 1.5, 0.16));
    }
}
