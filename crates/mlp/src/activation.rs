//! The activation: one place for its value, slope and curvature.

use palimpsest_numerics::{Real, elementwise};
use serde::{Deserialize, Serialize};

mod smooth;

/// An activation function, with the derivative it is declared to have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `max(z, 0)` with slope 0 or 1 (0 at the breakpoint) and no curvature.
    Relu,
    /// Value `max(z, 0)`, but slope `sigmoid(alpha z)` and the curvature of that slope.
    ///
    /// # Source
    /// Haim et al. (2022), appendix B: the forward pass stays exact, only derivatives are smoothed.
    SigmoidGate {
        /// Sharpness of the gate, > 0; published 10 to 500.
        alpha: f64,
    },
    /// `log(1 + exp(beta z)) / beta`, with its true derivatives.
    Softplus {
        /// Sharpness, > 0.
        beta: f64,
    },
    /// `z` above 0 and `slope * z` below, with slope 1 or `slope` (the latter at the breakpoint) and no curvature.
    LeakyRelu {
        /// Slope below 0, in [0, 1); PyTorch's default is 0.01, Keras' 0.3.
        slope: f64,
    },
    /// Hyperbolic tangent, with its true derivatives.
    Tanh,
    /// `z sigmoid(z)`, with its true derivatives; also called swish.
    Silu,
    /// GELU in its approximation by tanh, `z sigmoid(2 sqrt(2 / pi) (z + 0.044715 z^3))`, with its true derivatives. PyTorch's
    /// default is the one by erf, which differs by less than 5e-4.
    GeluTanh,
}

impl Activation {
    /// Adds `bias` to the pre-activations `z`, then overwrites `z` with the value and fills `slope`.
    ///
    /// # Panics
    /// When the slices differ in length.
    #[track_caller]
    pub fn apply<T: Real>(self, z: &mut [T], bias: Option<&[T]>, slope: &mut [T]) {
        match self {
            Self::Relu => elementwise::bias_value_slope(z, bias, slope, elementwise::relu_step),
            Self::SigmoidGate { alpha } => {
                let alpha = T::of(alpha);
                elementwise::bias_value_slope(z, bias, slope, move |z| elementwise::relu_gate(z, alpha));
            }
            Self::Softplus { beta } => {
                let beta = T::of(beta);
                elementwise::bias_value_slope(z, bias, slope, move |z| elementwise::softplus_slope(z, beta));
            }
            Self::LeakyRelu { slope: below } => {
                let below = T::of(below);
                elementwise::bias_value_slope(z, bias, slope, move |z| smooth::leaky(z, below));
            }
            Self::Tanh => {
                elementwise::bias_value_slope(z, bias, slope, |z| smooth::first_two(smooth::tanh(z)))
            }
            Self::Silu => {
                elementwise::bias_value_slope(z, bias, slope, |z| smooth::first_two(smooth::silu(z)))
            }
            Self::GeluTanh => {
                elementwise::bias_value_slope(z, bias, slope, |z| smooth::first_two(smooth::gelu(z)))
            }
        }
    }

    /// The number k with curvature = k * slope * (1 - slope): alpha, beta, or 0 for ReLU and leaky ReLU. Also 0 where the
    /// curvature is not of this form, see [`Activation::has_own_curvature`].
    pub fn sharpness(self) -> f64 {
        match self {
            Self::SigmoidGate { alpha } => alpha,
            Self::Softplus { beta } => beta,
            Self::Relu | Self::LeakyRelu { .. } | Self::Tanh | Self::Silu | Self::GeluTanh => 0.0,
        }
    }

    /// Whether the curvature does not follow from the slope by [`Activation::sharpness`]: tanh, SiLU and GELU.
    pub fn has_own_curvature(self) -> bool {
        matches!(self, Self::Tanh | Self::Silu | Self::GeluTanh)
    }

    /// Overwrites the pre-activations `z` with the curvature at `z + bias`, and fills `slope`.
    ///
    /// # Panics
    /// When the slices differ in length, or for an activation without a curvature of its own.
    #[track_caller]
    pub(crate) fn curvature_slope<T: Real>(self, z: &mut [T], bias: Option<&[T]>, slope: &mut [T]) {
        match self {
            Self::Tanh => {
                elementwise::bias_value_slope(z, bias, slope, |z| smooth::last_two(smooth::tanh(z)))
            }
            Self::Silu => {
                elementwise::bias_value_slope(z, bias, slope, |z| smooth::last_two(smooth::silu(z)))
            }
            Self::GeluTanh => {
                elementwise::bias_value_slope(z, bias, slope, |z| smooth::last_two(smooth::gelu(z)))
            }
            other => panic!("curvature_slope: {other:?} has none of its own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_and_curvature_are_derivatives() {
        let h = 1e-5;
        for activation in [Activation::Softplus { beta: 3.0 }, Activation::SigmoidGate { alpha: 9.0 }] {
            for i in 0..80 {
                let z = f64::from(i) * 0.05 - 2.0 + 0.013;
                let (mut value, mut slope) = ([z - h, z, z + h], [0.0; 3]);
                activation.apply(&mut value, None, &mut slope);
                if matches!(activation, Activation::Softplus { .. }) {
                    assert!(((value[2] - value[0]) / (2.0 * h) - slope[1]).abs() < 1e-8);
                }
                let curvature = activation.sharpness() * slope[1] * (1.0 - slope[1]);
                assert!(((slope[2] - slope[0]) / (2.0 * h) - curvature).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn own_curvatures_are_derivatives_of_derivatives() {
        let h = 1e-5;
        for activation in [Activation::Tanh, Activation::Silu, Activation::GeluTanh] {
            for i in 0..120 {
                let z = f64::from(i) * 0.1 - 6.0 + 0.013;
                let (mut value, mut slope) = ([z - h, z, z + h], [0.0; 3]);
                activation.apply(&mut value, None, &mut slope);
                assert!(((value[2] - value[0]) / (2.0 * h) - slope[1]).abs() < 1e-8, "{activation:?} at {z}");
                let (mut curvature, mut again) = ([z - 1.0], [0.0]);
                activation.curvature_slope(&mut curvature, Some(&[1.0]), &mut again);
                assert!(
                    ((slope[2] - slope[0]) / (2.0 * h) - curvature[0]).abs() < 1e-7,
                    "{activation:?} at {z}"
                );
                assert!((again[0] - slope[1]).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn a_leaky_relu_leaks_and_extremes_stay_finite() {
        let (mut z, mut slope) = ([-2.0, 0.0, 3.0, f64::NAN], [0.0; 4]);
        Activation::LeakyRelu { slope: 0.1 }.apply(&mut z, None, &mut slope);
        assert_eq!((z[0], z[1], z[2], slope[0], slope[1], slope[2]), (-0.2, 0.0, 3.0, 0.1, 0.1, 1.0));
        assert!(z[3].is_nan() && slope[3].is_nan());
        for activation in [Activation::Tanh, Activation::Silu, Activation::GeluTanh] {
            let (mut z, mut slope) = ([-1e4_f32, 1e4, f32::NAN], [0.0; 3]);
            activation.apply(&mut z, None, &mut slope);
            let high = if activation == Activation::Tanh { 1.0 } else { 1e4 };
            let low = if activation == Activation::Tanh { -1.0 } else { 0.0 };
            assert!(z[0] == low && z[1] == high && z[2].is_nan(), "{activation:?}: {z:?}");
            assert!(
                slope[0] == 0.0 && slope[1] == high.min(1.0) - f32::from(u8::from(low < 0.0)),
                "{slope:?}"
            );
        }
    }
}
