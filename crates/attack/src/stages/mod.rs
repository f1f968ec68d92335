//! The stages of an attack.

pub mod activation_patterns;
pub mod deflation;
pub(crate) mod separated_starts;
