//! Networks that others wrote: `.safetensors`, PyTorch's `.pth`/`.pt` and NumPy's `.npz`, told apart by their bytes.
//!
//! A file is only read, never run: the pickle inside a `.pth` may name tensors and nothing else. Sizes are compared
//! with the bytes at hand before memory is asked for, and every reader is a function of `&[u8]`.
//!
//! A file of weights does not say what is done with them. Layers are taken to be applied one after the other, in the
//! order of the numbers in their names, with an activation between them; [`Imported::assumed`] lists what was assumed.
//! Refused by name is what cannot be such a chain: convolutions, normalisation, embeddings, recurrent layers.
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

use ndarray::{Array1, Array2};

use crate::{Dense, Mlp, MlpError};

mod chain;
mod npz;
mod pickle;
mod pth;
mod safetensors;
mod tensor;
#[cfg(test)]
mod tests;
mod zip;

pub use npz::read_npz;
pub use pth::read_pth;
pub use safetensors::{
    from_safetensors, load_safetensors, read_safetensors, save_safetensors, to_safetensors,
};
pub use tensor::Dtype;

use tensor::Tensor;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Most numbers of a network: 1 GiB in `f64`.
const MAX_NUMBERS: usize = 1 << 27;
/// Most keys listed for one file.
const MAX_LISTED: usize = 50;
/// Most characters shown of a name.
const MAX_SHOWN: usize = 80;

/// Kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Hugging Face's `.safetensors`.
    Safetensors,
    /// PyTorch's `torch.save`, `.pth` or `.pt`.
    Pth,
    /// NumPy's `savez`, `.npz`.
    Npz,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => ".safetensors",
            Self::Pth => ".pth",
            Self::Npz => ".npz",
        })
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
    /// What the file does not say and was taken for granted, as sentences.
    pub assumed: Vec<String>,
}

/// Reads a `.safetensors`, `.pth`, `.pt` or `.npz` file; the kind is told from its bytes, not from its name.
///
/// # Errors
/// [`MlpError::File`] when it cannot be read or is above 1 GiB, and those of [`read_network`].
pub fn load_network(path: &Path) -> Result<Imported, MlpError> {
    read_network(&read_limited(path)?)
}

/// Reads the bytes of a `.safetensors`, `.pth`, `.pt` or `.npz` file.
///
/// # Errors
/// [`MlpError::NotANetwork`] when the bytes are of no such kind, and those of [`read_safetensors`], [`read_pth`] and
/// [`read_npz`].
pub fn read_network(bytes: &[u8]) -> Result<Imported, MlpError> {
    if bytes.starts_with(b"PK") {
        return match zip::Archive::open(bytes) {
            Ok(archive) if archive.members().iter().any(|m| m.name.ends_with(".npy")) => read_npz(bytes),
            _ => read_pth(bytes),
        };
    }
    if bytes.starts_with(b"\x80") && bytes.get(8) != Some(&b'{') {
        return read_pth(bytes);
    }
    if bytes.get(8) == Some(&b'{') {
        return read_safetensors(bytes);
    }
    Err(MlpError::NotANetwork(if bytes.starts_with(b"PLMPSEST") {
        "this is a .palimpsest checkpoint, which is opened as such and not imported".into()
    } else {
        "the file does not begin like .safetensors, .pth, .pt or .npz; save the weights in one of these"
            .into()
    }))
}

/// Assembles a network from named tensors (name, shape, row-major values), ordered by the numbers in their names, or
/// by their widths where names differ otherwise.
///
/// # Errors
/// [`MlpError::NotANetwork`] that names the first tensor that does not belong to a chain of dense layers; the errors
/// of [`Mlp::new`].
pub fn network_from_tensors(tensors: Vec<(String, Vec<usize>, Vec<f64>)>) -> Result<Mlp<f64>, MlpError> {
    let named: Vec<_> = tensors.iter().map(|(name, shape, _)| (name.as_str(), shape.as_slice())).collect();
    let layers = chain::arrange(&named)?.layers;
    let mut tensors = tensors;
    network(&layers, |index| {
        let (name, shape, values) = &mut tensors[index];
        Ok((std::mem::take(name), std::mem::take(shape), std::mem::take(values)))
    })
}

/// What a reader found in a file.
#[derive(Default)]
struct Contents<'a> {
    tensors: Vec<Tensor<'a>>,
    ignored: Vec<String>,
    assumed: Vec<String>,
}

/// Decodes and assembles what a reader found.
fn assemble(format: Format, contents: Contents<'_>) -> Result<Imported, MlpError> {
    let Contents { tensors, mut ignored, mut assumed } = contents;
    if tensors.is_empty() {
        let others =
            ignored.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let problem = format!("it has no tensor called like a layer's weight, only [{others}]");
        return Err(unreadable(format, problem));
    }
    let named: Vec<_> = tensors.iter().map(|t| (&*t.name, t.shape.as_slice())).collect();
    let chain = chain::arrange(&named)?;
    let numbers = tensors.iter().try_fold(0_usize, |total, tensor| {
        total.checked_add(tensor.shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size))?)
    });
    if numbers.is_none_or(|numbers| numbers > MAX_NUMBERS) {
        return Err(unreadable(format, format!("it has more than {MAX_NUMBERS} weights")));
    }
    let mut used = Vec::new();
    let mut dtype = Dtype::Float64;
    let network = network(&chain.layers, |index| {
        let tensor = &tensors[index];
        let (stored_as, values) = tensor.values().map_err(|problem| unreadable(format, problem))?;
        used.push(shown(&tensor.name));
        dtype = dtype.min(stored_as);
        Ok((tensor.name.to_string(), tensor.shape.clone(), values))
    })?;
    if ignored.len() > MAX_LISTED {
        ignored.truncate(MAX_LISTED);
        ignored.push("and more".into());
    }
    assumed.push(if chain.ordered_by_widths {
        "layers are applied in the only order in which their widths chain".into()
    } else {
        "layers are applied in the order of the numbers in their names".into()
    });
    assumed
        .push("between layers there is the activation that the user names; no file of weights says".into());
    Ok(Imported { network, format, used, ignored, dtype, assumed })
}

/// Builds a network whose tensors (name, shape, row-major values) are handed out by index.
fn network(
    layers: &[chain::Layer],
    mut tensor: impl FnMut(usize) -> Result<(String, Vec<usize>, Vec<f64>), MlpError>,
) -> Result<Mlp<f64>, MlpError> {
    let layers = layers.iter().map(|layer| {
        let (name, shape, values) = tensor(layer.weight)?;
        let [out, input] = shape[..] else { unreachable!("weights have two axes") };
        let weight = Array2::from_shape_vec((out, input), values).map_err(|_| {
            MlpError::NotANetwork(format!("`{}` does not hold {out} x {input} values", shown(&name)))
        })?;
        let bias = layer.bias.map(|index| Ok::<_, MlpError>(Array1::from(tensor(index)?.2))).transpose()?;
        Ok(Dense { weight, bias })
    });
    Mlp::new(layers.collect::<Result<_, MlpError>>()?)
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
