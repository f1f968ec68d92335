//! Who found an entry of the list, and what each of them is worth.

use serde::{Deserialize, Serialize};

use crate::evidence::signs;

/// What speaks for an entry of the list, without the truth. A candidate is near the entry with which it
/// has the largest cosine, if that is above 0.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Witnesses {
    /// Probability of the surest separated picture near it, in [0, 1]; 0 where there is none.
    pub separation: f32,
    /// The same of inputs solved for exactly from their activation pattern.
    pub activation_pattern: f32,
    /// The same of what rounds of restarts agree on.
    pub rounds: f32,
    /// Share of all restarts which have a candidate near it, in [0, 1]; nothing where none came to its end.
    pub found: Option<f32>,
    /// Strength (multiplier times length) of the candidates near it, as a share of that of those near it or its negative, in [0, 1].
    pub sign_share: f32,
    /// Log odds that its sign is right, by what restarts found of it and of its negative, and by its left factor.
    pub sign: f32,
    /// What these are made of, for a separated picture.
    pub of_sign: Option<signs::Evidence>,
    /// Log odds of its sign by the sum of all entries, where inputs look as if they sum to zero.
    pub sum: Option<f32>,
    /// Cosine, in [-1, 1], of what the weights have of it in their neurons with the signal that the network sends back for it, and with that of its
    /// negative: of the first entries, as many as there may be inputs.
    pub signals: Option<[f32; 2]>,
}

/// Coefficients of [`Witnesses::features`], fitted by `cargo xtask reproduce calibrate-list`: `docs/decisions/0032-the-list.md`.
const COEFFICIENTS: [f64; Witnesses::FEATURES] = [-0.40, 0.63, 0.90, 4.94, 0.21, 0.0, 0.0];
/// The same where inputs sum to zero, fitted by a scratch script to nine lists: `docs/decisions/0037-zero-sum.md`.
const COEFFICIENTS_OF_SUM: [f64; Witnesses::FEATURES] = [3.48, 0.97, 1.54, 4.44, 6.55, 0.0, 0.0];
/// Probabilities of a separated picture beyond which it is as sure as it can be.
const SEPARATION: (f64, f64) = (0.05, 0.98);
/// The same of inputs that were solved for.
const ACTIVATION_PATTERN: (f64, f64) = (0.05, 0.995);
/// Shares of a sign outside of which it is as sure as it can be.
const SIGN_SHARE: (f64, f64) = (0.1, 0.95);
/// Log odds of a sign outside of which it is as sure as it can be, where the sum of all inputs speaks.
const SIGN: (f64, f64) = (-5.0, 8.0);

/// Odds of a sign, two to one, below which nobody is sure of an entry where the sum of all inputs does not speak.
const LEAST_SIGN: f32 = std::f32::consts::LN_2;
/// Largest probability of such an entry.
const UNSURE: f32 = 0.9;

impl Witnesses {
    /// How many features there are.
    pub const FEATURES: usize = 7;

    /// What the probability is estimated from: 1, the log odds of what a separation and an activation pattern say, the share of the restarts
    /// that found it, and the log odds of its sign by its share of the strength; where the sum of all inputs speaks, or no restart came to its end, in
    /// their place the
    /// logarithm of the sign's probability by all that speaks for it; and the cosines of its left factor with its signal and with that of its
    /// negative.
    pub fn features(&self) -> [f64; Self::FEATURES] {
        let sign = if self.sum.is_none() && self.found.is_some() {
            log_odds(self.sign_share, SIGN_SHARE)
        } else {
            let sign = f64::from(self.sign + self.sum.unwrap_or(0.0));
            -(-sign.clamp(SIGN.0, SIGN.1)).exp().ln_1p()
        };
        let [own, other] = self.signals.unwrap_or_default().map(f64::from);
        [
            1.0,
            log_odds(self.separation, SEPARATION),
            log_odds(self.activation_pattern, ACTIVATION_PATTERN),
            f64::from(self.found.unwrap_or(0.0)),
            sign,
            own,
            other,
        ]
    }

    /// Probability in [0, 1] that the entry is a training input, sign included: that of its witnesses, or that of a round if it is larger. The
    /// restarts of a round are those that found it, so that the two are no independent witnesses. Nobody is sure of a sign for which little speaks.
    pub fn probability(&self) -> f32 {
        let of_witnesses = if self.found.is_some() { self.by_restarts() } else { self.by_separation_alone() };
        let probability = self.rounds.max(of_witnesses);
        if self.sum.is_none() && self.sign < LEAST_SIGN { probability.min(UNSURE) } else { probability }
    }

    /// Where no restart came to its end: that of the picture, and that of its sign.
    fn by_separation_alone(&self) -> f32 {
        let sign = f64::from(self.sign + self.sum.unwrap_or(0.0));
        self.separation.max(self.activation_pattern) * logistic(sign) as f32
    }

    /// By the fitted model of the list, which counts what restarts found, or did not find.
    fn by_restarts(&self) -> f32 {
        let coefficients = if self.sum.is_some() { COEFFICIENTS_OF_SUM } else { COEFFICIENTS };
        let score: f64 = self.features().iter().zip(coefficients).map(|(f, c)| f * c).sum();
        logistic(score) as f32
    }
}

/// The probability of these log odds.
pub(crate) fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Log odds of a probability that is brought within `ends`.
fn log_odds(probability: f32, ends: (f64, f64)) -> f64 {
    let p = f64::from(probability).clamp(ends.0, ends.1);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every restart and a separation found, of a sign that is sure.
    const FOUND: Witnesses = Witnesses {
        separation: 0.97,
        activation_pattern: 0.0,
        rounds: 0.0,
        found: Some(1.0),
        sign_share: 0.95,
        sign: 3.0,
        of_sign: None,
        sum: None,
        signals: None,
    };

    #[test]
    fn who_is_found_by_all_is_sure_and_each_witness_counts() {
        assert!(FOUND.probability() > 0.95);
        assert!(Witnesses { found: Some(0.5), ..FOUND }.probability() < 0.95);
        assert!(Witnesses { separation: 0.0, ..FOUND }.probability() < 0.7);
        assert!(Witnesses { sign_share: 0.3, ..FOUND }.probability() < FOUND.probability());
        assert!(Witnesses { activation_pattern: 1.0, separation: 0.0, ..FOUND }.probability() > 0.95);
        assert!(Witnesses { sign: 0.5, ..FOUND }.probability() <= 0.9, "two to one is asked of a sign");
        assert!(Witnesses::default().probability() < 0.05);
    }

    #[test]
    fn where_the_sum_of_inputs_speaks_it_and_the_sign_count_together() {
        let of = |sign, sum| Witnesses { sign, sum: Some(sum), ..FOUND };
        assert!(of(3.0, 3.0).probability() > 0.95);
        assert_eq!(of(2.0, 1.0).probability(), of(0.0, 3.0).probability());
        assert!(of(1.0, -0.5).probability() < of(1.0, 0.5).probability());
        assert_eq!(
            Witnesses { separation: 0.0, found: Some(0.3), ..of(9.0, 9.0) }.probability(),
            Witnesses { separation: 0.0, found: Some(0.3), ..of(8.0, 0.0) }.probability()
        );
        assert!(Witnesses { separation: 0.0, found: Some(0.3), ..of(9.0, 9.0) }.probability() < 0.5);
    }

    #[test]
    fn where_no_restart_ended_a_picture_and_its_sign_are_both_asked() {
        let seen = Witnesses { found: None, ..FOUND };
        assert!(
            seen.probability() > Witnesses { found: Some(0.0), ..FOUND }.probability(),
            "nobody failed to find it"
        );
        assert!(seen.probability() < FOUND.probability());
        assert!(Witnesses { sum: Some(5.0), ..seen }.probability() > 0.95);
        assert!(Witnesses { sum: Some(-5.0), ..seen }.probability() < 0.2);
        assert!(Witnesses { separation: 0.5, sum: Some(9.0), ..seen }.probability() <= 0.5);
    }

    #[test]
    fn what_rounds_agree_on_stands_for_itself() {
        let nobody = Witnesses { rounds: 0.97, sign: 1.0, ..Witnesses::default() };
        assert_eq!(nobody.probability(), 0.97);
        assert_eq!(Witnesses { rounds: 0.5, ..FOUND }.probability(), FOUND.probability());
    }
}
