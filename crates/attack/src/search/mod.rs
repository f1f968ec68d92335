//! Searches: from a start to candidates that satisfy the equation better.

pub(crate) mod adam;
pub mod alternating;
pub mod annealed;
pub mod method;
pub mod published;
pub mod restart;
pub mod state;
pub mod step;
