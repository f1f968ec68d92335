//! NumPy arrays: two `.npy` files or one `.npz` archive with the arrays `inputs` and `labels`.
//!
//! `inputs` is (n, d) for vectors, (n, height, width) or (n, channels, height, width) for images, or what a declared shape
//! makes of it. Unsigned bytes in image shape are pixels and are divided by 255, and so are other images of values from 0
//! to 255 of which one is above 127; every other value is taken as it is. `labels` is (n) or (n, 1) of whole numbers
//! 0..=255 or of -1 and +1, or one-hot (n, classes), or of any numbers where these are declared. Element types: booleans, integers of 1 to 8 bytes, floats of 2, 4 or
//! 8 bytes, either byte order. The header is parsed by `ndarray-npy`; its shape is compared with the bytes that are there *before*
//! anything is allocated.

use std::path::Path;

use half::f16;
use ndarray::{ArrayD, ShapeBuilder};
use ndarray_npy::npy::header::Header;

use crate::npz::member;
use crate::reading::{Declared, Element, Numbers, Reading, from_arrays};
use crate::source::{read, unpack};
use crate::{Dataset, DatasetError};

const FORMAT: &str = "npy array";
/// NumPy writes 128 bytes for every array that could be read here.
const MAX_HEADER_BYTES: usize = 4096;

/// Data set from the bytes of an inputs array and a labels array.
///
/// # Errors
/// [`DatasetError::Malformed`] when bytes do not follow the format, or an array has an element type or shape other
/// than those above; [`DatasetError::Invalid`] when the two do not fit together.
///
/// ```
/// use ndarray::array;
/// use ndarray_npy::WriteNpyExt;
/// use palimpsest_datasets::npy;
///
/// let (mut inputs, mut labels) = (Vec::new(), Vec::new());
/// array![[0.5, -2.0], [3.0, 4.0]].write_npy(&mut inputs)?;
/// array![0_i64, 1].write_npy(&mut labels)?;
/// let set = npy::parse(&inputs, &labels, "two vectors")?;
/// assert_eq!(set.inputs(), array![[0.5, -2.0], [3.0, 4.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse(inputs: &[u8], labels: &[u8], name: &str) -> Result<Dataset, DatasetError> {
    plain(array(&unpack(inputs)?)?, array(&unpack(labels)?)?, name)
}

/// Data set from the bytes of an archive with `inputs` and `labels`, as `numpy.savez` or `numpy.savez_compressed`
/// write it.
///
/// # Errors
/// Those of [`parse`], and [`DatasetError::Malformed`] or [`DatasetError::TooLarge`] for the archive.
pub fn parse_npz(bytes: &[u8], name: &str) -> Result<Dataset, DatasetError> {
    parse_npz_as(bytes, name, Declared::default()).map(|(set, _)| set)
}

/// The same as declared: flat rows become images, channels that are last become first, and labels may be any numbers.
///
/// Also told is what was read otherwise than it is written.
///
/// # Errors
/// Those of [`parse_npz`], and [`DatasetError::Malformed`] when an example does not have the declared number of inputs.
///
/// ```
/// use ndarray::array;
/// use ndarray_npy::NpzWriter;
/// use palimpsest_datasets::{Declared, InputShape, Reading, npy};
///
/// let mut archive = NpzWriter::new(std::io::Cursor::new(Vec::new()));
/// archive.add_array("inputs", &array![[0.0, 51.0, 102.0, 255.0]])?;
/// archive.add_array("labels", &array![-1])?;
/// let bytes = archive.finish()?.into_inner();
/// let shape = InputShape::Image { channels: 1, height: 2, width: 2 };
/// let declared = Declared { shape: Some(shape), ..Declared::default() };
/// let (set, readings) = npy::parse_npz_as(&bytes, "one picture", declared)?;
/// assert_eq!((set.inputs(), set.labels()), (array![[0.0, 0.2, 0.4, 1.0]].view(), &[0][..]));
/// assert_eq!(readings, [Reading::RowsAsImages(shape), Reading::PixelsOf255, Reading::SignedLabels]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse_npz_as(
    bytes: &[u8],
    name: &str,
    declared: Declared,
) -> Result<(Dataset, Vec<Reading>), DatasetError> {
    let inputs = array(&member(bytes, "inputs.npy")?)?;
    from_arrays(inputs, array(&member(bytes, "labels.npy")?)?, name, declared)
}

/// Data set from two `.npy` files.
///
/// # Errors
/// Those of [`parse`], with the path of the file at fault.
pub fn read_files(inputs: &Path, labels: &Path, name: &str) -> Result<Dataset, DatasetError> {
    let values = array(&read(inputs)?).map_err(|e| e.in_file(inputs))?;
    plain(values, array(&read(labels)?).map_err(|e| e.in_file(labels))?, name)
}

/// Data set from one `.npz` file.
///
/// # Errors
/// Those of [`parse_npz`], with the path.
pub fn read_npz(path: &Path, name: &str) -> Result<Dataset, DatasetError> {
    parse_npz(&read(path)?, name).map_err(|e| e.in_file(path))
}

fn plain(inputs: Numbers, labels: Numbers, name: &str) -> Result<Dataset, DatasetError> {
    from_arrays(inputs, labels, name, Declared::default()).map(|(set, _)| set)
}

fn malformed<T>(problem: impl Into<String>) -> Result<T, DatasetError> {
    Err(DatasetError::malformed(FORMAT, problem))
}

/// One array; the declared shape is checked against the bytes at hand before memory is asked for.
pub(crate) fn array(bytes: &[u8]) -> Result<Numbers, DatasetError> {
    let (header, data) = split_header(bytes)?;
    let Some(descr) = header.type_descriptor.as_string() else {
        return malformed("it holds records, expected plain numbers");
    };
    let Some(width) = element_width(descr) else {
        return malformed(format!(
            "element type {descr:?} is not supported; save as float32, or as uint8 for pixels"
        ));
    };
    let declared = header.shape.iter().try_fold(width, |product, &size| product.checked_mul(size));
    if declared != Some(data.len()) || data.is_empty() {
        return malformed(format!(
            "shape {:?} of {descr:?} needs {width} bytes an element, at least one element, but {} bytes follow; the \
             file is truncated or damaged",
            header.shape,
            data.len()
        ));
    }
    let values = numbers(descr, data);
    let shape = header.shape.set_f(header.layout.is_fortran());
    let values = ArrayD::from_shape_vec(shape, values).expect("the length was checked against the shape");
    let element = match &descr[1..] {
        "u1" => Element::UnsignedByte,
        "f2" => Element::Half,
        _ => Element::Other,
    };
    Ok(Numbers { values, element })
}

/// Parsed header and data. `ndarray-npy` would allocate any header length and recurse as deep as brackets are nested,
/// so both are bounded here first.
fn split_header(bytes: &[u8]) -> Result<(Header, &[u8]), DatasetError> {
    let (length, start) = match bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (u32::from_le_bytes([*a, *b, 0, 0]), 10),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (u32::from_le_bytes([*a, *b, *c, *d]), 12)
        }
        _ => return malformed("it does not start with the magic bytes of version 1, 2 or 3"),
    };
    let length = length as usize;
    if length > MAX_HEADER_BYTES {
        return malformed(format!("a header of {length} bytes is above the limit of {MAX_HEADER_BYTES}"));
    }
    let Some((mut head, data)) = bytes.split_at_checked(start + length) else {
        return malformed(format!("{} bytes end inside the header", bytes.len()));
    };
    if head[start..].iter().filter(|b| b"([{".contains(b)).count() > 2 {
        return malformed("it holds records or nested values, expected plain numbers");
    }
    match Header::from_reader(&mut head) {
        Ok(header) => Ok((header, data)),
        Err(e) => malformed(e.to_string()),
    }
}

/// Bytes of an element of a NumPy type such as `<f4`; byte order `<`, `>` or none (`|`).
fn element_width(descr: &str) -> Option<usize> {
    match descr.strip_prefix(['<', '>', '|'])? {
        "b1" | "u1" | "i1" => Some(1),
        "u2" | "i2" | "f2" => Some(2),
        "u4" | "i4" | "f4" => Some(4),
        "u8" | "i8" | "f8" => Some(8),
        _ => None,
    }
}

fn numbers(descr: &str, data: &[u8]) -> Vec<f32> {
    let big_endian = descr.starts_with('>');
    match &descr[1..] {
        "b1" | "u1" => data.iter().map(|&v| f32::from(v)).collect(),
        "i1" => each(data, big_endian, |v| f32::from(i8::from_le_bytes(v))),
        "u2" => each(data, big_endian, |v| f32::from(u16::from_le_bytes(v))),
        "i2" => each(data, big_endian, |v| f32::from(i16::from_le_bytes(v))),
        "u4" => each(data, big_endian, |v| u32::from_le_bytes(v) as f32),
        "i4" => each(data, big_endian, |v| i32::from_le_bytes(v) as f32),
        "f2" => each(data, big_endian, |v| f16::from_le_bytes(v).to_f32()),
        "f4" => each(data, big_endian, f32::from_le_bytes),
        "u8" => each(data, big_endian, |v| u64::from_le_bytes(v) as f32),
        "i8" => each(data, big_endian, |v| i64::from_le_bytes(v) as f32),
        "f8" => each(data, big_endian, |v| f64::from_le_bytes(v) as f32),
        other => unreachable!("element_width knows no {other}"),
    }
}

fn each<const W: usize>(data: &[u8], big_endian: bool, value: impl Fn([u8; W]) -> f32) -> Vec<f32> {
    data.as_chunks::<W>()
        .0
        .iter()
        .map(|&(mut bytes)| {
            if big_endian {
                bytes.reverse();
            }
            value(bytes)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ndarray::{Array, Array2, Array3, Array4, Dimension, array};
    use ndarray_npy::{NpzWriter, WritableElement, WriteNpyExt};
    use proptest::prelude::*;

    use super::*;

    fn npy<A: WritableElement, D: Dimension>(array: &Array<A, D>) -> Vec<u8> {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        bytes
    }

    /// A version 1 file with the given header text, unpadded.
    fn raw(header: &str, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len() + 1).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), b"\n", data].concat()
    }

    fn message(result: Result<Dataset, DatasetError>) -> String {
        result.expect_err("an error").to_string()
    }

    #[test]
    fn every_element_type_and_byte_order_reads_the_same_numbers() {
        let labels = npy(&array![1_u8]);
        let le: [(&str, Vec<u8>); 9] = [
            ("u2", [1_u16, 100].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("i2", [1_i16, 100].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("u4", [1_u32, 100].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("i4", [1_i32, 100].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("u8", [1_u64, 100].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("i8", [1_i64, 100].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("f4", [1_f32, 100.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("f8", [1_f64, 100.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("u1", vec![1, 100]),
        ];
        for (kind, data) in le {
            let mut reversed = data.clone();
            reversed.chunks_exact_mut(data.len() / 2).for_each(<[u8]>::reverse);
            for (order, data) in [("<", data), (">", reversed)] {
                let header =
                    format!("{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': (1, 2), }}");
                let set = parse(&raw(&header, &data), &labels, kind).unwrap();
                assert_eq!(set.inputs(), array![[1.0, 100.0]], "{order}{kind}");
            }
        }
        assert_eq!(parse(&npy(&array![[-3_i8, 4]]), &labels, "i1").unwrap().inputs(), array![[-3.0, 4.0]]);
        assert_eq!(parse(&npy(&array![[true, false]]), &labels, "b1").unwrap().inputs(), array![[1.0, 0.0]]);
    }

    #[test]
    fn float16_is_read_and_said_aloud() {
        let halves = |order: &str| {
            let bytes = [0.5_f32, -2.0, 65504.0, 0.333].map(f16::from_f32);
            let data: Vec<u8> = match order {
                "<" => bytes.iter().flat_map(|v| v.to_le_bytes()).collect(),
                _ => bytes.iter().flat_map(|v| v.to_be_bytes()).collect(),
            };
            let header = format!("{{'descr': '{order}f2', 'fortran_order': False, 'shape': (1, 4), }}");
            array(&raw(&header, &data)).unwrap()
        };
        for order in ["<", ">"] {
            let labels = array(&npy(&array![1_u8])).unwrap();
            let (set, readings) = from_arrays(halves(order), labels, "halves", Declared::default()).unwrap();
            let row = set.inputs().row(0).to_vec();
            assert!(row[..3] == [0.5, -2.0, 65504.0] && (row[3] - 0.333).abs() < 2e-4, "{row:?}");
            assert_eq!(readings, [Reading::HalfPrecision]);
        }
    }

    #[test]
    fn shapes_tell_images_from_vectors_and_bytes_of_images_are_pixels() {
        let one = npy(&array![1_i64]);
        let grey = parse(&npy(&Array3::from_elem((1, 2, 3), 51_u8)), &one, "grey").unwrap();
        assert_eq!((grey.shape().to_string(), grey.inputs()[[0, 0]]), ("1x2x3".into(), 0.2));
        let colour = parse(&npy(&Array4::from_elem((1, 3, 4, 5), 0.5_f64)), &one, "colour").unwrap();
        assert_eq!((colour.shape().to_string(), colour.inputs()[[0, 59]]), ("3x4x5".into(), 0.5));
        let bytes = parse(&npy(&Array2::from_elem((1, 6), 51_u8)), &one, "vector").unwrap();
        assert_eq!(bytes.inputs()[[0, 0]], 51.0);
        assert!(
            message(parse(&npy(&Array4::<f32>::zeros((1, 32, 32, 3))), &one, "x")).contains("channels last")
        );
        assert!(message(parse(&npy(&Array3::from_elem((1, 2, 2), 2.0_f32)), &one, "x")).contains("[0, 1]"));
        assert!(message(parse(&npy(&array![1.0_f32]), &one, "x")).contains("2, 3 or 4 dimensions"));
    }

    #[test]
    fn column_major_files_keep_their_meaning() {
        let wanted = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let file = npy(&wanted.t().as_standard_layout().into_owned().reversed_axes());
        assert!(file.windows(4).any(|w| w == b"True"));
        assert_eq!(
            parse(&file, &npy(&array![0_u8, 1]), "f").unwrap().inputs(),
            wanted.mapv(|v: f64| v as f32)
        );
    }

    #[test]
    fn labels_are_whole_numbers_of_a_byte() {
        let inputs = npy(&array![[1.0_f32], [2.0]]);
        assert_eq!(parse(&inputs, &npy(&array![[7_i64], [255]]), "x").unwrap().labels(), [7, 255]);
        assert_eq!(parse(&inputs, &npy(&array![true, false]), "x").unwrap().labels(), [1, 0]);
        for bad in [[0.0, 1.5], [0.0, -1.0], [0.0, 256.0], [0.0, f64::NAN], [0.0, 1e300]] {
            assert!(
                message(parse(&inputs, &npy(&array![bad[0], bad[1]]), "x")).contains("0..=255"),
                "{bad:?}"
            );
        }
        assert!(message(parse(&inputs, &npy(&array![1_u8]), "x")).contains("2 inputs but 1 labels"));
    }

    #[test]
    fn values_beyond_f32_are_refused() {
        assert!(message(parse(&npy(&array![[1e300]]), &npy(&array![1_u8]), "x")).contains("finite"));
        assert!(message(parse(&npy(&array![[f32::NAN]]), &npy(&array![1_u8]), "x")).contains("finite"));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (inputs, labels) = (npy(&array![[1.0_f32, 2.0], [3.0, 4.0]]), npy(&array![1_u8, 2]));
        for end in 0..inputs.len() {
            assert!(parse(&inputs[..end], &labels, "cut").is_err(), "inputs cut at {end}");
        }
        for end in 0..labels.len() {
            assert!(parse(&inputs, &labels[..end], "cut").is_err(), "labels cut at {end}");
        }
        assert!(parse(&[&inputs[..], &[0]].concat(), &labels, "long").is_err());
    }

    #[test]
    fn every_flip_of_a_header_is_an_error_or_says_the_same_and_none_panics() {
        let (inputs, labels) = (npy(&array![[1.0_f32, 2.0], [3.0, 4.0]]), npy(&array![1_u8, 2]));
        for at in 0..inputs.len() {
            for mask in [0x01, 0x41, 0x80, 0xff] {
                let mut flipped = inputs.clone();
                flipped[at] ^= mask;
                // Another byte order, type or layout of the same size is another array, as another value is.
                if let Ok(set) = parse(&flipped, &labels, "flip") {
                    assert_eq!(set.inputs().dim(), (2, 2), "flip at {at}");
                }
            }
        }
    }

    #[test]
    fn hostile_headers_neither_allocate_nor_overflow_the_stack() {
        let labels = npy(&array![1_u8]);
        let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        for shape in
            ["(4611686018427387904, 4)", "(0, 4611686018427387904)", "(99999999999999999999, 1)", "(-1, 1)"]
        {
            assert!(parse(&raw(&header(shape), &[0; 4]), &labels, "x").is_err(), "{shape}");
        }
        for bracket in ["(", "[", "{"] {
            assert!(parse(&raw(&bracket.repeat(4000), &[]), &labels, "x").is_err());
            assert!(parse(&raw(&bracket.repeat(60_000), &[]), &labels, "x").is_err());
        }
        let long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}";
        assert!(message(parse(long, &labels, "x")).contains("4294967295"));
        let records = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1), }";
        assert!(message(parse(&raw(records, &[0; 4]), &labels, "x")).contains("records"));
        for kind in ["<f2", "<c8", "|O", "<U4", "", "é", "<"] {
            let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 1), }}");
            assert!(parse(&raw(&header, &[0; 4]), &labels, "x").is_err(), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn round_trip_through_both_containers(n in 1..6_usize, d in 1..6_usize, base in -1e3..1e3_f32) {
            let inputs = Array2::from_shape_fn((n, d), |(i, j)| base + (i * 7 + j) as f32);
            let labels = Array::from_iter((0..n as i64).map(|i| i * 3));
            let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
            npz.add_array("inputs", &inputs).unwrap();
            npz.add_array("labels", &labels).unwrap();
            let archive = npz.finish().unwrap().into_inner();
            let set = parse(&npy(&inputs), &npy(&labels), "x").unwrap();
            prop_assert_eq!(set.inputs(), inputs);
            prop_assert_eq!(parse_npz(&archive, "x").unwrap(), set);
        }

        #[test]
        fn mutated_files_never_panic(
            edits in prop::collection::vec((0..200_usize, any::<u8>()), 1..4),
            cut in 0..200_usize,
        ) {
            let (mut inputs, labels) = (npy(&array![[1.0_f32, 2.0], [3.0, 4.0]]), npy(&array![1_u8, 2]));
            let length = inputs.len();
            edits.iter().for_each(|&(at, value)| inputs[at % length] = value);
            let _ = parse(&inputs, &labels, "x");
            let _ = parse(&inputs[..length.min(cut)], &labels, "x");
            let _ = parse(&labels, &inputs, "x");
        }
    }
}
