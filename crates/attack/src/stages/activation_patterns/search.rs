//! The rounds: decode, polish, certify; look again in what is left; solve for the inputs.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::at_least_one;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::agreement::AgreementParams;
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
use crate::stages::activation_patterns::layer::{GatedLayer, with_ones};
use crate::stages::activation_patterns::pattern::{ActivationPattern, Draft};
use crate::stages::activation_patterns::pictures::{as_inputs, pictures_left};
use crate::stages::activation_patterns::polish::{polish, settle};
use crate::stages::activation_patterns::remaining::RemainingProblem;

/// Options of [`find_inputs`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatternParams {
    /// Restarts of the attack before the search begins, >= 1; the others are made unless it finds most inputs.
    pub after_restarts: usize,
    /// Most rounds in what is left, near pictures or near restarts.
    pub rounds: usize,
    /// Annealed restarts of each round that looks near such.
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
    /// How often an observer is called at most: while the search begins, for each round, and for each step of the restarts of a round.
    pub fn steps_at_most(&self) -> u64 {
        let round = (self.restarts as u64).saturating_mul(self.steps as u64).saturating_add(1);
        round.saturating_mul(self.rounds as u64).saturating_add(PARTS_OF_THE_BEGINNING)
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
/// Rounds of restarts without a new pattern after which the search ends; and where pictures are looked at besides, which find most.
const FRUITLESS: usize = 3;
const FRUITLESS_BESIDE_PICTURES: usize = 2;

/// Parts of the beginning, of seconds each, before each of which an observer is asked.
const PARTS_OF_THE_BEGINNING: u64 = 4;

/// What [`find_inputs`] begins with.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// Candidates of another attack, (m, r).
    pub candidates: ArrayView2<'a, f32>,
    /// Their labels, (m).
    pub labels: &'a [Label],
    /// Pictures that separations of the whole layer agree on, of length one, (p, r); none where inputs are no images.
    pub pictures: ArrayView2<'a, f32>,
    /// How to separate what is left, where inputs are images.
    pub separation: Option<&'a AgreementParams>,
}

/// Inputs found exactly, from candidates and pictures of other stages; empty when the layer's equation is not exact or its backpropagated
/// signals are not known.
///
/// Works on the current rayon pool; the result is the same bits for any number of threads. `observe` may end the search,
/// which keeps what was found; so does a decomposition that fails its check.
pub fn find_inputs<'a>(
    problem: &'a AttackProblem,
    beginning: Beginning<'a>,
    params: &PatternParams,
    seed: Seed,
    observe: &(dyn Fn(&PatternStep) -> ControlFlow<()> + Sync),
) -> Vec<PatternInput> {
    let Some(mut search) = Search::begin(problem, beginning, observe) else { return Vec::new() };
    search.look_on(params, seed, observe);
    search.inputs()
}

/// A search under way.
struct Search<'a> {
    problem: &'a AttackProblem,
    beginning: Beginning<'a>,
    layer: GatedLayer,
    /// Candidates that it began with, with a 1 appended, (m, k).
    candidates: Array2<f64>,
    /// Pictures that it began with or has found since, of both signs, alike.
    pictures: Array2<f64>,
    patterns: Vec<ActivationPattern>,
    /// Those of the patterns that are certified.
    known: Vec<ActivationPattern>,
}

impl<'a> Search<'a> {
    /// Patterns near what it begins with; nothing where few of them are certified, or where the observer ended it.
    fn begin(
        problem: &'a AttackProblem,
        beginning: Beginning<'a>,
        observe: &(dyn Fn(&PatternStep) -> ControlFlow<()> + Sync),
    ) -> Option<Self> {
        let go_on = || {
            observe(&PatternStep { round: 0, certified: 0, relative_residual: None })
                .is_continue()
                .then_some(())
        };
        let mut layer = GatedLayer::of(problem).ok()??;
        let candidates = with_ones(beginning.candidates);
        let (pictures, labels) = as_inputs(problem, beginning.pictures);
        go_on()?;
        let mut patterns = patterns_near(&layer, candidates.view(), beginning.labels, &[]);
        go_on()?;
        patterns.extend(patterns_near(&layer, pictures.view(), &labels, &[]));
        let mut patterns = merged(patterns);
        for _ in 0..2 {
            go_on()?;
            let certified = certified(&layer, &patterns);
            if certified.len() < ENOUGH {
                return None;
            }
            layer.learn_gains(&certified);
            patterns = merged(polished_again(&layer, &patterns));
        }
        let known = certified(&layer, &patterns);
        Some(Self { problem, beginning, layer, candidates, pictures, patterns, known })
    }

    /// Rounds in what is left: near its pictures for as long as that brings a pattern, else near restarts.
    fn look_on(
        &mut self,
        params: &PatternParams,
        seed: Seed,
        observe: &(dyn Fn(&PatternStep) -> ControlFlow<()> + Sync),
    ) {
        let separation = self.beginning.separation;
        let most_fruitless = if separation.is_some() { FRUITLESS_BESIDE_PICTURES } else { FRUITLESS };
        let (mut next, mut fruitless) = (separation, 0);
        for round in 0..params.rounds {
            let before = self.known.len();
            let step = PatternStep { round, certified: before, relative_residual: None };
            if fruitless == most_fruitless || observe(&step).is_break() {
                return;
            }
            let seed = seed.indexed(round as u64);
            let settled = settled(&self.layer, &self.known);
            let found = match next {
                Some(separation) => Some(self.near_pictures(&settled, separation, seed.named("pictures"))),
                None => self.near_restarts(&settled, params, seed, &|residual| {
                    observe(&PatternStep { relative_residual: Some(residual), ..step })
                }),
            };
            let Some(found) = found else { return };
            self.add(found);
            let brought_some = self.known.len() > before;
            fruitless = if brought_some || next.is_some() { 0 } else { fruitless + 1 };
            next = separation.filter(|_| brought_some);
        }
    }

    fn near_pictures(
        &mut self,
        settled: &[ActivationPattern],
        separation: &AgreementParams,
        seed: Seed,
    ) -> Vec<ActivationPattern> {
        let pictures = pictures_left(self.problem, &self.layer, settled, separation, seed);
        let (inputs, labels) = as_inputs(self.problem, pictures.view());
        self.pictures.append(Axis(0), inputs.view()).expect("inputs have the coordinates of the layer");
        patterns_near(&self.layer, inputs.view(), &labels, &self.known)
    }

    /// Nothing where the observer ended them, or too little is left.
    fn near_restarts(
        &self,
        settled: &[ActivationPattern],
        params: &PatternParams,
        seed: Seed,
        observe: &(dyn Fn(f64) -> ControlFlow<()> + Sync),
    ) -> Option<Vec<ActivationPattern>> {
        let left = RemainingProblem::after(&self.problem.network, &self.layer, settled).ok()??;
        let (inputs, labels) = look_again(self.problem, &left, params, seed, observe)?;
        Some(patterns_near(&self.layer, inputs.view(), &labels, &self.known))
    }

    fn add(&mut self, found: Vec<ActivationPattern>) {
        self.patterns.extend(found);
        self.patterns = merged(std::mem::take(&mut self.patterns));
        self.layer.learn_gains(&certified(&self.layer, &self.patterns));
        self.patterns = merged(polished_again(&self.layer, &self.patterns));
        self.known = certified(&self.layer, &self.patterns);
    }

    /// The inputs of the known patterns, where these are enough.
    fn inputs(mut self) -> Vec<PatternInput> {
        let mut known = settled(&self.layer, &self.known);
        self.layer.learn_gains(&known);
        known = settled(&self.layer, &known);
        if (known.len() as f64) < LEAST_COVERAGE * self.layer.coordinates() as f64 {
            return Vec::new();
        }
        let shares = usual_shares(&self.layer, self.candidates.view());
        let starts = concatenate![Axis(0), self.pictures, self.candidates];
        inputs(&self.layer, &known, &shares, starts.view()).into_iter().flatten().collect()
    }
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
