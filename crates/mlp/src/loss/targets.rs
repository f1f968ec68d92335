//! What the outputs of a network should be.

use ndarray::{Array2, ArrayView1};
use palimpsest_numerics::Real;

/// The target of each of n examples.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Labels -1 or +1, (n), for one output.
    Signs(Vec<i8>),
    /// Class numbers below the number of outputs, (n).
    Classes(Vec<usize>),
    /// The outputs themselves, (n, C), finite.
    Values(Array2<f64>),
}

/// The target of one example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target<'a> {
    /// -1 or +1.
    Sign(i8),
    /// A class number.
    Class(usize),
    /// One number an output, (C).
    Values(ArrayView1<'a, f64>),
}

impl Targets {
    /// Number of examples, n.
    pub fn len(&self) -> usize {
        match self {
            Self::Signs(signs) => signs.len(),
            Self::Classes(classes) => classes.len(),
            Self::Values(values) => values.nrows(),
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target of example `index`.
    ///
    /// # Panics
    /// When there are not so many.
    #[track_caller]
    pub fn at(&self, index: usize) -> Target<'_> {
        match self {
            Self::Signs(signs) => Target::Sign(signs[index]),
            Self::Classes(classes) => Target::Class(classes[index]),
            Self::Values(values) => Target::Values(values.row(index)),
        }
    }

    /// The targets in order.
    pub fn iter(&self) -> impl Iterator<Item = Target<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Signs(_) => "signs",
            Self::Classes(_) => "classes",
            Self::Values(_) => "values",
        }
    }

    /// Asserts that these are targets for outputs (n, C).
    #[track_caller]
    pub(crate) fn expect_shape(&self, (n, outputs): (usize, usize)) {
        assert_eq!(self.len(), n, "targets: {} of them for {n} examples", self.len());
        match self {
            Self::Signs(signs) => {
                assert_eq!(outputs, 1, "targets: signs need one output");
                assert!(signs.iter().all(|s| s.abs() == 1), "targets: labels must be -1 or +1");
            }
            Self::Classes(classes) => {
                let largest = classes.iter().copied().max().unwrap_or(0);
                assert!(largest < outputs, "targets: class {largest} with {outputs} outputs");
            }
            Self::Values(values) => {
                assert_eq!(values.ncols(), outputs, "targets: values of another number of outputs");
                assert!(values.iter().all(|v| v.is_finite()), "targets: a value is NaN or infinite");
            }
        }
    }
}

impl Target<'_> {
    /// What output number `output` should be; a class stands for a row of 0 with a single 1.
    pub(super) fn value(self, output: usize) -> f64 {
        match self {
            Self::Sign(sign) => f64::from(sign),
            Self::Class(class) => f64::from(u8::from(class == output)),
            Self::Values(values) => values[output],
        }
    }

    /// Whether the `outputs` (C) are on the wrong side or tell another class; a tie is wrong, a value never.
    pub fn is_missed<T: Real>(self, outputs: ArrayView1<'_, T>) -> bool {
        match self {
            Self::Sign(sign) => T::of(f64::from(sign)) * outputs[0] <= T::zero(),
            Self::Class(class) => {
                let own = outputs[class];
                outputs.iter().enumerate().any(|(c, &other)| c != class && other >= own)
            }
            Self::Values(_) => false,
        }
    }
}
