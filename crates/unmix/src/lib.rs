//! Images out of a span of images, by blind separation alone: no network, no equation, no truth.
//!
//! The rows of a first layer's weights lie in the span of the inputs that it was trained on, whatever the later layers, the loss or
//! the optimiser. [`agreement`] finds the images in such a span and says how sure each is.

pub mod agreement;
mod error;

pub use error::UnmixError;
