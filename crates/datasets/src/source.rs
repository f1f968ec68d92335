//! Bytes as they come: read with a limit, unpacked when they are gzip, and told apart by their SHA-256.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::DatasetError;

/// Largest file, and largest unpacked content of a file, in bytes; the largest official file has 47 million.
pub const MAX_BYTES: usize = 256 << 20;

/// How many times larger than packed something may be that unpacks to more than [`SMALL_BYTES`]; images shrink to a tenth or so, and
/// a bomb of a few kilobytes stays one of a megabyte.
const MAX_RATIO: usize = 100;
const SMALL_BYTES: usize = 1 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Content of a regular file, unpacked when it is gzip.
///
/// # Errors
/// [`DatasetError::File`] when it cannot be read, [`DatasetError::Content`] when it is broken gzip or has more than
/// [`MAX_BYTES`] packed or unpacked.
pub fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let file_error = |source| DatasetError::File { path: path.to_owned(), source };
    // Before it is opened: opening a pipe waits for a writer.
    if !fs::metadata(path).map_err(file_error)?.is_file() {
        return Err(file_error(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let packed = File::open(path).and_then(|file| read_limited(file, MAX_BYTES)).map_err(file_error)?;
    let unpacked = packed.ok_or_else(|| too_large("file")).and_then(|packed| match unpack(&packed)? {
        Cow::Owned(unpacked) => Ok(unpacked),
        Cow::Borrowed(_) => Ok(packed),
    });
    unpacked.map_err(|e| e.in_file(path))
}

/// The bytes themselves, or what is inside when they start as gzip does; all members of a gzip file are joined.
///
/// # Errors
/// [`DatasetError::Malformed`] when the gzip stream is truncated or damaged, [`DatasetError::TooLarge`] when more
/// than [`MAX_BYTES`] come out of it, or more than a megabyte that is a hundred times what went in.
pub fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DatasetError> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(Cow::Borrowed(bytes));
    }
    let limit = unpacked_limit(bytes.len());
    match read_limited(MultiGzDecoder::new(bytes), limit) {
        Ok(Some(unpacked)) => Ok(Cow::Owned(unpacked)),
        Ok(None) => Err(DatasetError::TooLarge { what: "unpacked gzip data".into(), limit }),
        Err(e) => Err(DatasetError::malformed(
            "gzip file",
            format!("{e}; it is truncated or damaged, fetch it again"),
        )),
    }
}

/// SHA-256 of bytes as 64 lower-case hexadecimal digits.
///
/// ```
/// let sum = palimpsest_datasets::source::sha256(b"abc");
/// assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// ```
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Checks the SHA-256 of *unpacked* bytes; the letters' case in `expected` does not matter.
///
/// # Errors
/// [`DatasetError::Checksum`] with both sums when they differ.
pub fn verify_sha256(bytes: &[u8], expected: &str) -> Result<(), DatasetError> {
    let got = sha256(bytes);
    if got.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(DatasetError::Checksum { expected: expected.to_owned(), got })
    }
}

/// Everything a reader has, or `None` when that is more than `limit` bytes; memory grows with what really came.
fn read_limited(reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Most bytes that so many packed ones may unpack to.
fn unpacked_limit(packed: usize) -> usize {
    packed.saturating_mul(MAX_RATIO).clamp(SMALL_BYTES, MAX_BYTES)
}

pub(crate) fn too_large(what: &str) -> DatasetError {
    DatasetError::TooLarge { what: what.to_owned(), limit: MAX_BYTES }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn gzip_round_trip_and_plain_bytes_pass(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut two = gzip(&bytes);
            two.extend(gzip(&bytes));
            prop_assert_eq!(unpack(&two).unwrap().into_owned(), [&bytes[..], &bytes[..]].concat());
            if !bytes.starts_with(&GZIP_MAGIC) {
                prop_assert!(matches!(unpack(&bytes).unwrap(), Cow::Borrowed(b) if b == &bytes[..]));
            }
        }
    }

    #[test]
    fn truncated_or_flipped_gzip_never_yields_other_bytes() {
        let plain: Vec<u8> = (0..300_u32).map(|i| (i * i % 251) as u8).collect();
        let packed = gzip(&plain);
        for end in GZIP_MAGIC.len()..packed.len() {
            assert!(matches!(unpack(&packed[..end]), Err(DatasetError::Malformed { .. })), "cut at {end}");
        }
        for at in GZIP_MAGIC.len()..packed.len() {
            let mut flipped = packed.clone();
            flipped[at] ^= 0xff;
            // Time, system and flags in the header carry no content; anything else must be noticed.
            assert!(unpack(&flipped).map_or(true, |bytes| bytes.as_ref() == plain), "flip at {at}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 2000);
        assert!(read_limited(MultiGzDecoder::new(&bomb[..]), (1 << 20) - 1).unwrap().is_none());
        assert!(read_limited(MultiGzDecoder::new(&bomb[..]), 1 << 20).unwrap().is_some());
        assert!(unpack(&bomb).is_ok());
        let bomb = gzip(&vec![0; (1 << 20) + 1]);
        assert!(matches!(unpack(&bomb), Err(DatasetError::TooLarge { limit: SMALL_BYTES, .. })));
        assert_eq!([0, 20_000, usize::MAX].map(unpacked_limit), [SMALL_BYTES, 2_000_000, MAX_BYTES]);
    }

    #[test]
    fn files_are_read_with_their_path_in_every_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        std::fs::write(&path, gzip(b"content")).unwrap();
        assert_eq!(read(&path).unwrap(), b"content");
        std::fs::write(&path, &gzip(b"content")[..12]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("a.gz"));
        assert!(read(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
        assert!(read(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        // A sparse file larger than the limit is refused without being held.
        File::create(&path).unwrap().set_len(MAX_BYTES as u64 + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn a_wrong_checksum_names_both_sums() {
        let abc = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        verify_sha256(b"abc", abc).unwrap();
        let message = verify_sha256(b"abd", abc).unwrap_err().to_string();
        assert!(message.contains(abc) && message.contains(&sha256(b"abd")), "{message}");
    }
}
