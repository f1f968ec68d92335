//! `.pth` and `.pt` files of `torch.save`: a ZIP archive with a pickle that names tensors and one record for each.
//!
//! Read are the weights in a dictionary, plain or inside others (`{"epoch": 3, "model": {..}}`). Nothing of the pickle
//! is executed. Not read: files of `torch.save` before PyTorch 1.6, TorchScript, whole models, big-endian files, files
//! saved without checksums (`torch.serialization.set_crc32_options(False)`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use palimpsest_numerics::zip::Archive;

use super::assemble::read_as;
use super::contents::Contents;
use super::finding::Fact;
use super::format::Format;
use super::imported::Imported;
use super::naming::shown;
use super::options::ReadOptions;
use super::pickle::{self, Value, View};
use super::tensor::{Dtype, Tensor};
use crate::MlpError;

mod weights;

use weights::MAX_TENSORS;

/// What `torch.save` wrote before version 1.6: a pickled magic number.
const BEFORE_1_6: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// Longest tensor beside the weights that is looked into for findings, in numbers.
const MAX_FACT_NUMBERS: usize = 1 << 14;

pub(super) const FORMAT: Format = Format { name: ".pth", recognise, read: contents };

/// Whatever archive or pickle no other kind claims.
fn recognise(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK") || bytes.starts_with(b"\x80")
}

/// Reads the bytes of a `.pth` file.
///
/// # Errors
/// [`MlpError::NotANetwork`] when the bytes are damaged, ask to call anything, or hold anything but one chain of dense
/// layers; [`MlpError::NotFinite`].
///
/// ```
/// let bytes = include_bytes!("../../fixtures/layers_bias_first_only.pth");
/// let imported = palimpsest_mlp::import::read_pth(bytes)?;
/// assert_eq!(imported.network.dims(), [12, 16, 10, 1]);
/// # Ok::<(), palimpsest_mlp::MlpError>(())
/// ```
pub fn read_pth(bytes: &[u8]) -> Result<Imported, MlpError> {
    read_as(FORMAT, bytes, &ReadOptions::default())
}

fn contents<'a>(bytes: &'a [u8], options: &ReadOptions) -> Result<Contents<'a>, String> {
    if bytes.starts_with(BEFORE_1_6) {
        return Err("it is of the old kind that PyTorch wrote before 1.6; save it again with \
                    torch.save(torch.load(path, weights_only=True), new_path)"
            .into());
    }
    if bytes.starts_with(b"\x80") {
        return Err("it is a bare pickle; save it with torch.save(model.state_dict(), path), or arrays of NumPy with \
                    numpy.savez(path, **arrays)"
            .into());
    }
    let archive = Archive::open(bytes)?;
    let records = Records::new(&archive)?;
    let pickled = records.read("data.pkl")?;
    let pickle = pickle::parse(pickled)?;
    let found = weights::find(&pickle, options.chain.as_deref())?;
    let mut tensors = Vec::new();
    let mut storages = BTreeMap::new();
    for (name, value) in found.tensors {
        match pickle.value(value) {
            Value::Tensor(_) if tensors.len() == MAX_TENSORS => {
                return Err(format!("it has more than {MAX_TENSORS} tensors"));
            }
            Value::Tensor(view) => tensors.push(tensor(&records, &mut storages, name, view)?),
            Value::UnreadTensor(kind) => {
                return Err(format!(
                    "`{}` is {kind}; convert it to an ordinary one (dequantize(), to_dense()) and save again",
                    shown(&name)
                ));
            }
            _ => unreachable!("only tensors are found"),
        }
    }
    let mut facts = Vec::new();
    for (name, place) in weights::facts(&pickle) {
        match place {
            weights::Place::Said(fact) => facts.push((name, fact)),
            // Damage there is no damage of the weights.
            weights::Place::Tensor(view) => {
                let read = tensor(&records, &mut storages, name.clone().into(), view);
                let numbers = read.ok().and_then(|tensor| tensor.numbers(MAX_FACT_NUMBERS));
                facts.extend(numbers.map(|numbers| (name, Fact::Numbers(numbers))));
            }
        }
    }
    Ok(Contents { tensors, ignored: found.ignored, assumed: records.assumed, facts, steps: None })
}

/// The archive's records, which all lie in one folder.
struct Records<'a, 'b> {
    archive: &'b Archive<'a>,
    folder: &'a str,
    assumed: Vec<String>,
}

impl<'a, 'b> Records<'a, 'b> {
    fn new(archive: &'b Archive<'a>) -> Result<Self, String> {
        let folders = archive.members().iter().filter_map(|m| m.name().strip_suffix("/data.pkl"));
        let mut folders = folders.filter(|folder| !folder.contains('/'));
        let (Some(folder), None) = (folders.next(), folders.next()) else {
            return Err("it holds no data.pkl, or several; it was not written by torch.save".into());
        };
        let mut records = Self { archive, folder, assumed: Vec::new() };
        let inside = |m: &str| {
            m.strip_prefix(folder).is_some_and(|m| m == "/constants.pkl" || m.starts_with("/code/"))
        };
        if archive.members().iter().any(|m| inside(m.name())) {
            return Err("it is a TorchScript archive; load it in PyTorch with torch.jit.load and save \
                        torch.save(model.state_dict(), path)"
                .into());
        }
        if archive.member(&records.path("byteorder")).is_none() {
            records.assumed.push("numbers are little-endian (the file does not say)".into());
        } else {
            let order = records.read("byteorder")?;
            if order != b"little" {
                let order = shown(&String::from_utf8_lossy(order));
                return Err(format!("its byte order is `{order}`; save it again on a little-endian machine"));
            }
        }
        Ok(records)
    }

    fn path(&self, record: &str) -> String {
        format!("{}/{record}", self.folder)
    }

    fn read(&self, record: &str) -> Result<&'a [u8], String> {
        let member = self
            .archive
            .member(&self.path(record))
            .ok_or_else(|| format!("record `{}` is missing; copy the file again", shown(record)))?;
        // PyTorch stores records as they are, so nothing has to be unpacked.
        match member.content(&mut 0)? {
            Cow::Borrowed(content) => Ok(content),
            Cow::Owned(_) => Err(format!("record `{}` is compressed", shown(record))),
        }
    }
}

fn tensor<'a>(
    records: &Records<'a, '_>,
    storages: &mut BTreeMap<&'a str, &'a [u8]>,
    name: Cow<'a, str>,
    view: &View<'a>,
) -> Result<Tensor<'a>, String> {
    let shown_name = shown(&name);
    let sizes = |sizes: &[i64]| {
        let sizes = sizes.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<usize>, _>>();
        sizes.map_err(|_| format!("tensor `{shown_name}` has a negative size, stride or offset"))
    };
    let storage = view.storage;
    let width = storage.dtype.ok().map(Dtype::width).or(storage.whole.map(|whole| whole.width));
    let bytes = match width {
        None => &[][..],
        Some(width) => {
            // Several tensors may share a storage; its checksum is computed once.
            let bytes = match storages.get(storage.key) {
                Some(bytes) => *bytes,
                None => records.read(&format!("data/{}", storage.key))?,
            };
            storages.insert(storage.key, bytes);
            let announced = usize::try_from(storage.numbers).ok().and_then(|n| n.checked_mul(width));
            if announced != Some(bytes.len()) {
                let kind = storage.dtype.map_or_else(str::to_owned, |dtype| dtype.to_string());
                return Err(format!(
                    "tensor `{shown_name}` announces {} numbers of {kind} but {} bytes are there; copy the file again",
                    storage.numbers,
                    bytes.len()
                ));
            }
            bytes
        }
    };
    let (shape, strides, offset) = (sizes(&view.shape)?, sizes(&view.strides)?, sizes(&[view.offset])?[0]);
    let dtype = storage.dtype.map_err(str::to_owned);
    Ok(Tensor { name, shape, strides, offset, dtype, whole: storage.whole, bytes: Cow::Borrowed(bytes) })
}
