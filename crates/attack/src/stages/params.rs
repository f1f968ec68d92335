//! Options of an attack.

use palimpsest_numerics::range::{OutOfRange, at_least_one};
use palimpsest_unmix::agreement::AgreementParams;
use palimpsest_unmix::separation::SeparationParams;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::problem::prior::PriorKnowledge;
use crate::search::annealed::DescentParams;
use crate::search::method::Method;
use crate::stages::activation_patterns::PatternParams;
use crate::stages::deflation::rounds::DeflationParams;
use crate::stages::saturation::SaturationParams;

/// Options of an attack; checked once on entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttackParams {
    /// The attack.
    pub method: Method,
    /// Candidates per restart, m >= 2, as many of each label as can be; twice the rank if not given.
    pub candidates: Option<usize>,
    /// Independent starts, >= 1.
    pub restarts: usize,
    /// Coordinates to work in, estimated from the spectrum if not given.
    pub rank: Option<usize>,
    /// Prior knowledge, declared.
    pub prior: PriorKnowledge,
    /// The search for activation patterns near the candidates of the restarts, where the weights allow one (see
    /// [`crate::stages::activation_patterns`]); none if not given.
    pub patterns: Option<PatternParams>,
    /// The separation of the weights' row space, whose sources every other restart of [`Method::Annealed`] begins with where inputs
    /// are images (see [`palimpsest_unmix::separation`]); none if not given.
    pub separation: Option<SeparationParams>,
    /// The separation of nested truncations, whose supported pictures become candidates where inputs are images (see
    /// [`palimpsest_unmix::agreement`]); none if not given.
    pub agreement: Option<AgreementParams>,
    /// The rounds in which [`Method::Annealed`] makes its restarts where inputs are smooth images of which no sources are found
    /// and the weights say that they were decayed (see [`crate::stages::deflation`]); independent restarts if not given.
    pub deflation: Option<DeflationParams>,
    /// When restarts end before their number is reached, as nothing new comes; all are made if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<SaturationParams>,
}

impl Default for AttackParams {
    /// Annealed descent from eight starts, with every stage; nothing declared.
    fn default() -> Self {
        Self {
            method: Method::Annealed(DescentParams::default()),
            candidates: None,
            restarts: 8,
            rank: None,
            prior: PriorKnowledge::default(),
            patterns: Some(PatternParams::default()),
            separation: Some(SeparationParams::default()),
            agreement: Some(AgreementParams::default()),
            deflation: Some(DeflationParams::default()),
            saturation: None,
        }
    }
}

impl AttackParams {
    /// A method by itself, as it was published: `restarts` independent starts, no other stage.
    pub fn of(method: Method, restarts: usize) -> Self {
        Self {
            method,
            restarts,
            patterns: None,
            separation: None,
            agreement: None,
            deflation: None,
            ..Self::default()
        }
    }

    /// Checks every option that can be checked without a network.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        self.method.check()?;
        self.prior.check()?;
        if let Some(patterns) = &self.patterns {
            patterns.check()?;
        }
        if let Some(separation) = &self.separation {
            separation.check()?;
        }
        if let Some(agreement) = &self.agreement {
            agreement.check()?;
        }
        if let Some(deflation) = &self.deflation {
            deflation.check()?;
        }
        if let Some(saturation) = &self.saturation {
            saturation.check()?;
        }
        at_least_one("restarts", self.restarts)?;
        match self.candidates {
            Some(m) if m < 2 => {
                Err(OutOfRange::new("candidates", "at least 2 (one of each label)", m).into())
            }
            _ => Ok(()),
        }
    }
}
