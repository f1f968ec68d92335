//! The scaling with which rows of numbers are shown as pictures.

use ndarray::{Array2, ArrayView2, Axis};

/// Each image (n, d) stretched to fill [0, 1]; a constant image becomes 0.
///
/// This is the one display scaling of published reconstructions ("min-max protocol"): the reach of a candidate is
/// arbitrary, and an attack does not know the range of the true image.
pub fn min_max(images: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut shown = images.to_owned();
    for mut image in shown.axis_iter_mut(Axis(0)) {
        let (low, high) = image
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
        // In f64, where the span of finite values cannot overflow.
        let (low, span) = (f64::from(low), f64::from(high) - f64::from(low));
        image.mapv_inplace(|v| if span > 0.0 { ((f64::from(v) - low) / span) as f32 } else { 0.0 });
    }
    shown
}
