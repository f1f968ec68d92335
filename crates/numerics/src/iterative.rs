//! Solutions by iteration: conjugate gradients, reweighted least squares, the leading directions of a wide matrix.

mod conjugate_gradients;
mod orthogonal_iteration;
mod reweighted;

pub use conjugate_gradients::{Stop, conjugate_gradients};
pub use orthogonal_iteration::{Leading, leading_directions};
pub use reweighted::WeightedLeastSquares;
