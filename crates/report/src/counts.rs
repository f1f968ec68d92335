//! Counts, and what only somebody with the training data can say.

use serde::{Deserialize, Serialize};

use crate::nan;

/// What only somebody with the training data can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// How pictures were scaled and compared: window, range, mapping.
    pub protocol: String,
    /// The published fixed threshold, 0.4.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub ssim_cut: f64,
    /// Share of held-out images allowed to pass, such as 0.001.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub held_out_rate: f64,
    /// SSIM that only this share reaches.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub ssim_at_rate: f64,
    /// NCC that only this share reaches.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub ncc_at_rate: f64,
    /// Scaled distance that only this share falls below; plain numbers only.
    #[serde(default)]
    pub distance_at_rate: Option<f64>,
    /// Level of the intervals, such as 0.95.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub interval_level: f64,
    /// Candidates and nulls, in the order they are shown.
    pub rows: Vec<ScoreRow>,
    /// How good the attack's own ranking is.
    #[serde(default)]
    pub ranking: Option<Ranking>,
    /// How many of each class are recovered; of a regression, of each number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassCounts>,
}

/// How many training inputs of one class are recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Name of the class.
    pub name: String,
    /// Training inputs of it.
    pub training: usize,
    /// How many of these pass the bar of the answer.
    pub recovered: usize,
}

/// What a row of the score table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// The candidates of the attack against the training images.
    Candidates,
    /// Something that knows nothing of the training images, or the candidates against images never trained on.
    Null,
}

/// One row of the score table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// Such as "candidates", "held-out images", "class means", "rows of W1", "random noise".
    pub name: String,
    /// Whether this is the attack or a null.
    pub kind: RowKind,
    /// Images above the fixed SSIM threshold.
    #[serde(default)]
    pub above_cut: Option<Count>,
    /// Images above the SSIM that the held-out rate allows.
    #[serde(default)]
    pub ssim_at_rate: Option<Count>,
    /// Images above the NCC that the held-out rate allows.
    #[serde(default)]
    pub ncc_at_rate: Option<Count>,
    /// Images above the fixed threshold when every candidate may serve only one image.
    #[serde(default)]
    pub unique: Option<Count>,
    /// Inputs nearer than the scaled distance that the held-out rate allows; plain numbers only.
    #[serde(default)]
    pub distance_at_rate: Option<Count>,
    /// Mean SSIM of the ten best; of plain numbers, their mean scaled distance.
    #[serde(default)]
    pub mean_of_ten_best: Option<f64>,
}

/// How well the attack knows which of its candidates are real.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// What the ranking is by, such as "how sure it is of each".
    pub by: String,
    /// Real candidates among the k surest.
    pub precision_at: Vec<PrecisionAt>,
    /// Claimed against observed.
    pub calibration: Vec<CalibrationBin>,
}

/// How many of the k surest candidates are real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecisionAt {
    /// Number of candidates looked at.
    pub k: usize,
    /// How many of them are real.
    pub real: usize,
}

/// Candidates of similar claimed confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean confidence the attack claimed, in [0, 1].
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub claimed: f64,
    /// How many of them are real.
    pub real: usize,
    /// How many there are.
    pub of: usize,
}

/// A count out of a total, with an interval in the same unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// Lower and upper end of the interval, as counts.
    #[serde(default)]
    pub interval: Option<[f64; 2]>,
}
