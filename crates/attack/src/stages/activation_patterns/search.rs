//! The rounds: decode, polish, certify; look again in what is left; solve for the inputs.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::at_least_one;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::problem::prepared::AttackProblem;
use crate::search::annealed::{DescentParams, Landscape, anneal_on};
use crate::search::restart::TerminationReason;
use crate::search::state::Start;
use crate::search::step::Step;
use crate::stages::activation_patterns::certificate::is_certified;
use crate::stages::activation_patterns::decode::{Pull, decode};
use crate::stages::activation_patterns::image::{PatternInput, inputs, usual_shares};
use crate::stages::activation_patterns::layer::GatedLayer;
use crate::stages::activation_patterns::pattern::{ActivationPattern, Draft};
use crate::stages::activation_patterns::polish::{polish, settle};
use crate::stages::activation_patterns::remaining::RemainingProblem;

/// Options of [`find_inputs`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatternParams {
    /// Restarts of the attack before the search begins, >= 1; the others are made unless it finds most inputs.
    pub after_restarts: usize,
    /// Most rounds in what is left.
    pub rounds: usize,
    /// Annealed restarts of each round.
    #[serde(rename = "runs")]
    pub restarts: usize,
    /// Steps of each of these restarts, whose other options are those of the annealed attack.
    pub steps: usize,
}

impl Default for PatternParams {
    fn default() -> Self {
        Self { after_restarts: 8, rounds: 20, restarts: 2, steps: 500 }
    }
}

impl PatternParams {
    /// Steps of all restarts of all rounds, and one more for each round: how often an observer is called at most.
    pub fn steps_at_most(&self) -> u64 {
        let round = (self.restarts as u64).saturating_mul(self.steps as u64).saturating_add(1);
        round.saturating_mul(self.rounds as u64)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        at_least_one("restarts before patterns", self.after_restarts)?;
        at_least_one("pattern restarts", self.restarts)?;
        at_least_one("pattern steps", self.steps)?;
        Ok(())
    }
}

/// Where [`find_inputs`] is, as its observer sees it; called from several threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatternStep {
    /// Round, from 0.
    pub round: usize,
    /// Patterns certified so far.
    pub certified: usize,
    /// Relative residual of the restart that has taken a step, if one has.
    pub relative_residual: Option<f64>,
}

/// Drafts that are polished in one round, at most.
const MOST_DRAFTS: usize = 400;
/// Cosine of first-layer deltas above which two patterns are the same.
const SAME: f64 = 0.95;
/// Cosine above which a draft need not be polished because one like it was.
const NEARLY_SAME: f64 = 0.97;
/// First tolerance of polishing a draft, and of polishing a pattern again with new gains.
const FIRST_TOLERANCE: f64 = 0.1;
const AGAIN_TOLERANCE: f64 = 0.03;
/// Certified patterns below which the equation is not exact enough for this search.
const ENOUGH: usize = 6;
/// Share of the layer's directions whose duals must be known before inputs are solved for.
const LEAST_COVERAGE: f64 = 0.5;
/// Rounds without a new pattern after which the search ends.
const FRUITLESS: usize = 3;

/// Inputs found exactly, from `candidates` (m, r) of another attack with these `labels` (m); empty when the layer's equation
/// is not exact or its backpropagated signals are not known.
///
/// Works on the current rayon pool; the result is the same bits for any number of threads. `observe` may end the search,
/// which keeps what was found; so does a decomposition that fails its check.
pub fn find_inputs(
    problem: &AttackProblem,
    candidates: ArrayView2<'_, f32>,
    labels: &[Label],
    params: &PatternParams,
    seed: Seed,
    observe: &(dyn Fn(&PatternStep) -> ControlFlow<()> + Sync),
) -> Vec<PatternInput> {
    let Ok(Some(mut layer)) = GatedLayer::of(problem) else { return Vec::new() };
    let mut extended = Array2::ones((candidates.nrows(), candidates.ncols() + 1));
    extended.slice_mut(s![.., ..candidates.ncols()]).assign(&candidates.mapv(f64::from));
    let mut patterns = merged(patterns_near(&layer, extended.view(), labels, &[]));
    for _ in 0..2 {
        let certified = certified(&layer, &patterns);
        if certified.len() < ENOUGH {
            return Vec::new();
        }
        layer.learn_gains(&certified);
        patterns = merged(polished_again(&layer, &patterns));
    }
    let mut known = certified(&layer, &patterns);
    let mut fruitless = 0;
    for round in 0..params.rounds {
        let step = PatternStep { round, certified: known.len(), relative_residual: None };
        if fruitless == FRUITLESS || observe(&step).is_break() {
            break;
        }
        let settled = settled(&layer, &known);
        let Ok(Some(left)) = RemainingProblem::after(&problem.network, &layer, &settled) else { break };
        let Some((found, labels)) =
            look_again(problem, &left, params, seed.indexed(round as u64), &|residual| {
                observe(&PatternStep { relative_residual: Some(residual), ..step })
            })
        else {
            break;
        };
        patterns.extend(patterns_near(&layer, found.view(), &labels, &known));
        patterns = merged(patterns);
        layer.learn_gains(&certified(&layer, &patterns));
        patterns = merged(polished_again(&layer, &patterns));
        let now = certified(&layer, &patterns);
        fruitless = if now.len() > known.len() { 0 } else { fruitless + 1 };
        known = now;
    }
    let mut known = settled(&layer, &known);
    layer.learn_gains(&known);
    known = settled(&layer, &known);
    if (known.len() as f64) < LEAST_COVERAGE * layer.coordinates() as f64 {
        return Vec::new();
    }
    let shares = usual_shares(&layer, extended.view());
    inputs(&layer, &known, &shares).into_iter().flatten().collect()
}

/// Patterns polished from what decodes near `inputs` (m, k), unless they are like one of `known`.
fn patterns_near(
    layer: &GatedLayer,
    inputs: ArrayView2<'_, f64>,
    labels: &[Label],
    known: &[ActivationPattern],
) -> Vec<ActivationPattern> {
    let mut drafts: Vec<Draft> = Vec::new();
    for label in [Label::NEGATIVE, Label::POSITIVE] {
        let rows: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == label).collect();
        let inputs = inputs.select(Axis(0), &rows);
        for pull in [Pull::Proportional, Pull::Saturated] {
            drafts.extend(decode(layer, inputs.view(), label, pull));
        }
    }
    let drafts = distinct(layer, drafts, known);
    drafts.par_iter().with_max_len(1).filter_map(|draft| polish(layer, draft, FIRST_TOLERANCE)).collect()
}

/// Drafts that are neither nothing nor like a known pattern or an earlier draft.
fn distinct(layer: &GatedLayer, drafts: Vec<Draft>, known: &[ActivationPattern]) -> Vec<Draft> {
    let mut kept: Vec<Draft> = Vec::new();
    for draft in drafts {
        let least = 0.05 * layer.typical_signal(draft.label) * (layer.neurons() as f64).sqrt();
        if kept.len() == MOST_DRAFTS {
            break;
        }
        let mut seen = known.iter().map(|pattern| &pattern.delta).chain(kept.iter().map(|kept| &kept.delta));
        if reduce::norm(draft.delta.view()) > least
            && seen.all(|other| resemblance(other, &draft.delta) < NEARLY_SAME)
        {
            kept.push(draft);
        }
    }
    kept
}

/// Cosine of two first-layer deltas, without sign: an input whose two neurons are both active is found with either label.
fn resemblance(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    let norms = reduce::norm(a.view()) * reduce::norm(b.view());
    let (a, b) = (a.as_slice(), b.as_slice());
    let product =
        reduce::inner(a.expect("owned arrays are contiguous"), b.expect("owned arrays are contiguous"));
    (product / norms.max(f64::MIN_POSITIVE)).abs()
}

/// `patterns` without repetitions, the best of each kept.
fn merged(mut patterns: Vec<ActivationPattern>) -> Vec<ActivationPattern> {
    patterns.retain(|pattern| pattern.likeness.on > 0.08);
    let rank = |pattern: &ActivationPattern| pattern.likeness.binary - 10.0 * pattern.likeness.below;
    patterns.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    let mut kept: Vec<ActivationPattern> = Vec::new();
    for pattern in patterns {
        if kept.iter().all(|other| resemblance(&other.delta, &pattern.delta) < SAME) {
            kept.push(pattern);
        }
    }
    kept
}

fn certified(layer: &GatedLayer, patterns: &[ActivationPattern]) -> Vec<ActivationPattern> {
    let hold: Vec<bool> =
        patterns.par_iter().with_max_len(1).map(|pattern| is_certified(layer, pattern)).collect();
    patterns.iter().zip(hold).filter(|(_, hold)| *hold).map(|(pattern, _)| pattern.clone()).collect()
}

fn polished_again(layer: &GatedLayer, patterns: &[ActivationPattern]) -> Vec<ActivationPattern> {
    let again = |pattern: &ActivationPattern| polish(layer, &pattern.draft(), AGAIN_TOLERANCE);
    patterns.par_iter().with_max_len(1).filter_map(again).collect()
}

fn settled(layer: &GatedLayer, patterns: &[ActivationPattern]) -> Vec<ActivationPattern> {
    patterns.par_iter().with_max_len(1).filter_map(|pattern| settle(layer, pattern)).collect()
}

/// Annealed restarts in what is left: inputs (m, k) and their labels, or nothing when `observe` ended them.
fn look_again(
    problem: &AttackProblem,
    left: &RemainingProblem,
    params: &PatternParams,
    seed: Seed,
    observe: &(dyn Fn(f64) -> ControlFlow<()> + Sync),
) -> Option<(Array2<f64>, Vec<Label>)> {
    let half = left.rank() + 1;
    let labels: Vec<Label> = (0..2 * half).map(|i| Label(i / half)).collect();
    let pull = OutputPull::Binary(labels.clone());
    // What is left of an exact equation is exact: its small equations are as right as its large ones, and weighing them by an
    // expected error found fewer patterns (decision 0011).
    let options = DescentParams {
        steps: params.steps,
        coordinate_error_power: 0.0,
        neuron_error_power: 0.0,
        norm_penalty: Some(0.0),
        sign_check: 1.0,
        ..DescentParams::default()
    };
    let landscape = Landscape {
        network: &left.network,
        spectrum: &left.spectrum,
        input_norm: problem.input_norm,
        expected_error: 0.0,
        error_at_images: 0.0,
        remaining: Some(&left.equation),
        smoothness: None,
        sparse_edges: None,
    };
    let restarts: Vec<_> = (0..params.restarts)
        .into_par_iter()
        .with_max_len(1)
        .map(|number| {
            let start = Start::Random(seed.indexed(number as u64));
            let mut observe = |step: &Step<'_>| observe(step.relative_residual);
            anneal_on(&landscape, &pull, &options, start, Parallelism::Sequential, &mut observe)
        })
        .collect();
    if restarts.iter().any(|restart| restart.termination == TerminationReason::TimeLimit) {
        return None;
    }
    let finished = restarts.iter().filter(|restart| restart.termination == TerminationReason::MaxSteps);
    let found: Vec<Array2<f64>> = finished.map(|restart| left.lift(restart.coordinates.view())).collect();
    let views: Vec<_> = found.iter().map(|inputs| inputs.view()).collect();
    let labels = labels.repeat(found.len());
    concatenate(Axis(0), &views).ok().map(|inputs| (inputs, labels))
}
