//! The record of a look into one layer.

use std::path::PathBuf;

use palimpsest_unmix::agreement::{AgreementParams, Diagnostics, Evidence};
use serde::Serialize;

/// The record of a look into one layer, `run.json`.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PeekFile {
    /// The program that wrote it.
    pub made_by: String,
    /// Always `peek`.
    pub command: &'static str,
    /// The file of weights, by absolute path.
    pub model: PathBuf,
    /// Its format and precision.
    pub format: String,
    /// Name of the layer's weights.
    pub layer: String,
    /// Neurons and inputs of the layer.
    pub layer_shape: [usize; 2],
    /// Channels, height and width of a picture.
    pub input_shape: [usize; 3],
    /// Every option of the separation.
    pub params: AgreementParams,
    /// Seed of the starts.
    pub seed: u64,
    /// Threads it ran on; they change no bit.
    pub threads: usize,
    /// Leading directions of the layer's row space that were separated.
    pub directions: usize,
    /// How the separations went.
    pub diagnostics: Diagnostics,
    /// Probability from which on a picture is called sure.
    pub bar: f64,
    /// Pictures that are called sure.
    pub sure: usize,
    /// Pictures left out because they look like what all images have in common.
    pub shared_backgrounds: usize,
    /// What speaks for each picture, surest first.
    pub pictures: Vec<PictureRecord>,
    /// Seconds it took.
    pub elapsed_s: f64,
    /// Whether an interrupt ended it.
    pub stopped_early: bool,
}

/// What speaks for one picture.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct PictureRecord {
    /// Probability that it is one of the images that were mixed, up to sign, in (0, 1).
    pub probability: f64,
    /// What is known of it.
    #[serde(flatten)]
    pub evidence: Evidence,
}
