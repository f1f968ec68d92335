//! The IDX format of MNIST and its relatives: a magic number, big-endian dimensions, then the bytes.
//!
//! # Source
//! LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats". Only unsigned bytes
//! are read: three dimensions for images, one for labels.

use std::path::Path;

use ndarray::{Array3, ArrayView3};

use crate::source::{read, unpack};
use crate::{Dataset, DatasetError, InputShape};

const FORMAT: &str = "IDX file";
/// Code of unsigned bytes in the third byte of the magic number.
const UNSIGNED_BYTE: u8 = 8;

/// Images (n, height, width) from IDX bytes, plain or gzip.
///
/// # Errors
/// [`DatasetError::Malformed`] unless the magic number is that of three-dimensional unsigned bytes, no dimension is
/// zero and the length is exactly what the dimensions say; the errors of [`unpack`].
///
/// ```
/// use palimpsest_datasets::idx;
///
/// let images = ndarray::Array3::from_elem((2, 3, 4), 7);
/// assert_eq!(idx::parse_images(&idx::encode_images(images.view()))?, images);
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
pub fn parse_images(bytes: &[u8]) -> Result<Array3<u8>, DatasetError> {
    let bytes = unpack(bytes)?;
    let (shape, pixels) = split_header::<3>(&bytes)?;
    Ok(Array3::from_shape_vec(shape, pixels.to_vec()).expect("the length was checked against the dimensions"))
}

/// Labels from IDX bytes, plain or gzip.
///
/// # Errors
/// As [`parse_images`], with one dimension.
pub fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>, DatasetError> {
    let bytes = unpack(bytes)?;
    let ([_], labels) = split_header::<1>(&bytes)?;
    Ok(labels.to_vec())
}

/// Data set of grey images (n, height * width) from the bytes of both files, plain or gzip; pixels are divided by 255.
///
/// # Errors
/// Those of [`parse_images`] and [`parse_labels`], and [`DatasetError::Invalid`] when the numbers of images and labels
/// differ.
pub fn parse(images: &[u8], labels: &[u8], name: &str) -> Result<Dataset, DatasetError> {
    from_parts(parse_images(images)?, parse_labels(labels)?, name)
}

/// Data set from two files, plain or gzip.
///
/// # Errors
/// Those of [`parse`], with the path of the file at fault.
pub fn read_files(images: &Path, labels: &Path, name: &str) -> Result<Dataset, DatasetError> {
    let pixels = parse_images(&read(images)?).map_err(|e| e.in_file(images))?;
    from_parts(pixels, parse_labels(&read(labels)?).map_err(|e| e.in_file(labels))?, name)
}

/// IDX bytes of images (n, height, width).
///
/// # Panics
/// When a dimension does not fit 32 bits.
pub fn encode_images(images: ArrayView3<'_, u8>) -> Vec<u8> {
    let mut bytes = header(images.shape());
    bytes.extend(images.iter());
    bytes
}

/// IDX bytes of labels.
///
/// # Panics
/// When their number does not fit 32 bits.
pub fn encode_labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes = header(&[labels.len()]);
    bytes.extend(labels);
    bytes
}

/// Grey images (n, height, width) and their labels as a data set.
pub(crate) fn from_parts(images: Array3<u8>, labels: Vec<u8>, name: &str) -> Result<Dataset, DatasetError> {
    let (n, height, width) = images.dim();
    let pixels =
        images.into_shape_with_order((n, height * width)).expect("a freshly read array is row-major");
    Dataset::from_pixels(pixels.view(), labels, InputShape::Image { channels: 1, height, width }, name)
}

fn header(shape: &[usize]) -> Vec<u8> {
    let mut bytes =
        vec![0, 0, UNSIGNED_BYTE, u8::try_from(shape.len()).expect("IDX has at most 255 dimensions")];
    for &size in shape {
        bytes.extend(u32::try_from(size).expect("an IDX dimension has 32 bits").to_be_bytes());
    }
    bytes
}

/// Dimensions and data; the data are exactly as long as the dimensions say.
fn split_header<const N: usize>(bytes: &[u8]) -> Result<([usize; N], &[u8]), DatasetError> {
    let malformed = |problem: String| Err(DatasetError::malformed(FORMAT, problem));
    let wanted = [0, 0, UNSIGNED_BYTE, N as u8];
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        return malformed(format!("{} bytes are too few for a magic number", bytes.len()));
    };
    if *magic != wanted {
        return malformed(format!(
            "magic number {magic:02x?}, expected {wanted:02x?} (unsigned bytes, {N} dimensions); are images and \
             labels mixed up?"
        ));
    }
    let Some((sizes, data)) = rest.split_at_checked(4 * N) else {
        return malformed(format!("{} bytes end inside the {N} dimensions", bytes.len()));
    };
    let mut shape = [0; N];
    for (size, big_endian) in shape.iter_mut().zip(sizes.as_chunks::<4>().0) {
        *size = u32::from_be_bytes(*big_endian) as usize;
    }
    let declared = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    if declared != Some(data.len()) || data.is_empty() {
        return malformed(format!(
            "dimensions {shape:?} need their product in bytes, at least 1, but {} follow; the file is truncated or \
             damaged",
            data.len()
        ));
    }
    Ok((shape, data))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> (Vec<u8>, Vec<u8>) {
        let images = Array3::from_shape_fn((3, 2, 4), |(i, y, x)| (80 * i + 10 * y + x) as u8);
        (encode_images(images.view()), encode_labels(&[5, 0, 9]))
    }

    #[test]
    fn a_file_written_by_hand_is_read() {
        let images =
            b"\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x03\x00\x33\xff\x66\x99\xcc";
        let labels = b"\x00\x00\x08\x01\x00\x00\x00\x02\x04\x07";
        let set = parse(images, labels, "hand").unwrap();
        assert_eq!(set.inputs(), ndarray::array![[0.0, 0.2, 1.0], [0.4, 0.6, 0.8]]);
        assert_eq!(set.labels(), [4, 7]);
        assert_eq!(set.shape(), InputShape::Image { channels: 1, height: 1, width: 3 });
    }

    #[test]
    fn every_truncation_and_every_extension_is_an_error() {
        let (images, labels) = example();
        for end in 0..images.len() {
            assert!(parse_images(&images[..end]).is_err(), "images cut at {end}");
        }
        for end in 0..labels.len() {
            assert!(parse_labels(&labels[..end]).is_err(), "labels cut at {end}");
        }
        assert!(parse_images(&[&images[..], &[0]].concat()).is_err());
        assert!(parse_labels(&[&labels[..], &[0]].concat()).is_err());
    }

    #[test]
    fn every_flip_in_the_header_is_an_error_and_none_panics() {
        let (images, labels) = example();
        for at in 0..images.len() {
            for bit in 0..8 {
                let mut flipped = images.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(parse_images(&flipped).is_err(), at < 16, "byte {at} bit {bit}");
            }
        }
        for at in 0..labels.len() {
            let mut flipped = labels.clone();
            flipped[at] ^= 0xff;
            assert_eq!(parse_labels(&flipped).is_err(), at < 8, "byte {at}");
        }
    }

    #[test]
    fn dimensions_that_overflow_allocate_nothing() {
        let huge = [&[0, 0, 8, 3][..], &[0xff; 12]].concat();
        assert!(parse_images(&huge).unwrap_err().to_string().contains("4294967295"));
        let empty = [&[0, 0, 8, 3][..], &[0; 4], &[0xff; 8]].concat();
        assert!(parse_images(&empty).is_err());
    }

    #[test]
    fn images_and_labels_mixed_up_or_uneven_are_refused() {
        let (images, labels) = example();
        assert!(parse(&labels, &images, "x").unwrap_err().to_string().contains("mixed up"));
        assert!(
            parse(&images, &encode_labels(&[1, 2]), "x")
                .unwrap_err()
                .to_string()
                .contains("3 inputs but 2 labels")
        );
    }

    proptest! {
        #[test]
        fn round_trip(n in 1..5_usize, h in 1..7_usize, w in 1..7_usize, seed in any::<u8>()) {
            let images = Array3::from_shape_fn((n, h, w), |(i, y, x)| seed.wrapping_mul((i + 3 * y + 5 * x) as u8));
            prop_assert_eq!(parse_images(&encode_images(images.view())).unwrap(), images);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), shape in any::<[u8; 3]>()) {
            let _ = (parse_images(&bytes), parse_labels(&bytes));
            let mut plausible = vec![0, 0, 8, 3];
            shape.iter().for_each(|&s| plausible.extend([0, 0, 0, s % 5]));
            plausible.extend(&bytes);
            let size: usize = shape.iter().map(|&s| usize::from(s % 5)).product();
            prop_assert_eq!(parse_images(&plausible).is_ok(), size == bytes.len() && size > 0);
        }
    }
}
