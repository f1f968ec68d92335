//! `.safetensors` in and out, in PyTorch's naming and layout.

use std::borrow::Cow;
use std::path::Path;

use ::safetensors::tensor::{Dtype as Stored, SafeTensors, TensorView};

use super::assemble::read_as;
use super::contents::Contents;
use super::file::read_limited;
use super::finding::{self, Fact};
use super::format::Format;
use super::imported::Imported;
use super::options::ReadOptions;
use super::tensor::{Dtype, Sign, Tensor, Whole, row_major};
use crate::checkpoint::write_atomically;
use crate::{Mlp, MlpError};

/// Longest header; it holds names and shapes only.
const MAX_HEADER_BYTES: u64 = 4 << 20;

pub(super) const FORMAT: Format = Format { name: ".safetensors", recognise, read: contents };

fn recognise(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Reads the bytes of a `.safetensors` file.
///
/// # Errors
/// [`MlpError::BadWeights`] when the bytes are not such a file; [`MlpError::NotANetwork`] when it holds anything but
/// a chain of dense layers; [`MlpError::NotFinite`].
pub fn read_safetensors(bytes: &[u8]) -> Result<Imported, MlpError> {
    read_as(FORMAT, bytes, &ReadOptions::default())
}

/// The network in the bytes of a `.safetensors` file; every stored precision widens to `f64` exactly.
///
/// # Errors
/// Those of [`read_safetensors`].
pub fn from_safetensors(bytes: &[u8]) -> Result<Mlp<f64>, MlpError> {
    Ok(read_safetensors(bytes)?.network)
}

/// Reads a `.safetensors` file.
///
/// # Errors
/// [`MlpError::File`] and those of [`read_safetensors`].
pub fn load_safetensors(path: &Path) -> Result<Mlp<f64>, MlpError> {
    from_safetensors(&read_limited(path)?)
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
        let view = TensorView::new(Stored::F32, shape.clone(), bytes)
            .expect("bytes and shape agree by construction");
        (name.as_str(), view)
    });
    ::safetensors::serialize(views, None).expect("names are unique and shapes agree")
}

/// Writes a `.safetensors` file, whole or not at all.
///
/// # Errors
/// [`MlpError::File`].
pub fn save_safetensors(network: &Mlp<f32>, path: &Path) -> Result<(), MlpError> {
    write_atomically(path, &to_safetensors(network))
}

fn contents<'a>(bytes: &'a [u8], _: &ReadOptions) -> Result<Contents<'a>, String> {
    if let Some(length) = bytes.first_chunk().map(|length| u64::from_le_bytes(*length))
        && length > MAX_HEADER_BYTES
    {
        return Err(format!("its header announces {length} bytes, above the limit of {MAX_HEADER_BYTES}"));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("{e}"))?;
    let mut tensors = Vec::with_capacity(file.len());
    // The library's own order differs between runs, and with it the first stranger that is named.
    let mut names = file.names();
    names.sort_unstable();
    for name in names {
        let view = file.tensor(name).map_err(|e| format!("{e}"))?;
        let dtype = match view.dtype() {
            Stored::BF16 => Ok(Dtype::Bfloat16),
            Stored::F16 => Ok(Dtype::Float16),
            Stored::F32 => Ok(Dtype::Float32),
            Stored::F64 => Ok(Dtype::Float64),
            other => Err(format!("{other:?}")),
        };
        let shape = view.shape().to_vec();
        let strides = row_major(&shape).ok_or("a tensor has too many numbers")?;
        tensors.push(Tensor {
            name: name.to_owned().into(),
            shape,
            strides,
            offset: 0,
            dtype,
            whole: whole(view.dtype()),
            bytes: Cow::Borrowed(view.data()),
        });
    }
    Ok(Contents { tensors, facts: facts(bytes), ..Contents::default() })
}

/// What the header's free texts say of the training.
fn facts(bytes: &[u8]) -> Vec<(String, Fact)> {
    let Ok((_, header)) = SafeTensors::read_metadata(bytes) else { return Vec::new() };
    let mut facts: Vec<(String, Fact)> = header
        .metadata()
        .iter()
        .flatten()
        .filter(|(name, _)| finding::asks_for(name))
        .map(|(name, text)| {
            let fact = text.trim().parse().map_or_else(|_| Fact::text(text), Fact::number);
            (name.clone(), fact)
        })
        .collect();
    // The library's own order differs between runs.
    facts.sort_by(|a, b| a.0.cmp(&b.0));
    facts
}

/// How whole numbers are stored.
fn whole(stored: Stored) -> Option<Whole> {
    let (width, sign) = match stored {
        Stored::I8 => (1, Sign::Signed),
        Stored::U8 | Stored::BOOL => (1, Sign::Unsigned),
        Stored::I16 => (2, Sign::Signed),
        Stored::U16 => (2, Sign::Unsigned),
        Stored::I32 => (4, Sign::Signed),
        Stored::U32 => (4, Sign::Unsigned),
        Stored::I64 => (8, Sign::Signed),
        Stored::U64 => (8, Sign::Unsigned),
        _ => return None,
    };
    Some(Whole { width, sign })
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
    fn a_file_on_disk_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let net = Mlp::<f32>::initialise(&[5, 7, 2], BiasPlacement::FirstLayer, 0.5, Seed::new(1));
        save_safetensors(&net, &path).unwrap();
        assert_eq!(load_safetensors(&path).unwrap(), net.cast());
    }

    #[test]
    fn hostile_headers_are_refused_before_anything_is_allocated() {
        let mut header = (1_u64 << 60).to_le_bytes().to_vec();
        header.extend_from_slice(b"{}");
        let error = from_safetensors(&header).unwrap_err().to_string();
        assert!(error.contains("1152921504606846976"), "{error}");
        for json in [
            r#"{"0.weight":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#,
            r#"{"0.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,18446744073709551615]}}"#,
            r#"{"0.weight":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}}"#,
            r#"{"0.weight":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}}"#,
            &"[".repeat(100_000),
        ] {
            let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[0; 8]].concat();
            assert!(from_safetensors(&bytes).is_err(), "{json}");
        }
    }
}
