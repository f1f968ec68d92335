//! How raw inputs become those of the network, and back.

use anyhow::{Result, bail};
use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_datasets::{InputShape, PixelMean, ZScore};

use super::normalize::Normalize;
use crate::terminal::Misuse;

/// How raw inputs become those of the network: pictures lose their mean, columns of a table get one unit, if nothing else is
/// asked for.
pub enum Scaling {
    /// The mean of each pixel is taken.
    Mean(PixelMean),
    /// Each column is brought to mean 0 and deviation 1.
    Columns(ZScore),
    /// A mean of each value is taken, and the rest divided by its deviation.
    Given {
        /// What is taken, (d).
        means: Array1<f32>,
        /// What the rest is divided by, (d), above 0.
        deviations: Array1<f32>,
    },
}

impl Scaling {
    /// What `normalize` asks for, fitted on the inputs (n, d) of the training examples.
    ///
    /// # Errors
    /// [`Misuse`] when it names other than one mean or one for each channel.
    pub(super) fn fit(normalize: &Normalize, train: ArrayView2<'_, f32>, shape: InputShape) -> Result<Self> {
        let d = train.ncols();
        Ok(match (normalize, shape) {
            (Normalize::None, _) => Self::Given { means: Array1::zeros(d), deviations: Array1::ones(d) },
            (Normalize::MeanImage, InputShape::Image { .. }) => Self::Mean(PixelMean::fit(train)),
            (Normalize::MeanImage, InputShape::Vector { .. }) => Self::Columns(ZScore::fit(train)),
            (Normalize::Channels(given), shape) => {
                let (channels, area) = match shape {
                    InputShape::Image { channels, height, width } => (channels, height * width),
                    InputShape::Vector { len } => (1, len),
                };
                if given.len() != 1 && given.len() != channels {
                    bail!(Misuse(format!(
                        "--normalize has {} means; one for all or {channels} are needed",
                        given.len()
                    )));
                }
                let of = |value: usize| given[if given.len() == 1 { 0 } else { value / area }];
                Self::Given {
                    means: (0..d).map(|value| of(value).0).collect(),
                    deviations: (0..d).map(|value| of(value).1).collect(),
                }
            }
        })
    }

    /// Raw inputs (n, d) as the network sees them.
    pub fn apply(&self, inputs: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Mean(mean) => mean.center(inputs).view().to_owned(),
            Self::Columns(columns) => columns.apply(inputs),
            Self::Given { means, deviations } => (&inputs - means) / deviations,
        }
    }

    /// Rows (m, d) of the network's inputs in their own units again.
    pub fn restore(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Mean(mean) => mean.restore(rows),
            Self::Columns(columns) => columns.invert(rows),
            Self::Given { means, deviations } => &rows * deviations + means,
        }
    }
}
