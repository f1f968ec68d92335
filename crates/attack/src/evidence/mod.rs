//! What can be said of candidates without the truth, and of records that somebody has.

pub mod confidence;
pub mod consensus;
pub(crate) mod left_factors;
pub mod membership;
pub mod signs;
pub mod witnesses;
pub(crate) mod zero_sum;
