//! The activation: one place for its value, slope and curvature.

use palimpsest_numerics::{Real, elementwise};
use serde::{Deserialize, Serialize};

/// An activation function, with the derivative it is declared to have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `max(z, 0)` with slope 0 or 1 (0 at the kink) and no curvature.
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
        }
    }

    /// The number k with curvature = k * slope * (1 - slope): alpha, beta, or 0 for ReLU.
    pub fn sharpness(self) -> f64 {
        match self {
            Self::Relu => 0.0,
            Self::SigmoidGate { alpha } => alpha,
            Self::Softplus { beta } => beta,
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
}
