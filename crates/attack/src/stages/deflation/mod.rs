//! Rounds of restarts between which what was found is taken out of the equation.

pub mod rounds;
pub mod stage;

pub use rounds::DeflationParams;
