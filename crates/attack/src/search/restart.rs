//! One search from one start, a restart, and what it gives.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// Why a restart ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationReason {
    /// All steps were taken.
    MaxSteps,
    /// A NaN or infinity appeared.
    NonFinite {
        /// The step at which it was seen.
        step: usize,
    },
    /// The observer ended it: a time limit or an interrupt.
    TimeLimit,
}

/// One restart: what a search from one start gives, in coordinates of the attack's subspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Candidates, (m, r).
    pub coordinates: Array2<f32>,
    /// What they were before they were refined as raw images, (m, r), where these are known.
    pub unrefined: Option<Array2<f32>>,
    /// Multipliers (m), in the convention without 1/m.
    pub multipliers: Array1<f32>,
    /// Relative residual at the end.
    pub relative_residual: f64,
    /// (step, relative residual), about a hundred points.
    pub curve: Vec<(usize, f64)>,
    /// Why it ended.
    pub termination: TerminationReason,
}
