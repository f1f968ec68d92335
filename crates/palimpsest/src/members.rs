//! Which of given records a network was trained on, as a function.

use std::path::Path;

use anyhow::bail;
use ndarray::{Array2, ArrayView2};
use palimpsest_attack::evidence::membership::{Membership, MembershipError, Outputs, Weights, assess};
use palimpsest_mlp::import::MatrixChoice;
use palimpsest_numerics::gemm::Parallelism;

use crate::attacking::model_file::{load_layer, load_model};
use crate::error::{Error, Result};
use crate::terminal::memory;

/// Which layer is asked, and what the outputs above it are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MembersOptions {
    /// Name of the dense layer that sees the records; the first of the network, and all above it, if not given.
    pub layer: Option<String>,
    /// Which chain of dense layers is meant, where the file holds several; not with `layer`.
    pub chain: Option<String>,
    /// What the network's outputs are: margins and logits, or numbers.
    pub outputs: Outputs,
}

impl Default for MembersOptions {
    /// A classifier of one chain.
    fn default() -> Self {
        Self { layer: None, chain: None, outputs: Outputs::Classes }
    }
}

/// What speaks for each of `records` (m, d) having been trained on, by the weights in the file `path`, as `palimpsest members` says it.
/// `references` (n, d) are records of the same kind that surely were not trained on; without them records are only ranked. Both are as
/// the network, or the layer, sees them. Works in the thread pool of its caller; the result does not depend on the number of threads.
///
/// # Errors
/// [`Error::Model`] for a file without such a network or layer; [`Error::Option`] for records that cannot be measured and for what does
/// not fit into memory.
pub fn members(
    path: &Path,
    records: ArrayView2<'_, f32>,
    references: Option<ArrayView2<'_, f32>>,
    options: &MembersOptions,
) -> Result<Membership> {
    if options.layer.is_some() && options.chain.is_some() {
        return Err(Error::Option("layer and chain exclude each other; leave one of them out".into()));
    }
    let unfit = |error: anyhow::Error| Error::Model { path: path.into(), problem: format!("{error:#}") };
    let (network, layer);
    let (weights, size) = match &options.layer {
        None => {
            network = load_model(path, options.chain.as_deref()).map_err(unfit)?.network;
            (Weights::Network(&network, options.outputs), network.layers()[0].weight.dim())
        }
        Some(name) => {
            layer = layer_weights(path, name, records.ncols(), "layer or the records").map_err(unfit)?.1;
            (Weights::Layer(layer.view()), layer.dim())
        }
    };
    let bytes = membership_bytes(size, records.nrows(), references.map(|references| references.nrows()));
    memory::fits("members", bytes, "give fewer references or records").map_err(Error::Option)?;
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    assess(weights, records, references, parallelism).map_err(|error| match error {
        MembershipError::Factor(error) => {
            Error::Results(format!("the weights or records cannot be decomposed: {error}"))
        }
        error => Error::Option(error.to_string()),
    })
}

/// Name and weights (h, inputs) of the dense layer `name` of the file at `path`; `correct` names the options that a caller may have wrong.
///
/// # Errors
/// When there is no such layer, or its weights are above what `f32` holds.
pub(crate) fn layer_weights(
    path: &Path,
    name: &str,
    inputs: usize,
    correct: &str,
) -> anyhow::Result<(String, Array2<f32>)> {
    let layer = load_layer(path, MatrixChoice::Named(name), inputs, correct)?;
    let weight = layer.weight.mapv(|value| value as f32);
    if !weight.iter().all(|value| value.is_finite()) {
        bail!("{} has weights above what f32 holds; scale them down", layer.name);
    }
    Ok((layer.name, weight))
}

/// Memory that evidence on so many records takes, of a layer (h, d), from above.
pub(crate) fn membership_bytes(
    (h, d): (usize, usize),
    records: usize,
    references: Option<usize>,
) -> Option<u64> {
    let (m, n) = (records, references.unwrap_or(records));
    memory::total([
        memory::numbers(4, &[h, d], size_of::<f64>()),
        memory::numbers(9, &[n, d], size_of::<f64>()),
        memory::numbers(6, &[n, n], size_of::<f64>()),
        memory::numbers(4, &[h.min(d), h.min(d)], size_of::<f64>()),
        memory::numbers(2, &[m, d], size_of::<f64>()),
        memory::numbers(3, &[m.min(3000), m.min(3000)], size_of::<f64>()),
    ])
}
