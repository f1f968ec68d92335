//! What only the judge sees: training data, scores, and the pages that show them.

pub mod audit;
pub mod classifier;
pub mod data;
pub mod demo;
pub mod evaluate;
mod learned;
pub mod members;
pub mod recipe;
pub mod report;
pub mod score;
mod section;
pub mod task;
pub mod train;
