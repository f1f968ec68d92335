//! What arrays of examples mean: which of their numbers are pixels, classes and sides.
//!
//! Arrays come in the conventions of many tools. Those that can be told apart without a guess are read, and each reading
//! that is not the plain one is told as a [`Reading`], to be said aloud.

use std::fmt;

use ndarray::{Array2, ArrayD, Axis, Ix2};

use crate::{Dataset, DatasetError, InputShape};

const FORMAT: &str = "npy array";
/// Largest value of images whose pixels can be 0 to 1 or 0 to 16 (of 8x8 digits); larger ones are of 0 to 255.
const MOST_OF_OTHER_SCALES: f32 = 127.0;

/// Something that was read otherwise than it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// Labels -1 and +1 became the classes 0 and 1.
    SignedLabels,
    /// Rows of labels with a single 1 became the number of its column.
    OneHotLabels,
    /// Labels are numbers of any kind and were kept as they are.
    RealLabels,
    /// Pixels 0 to 255 that are not unsigned bytes were divided by 255.
    PixelsOf255,
    /// Inputs were float16.
    HalfPrecision,
    /// Flat rows became images of the declared shape.
    RowsAsImages(InputShape),
    /// Images with the channels last became images of the declared shape, channels first.
    ChannelsLast(InputShape),
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedLabels => {
                f.write_str("labels are -1 and +1: read as classes 0 and 1, so 1/0 is the task with +1 first")
            }
            Self::OneHotLabels => {
                f.write_str("labels are one-hot: the class is the number of the column, from 0")
            }
            Self::RealLabels => f.write_str("labels are real numbers: taken as they are"),
            Self::PixelsOf255 => f.write_str("pixels go up to 255: divided by 255"),
            Self::HalfPrecision => f.write_str("inputs are float16: kept to about three digits"),
            Self::RowsAsImages(shape) => {
                write!(f, "flat rows are read as images of the declared shape {shape}")
            }
            Self::ChannelsLast(shape) => {
                write!(f, "channels are last: reordered to the declared shape {shape}")
            }
        }
    }
}

/// How the values of an image stand in a flat row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlatOrder {
    /// Channel by channel, (channels, height, width).
    #[default]
    ChannelsFirst,
    /// Pixel by pixel, (height, width, channels).
    ChannelsLast,
}

/// What labels are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelKind {
    /// They tell classes, and anything else is refused.
    #[default]
    Classes,
    /// They are numbers to be told: what tells no classes is kept as it is.
    Numbers,
}

/// What is said of arrays that they do not say themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Shape of an image that a flat row is, or that images with the channels last have.
    pub shape: Option<InputShape>,
    /// How the values of such an image stand in a flat row.
    pub flat: FlatOrder,
    /// What labels are for.
    pub labels: LabelKind,
}

/// An array of a file with what its element type says about its numbers.
pub(crate) struct Numbers {
    pub(crate) values: ArrayD<f32>,
    pub(crate) element: Element,
}

/// Element types that are read specially.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    /// Pixels, if in image shape.
    UnsignedByte,
    /// Two-byte floats.
    Half,
    Other,
}

/// A checked data set out of inputs and labels, and what was read otherwise than written.
///
/// # Errors
/// [`DatasetError::Malformed`] for shapes and labels that cannot be understood; those of [`Dataset::new`].
pub(crate) fn from_arrays(
    inputs: Numbers,
    labels: Numbers,
    name: &str,
    declared: Declared,
) -> Result<(Dataset, Vec<Reading>), DatasetError> {
    let mut readings = Vec::new();
    let (flat, shape) = inputs_from(inputs, (declared.shape, declared.flat), &mut readings)?;
    if declared.labels == LabelKind::Numbers
        && let Some(values) = real_numbers(&labels.values)
    {
        readings.push(Reading::RealLabels);
        return Ok((Dataset::of_values(flat, values, shape, name)?, readings));
    }
    let labels = classes(&labels.values, &mut readings)?;
    Ok((Dataset::new(flat, labels, shape, name)?, readings))
}

/// Inputs as rows (n, d) in the units of a network, and what a row is.
///
/// # Errors
/// [`DatasetError::Malformed`] for a shape that cannot be understood or is not the declared one.
pub(crate) fn inputs_from(
    inputs: Numbers,
    declared: (Option<InputShape>, FlatOrder),
    readings: &mut Vec<Reading>,
) -> Result<(Array2<f32>, InputShape), DatasetError> {
    let Numbers { values, element } = inputs;
    if element == Element::Half {
        readings.push(Reading::HalfPrecision);
    }
    let (mut flat, shape) = shaped(values, declared, readings)?;
    if matches!(shape, InputShape::Image { .. }) {
        let of_255 = || {
            let largest = flat.iter().copied().fold(0.0, f32::max);
            largest > MOST_OF_OTHER_SCALES && flat.iter().all(|v| (0.0..=255.0).contains(v))
        };
        if element == Element::UnsignedByte {
            flat.mapv_inplace(|pixel| pixel / 255.0);
        } else if of_255() {
            flat.mapv_inplace(|pixel| pixel / 255.0);
            readings.push(Reading::PixelsOf255);
        }
    }
    Ok((flat, shape))
}

/// Inputs as rows (n, d), and what a row is: as the dimensions say, or as declared.
fn shaped(
    values: ArrayD<f32>,
    declared: (Option<InputShape>, FlatOrder),
    readings: &mut Vec<Reading>,
) -> Result<(Array2<f32>, InputShape), DatasetError> {
    let dimensions = values.shape().to_vec();
    let (n, sides) = match *dimensions {
        [n, ref sides @ ..] if (1..=3).contains(&sides.len()) => (n, sides),
        _ => return malformed(format!("inputs have shape {dimensions:?}, expected 2, 3 or 4 dimensions")),
    };
    let (values, shape) = match declared {
        (Some(shape), flat) => as_declared(values, sides, (shape, flat), readings)?,
        (None, _) => (values, as_written(sides, &dimensions)?),
    };
    let flat = values
        .as_standard_layout()
        .into_owned()
        .into_shape_with_order((n, shape.size()))
        .and_then(|a| a.into_dimensionality::<Ix2>())
        .expect("the shape has as many inputs as a row");
    Ok((flat, shape))
}

/// What the dimensions of an example say by themselves.
fn as_written(sides: &[usize], dimensions: &[usize]) -> Result<InputShape, DatasetError> {
    Ok(match *sides {
        [len] => InputShape::Vector { len },
        [height, width] => InputShape::Image { channels: 1, height, width },
        [channels, height, width] => {
            // The usual mistake would otherwise go unnoticed: same numbers, scrambled pictures.
            if !matches!(channels, 1 | 3) && matches!(width, 1 | 3) {
                return malformed(format!(
                    "inputs are {dimensions:?}, which looks like channels last; transpose to (n, channels, height, \
                     width), or declare the shape",
                ));
            }
            InputShape::Image { channels, height, width }
        }
        _ => unreachable!("one to three sides were checked"),
    })
}

/// Examples brought to a declared shape: the same sides, flat rows of as many values, or channels last.
fn as_declared(
    values: ArrayD<f32>,
    sides: &[usize],
    (shape, flat): (InputShape, FlatOrder),
    readings: &mut Vec<Reading>,
) -> Result<(ArrayD<f32>, InputShape), DatasetError> {
    let wrong = || {
        malformed(format!(
            "an example is {sides:?}, but the declared shape {shape} has {} inputs",
            shape.size()
        ))
    };
    match (shape, sides) {
        (InputShape::Vector { len }, _) if sides.iter().product::<usize>() == len => {}
        (InputShape::Image { channels, height, width }, sides)
            if sides == [channels, height, width] || (channels == 1 && sides == [height, width]) => {}
        (InputShape::Image { channels, height, width }, &[len]) if len == shape.size() => {
            readings.push(Reading::RowsAsImages(shape));
            if flat == FlatOrder::ChannelsLast && channels > 1 {
                readings.push(Reading::ChannelsLast(shape));
                let images = [values.shape()[0], height, width, channels];
                let values = values.as_standard_layout().into_owned().into_shape_with_order(images);
                return Ok((channels_first(values.expect("the length was compared").into_dyn()), shape));
            }
        }
        (InputShape::Image { channels, height, width }, sides) if sides == [height, width, channels] => {
            readings.push(Reading::ChannelsLast(shape));
            return Ok((channels_first(values), shape));
        }
        _ => return wrong(),
    }
    Ok((values, shape))
}

/// Images (n, height, width, channels) as (n, channels, height, width).
fn channels_first(mut values: ArrayD<f32>) -> ArrayD<f32> {
    values.swap_axes(2, 3);
    values.swap_axes(1, 2);
    values
}

/// Class numbers 0..=255 out of (n), (n, 1), or one-hot (n, C) with C from 2.
fn classes(labels: &ArrayD<f32>, readings: &mut Vec<Reading>) -> Result<Vec<u8>, DatasetError> {
    match *labels.shape() {
        [_] | [_, 1] => {
            let signed = labels.iter().all(|v| [-1.0, 1.0].contains(v)) && labels.iter().any(|&v| v < 0.0);
            if signed {
                readings.push(Reading::SignedLabels);
                return Ok(labels.iter().map(|&v| u8::from(v > 0.0)).collect());
            }
            labels.iter().map(|&v| class(v)).collect()
        }
        [_, columns] if columns <= 256 => {
            readings.push(Reading::OneHotLabels);
            labels.axis_iter(Axis(0)).enumerate().map(|(row, of)| one_hot(row, of.iter().copied())).collect()
        }
        ref other => malformed(format!(
            "labels have shape {other:?}, expected (n), (n, 1), or one-hot (n, classes) with at most 256 classes"
        )),
    }
}

/// Labels (n) or (n, 1) of which at least one is no class; none of other labels.
fn real_numbers(labels: &ArrayD<f32>) -> Option<Vec<f32>> {
    let single = matches!(labels.shape(), [_] | [_, 1]);
    let real = single && labels.iter().any(|&value| value.is_finite() && class(value).is_err());
    real.then(|| labels.iter().copied().collect())
}

fn one_hot(row: usize, values: impl Iterator<Item = f32> + Clone) -> Result<u8, DatasetError> {
    let ones = values.clone().filter(|&v| v == 1.0).count();
    let zeros = values.clone().filter(|&v| v == 0.0).count();
    match values.clone().position(|v| v == 1.0) {
        Some(class) if ones == 1 && zeros + 1 == values.clone().count() => {
            Ok(u8::try_from(class).expect("at most 256 columns were checked"))
        }
        _ => malformed(format!(
            "labels have several columns, but row {row} is not one-hot (a single 1 and zeros); save class numbers"
        )),
    }
}

fn class(value: f32) -> Result<u8, DatasetError> {
    if (0.0..=255.0).contains(&value) && value.fract() == 0.0 {
        Ok(value as u8)
    } else {
        malformed(format!("label {value} is not a whole number in 0..=255"))
    }
}

fn malformed<T>(problem: impl Into<String>) -> Result<T, DatasetError> {
    Err(DatasetError::malformed(FORMAT, problem))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array, Array2, Array3, Array4, Dimension, array};
    use proptest::prelude::*;

    use super::*;

    const COLOUR: InputShape = InputShape::Image { channels: 3, height: 2, width: 4 };

    fn numbers<D: Dimension>(values: Array<f32, D>) -> Numbers {
        Numbers { values: values.into_dyn(), element: Element::Other }
    }

    fn read_labels<D: Dimension>(labels: Array<f32, D>) -> Result<(Vec<u8>, Vec<Reading>), String> {
        let inputs = Array2::zeros((labels.shape()[0], 2));
        from_arrays(numbers(inputs), numbers(labels), "x", Declared::default())
            .map(|(set, readings)| (set.labels().to_vec(), readings))
            .map_err(|e| e.to_string())
    }

    fn read_inputs<D: Dimension>(
        inputs: Array<f32, D>,
        declared: Option<InputShape>,
    ) -> Result<(Dataset, Vec<Reading>), String> {
        read_flat(inputs, declared, FlatOrder::default())
    }

    fn read_flat<D: Dimension>(
        inputs: Array<f32, D>,
        declared: Option<InputShape>,
        flat: FlatOrder,
    ) -> Result<(Dataset, Vec<Reading>), String> {
        let labels = Array::zeros(inputs.shape()[0]);
        let declared = Declared { shape: declared, flat, ..Declared::default() };
        from_arrays(numbers(inputs), numbers(labels), "x", declared).map_err(|e| e.to_string())
    }

    #[test]
    fn labels_of_every_convention_are_classes() {
        assert_eq!(read_labels(array![0.0, 1.0, 7.0]).unwrap(), (vec![0, 1, 7], vec![]));
        assert_eq!(
            read_labels(array![-1.0, 1.0, 1.0]).unwrap(),
            (vec![0, 1, 1], vec![Reading::SignedLabels])
        );
        assert_eq!(read_labels(array![[1.0], [-1.0]]).unwrap(), (vec![1, 0], vec![Reading::SignedLabels]));
        let one_hot = array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
        assert_eq!(read_labels(one_hot).unwrap(), (vec![2, 0], vec![Reading::OneHotLabels]));
    }

    #[test]
    fn labels_that_could_mean_something_else_are_refused() {
        for wrong in [[-1.0, 0.0], [-1.0, 2.0], [-1.0, 0.5], [f32::NAN, -1.0]] {
            let message = read_labels(array![wrong[0], wrong[1]]).unwrap_err();
            assert!(message.contains("0..=255"), "{wrong:?}: {message}");
        }
        for wrong in [[0.0, 0.0], [1.0, 1.0], [0.3, 0.7], [1.0, f32::NAN], [2.0, 0.0], [-1.0, 1.0]] {
            let message = read_labels(array![[1.0, 0.0], wrong]).unwrap_err();
            assert!(message.contains("row 1 is not one-hot"), "{wrong:?}: {message}");
        }
        assert!(read_labels(Array3::zeros((2, 1, 2))).unwrap_err().contains("one-hot (n, classes)"));
        assert!(read_labels(Array2::zeros((2, 257))).unwrap_err().contains("at most 256"));
    }

    #[test]
    fn numbers_to_be_told_are_kept_where_they_are_no_classes() {
        let read = |labels: Array2<f32>| {
            let declared = Declared { labels: LabelKind::Numbers, ..Declared::default() };
            let inputs = Array2::zeros((labels.nrows(), 2));
            from_arrays(numbers(inputs), numbers(labels), "x", declared).map_err(|e| e.to_string())
        };
        let (set, readings) = read(array![[0.25], [-3.0], [700.0]]).unwrap();
        assert_eq!((set.values(), readings), (Some(&[0.25, -3.0, 700.0][..]), vec![Reading::RealLabels]));
        // Signs are numbers, too.
        assert_eq!(read(array![[1.0], [-1.0]]).unwrap().0.values(), Some(&[1.0, -1.0][..]));
        let (set, readings) = read(array![[3.0], [0.0]]).unwrap();
        assert_eq!((set.values(), set.labels(), readings), (None, &[3, 0][..], vec![]));
        assert!(read(array![[f32::NAN], [0.5]]).unwrap_err().contains("label 0 is NaN"));
        assert!(read(array![[0.5, 0.25]]).unwrap_err().contains("one-hot"));
    }

    #[test]
    fn pixels_of_255_become_those_of_1_and_other_scales_are_left_or_refused() {
        let image = |largest: f32| {
            Array3::from_shape_fn((2, 2, 2), |(i, j, k)| if (i, j, k) == (1, 1, 1) { largest } else { 51.0 })
        };
        let (set, readings) = read_inputs(image(255.0), None).unwrap();
        assert_eq!((set.inputs()[[0, 0]], set.inputs()[[1, 3]]), (0.2, 1.0));
        assert_eq!(readings, [Reading::PixelsOf255]);
        for wrong in [100.0, 256.0, -1.0, f32::NAN] {
            assert!(read_inputs(image(wrong), None).is_err(), "{wrong}");
        }
        // A table keeps its units.
        let table = array![[200.0, 3.0]];
        assert_eq!(read_inputs(table.clone(), None).unwrap().0.inputs(), table);
    }

    #[test]
    fn rows_become_images_of_the_declared_shape() {
        let rows = Array2::from_shape_fn((2, 24), |(i, j)| (24 * i + j) as f32 / 48.0);
        let (set, readings) = read_inputs(rows.clone(), Some(COLOUR)).unwrap();
        assert_eq!((set.shape(), set.inputs()), (COLOUR, rows.view()));
        assert_eq!(readings, [Reading::RowsAsImages(COLOUR)]);
        let (set, readings) = read_inputs(&rows * 255.0, Some(COLOUR)).unwrap();
        assert!((&set.inputs() - &rows).iter().all(|e| e.abs() < 1e-6));
        assert_eq!(readings, [Reading::RowsAsImages(COLOUR), Reading::PixelsOf255]);
        let message =
            read_inputs(rows, Some(InputShape::Image { channels: 1, height: 5, width: 5 })).unwrap_err();
        assert!(message.contains("[24]") && message.contains("1x5x5 has 25 inputs"), "{message}");
    }

    #[test]
    fn channels_last_are_brought_to_the_declared_order() {
        let first =
            Array4::from_shape_fn((2, 3, 2, 4), |(n, c, h, w)| (n * 24 + c * 8 + h * 4 + w) as f32 / 48.0);
        let last = first.clone().permuted_axes([0, 2, 3, 1]);
        let (plain, none) = read_inputs(first, Some(COLOUR)).unwrap();
        let (set, readings) = read_inputs(last, Some(COLOUR)).unwrap();
        assert_eq!((&set, none, readings), (&plain, vec![], vec![Reading::ChannelsLast(COLOUR)]));
        // Flat rows of such pictures do not tell their order: it is declared, too.
        let last =
            Array4::from_shape_fn((2, 2, 4, 3), |(n, h, w, c)| (n * 24 + c * 8 + h * 4 + w) as f32 / 48.0);
        let rows = last.into_shape_with_order((2, 24)).unwrap();
        let (flat, readings) = read_flat(rows, Some(COLOUR), FlatOrder::ChannelsLast).unwrap();
        assert_eq!((flat, readings.len()), (plain, 2));
    }

    #[test]
    fn a_declared_vector_flattens_pictures() {
        let (set, readings) =
            read_inputs(Array3::from_elem((1, 2, 3), 0.5), Some(InputShape::Vector { len: 6 })).unwrap();
        assert_eq!((set.shape().to_string(), readings), ("6".into(), vec![]));
    }

    proptest! {
        #[test]
        fn a_one_hot_row_is_the_number_of_its_column(classes in prop::collection::vec(0..9_u8, 1..20)) {
            let one_hot = Array2::from_shape_fn((classes.len(), 9), |(i, j)| f32::from(u8::from(usize::from(classes[i]) == j)));
            prop_assert_eq!(read_labels(one_hot).unwrap().0, classes);
        }

        #[test]
        fn no_numbers_and_no_shape_panic(
            sides in prop::collection::vec(0..4_usize, 0..6), value in prop::sample::select(vec![0.0, 1.0, -1.0, 200.0, f32::NAN]),
            declared in prop::option::of((1..4_usize, 1..4_usize, 1..4_usize)),
        ) {
            let inputs = ArrayD::from_elem(sides.clone(), value);
            let labels = ArrayD::from_elem(sides, value);
            let shape = declared.map(|(channels, height, width)| InputShape::Image { channels, height, width });
            let wrap = |values| Numbers { values, element: Element::Other };
            let declared = Declared { shape, flat: FlatOrder::ChannelsLast, labels: LabelKind::Numbers };
            let _ = from_arrays(wrap(inputs), wrap(labels), "x", declared);
        }
    }
}
