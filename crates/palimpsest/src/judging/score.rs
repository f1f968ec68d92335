//! The judge's record.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, anyhow};
use palimpsest_metrics::calibration::{Calibration, PrecisionAt};
use palimpsest_metrics::distance::{DistanceTable, Neighbour};
use palimpsest_metrics::judge::{Judgement, span::Fit};
use palimpsest_metrics::table::{RowKind, ScoreRow, ScoreTable};
use palimpsest_report::ClassCounts;
use serde::{Deserialize, Serialize};

use super::data::{DataArgs, VictimData};
use crate::terminal::output;

/// The judge's record, `score.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScoreFile {
    /// The folder that was judged, by absolute path.
    pub reconstruction: PathBuf,
    /// The data it was judged by.
    pub data: DataRecord,
    /// What is legible, the counts beside their nulls, what was called sure; none in files of older versions.
    #[serde(default)]
    pub judgement: Option<Judgement>,
    /// Whether the training images lie in the directions of the weights; none for an attack on all inputs.
    #[serde(default)]
    pub truth: Option<Fit>,
    /// Where the attack tells the mean image, pictures are its candidates with that; else with the training mean.
    pub table: ScoreTable,
    /// The same with the training mean, as published, where the attack tells one of its own.
    #[serde(default)]
    pub with_training_mean: Option<ScoreTable>,
    /// The best candidate of each training image, in file order.
    pub matches: Vec<Match>,
    /// Counts by scaled distance, of plain rows.
    #[serde(default)]
    pub distances: Option<DistanceScore>,
    /// What finding every training image as far as the attack's directions hold it would count, judged alike.
    #[serde(default)]
    pub limit: Option<Limit>,
    /// How many training inputs of each class pass the bar of the report's answer.
    #[serde(default)]
    pub classes: Vec<ClassCounts>,
    /// The attack's own ranking, judged: real means above the held-out threshold and not seen before.
    pub ranking: RankingScore,
    /// Seed of the judge's noise and bootstrap.
    pub seed: u64,
}

impl ScoreFile {
    /// What decides on training input `i`, larger being better, and the bar it must be above: by distance for plain rows, by SSIM
    /// for pictures, else by NCC.
    pub(super) fn decisive(&self, i: usize) -> (f64, f64) {
        let Match { ncc, ssim, .. } = self.matches[i];
        match (&self.distances, self.table.thresholds.ssim) {
            // A distance counts below zero.
            (Some(DistanceScore { table, nearest }), _) => (-nearest[i].distance, -table.threshold),
            (None, Some(bar)) => (ssim.unwrap_or(ncc), bar),
            (None, None) => (ssim.unwrap_or(ncc), self.table.thresholds.ncc),
        }
    }

    /// How many training inputs of each class of `data` pass; nothing where they have real numbers instead.
    pub(super) fn of_each_class(&self, data: &VictimData) -> Vec<ClassCounts> {
        if data.train.dataset.values().is_some() {
            return Vec::new();
        }
        let classes = &data.train.classes;
        let labels = classes.iter().max().map_or(0, |&highest| highest + 1);
        let of = |label: usize| {
            let members = || (0..classes.len()).filter(move |&i| classes[i] == label);
            let passes = |&i: &usize| {
                let (value, bar) = self.decisive(i);
                value > bar
            };
            ClassCounts {
                name: data.label_name(label),
                training: members().count(),
                recovered: members().filter(passes).count(),
            }
        };
        (0..labels).map(of).filter(|class| class.training > 0).collect()
    }
}

/// Which data a reconstruction was judged against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataRecord {
    /// Name of the data set.
    pub data: String,
    /// Folder of the data set, if it is not embedded.
    pub data_dir: Option<PathBuf>,
    /// The task, as typed.
    pub task: String,
    /// Training examples.
    pub n: usize,
    /// Numbers of each label, where they are not equal.
    #[serde(default)]
    pub counts: Option<String>,
    /// The block of the training images.
    #[serde(default)]
    pub block: Option<String>,
    /// Held-out examples.
    pub held_out: usize,
    /// What was taken from every input instead of the training mean.
    #[serde(default)]
    pub subtract: Option<f32>,
    /// What was done to inputs instead, as `--normalize` spells it.
    #[serde(default)]
    pub normalize: Option<String>,
    /// Declared shape of an input, as `--input-shape` spells it.
    #[serde(default)]
    pub input_shape: Option<String>,
}

impl DataRecord {
    /// What `args` name, which is `data`.
    pub(super) fn of(args: &DataArgs, data: &VictimData) -> Self {
        Self {
            data: args.data.to_string(),
            data_dir: args.data_dir.as_deref().map(output::absolute),
            task: args.task.to_string(),
            n: data.train.count(),
            counts: args.counts.as_ref().map(ToString::to_string),
            block: args.block.map(|block| block.to_string()),
            held_out: data.held_out.count(),
            subtract: args.subtract,
            normalize: args.normalize.as_ref().map(ToString::to_string),
            input_shape: args.input_shape.map(|shape| shape.to_string()),
        }
    }

    /// The options that say the same.
    pub fn args(&self) -> Result<DataArgs> {
        Ok(DataArgs {
            data: self.data.parse()?,
            data_dir: self.data_dir.clone(),
            task: self.task.parse()?,
            n: Some(self.n),
            counts: self.counts.as_deref().map(str::parse).transpose()?,
            block: self.block.as_deref().map(str::parse).transpose()?,
            subtract: self.subtract,
            normalize: self.normalize.as_deref().map(|text| parsed("normalize", text)).transpose()?,
            input_shape: self.input_shape.as_deref().map(|text| parsed("input_shape", text)).transpose()?,
        })
    }
}

/// A field of the record, read as the option of that name is.
fn parsed<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|problem| anyhow!("score.json: {name} {text}: {problem}"))
}

/// A training image with its best candidate.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Match {
    /// Index of the candidate.
    pub candidate: usize,
    /// Normalised cross-correlation with it, in [-1, 1].
    pub ncc: f64,
    /// Structural similarity with it; none for plain rows.
    pub ssim: Option<f64>,
}

/// How near the candidates of plain rows come; pictures have none.
#[derive(Debug, Serialize, Deserialize)]
pub struct DistanceScore {
    /// How many pass, beside their nulls.
    pub table: DistanceTable,
    /// The nearest candidate of each training row, in file order.
    pub nearest: Vec<Neighbour>,
}

/// An upper limit, told with the truth: the training inputs themselves, projected on the span of the candidates.
#[derive(Debug, Serialize, Deserialize)]
pub struct Limit {
    /// Directions of the span.
    pub directions: usize,
    /// Training and held-out images against the projected ones.
    pub table: ScoreTable,
}

/// How well the truth-free ranking knows what is real.
#[derive(Debug, Serialize, Deserialize)]
pub struct RankingScore {
    /// Candidates ranked.
    pub ranked: usize,
    /// Whether each ranked candidate is real, surest first.
    #[serde(default)]
    pub real: Vec<bool>,
    /// How many of the surest k are real.
    pub precision_at: Vec<PrecisionAt>,
    /// Whether what is claimed comes true.
    pub calibration: Calibration,
}

/// The row of the attack itself.
pub fn training_row(score: &ScoreFile) -> Result<&ScoreRow> {
    score.table.row(RowKind::Training).ok_or_else(|| anyhow!("score.json has no row for the training images"))
}
