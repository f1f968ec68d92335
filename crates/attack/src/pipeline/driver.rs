//! Independent restarts over rayon, pooled into one reconstruction.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Axis, concatenate};
use palimpsest_kkt::stationarity::OutputWeighting;
use palimpsest_mlp::Mlp;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::separation::SeparationParams;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::pipeline::pool::{Solved, pool};
use crate::pipeline::reconstruction::Reconstruction;
use crate::problem::exposure::Attackability;
use crate::problem::prepared::AttackProblem;
use crate::problem::prior::PriorKnowledge;
use crate::search::alternating::{AlternatingParams, alternate};
use crate::search::annealed::{DescentParams, anneal};
use crate::search::published::{GradientParams, descend};
use crate::search::run::{Run, Step, TerminationReason};
use crate::search::state::{AttackState, RunShape, Start};
use crate::search::{alternating, annealed, published};
use crate::stages::activation_patterns::{PatternInput, PatternParams, PatternStep, find_inputs};
use crate::stages::deflation::{Deflation, DeflationParams};
use crate::stages::separated_starts::{Sources, refinement};

/// Which attack is run from each start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Method {
    /// Descent on the first layer's residual while the gates sharpen; in the weights' subspace.
    Annealed(DescentParams),
    /// Gates fixed, least squares, repeat; in the weights' subspace.
    Alternating(AlternatingParams),
    /// The published momentum descent, on all inputs.
    Gradient(GradientParams),
}

impl Method {
    /// Steps of a run.
    pub fn steps(&self) -> usize {
        match self {
            Self::Annealed(options) => options.steps,
            Self::Alternating(options) => options.steps,
            Self::Gradient(options) => options.steps,
        }
    }

    fn moments(&self) -> usize {
        match self {
            Self::Annealed(_) => annealed::MOMENTS,
            Self::Alternating(_) => alternating::MOMENTS,
            Self::Gradient(_) => published::MOMENTS,
        }
    }
}

/// Options of [`reconstruct`]; checked once on entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackParams {
    /// The attack.
    pub method: Method,
    /// Candidates per run, m, even and >= 2; twice the rank if not given.
    pub candidates: Option<usize>,
    /// Independent starts, >= 1.
    pub restarts: usize,
    /// Coordinates to work in, told from the spectrum if not given.
    pub rank: Option<usize>,
    /// Prior knowledge, declared.
    pub prior: PriorKnowledge,
    /// The search for gate patterns near the candidates of the restarts, where the weights allow one (see
    /// [`crate::stages::activation_patterns`]); none if not given.
    pub patterns: Option<PatternParams>,
    /// The separation of the weights' row space, whose sources every other restart of [`Method::Annealed`] begins with where inputs
    /// are images (see [`palimpsest_unmix::separation`]); none if not given.
    pub separation: Option<SeparationParams>,
    /// The rounds in which [`Method::Annealed`] makes its restarts where inputs are smooth images of which no sources are found
    /// and the weights say that they were decayed (see [`crate::stages::deflation`]); independent restarts if not given.
    pub deflation: Option<DeflationParams>,
}

impl AttackParams {
    /// Checks every option that can be checked without a network.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        match &self.method {
            Method::Annealed(options) => options.check()?,
            Method::Alternating(options) => options.check()?,
            Method::Gradient(options) => options.check()?,
        }
        self.prior.check()?;
        if let Some(patterns) = &self.patterns {
            patterns.check()?;
        }
        if let Some(separation) = &self.separation {
            separation.check()?;
        }
        if let Some(deflation) = &self.deflation {
            deflation.check()?;
        }
        let bad =
            |name, allowed, got: usize| Err(AttackError::BadOption { name, allowed, got: got.to_string() });
        if self.restarts == 0 {
            return bad("restarts", "at least 1", 0);
        }
        match self.candidates {
            Some(m) if m < 2 || m % 2 == 1 => {
                bad("candidates", "an even number of at least 2 (half of each label)", m)
            }
            _ => Ok(()),
        }
    }
}

/// What an observer of [`reconstruct`] sees; called from several threads.
#[derive(Clone, Copy, Debug)]
pub enum AttackStep<'a> {
    /// A restart is about to take a step.
    Restart(RestartStep<'a>),
    /// A separation is about to begin a round; so many sources were found.
    Separation(usize),
    /// A round of restarts has ended; on so many images rounds have agreed so far.
    Agreed(usize),
    /// The search for gate patterns begins a round, or a run in it is about to take a step.
    Patterns(PatternStep),
}

/// Where a restart is.
#[derive(Clone, Copy, Debug)]
pub struct RestartStep<'a> {
    /// Index of the restart.
    pub restart: u64,
    /// Where it is.
    pub step: Step<'a>,
}

/// Attacks `network` from independent starts and pools what they find.
///
/// Restarts run on the current rayon pool, one thread each; a single restart uses the pool inside its products. The
/// result is the same bits for any number of threads. `observe` may end everything: runs cut short are dropped unless
/// no run has finished.
///
/// # Errors
/// [`AttackError::BadOption`], [`AttackError::NotAttackable`], [`AttackError::Factor`], or [`AttackError::NothingFinished`] when
/// every run ended in a NaN.
pub fn reconstruct(
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
) -> Result<Reconstruction, AttackError> {
    reconstruct_from(network, params, seed, &AttackState::default(), observe, &|_, _| {})
}

/// [`reconstruct`] from where an attack has come to already. `keep` is handed each run that comes to its end, `observe`
/// the state of each that is under way, both from several threads, so that the attack can go on from there another time.
///
/// A restart depends on its index alone, and a step on the state before it, so the result is the same bits as without a
/// break.
///
/// # Errors
/// Those of [`reconstruct`], and [`AttackError::ForeignRun`] for a run that cannot be one of this attack.
pub fn reconstruct_from(
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    from: &AttackState,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
    keep: &(dyn Fn(u64, &Run) + Sync),
) -> Result<Reconstruction, AttackError> {
    params.check()?;
    if network.outputs() != 1 {
        return Err(AttackError::NotAttackable(format!(
            "it has {} outputs and reconstruction is built for binary classifiers with one",
            network.outputs()
        )));
    }
    let threads = Parallelism::of_threads(rayon::current_num_threads());
    let problem = AttackProblem::prepare(network, params.prior, params.rank, threads)?;
    let m = params.candidates.unwrap_or(2 * problem.rank());
    let labels: Vec<i8> = (0..m).map(|i| if i < m / 2 { -1 } else { 1 }).collect();
    let weighting = OutputWeighting::Binary(labels.clone());
    let lift = !matches!(params.method, Method::Gradient(_));
    let columns = if lift { problem.rank() } else { network.inputs() };
    let (steps, moments) = (params.method.steps(), params.method.moments());
    from.check_fits(&RunShape { point: (m, columns), moments, steps })?;
    let inside = if params.restarts == 1 { threads } else { Parallelism::Sequential };
    let stopped = AtomicBool::new(false);
    let random = |restart: u64| seed.named("restarts").indexed(restart);
    let separating = |found: usize| observe(&AttackStep::Separation(found));
    let sources = match (&params.method, params.separation) {
        (Method::Annealed(_), Some(options)) => {
            Sources::look(&problem, options, random(0), threads, &mut |found| separating(found))?
        }
        _ => None,
    };
    let raw = sources.as_ref().and_then(Sources::raw);
    let begins_with_sources = |restart: u64| sources.is_some() && restart.is_multiple_of(SEPARATED_EVERY);
    let mut deflation = match (&params.method, params.deflation) {
        (Method::Annealed(descent), Some(options)) if sources.is_none() => {
            Deflation::of(&problem, &labels, options, *descent, threads)?
        }
        _ => None,
    };
    let attempt = |index: usize, deflation: Option<&Deflation<'_>>| {
        let restart = index as u64;
        if let Some(run) = from.finished.get(&restart) {
            return Some(run.clone());
        }
        if stopped.load(Ordering::Relaxed) {
            return None;
        }
        let mut observe = |step: &Step<'_>| {
            let flow = observe(&AttackStep::Restart(RestartStep { restart, step: *step }));
            if flow.is_break() {
                stopped.store(true, Ordering::Relaxed);
            }
            flow
        };
        let start = match from.under_way.get(&restart) {
            Some(state) => Start::State(state.clone()),
            None => Start::Random(random(restart)),
        };
        let mut run = match (&params.method, deflation) {
            (Method::Annealed(_), Some(deflation)) => {
                deflation.anneal(&weighting, start, inside, &mut observe)
            }
            (Method::Annealed(options), None) => {
                let sources = sources.as_ref().filter(|_| begins_with_sources(restart));
                let options = if sources.is_some() { refinement(options) } else { *options };
                let start = match (sources, start) {
                    (Some(sources), Start::Random(seed)) => {
                        sources.start(&weighting, &options, seed, inside, &mut |found| separating(found))
                    }
                    (_, start) => start,
                };
                anneal(&problem, &weighting, &options, start, inside, &mut observe)
            }
            (Method::Alternating(options), _) => {
                alternate(&problem, &weighting, options, start, inside, &mut observe)
            }
            (Method::Gradient(options), _) => {
                descend(network, &weighting, options, start, inside, &mut observe)
            }
        };
        if let Some(raw) = &raw {
            let refined = raw.refine(run.coordinates.view());
            run.unrefined = Some(std::mem::replace(&mut run.coordinates, refined));
        }
        if run.termination != TerminationReason::TimeLimit {
            keep(restart, &run);
        }
        Some(run)
    };
    let attempts = |restarts: Range<usize>, deflation: Option<&Deflation<'_>>| -> Vec<Option<Run>> {
        restarts.into_par_iter().with_max_len(1).map(|restart| attempt(restart, deflation)).collect()
    };
    let is_stopped = || stopped.load(Ordering::Relaxed);
    let (mut runs, mut planned) = (Vec::new(), params.restarts);
    if let Some(deflation) = &mut deflation {
        while runs.len() < planned && !is_stopped() && !deflation.is_complete() {
            let end = planned.min(runs.len() + deflation.restarts());
            let round = attempts(runs.len()..end, Some(deflation));
            deflation.learn(&round, threads);
            runs.extend(round);
            if observe(&AttackStep::Agreed(deflation.images().len())).is_break() {
                stopped.store(true, Ordering::Relaxed);
            }
        }
        planned = runs.len();
    }
    let before = params.patterns.map_or(planned, |patterns| patterns.after_restarts.min(planned));
    runs.extend(attempts(runs.len()..before, None));
    let mut exact = Vec::new();
    if let Some(options) = params.patterns.filter(|_| lift && !is_stopped()) {
        let observe = |step: &PatternStep| observe(&AttackStep::Patterns(*step));
        exact = inputs_near(&problem, &runs, &labels, &options, seed.named("patterns"), &observe);
    }
    // Once most inputs were found exactly, more restarts would say little that is new.
    if (exact.len() as f64) < MOST * problem.rank() as f64 {
        runs.extend(attempts(runs.len()..planned, None));
    }
    let attackability = Attackability::of(network, &problem);
    let mut solved: Vec<Solved> = exact.iter().map(Solved::exactly).collect();
    if let Some(deflation) = &deflation {
        let unexplained = deflation.first_residual();
        solved.extend(deflation.images().iter().map(|image| Solved::by_agreement(image, unexplained)));
    }
    let mut found = pool(&problem, attackability, runs, solved, &labels, lift, raw, threads)?;
    for record in &mut found.runs {
        record.separated = begins_with_sources(record.restart);
    }
    Ok(found)
}

/// Restarts for each that begins with separated sources.
const SEPARATED_EVERY: u64 = 2;
/// Inputs found exactly, as a share of the directions, from which on no more restarts are made.
const MOST: f64 = 0.5;
/// Restarts whose candidates the search for gate patterns begins with.
const SEEDING_RUNS: usize = 4;

/// What the search for gate patterns finds near the candidates of the first runs that came to their end.
fn inputs_near(
    problem: &AttackProblem,
    runs: &[Option<Run>],
    labels: &[i8],
    options: &PatternParams,
    seed: Seed,
    observe: &(dyn Fn(&PatternStep) -> ControlFlow<()> + Sync),
) -> Vec<PatternInput> {
    let finished = runs.iter().flatten().filter(|run| run.termination == TerminationReason::MaxSteps);
    let views: Vec<_> = finished.take(SEEDING_RUNS).map(|run| run.coordinates.view()).collect();
    if views.is_empty() {
        return Vec::new();
    }
    let candidates = concatenate(Axis(0), &views).expect("runs have the same number of columns");
    find_inputs(problem, candidates.view(), &labels.repeat(views.len()), options, seed, observe)
}
