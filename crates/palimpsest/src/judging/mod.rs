//! What only the judge sees: training data, scores, and the pages that show them.

pub mod audit;
pub mod classifier;
pub mod compare;
mod contestants;
pub mod data;
pub mod demo;
pub mod descent;
pub mod evaluate;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod goals;
pub mod members;
pub mod normalize;
mod printed;
pub mod recipe;
pub mod regime;
pub mod report;
pub mod risk;
pub mod scaling;
pub mod score;
mod section;
pub mod task;
pub mod train;
pub mod trained;
