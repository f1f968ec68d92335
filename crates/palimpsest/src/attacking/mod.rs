//! What an attacker does: weights and declared knowledge in, candidates and a report out. Nothing here can see the truth.

pub mod answers;
pub mod audit;
mod chance;
pub mod exposure;
pub mod found;
pub mod input_shape;
pub mod merge;
pub mod model_file;
pub mod pages;
pub mod peek;
pub(crate) mod protection;
pub mod reconstruct;
pub mod too_short;
pub mod unjudged;
