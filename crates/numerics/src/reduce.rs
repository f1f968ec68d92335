//! Sums of floats in a fixed order.
//!
//! Floating-point addition is not associative, so a sum is only reproducible if its order is. Here a slice is cut
//! into chunks of [`CHUNK`] elements; inside a chunk sixteen lanes run in the element type, and lanes and chunks
//! are then added in index order in `f64`. Threads never decide an order of addition.

use ndarray::{Array2, ArrayView, ArrayView2, Dimension};

use crate::Real;

/// Elements per chunk.
pub const CHUNK: usize = 1024;
const LANES: usize = 16;

/// Sum of all elements, in `f64`.
///
/// ```
/// assert_eq!(palimpsest_numerics::reduce::sum(&[1.0_f32, 2.0, 3.5]), 6.5);
/// ```
pub fn sum<T: Real>(values: &[T]) -> f64 {
    chunked(values, |lanes, block| {
        for (lane, &v) in lanes.iter_mut().zip(block) {
            *lane += v;
        }
    })
}

/// Sum of squares of all elements, in `f64`.
pub fn sum_squares<T: Real>(values: &[T]) -> f64 {
    chunked(values, |lanes, block| {
        for (lane, &v) in lanes.iter_mut().zip(block) {
            *lane += v * v;
        }
    })
}

/// Inner product of two slices, in `f64`.
///
/// # Panics
/// When the lengths differ.
#[track_caller]
pub fn inner<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len(), "inner: slices of {} and {} elements", a.len(), b.len());
    pulp::Arch::new().dispatch(|| {
        let mut total = 0.0;
        for (a, b) in a.chunks(CHUNK).zip(b.chunks(CHUNK)) {
            let mut lanes = [T::zero(); LANES];
            let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            let tails = (a_blocks.remainder(), b_blocks.remainder());
            for (a, b) in a_blocks.zip(b_blocks) {
                for i in 0..LANES {
                    lanes[i] += a[i] * b[i];
                }
            }
            for (lane, (&a, &b)) in lanes.iter_mut().zip(tails.0.iter().zip(tails.1)) {
                *lane += a * b;
            }
            total += lanes.iter().map(|l| l.wide()).sum::<f64>();
        }
        total
    })
}

/// Euclidean (Frobenius) norm of an array of any shape and strides, in logical order.
pub fn norm<T: Real, D: Dimension>(array: ArrayView<'_, T, D>) -> f64 {
    squared_norm(array).sqrt()
}

/// Squared Euclidean (Frobenius) norm of an array of any shape and strides, in logical order.
pub fn squared_norm<T: Real, D: Dimension>(array: ArrayView<'_, T, D>) -> f64 {
    if let Some(values) = array.as_slice() {
        return sum_squares(values);
    }
    array.rows().into_iter().fold(0.0, |total, row| {
        total
            + match row.as_slice() {
                Some(values) => sum_squares(values),
                None => row.iter().map(|v| v.wide() * v.wide()).sum::<f64>(),
            }
    })
}

fn chunked<T: Real>(values: &[T], add: impl Fn(&mut [T; LANES], &[T])) -> f64 {
    pulp::Arch::new().dispatch(|| {
        let mut total = 0.0;
        for chunk in values.chunks(CHUNK) {
            let mut lanes = [T::zero(); LANES];
            let blocks = chunk.chunks_exact(LANES);
            let tail = blocks.remainder();
            for block in blocks {
                add(&mut lanes, block);
            }
            add(&mut lanes, tail);
            total += lanes.iter().map(|l| l.wide()).sum::<f64>();
        }
        total
    })
}

/// The rows of `matrix` (rows, cols), each divided by its length; zero rows stay zero.
pub fn unit_rows(matrix: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut unit = matrix.to_owned();
    for mut row in unit.rows_mut() {
        let length = norm(row.view()) as f32;
        row.mapv_inplace(|v| if length > 0.0 { v / length } else { 0.0 });
    }
    unit
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_loop(values in prop::collection::vec(-1.0..1.0_f64, 0..5000)) {
            let plain: f64 = values.iter().sum();
            prop_assert!((sum(&values) - plain).abs() < 1e-10);
            let squares: f64 = values.iter().map(|v| v * v).sum();
            prop_assert!((sum_squares(&values) - squares).abs() < 1e-10);
            prop_assert!((inner(&values, &values) - squares).abs() < 1e-10);
        }
    }

    #[test]
    fn a_norm_does_not_depend_on_the_layout() {
        let a = Array2::from_shape_fn((37, 53), |(i, j)| (i * 53 + j) as f64 * 0.01 - 3.0);
        let transposed = a.t().as_standard_layout().into_owned();
        assert!((norm(a.view()) - norm(transposed.t())).abs() < 1e-10);
        assert!((norm(a.t()) - norm(a.view())).abs() < 1e-10);
    }
}
