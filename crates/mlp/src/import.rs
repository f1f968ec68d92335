//! `.safetensors` in and out, in PyTorch's naming and layout.
//!
//! A network is a set of tensors `PREFIX.weight`, (out, in), each with an optional `PREFIX.bias`, (out). Prefixes are
//! ordered by the numbers in them, so `layers.0 .. layers.10` and `net.0, net.2, net.4` both come out as meant.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use ndarray::{Array1, Array2};
use palimpsest_numerics::Real;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::checkpoint::{read, write_atomically};
use crate::{Dense, Mlp, MlpError};

/// Reads a `.safetensors` network; every stored precision widens to `f64` exactly.
///
/// # Errors
/// [`MlpError::BadSafetensors`] when the bytes are not such a file or hold anything but dense layers; the errors of
/// [`Mlp::new`].
pub fn from_safetensors(bytes: &[u8]) -> Result<Mlp<f64>, MlpError> {
    let bad = |what: String| MlpError::BadSafetensors(what);
    let file = SafeTensors::deserialize(bytes).map_err(|e| bad(format!("{e}")))?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        tensors.push((name.to_owned(), view.shape().to_vec(), values(name, &view)?));
    }
    network_from_tensors(tensors)
}

/// Assembles a network from named tensors (name, shape, row-major values), ordered by the numbers in their names.
///
/// # Errors
/// [`MlpError::NotANetwork`] that names the first tensor that does not belong to a chain of dense layers; the errors
/// of [`Mlp::new`].
pub fn network_from_tensors(tensors: Vec<(String, Vec<usize>, Vec<f64>)>) -> Result<Mlp<f64>, MlpError> {
    type Found = (Option<Array2<f64>>, Option<Array1<f64>>);
    let stranger = |name: &str, shape: &[usize], why: &str| {
        MlpError::NotANetwork(format!(
            "tensor `{name}` of shape {shape:?} {why}; only chains of dense layers are read"
        ))
    };
    let mut layers: BTreeMap<(Vec<u64>, String), Found> = BTreeMap::new();
    for (name, shape, values) in tensors {
        let (prefix, kind) = name.rsplit_once('.').unwrap_or(("", name.as_str()));
        let entry = layers.entry((numbers(prefix), prefix.to_owned())).or_default();
        match (kind, shape.as_slice()) {
            ("weight", &[out, input]) => {
                let weight = Array2::from_shape_vec((out, input), values);
                entry.0 = Some(weight.map_err(|_| stranger(&name, &shape, "does not hold as many values"))?);
            }
            ("bias", &[_]) => entry.1 = Some(Array1::from(values)),
            ("weight", &[_, _, _, _]) => return Err(stranger(&name, &shape, "looks like a convolution")),
            ("weight", &[_]) | ("running_mean" | "running_var" | "num_batches_tracked", _) => {
                return Err(stranger(&name, &shape, "looks like a normalisation layer"));
            }
            _ => return Err(stranger(&name, &shape, "is neither a weight (out, in) nor a bias (out)")),
        }
    }
    let dense = layers.into_iter().map(|((_, prefix), (weight, bias))| {
        let weight =
            weight.ok_or_else(|| MlpError::NotANetwork(format!("`{prefix}` has a bias but no weight")))?;
        Ok(Dense { weight, bias })
    });
    Mlp::new(dense.collect::<Result<_, MlpError>>()?)
}

/// The `.safetensors` bytes of a network: `layers.N.weight`, (out, in), and `layers.N.bias`, both F32.
pub fn to_safetensors(network: &Mlp<f32>) -> Vec<u8> {
    let little_endian =
        |values: &mut dyn Iterator<Item = &f32>| values.flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut stored = Vec::new();
    for (index, layer) in network.layers().iter().enumerate() {
        let (out, input) = layer.weight.dim();
        stored.push((
            format!("layers.{index}.weight"),
            vec![out, input],
            little_endian(&mut layer.weight.iter()),
        ));
        if let Some(bias) = &layer.bias {
            stored.push((format!("layers.{index}.bias"), vec![out], little_endian(&mut bias.iter())));
        }
    }
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view =
            TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes and shape agree by construction");
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).expect("names are unique and shapes agree")
}

/// Reads a `.safetensors` file.
///
/// # Errors
/// [`MlpError::File`] and those of [`from_safetensors`].
pub fn load_safetensors(path: &Path) -> Result<Mlp<f64>, MlpError> {
    from_safetensors(&read(path)?)
}

/// Writes a `.safetensors` file, whole or not at all.
///
/// # Errors
/// [`MlpError::File`].
pub fn save_safetensors(network: &Mlp<f32>, path: &Path) -> Result<(), MlpError> {
    write_atomically(path, &to_safetensors(network))
}

fn numbers(prefix: &str) -> Vec<u64> {
    prefix.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn values(name: &str, view: &TensorView<'_>) -> Result<Vec<f64>, MlpError> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F64 => {
            data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
        }
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")).wide())
            .collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        Dtype::BF16 => data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
        other => {
            return Err(MlpError::BadSafetensors(format!(
                "tensor `{name}` is stored as {other:?}; F16, BF16, F32 and F64 are read"
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::BiasPlacement;

    #[test]
    fn comes_back_as_it_was() {
        for placement in [BiasPlacement::FirstLayer, BiasPlacement::Everywhere, BiasPlacement::Nowhere] {
            let net = Mlp::<f32>::initialise(&[5, 7, 6, 2], placement, 0.5, Seed::new(1));
            assert_eq!(from_safetensors(&to_safetensors(&net)).unwrap().cast::<f32>(), net);
        }
    }

    #[test]
    fn layers_are_ordered_by_number_not_by_letter() {
        let dims: Vec<usize> = (1..=12).collect();
        let net = Mlp::<f32>::initialise(&dims, BiasPlacement::Everywhere, 0.5, Seed::new(1));
        assert_eq!(from_safetensors(&to_safetensors(&net)).unwrap().dims(), dims);
    }

    #[test]
    fn no_truncation_or_flip_panics() {
        let net = Mlp::<f32>::initialise(&[2, 3, 1], BiasPlacement::FirstLayer, 0.5, Seed::new(1));
        let bytes = to_safetensors(&net);
        for end in 0..bytes.len() {
            assert!(from_safetensors(&bytes[..end]).is_err(), "truncated to {end}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            // A flipped weight is another weight; anything else must be an error.
            let _ = from_safetensors(&flipped);
        }
        let mut header = (1_u64 << 60).to_le_bytes().to_vec();
        header.extend_from_slice(b"{}");
        assert!(from_safetensors(&header).is_err());
    }

    #[test]
    fn what_is_not_a_dense_chain_is_named() {
        let tensor = |name: &str, shape: &[usize]| {
            (name.to_owned(), shape.to_vec(), vec![0.0; shape.iter().product()])
        };
        for (tensors, word) in [
            (vec![tensor("conv1.weight", &[4, 3, 3, 3])], "convolution"),
            (vec![tensor("bn.weight", &[4])], "normalisation"),
            (vec![tensor("0.bias", &[4])], "no weight"),
            (vec![tensor("0.weight", &[4, 3]), tensor("1.weight", &[1, 5])], "do not chain"),
            (vec![], "no layers"),
        ] {
            let error = network_from_tensors(tensors).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
