//! The alternating attack: gates fixed, least squares for the candidates, repeat.
//!
//! For fixed gates the first-layer equation is *linear* in `P_i = c_i [x_i, 1]`:
//!
//! `[W b] = sum_i u_i P_i^T`, with `u_i` the delta of the first layer for a unit multiplier.
//!
//! Each step computes the gates at the present candidates, solves a proximal least-squares problem for P, and reads off
//! `x_i` and `c_i >= 0`. Gates start soft and sharpen; the proximal weight starts large and falls. Works on any depth
//! and on the coordinates of [`AttackProblem`], where it costs one Cholesky of order m and a few products a step.

use std::ops::{Bound, ControlFlow};

use ndarray::{Array1, Array2, ArrayView1, Zip, s};
use palimpsest_kkt::outputs::OutputPull;
use palimpsest_mlp::Activation;
use palimpsest_mlp::passes::{self, Passes};
use palimpsest_numerics::factor::Cholesky;
use palimpsest_numerics::gemm::{Parallelism, gemm, symmetric};
use palimpsest_numerics::range::{OutOfRange, at_least_one, positive, within};
use palimpsest_numerics::reduce;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::problem::prepared::AttackProblem;
use crate::problem::start::random_start;
use crate::search::restart::{Restart, TerminationReason};
use crate::search::state::{Point, RunShape, RunState, Start};
use crate::search::step::Step;

/// Options of the alternating attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlternatingParams {
    /// Steps, >= 1.
    pub steps: usize,
    /// Gate sharpness at the first and last step, both > 0; geometric in between.
    pub alpha: (f64, f64),
    /// Proximal weight at the first and last step relative to the mean diagonal of the Gram matrix, both > 0;
    /// geometric in between.
    pub proximal: (f64, f64),
    /// Share of the way to the least-squares solution that x moves in a step, in (0, 1].
    pub damping: f64,
    /// How the scale of each x is fixed.
    pub scale: ScaleRule,
}

/// How the scale of a candidate is estimated from its multiplier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScaleRule {
    /// From the bias equation: c is the last entry of P, x the rest divided by it; norms are cut at twice the prior
    /// norm. Right where the bias is informative.
    Bias,
    /// All candidates get the prior norm; c follows from the length of P.
    FixedNorm,
}

impl Default for AlternatingParams {
    fn default() -> Self {
        Self { steps: 1000, alpha: (5.0, 100.0), proximal: (10.0, 0.1), damping: 1.0, scale: ScaleRule::Bias }
    }
}

impl AlternatingParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        at_least_one("steps", self.steps)?;
        for (name, (first, last)) in [("alpha", self.alpha), ("proximal", self.proximal)] {
            let both = positive(name, first).and(positive(name, last));
            both.map_err(|_| OutOfRange::new(name, "two finite numbers above 0", format!("{first},{last}")))?;
        }
        let range = (Bound::Excluded(0.0), Bound::Included(1.0));
        within("damping", self.damping, range, "above 0 and at most 1")?;
        Ok(())
    }
}

/// Searches once, from a random start or from where another search was.
///
/// `observe` sees every step and may end the restart. The result holds coordinates, not inputs.
pub fn alternate(
    problem: &AttackProblem,
    pull: &OutputPull,
    params: &AlternatingParams,
    start: impl Into<Start>,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Restart {
    let m = pull.len();
    let mut equation = Equation::new(problem, pull, parallelism);
    let expected = RunShape { point: (m, problem.rank()), moments: MOMENTS, steps: params.steps };
    let mut state = start.into().state(&expected, |seed| {
        let x =
            random_start(&problem.spectrum[..problem.rank()], m, START_NORM * f64::from(equation.norm), seed);
        RunState::start(x, Array1::from_elem(m, 0.5 / m as f32), MOMENTS)
    });
    let mut termination = TerminationReason::MaxSteps;
    for index in state.index..params.steps {
        state.index = index;
        let progress = index as f64 / params.steps as f64;
        let geometric = |(first, last): (f64, f64)| first * (last / first).powf(progress);
        equation.gates(problem, pull, &state.at, geometric(params.alpha));
        state.record(params.steps, || equation.relative_residual());
        let relative_residual = state.relative_residual();
        if observe(&Step { index, steps: params.steps, relative_residual, state: &state }).is_break() {
            termination = TerminationReason::TimeLimit;
            break;
        }
        let proximal = geometric(params.proximal);
        if !relative_residual.is_finite() || equation.solve(&mut state.at, params, proximal).is_none() {
            termination = TerminationReason::NonFinite { step: index };
            break;
        }
    }
    let multipliers = state.at.multipliers.clone();
    state.end(multipliers, termination)
}

fn tail(row: ArrayView1<'_, f32>, from: usize) -> &[f32] {
    &row.to_slice().expect("a row is contiguous")[from..]
}

struct Equation {
    /// [W b], (h, r + 1) or (h, r).
    target: Array2<f32>,
    target_squared: f64,
    passes: Passes<f32>,
    directions: Array2<f32>,
    /// P before and after the step, (m, columns of target).
    p: Array2<f32>,
    before: Array2<f32>,
    /// U U^T, upper triangle.
    gram: Array2<f32>,
    cholesky: Cholesky<f32>,
    norm: f32,
    parallelism: Parallelism,
}

impl Equation {
    fn new(problem: &AttackProblem, pull: &OutputPull, parallelism: Parallelism) -> Self {
        let m = pull.len();
        let target = problem.first_layer_target();
        let norm = problem.input_norm as f32;
        let columns = target.ncols();
        Self {
            target_squared: reduce::squared_norm(target.view()),
            target,
            passes: Passes::new(&problem.network, m),
            directions: Array2::zeros((m, problem.network.outputs())),
            p: Array2::zeros((m, columns)),
            before: Array2::zeros((m, columns)),
            gram: Array2::zeros((m, m)),
            cholesky: Cholesky::with_order(m, parallelism),
            norm,
            parallelism,
        }
    }

    /// The equation at the present candidates: U U^T, P before the step, and U T.
    fn gates(&mut self, problem: &AttackProblem, pull: &OutputPull, at: &Point, alpha: f64) {
        let Point { coordinates: x, multipliers: c } = at;
        let (r, parallelism) = (x.ncols(), self.parallelism);
        let activation = Activation::SigmoidGate { alpha };
        passes::forward(&problem.network, x.view(), activation, &mut self.passes, parallelism);
        pull.directions(self.passes.output(), &mut self.directions);
        passes::backward(&problem.network, self.directions.view(), &mut self.passes, parallelism);
        let u = self.passes.delta()[0].view();
        symmetric(u, self.gram.view_mut(), parallelism);
        for ((mut row, x), &c) in self.before.rows_mut().into_iter().zip(x.rows()).zip(c) {
            Zip::from(row.slice_mut(s![..r])).and(&x).for_each(|p, &x| *p = c * x);
            if row.len() > r {
                row[r] = c;
            }
        }
        gemm(1.0, u, self.target.view(), 0.0, self.p.view_mut(), parallelism);
    }

    /// Relative residual of the first-layer equation, between [`Self::gates`] and [`Self::solve`]: from
    /// `||T||^2 - 2 <U T, P> + <U U^T, P P^T>`.
    fn relative_residual(&mut self) -> f64 {
        let mut outer = self.cholesky.matrix_mut();
        symmetric(self.before.view(), outer.view_mut(), self.parallelism);
        let both = (self.gram.rows().into_iter().zip(outer.rows())).enumerate().map(|(i, (k, o))| {
            f64::from(k[i]) * f64::from(o[i]) + 2.0 * reduce::inner(tail(k, i + 1), tail(o, i + 1))
        });
        let fitted: f64 = both.sum();
        let explained: f64 = (self.p.rows().into_iter().zip(self.before.rows()))
            .map(|(a, b)| reduce::inner(tail(a, 0), tail(b, 0)))
            .sum();
        // `max` would hide a NaN.
        let squared = self.target_squared - 2.0 * explained + fitted;
        if squared.is_finite() { (squared.max(0.0) / self.target_squared).sqrt() } else { f64::NAN }
    }

    /// Solves for P and reads candidates off it; `None` for a NaN.
    fn solve(&mut self, at: &mut Point, params: &AlternatingParams, proximal: f64) -> Option<()> {
        let ridge = proximal as f32 * self.gram.diag().mean().expect("at least one candidate");
        let mut matrix = self.cholesky.matrix_mut();
        matrix.assign(&self.gram);
        matrix.diag_mut().mapv_inplace(|d| d + ridge);
        self.p.scaled_add(ridge, &self.before);
        self.cholesky.factor().ok()?;
        self.cholesky.solve_in_place(self.p.view_mut());
        self.read_off(at, params);
        Some(())
    }

    fn read_off(&self, at: &mut Point, params: &AlternatingParams) {
        let (m, r) = at.coordinates.dim();
        let least = 0.1 / m as f32;
        let damping = params.damping as f32;
        let has_bias = self.p.ncols() > r;
        for ((p, mut x), c) in
            self.p.rows().into_iter().zip(at.coordinates.rows_mut()).zip(&mut at.multipliers)
        {
            let direction = p.slice(s![..r]);
            let length = reduce::norm(direction) as f32;
            let scale = match params.scale {
                ScaleRule::Bias if has_bias => {
                    *c = p[r].max(least);
                    // Long candidates are cut to a shared bound: their multiplier is too small.
                    (1.0 / *c).min(LONGEST * self.norm / length.max(f32::MIN_POSITIVE))
                }
                ScaleRule::Bias | ScaleRule::FixedNorm => {
                    *c = (length / self.norm).max(least);
                    self.norm / length.max(f32::MIN_POSITIVE)
                }
            };
            Zip::from(&mut x).and(&direction).for_each(|x, &p| *x += damping * (scale * p - *x));
        }
    }
}

/// Moments that the attack keeps: every step solves anew.
pub(crate) const MOMENTS: usize = 0;
/// Norm of a start, in prior norms.
const START_NORM: f64 = 0.36;
/// Largest norm of a candidate, in prior norms.
const LONGEST: f32 = 1.8;
