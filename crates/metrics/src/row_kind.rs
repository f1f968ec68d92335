//! The rows of a table of scores.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// What a row of the table counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RowKind {
    /// Training images found by the attack.
    Training,
    /// Images that were not trained on, "found" by the attack: what fixes the threshold.
    HeldOut,
    /// Training images "found" by the class means.
    ClassMeans,
    /// Training images "found" by the rows of the first weight matrix.
    WeightRows,
    /// Training images "found" by noise.
    RandomNoise,
}
