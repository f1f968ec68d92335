//! Options of annealed descent.

use palimpsest_numerics::range::{at_least_one, not_negative, positive, share};
use serde::{Deserialize, Serialize};

use crate::error::AttackError;

/// Options of annealed descent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DescentParams {
    /// Steps, >= 1.
    pub steps: usize,
    /// Gate slope at the first and last step, both > 0, in units of 1 / (typical pre-activation of the first layer);
    /// geometric in between.
    pub alpha: (f64, f64),
    /// Largest step of a coordinate, > 0, in units of a typical coordinate; falls to 2 % by a cosine.
    pub step_size: f64,
    /// Largest step of the logarithm of a multiplier, >= 0; falls alike.
    pub multiplier_step_size: f64,
    /// Power of the singular value by which steps of a coordinate are scaled, in [0, 1]: data vary less along
    /// directions of small singular values.
    pub step_power: f64,
    /// Power of its expected error by which the equation of a coordinate is divided, in [0, 1]; 0 counts all alike. The
    /// relative residual that is told counts all alike.
    pub coordinate_error_power: f64,
    /// The same for the equation of a neuron.
    pub neuron_error_power: f64,
    /// Weight of the squared norms of the candidates beside the squared residual, >= 0; 0 for none. Where inputs are Gaussian
    /// of the prior norm, the right weight is the squared error, relative to the equation, that the true inputs leave. If not
    /// given, 0.05 where the equation looks exact (few directions for the neurons, the initialisation forgotten), else 0.15.
    pub norm_penalty: Option<f64>,
    /// Weight of the smoothness prior, >= 0, in units of that of the squared norms, in whose place it is where inputs are smooth images; 0
    /// for squared norms everywhere.
    #[serde(default)]
    pub smoothness: f64,
    /// Weight of the sparse-edge prior of images beside the squared residual, >= 0, relative to that of a likelihood; 0 for none.
    #[serde(default)]
    pub edge_sparsity: f64,
    /// Share of the steps after which that prior counts, in [0, 1]: from the start on it locks onto what comes first.
    #[serde(default)]
    pub edge_sparsity_after: f64,
    /// Share of the steps after which candidates that the biases say are negatives of inputs are turned round, in [0, 1]; 1 for
    /// never. Needs biases in the first layer.
    #[serde(rename = "mirror_check")]
    pub sign_check: f64,
    /// Norm of a start, > 0, in units of the prior norm.
    pub initial_norm: f64,
    /// First multiplier, > 0, in units of the one at which orthogonal gradients would explain the first layer.
    pub initial_multiplier: f64,
}

impl Default for DescentParams {
    fn default() -> Self {
        Self {
            steps: 800,
            alpha: (0.8, 25.0),
            step_size: 0.15,
            multiplier_step_size: 0.01,
            step_power: 0.5,
            coordinate_error_power: 0.5,
            neuron_error_power: 0.5,
            norm_penalty: None,
            smoothness: 2.5,
            edge_sparsity: 1.0,
            edge_sparsity_after: 0.5,
            sign_check: 0.5,
            initial_norm: 0.15,
            initial_multiplier: 0.15,
        }
    }
}

impl DescentParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        at_least_one("steps", self.steps)?;
        positive("first alpha", self.alpha.0)?;
        positive("last alpha", self.alpha.1)?;
        positive("step size", self.step_size)?;
        positive("initial norm", self.initial_norm)?;
        positive("initial multiplier", self.initial_multiplier)?;
        share("step power", self.step_power)?;
        share("error power of coordinates", self.coordinate_error_power)?;
        share("error power of neurons", self.neuron_error_power)?;
        share("sign check", self.sign_check)?;
        share("start of the sparse-edge prior", self.edge_sparsity_after)?;
        not_negative("weight of the smoothness prior", self.smoothness)?;
        not_negative("weight of the sparse-edge prior", self.edge_sparsity)?;
        not_negative("multiplier step size", self.multiplier_step_size)?;
        not_negative("norm penalty", self.norm_penalty.unwrap_or(0.0))?;
        Ok(())
    }
}
