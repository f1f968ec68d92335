//! The first layer's equation without what is known of it already.

use ndarray::{Array1, Array2, ArrayViewMut1, ArrayViewMut2, Axis, s};
use palimpsest_numerics::factor::{FactorError, orthonormal_rows};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
use palimpsest_numerics::{Real, reduce};

/// The first layer's equation when some of its first-layer deltas are known: both sides without what these explain best.
#[derive(Clone, Debug)]
pub struct RemainingEquation<T = f32> {
    /// Left-hand side for the weights (h, q) and the bias (h), free of the known first-layer deltas.
    pub weight: Array2<T>,
    /// See `weight`.
    pub bias: Array1<T>,
    /// Basis of the known first-layer deltas, (h, K).
    pub known: Array2<T>,
    /// What gives the coefficients of a side along that basis, (K, h).
    coefficients: Array2<T>,
}

impl<T: Real> RemainingEquation<T> {
    /// The equation with the left-hand side `weight` (h, q) and `bias` (h) without the first-layer deltas (K, h); their coefficients are those of
    /// least squares, in which the equation of a neuron has the weight `neurons` (h), all > 0 (all the same if not given).
    ///
    /// # Errors
    /// [`FactorError`] when the first-layer deltas cannot be decomposed.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn without(
        mut weight: Array2<f64>,
        mut bias: Array1<f64>,
        mut deltas: Array2<f64>,
        neurons: Option<&[f32]>,
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        assert_eq!((deltas.ncols(), bias.len()), (weight.nrows(), weight.nrows()), "without: neurons");
        let scale = |rows: &mut Array2<f64>, power: f64| {
            for (mut column, &neuron) in rows.columns_mut().into_iter().zip(neurons.into_iter().flatten()) {
                column *= f64::from(neuron).powf(power);
            }
        };
        scale(&mut deltas, 0.5);
        let mut coefficients = orthonormal_rows(deltas.view(), parallelism)?;
        let mut known = coefficients.clone();
        scale(&mut coefficients, 0.5);
        scale(&mut known, -0.5);
        let mut bias_column = bias.view_mut().insert_axis(Axis(1));
        for part in [&mut weight.view_mut(), &mut bias_column] {
            let along = matmul(coefficients.view(), part.view(), parallelism);
            gemm(-1.0, known.t(), along.view(), 1.0, part.view_mut(), parallelism);
        }
        let narrow = |values: &Array2<f64>| values.mapv(T::of);
        Ok(Self {
            weight: narrow(&weight),
            bias: bias.mapv(T::of),
            known: narrow(&known.t().to_owned()),
            coefficients: narrow(&coefficients),
        })
    }

    /// Norm of the left-hand side.
    pub fn norm(&self) -> f64 {
        (reduce::squared_norm(self.weight.view()) + reduce::squared_norm(self.bias.view())).sqrt()
    }

    /// From minus the sum over the candidates, in `weight` (h, q) and `bias` (h), to the residual.
    pub(crate) fn complete(
        &self,
        mut weight: ArrayViewMut2<'_, T>,
        bias: ArrayViewMut1<'_, T>,
        along: &mut Array2<T>,
        parallelism: Parallelism,
    ) {
        let shape = (self.known.ncols(), weight.ncols().max(1));
        if along.dim() != shape {
            *along = Array2::zeros(shape);
        }
        let mut bias = bias.insert_axis(Axis(1));
        for mut part in [weight.view_mut(), bias.view_mut()] {
            let mut along = along.slice_mut(s![.., ..part.ncols()]);
            gemm(T::one(), self.coefficients.view(), part.view(), T::zero(), along.view_mut(), parallelism);
            gemm(-T::one(), self.known.view(), along.view(), T::one(), part.view_mut(), parallelism);
        }
        weight += &self.weight;
        bias += &self.bias.view().insert_axis(Axis(1));
    }
}
