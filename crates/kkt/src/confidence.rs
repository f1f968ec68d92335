//! How likely a candidate is a real training input, told without the truth.
//!
//! Agreement across restarts ranks candidates well, but what an agreement is worth depends on the data: among images
//! that are much alike, restarts also agree on what is common to all. How alike the inputs are shows in how few distinct
//! candidates the restarts leave. A logistic model of the two, fitted on networks that were trained for the purpose,
//! turns agreement into a probability. It counts only as far as the weights are explained at all: from random weights,
//! restarts agree on nothing that was learned.

use serde::{Deserialize, Serialize};

use crate::patterns::PatternInput;

/// Logistic model of `atanh(agreement)` and the logarithm of the distinct share.
///
/// The default was fitted by `cargo xtask reproduce calibrate` on networks of even seeds; `docs/decisions/0005` has the
/// measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceModel {
    /// Coefficients of 1, atanh(agreement), ln(distinct share) and the product of the two.
    pub coefficients: [f64; 4],
}

impl Default for ConfidenceModel {
    fn default() -> Self {
        Self { coefficients: [-5.51, 5.05, 1.93, -0.16] }
    }
}

/// Runs below which agreement is too uncertain to make anyone sure.
const ENOUGH_RUNS: usize = 4;
/// Largest probability given on fewer runs.
const UNSURE: f64 = 0.9;
/// Agreement above which atanh is cut off.
const LARGEST_AGREEMENT: f64 = 0.995;

impl ConfidenceModel {
    /// Features of a candidate of this `agreement` in [0, 1] from an attack that left `distinct_share` in (0, 1] of its
    /// candidates distinct.
    pub fn features(agreement: f32, distinct_share: f64) -> [f64; 4] {
        let agreement = f64::from(agreement).clamp(0.0, LARGEST_AGREEMENT).atanh();
        let distinct = distinct_share.max(f64::MIN_POSITIVE).ln();
        [1.0, agreement, distinct, agreement * distinct]
    }

    /// Probability in [0, 1] that the candidate is a real training input.
    ///
    /// `relative_residual` is that of the attack's runs: the part of the first layer that they leave unexplained.
    /// Fewer than four `runs` make nobody surer than 0.9.
    pub fn probability(
        &self,
        agreement: f32,
        distinct_share: f64,
        relative_residual: f64,
        runs: usize,
    ) -> f32 {
        let features = Self::features(agreement, distinct_share);
        let score: f64 = features.iter().zip(&self.coefficients).map(|(f, c)| f * c).sum();
        let explained = (1.0 - relative_residual * relative_residual).clamp(0.0, 1.0);
        let largest = if runs < ENOUGH_RUNS { UNSURE } else { 1.0 };
        (explained / (1.0 + (-score).exp())).min(largest) as f32
    }
}

/// Sign agreement at which an input found from its gate pattern is as likely real as not, and the change that multiplies
/// the odds by e (decision 0007).
const PATTERN: (f64, f64) = (0.972, 0.004);
/// Determination up to which agreement counts for nothing, and from which on it counts in full. Where equations are as many as
/// unknowns, nearly any solution agrees with most gates.
const DETERMINED: (f64, f64) = (0.7, 1.2);

/// Probability in [0, 1] that an input found from its gate pattern is a real training input, from its
/// [`PatternInput::sign_agreement`] and [`PatternInput::determination`]: it was solved for by the duals of other inputs and
/// its kinks, so that nearly all of its gates are on the right side, too, is no accident.
pub fn probability_of_pattern(input: &PatternInput) -> f64 {
    let (even, scale) = PATTERN;
    let agrees = 1.0 / (1.0 + ((even - input.sign_agreement) / scale).exp());
    let (nothing, full) = DETERMINED;
    agrees * ((input.determination - nothing) / (full - nothing)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_and_variety_make_sure_and_unexplained_weights_do_not() {
        let model = ConfidenceModel::default();
        let p = |agreement, distinct, residual| model.probability(agreement, distinct, residual, 8);
        assert!(p(0.98, 0.5, 0.1) > 0.95);
        assert!(p(0.9, 0.15, 0.05) < 0.7);
        assert!(p(0.5, 0.5, 0.1) < 0.1);
        assert!(p(1.0, 0.25, 0.999) < 0.05);
        assert!(model.probability(0.95, 0.5, 0.1, 3) <= 0.9);
        for i in 0..20 {
            let (low, high) = (i as f32 / 20.0, (i + 1) as f32 / 20.0);
            assert!(p(low, 0.4, 0.1) <= p(high, 0.4, 0.1));
            assert!((0.0..=1.0).contains(&p(low, 1e-9, 2.0)));
        }
    }
}
