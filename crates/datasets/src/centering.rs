//! Removing the training mean and adding it back: the only place of the workspace that does either.
//!
//! The net is trained on inputs minus the mean of its training inputs, and candidates come out in the same
//! coordinates; a picture needs the mean added back.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_numerics::reduce;

use crate::DatasetError;

/// Mean (d) of the training inputs, input by input.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelMean(Array1<f32>);

/// True inputs (n, d) from which the training mean was removed.
///
/// A type of its own, so that truth cannot be passed where candidates are expected.
#[derive(Clone, Debug, PartialEq)]
pub struct CenteredInputs(Array2<f32>);

impl PixelMean {
    /// Mean over the rows of the training inputs (n, d), summed in `f64`.
    ///
    /// # Panics
    /// When there is no row.
    ///
    /// ```
    /// use ndarray::array;
    /// use palimpsest_datasets::PixelMean;
    ///
    /// let inputs = array![[0.0, 1.0], [1.0, 1.0]];
    /// let mean = PixelMean::fit(inputs.view());
    /// let centered = mean.center(inputs.view());
    /// assert_eq!(centered.view(), array![[-0.5, 0.0], [0.5, 0.0]]);
    /// assert_eq!(mean.restore(centered.view()), inputs);
    /// ```
    #[track_caller]
    pub fn fit(inputs: ArrayView2<'_, f32>) -> PixelMean {
        let n = inputs.nrows();
        assert!(n > 0, "a mean needs at least one row, got inputs of shape {:?}", inputs.dim());
        PixelMean(column_sums(inputs, f64::from).mapv(|sum| (sum / n as f64) as f32))
    }

    /// Mean (d) that was kept in a file of an earlier run.
    ///
    /// # Errors
    /// [`DatasetError::Invalid`] when it is empty or a value is not finite.
    pub fn from_values(mean: Array1<f32>) -> Result<PixelMean, DatasetError> {
        let problem = match mean.indexed_iter().find(|(_, v)| !v.is_finite()) {
            Some((at, v)) => format!("mean of input {at} is {v}; it must be finite"),
            None if mean.is_empty() => "it has no values; a mean of at least one input is needed".into(),
            None => return Ok(PixelMean(mean)),
        };
        Err(DatasetError::Invalid { name: "training mean".into(), problem })
    }

    /// The mean (d).
    pub fn values(&self) -> ArrayView1<'_, f32> {
        self.0.view()
    }

    /// Inputs (n, d) minus the mean.
    ///
    /// # Panics
    /// When the inputs are not as wide as the mean.
    #[track_caller]
    pub fn center(&self, inputs: ArrayView2<'_, f32>) -> CenteredInputs {
        self.assert_width(inputs);
        CenteredInputs(&inputs - &self.0)
    }

    /// Centred rows (m, d), of truth or of candidates, plus the mean; nothing is clamped.
    ///
    /// # Panics
    /// When the rows are not as wide as the mean.
    #[track_caller]
    pub fn restore(&self, centered: ArrayView2<'_, f32>) -> Array2<f32> {
        self.assert_width(centered);
        &centered + &self.0
    }

    #[track_caller]
    fn assert_width(&self, rows: ArrayView2<'_, f32>) {
        assert_eq!(
            rows.ncols(),
            self.0.len(),
            "rows of shape {:?} and a mean of {}",
            rows.dim(),
            self.0.len()
        );
    }
}

impl CenteredInputs {
    /// The centred inputs (n, d).
    pub fn view(&self) -> ArrayView2<'_, f32> {
        self.0.view()
    }
}

/// Sum of a function of the values over each column (d), in `f64` and in the fixed order of [`reduce::sum`].
pub(crate) fn column_sums(values: ArrayView2<'_, f32>, f: impl Fn(f32) -> f64) -> Array1<f64> {
    let mut column = vec![0.0; values.nrows()];
    values
        .axis_iter(Axis(1))
        .map(|values| {
            column.iter_mut().zip(values).for_each(|(wide, &v)| *wide = f(v));
            reduce::sum(&column)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_loop_and_comes_back(
            (n, d, values) in (1..40_usize, 1..9_usize)
                .prop_flat_map(|(n, d)| (Just(n), Just(d), prop::collection::vec(0.0..1.0_f32, n * d))),
        ) {
            let inputs = Array2::from_shape_vec((n, d), values).unwrap();
            let mean = PixelMean::fit(inputs.view());
            for j in 0..d {
                let plain = (0..n).map(|i| f64::from(inputs[[i, j]])).sum::<f64>() / n as f64;
                prop_assert!((f64::from(mean.values()[j]) - plain).abs() <= f64::from(f32::EPSILON));
            }
            let centered = mean.center(inputs.view());
            prop_assert!(PixelMean::fit(centered.view()).values().iter().all(|m| m.abs() <= 2e-7));
            let back = mean.restore(centered.view());
            prop_assert!((&back - &inputs).iter().all(|e| e.abs() <= f32::EPSILON));
        }
    }

    #[test]
    fn sums_do_not_lose_small_terms_next_to_large_ones() {
        // In f32 the ones would vanish beside 2^25.
        let mut inputs = Array2::ones((1025, 1));
        inputs[[0, 0]] = 33_554_432.0;
        assert_eq!(PixelMean::fit(inputs.view()).values()[0], ((33_554_432.0 + 1024.0) / 1025.0_f64) as f32);
    }

    #[test]
    fn held_out_inputs_are_centred_with_the_training_mean() {
        let mean = PixelMean::fit(array![[0.2], [0.4]].view());
        assert!((mean.center(array![[0.8]].view()).view()[[0, 0]] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_stored_mean_must_be_finite() {
        assert_eq!(PixelMean::from_values(array![0.5]).unwrap().values(), array![0.5]);
        assert!(
            PixelMean::from_values(array![0.5, f32::NAN]).unwrap_err().to_string().contains("input 1 is NaN")
        );
        assert!(PixelMean::from_values(array![]).is_err());
    }

    #[test]
    #[should_panic(expected = "rows of shape (1, 3) and a mean of 2")]
    fn another_width_panics_with_both_shapes() {
        PixelMean::fit(array![[0.0, 1.0]].view()).center(array![[0.0, 1.0, 2.0]].view());
    }
}
