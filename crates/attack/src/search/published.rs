//! The published attack: momentum descent on the stationarity residual with its penalties.
//!
//! # Source
//! Haim et al. (2022), section 5 and appendix B. Their lambda is m times ours; penalties and the least lambda are on
//! *their* scale, so that published values can be used as they stand.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Zip};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::{StandardNormal, Uniform};
use palimpsest_kkt::outputs::OutputPull;
use palimpsest_kkt::stationarity::{SquaredResidual, StationarityResidual, TermWeights};
use palimpsest_mlp::passes::{self, Scope};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::{at_least_one, not_negative, positive, within};
use palimpsest_numerics::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::search::restart::{Restart, TerminationReason};
use crate::search::state::{RunShape, RunState, Start};
use crate::search::step::Step;

/// Options of the published attack. Defaults are those of the released CIFAR-10 runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientParams {
    /// Steps, >= 1; published 50,000.
    pub steps: usize,
    /// Step size for x, > 0; published search 1e-5 to 1.
    pub step_size: f64,
    /// Step size for lambda (their scale), >= 0; published 1e-4, so that lambda hardly moves.
    pub multiplier_step_size: f64,
    /// Momentum, in [0, 1); published 0.9.
    pub momentum: f64,
    /// Standard deviation of the start, > 0; published search 1e-6 to 0.1.
    pub initial_std: f64,
    /// Least lambda, on their scale, >= 0; published search 0.01 to 0.5.
    pub least_multiplier: f64,
    /// Gate sharpness, > 0; published search 10 to 500.
    pub alpha: f64,
    /// Half-width of the range in which centred inputs are not penalised, > 0; published 1.
    pub input_bound: f64,
}

impl Default for GradientParams {
    fn default() -> Self {
        Self {
            steps: 50_000,
            step_size: 0.35,
            multiplier_step_size: 1e-4,
            momentum: 0.9,
            initial_std: 0.0045,
            least_multiplier: 0.49,
            alpha: 21.7,
            input_bound: 1.0,
        }
    }
}

impl GradientParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        at_least_one("steps", self.steps)?;
        positive("step size", self.step_size)?;
        positive("initial standard deviation", self.initial_std)?;
        positive("alpha", self.alpha)?;
        positive("input bound", self.input_bound)?;
        not_negative("multiplier step size", self.multiplier_step_size)?;
        not_negative("least multiplier", self.least_multiplier)?;
        within("momentum", self.momentum, 0.0..1.0, "at least 0 and below 1")?;
        Ok(())
    }
}

/// Searches once on `network`, from a random start or from where another search was; the result holds inputs
/// (m, d).
///
/// `observe` sees every step and may end the restart.
pub fn descend(
    network: &Mlp<f32>,
    pull: &OutputPull,
    params: &GradientParams,
    start: impl Into<Start>,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Restart {
    let (m, d) = (pull.len(), network.inputs());
    let activation = Activation::SigmoidGate { alpha: params.alpha };
    let terms = TermWeights::uniform(network.depth());
    let size = {
        let (weights, biases) = passes::squared_norms(network);
        SquaredResidual { weights, biases }.total(&terms)
    };
    let expected = RunShape { point: (m, d), moments: MOMENTS, steps: params.steps };
    let mut state = start.into().state(&expected, |seed| random_state((m, d), params, seed));
    // Multipliers of the state are on their scale; ours are lambda / m.
    let mut ours = &state.at.multipliers * per(m);
    let (mut dx, mut dlambda) = (Array2::<f32>::zeros((m, d)), Array1::<f32>::zeros(m));
    let mut residual = StationarityResidual::new(network, m, Scope::AllLayers);
    let mut termination = TerminationReason::MaxSteps;
    for index in state.index..params.steps {
        state.index = index;
        let x = state.at.coordinates.view();
        let squared = residual.evaluate(network, activation, pull, x, ours.view(), parallelism).total(&terms);
        if !squared.is_finite() {
            termination = TerminationReason::NonFinite { step: index };
            break;
        }
        let relative_residual = (squared / size).sqrt();
        state.record(params.steps, || relative_residual);
        if observe(&Step { index, steps: params.steps, relative_residual, state: &state }).is_break() {
            termination = TerminationReason::TimeLimit;
            break;
        }
        let x = state.at.coordinates.view();
        residual.gradient(network, activation, &terms, x, &mut dx, &mut dlambda, parallelism);
        move_inputs(&mut state, &dx, params);
        move_multipliers(&mut state, &dlambda, pull, params);
        Zip::from(&mut ours).and(&state.at.multipliers).for_each(|ours, &lambda| *ours = lambda * per(m));
    }
    state.end(ours, termination)
}

/// What a multiplier on the published scale is divided by: m, as a factor.
fn per(m: usize) -> f32 {
    1.0 / m as f32
}

/// Gaussian inputs of `shape` (m, d) and uniform multipliers.
fn random_state(shape: (usize, usize), params: &GradientParams, seed: Seed) -> RunState {
    let mut x: Array2<f32> = Array2::random_using(shape, StandardNormal, &mut seed.named("candidates").rng());
    x *= params.initial_std as f32;
    let unit = Uniform::new(0.0_f32, 1.0).expect("a finite range");
    let lambda = Array1::random_using(shape.0, unit, &mut seed.named("multipliers").rng());
    RunState::start(x, lambda, MOMENTS)
}

/// A step of the inputs with momentum, along the gradient `dx` (m, d) and that of the penalty beyond the bound.
fn move_inputs(state: &mut RunState, dx: &Array2<f32>, params: &GradientParams) {
    let RunState { at, moments, .. } = state;
    let (momentum, step) = (params.momentum as f32, params.step_size as f32);
    let bound = params.input_bound as f32;
    Zip::from(&mut at.coordinates).and(&mut moments[0].coordinates).and(dx).for_each(|x, v, &dx| {
        let penalty = 2.0 * (*x - bound).max(0.0) - 2.0 * (-bound - *x).max(0.0);
        *v = momentum * *v + dx + penalty;
        *x -= step * *v;
    });
}

/// A step of the multipliers on the published scale, along the gradient `dlambda` (m) on ours and that of the penalty below the least one.
fn move_multipliers(state: &mut RunState, dlambda: &Array1<f32>, pull: &OutputPull, params: &GradientParams) {
    let RunState { at, moments, .. } = state;
    let (momentum, step) = (params.momentum as f32, params.multiplier_step_size as f32);
    let (least, per_m) = (params.least_multiplier as f32, per(dlambda.len()));
    let signed = pull.labels().is_some();
    Zip::from(&mut at.multipliers).and(&mut moments[0].multipliers).and(dlambda).for_each(
        |lambda, v, &dl| {
            let penalty = if signed { -10.0 * (least - *lambda).max(0.0) } else { 0.0 };
            *v = momentum * *v + dl * per_m + penalty;
            *lambda -= step * *v;
        },
    );
}

/// Moments that the attack keeps: one velocity.
pub(crate) const MOMENTS: usize = 1;
