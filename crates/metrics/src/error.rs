//! The one error type of the crate.

use crate::ImageShape;

/// What can go wrong while images are judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// There is nothing to judge, or nothing to judge it with.
    #[error("{what}: shape {rows} x {columns}; at least one row and one column are needed")]
    Empty {
        /// What is empty.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "{what}: row {row}, column {column} is {value}; every value must be finite, drop or mend that row"
    )]
    NonFinite {
        /// What holds the value.
        what: &'static str,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// The value.
        value: f64,
    },
    /// True images are not pixels.
    #[error(
        "{what}: row {row} has the value {value}; pixels must lie in [0, 1], was the mean not restored or were 0..255 \
         bytes passed?"
    )]
    PixelRange {
        /// What holds the value.
        what: &'static str,
        /// Its row.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A parameter is outside its range.
    #[error("{name} must be {allowed}, got {got}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What it may be.
        allowed: String,
        /// What it was.
        got: f64,
    },
    /// An image has too few pixels for what was asked.
    #[error(
        "images of {shape} (channels x height x width) are too small for {what}: both sides need {side} pixels"
    )]
    TooSmall {
        /// What was asked.
        what: String,
        /// The shape of the images.
        shape: ImageShape,
        /// Pixels that each side needs.
        side: usize,
    },
    /// A table cannot be made without what fixes its threshold.
    #[error("the table needs exactly one row of kind {kind}, got {got}")]
    Rows {
        /// The kind of row.
        kind: &'static str,
        /// How many there were.
        got: usize,
    },
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, MetricsError>;
