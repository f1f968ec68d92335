//! Restarts that begin with images separated from the row space of the weights.

pub(crate) mod sources;
pub mod stage;
