//! What speaks for the sign of a picture and what for that of its negative.

use serde::{Deserialize, Serialize};

/// Share of all strength that each sign has at least: nothing is as good as certain.
const LEAST_SHARE: f32 = 0.05;
/// Coefficients of [`Evidence::features`] where restarts know the sign of a candidate, and where they hardly do: fitted by
/// `cargo xtask reproduce calibrate-list`, `docs/decisions/0042-left-factors-by-edges.md`.
const COEFFICIENTS: [f32; 3] = [0.49, 1.82, 1.86];
const COEFFICIENTS_WITHOUT_RESTARTS: [f32; 3] = [0.26, 6.76, 2.45];

/// What speaks for the own sign of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Log odds by what restarts found of the picture and of its negative.
    pub found: f32,
    /// How much more its left factor is like its own signal than like that of its negative, without what it has of the signals of other pictures, and
    /// as it is, in [-2, 2].
    pub left: [f32; 2],
}

impl Evidence {
    /// What is weighed.
    pub fn features(&self) -> [f32; 3] {
        [self.found, self.left[0], self.left[1]]
    }

    /// Log odds that the picture has its own sign and not that of its negative. Restarts know the sign of a candidate if they came to their end, and
    /// if the pull of an input has the sign of the network's answer, as it does of a classifier.
    pub(crate) fn log_odds(&self, restarts_know: bool) -> f32 {
        let coefficients = if restarts_know { COEFFICIENTS } else { COEFFICIENTS_WITHOUT_RESTARTS };
        self.features().iter().zip(coefficients).map(|(feature, c)| feature * c).sum()
    }

    /// What speaks for the negative.
    pub(crate) fn turned(self) -> Self {
        Self { found: -self.found, left: self.left.map(|left| -left) }
    }
}

/// Strength of the candidates on a candidate's side, and on that of its negative.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sides {
    own: f32,
    other: f32,
}

impl Sides {
    /// Of candidates with these cosines and strengths.
    pub(crate) fn of(candidates: impl Iterator<Item = (f32, f32)>) -> Self {
        let mut sides = Self::default();
        for (cosine, strength) in candidates {
            *(if cosine > 0.0 { &mut sides.own } else { &mut sides.other }) += strength;
        }
        sides
    }

    /// Sum of the logarithms of the odds that these sides and `others` give a candidate's own sign.
    pub(crate) fn over(self, others: Self) -> f32 {
        let least =
            LEAST_SHARE * (self.own + self.other + others.own + others.other) / 2.0 + f32::MIN_POSITIVE;
        let odds = |sides: Self| ((sides.own + least) / (sides.other + least)).ln();
        odds(self) + odds(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_give_the_product_of_their_odds() {
        let sides = Sides::of([(1.0, 3.0), (-1.0, 1.0)].into_iter());
        let other = Sides::of([(1.0, 1.0), (-1.0, 3.0)].into_iter());
        assert!(sides.over(sides) > 1.5 && sides.over(other).abs() < 1e-6);
        assert_eq!(Sides::default().over(Sides::default()), 0.0, "nothing speaks for either");
    }

    #[test]
    fn what_was_found_and_the_left_factor_both_count() {
        let log_odds = |found, left| Evidence { found, left }.log_odds(true);
        assert!(log_odds(1.0, [0.0; 2]) > 0.0 && log_odds(0.0, [0.1, 0.0]) > 0.0);
        assert!(log_odds(1.0, [-0.5; 2]) < 0.0 && log_odds(3.0, [-0.2; 2]) > 0.0);
        let of = Evidence { found: 3.0, left: [-0.2, -0.3] };
        assert!(of.log_odds(false) < 0.0, "who does not know the sign counts little");
        assert_eq!(of.turned().log_odds(true), -of.log_odds(true));
    }
}
