//! What can be said of candidates without the truth, and of records that somebody has.

pub mod confidence;
pub mod consensus;
pub mod membership;
pub mod witnesses;
