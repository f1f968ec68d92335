//! Reconstruction of training inputs from the weights of a trained network.
//!
//! A network trained far enough is close to a KKT point of a margin problem (or, with weight decay, to a stationary
//! point): its weights are a weighted sum of gradients at its training inputs. This crate writes that equation down
//! ([`stationarity`]), says how well it can be satisfied ([`certificate`]), and solves it for the inputs
//! ([`descent`], [`alternating`], [`gradient`]) from many starts ([`restarts`]), random or images unmixed from the weights
//! ([`separation`], [`offset`]), whose agreement ([`consensus`]) becomes a probability without the truth ([`confidence`]). Where weight
//! decay made the equation exact, inputs are then solved for exactly, one by one ([`patterns`]); where there are too many for that, what
//! is found is taken out of the equation, round by round ([`deflation`]).
//!
//! The crate sees a network and declared [`PriorKnowledge`], nothing else: it has no access to data sets or to the
//! metrics that judge it.
//!
//! ```
//! use palimpsest_kkt::{AttackParams, Method, PriorKnowledge, alternating::AlternatingParams, reconstruct};
//! use palimpsest_mlp::{BiasPlacement, Mlp};
//! use palimpsest_numerics::seed::Seed;
//! use std::ops::ControlFlow;
//!
//! // Random weights hold no training data; the attack runs all the same and says so by a large residual.
//! let network = Mlp::initialise(&[12, 60, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
//! let params = AttackParams {
//!     method: Method::Alternating(AlternatingParams { steps: 20, ..AlternatingParams::default() }),
//!     candidates: Some(8),
//!     restarts: 2,
//!     rank: Some(6),
//!     prior: PriorKnowledge::default(),
//!     patterns: None,
//!     separation: None,
//!     deflation: None,
//! };
//! let found = reconstruct(&network, &params, Seed::new(7), &|_| ControlFlow::Continue(()))?;
//! assert_eq!(found.candidates.view().dim(), (16, 12));
//! # Ok::<(), palimpsest_kkt::KktError>(())
//! ```

pub mod alternating;
pub mod attackability;
pub mod certificate;
pub mod confidence;
pub mod consensus;
pub mod deflation;
pub mod descent;
mod edge_energy;
mod equation_weights;
mod error;
pub mod gradient;
pub mod later_layers;
mod mirror;
pub mod offset;
pub mod patterns;
mod pool;
pub mod problem;
mod raw;
pub mod reconstruction;
pub mod restarts;
pub mod separation;
mod sources;
pub mod spectrum;
pub mod state;
pub mod stationarity;

pub use attackability::{Attackability, Outlook};
pub use certificate::{StationarityCertificate, certify};
pub use error::KktError;
pub use later_layers::LaterLayer;
pub use patterns::PatternParams;
pub use problem::{AttackProblem, PriorKnowledge};
pub use reconstruction::{Candidates, Reconstruction, Run, TerminationReason};
pub use restarts::{AttackParams, AttackStep, Method, RestartStep, reconstruct, reconstruct_from};
pub use state::{AttackState, RunState};

/// Where a run is, as its observer sees it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Steps taken.
    pub index: usize,
    /// Steps planned.
    pub steps: usize,
    /// Relative residual before this step (of the alternating attack: at the last point of its curve).
    pub relative_residual: f64,
    /// Everything from which the run goes on.
    pub state: &'a RunState,
}
