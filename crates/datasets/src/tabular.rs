//! Scaling of plain vectors, whose columns come in all units: zero mean and unit deviation, and back.
//!
//! Images need none of this; their pixels share one unit already.

use ndarray::{Array1, Array2, ArrayView2};

use crate::PixelMean;
use crate::centering::column_sums;

/// Mean and standard deviation of each column of the training inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct ZScore {
    mean: PixelMean,
    deviation: Array1<f32>,
}

impl ZScore {
    /// Mean and population standard deviation (divided by n) of the columns of (n, d).
    ///
    /// A constant column gets the deviation 1, so that it becomes zero rather than NaN.
    ///
    /// # Panics
    /// When there is no row.
    ///
    /// ```
    /// use ndarray::array;
    /// use palimpsest_datasets::ZScore;
    ///
    /// let inputs = array![[1.0, 7.0], [5.0, 7.0]];
    /// let scaling = ZScore::fit(inputs.view());
    /// let scaled = scaling.apply(inputs.view());
    /// assert_eq!(scaled, array![[-1.0, 0.0], [1.0, 0.0]]);
    /// assert_eq!(scaling.invert(scaled.view()), inputs);
    /// ```
    #[track_caller]
    pub fn fit(inputs: ArrayView2<'_, f32>) -> ZScore {
        let mean = PixelMean::fit(inputs);
        let n = inputs.nrows() as f64;
        let deviation =
            column_sums(mean.center(inputs).view(), |v| f64::from(v) * f64::from(v)).mapv(|squares| {
                let deviation = (squares / n).sqrt() as f32;
                if deviation > 0.0 { deviation } else { 1.0 }
            });
        ZScore { mean, deviation }
    }

    /// Inputs (n, d), mean removed and divided by the deviation.
    ///
    /// # Panics
    /// When the inputs have another number of columns than those of [`fit`](ZScore::fit).
    #[track_caller]
    pub fn apply(&self, inputs: ArrayView2<'_, f32>) -> Array2<f32> {
        &self.mean.center(inputs).view() / &self.deviation
    }

    /// Scaled rows (m, d) in their own units again.
    ///
    /// # Panics
    /// When the rows have another number of columns than those of [`fit`](ZScore::fit).
    #[track_caller]
    pub fn invert(&self, scaled: ArrayView2<'_, f32>) -> Array2<f32> {
        assert_eq!(
            scaled.ncols(),
            self.deviation.len(),
            "rows of shape {:?} and other scaling",
            scaled.dim()
        );
        self.mean.restore((&scaled * &self.deviation).view())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_have_unit_deviation_and_come_back(
            (n, d, values) in (2..30_usize, 1..6_usize)
                .prop_flat_map(|(n, d)| (Just(n), Just(d), prop::collection::vec(-1e3..1e3_f32, n * d))),
        ) {
            let inputs = Array2::from_shape_vec((n, d), values).unwrap();
            let scaling = ZScore::fit(inputs.view());
            let scaled = scaling.apply(inputs.view());
            for column in scaled.columns() {
                let squares = column.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>() / n as f64;
                prop_assert!((squares - 1.0).abs() < 1e-4, "{}", squares);
            }
            prop_assert!((&scaling.invert(scaled.view()) - &inputs).iter().all(|e| e.abs() < 1e-3));
        }
    }
}
