//! Multilayer perceptrons for people who study what their weights remember.
//!
//! * [`network`]: [`Mlp`] of any depth and width, bias in the first layer only (which keeps a ReLU net
//!   homogeneous), everywhere or nowhere, with the published initialisation;
//! * [`activation`]: value, slope and curvature of the activation, the forward value apart from the derivative;
//! * [`passes`]: forward, weighted parameter gradient, tangent along a direction in parameter space, and the
//!   gradient of that tangent with respect to the inputs, in memory that is handed in;
//! * [`loss`]: logistic, softmax and squared losses, in log space where they can be tiny (e^-1000 stays exact), and what
//!   each example pulls on the outputs;
//! * [`train`](mod@train): descent to a KKT point (published, loss-normalised, or heavy ball with weight decay), and batches
//!   with SGD, Adam or AdamW, dropout and augmentation;
//! * [`subspace`]: exact training in the span of the data, and the weights' own row space;
//! * [`checkpoint`] and [`import`]: checksummed files of our own, `.safetensors` in PyTorch's naming in and out, and
//!   `.pth` and `.npz` in.
//!
//! ```
//! use ndarray::{Array1, Array2};
//! use palimpsest_mlp::{BiasPlacement, Mlp, train::{Schedule, TrainParams, train}};
//! use palimpsest_numerics::seed::Seed;
//! use std::ops::ControlFlow;
//!
//! let inputs = Array2::from_shape_fn((8, 5), |(i, j)| ((i * 5 + j) as f64).sin());
//! let labels = Array1::from_shape_fn(8, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
//! let start = Mlp::initialise(&[5, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
//! let params = TrainParams { max_epochs: 5_000, until_log_loss: Some(-11.5), ..TrainParams::new(Schedule::LossNormalised { step_size: 0.05 }) };
//! let outcome = train(start, inputs.view(), labels.view(), &params, &mut |_| ControlFlow::Continue(()))?;
//! assert!(outcome.log_loss <= -11.5 && outcome.training_errors == 0);
//! # Ok::<(), palimpsest_mlp::MlpError>(())
//! ```

pub mod activation;
pub mod checkpoint;
mod error;
pub mod import;
pub mod loss;
pub mod merge;
pub mod network;
pub mod passes;
pub mod subspace;
pub mod train;

pub use activation::Activation;
pub use checkpoint::{Checkpoint, Provenance};
pub use error::MlpError;
pub use network::{BiasPlacement, Dense, Mlp};
pub use subspace::InputSubspace;
