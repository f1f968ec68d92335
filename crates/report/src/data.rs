//! Everything a report says, as plain data: what the caller fills in and what the JSON file holds.
//!
//! What an attacker could know and what only a judge with the training data knows are kept apart by type:
//! the judge's part is [`Judge`], [`TruthMatch`] and [`LayerCertificate::at_truth`], and nothing else.
//! A number that could not be computed is NaN: `null` in JSON, a dash on the page.

use serde::{Deserialize, Serialize};

pub use crate::counts::{CalibrationBin, ClassCounts, Count, Judge, PrecisionAt, Ranking, RowKind, ScoreRow};
use crate::nan;
use crate::picture::Picture;
pub use crate::protection::{Protection, ProtectionRow};

/// Version of the JSON layout.
pub const SCHEMA: u32 = 3;

/// One report. Start from [`ReportData::new`] and fill in what is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Version of the JSON layout, [`SCHEMA`].
    pub schema: u32,
    /// The title of the page.
    pub title: String,
    /// What was attacked, in one line: data set, task, number of images.
    pub subject: String,
    /// The answer.
    pub answer: Answer,
    /// Where the judge's report on the same candidates lies, relative to this one; the page links it.
    #[serde(default)]
    pub judge_page: Option<String>,
    /// What the weight file holds and what had to be assumed about it.
    #[serde(default)]
    pub file: Option<ModelFile>,
    /// Whether the weights look as if they could be attacked at all.
    #[serde(default, rename = "attackability")]
    pub exposure: Option<ExposureView>,
    /// What the attack's confidence means and how it was calibrated, as sentences.
    #[serde(default)]
    pub confidence_means: Vec<String>,
    /// Names of the columns of inputs that are plain numbers; empty for images.
    #[serde(default)]
    pub columns: Vec<String>,
    /// What has to be known before anything else is believed, as sentences: the page shows them above all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How many of the distinct inputs found the network counts to each class; empty for a regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassAnswers>,
    /// Candidates to show, in any order: the page sorts them best first.
    #[serde(default)]
    pub candidates: Vec<CandidateView>,
    /// The judge's counts; absent when no training data were given.
    #[serde(default)]
    pub judge: Option<Judge>,
    /// How the result was obtained.
    #[serde(default)]
    pub method: Option<Method>,
    /// Convergence of the restarts.
    #[serde(default)]
    pub convergence: Option<Convergence>,
    /// Limits of this run, added to the ones every report states.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What can be asked by whoever has records that may have been trained on, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_records: Vec<String>,
    /// What would have protected a network like this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

impl ReportData {
    /// A report that says only its answer.
    pub fn new(title: impl Into<String>, subject: impl Into<String>, answer: Answer) -> Self {
        Self {
            schema: SCHEMA,
            title: title.into(),
            subject: subject.into(),
            answer,
            judge_page: None,
            file: None,
            exposure: None,
            confidence_means: Vec::new(),
            columns: Vec::new(),
            warnings: Vec::new(),
            classes: Vec::new(),
            candidates: Vec::new(),
            judge: None,
            method: None,
            convergence: None,
            limits: Vec::new(),
            candidate_records: Vec::new(),
            protection: None,
        }
    }
}

/// What one input is, so that sentences can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// A picture.
    #[default]
    Image,
    /// Plain numbers: a row of a table, or an embedding.
    Row,
}

/// What the attack's own confidence is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfidenceKind {
    /// Agreement of restarts: a mean cosine in [0, 1], no probability.
    #[default]
    Agreement,
    /// Calibrated probability that the candidate is a training input.
    Probability,
}

/// What the weight file holds and what had to be assumed about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFile {
    /// Facts: path, format, layers, precision.
    pub found: Vec<Setting>,
    /// What the file does not say and was taken for granted, as sentences.
    pub assumed: Vec<String>,
}

/// Whether the weights look as if they could be attacked, estimated from the weights alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposureView {
    /// The verdict.
    pub verdict: Exposure,
    /// The verdict in a sentence.
    pub sentence: String,
    /// What it rests on.
    pub signs: Vec<Sign>,
}

/// How exposed a network looks before any attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// The weights carry the marks of few examples: an attack is likely to find some.
    Exposed,
    /// The marks are there in part, or cannot be told.
    Unclear,
    /// The marks are absent: this attack is unlikely to find anything.
    Unlikely,
}

/// One sign for or against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// What was measured.
    pub name: String,
    /// Its value, formatted by the caller.
    pub value: String,
    /// What it means.
    pub reading: String,
}

/// The answer, given as numbers so that the sentence on the page cannot disagree with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// A judge compared the reconstruction with the training data.
    Judged {
        /// Training images that pass, with their interval.
        recovered: Count,
        /// The measure that decides, such as "SSIM".
        measure: String,
        /// The value of the measure an image must reach.
        #[serde(deserialize_with = "nan::null_is_nan")]
        threshold: f64,
        /// Level of the interval, such as 0.95.
        #[serde(deserialize_with = "nan::null_is_nan")]
        interval_level: f64,
        /// What the threshold was set on, such as "held-out images of the same distribution".
        null: String,
        /// How many members of that null pass the same threshold.
        null_count: Count,
        /// Whether a pair passes by being small (a distance) rather than large (a similarity).
        #[serde(default)]
        smaller_is_better: bool,
        /// What the attack's own confidence is.
        #[serde(default)]
        confidence: ConfidenceKind,
        /// What an input is.
        #[serde(default)]
        inputs: InputKind,
    },
    /// Nobody compared anything: the attack speaks for itself.
    Unjudged {
        /// Candidates the attack calls sure: their confidence reaches `bar`.
        sure: usize,
        /// Distinct candidates it made.
        candidates: usize,
        /// What the attack's own confidence is.
        #[serde(default)]
        confidence: ConfidenceKind,
        /// The confidence that counts as sure, in [0, 1].
        #[serde(deserialize_with = "nan::null_is_nan")]
        bar: f64,
        /// Share of the sure ones expected to be real, by calibration, in [0, 1]; absent without calibration.
        #[serde(default)]
        expected_precision: Option<f64>,
        /// What "sure" was measured against, such as "random mixtures of the candidates".
        null: String,
        /// How many members of that null reach the same bar; absent when none were made.
        #[serde(default)]
        null_count: Option<Count>,
        /// What an input is.
        #[serde(default)]
        inputs: InputKind,
    },
}

impl Answer {
    /// What an input is.
    pub fn inputs(&self) -> InputKind {
        match self {
            Self::Judged { inputs, .. } | Self::Unjudged { inputs, .. } => *inputs,
        }
    }

    /// What the attack's own confidence is.
    pub fn confidence(&self) -> ConfidenceKind {
        match self {
            Self::Judged { confidence, .. } | Self::Unjudged { confidence, .. } => *confidence,
        }
    }
}

/// One candidate as the page shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Row of the candidate in the reconstruction.
    pub candidate: usize,
    /// The candidate as a picture, scaled for display by the caller; not part of the JSON.
    #[serde(skip)]
    pub picture: Option<Picture>,
    /// The candidate as plain numbers, one a column of [`ReportData::columns`]; absent for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<f64>>,
    /// Place in the attack's own ranking, 1 is surest.
    #[serde(default)]
    pub rank: Option<usize>,
    /// The attack's own confidence, in [0, 1].
    #[serde(default)]
    pub confidence: Option<f64>,
    /// What the network answers when it is shown the candidate: a class, or the number that a regression tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What the judge says of it.
    #[serde(default)]
    pub truth: Option<TruthMatch>,
}

/// The training image a candidate was matched with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthMatch {
    /// Row of the training image.
    pub index: usize,
    /// Its label: a class by name, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The training image; not part of the JSON.
    #[serde(skip)]
    pub picture: Option<Picture>,
    /// The training input as plain numbers; absent for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<f64>>,
    /// Root mean square difference of the pair, in standard deviations of each column; absent for images.
    #[serde(default)]
    pub distance: Option<f64>,
    /// SSIM of the pair, at most 1; absent for plain numbers.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub ssim: f64,
    /// NCC of the pair, in [-1, 1].
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub ncc: f64,
    /// Whether the pair passes the threshold of the answer.
    pub recovered: bool,
}

/// What the network says of the inputs found, of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassAnswers {
    /// Number or sign of the class, as the outputs count it.
    pub name: String,
    /// Distinct inputs found that the network counts to it.
    pub listed: usize,
    /// How many of these the attack calls sure.
    pub sure: usize,
}

/// How the result was obtained.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Method {
    /// The layers of the attacked network.
    pub model: Vec<LayerView>,
    /// Prior knowledge the user declared.
    pub prior: Vec<Setting>,
    /// Name of the attack.
    pub attack: String,
    /// Its parameters.
    pub parameters: Vec<Setting>,
    /// Named seeds.
    pub seeds: Vec<Setting>,
    /// Versions, checksums, machine.
    pub provenance: Vec<Setting>,
    /// Wall time of every stage.
    pub stages: Vec<Stage>,
    /// How much of every layer the stationarity equations explain.
    pub certificate: Vec<LayerCertificate>,
}

/// A name and its value, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Name.
    pub name: String,
    /// Value, formatted by the caller.
    pub value: String,
}

impl Setting {
    /// A setting from anything that prints.
    pub fn new(name: impl Into<String>, value: impl ToString) -> Self {
        Self { name: name.into(), value: value.to_string() }
    }
}

/// One layer of the attacked network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerView {
    /// Name.
    pub name: String,
    /// Shape of the weight, such as "1000 x 3072, bias".
    pub shape: String,
    /// Activation that follows, or empty.
    pub activation: String,
    /// Number of parameters.
    pub parameters: u64,
}

/// Wall time of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Name.
    pub name: String,
    /// Seconds.
    #[serde(deserialize_with = "nan::null_is_nan")]
    pub elapsed_s: f64,
}

/// Relative stationarity residual of a layer: 0 is fully explained, 1 is not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerCertificate {
    /// Name of the layer.
    pub layer: String,
    /// At the candidates the attack found.
    #[serde(default)]
    pub at_candidates: Option<f64>,
    /// At the true training images: the judge's.
    #[serde(default)]
    pub at_truth: Option<f64>,
}

/// Residual against step, one line a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// What is on the vertical axis, such as "relative residual".
    pub quantity: String,
    /// How the vertical axis is divided.
    pub scale: AxisScale,
    /// The restarts.
    pub curves: Vec<Curve>,
}

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AxisScale {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; values that are not positive are left out.
    Log,
}

/// One restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the restart.
    pub name: String,
    /// Steps, ascending.
    pub steps: Vec<u64>,
    /// Values at those steps.
    #[serde(deserialize_with = "nan::nulls_are_nan")]
    pub values: Vec<f64>,
}
