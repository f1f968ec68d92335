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

use std::path::Path;

use crate::{Mlp, MlpError};

mod assemble;
mod chain;
mod contents;
mod file;
mod finding;
mod format;
mod formats;
mod hdf5;
mod imported;
mod keras;
mod matrix;
mod naming;
mod npy;
mod npz;
mod onnx;
mod options;
mod pickle;
mod pth;
mod safetensors;
mod sequence;
mod sklearn;
mod skops;
mod stored_activation;
mod tensor;
#[cfg(test)]
mod tests;

pub use chain::ChainSummary;
pub(crate) use file::read_limited;
pub use finding::Finding;
pub use format::Format;
pub use imported::Imported;
pub use matrix::{Matrix, MatrixChoice, load_matrix, read_matrix};
pub use npz::read_npz;
pub use options::ReadOptions;
pub use pth::read_pth;
pub use safetensors::{
    from_safetensors, load_safetensors, read_safetensors, save_safetensors, to_safetensors,
};
pub use stored_activation::StoredActivation;
pub use tensor::Dtype;

use assemble::{network, read_as, unknown};

/// Reads a file of weights of any kind; the kind is read off its bytes, not from its name.
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
    network(&layers, |index| {
        let (name, shape, values) = &mut tensors[index];
        Ok((std::mem::take(name), std::mem::take(shape), std::mem::take(values)))
    })
}
