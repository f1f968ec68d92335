//! What lies in an HDF5 file: the path, shape and numbers of each data set, and texts of the first group.
//!
//! The crate `hdf5-reader` reads; here is what it may cost. Sizes are compared with the bytes there are before a data
//! set is decoded, and a file must be as long as it says.

use std::borrow::Cow;
use std::sync::Arc;

use hdf5_reader::error::ByteOrder;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions};

use super::naming::shown;
use super::tensor::{Dtype, Sign, Tensor, Whole, row_major};

/// Most groups and data sets.
const MAX_OBJECTS: usize = 10_000;
/// Most groups inside each other.
const MAX_LEVELS: usize = 16;
/// Most bytes decoded from one file.
const MAX_DECODED_BYTES: usize = 1 << 30;
/// Most bytes of one chunk and of one object's description.
const MAX_CHUNK_BYTES: usize = 64 << 20;
const MAX_HEADER_BYTES: usize = 4 << 20;
/// How much larger than the file packed data sets may be, beyond a megabyte.
const MAX_RATIO: usize = 100;
const MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// Whether bytes begin as HDF5 does.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// An open file.
pub(super) struct Contents {
    file: Hdf5File,
    budget: usize,
}

/// A data set and the path to it.
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) shape: Vec<usize>,
    set: Dataset,
}

impl Contents {
    /// Opens a file that is as long as it says.
    pub(super) fn open(bytes: &[u8]) -> Result<Self, String> {
        let end = end_of_file(bytes).ok_or("its beginning is damaged; copy the file again")?;
        if end > bytes.len() as u64 {
            return Err(format!("it says to have {end} bytes and has {}; copy the file again", bytes.len()));
        }
        let options = OpenOptions {
            chunk_cache_bytes: 0,
            max_chunk_bytes: MAX_CHUNK_BYTES.min(limit(bytes.len())),
            max_read_bytes: limit(bytes.len()),
            max_object_header_bytes: MAX_HEADER_BYTES,
            ..OpenOptions::default()
        };
        let shared: Arc<[u8]> = bytes.into();
        let file = Hdf5File::from_shared_bytes_with_options(shared, options).map_err(problem)?;
        Ok(Self { file, budget: limit(bytes.len()) })
    }

    /// All data sets, by path.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, String> {
        let mut entries = Vec::new();
        let mut level = vec![(String::new(), self.file.root_group().map_err(problem)?)];
        let mut left = MAX_OBJECTS;
        for _ in 0..MAX_LEVELS {
            let mut below = Vec::new();
            for (above, group) in level {
                let (groups, sets) = group.members().map_err(problem)?;
                left = left
                    .checked_sub(groups.len() + sets.len())
                    .ok_or_else(|| format!("it has more than {MAX_OBJECTS} groups and data sets"))?;
                let path = |name: &str| format!("{above}/{}", shown(name)).trim_start_matches('/').to_owned();
                for set in sets {
                    let shape = set.shape().iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX));
                    entries.push(Entry { path: path(set.name()), shape: shape.collect(), set });
                }
                below.extend(groups.into_iter().map(|group| (path(group.name()), group)));
            }
            level = below;
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// A text of the first group, if there is one of that name.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(&self.file.root_group().ok()?, name)
    }

    /// Text `attribute` of the group at a path.
    pub(super) fn text_of(&self, path: &str, attribute: &str) -> Option<String> {
        let mut group = self.file.root_group().ok()?;
        for name in path.split('/').take(MAX_LEVELS) {
            group = group.group(name).ok()?;
        }
        text(&group, attribute)
    }

    /// The numbers of a data set.
    pub(super) fn tensor(&mut self, entry: &Entry) -> Result<Tensor<'static>, String> {
        let bad = |problem: String| format!("data set `{}` {problem}", shown(&entry.path));
        let (dtype, whole) = kind(&entry.set);
        let width = dtype.as_ref().ok().map(|d| d.width()).or(whole.map(|w| w.width));
        let numbers = entry.shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let announced = width.and_then(|width| numbers?.checked_mul(width));
        let strides = row_major(&entry.shape).filter(|_| numbers.is_some());
        let strides = strides.ok_or_else(|| bad("has too many numbers".into()))?;
        let mut bytes = Vec::new();
        if let Some(width) = width {
            let announced = announced.filter(|&size| size <= self.budget).ok_or_else(|| {
                bad(format!("announces more than the {} bytes that are left of the limit", self.budget))
            })?;
            self.budget -= announced;
            bytes = entry.set.read_raw_bytes().map_err(|e| bad(format!("is not read ({e})")))?;
            if bytes.len() != announced {
                return Err(bad(format!("announces {announced} bytes and has {}", bytes.len())));
            }
            if big_endian(entry.set.dtype()) {
                bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
            }
        }
        let (name, shape) = (Cow::Owned(entry.path.clone()), entry.shape.clone());
        Ok(Tensor { name, shape, strides, offset: 0, dtype, whole, bytes: Cow::Owned(bytes) })
    }
}

/// Most bytes that may be decoded from a file of that length.
fn limit(length: usize) -> usize {
    length.saturating_mul(MAX_RATIO).clamp(1 << 20, MAX_DECODED_BYTES)
}

fn problem(error: hdf5_reader::error::Error) -> String {
    format!("its HDF5 is not read ({}); copy the file again, or save it again", shown(&error.to_string()))
}

fn text(group: &Group, name: &str) -> Option<String> {
    group.attribute(name).ok()?.read_string().ok()
}

/// The length that the superblock states.
fn end_of_file(bytes: &[u8]) -> Option<u64> {
    let at = match bytes.get(8)? {
        0 => 24 + 16,
        1 => 24 + 4 + 16,
        2 | 3 => 12 + 16,
        _ => return None,
    };
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn kind(set: &Dataset) -> (Result<Dtype, String>, Option<Whole>) {
    match set.dtype() {
        Datatype::FloatingPoint { size: 2, .. } => (half(set), None),
        Datatype::FloatingPoint { size: 4, .. } => (Ok(Dtype::Float32), None),
        Datatype::FloatingPoint { size: 8, .. } => (Ok(Dtype::Float64), None),
        &Datatype::FixedPoint { size, signed, .. } if matches!(size, 1 | 2 | 4 | 8) => {
            let sign = if signed { Sign::Signed } else { Sign::Unsigned };
            (Err(format!("whole numbers of {size} bytes")), Some(Whole { width: usize::from(size), sign }))
        }
        _ => (Err("something that is no number".into()), None),
    }
}

/// Which of the two half precisions, told by the bits of the exponent.
fn half(set: &Dataset) -> Result<Dtype, String> {
    const EXPONENT_BITS: usize = 13;
    match set.raw_datatype().ok().and_then(|raw| raw.get(EXPONENT_BITS).copied()) {
        Some(5) => Ok(Dtype::Float16),
        Some(8) => Ok(Dtype::Bfloat16),
        _ => Err("a rare half precision".into()),
    }
}

fn big_endian(datatype: &Datatype) -> bool {
    matches!(
        datatype,
        Datatype::FloatingPoint { byte_order: ByteOrder::BigEndian, .. }
            | Datatype::FixedPoint { byte_order: ByteOrder::BigEndian, .. }
    )
}
