//! Networks that others wrote: `.safetensors`, PyTorch's `.pth`, NumPy's `.npz`, Keras' `.keras` and `.h5`, ONNX and
//! scikit-learn's `skops`, told apart by their bytes. [`Format::all`] lists them.
//!
//! A file is only read, never run: the pickle inside a `.pth` may name tensors and plain records and nothing else.
//! Sizes are compared with the bytes at hand before memory is asked for, and every reader is a function of `&[u8]`.
//!
//! Most files of weights do not say what is done with them. Layers are then taken to be applied one after the other,
//! in the order of the numbers in their names, with an activation between them; [`Imported::assumed`] lists what was
//! assumed. Kernels (in, out) are recognised from the chain of shapes. A tensor that shares no module with a layer and
//! is no matrix belongs to none: it is named and left. What cannot be in such a chain is refused by name:
//! convolutions, normalisation, embeddings, recurrent layers, adapters. Where a file holds several chains, or layers
//! of other kinds before a dense head, [`ReadOptions::chain`] says which one is meant.
//!
//! ```
//! let bytes = include_bytes!("../../fixtures/wrapped_float64.pth");
//! let imported = palimpsest_mlp::import::read_network(bytes)?;
//! assert_eq!(imported.network.dims(), [12, 16, 10, 1]);
//! assert_eq!(imported.used[..2], ["layers.0.weight", "layers.0.bias"]);
//! assert_eq!(imported.ignored, ["epoch"]);
//! # Ok::<(), palimpsest_mlp::MlpError>(())
//! ```

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::{Mlp, MlpError};

mod chain;
mod contents;
mod finding;
mod format;
mod hdf5;
mod keras;
mod matrix;
mod npy;
mod npz;
mod onnx;
mod pickle;
mod pth;
mod safetensors;
mod sequence;
mod sklearn;
mod skops;
mod tensor;
#[cfg(test)]
mod tests;
mod zip;

pub use chain::ChainSummary;
pub use finding::Finding;
pub use format::Format;
pub use matrix::{Matrix, MatrixChoice, load_matrix, read_matrix};
pub use npz::read_npz;
pub use pth::read_pth;
pub use safetensors::{
    from_safetensors, load_safetensors, read_safetensors, save_safetensors, to_safetensors,
};
pub use tensor::Dtype;

use contents::{Contents, assemble};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Most numbers of a network: 1 GiB in `f64`.
const MAX_NUMBERS: usize = 1 << 27;
/// Most keys listed for one file.
const MAX_LISTED: usize = 50;
/// Most characters shown of a name.
const MAX_SHOWN: usize = 80;

/// What the user says of a file that does not speak for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Which chain of dense layers is meant, by its name in [`Imported::chains`] or by how the names of its layers
    /// begin; several joined by `+` are applied one after the other.
    pub chain: Option<String>,
}

impl ReadOptions {
    /// Options that take the chain of that name.
    pub fn of_chain(name: &str) -> Self {
        Self { chain: Some(name.to_owned()) }
    }
}

/// The activation between layers, in files that name it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StoredActivation {
    /// `max(z, 0)`.
    Relu,
    /// `z` where positive, else `slope z`.
    LeakyRelu {
        /// Slope where negative.
        slope: f64,
    },
    /// Another, or several, as the file calls it.
    Named(String),
}

impl fmt::Display for StoredActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relu => f.write_str("ReLU"),
            Self::LeakyRelu { slope } => write!(f, "leaky ReLU of slope {slope}"),
            Self::Named(name) => f.write_str(&shown(name)),
        }
    }
}

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

/// Reads a file of weights of any kind; the kind is told from its bytes, not from its name.
///
/// # Errors
/// [`MlpError::File`] when it cannot be read or is above 1 GiB, and those of [`read_network`].
pub fn load_network(path: &Path) -> Result<Imported, MlpError> {
    load_network_with(path, &ReadOptions::default())
}

/// [`load_network`] with what the user says of the file.
///
/// # Errors
/// Those of [`load_network`].
pub fn load_network_with(path: &Path, options: &ReadOptions) -> Result<Imported, MlpError> {
    read_network_with(&read_limited(path)?, options)
}

/// Reads the bytes of a file of weights of any kind.
///
/// # Errors
/// [`MlpError::NotANetwork`] when the bytes are of no kind that is known, or hold anything but one chain of dense
/// layers; [`MlpError::BadWeights`] when they are damaged; [`MlpError::NotFinite`].
pub fn read_network(bytes: &[u8]) -> Result<Imported, MlpError> {
    read_network_with(bytes, &ReadOptions::default())
}

/// [`read_network`] with what the user says of the file.
///
/// # Errors
/// Those of [`read_network`], and [`MlpError::NotANetwork`] that lists the chains there are when none is called as
/// the options say.
pub fn read_network_with(bytes: &[u8], options: &ReadOptions) -> Result<Imported, MlpError> {
    match Format::of(bytes) {
        Some(format) => read_as(format, bytes, options),
        None if bytes.starts_with(b"PLMPSEST") => Err(MlpError::NotANetwork(
            "this is a .palimpsest checkpoint, which is opened as such and not imported".into(),
        )),
        None => Err(unknown()),
    }
}

/// The error for bytes of no kind that is known.
fn unknown() -> MlpError {
    let known: Vec<_> = Format::all().iter().map(|format| format.name()).collect();
    MlpError::NotANetwork(format!(
        "the file does not begin like any kind that is read ({}); save the weights in one of these",
        known.join(", ")
    ))
}

/// Reads bytes as a certain kind.
fn read_as(format: Format, bytes: &[u8], options: &ReadOptions) -> Result<Imported, MlpError> {
    let contents = (format.read)(bytes, options).map_err(|problem| unreadable(format, problem))?;
    assemble(format, contents, options)
}

/// Assembles a network from named tensors (name, shape, row-major values), ordered by the numbers in their names, or
/// by their widths where names differ otherwise.
///
/// # Errors
/// [`MlpError::NotANetwork`] that names the first tensor that does not belong to a chain of dense layers; the errors
/// of [`Mlp::new`].
pub fn network_from_tensors(tensors: Vec<(String, Vec<usize>, Vec<f64>)>) -> Result<Mlp<f64>, MlpError> {
    let named: Vec<_> =
        tensors.iter().map(|(name, shape, _)| chain::Named { name, shape, counts: false }).collect();
    let layers = chain::arrange(&named, None)?.layers;
    let mut tensors = tensors;
    contents::network(&layers, |index| {
        let (name, shape, values) = &mut tensors[index];
        Ok((std::mem::take(name), std::mem::take(shape), std::mem::take(values)))
    })
}

/// The error for bytes that cannot be read as what they claim to be.
fn unreadable(format: Format, problem: String) -> MlpError {
    MlpError::BadWeights { format, problem }
}

/// A name from a file as it may be printed: escaped and cut.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("..");
    }
    shown
}

/// A regular file of limited size, whole.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>, MlpError> {
    let read = || {
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        // Before it is opened: opening a pipe waits for a writer.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return refused("not a regular file");
        }
        if metadata.len() > MAX_FILE_BYTES {
            return refused("larger than 1 GiB, the limit for weights");
        }
        let mut bytes = Vec::new();
        // Should the file grow meanwhile, its end is cut off and noticed as damage.
        File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| MlpError::File { action: "read", path: path.into(), source })
}
