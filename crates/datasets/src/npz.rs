//! Just enough of the ZIP format for `.npz`: find one member in the central directory and unpack it with a limit.
//!
//! Every size is checked against the bytes at hand before it is used, which a general ZIP library does not promise.
//!
//! # Source
//! PKWARE, APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16. Only what NumPy writes is read: methods 0 (stored) and
//! 8 (deflate), no encryption, no archive above 4 GiB.

use std::borrow::Cow;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::DatasetError;
use crate::source::{read_limited, unpacked_limit};

const FORMAT: &str = "npz archive";
const MAX_MEMBERS: usize = 256;
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;

/// Unpacked content of the member called `name`, verified against its CRC-32.
///
/// # Errors
/// [`DatasetError::Malformed`] when the archive is damaged, has more than 256 members or none of that name, or uses
/// what NumPy does not write; [`DatasetError::TooLarge`] when the member unpacks to more than
/// [`unpacked_limit`] allows.
pub(crate) fn member<'a>(zip: &'a [u8], name: &str) -> Result<Cow<'a, [u8]>, DatasetError> {
    let truncated =
        || DatasetError::malformed(FORMAT, "a part of it lies outside the file; it is truncated or damaged");
    let end = find_end(zip).ok_or_else(|| {
        DatasetError::malformed(FORMAT, "it has no end record; it is truncated or no npz file")
    })?;
    let count = u16_at(end, 10).ok_or_else(truncated)?;
    let mut at = u32_at(end, 16).ok_or_else(truncated)?;
    if count > MAX_MEMBERS {
        return Err(DatasetError::malformed(
            FORMAT,
            format!("{count} arrays are above the limit of {MAX_MEMBERS}"),
        ));
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = part(zip, at, ENTRY, ENTRY_BYTES).ok_or_else(truncated)?;
        let name_length = u16_at(entry, 28).ok_or_else(truncated)?;
        let found = entry.get(ENTRY_BYTES..ENTRY_BYTES + name_length).ok_or_else(truncated)?;
        if found == name.as_bytes() {
            return unpack_member(zip, entry).ok_or_else(truncated)?;
        }
        names.push(String::from_utf8_lossy(found));
        at += ENTRY_BYTES + name_length;
        at += u16_at(entry, 30).ok_or_else(truncated)? + u16_at(entry, 32).ok_or_else(truncated)?;
    }
    Err(DatasetError::malformed(
        FORMAT,
        format!("it has no array {name:?}, only {names:?}; save it under that name"),
    ))
}

/// `None` when the archive points outside itself.
fn unpack_member<'a>(zip: &'a [u8], entry: &[u8]) -> Option<Result<Cow<'a, [u8]>, DatasetError>> {
    let malformed = |problem: String| Some(Err(DatasetError::malformed(FORMAT, problem)));
    let (flags, method) = (u16_at(entry, 8)?, u16_at(entry, 10)?);
    let (crc, packed_size, size) = (u32_at(entry, 16)?, u32_at(entry, 20)?, u32_at(entry, 24)?);
    // The local header repeats the entry with an extra field of another length; only that length is of use.
    let local = part(zip, u32_at(entry, 42)?, LOCAL, LOCAL_BYTES)?;
    let start = LOCAL_BYTES + u16_at(local, 26)? + u16_at(local, 28)?;
    let packed = local.get(start..start.checked_add(packed_size)?)?;
    if flags & 1 != 0 {
        return malformed("it is encrypted".into());
    }
    let content = match method {
        0 => Cow::Borrowed(packed),
        8 if size > unpacked_limit(packed_size) => {
            let (what, limit) = ("array in an npz archive".into(), unpacked_limit(packed_size));
            return Some(Err(DatasetError::TooLarge { what, limit }));
        }
        8 => match read_limited(DeflateDecoder::new(packed), size) {
            Ok(Some(content)) => Cow::Owned(content),
            Ok(None) => return malformed(format!("an array unpacks to more than the declared {size} bytes")),
            Err(e) => return malformed(format!("{e}; it is damaged")),
        },
        other => return malformed(format!("compression method {other} is not one that NumPy writes")),
    };
    let mut sum = Crc::new();
    sum.update(&content);
    if content.len() != size || sum.sum() as usize != crc {
        return malformed("an array differs from its checksum; the file is damaged".into());
    }
    Some(Ok(content))
}

/// The end record; it is last but for a comment whose length it states.
fn find_end(zip: &[u8]) -> Option<&[u8]> {
    let last = zip.len().checked_sub(END_BYTES)?;
    (last.saturating_sub(usize::from(u16::MAX))..=last).rev().map(|at| &zip[at..]).find(|end| {
        end.starts_with(END) && u16_at(end, 20).is_some_and(|comment| END_BYTES + comment == end.len())
    })
}

/// The archive from a record on, if the record with that signature fits there.
fn part<'a>(zip: &'a [u8], at: usize, signature: &[u8], bytes: usize) -> Option<&'a [u8]> {
    zip.get(at..).filter(|rest| rest.starts_with(signature) && rest.len() >= bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::npy::parse_npz;

    /// `numpy.savez` and `numpy.savez_compressed` of inputs = [[0.5, -1.5, 2], [3, 4, 5]] (float32) and
    /// labels = [1, 0] (int64); see `fixtures/README.md`.
    const STORED: &[u8] = include_bytes!("../fixtures/stored.npz");
    const DEFLATED: &[u8] = include_bytes!("../fixtures/deflated.npz");

    #[test]
    fn archives_written_by_numpy_are_read() {
        for (bytes, what) in [(STORED, "stored"), (DEFLATED, "deflated")] {
            let set = parse_npz(bytes, what).unwrap();
            assert_eq!(set.inputs(), ndarray::array![[0.5, -1.5, 2.0], [3.0, 4.0, 5.0]], "{what}");
            assert_eq!(set.labels(), [1, 0], "{what}");
        }
    }

    #[test]
    fn a_missing_array_is_answered_with_those_there_are() {
        let message = member(STORED, "X.npy").unwrap_err().to_string();
        assert!(message.contains("X.npy") && message.contains("inputs.npy"), "{message}");
    }

    #[test]
    fn every_truncation_is_an_error() {
        for bytes in [STORED, DEFLATED] {
            for end in 0..bytes.len() {
                assert!(parse_npz(&bytes[..end], "cut").is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn no_flip_changes_the_numbers_unnoticed() {
        for bytes in [STORED, DEFLATED] {
            let good = parse_npz(bytes, "x").unwrap();
            for at in 0..bytes.len() {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 0xff;
                // Times, versions and the repeated local header carry no content.
                assert!(parse_npz(&flipped, "x").map_or(true, |set| set == good), "flip at {at}");
            }
        }
    }

    #[test]
    fn a_member_that_unpacks_beyond_its_declared_size_is_stopped() {
        let mut bytes = DEFLATED.to_vec();
        let entry = bytes.windows(4).position(|w| w == ENTRY).unwrap();
        bytes[entry + 24..entry + 28].copy_from_slice(&10_u32.to_le_bytes());
        assert!(member(&bytes, "inputs.npy").unwrap_err().to_string().contains("declared 10"));
        bytes[entry + 24..entry + 28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(member(&bytes, "inputs.npy").is_err());
    }

    proptest! {
        #[test]
        fn mutated_archives_never_panic(edits in prop::collection::vec((any::<usize>(), any::<u8>()), 1..5)) {
            for bytes in [STORED, DEFLATED] {
                let mut mutated = bytes.to_vec();
                edits.iter().for_each(|&(at, value)| mutated[at % bytes.len()] = value);
                let _ = parse_npz(&mutated, "x");
            }
        }

        #[test]
        fn arbitrary_bytes_with_an_end_record_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = member(&[&bytes[..], END, &bytes[..bytes.len().min(16)], &[0; 2]].concat(), "inputs.npy");
        }
    }
}
