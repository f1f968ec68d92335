//! Which of given records a network was trained on, as a function.

use std::path::Path;

use ndarray::ArrayView2;
use palimpsest_attack::evidence::membership::{Membership, MembershipError, Outputs, Weights, assess};
use palimpsest_numerics::gemm::Parallelism;

use crate::attacking::model_file::load_model;
use crate::error::{Error, Result};
use crate::judging::members::{layer_weights, membership_bytes};
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
