//! Edges of images: differences of neighbouring pixels.

use ndarray::{Array2, Array4, ArrayView2, Axis, concatenate, s};
use palimpsest_numerics::Real;

/// Differences of vertical and horizontal neighbours of each of the images (m, d), (m, edges).
///
/// # Panics
/// When the shape is not that of the rows.
pub fn edges<T: Real>(images: ArrayView2<'_, T>, [channels, height, width]: [usize; 3]) -> Array2<T> {
    let planes = images
        .to_shape((images.nrows(), channels, height, width))
        .expect("separate: the shape is not that of the rows");
    let vertical = &planes.slice(s![.., .., 1.., ..]) - &planes.slice(s![.., .., ..-1, ..]);
    let horizontal = &planes.slice(s![.., .., .., 1..]) - &planes.slice(s![.., .., .., ..-1]);
    let flat = |edges: Array4<T>| {
        let columns = edges.len() / images.nrows().max(1);
        edges.into_shape_with_order((images.nrows(), columns)).expect("sums of arrays are contiguous")
    };
    concatenate![Axis(1), flat(vertical), flat(horizontal)]
}
