//! One array of an `.npz` archive, unpacked within a limit.

use std::borrow::Cow;

use palimpsest_numerics::zip::{Archive, ZipError, shown};

use crate::DatasetError;
use crate::source::MAX_BYTES;

const FORMAT: &str = "npz archive";
/// Most arrays named in an answer.
const MAX_LISTED: usize = 50;

/// Unpacked content of the member called `name`, verified against its CRC-32.
///
/// # Errors
/// [`DatasetError::Malformed`] when the archive is damaged, has no member of that name, or uses what NumPy does not write, and when the
/// member unpacks to more than [`MAX_BYTES`] or, above a megabyte, than a hundred times what it takes.
pub(crate) fn member<'a>(zip: &'a [u8], name: &str) -> Result<Cow<'a, [u8]>, DatasetError> {
    let malformed = |problem: ZipError| DatasetError::malformed(FORMAT, problem.to_string());
    let archive = Archive::open(zip).map_err(malformed)?;
    let Some(member) = archive.member(name) else {
        let members = archive.members().iter().take(MAX_LISTED);
        let names: Vec<String> = members.map(|member| shown(member.name())).collect();
        let problem = format!("it has no array {name:?}, only {names:?}; save it under that name");
        return Err(DatasetError::malformed(FORMAT, problem));
    };
    let mut budget = MAX_BYTES;
    member.content(&mut budget).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::npy::parse_npz;

    const END: &[u8] = b"PK\x05\x06";
    const ENTRY: &[u8] = b"PK\x01\x02";

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
