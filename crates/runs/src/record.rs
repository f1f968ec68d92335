//! The record of an attack, and the names of the files beside it.

use std::path::PathBuf;

use palimpsest_attack::evidence::witnesses::Witnesses;
use palimpsest_attack::pipeline::reconstruction;
use palimpsest_attack::{
    AttackParams, Exposure, Origin, OriginGroup, RestartRecord, Saturation, StageRecord,
};
use serde::{Deserialize, Serialize};

/// The record of an attack, [`RUN_FILE`].
#[derive(Debug, Serialize, Deserialize)]
pub struct RunFile {
    /// The program that wrote it.
    pub made_by: String,
    /// The network that was attacked, by absolute path.
    pub model: PathBuf,
    /// The chain of layers that was meant, where the file holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Widths of all layers, from the inputs to the output.
    pub dims: Vec<usize>,
    /// Channels, height and width of an input, declared or from the model's file.
    pub input_shape: Option<[usize; 3]>,
    /// How the network's file takes its inputs; candidates and all else of the run are channel by channel.
    #[serde(default)]
    pub channels: ChannelOrder,
    /// Every option of the attack.
    pub params: AttackParams,
    /// Seed of the starts.
    pub seed: u64,
    /// Threads it ran on; they change no bit.
    pub threads: usize,
    /// Seconds after which it was to end.
    pub time_limit_s: Option<f64>,
    /// What the weights said beforehand.
    #[serde(rename = "attackability")]
    pub exposure: Exposure,
    /// That restarts ended by themselves, as nothing new came, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Saturation>,
    /// Directions that training has written into the first layer.
    pub rank: usize,
    /// Candidates of each restart.
    #[serde(rename = "candidates_per_run")]
    pub candidates_per_restart: usize,
    /// Candidates in all.
    pub candidates: usize,
    /// Where the candidates come from, in their order.
    pub origins: Vec<OriginGroup>,
    /// What each stage found, or why it did not apply, in their order.
    pub stages: Vec<StageRecord>,
    /// Share of distinct candidates among those of the first six restarts.
    pub distinct_share: f64,
    /// Candidates that stand for the distinct inputs found, surest first.
    pub ranking: Vec<usize>,
    /// Who found each of them, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Vec<Witnesses>>,
    /// Typical norm of an input, declared or told.
    pub input_norm: f64,
    /// Singular values of the first layer, descending.
    pub spectrum: Vec<f32>,
    /// One record a restart.
    #[serde(rename = "runs")]
    pub restarts: Vec<RestartRecord>,
    /// Seconds it took, over all its sessions.
    pub elapsed_s: f64,
    /// Whether a time limit or an interrupt ended the attack before all restarts were done.
    pub stopped_early: bool,
}

/// In which order the values of an input stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Channel by channel, (channels, height, width), as in PyTorch.
    #[default]
    First,
    /// Pixel by pixel, (height, width, channels), as in Keras, NumPy and PIL.
    Last,
}

impl RunFile {
    /// Where each candidate comes from, (M).
    pub fn origins(&self) -> Vec<Origin> {
        reconstruction::origins(&self.origins)
    }

    /// Candidates that come from an `origin`.
    pub fn count(&self, origin: Origin) -> usize {
        reconstruction::count(&self.origins, origin)
    }
}

/// The record of an attack.
pub const RUN_FILE: &str = "run.json";
/// Candidates (M, d), as the network sees inputs.
pub const CANDIDATES_FILE: &str = "candidates.npy";
/// Coordinates of the candidates, (M, r), where the pool is written as such in place of [`CANDIDATES_FILE`].
pub const POOL_COORDINATES_FILE: &str = "pool_coordinates.npy";
/// Directions that the coordinates belong to, (r, d), orthonormal: coordinates times these are the candidates.
pub const POOL_BASIS_FILE: &str = "pool_basis.npy";
/// Multipliers (M).
pub const MULTIPLIERS_FILE: &str = "multipliers.npy";
/// Labels (M).
pub const LABELS_FILE: &str = "labels.npy";
/// Probability of being a training input, (M), in [0, 1].
pub const CONFIDENCE_FILE: &str = "confidence.npy";
/// Agreement with the other restarts, (M), in [0, 1].
pub const AGREEMENT_FILE: &str = "agreement.npy";
/// How much of what a candidate gives the first layer's biases is found in them, (M).
pub const BIAS_SHARES_FILE: &str = "bias_shares.npy";
/// How candidates look as raw images, (M, 3): contrast, brightness and how little refining changed them; where it is known
/// what was taken from all inputs.
pub const APPEARANCE_FILE: &str = "appearance.npy";
/// What was taken from all inputs, as the attack tells it, (1, d).
pub const MEAN_IMAGE_FILE: &str = "mean_image.npy";
/// The distinct inputs found, (ranking, d), surest first.
pub const RECONSTRUCTIONS_FILE: &str = "reconstructions.npy";
/// The judge's record.
pub const SCORE_FILE: &str = "score.json";
/// Weights and provenance of a victim.
pub const MODEL_FILE: &str = "model.palimpsest";
/// The record of a training run.
pub const TRAIN_FILE: &str = "train.json";
/// The training mean in a folder of results, if it was given: (1, d), or (2, d) with a deviation below it.
pub const MEAN_FILE: &str = "mean.npy";
