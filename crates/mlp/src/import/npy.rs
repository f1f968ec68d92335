//! One `.npy` array of NumPy, as members of `.npz` and `skops` archives are.

use std::borrow::Cow;

use ndarray_npy::npy::header::Header;

use super::finding::Fact;
use super::naming::shown;
use super::tensor::{Dtype, Sign, Tensor, Whole, row_major};

/// NumPy writes 128 bytes for every array that could be read here.
const MAX_HEADER_BYTES: usize = 4096;
/// Most texts of an array.
const MAX_TEXTS: usize = 1 << 14;

/// One array; its shape is compared with the bytes at hand.
pub(super) fn array<'a>(name: &'a str, mut bytes: Cow<'a, [u8]>) -> Result<Tensor<'a>, String> {
    let bad = |problem: String| format!("array `{}` {problem}", shown(name));
    let (header, start) = header(&bytes).map_err(bad)?;
    let descr = header.type_descriptor.as_string().map(String::as_str);
    let dtype = match descr {
        Some("<f2") => Ok(Dtype::Float16),
        Some("<f4") => Ok(Dtype::Float32),
        Some("<f8") => Ok(Dtype::Float64),
        other => Err(other.map_or_else(|| "records".to_owned(), |descr| format!("`{}`", shown(descr)))),
    };
    let whole = descr.and_then(whole);
    match &mut bytes {
        Cow::Borrowed(bytes) => *bytes = &bytes[start..],
        Cow::Owned(bytes) => drop(bytes.drain(..start)),
    }
    let numbers = header.shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
    let strides = if header.layout.is_fortran() {
        let reversed: Vec<usize> = header.shape.iter().rev().copied().collect();
        row_major(&reversed).map(|mut strides| {
            strides.reverse();
            strides
        })
    } else {
        row_major(&header.shape)
    };
    let floats = dtype.as_ref().ok().map(|dtype: &Dtype| dtype.width());
    let width = floats.or_else(|| whole.map(|whole| whole.width));
    let fits = width.is_none_or(|width| numbers.and_then(|n| n.checked_mul(width)) == Some(bytes.len()));
    match strides {
        Some(strides) if fits => {
            Ok(Tensor { name: name.into(), shape: header.shape, strides, offset: 0, dtype, whole, bytes })
        }
        _ => Err(bad(format!(
            "announces the shape {} but {} bytes follow; the file is damaged",
            shown(&format!("{:?}", header.shape)),
            bytes.len()
        ))),
    }
}

/// What an array says beside weights: a few numbers, or texts.
pub(super) fn fact(name: &str, bytes: Cow<'_, [u8]>, most: usize) -> Option<Fact> {
    let (header, start) = header(&bytes).ok()?;
    let width = header.type_descriptor.as_string()?.strip_prefix("<U").map(str::parse::<usize>);
    let Some(width) = width else {
        return array(name, bytes).ok()?.numbers(most).map(Fact::Numbers);
    };
    // Texts are padded with zeros to `width` characters of four bytes.
    let width = width.ok()?.checked_mul(4).filter(|&width| width > 0)?;
    let texts = bytes.get(start..)?.chunks_exact(width).take(MAX_TEXTS).map(|text| {
        let codes = text.chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().expect("four bytes")));
        codes.take_while(|&code| code != 0).map(char::from_u32).collect::<Option<String>>()
    });
    texts.collect::<Option<Vec<String>>>().map(Fact::Texts)
}

/// How whole numbers are stored, if the array holds such.
fn whole(descr: &str) -> Option<Whole> {
    let (width, sign) = match descr {
        "|i1" => (1, Sign::Signed),
        "|u1" | "|b1" => (1, Sign::Unsigned),
        "<i2" => (2, Sign::Signed),
        "<u2" => (2, Sign::Unsigned),
        "<i4" => (4, Sign::Signed),
        "<u4" => (4, Sign::Unsigned),
        "<i8" => (8, Sign::Signed),
        "<u8" => (8, Sign::Unsigned),
        _ => return None,
    };
    Some(Whole { width, sign })
}

/// The parsed header and where data starts. `ndarray-npy` would allocate any header length and recurse as deep as
/// brackets are nested, so both are bounded here first.
fn header(bytes: &[u8]) -> Result<(Header, usize), String> {
    let (length, start) = match *bytes {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => (u32::from_le_bytes([a, b, 0, 0]), 10),
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (u32::from_le_bytes([a, b, c, d]), 12)
        }
        _ => return Err("does not start as NumPy's format does in versions 1, 2 and 3".into()),
    };
    let length = length as usize;
    if length > MAX_HEADER_BYTES {
        return Err(format!("has a header of {length} bytes, above the limit of {MAX_HEADER_BYTES}"));
    }
    let end = start + length;
    let mut head = bytes.get(..end).ok_or("ends inside its header")?;
    if head[start..].iter().filter(|c| b"([{".contains(c)).count() > 2 {
        return Err("holds records or nested values, expected plain numbers".into());
    }
    let header =
        Header::from_reader(&mut head).map_err(|e| format!("has a header that is not read ({e})"))?;
    Ok((header, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 of the format with a header by hand.
    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len() + 1).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), b"\n", data].concat()
    }

    #[test]
    fn hostile_headers_neither_allocate_nor_overflow_the_stack() {
        let of = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let good = npy(&of("(1, 2)"), &[0; 8]);
        assert_eq!(array("w", Cow::Borrowed(&good)).map(|t| t.strides), Ok(vec![2, 1]));
        let huge = [
            "(4611686018427387904, 4)",
            "(0, 4611686018427387904, 4)",
            "(99999999999999999999, 1)",
            "(-1, 1)",
        ];
        let mut files: Vec<Vec<u8>> = huge.iter().map(|shape| npy(&of(shape), &[0; 8])).collect();
        files.extend(["(", "[", "{"].map(|bracket| npy(&bracket.repeat(4000), &[])));
        files.push(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec());
        files.push(npy(&of("(1, 2)"), &[0; 9]));
        files.push(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1), }", &[0; 4]));
        for file in &files {
            assert!(array("w", Cow::Borrowed(file)).is_err(), "{}", String::from_utf8_lossy(file));
        }
        for end in 0..good.len() {
            assert!(array("w", Cow::Borrowed(&good[..end])).is_err(), "cut at {end}");
        }
    }
}
