//! What only the judge sees: training data, scores, and the pages that show them.

pub mod audit;
pub mod data;
pub mod demo;
pub mod evaluate;
pub mod report;
pub mod score;
mod section;
pub mod train;
