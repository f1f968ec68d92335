//! A tensor as a reader finds it: a view of stored bytes, decoded only once it is known to belong to the network.

use std::borrow::Cow;
use std::fmt;

use half::{bf16, f16};

use super::naming::shown;

/// Precision of stored numbers, coarsest first; all of them widen to `f64` exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// 8 significant bits, 2 bytes.
    Bfloat16,
    /// 11 significant bits, 2 bytes.
    Float16,
    /// 24 significant bits, 4 bytes.
    Float32,
    /// 53 significant bits, 8 bytes.
    Float64,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bfloat16 => "bfloat16",
            Self::Float16 => "float16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        })
    }
}

impl Dtype {
    /// Bytes of a number.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Bfloat16 | Self::Float16 => 2,
            Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }
}

/// A strided view of stored numbers.
pub(super) struct Tensor<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) shape: Vec<usize>,
    /// Distance between neighbours along each axis, in numbers; as many as `shape`.
    pub(super) strides: Vec<usize>,
    /// Place of the first number.
    pub(super) offset: usize,
    /// How numbers are stored, or what the file calls a kind that is not read.
    pub(super) dtype: Result<Dtype, String>,
    /// How whole numbers are stored, where they are no floats.
    pub(super) whole: Option<Whole>,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Whole numbers: counters and indices, never weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Bytes of a number, 1, 2, 4 or 8.
    pub(super) width: usize,
    pub(super) sign: Sign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Signed,
    Unsigned,
}

impl Tensor<'_> {
    /// All numbers in row-major order, for one or two axes.
    ///
    /// Never asks for more memory than eight bytes for each number that is really stored.
    pub(super) fn values(&self) -> Result<(Dtype, Vec<f64>), String> {
        let name = shown(&self.name);
        let dtype = self.dtype.as_ref().copied().map_err(|other| {
            format!("tensor `{name}` is stored as {other}; bfloat16, float16, float32 and float64 are read")
        })?;
        let ((rows, row_stride), (columns, column_stride)) = match (&self.shape[..], &self.strides[..]) {
            ([], []) => ((1, 0), (1, 0)),
            (&[n], &[stride]) => ((1, 0), (n, stride)),
            (&[rows, columns], &[row_stride, column_stride]) => {
                ((rows, row_stride), (columns, column_stride))
            }
            _ => return Err(format!("tensor `{name}` of shape {:?} has no strides that fit", self.shape)),
        };
        let stored = self.bytes.len() / dtype.width();
        let wanted = rows.checked_mul(columns);
        if wanted == Some(0) {
            return Ok((dtype, Vec::new()));
        }
        // Rows and columns are at least 1 here; one past the last place, if that can be counted.
        let end = (rows - 1)
            .checked_mul(row_stride)
            .and_then(|to_row| to_row.checked_add((columns - 1).checked_mul(column_stride)?))
            .and_then(|to_last| to_last.checked_add(self.offset)?.checked_add(1));
        if wanted.is_none_or(|wanted| wanted > stored) || end.is_none_or(|end| end > stored) {
            return Err(format!(
                "tensor `{name}` of shape {:?}, strides {:?} and offset {} reaches outside the {stored} numbers stored \
                 for it",
                self.shape, self.strides, self.offset
            ));
        }
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            let start = self.offset + row * row_stride;
            values.extend(
                (0..columns).map(|column| number(dtype, &self.bytes, start + column * column_stride)),
            );
        }
        Ok((dtype, values))
    }
}

impl Tensor<'_> {
    /// Whether it holds no floats.
    pub(super) fn holds_whole_numbers(&self) -> bool {
        self.whole.is_some()
    }

    /// All numbers of a row or a single one, whatever their kind, if there are at most `most`.
    pub(super) fn numbers(&self, most: usize) -> Option<Vec<f64>> {
        let long = |&(size, _): &(usize, usize)| size != 1;
        let mut axes = self.shape.iter().copied().zip(self.strides.iter().copied()).filter(long);
        let (count, stride) = axes.next().unwrap_or((1, 0));
        if axes.next().is_some() || count > most {
            return None;
        }
        let width =
            self.whole.map_or_else(|| self.dtype.as_ref().map_or(0, |d| d.width()), |whole| whole.width);
        let stored = self.bytes.len().checked_div(width)?;
        let places =
            (0..count).map(|i| i.checked_mul(stride)?.checked_add(self.offset).filter(|&at| at < stored));
        places.map(|place| Some(self.number(place?))).collect()
    }

    /// The number at a place that is stored.
    fn number(&self, place: usize) -> f64 {
        let Some(whole) = self.whole else {
            return number(self.dtype.clone().unwrap_or(Dtype::Float32), &self.bytes, place);
        };
        let mut wide = [0; 8];
        wide[..whole.width].copy_from_slice(&self.bytes[place * whole.width..][..whole.width]);
        let unused = 64 - 8 * whole.width as u32;
        match whole.sign {
            Sign::Unsigned => u64::from_le_bytes(wide) as f64,
            Sign::Signed => ((i64::from_le_bytes(wide) << unused) >> unused) as f64,
        }
    }
}

/// Row-major strides of a shape; `None` when it has more numbers than can be counted.
pub(super) fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut step = 1_usize;
    let mut strides = vec![0; shape.len()];
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.checked_mul(size)?;
    }
    Some(strides)
}

/// Number `index` of little-endian `bytes`, which hold it.
fn number(dtype: Dtype, bytes: &[u8], index: usize) -> f64 {
    fn at<const W: usize>(bytes: &[u8], index: usize) -> [u8; W] {
        bytes[index * W..][..W].try_into().expect("W bytes")
    }
    match dtype {
        Dtype::Bfloat16 => bf16::from_le_bytes(at(bytes, index)).to_f64(),
        Dtype::Float16 => f16::from_le_bytes(at(bytes, index)).to_f64(),
        Dtype::Float32 => f64::from(f32::from_le_bytes(at(bytes, index))),
        Dtype::Float64 => f64::from_le_bytes(at(bytes, index)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(shape: &[usize], strides: &[usize], offset: usize, stored: u8) -> Tensor<'static> {
        let bytes = (0..stored).flat_map(|v| f32::from(v).to_le_bytes()).collect();
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Tensor {
            name: "t".into(),
            shape,
            strides,
            offset,
            dtype: Ok(Dtype::Float32),
            whole: None,
            bytes: Cow::Owned(bytes),
        }
    }

    #[test]
    fn counters_are_read_with_their_sign() {
        let counter = |width, sign, bytes: &'static [u8]| Tensor {
            dtype: Err("whole".into()),
            whole: Some(Whole { width, sign }),
            bytes: Cow::Borrowed(bytes),
            ..view(&[1, 1], &[1, 1], 0, 0)
        };
        assert_eq!(counter(1, Sign::Signed, &[0xff]).numbers(9), Some(vec![-1.0]));
        assert_eq!(counter(1, Sign::Unsigned, &[0xff]).numbers(9), Some(vec![255.0]));
        assert_eq!(counter(8, Sign::Signed, &[5, 0, 0, 0, 0, 0, 0, 0]).numbers(9), Some(vec![5.0]));
        assert_eq!(counter(8, Sign::Signed, &[5]).numbers(9), None);
        assert_eq!(view(&[1, 3], &[9, 2], 1, 6).numbers(3), Some(vec![1.0, 3.0, 5.0]));
        assert_eq!(view(&[1, 3], &[9, 2], 2, 6).numbers(3), None);
        assert_eq!(view(&[3, 2], &[2, 1], 0, 6).numbers(9), None, "a matrix is no list");
        assert_eq!(view(&[4], &[1], 0, 6).numbers(3), None, "too many");
    }

    #[test]
    fn views_that_reach_outside_are_refused_without_overflow() {
        assert_eq!(view(&[2, 3], &[3, 1], 0, 6).values().unwrap().1, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(view(&[2, 3], &[1, 2], 1, 7).values().unwrap().1, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        assert_eq!(view(&[0, usize::MAX], &[usize::MAX, 1], 9, 6).values().unwrap().1, [0.0; 0]);
        let max = usize::MAX;
        for (shape, strides, offset) in [
            ([2, 3], [3, 1], 1),
            ([2, 3], [3, max], 0),
            ([2, 3], [max, 1], 0),
            ([2, 3], [3, 1], max),
            ([max, max], [0, 0], 0),
            // An expanded tensor would turn one number into many.
            ([max, 1], [0, 0], 0),
            ([7, 1], [0, 0], 0),
        ] {
            let error = view(&shape, &strides, offset, 6).values().unwrap_err();
            assert!(error.contains("outside the 6 numbers"), "{error}");
        }
        assert!(view(&[1, 1, 1], &[1, 1, 1], 0, 6).values().is_err());
        assert!(view(&[2, 3], &[1], 0, 6).values().is_err());
    }

    proptest! {
        #[test]
        fn a_view_is_its_definition(
            shape in prop::array::uniform2(0..5_usize),
            strides in prop::array::uniform2(0..9_usize),
            offset in 0..9_usize,
            stored in 0..60_u8,
        ) {
            let tensor = view(&shape, &strides, offset, stored);
            let places: Vec<usize> = (0..shape[0])
                .flat_map(|i| (0..shape[1]).map(move |j| offset + i * strides[0] + j * strides[1]))
                .collect();
            match tensor.values() {
                Ok((_, values)) => prop_assert_eq!(values, places.iter().map(|&p| p as f64).collect::<Vec<_>>()),
                Err(_) => prop_assert!(
                    places.len() > usize::from(stored) || places.iter().any(|&p| p >= usize::from(stored))
                ),
            }
        }
    }
}
