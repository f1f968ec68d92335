//! Pictures side by side in one PNG: the reconstruction above the truth, the score below.

use crate::error::{ReportError, Result};
use crate::font;
use crate::picture::{Picture, encode_png};
use crate::shape::PictureShape;

/// Most columns of a grid.
pub const MAX_COLUMNS: usize = 1000;
/// Largest zoom.
pub const MAX_ZOOM: usize = 32;
/// Longest caption, in characters.
pub const MAX_CAPTION: usize = 40;
/// Most bytes of an uncompressed grid.
pub const MAX_GRID_BYTES: usize = 1 << 28;

/// One cell: a picture, an optional one below it, and a line of text.
#[derive(Debug, Clone)]
pub struct GridCell {
    /// The upper picture: the reconstruction.
    pub top: Picture,
    /// The lower picture: the truth, where a judge knows it.
    pub bottom: Option<Picture>,
    /// The score, at most [`MAX_CAPTION`] characters; may be empty.
    pub caption: String,
}

/// How the cells are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridParams {
    /// Cells in a row, 1 to [`MAX_COLUMNS`].
    pub columns: usize,
    /// Screen pixels per picture pixel, 1 to [`MAX_ZOOM`]; nearest neighbour.
    pub zoom: usize,
}

/// Draws cells in reading order on white and returns the bytes of a PNG file, grey or RGB as the pictures are.
///
/// ```
/// use palimpsest_report::{GridCell, GridParams, Picture, PictureShape, render_grid};
/// let shape = PictureShape { channels: 1, height: 2, width: 2 };
/// let top = Picture::new(shape, [0.0_f32, 1.0, 1.0, 0.0])?;
/// let cell = GridCell { bottom: Some(top.clone()), top, caption: "0.81".into() };
/// let png = render_grid(&[cell.clone(), cell], &GridParams { columns: 2, zoom: 8 })?;
/// assert_eq!(&png[1..4], b"PNG");
/// # Ok::<(), palimpsest_report::ReportError>(())
/// ```
///
/// # Errors
/// [`ReportError::EmptyGrid`], [`ReportError::MixedShapes`], or [`ReportError::OutOfRange`] for a parameter,
/// a caption or a whole picture that is too large.
pub fn render_grid(cells: &[GridCell], params: &GridParams) -> Result<Vec<u8>> {
    let layout = Layout::new(cells, params)?;
    let mut canvas = Canvas::white(layout.shape)?;
    for (index, cell) in cells.iter().enumerate() {
        let left = GUTTER + (index % layout.columns) * (layout.cell_width + GUTTER);
        let top = GUTTER + (index / layout.columns) * (layout.cell_height + GUTTER);
        let inset = left + (layout.cell_width - layout.picture_width) / 2;
        canvas.picture(&cell.top, top, inset, params.zoom);
        if let Some(bottom) = &cell.bottom {
            canvas.picture(bottom, top + layout.bottom_offset, inset, params.zoom);
        }
        let text_width = font::text_width(&cell.caption) * layout.text_scale;
        let centred = left + (layout.cell_width - text_width) / 2;
        canvas.text(&cell.caption, top + layout.caption_offset, centred, layout.text_scale);
    }
    encode_png(canvas.shape, &canvas.bytes)
}

/// White pixels around every cell.
const GUTTER: usize = 6;
/// White pixels between the parts of a cell.
const GAP: usize = 2;
/// Largest screen pixels per dot of the font.
const MAX_TEXT_SCALE: usize = 3;

/// Where things go, in screen pixels; offsets are from the top of a cell.
struct Layout {
    columns: usize,
    picture_width: usize,
    cell_width: usize,
    cell_height: usize,
    bottom_offset: usize,
    caption_offset: usize,
    text_scale: usize,
    shape: PictureShape,
}

impl Layout {
    fn new(cells: &[GridCell], params: &GridParams) -> Result<Self> {
        check("columns", params.columns, 1, MAX_COLUMNS)?;
        check("zoom", params.zoom, 1, MAX_ZOOM)?;
        let shape = cells.first().ok_or(ReportError::EmptyGrid)?.top.shape();
        for (index, cell) in cells.iter().enumerate() {
            check("caption characters", cell.caption.chars().count(), 0, MAX_CAPTION)?;
            for picture in std::iter::once(&cell.top).chain(&cell.bottom) {
                if picture.shape() != shape {
                    return Err(ReportError::MixedShapes {
                        cell: index,
                        expected: shape,
                        got: picture.shape(),
                    });
                }
            }
        }
        let (picture_width, picture_height) = (shape.width * params.zoom, shape.height * params.zoom);
        let text = cells.iter().map(|cell| font::text_width(&cell.caption)).max().unwrap_or(0);
        let text_scale = (1..=MAX_TEXT_SCALE).rev().find(|scale| text * scale <= picture_width).unwrap_or(1);
        let bottom_offset = picture_height + GAP;
        let pictures = if cells.iter().any(|c| c.bottom.is_some()) {
            bottom_offset + picture_height
        } else {
            picture_height
        };
        let caption_offset = pictures + 2 * GAP;
        let cell_height = if text == 0 { pictures } else { caption_offset + font::GLYPH_HEIGHT * text_scale };
        let cell_width = picture_width.max(text * text_scale);
        let columns = params.columns.min(cells.len());
        let width = GUTTER + columns * (cell_width + GUTTER);
        let height = GUTTER + cells.len().div_ceil(columns) * (cell_height + GUTTER);
        let shape = PictureShape { channels: shape.channels, height, width };
        Ok(Self {
            columns,
            picture_width,
            cell_width,
            cell_height,
            bottom_offset,
            caption_offset,
            text_scale,
            shape,
        })
    }
}

fn check(name: &'static str, got: usize, min: usize, max: usize) -> Result<()> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(ReportError::OutOfRange { name, min, max, got }) }
}

/// Interleaved bytes to draw on.
struct Canvas {
    shape: PictureShape,
    bytes: Vec<u8>,
}

impl Canvas {
    fn white(shape: PictureShape) -> Result<Self> {
        let size = shape.width.saturating_mul(shape.height).saturating_mul(shape.channels);
        check("bytes of the grid", size, 1, MAX_GRID_BYTES)?;
        Ok(Self { shape, bytes: vec![255; size] })
    }

    fn picture(&mut self, picture: &Picture, top: usize, left: usize, zoom: usize) {
        for y in 0..picture.shape().height * zoom {
            for x in 0..picture.shape().width * zoom {
                self.put(top + y, left + x, picture.pixel(y / zoom, x / zoom));
            }
        }
    }

    fn text(&mut self, text: &str, top: usize, left: usize, scale: usize) {
        for (position, character) in text.chars().enumerate() {
            let left = left + position * font::ADVANCE * scale;
            for (row, dots) in font::glyph(character).into_iter().enumerate() {
                for column in (0..font::GLYPH_WIDTH).filter(|c| dots >> (font::GLYPH_WIDTH - 1 - c) & 1 == 1)
                {
                    for dot in 0..scale * scale {
                        let (y, x) = (row * scale + dot / scale, column * scale + dot % scale);
                        self.put(top + y, left + x, &[0; 3][..self.shape.channels]);
                    }
                }
            }
        }
    }

    fn put(&mut self, row: usize, column: usize, pixel: &[u8]) {
        let start = (row * self.shape.width + column) * self.shape.channels;
        self.bytes[start..start + self.shape.channels].copy_from_slice(pixel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::picture::decode_png;

    fn flat(channels: usize, side: usize, value: f32) -> Picture {
        let shape = PictureShape { channels, height: side, width: side };
        Picture::new(shape, vec![value; channels * side * side]).unwrap()
    }

    proptest! {
        /// The area of each colour is known without knowing the layout: nothing is cut off, nothing overlaps.
        #[test]
        fn every_pixel_is_drawn_once(
            channels in prop::sample::select(vec![1_usize, 3]), side in 1_usize..6, zoom in 1_usize..5,
            count in 1_usize..8, columns in 1_usize..5, truths in 0_usize..8,
        ) {
            let cells: Vec<GridCell> = (0..count).map(|i| GridCell {
                top: flat(channels, side, 0.2),
                bottom: (i < truths).then(|| flat(channels, side, 0.6)),
                caption: "1.1".into(),
            }).collect();
            let (width, height, bytes) = decode_png(&render_grid(&cells, &GridParams { columns, zoom }).unwrap());
            prop_assert_eq!(width * height * channels, bytes.len());
            let area = |byte: u8| bytes.iter().filter(|b| **b == byte).count();
            let one = side * side * zoom * zoom * channels;
            prop_assert_eq!(area(51), count * one);
            prop_assert_eq!(area(153), count.min(truths) * one);
            let scale = (1..=3).filter(|s| 17 * s <= side * zoom).max().unwrap_or(1);
            // A one has 10 dots, a full stop 4.
            prop_assert_eq!(area(0), count * 24 * scale * scale * channels);
            prop_assert_eq!(area(255), bytes.len() - area(51) - area(153) - area(0));
        }
    }

    #[test]
    fn reconstruction_is_above_and_truth_below() {
        let cell = GridCell { top: flat(1, 4, 0.2), bottom: Some(flat(1, 4, 0.6)), caption: String::new() };
        let (width, _, bytes) =
            decode_png(&render_grid(&[cell], &GridParams { columns: 9, zoom: 1 }).unwrap());
        let row = |byte: u8| bytes.iter().position(|b| *b == byte).unwrap() / width;
        assert_eq!((row(51), row(153)), (GUTTER, GUTTER + 4 + GAP));
    }

    #[test]
    fn wrong_grids_are_refused() {
        let cell =
            |side, caption: &str| GridCell { top: flat(1, side, 0.0), bottom: None, caption: caption.into() };
        let draw = |cells: &[GridCell], columns, zoom| render_grid(cells, &GridParams { columns, zoom });
        assert!(matches!(draw(&[], 1, 1), Err(ReportError::EmptyGrid)));
        assert!(matches!(
            draw(&[cell(2, ""), cell(3, "")], 1, 1),
            Err(ReportError::MixedShapes { cell: 1, .. })
        ));
        let long = "9".repeat(MAX_CAPTION + 1);
        for (caption, columns, zoom) in [("", 0, 1), ("", 1, 0), ("", 1, MAX_ZOOM + 1), (&*long, 1, 1)] {
            let error = draw(&[cell(2, caption)], columns, zoom).unwrap_err();
            assert!(matches!(error, ReportError::OutOfRange { .. }), "{error}");
        }
        let error = draw(&[cell(1024, "")], 1, MAX_ZOOM).unwrap_err();
        assert!(matches!(error, ReportError::OutOfRange { name: "bytes of the grid", .. }), "{error}");
    }
}
