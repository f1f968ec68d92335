//! Reconstruction of training inputs from the weights of a trained network.
//!
//! A network trained far enough is close to a KKT point of a margin problem (or, with weight decay, to a stationary
//! point): its weights are a weighted sum of gradients at its training inputs. [`palimpsest_kkt`] writes that equation
//! down; this crate solves it for the inputs.
//!
//! * [`problem`]: the network prepared for attack. An [`EntryLayer`](problem::entry::EntryLayer) is where the attack enters; a
//!   [`Head`] says what the outputs pull on (two classes, several, or one number of a regression), as [`OutputPull`]s of
//!   candidates with [`Label`]s; an [`Exposure`] says beforehand how promising it looks.
//! * [`search`]: one restart, by annealed, alternating or the published descent.
//! * [`stages`]: what is tried, each a [`Stage`]: images unmixed from the weights ([`palimpsest_unmix`]) as starts, those on which
//!   separations agree, restarts in rounds between which what was found is taken out of the equation, restarts, and
//!   inputs solved for exactly by their activation patterns. Each says what it found or why it did not apply.
//! * [`evidence`]: how restarts agree, the probability without the truth that follows, and membership of records.
//! * [`pipeline`]: runs the stages and ranks what they found.
//!
//! The crate sees a network and declared [`PriorKnowledge`], nothing else: it has no access to data sets or to the
//! metrics that judge it.
//!
//! ```
//! use palimpsest_attack::{AttackParams, Method, reconstruct, search::alternating::AlternatingParams};
//! use palimpsest_mlp::{BiasPlacement, Mlp};
//! use palimpsest_numerics::seed::Seed;
//! use std::ops::ControlFlow;
//!
//! // Random weights hold no training data; the attack runs all the same and says so by a large residual.
//! let network = Mlp::initialise(&[12, 60, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
//! let steps = AlternatingParams { steps: 20, ..AlternatingParams::default() };
//! let mut params = AttackParams::of(Method::Alternating(steps), 2);
//! params.candidates = Some(8);
//! params.rank = Some(6);
//! let found = reconstruct(&network, &params, Seed::new(7), &|_| ControlFlow::Continue(()))?;
//! assert_eq!(found.candidates.view().dim(), (16, 12));
//! # Ok::<(), palimpsest_attack::AttackError>(())
//! ```

mod error;
pub mod evidence;
pub mod pipeline;
pub mod problem;
pub mod search;
pub mod stages;

pub use error::AttackError;
pub use palimpsest_kkt::outputs::{Label, OutputPull};
pub use pipeline::driver::{reconstruct, reconstruct_by, reconstruct_from};
pub use pipeline::part::{Part, make_restarts};
pub use pipeline::reconstruction::{Candidates, InSpan, Reconstruction, RestartRecord};
pub use problem::exposure::{Exposure, ExposureLevel};
pub use problem::head::{Head, Task};
pub use problem::later_layers::LaterLayer;
pub use problem::prepared::AttackProblem;
pub use problem::prior::PriorKnowledge;
pub use search::method::Method;
pub use search::restart::{Restart, TerminationReason};
pub use search::state::{AttackState, RunState};
pub use search::step::Step;
pub use stages::activation_patterns::PatternParams;
pub use stages::candidate::{Candidate, Origin, OriginGroup};
pub use stages::context::{AttackContext, AttackStep, RestartStep, SeparatedImages};
pub use stages::params::AttackParams;
pub use stages::saturation::{Saturation, SaturationParams};
pub use stages::stage::{Outcome, Stage, StageRecord};
pub use stages::why_not::WhyNot;
