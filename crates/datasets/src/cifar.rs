//! The binary version of CIFAR-10: records of one label byte and 3072 pixel bytes, nothing else.
//!
//! # Source
//! Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the page of the data set, section
//! "Binary version": red, green, blue planes of 32 x 32 pixels, row by row.

use std::path::Path;

use ndarray::{ArrayView2, s};

use crate::source::{read, unpack};
use crate::{Dataset, DatasetError, InputShape};

/// Bytes of one record: label and pixels.
pub const RECORD_BYTES: usize = 1 + 3 * 32 * 32;
const CLASSES: u8 = 10;
const FORMAT: &str = "CIFAR-10 binary file";

/// Data set (n, 3072) of colour images from whole records, plain or gzip; pixels are divided by 255.
///
/// # Errors
/// [`DatasetError::Malformed`] when the length is not a positive multiple of [`RECORD_BYTES`] or a label is above 9;
/// the errors of [`unpack`].
///
/// ```
/// use palimpsest_datasets::cifar;
///
/// let mut record = vec![255; cifar::RECORD_BYTES];
/// record[0] = 6;
/// let set = cifar::parse(&record, "one white frog")?;
/// assert_eq!((set.labels(), set.inputs()[[0, 3071]]), (&[6][..], 1.0));
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
pub fn parse(bytes: &[u8], name: &str) -> Result<Dataset, DatasetError> {
    let bytes = unpack(bytes)?;
    let n = bytes.len() / RECORD_BYTES;
    if bytes.is_empty() || n * RECORD_BYTES != bytes.len() {
        let problem = format!(
            "{} bytes are not a positive multiple of {RECORD_BYTES}; the file is truncated or of another kind",
            bytes.len()
        );
        return Err(DatasetError::malformed(FORMAT, problem));
    }
    let records =
        ArrayView2::from_shape((n, RECORD_BYTES), bytes.as_ref()).expect("the length was just checked");
    let labels = records.column(0).to_vec();
    if let Some(row) = labels.iter().position(|&label| label >= CLASSES) {
        let problem = format!("label of record {row} is {}, it must be below {CLASSES}", labels[row]);
        return Err(DatasetError::malformed(FORMAT, problem));
    }
    let shape = InputShape::Image { channels: 3, height: 32, width: 32 };
    Dataset::from_pixels(records.slice(s![.., 1..]), labels, shape, name)
}

/// Data set from one file, plain or gzip.
///
/// # Errors
/// Those of [`parse`], with the path.
pub fn read_file(path: &Path, name: &str) -> Result<Dataset, DatasetError> {
    parse(&read(path)?, name).map_err(|e| e.in_file(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two records; pixel i of record r is (i + 100 r) mod 256.
    fn example() -> Vec<u8> {
        let record = |label: u8, r: usize| {
            std::iter::once(label).chain((0..3072).map(move |i| ((i + 100 * r) % 256) as u8))
        };
        record(3, 0).chain(record(9, 1)).collect()
    }

    #[test]
    fn pixels_and_labels_are_where_the_format_says() {
        let set = parse(&example(), "two").unwrap();
        assert_eq!(set.labels(), [3, 9]);
        // Green plane, second row, third pixel of the second image.
        assert_eq!(set.inputs()[[1, 1024 + 32 + 2]], ((1024 + 32 + 2 + 100) % 256) as f32 / 255.0);
        assert_eq!(set.shape().to_string(), "3x32x32");
    }

    #[test]
    fn only_whole_records_are_accepted() {
        let bytes = example();
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end], "cut").is_ok(), end == RECORD_BYTES, "cut at {end}");
        }
        assert!(parse(&[&bytes[..], &[0]].concat(), "long").is_err());
    }

    #[test]
    fn a_label_above_nine_is_refused_with_its_record() {
        let mut bytes = example();
        bytes[RECORD_BYTES] = 10;
        assert!(parse(&bytes, "x").unwrap_err().to_string().contains("record 1 is 10"));
    }

    proptest! {
        #[test]
        fn any_flip_is_a_pixel_a_label_or_an_error(at in 0..2 * RECORD_BYTES, mask in 1..=255_u8) {
            let mut bytes = example();
            bytes[at] ^= mask;
            match parse(&bytes, "flip") {
                Ok(set) => prop_assert!(set != parse(&example(), "flip").unwrap()),
                Err(_) => prop_assert!(at % RECORD_BYTES == 0),
            }
        }
    }
}
