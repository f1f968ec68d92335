//! A candidate, and where it comes from.

use ndarray::Array1;
use palimpsest_kkt::outputs::Label;
use serde::{Deserialize, Serialize};

/// Where a candidate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// One of the restarts, by its number.
    Restart(u64),
    /// Solved for exactly, from the activation pattern of its input.
    ActivationPattern,
    /// Agreed on by the restarts of a round, before it was taken out of the equation.
    Deflation,
    /// Separated from the row space of the weights, without their equation.
    Separation,
}

/// Where several candidates in a row come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginGroup {
    /// Where they come from.
    pub origin: Origin,
    /// How many they are.
    pub candidates: usize,
}

/// What speaks for a candidate besides the equation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Support {
    /// Cosine with the nearest candidates of other restarts, in [0, 1].
    pub agreement: f32,
    /// Bias share, see [`crate::evidence::confidence::Evidence`].
    pub bias_share: f32,
}

/// A candidate that a stage found besides those of the restarts.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Where it comes from.
    pub origin: Origin,
    /// In the coordinates of the attack, (r).
    pub coordinates: Array1<f32>,
    /// Its multiplier, in the convention without 1/m.
    pub multiplier: f32,
    /// Its label; of a regression, the sign of its error.
    pub label: Label,
    /// That of being a training input, in [0, 1]; of a separated picture, that or the negative of one.
    pub probability: f32,
    /// What its stage knows of its agreement; if nothing, it is that with the candidates of the restarts.
    pub support: Option<Support>,
}
