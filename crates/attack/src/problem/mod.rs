//! What an attack is given: a network, declared prior knowledge, and nothing else.

pub mod entry;
pub mod exposure;
pub mod head;
pub mod image_prior;
pub mod later_layers;
pub mod prepared;
pub mod prior;
pub(crate) mod rank;
pub mod spectrum;
pub mod start;
