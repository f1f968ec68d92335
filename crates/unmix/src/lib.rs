#![doc = include_str!("../README.md")]

pub mod agreement;
pub mod edges;
mod error;
pub mod mean_image;
mod operators;
pub mod raw;
pub mod separation;
pub mod smoothness;
pub mod sparsity;

pub use error::UnmixError;
