//! Picture grids, self-contained HTML and JSON reports of a reconstruction.
//!
//! This crate writes down what others measured. It computes no score and depends on no other crate of the
//! workspace: everything arrives in plain structs, and the same [`ReportData`] becomes a page, a Markdown
//! summary or a JSON file.
//!
//! | to get | call |
//! |---|---|
//! | one HTML file with pictures, tables and charts inside | [`render_html`] |
//! | the same in short, for a repository | [`render_markdown`] |
//! | the numbers as data | [`to_json`], [`from_json`] |
//! | pictures side by side as a PNG | [`render_grid`] |
//! | a table in the terminal | [`render_text_table`], [`render_score_table`] |
//! | a page about whose data a network holds | [`render_members`] |
//! | a page of sections with figures and tables | [`render_illustrated`] |
//! | a page about two audits, one beside the other | [`render_compare`] |
//! | what something costs against what it brings, as SVG | [`render_scatter`] |
//! | measured results in a document, from JSON | [`write_results_tables`], [`results_markdown`] |
//!
//! ```
//! use palimpsest_report::*;
//!
//! let shape = PictureShape { channels: 1, height: 2, width: 2 };
//! let answer = Answer::Unjudged {
//!     sure: 1,
//!     candidates: 140,
//!     confidence: ConfidenceKind::Agreement,
//!     bar: 0.8,
//!     expected_precision: None,
//!     null: "random mixtures of the candidates".into(),
//!     null_count: Some(Count { count: 0, of: 1000, interval: None }),
//!     inputs: InputKind::Image,
//! };
//! let mut report = ReportData::new("Audit of a classifier", "a network with 3.1 million parameters", answer);
//! report.candidates.push(CandidateView {
//!     candidate: 17,
//!     picture: Some(Picture::new(shape, [0.0_f32, 0.4, 0.9, 1.0])?),
//!     values: None,
//!     rank: Some(1),
//!     confidence: Some(0.93),
//!     answer: None,
//!     truth: None,
//! });
//! let page = render_html(&report)?;
//! assert!(page.contains("data:image/png;base64,"));
//! # Ok::<(), ReportError>(())
//! ```
//!
//! Three rules hold on every page:
//!
//! * What only a judge with the training data can know stands in a frame of its own and says so.
//! * A number that is absent or not finite is a dash, never a word from the machine.
//! * Text from outside is escaped, nothing is loaded from outside, and no script runs.

mod answer;
mod chart;
mod compare;
mod counts;
mod data;
mod error;
mod font;
mod grid;
mod html;
mod illustrated;
mod json;
mod members;
mod nan;
mod number;
mod picture;
mod protection;
mod results_table;
#[cfg(test)]
mod sample;
mod scatter;
mod shape;
mod table;

pub use answer::answer_sentences;
pub use compare::{ComparePage, CompareRow, Fate, Kept, PictureGroup, render_compare};
pub use data::{
    Answer, AxisScale, CalibrationBin, CandidateView, ClassAnswers, ClassCounts, ConfidenceKind, Convergence,
    Count, Curve, Exposure, ExposureView, InputKind, Judge, LayerCertificate, LayerView, Method, ModelFile,
    PrecisionAt, Protection, ProtectionRow, Ranking, ReportData, RowKind, SCHEMA, ScoreRow, Setting, Sign,
    Stage, TruthMatch,
};
pub use error::{ReportError, Result};
pub use grid::{GridCell, GridParams, MAX_CAPTION, MAX_COLUMNS, MAX_GRID_BYTES, MAX_ZOOM, render_grid};
pub use html::{render_html, render_markdown};
pub use illustrated::{Figure, IllustratedPage, IllustratedSection, PageTable, render_illustrated};
pub use json::{from_json, to_json};
pub use members::{Bar, MemberRow, MembersPage, Roc, render_members};
pub use picture::{MAX_SIDE, Picture};
pub use results_table::{
    Align, Column, ResultsTable, ResultsTables, RowsFrom, Tally, parse_results_table, results_markdown,
    write_results_tables,
};
pub use scatter::{DotShape, Scatter, ScatterDot, ScatterPanel, render_scatter};
pub use shape::PictureShape;
pub use table::{render_score_table, render_text_table};
