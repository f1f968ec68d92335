//! The two sides of a judgement as two types.

use ndarray::{ArrayView2, Axis};
use palimpsest_numerics::Real;

use crate::{ImageShape, MetricsError, Result};

/// What an attack (or a null model in its place) offers: (m, d), checked.
#[derive(Clone, Copy, Debug)]
pub struct CandidateImages<'a>(Images<'a>);

/// What is looked for, training or held-out images: (n, d), checked.
#[derive(Clone, Copy, Debug)]
pub struct TargetImages<'a>(Images<'a>);

/// The two views of the same images, in the coordinates of the net and as pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images<'a> {
    pub(crate) centered: ArrayView2<'a, f32>,
    pub(crate) restored: ArrayView2<'a, f32>,
    pub(crate) shape: ImageShape,
}

impl<'a> CandidateImages<'a> {
    /// Candidates `centered` (m, d) as the attack gives them, and the same with the training mean `restored` (m, d).
    ///
    /// Pass one view twice when no mean was removed. Values may leave [0, 1]: they are scaled for display later.
    ///
    /// # Errors
    /// [`MetricsError::Empty`]; [`MetricsError::NonFinite`] with the row.
    ///
    /// # Panics
    /// When the two views or the shape differ in size.
    #[track_caller]
    pub fn new(
        centered: ArrayView2<'a, f32>,
        restored: ArrayView2<'a, f32>,
        shape: ImageShape,
    ) -> Result<Self> {
        Images::new("candidates", centered, restored, shape).map(Self)
    }

    /// Number of candidates m.
    pub fn count(&self) -> usize {
        self.0.centered.nrows()
    }

    /// The first k candidates, or all when there are fewer.
    pub(crate) fn first(self, k: usize) -> Self {
        let Images { centered, restored, shape } = self.0;
        let first = |images: ArrayView2<'a, f32>| images.split_at(Axis(0), k.min(images.nrows())).0;
        Self(Images { centered: first(centered), restored: first(restored), shape })
    }

    pub(crate) fn images(&self) -> Images<'a> {
        self.0
    }
}

impl<'a> TargetImages<'a> {
    /// True images `centered` (n, d) with the training mean removed, and as pixels `restored` (n, d) in [0, 1].
    ///
    /// Held-out images are centred with the *training* mean too. Pass one view twice when no mean was removed. The
    /// range is not checked for vectors.
    ///
    /// # Errors
    /// [`MetricsError::Empty`]; [`MetricsError::NonFinite`] and [`MetricsError::PixelRange`] with the row.
    ///
    /// # Panics
    /// When the two views or the shape differ in size.
    #[track_caller]
    pub fn new(
        centered: ArrayView2<'a, f32>,
        restored: ArrayView2<'a, f32>,
        shape: ImageShape,
    ) -> Result<Self> {
        const ROUNDING: f32 = 1e-4; // of removing the mean and restoring it
        let what = "targets";
        let images = Images::new(what, centered, restored, shape)?;
        let pixels = -ROUNDING..=1.0 + ROUNDING;
        match restored.indexed_iter().find(|(_, v)| !shape.is_vector() && !pixels.contains(*v)) {
            Some(((row, _), &value)) => Err(MetricsError::PixelRange { what, row, value }),
            None => Ok(Self(images)),
        }
    }

    /// Number of targets n.
    pub fn count(&self) -> usize {
        self.0.centered.nrows()
    }

    pub(crate) fn images(&self) -> Images<'a> {
        self.0
    }
}

impl<'a> Images<'a> {
    #[track_caller]
    fn new(
        what: &'static str,
        centered: ArrayView2<'a, f32>,
        restored: ArrayView2<'a, f32>,
        shape: ImageShape,
    ) -> Result<Self> {
        assert_eq!(centered.dim(), restored.dim(), "{what}: centred and restored images differ in shape");
        shape.assert_width(what, centered);
        check_finite(what, centered)?;
        check_finite(what, restored)?;
        Ok(Self { centered, restored, shape })
    }
}

/// Refuses empty sets and values that are not finite.
pub(crate) fn check_finite<T: Real>(what: &'static str, values: ArrayView2<'_, T>) -> Result<()> {
    let (rows, columns) = values.dim();
    if rows == 0 || columns == 0 {
        return Err(MetricsError::Empty { what, rows, columns });
    }
    match values.indexed_iter().map(|(at, v)| (at, v.wide())).find(|(_, v)| !v.is_finite()) {
        Some(((row, column), value)) => Err(MetricsError::NonFinite { what, row, column, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    const SQUARE: ImageShape = ImageShape { channels: 1, height: 2, width: 2 };

    #[test]
    fn errors_name_the_row() {
        let images = array![[0.0, 0.1, 0.2, 0.3], [0.0, f32::NAN, 0.2, 0.3]];
        let message = CandidateImages::new(images.view(), images.view(), SQUARE).unwrap_err().to_string();
        assert!(message.starts_with("candidates: row 1, column 1 is NaN"), "{message}");

        let centered = array![[0.0, 0.1, 0.2, 0.3], [0.0, -0.1, 0.2, 0.3]];
        let message = TargetImages::new(centered.view(), centered.view(), SQUARE).unwrap_err().to_string();
        assert!(message.starts_with("targets: row 1 has the value -0.1"), "{message}");
        assert!(CandidateImages::new(centered.view(), centered.view(), SQUARE).is_ok());
        assert!(TargetImages::new(centered.view(), centered.view(), ImageShape::vector(4)).is_ok());
    }

    #[test]
    fn an_empty_set_is_an_error() {
        let none = Array2::zeros((0, 4));
        let error = TargetImages::new(none.view(), none.view(), SQUARE).unwrap_err();
        assert_eq!(error, MetricsError::Empty { what: "targets", rows: 0, columns: 4 });
    }

    #[test]
    #[should_panic(expected = "candidates of shape (1, 3) and images of 1x2x2")]
    fn another_width_panics_with_both_shapes() {
        let images = array![[0.0, 0.1, 0.2]];
        let _ = CandidateImages::new(images.view(), images.view(), SQUARE);
    }
}
