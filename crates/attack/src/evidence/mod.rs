//! What can be said of candidates without the truth.

pub mod confidence;
pub mod consensus;
