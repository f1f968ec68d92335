//! What a stage of an attack is.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::stages::candidate::Candidate;
use crate::stages::context::AttackContext;

/// Why a stage does not apply to a network: one sentence for whoever reads the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyNot(Cow<'static, str>);

impl WhyNot {
    /// From a sentence without a full stop, as in "the shape of an image was not declared".
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a stage that ran comes back with.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The candidates it found, besides those of restarts it made.
    Found(Vec<Candidate>),
    /// It did not apply after all.
    Nothing(WhyNot),
}

/// A stage of an attack. A new one is a file with an `impl Stage` and a line in [`crate::stages::all`].
pub trait Stage: Sync {
    /// Its name in records and reports, as in "deflation".
    fn name(&self) -> &'static str;

    /// Whether it applies, as far as that is known without work.
    ///
    /// # Errors
    /// [`WhyNot`], the reason.
    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot>;

    /// Does its work. An observer may have ended the attack: [`AttackContext::is_stopped`].
    ///
    /// # Errors
    /// [`AttackError`] when the attack as a whole cannot go on.
    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError>;
}

/// The record of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its name.
    pub stage: String,
    /// Candidates it found: those of the restarts that it made, and others.
    pub candidates: usize,
    /// Why it did not apply, if it did not.
    pub why_not: Option<WhyNot>,
}
