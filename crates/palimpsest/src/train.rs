//! Training as a function: a network whose weights can be attacked.

use std::ops::ControlFlow;

use ndarray::{ArrayView1, ArrayView2};
use palimpsest_mlp::train::{Epoch, Schedule, TrainParams};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::gemm::Parallelism;

use crate::error::{Error, Result};
use crate::start::{FirstLayer, initial, training_bytes, widths};
use crate::terminal::memory;

/// How a network is trained.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrainOptions {
    /// Hidden widths, at least one, each at least 1.
    pub hidden: Vec<usize>,
    /// Weight decay, above 0 and at most 1; 2e-3 suits a hundred examples.
    pub weight_decay: f64,
    /// Steps, at least 1.
    pub epochs: usize,
    /// Seed of the initialisation.
    pub seed: u64,
}

impl Default for TrainOptions {
    /// Two hidden layers of a thousand, as published; weight decay 2e-3 for 4000 steps.
    fn default() -> Self {
        Self { hidden: vec![1000, 1000], weight_decay: 2e-3, epochs: 4000, seed: 0 }
    }
}

/// Trains a binary classifier on inputs (n, d), their mean removed, with labels (n) in {-1, +1}.
///
/// ```
/// use ndarray::array;
/// let mut options = palimpsest::TrainOptions::default();
/// (options.hidden, options.epochs) = (vec![8], 5);
/// let inputs = array![[1.0, 0.0], [0.0, -1.0]];
/// let network = palimpsest::train(inputs.view(), array![1.0, -1.0].view(), &options)?;
/// assert_eq!(network.dims(), [2, 8, 1]);
/// # Ok::<(), palimpsest::Error>(())
/// ```
///
/// # Errors
/// [`Error::Option`]; [`Error::Train`].
pub fn train(
    inputs: ArrayView2<'_, f32>,
    labels: ArrayView1<'_, f32>,
    options: &TrainOptions,
) -> Result<Mlp<f32>> {
    train_observed(inputs, labels, options, &mut |_| ControlFlow::Continue(()))
}

/// [`train`], watched: `observe` is told how many steps are done, and ends the training early by `Break`.
///
/// # Errors
/// Those of [`train`].
pub fn train_observed(
    inputs: ArrayView2<'_, f32>,
    labels: ArrayView1<'_, f32>,
    options: &TrainOptions,
    observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Mlp<f32>> {
    let dims =
        widths(inputs.ncols(), &options.hidden).map_err(|error| Error::Option(format!("{error:#}")))?;
    let bytes = training_bytes(inputs.dim(), &dims);
    memory::fits("training", bytes, "choose fewer examples or smaller widths").map_err(Error::Option)?;
    let schedule = Schedule::WeightDecay { weight_decay: options.weight_decay, step_size: 0.15 };
    let params = TrainParams {
        max_epochs: options.epochs,
        parallelism: Parallelism::of_threads(rayon::current_num_threads()),
        ..TrainParams::new(schedule)
    };
    let network = initial::<f32>(&dims, BiasPlacement::FirstLayer, FirstLayer::Ordinary, options.seed);
    let mut observe = |epoch: &Epoch<'_, f32>| observe(epoch.index);
    Ok(palimpsest_mlp::train::train(network, inputs, labels, &params, &mut observe)?.network)
}
