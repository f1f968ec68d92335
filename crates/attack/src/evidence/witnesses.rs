//! Who found an entry of the list, and what each of them is worth.

use serde::{Deserialize, Serialize};

/// What speaks for an entry of the list, without the truth. A candidate is near the entry with which it
/// has the largest cosine, if that is above 0.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Witnesses {
    /// Probability of the surest separated picture near it, in [0, 1]; 0 where there is none.
    pub separation: f32,
    /// The same of inputs solved for exactly from their activation pattern.
    pub activation_pattern: f32,
    /// The same of candidates of restarts, and of what rounds of restarts agree on.
    pub restarts: f32,
    /// Share of the restarts that began at random which have a candidate near it, in [0, 1].
    pub found_from_random: f32,
    /// Share of the restarts that began with separated pictures which have a candidate near it, in [0, 1].
    pub found_from_pictures: f32,
    /// Support of the separated picture near it that has most, as a share of what every setting finding it would give, in [0, 1].
    pub support_share: f32,
    /// Mean cosine of the candidate of restarts near it that agrees most with the nearest ones of other restarts, in [0, 1].
    pub agreement: f32,
    /// Largest bias share of candidates of restarts near it, see [`crate::evidence::confidence::Evidence`]; 0 where there are none.
    pub bias_share: f32,
    /// Strength (multiplier times length) of the candidates near it, as a share of that of those near it or its negative, in [0, 1].
    pub sign_share: f32,
    /// Its strength, as a multiple of the median of the list.
    pub strength: f32,
    /// Share of candidates that remain distinct among those of the first restarts, in (0, 1].
    pub distinct_share: f32,
    /// Expected number of images among the separated pictures, as a share of the directions, at most about 1.
    pub separated_share: f32,
    /// Part of the first layer's square that the restarts explain, in [0, 1].
    pub explained: f32,
}

impl Witnesses {
    /// Probability in [0, 1] that the entry is a training input: restarts, a separation and an activation pattern err independently of each
    /// other, so that the probability that all are wrong is the product of theirs.
    pub fn probability(&self) -> f32 {
        1.0 - [self.restarts, self.separation, self.activation_pattern]
            .map(|p| 1.0 - p)
            .iter()
            .product::<f32>()
    }
}
