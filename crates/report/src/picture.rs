//! One picture: checked pixels, PNG bytes, data URI.

use base64::Engine;

use crate::error::{ReportError, Result};
use crate::shape::PictureShape;

/// Largest side of a picture, in pixels: larger inputs are not what this page is for.
pub const MAX_SIDE: usize = 1024;

/// A checked picture of eight bits a channel.
///
/// ```
/// use palimpsest_report::{Picture, PictureShape};
/// let shape = PictureShape { channels: 1, height: 1, width: 3 };
/// let picture = Picture::new(shape, [0.0_f32, 0.5, 1.7])?; // 1.7 is clamped to white
/// assert!(picture.data_uri()?.starts_with("data:image/png;base64,"));
/// # Ok::<(), palimpsest_report::ReportError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    shape: PictureShape,
    /// Row by row; the channels of a pixel side by side, as PNG wants them.
    bytes: Vec<u8>,
}

impl Picture {
    /// Makes a picture from values in [0, 1], given channel by channel, row by row (channels, height, width).
    ///
    /// Values outside [0, 1] are clamped: the caller has already chosen the display scaling.
    ///
    /// # Errors
    /// [`ReportError::Shape`], [`ReportError::PixelCount`], or [`ReportError::NonFinite`].
    pub fn new<T: Into<f64>>(shape: PictureShape, pixels: impl IntoIterator<Item = T>) -> Result<Self> {
        let PictureShape { channels, height, width } = shape;
        let side = 1..=MAX_SIDE;
        if !matches!(channels, 1 | 3) || !side.contains(&height) || !side.contains(&width) {
            return Err(ReportError::Shape { got: shape, max_side: MAX_SIDE });
        }
        let plane = height * width;
        let expected = channels * plane;
        let mut bytes = vec![0; expected];
        let mut seen = 0;
        for (index, value) in pixels.into_iter().enumerate() {
            if index == expected {
                return Err(ReportError::PixelCount { shape, expected, got: "more".into() });
            }
            let value: f64 = value.into();
            if !value.is_finite() {
                return Err(ReportError::NonFinite { index, value });
            }
            bytes[(index % plane) * channels + index / plane] = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            seen = index + 1;
        }
        if seen < expected {
            return Err(ReportError::PixelCount { shape, expected, got: seen.to_string() });
        }
        Ok(Self { shape, bytes })
    }

    /// The shape the picture was made with.
    pub fn shape(&self) -> PictureShape {
        self.shape
    }

    /// Eight bits a channel, row by row, the channels of a pixel side by side.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`ReportError::Png`] when the encoder refuses.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        encode_png(self.shape, &self.bytes)
    }

    /// The picture as a `data:image/png;base64,` address that a page can hold within itself.
    ///
    /// # Errors
    /// [`ReportError::Png`] when the encoder refuses.
    pub fn data_uri(&self) -> Result<String> {
        Ok(png_uri(&self.to_png()?))
    }

    /// The bytes of the pixel at a row and a column, one a channel.
    pub(crate) fn pixel(&self, row: usize, column: usize) -> &[u8] {
        let channels = self.shape.channels;
        let start = (row * self.shape.width + column) * channels;
        &self.bytes[start..start + channels]
    }
}

/// The bytes of a PNG file as an address that holds them.
pub(crate) fn png_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png))
}

/// Encodes interleaved bytes of the given shape.
pub(crate) fn encode_png(shape: PictureShape, bytes: &[u8]) -> Result<Vec<u8>> {
    let side = |pixels: usize| u32::try_from(pixels).expect("sides are capped far below 2^32");
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side(shape.width), side(shape.height));
    encoder.set_color(if shape.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(file)
}

/// Decodes PNG bytes to (width, height, interleaved bytes), for the tests of this crate.
#[cfg(test)]
pub(crate) fn decode_png(file: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (info.width as usize, info.height as usize, bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn png_decodes_to_the_clamped_pixels(
            channels in prop::sample::select(vec![1_usize, 3]), height in 1_usize..7, width in 1_usize..7, salt in 0_usize..99,
        ) {
            let shape = PictureShape { channels, height, width };
            let value = |c: usize, y: usize, x: usize| ((c * 31 + y * 7 + x * 3 + salt) % 17) as f64 / 10.0 - 0.3;
            let mut planar = Vec::new();
            for c in 0..channels { for y in 0..height { for x in 0..width { planar.push(value(c, y, x)); } } }
            let (w, h, bytes) = decode_png(&Picture::new(shape, planar).unwrap().to_png().unwrap());
            prop_assert_eq!((w, h), (width, height));
            for y in 0..height { for x in 0..width { for c in 0..channels {
                let want = (value(c, y, x).clamp(0.0, 1.0) * 255.0).round() as u8;
                prop_assert_eq!(bytes[(y * width + x) * channels + c], want);
            } } }
        }
    }

    #[test]
    fn wrong_pictures_are_refused() {
        let shape = |channels, height, width| PictureShape { channels, height, width };
        for bad in
            [shape(2, 1, 1), shape(1, 0, 1), shape(1, 1, MAX_SIDE + 1), shape(3, usize::MAX, usize::MAX)]
        {
            assert!(matches!(Picture::new(bad, [0.0_f32]), Err(ReportError::Shape { .. })), "{bad}");
        }
        let two = shape(1, 1, 2);
        for count in [0, 1, 3] {
            let error = Picture::new(two, vec![0.5_f32; count]).unwrap_err();
            assert!(matches!(error, ReportError::PixelCount { expected: 2, .. }), "{error}");
        }
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Picture::new(two, [0.0, value]).unwrap_err();
            assert!(matches!(error, ReportError::NonFinite { index: 1, .. }), "{error}");
        }
    }
}
