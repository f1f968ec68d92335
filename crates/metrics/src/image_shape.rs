//! What the values of a row mean.

use std::fmt;

use ndarray::ArrayView2;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// What the d values of a row are: channels of rows of pixels, flattened in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct ImageShape {
    /// Colour planes.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
}

impl ImageShape {
    /// Plain numbers without neighbourhood: one channel, one row. They have an NCC but no SSIM.
    pub fn vector(len: usize) -> Self {
        Self { channels: 1, height: 1, width: len }
    }

    /// Values in a row.
    pub fn size(self) -> usize {
        self.channels * self.plane()
    }

    /// Pixels in a channel.
    pub fn plane(self) -> usize {
        self.height * self.width
    }

    /// Whether this is the shape of plain numbers.
    pub fn is_vector(self) -> bool {
        self.channels == 1 && self.height == 1
    }

    #[track_caller]
    pub(crate) fn assert_width<T>(self, what: &str, rows: ArrayView2<'_, T>) {
        assert_eq!(rows.ncols(), self.size(), "{what} of shape {:?} and images of {self}", rows.dim());
    }
}

/// `3x32x32`: channels, height, width.
impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}
