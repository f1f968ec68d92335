//! What can go wrong between numbers and a page.

use crate::shape::PictureShape;

/// Everything that can stop a picture, a grid or a report from being made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The picture has no pixels, too many, or a number of channels that is neither grey nor RGB.
    #[error(
        "picture shape {got} cannot be drawn: channels must be 1 or 3 and each side between 1 and {max_side}; \
         give inputs that are not pictures without a picture"
    )]
    Shape {
        /// The shape asked for.
        got: PictureShape,
        /// Largest allowed side, in pixels.
        max_side: usize,
    },
    /// The pixels do not fill the declared shape exactly.
    #[error("picture of shape {shape} needs exactly {expected} values, got {got}; check the declared shape")]
    PixelCount {
        /// The declared shape.
        shape: PictureShape,
        /// Values the shape needs.
        expected: usize,
        /// Values found: the true number, or "more".
        got: String,
    },
    /// A pixel is NaN or infinite.
    #[error("value {index} of the picture is {value}; pixels must be finite, so stop the run that made it")]
    NonFinite {
        /// Position in channel, row, column order.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A grid of no cells.
    #[error("a grid needs at least one cell, got none; skip the picture when nothing was reconstructed")]
    EmptyGrid,
    /// Two pictures of one grid have different shapes.
    #[error("cell {cell} holds a picture of shape {got}, but the grid began with {expected}; draw two grids")]
    MixedShapes {
        /// Index of the offending cell.
        cell: usize,
        /// Shape of the first picture.
        expected: PictureShape,
        /// Shape found.
        got: PictureShape,
    },
    /// A parameter is outside its range.
    #[error("{name} must be between {min} and {max}, got {got}")]
    OutOfRange {
        /// Name of the parameter.
        name: &'static str,
        /// Smallest allowed value.
        min: usize,
        /// Largest allowed value.
        max: usize,
        /// The value given.
        got: usize,
    },
    /// The report file was written by another version.
    #[error("report schema must be {expected}, got {got}; render it with the version that wrote it")]
    Schema {
        /// The schema of this version.
        expected: u32,
        /// The schema found in the file.
        got: u32,
    },
    /// The report file is not the JSON this version writes.
    #[error("report JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A document asks for a table of results that does not exist.
    #[error("table must be one of {known}, got {name}; name it in docs/results or correct the marker")]
    UnknownTable {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A marker of a table of results stands where it cannot.
    #[error("line {line}: expected {expected}, got {got}")]
    TableMarker {
        /// Line of the document, from 1.
        line: usize,
        /// What stands there.
        got: String,
        /// What should have stood there or before.
        expected: String,
    },
    /// A row of results lacks a field, or holds what no cell can show.
    #[error("table {table}, row {row}: {field} must be a number, a text, a tally or null, got {got}")]
    TableField {
        /// Name of the table.
        table: String,
        /// Row as shown, from 1.
        row: usize,
        /// Field of the column.
        field: String,
        /// What the row holds there.
        got: String,
    },
    /// The page template failed.
    #[error("report template: {0}")]
    Template(#[from] minijinja::Error),
    /// The PNG encoder failed.
    #[error("PNG encoder: {0}")]
    Png(#[from] png::EncodingError),
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, ReportError>;
