//! What a stage of an attack is.

use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::stages::candidate::Candidate;
use crate::stages::context::AttackContext;
use crate::stages::why_not::WhyNot;

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
