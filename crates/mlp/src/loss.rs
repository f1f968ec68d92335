//! Losses, in log space where they can be tiny.

mod logistic;

pub use logistic::{log_logistic, log_loss_gradient, log_mean_loss, log_slope};
