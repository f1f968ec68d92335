//! What comes of a file: a network, what was found beside it and what was assumed.

use super::chain::ChainSummary;
use super::finding::Finding;
use super::format::Format;
use super::stored_activation::StoredActivation;
use super::tensor::Dtype;
use crate::Mlp;

/// A network from somebody else's file, what was found there and what had to be assumed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// The network; every stored precision widens to `f64` exactly.
    pub network: Mlp<f64>,
    /// Kind of the file.
    pub format: Format,
    /// Names of the tensors that make the network, first layer first, each weight before its bias.
    pub used: Vec<String>,
    /// Names of what the file holds besides, such as `epoch` or `optimizer`; the first fifty.
    pub ignored: Vec<String>,
    /// Coarsest precision among the tensors used.
    pub dtype: Dtype,
    /// What the file does not say and was taken for granted, and what was recognised, as sentences.
    pub assumed: Vec<String>,
    /// What the file says beside weights, such as the number of training examples.
    pub findings: Vec<Finding>,
    /// Name of the chain that was read.
    pub chain: String,
    /// All chains of dense layers in the file, the one that was read included.
    pub chains: Vec<ChainSummary>,
    /// The activation between layers, if the file says.
    pub hidden_activation: Option<StoredActivation>,
    /// What is done with the last layer's outputs, if the file says: `sigmoid`, `softmax`, `linear`.
    pub output_activation: Option<String>,
}
