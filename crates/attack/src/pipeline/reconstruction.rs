//! What an attack gives back.

use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_kkt::outputs::Label;
use palimpsest_unmix::raw::Appearance;
use serde::{Deserialize, Serialize};

use crate::evidence::witnesses::Witnesses;
use crate::problem::exposure::Exposure;
use crate::problem::head::Head;
use crate::search::restart::TerminationReason;
use crate::stages::candidate::{Origin, OriginGroup};
use crate::stages::saturation::Saturation;
use crate::stages::stage::StageRecord;

/// Reconstructed inputs, one a row, (m, d), with the training mean removed. Never mixed up with the truth, which is
/// another type of another crate.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates(Array2<f32>);

impl Candidates {
    /// Candidates from rows.
    pub fn new(rows: Array2<f32>) -> Self {
        Self(rows)
    }

    /// The rows, (m, d).
    pub fn view(&self) -> ArrayView2<'_, f32> {
        self.0.view()
    }

    /// The rows, owned.
    pub fn into_inner(self) -> Array2<f32> {
        self.0
    }

    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.0.nrows()
    }

    /// Whether there is no candidate.
    pub fn is_empty(&self) -> bool {
        self.0.nrows() == 0
    }
}

/// Candidates as what they are made of: coordinates times directions are their rows, to the bit on one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct InSpan {
    /// Coordinates of each candidate, (M, r).
    pub coordinates: Array2<f32>,
    /// Orthonormal directions, (r, d).
    pub basis: Array2<f32>,
}

/// The record of one restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestartRecord {
    /// Index of the restart; with the seed it fixes all of it.
    pub restart: u64,
    /// Whether it began with images separated from the weights, see [`palimpsest_unmix::separation`].
    #[serde(default)]
    pub separated: bool,
    /// Relative residual at the end.
    pub relative_residual: f64,
    /// (step, relative residual).
    pub curve: Vec<(usize, f64)>,
    /// Why it ended.
    pub termination: TerminationReason,
    /// Whether the restart collapsed to few distinct candidates and was left out of the consensus.
    pub collapsed: bool,
}

/// All candidates of all finished restarts, with what can be said of them without the truth.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// Candidates, (M, d), ordered by restart, then by index in it; after them those of other stages, see `origins`.
    pub candidates: Candidates,
    /// The same as coordinates, where the attack worked in such and candidates were not refined as raw images.
    pub in_span: Option<InSpan>,
    /// Multipliers (M), in the convention without 1/m.
    pub multipliers: Array1<f32>,
    /// Labels (M); of a regression, the signs of errors.
    pub labels: Vec<Label>,
    /// Consensus score (M) in [0, 1].
    pub agreement: Array1<f32>,
    /// Mean bias share (M) of a candidate and its nearest ones in the other restarts, see [`crate::evidence::confidence::Evidence`]; nothing
    /// where the first layer has no biases.
    pub bias_share: Option<Array1<f32>>,
    /// How each candidate looks as a raw image (M), where it is known what was taken from all inputs.
    pub appearance: Option<Vec<Appearance>>,
    /// What was taken from all inputs, as estimated from the weights, (d), where it could be: their mean.
    pub mean_image: Option<Array1<f32>>,
    /// Share of distinct candidates among those of the first six restarts, in (0, 1]: low where inputs are much alike.
    pub distinct_share: f64,
    /// Probability (M) that a candidate is a real training input, in [0, 1].
    pub confidence: Array1<f32>,
    /// Candidates that stand for the distinct inputs found, surest first.
    pub ranking: Vec<usize>,
    /// Who found each ranked input, (ranking), where candidates are images in the directions of the weights.
    pub witnesses: Option<Vec<Witnesses>>,
    /// The best estimate of each ranked input, (ranking, d): itself if it was found exactly or raw images are known, else what the restarts
    /// agree on, of the prior norm, with a separated picture where there is one.
    pub merged: Candidates,
    /// Where the candidates (M) come from, in their order.
    pub origins: Vec<OriginGroup>,
    /// What each stage found, or why it did not apply, in their order.
    pub stages: Vec<StageRecord>,
    /// One record per finished restart.
    pub restarts: Vec<RestartRecord>,
    /// That restarts ended by themselves, as nothing new came, if they did.
    pub saturation: Option<Saturation>,
    /// What the weights said beforehand.
    pub exposure: Exposure,
    /// What the outputs pull on.
    pub head: Head,
    /// Coordinates the attack worked in.
    pub rank: usize,
    /// Candidates per restart.
    pub candidates_per_restart: usize,
    /// Typical norm of an input, declared or told, see [`AttackProblem::input_norm`](crate::AttackProblem::input_norm).
    pub input_norm: f64,
    /// Singular values of the first layer, descending.
    pub spectrum: Vec<f32>,
}

impl Reconstruction {
    /// Where each candidate comes from, (M).
    pub fn origins(&self) -> Vec<Origin> {
        origins(&self.origins)
    }

    /// Candidates that come from an `origin`.
    pub fn count(&self, origin: Origin) -> usize {
        count(&self.origins, origin)
    }
}

/// The origin of each candidate of these groups.
pub fn origins(groups: &[OriginGroup]) -> Vec<Origin> {
    groups.iter().flat_map(|group| std::iter::repeat_n(group.origin, group.candidates)).collect()
}

/// How many candidates of these groups come from an `origin`.
pub fn count(groups: &[OriginGroup], origin: Origin) -> usize {
    groups.iter().filter(|group| group.origin == origin).map(|group| group.candidates).sum()
}
