//! What speaks for the sign of a picture and what for that of its negative.

/// Share of all strength that each sign has at least: nothing is as good as certain.
const LEAST_SHARE: f32 = 0.05;
/// Coefficients of [`log_odds`], fitted in `docs/decisions/0036-signs.md`.
const COEFFICIENTS: [f32; 2] = [0.79, 4.91];

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

/// Log odds that a picture has its own sign and not that of its negative: by what was `found` of both, [`Sides::over`], and by what its `left`
/// factor says, in [-2, 2].
pub(crate) fn log_odds(found: f32, left: f32) -> f32 {
    COEFFICIENTS[0] * found + COEFFICIENTS[1] * left
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
        assert!(log_odds(1.0, 0.0) > 0.0 && log_odds(0.0, 0.1) > 0.0);
        assert!(log_odds(1.0, -0.5) < 0.0 && log_odds(3.0, -0.2) > 0.0);
    }
}
