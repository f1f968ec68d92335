//! Who found an entry of the list, and what each of them is worth.

use serde::{Deserialize, Serialize};

use crate::evidence::signs;

/// What speaks for an entry of the list, without the truth. A candidate is near the entry with which it
/// has the largest cosine, if that is above 0.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Witnesses {
    /// Probability of the surest separated picture near it, up to sign, in [0, 1]; 0 where there is none.
    pub separation: f32,
    /// The same of inputs solved for exactly from their activation pattern.
    pub activation_pattern: f32,
    /// The same of what rounds of restarts agree on.
    pub rounds: f32,
    /// Share of all restarts which have a candidate near it, in [0, 1]; nothing where none came to its end.
    pub found: Option<f32>,
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

/// Coefficients of [`Witnesses::features`], fitted by `cargo xtask reproduce calibrate-list`: `docs/decisions/0040-images-mixtures-negatives.md`.
const COEFFICIENTS: [f64; Witnesses::FEATURES] = [1.80, 0.84, 1.24, 1.08, 3.46, 4.48];
/// The same where inputs sum to zero.
const COEFFICIENTS_OF_SUM: [f64; Witnesses::FEATURES] = [2.19, 1.04, 1.31, 1.52, 6.06, 2.84];
/// The same where no restart came to its end.
const COEFFICIENTS_WITHOUT_RESTART: [f64; Witnesses::FEATURES] = [-0.17, 0.65, 0.51, 0.0, 2.68, 7.96];
/// Probabilities of a separated picture beyond which it is as sure as it can be.
const SEPARATION: (f64, f64) = (0.05, 0.98);
/// The same of inputs that were solved for.
const ACTIVATION_PATTERN: (f64, f64) = (0.05, 0.995);
/// Log odds of a sign outside of which it is as sure as it can be.
const SIGN: (f64, f64) = (-5.0, 8.0);
/// Size of a cosine with a signal beyond which it tells no more.
const LARGEST_SIGNAL: f64 = 0.5;

/// Odds of a sign, two to one, by all that speaks for it, below which nobody is sure of an entry.
const LEAST_SIGN: f32 = std::f32::consts::LN_2;
/// Largest probability of such an entry.
const UNSURE: f32 = 0.9;

impl Witnesses {
    /// How many features there are.
    pub const FEATURES: usize = 6;

    /// What the probability is estimated from: 1, the log odds of what a separation and an activation pattern say, the share of the restarts
    /// that found it, the logarithm of its sign's probability by all that speaks for it, and the cosine of its left factor with its own signal.
    pub fn features(&self) -> [f64; Self::FEATURES] {
        let sign = f64::from(self.sign + self.sum.unwrap_or(0.0)).clamp(SIGN.0, SIGN.1);
        [
            1.0,
            log_odds(self.separation, SEPARATION),
            log_odds(self.activation_pattern, ACTIVATION_PATTERN),
            f64::from(self.found.unwrap_or(0.0)),
            -(-sign).exp().ln_1p(),
            self.signals.map_or(0.0, |[own, _]| f64::from(own).clamp(-LARGEST_SIGNAL, LARGEST_SIGNAL)),
        ]
    }

    /// Probability in [0, 1] that the entry is a training input, sign included: that of its witnesses, or that of a round if it is larger. The
    /// restarts of a round are those that found it, so that the two are no independent witnesses. Nobody is sure of a sign for which little speaks.
    pub fn probability(&self) -> f32 {
        let coefficients = match (self.found, self.sum) {
            (None, _) => COEFFICIENTS_WITHOUT_RESTART,
            (Some(_), Some(_)) => COEFFICIENTS_OF_SUM,
            (Some(_), None) => COEFFICIENTS,
        };
        let score: f64 = self.features().iter().zip(coefficients).map(|(f, c)| f * c).sum();
        let probability = self.rounds.max(logistic(score) as f32);
        if self.sign + self.sum.unwrap_or(0.0) < LEAST_SIGN { probability.min(UNSURE) } else { probability }
    }
}

/// The probability of these log odds.
fn logistic(log_odds: f64) -> f64 {
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

    /// What every restart and a separation found, of a sign that is sure, and with a left factor that is like its own signal.
    const FOUND: Witnesses = Witnesses {
        separation: 0.97,
        activation_pattern: 0.0,
        rounds: 0.0,
        found: Some(1.0),
        sign: 4.0,
        of_sign: None,
        sum: None,
        signals: Some([0.6, 0.1]),
    };

    #[test]
    fn who_is_found_by_all_is_sure_and_each_witness_counts() {
        for found in [FOUND, Witnesses { sum: Some(3.0), ..FOUND }, Witnesses { found: None, ..FOUND }] {
            assert!(found.probability() > 0.95, "{found:?}");
            let less = [
                Witnesses { separation: 0.0, ..found },
                Witnesses { sign: -5.0, ..found },
                Witnesses { signals: Some([0.0, 0.0]), ..found },
                Witnesses { found: found.found.map(|_| 0.25), ..found },
            ];
            let surest = less.map(|less| less.probability());
            assert!(surest[..2].iter().all(|&less| less < 0.95), "{surest:?} of {found:?}");
            assert!(surest[2] < found.probability() && surest[3] <= found.probability());
        }
        for doubted in [Witnesses { sign: 0.5, ..FOUND }, Witnesses { sign: -2.0, sum: Some(2.5), ..FOUND }] {
            assert!(doubted.probability() <= 0.9, "two to one is asked of a sign");
        }
        assert!(Witnesses { found: Some(0.0), ..Witnesses::default() }.probability() < 0.1);
        assert!(Witnesses::default().probability() < 0.1);
    }

    #[test]
    fn a_sign_and_the_sum_of_inputs_count_together() {
        let of = |sign, sum| Witnesses { sign, sum: Some(sum), ..FOUND }.probability();
        assert_eq!(of(2.0, 1.0), of(0.0, 3.0));
        assert!(of(1.0, -0.5) < of(1.0, 0.5));
        assert_eq!(of(9.0, 9.0), of(8.0, 0.0), "nobody is surer");
    }

    #[test]
    fn what_rounds_agree_on_stands_for_itself() {
        let nobody = Witnesses { rounds: 0.97, sign: 1.0, ..Witnesses::default() };
        assert_eq!(nobody.probability(), 0.97);
        assert_eq!(Witnesses { rounds: 0.5, ..FOUND }.probability(), FOUND.probability());
    }
}
