//! Examples in memory: inputs, class labels or values, and the shape of one example.

use std::fmt;

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use crate::DatasetError;

/// What the d inputs of one example mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputShape {
    /// An image, stored channel by channel, row by row, with values in [0, 1].
    Image {
        /// Colour planes: 1 for grey, 3 for red, green, blue.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Pixels in a row.
        width: usize,
    },
    /// Plain numbers without neighbourhood.
    Vector {
        /// How many numbers.
        len: usize,
    },
}

impl InputShape {
    /// Number of inputs of one example; saturates instead of overflowing.
    pub fn size(self) -> usize {
        match self {
            InputShape::Image { channels, height, width } => {
                channels.saturating_mul(height).saturating_mul(width)
            }
            InputShape::Vector { len } => len,
        }
    }
}

/// `1x28x28` for an image (channels, height, width), `30` for a vector.
impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputShape::Image { channels, height, width } => write!(f, "{channels}x{height}x{width}"),
            InputShape::Vector { len } => write!(f, "{len}"),
        }
    }
}

/// Examples with class labels or values; every instance has been checked by [`Dataset::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    inputs: Array2<f32>,
    labels: Vec<u8>,
    values: Option<Vec<f32>>,
    shape: InputShape,
    name: String,
}

impl Dataset {
    /// Checks and keeps inputs (n, d) and n class labels; n and d are at least 1.
    ///
    /// # Errors
    /// [`DatasetError::Invalid`] when there is no example, when inputs, labels and shape do not fit together, when
    /// an input is not finite, or when an image has a value outside [0, 1].
    ///
    /// ```
    /// use ndarray::array;
    /// use palimpsest_datasets::{Dataset, InputShape};
    ///
    /// let set = Dataset::new(array![[0.0, 0.5], [1.0, 0.25]], vec![3, 8], InputShape::Vector { len: 2 }, "two")?;
    /// assert_eq!(set.count(), 2);
    /// # Ok::<(), palimpsest_datasets::DatasetError>(())
    /// ```
    pub fn new(
        inputs: Array2<f32>,
        labels: Vec<u8>,
        shape: InputShape,
        name: impl Into<String>,
    ) -> Result<Self, DatasetError> {
        let name = name.into();
        if let Err(problem) = check(inputs.view(), &labels, shape) {
            return Err(DatasetError::Invalid { name, problem });
        }
        // Rows are handed out as slices and files are compared byte for byte: one layout everywhere.
        let inputs =
            if inputs.is_standard_layout() { inputs } else { inputs.as_standard_layout().into_owned() };
        Ok(Dataset { inputs, labels, values: None, shape, name })
    }

    /// Inputs (n, d) with a value each instead of a class; n and d are at least 1.
    ///
    /// # Errors
    /// Those of [`Dataset::new`], and [`DatasetError::Invalid`] when a value is not finite.
    ///
    /// ```
    /// use ndarray::array;
    /// use palimpsest_datasets::{Dataset, InputShape};
    ///
    /// let shape = InputShape::Vector { len: 2 };
    /// let set = Dataset::of_values(array![[0.0, 0.5], [1.0, 0.25]], vec![-0.3, 12.5], shape, "two")?;
    /// assert_eq!(set.values(), Some(&[-0.3, 12.5][..]));
    /// # Ok::<(), palimpsest_datasets::DatasetError>(())
    /// ```
    pub fn of_values(
        inputs: Array2<f32>,
        values: Vec<f32>,
        shape: InputShape,
        name: impl Into<String>,
    ) -> Result<Self, DatasetError> {
        let name = name.into();
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            let problem = format!("label {row} is {}; it must be finite", values[row]);
            return Err(DatasetError::Invalid { name, problem });
        }
        let plain = Dataset::new(inputs, vec![0; values.len()], shape, name)?;
        Ok(Dataset { values: Some(values), ..plain })
    }

    /// Pixels 0..=255 (n, d) become inputs 0..=1; the checks are those of [`Dataset::new`].
    pub(crate) fn from_pixels(
        pixels: ArrayView2<'_, u8>,
        labels: Vec<u8>,
        shape: InputShape,
        name: &str,
    ) -> Result<Self, DatasetError> {
        Dataset::new(pixels.mapv(|p| f32::from(p) / 255.0), labels, shape, name)
    }

    /// Inputs (n, d) in row-major order.
    pub fn inputs(&self) -> ArrayView2<'_, f32> {
        self.inputs.view()
    }

    /// Class of each example, as the file has it; 0 for all that have values instead.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Value of each example, where the file has values instead of classes.
    pub fn values(&self) -> Option<&[f32]> {
        self.values.as_deref()
    }

    /// Shape of one example.
    pub fn shape(&self) -> InputShape {
        self.shape
    }

    /// Name for tables and messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same examples under another name.
    pub(crate) fn renamed(self, name: String) -> Dataset {
        Dataset { name, ..self }
    }

    /// Number of examples n.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The examples of the given rows, in the given order.
    ///
    /// # Errors
    /// [`DatasetError::Invalid`] when `rows` is empty.
    ///
    /// # Panics
    /// When a row is not below [`count`](Dataset::count).
    #[track_caller]
    pub fn select(&self, rows: &[usize]) -> Result<Dataset, DatasetError> {
        let n = self.count();
        assert!(rows.iter().all(|&row| row < n), "select: rows must be below {n}, got {rows:?}");
        let labels = rows.iter().map(|&row| self.labels[row]).collect();
        let values = self.values.as_ref().map(|values| rows.iter().map(|&row| values[row]).collect());
        let plain = Dataset::new(self.inputs.select(Axis(0), rows), labels, self.shape, self.name.clone())?;
        Ok(Dataset { values, ..plain })
    }

    /// All examples of all parts, in order.
    ///
    /// # Errors
    /// [`DatasetError::Invalid`] when there is no part, or the parts differ in shape or in whether they have classes or values.
    pub fn concat(parts: &[Dataset], name: impl Into<String>) -> Result<Dataset, DatasetError> {
        let name = name.into();
        let Some(first) = parts.first() else {
            return Err(DatasetError::Invalid {
                name,
                problem: "no parts to join; give at least one".into(),
            });
        };
        if let Some(other) = parts.iter().find(|part| part.shape != first.shape) {
            let problem = format!("cannot join examples of shape {} and {}", first.shape, other.shape);
            return Err(DatasetError::Invalid { name, problem });
        }
        if parts.iter().any(|part| part.values.is_some() != first.values.is_some()) {
            let problem = "cannot join examples with classes and examples with values".into();
            return Err(DatasetError::Invalid { name, problem });
        }
        let views: Vec<_> = parts.iter().map(Dataset::inputs).collect();
        let inputs = concatenate(Axis(0), &views).expect("parts of one shape have equally long rows");
        let labels = parts.iter().flat_map(|part| part.labels.iter().copied()).collect();
        let values = parts.iter().filter_map(Dataset::values).flatten().copied().collect();
        let plain = Dataset::new(inputs, labels, first.shape, name)?;
        Ok(Dataset { values: first.values.as_ref().map(|_| values), ..plain })
    }
}

fn check(inputs: ArrayView2<'_, f32>, labels: &[u8], shape: InputShape) -> Result<(), String> {
    let (n, d) = inputs.dim();
    if n == 0 || d == 0 {
        return Err(format!("inputs are ({n}, {d}); at least one example of at least one input is needed"));
    }
    if labels.len() != n {
        return Err(format!("{n} inputs but {} labels; they must be equally many", labels.len()));
    }
    if shape.size() != d {
        return Err(format!("inputs are ({n}, {d}) but the shape {shape} has {} inputs", shape.size()));
    }
    let (lowest, highest, range) = match shape {
        InputShape::Image { .. } => (0.0, 1.0, "in [0, 1], as of an image: scale pixels before saving"),
        InputShape::Vector { .. } => (f32::MIN, f32::MAX, "finite"),
    };
    // NaN is in no range.
    match inputs.indexed_iter().find(|(_, v)| !(lowest..=highest).contains(*v)) {
        Some(((row, column), v)) => Err(format!("input ({row}, {column}) is {v}; it must be {range}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    const PAIR: InputShape = InputShape::Vector { len: 2 };
    const IMAGE: InputShape = InputShape::Image { channels: 1, height: 1, width: 2 };

    fn message(result: Result<Dataset, DatasetError>) -> String {
        result.expect_err("an error").to_string()
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_facts() {
        let x = array![[0.0, 1.0], [2.0, 3.0]];
        assert!(message(Dataset::new(x.clone(), vec![1], PAIR, "a")).contains("2 inputs but 1 labels"));
        let three = InputShape::Vector { len: 3 };
        assert!(message(Dataset::new(x.clone(), vec![1, 2], three, "a")).contains("(2, 2)"));
        assert!(message(Dataset::new(x, vec![1, 2], IMAGE, "a")).contains("input (1, 0) is 2"));
        assert!(message(Dataset::new(Array2::zeros((0, 2)), vec![], PAIR, "a")).contains("(0, 2)"));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(message(Dataset::new(array![[0.0, bad]], vec![1], PAIR, "a")).contains("finite"));
        }
        let huge = InputShape::Image { channels: usize::MAX, height: 2, width: 2 };
        assert!(Dataset::new(array![[0.0, 0.0]], vec![1], huge, "a").is_err());
    }

    #[test]
    fn column_major_inputs_become_row_major() {
        let x = array![[0.0, 1.0], [2.0, 3.0]].reversed_axes();
        let set = Dataset::new(x, vec![1, 2], PAIR, "a").unwrap();
        assert_eq!(set.inputs().as_slice().unwrap(), [0.0, 2.0, 1.0, 3.0]);
    }

    #[test]
    fn selecting_and_joining_keep_rows_with_their_labels() {
        let set = Dataset::new(array![[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], vec![7, 8, 9], PAIR, "a").unwrap();
        let swapped = set.select(&[2, 0]).unwrap();
        assert_eq!(swapped.inputs(), array![[4.0, 5.0], [0.0, 1.0]]);
        assert_eq!(swapped.labels(), [9, 7]);
        let joined = Dataset::concat(&[swapped, set.select(&[1]).unwrap()], "b").unwrap();
        assert_eq!(joined.inputs(), array![[4.0, 5.0], [0.0, 1.0], [2.0, 3.0]]);
        assert_eq!((joined.labels(), joined.name()), (&[9, 7, 8][..], "b"));
        assert!(set.select(&[]).is_err());
        assert!(Dataset::concat(&[], "none").is_err());
    }

    #[test]
    fn values_go_with_their_rows_and_do_not_mix_with_classes() {
        let set = Dataset::of_values(array![[0.0, 1.0], [2.0, 3.0]], vec![0.5, -7.0], PAIR, "a").unwrap();
        let swapped = set.select(&[1, 0]).unwrap();
        assert_eq!((swapped.values(), swapped.labels()), (Some(&[-7.0, 0.5][..]), &[0, 0][..]));
        let joined = Dataset::concat(&[set.clone(), swapped], "b").unwrap();
        assert_eq!(joined.values(), Some(&[0.5, -7.0, -7.0, 0.5][..]));
        let classes = Dataset::new(array![[0.0, 1.0]], vec![7], PAIR, "c").unwrap();
        assert_eq!(classes.values(), None);
        assert!(message(Dataset::concat(&[set, classes], "d")).contains("with values"));
        let infinite = Dataset::of_values(array![[0.0, 1.0]], vec![f32::INFINITY], PAIR, "a");
        assert!(message(infinite).contains("label 0 is inf"));
    }

    #[test]
    #[should_panic(expected = "rows must be below 1")]
    fn selecting_a_row_that_is_not_there_panics() {
        let _ = Dataset::new(array![[0.0, 1.0]], vec![7], PAIR, "a").unwrap().select(&[1]);
    }
}
