//! `.pth` and `.pt` files of `torch.save`: a ZIP archive with a pickle that names tensors and one record for each.
//!
//! Read are the weights in a dictionary, plain or inside others (`{"epoch": 3, "model": {..}}`). Nothing of the pickle
//! is executed. Not read: files of `torch.save` before PyTorch 1.6, TorchScript, whole models, big-endian files, files
//! saved without checksums (`torch.serialization.set_crc32_options(False)`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::pickle::{self, Id, Pickle, Value, View};
use super::tensor::Tensor;
use super::zip::Archive;
use super::{Contents, Format, Imported, MAX_LISTED, assemble, chain, shown, unreadable};
use crate::MlpError;

/// Most tensors beside each other; a dense network has two a layer.
const MAX_TENSORS: usize = 10_000;
/// Most dictionaries around the weights.
const MAX_LEVELS: usize = 4;
/// What `torch.save` wrote before version 1.6: a pickled magic number.
const BEFORE_1_6: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

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
    let contents = contents(bytes).map_err(|problem| unreadable(Format::Pth, problem))?;
    assemble(Format::Pth, contents)
}

fn contents(bytes: &[u8]) -> Result<Contents<'_>, String> {
    if bytes.starts_with(BEFORE_1_6) {
        return Err("it is of the old kind that PyTorch wrote before 1.6; save it again with \
                    torch.save(torch.load(path, weights_only=True), new_path)"
            .into());
    }
    if bytes.starts_with(b"\x80") {
        return Err("it is a bare pickle; save it with torch.save(model.state_dict(), path)".into());
    }
    let archive = Archive::open(bytes)?;
    let records = Records::new(&archive)?;
    let pickled = records.read("data.pkl")?;
    let pickle = pickle::parse(pickled)?;
    let (weights, ignored) = find_weights(&pickle)?;
    let mut tensors = Vec::new();
    let mut storages = BTreeMap::new();
    for &(key, value) in weights {
        if let Value::Tensor(view) = pickle.value(value) {
            if tensors.len() == MAX_TENSORS {
                return Err(format!("it has more than {MAX_TENSORS} tensors"));
            }
            tensors.push(tensor(&records, &mut storages, name(&pickle, key), view)?);
        }
    }
    Ok(Contents { tensors, ignored, assumed: records.assumed })
}

/// The archive's records, which all lie in one folder.
struct Records<'a, 'b> {
    archive: &'b Archive<'a>,
    folder: &'a str,
    assumed: Vec<String>,
}

impl<'a, 'b> Records<'a, 'b> {
    fn new(archive: &'b Archive<'a>) -> Result<Self, String> {
        let folders = archive.members().iter().filter_map(|m| m.name.strip_suffix("/data.pkl"));
        let mut folders = folders.filter(|folder| !folder.contains('/'));
        let (Some(folder), None) = (folders.next(), folders.next()) else {
            return Err("it holds no data.pkl, or several; it was not written by torch.save".into());
        };
        let mut records = Self { archive, folder, assumed: Vec::new() };
        let inside = |m: &str| {
            m.strip_prefix(folder).is_some_and(|m| m == "/constants.pkl" || m.starts_with("/code/"))
        };
        if archive.members().iter().any(|m| inside(m.name)) {
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

/// Keys and values of a dictionary.
type Entries<'p> = &'p [(Id, Id)];

/// The one dictionary that holds weights, and the names of everything beside it.
fn find_weights<'p>(pickle: &'p Pickle<'_>) -> Result<(Entries<'p>, Vec<String>), String> {
    struct Step {
        dictionary: Id,
        /// The step this one was reached from, and the key.
        from: Option<(usize, Id)>,
    }
    let entries = |id| match pickle.value(id) {
        Value::Dict(entries) => Some(entries.as_slice()),
        _ => None,
    };
    let holds_weights = |&(key, value): &(Id, Id)| {
        matches!((pickle.value(key), pickle.value(value)), (Value::Text(name), Value::Tensor(_))
            if chain::tells_of_weights(name))
    };
    let root = entries(pickle.root())
        .ok_or("it holds no dictionary; save the weights with torch.save(model.state_dict(), path)")?;
    // Level by level; each dictionary is looked at once, however often it is referred to.
    let mut steps = vec![Step { dictionary: pickle.root(), from: None }];
    let mut seen = BTreeSet::from([pickle.root()]);
    let mut found = Vec::new();
    let mut level = 0..1;
    for _ in 0..=MAX_LEVELS {
        let end = steps.len();
        for at in level {
            let inside = entries(steps[at].dictionary).expect("only dictionaries are entered");
            if inside.iter().any(holds_weights) {
                found.push(at);
                continue;
            }
            for &(key, value) in inside {
                if entries(value).is_some() && seen.insert(value) {
                    steps.push(Step { dictionary: value, from: Some((at, key)) });
                }
            }
        }
        level = end..steps.len();
    }
    // Keys from the root down to a step.
    let path = |mut at: usize| {
        let mut keys = Vec::new();
        while let Some((from, key)) = steps[at].from {
            keys.push(shown(&name(pickle, key)));
            at = from;
        }
        keys.reverse();
        keys
    };
    match found.as_slice() {
        &[at] => {
            let weights = entries(steps[at].dictionary).expect("only dictionaries are entered");
            let beside =
                weights.iter().filter(|(_, value)| !matches!(pickle.value(*value), Value::Tensor(_)));
            let listed = |at: usize, key: Id| {
                let above = path(at).into_iter().map(|key| key + ".").collect::<String>();
                above + &shown(&name(pickle, key))
            };
            // One more than is shown, so that it is seen that there are more.
            let mut ignored: Vec<String> =
                beside.take(MAX_LISTED + 1).map(|&(key, _)| listed(at, key)).collect();
            let mut step = at;
            while let Some((from, taken)) = steps[step].from {
                let above = entries(steps[from].dictionary).expect("only dictionaries are entered");
                let others = above.iter().filter(|(key, _)| *key != taken).take(MAX_LISTED + 1);
                ignored.splice(0..0, others.map(|&(key, _)| listed(from, key)));
                step = from;
            }
            Ok((weights, ignored))
        }
        [] => {
            let keys =
                root.iter().take(MAX_LISTED).map(|&(key, _)| format!("`{}`", shown(&name(pickle, key))));
            let keys = keys.collect::<Vec<_>>().join(", ");
            Err(format!(
                "no dictionary in it, {MAX_LEVELS} levels deep, holds weights by name; its keys are [{keys}]"
            ))
        }
        several => {
            let paths = several.iter().take(MAX_LISTED).map(|&at| format!("`{}`", path(at).join(".")));
            let paths = paths.collect::<Vec<_>>().join(", ");
            Err(format!("it holds several sets of weights, {paths}; save the one that is meant alone"))
        }
    }
}

fn name<'a>(pickle: &Pickle<'a>, key: Id) -> Cow<'a, str> {
    match pickle.value(key) {
        Value::Text(text) => (*text).into(),
        Value::Int(int) => int.to_string().into(),
        _ => "(no text)".into(),
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
    let bytes = match storage.dtype {
        Err(_) => &[][..],
        Ok(dtype) => {
            // Several tensors may share a storage; its checksum is computed once.
            let bytes = match storages.get(storage.key) {
                Some(bytes) => *bytes,
                None => records.read(&format!("data/{}", storage.key))?,
            };
            storages.insert(storage.key, bytes);
            let announced = usize::try_from(storage.numbers).ok().and_then(|n| n.checked_mul(dtype.width()));
            if announced != Some(bytes.len()) {
                return Err(format!(
                    "tensor `{shown_name}` announces {} numbers of {dtype} but {} bytes are there; copy the file again",
                    storage.numbers,
                    bytes.len()
                ));
            }
            bytes
        }
    };
    let (shape, strides, offset) = (sizes(&view.shape)?, sizes(&view.strides)?, sizes(&[view.offset])?[0]);
    let dtype = storage.dtype.map_err(str::to_owned);
    Ok(Tensor { name, shape, strides, offset, dtype, bytes: Cow::Borrowed(bytes) })
}
