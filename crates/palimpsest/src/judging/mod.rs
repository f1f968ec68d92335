//! What only the judge sees: training data, scores, and the pages that show them.

#[cfg(feature = "cli")]
pub mod audit;
#[cfg(feature = "cli")]
pub mod classifier;
#[cfg(feature = "cli")]
pub mod compare;
#[cfg(feature = "cli")]
mod contestants;
#[cfg(feature = "cli")]
pub mod data;
#[cfg(feature = "cli")]
pub mod demo;
#[cfg(feature = "cli")]
pub mod descent;
#[cfg(feature = "cli")]
pub mod evaluate;
#[cfg(feature = "fetch")]
pub mod fetch;
#[cfg(feature = "cli")]
pub mod goals;
#[cfg(feature = "cli")]
pub mod members;
#[cfg(feature = "cli")]
pub mod normalize;
#[cfg(feature = "cli")]
mod printed;
#[cfg(feature = "cli")]
pub mod recipe;
#[cfg(feature = "cli")]
pub mod regime;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod risk;
#[cfg(feature = "cli")]
pub mod scaling;
#[cfg(feature = "cli")]
pub mod score;
#[cfg(feature = "cli")]
mod section;
pub mod start;
#[cfg(feature = "cli")]
pub mod task;
#[cfg(feature = "cli")]
pub mod train;
#[cfg(feature = "cli")]
pub mod trained;
