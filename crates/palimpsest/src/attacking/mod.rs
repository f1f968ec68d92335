//! What an attacker does: weights and declared knowledge in, candidates and a report out. Nothing here can see the truth.

pub mod answers;
#[cfg(feature = "cli")]
pub mod audit;
pub(crate) mod bounds;
mod chance;
pub mod exposure;
pub mod found;
pub mod input_shape;
pub(crate) mod look;
#[cfg(feature = "cli")]
pub mod merge;
pub mod model_file;
pub mod pages;
#[cfg(feature = "cli")]
pub mod peek;
pub(crate) mod protection;
#[cfg(feature = "cli")]
pub mod reconstruct;
pub(crate) mod record;
pub mod too_short;
pub mod unjudged;
