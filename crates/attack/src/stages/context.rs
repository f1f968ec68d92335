//! What the stages of an attack share: the problem, the options, and what was found so far.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Array2, ArrayView2};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::raw::RawImages;
use rayon::prelude::*;

use crate::error::AttackError;
use crate::problem::prepared::AttackProblem;
use crate::search::restart::{Restart, TerminationReason};
use crate::search::state::{AttackState, Start};
use crate::search::step::Step;
use crate::stages::activation_patterns::PatternStep;
use crate::stages::params::AttackParams;
use crate::stages::saturation::Saturation;
use crate::stages::separated_starts::sources::Sources;
use crate::stages::separation_by_agreement::look::{Pictures, Supported};
use crate::stages::starts::of_both_signs;
use crate::stages::why_not::WhyNot;

/// What an observer of an attack sees; called from several threads.
#[derive(Clone, Copy, Debug)]
pub enum AttackStep<'a> {
    /// A restart is about to take a step.
    Restart(RestartStep<'a>),
    /// A separation is about to begin a round; so many sources were found.
    Separation(usize),
    /// A separation has ended: these are its images, before any restart.
    Separated(SeparatedImages<'a>),
    /// A round of restarts has ended; on so many images rounds have agreed so far.
    Agreed(usize),
    /// The search for activation patterns begins a round, or a restart in it is about to take a step.
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

/// Images that were separated from the weights, their signs told.
#[derive(Clone, Copy, Debug)]
pub struct SeparatedImages<'a> {
    /// In the coordinates of the attack, likely ones first, (k, r).
    pub coordinates: ArrayView2<'a, f32>,
    /// What is known of raw images, if anything is.
    pub raw: Option<&'a RawImages>,
}

/// Sees every [`AttackStep`] and may end the attack.
pub type AttackObserver<'a> = dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync + 'a;

/// How a restart is made from its number and its start, with so many threads inside; nothing where an observer ended it before its
/// first step, as a start that was cut short is another one.
pub(crate) type Search<'a> = dyn Fn(u64, Start, Parallelism, &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>) -> Option<Restart>
    + Sync
    + 'a;

/// What the stages of an attack share.
pub struct AttackContext<'a> {
    /// The network as it was given.
    pub network: &'a Mlp<f32>,
    /// The network prepared for attack.
    pub problem: &'a AttackProblem,
    /// Options, checked.
    pub params: &'a AttackParams,
    /// Label of each candidate of a restart, (m).
    pub labels: &'a [Label],
    /// The same as what each candidate's multiplier pulls on.
    pub pull: &'a OutputPull,
    /// The attack's seed.
    pub seed: Seed,
    /// Threads for work outside of restarts.
    pub threads: Parallelism,
    pub(crate) from: &'a AttackState,
    pub(crate) observe: &'a AttackObserver<'a>,
    pub(crate) keep: &'a (dyn Fn(u64, &Restart) + Sync),
    pub(crate) stopped: &'a AtomicBool,
    /// Pictures that many separations of the entry layer agree on, once they were looked for.
    pub(crate) pictures: &'a Pictures<'a>,
    /// Images separated from the weights, once they were looked for and found.
    pub(crate) sources: Option<Sources<'a>>,
    /// Restarts made so far, by number; nothing for one that was not begun.
    pub(crate) restarts: Vec<Option<Restart>>,
    /// Restarts to be made in all.
    pub(crate) planned: usize,
    /// That restarts ended by themselves, if they did.
    pub(crate) saturation: Option<Saturation>,
    /// Numbers of those that are made here: others were made before, or are somebody else's.
    pub(crate) ours: Range<u64>,
}

/// Probability of a supported picture from which on restarts begin with it.
const LIKELY: f64 = 0.5;

/// Such pictures, as a share of the directions, from which on restarts begin with them: where most candidates are random all the same,
/// annealing from soft gates finds more than refinement.
const LEAST_PICTURES: f64 = 0.33;

/// Tells an observer where the attack is; `stopped` remembers when it ends it.
pub(crate) fn tell(
    observe: &AttackObserver<'_>,
    stopped: &AtomicBool,
    step: &AttackStep<'_>,
) -> ControlFlow<()> {
    let flow = observe(step);
    if flow.is_break() {
        stopped.store(true, Ordering::Relaxed);
    }
    flow
}

/// Restarts for each that begins with separated images.
const SEPARATED_EVERY: u64 = 2;

impl AttackContext<'_> {
    /// Whether the observer has ended the attack.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Tells the observer where the attack is.
    pub fn tell(&self, step: &AttackStep<'_>) -> ControlFlow<()> {
        tell(self.observe, self.stopped, step)
    }

    /// Columns of a candidate: coordinates in the subspace of the weights, or inputs.
    pub(crate) fn columns(&self) -> usize {
        if self.params.method.is_in_subspace() { self.problem.rank() } else { self.network.inputs() }
    }

    /// Candidates of the restarts that were made.
    pub(crate) fn candidates_of_restarts(&self) -> usize {
        self.restarts.iter().flatten().count() * self.labels.len()
    }

    /// Pictures that many separations of the entry layer agree on, or why there are none; they are looked for when they are first asked
    /// for, which takes long.
    ///
    /// # Errors
    /// [`AttackError`] when a factorisation fails.
    pub fn supported(&self) -> Result<Result<&Supported, WhyNot>, AttackError> {
        if self.is_stopped() && !self.pictures.are_looked_for() {
            return Ok(Err(WhyNot::because("the attack was ended before they were looked for")));
        }
        self.pictures.look(&mut |found| self.tell(&AttackStep::Separation(found)))
    }

    /// Makes sure that restarts know the images they begin with.
    ///
    /// # Errors
    /// Those of [`Self::supported`].
    pub(crate) fn look_for_starts(&self) -> Result<(), AttackError> {
        if self.sources.is_none() {
            // Its absence has no consequence: restarts then begin at random.
            let _ = self.supported()?;
        }
        Ok(())
    }

    /// Whether the restart of this number begins with images separated from the weights.
    pub(crate) fn begins_with_images(&self, number: u64) -> bool {
        let are_known = self.sources.is_some() || !self.supported_images().is_empty();
        are_known && number.is_multiple_of(SEPARATED_EVERY)
    }

    /// Supported pictures that are likelier images than not, of both signs and of the prior norm, (k, r); none where they are few, or were
    /// not looked for as images were separated otherwise.
    pub(crate) fn supported_images(&self) -> Array2<f32> {
        let Some(supported) = self.pictures.found() else { return Array2::zeros((0, self.problem.rank())) };
        let likely =
            supported.evidence.iter().take_while(|evidence| evidence.probability() >= LIKELY).count();
        if (likely as f64) < LEAST_PICTURES * self.problem.rank() as f64 {
            return Array2::zeros((0, self.problem.rank()));
        }
        let pictures = supported.truncated(likely, self.problem.rank());
        of_both_signs(pictures.view(), self.problem.input_norm)
    }

    /// The seed of a restart.
    pub(crate) fn seed_of(&self, number: u64) -> Seed {
        self.seed.named("restarts").indexed(number)
    }

    /// Makes the restarts of these numbers by `search`.
    pub(crate) fn make(&self, numbers: Range<usize>, search: &Search<'_>) -> Vec<Option<Restart>> {
        numbers.into_par_iter().with_max_len(1).map(|i| self.make_one(i as u64, search)).collect()
    }

    /// A restart, unless the attack was ended; one that came to its end before is taken as it is.
    fn make_one(&self, number: u64, search: &Search<'_>) -> Option<Restart> {
        if let Some(restart) = self.from.finished.get(&number) {
            return Some(restart.clone());
        }
        if self.is_stopped() || !self.ours.contains(&number) {
            return None;
        }
        let mut observe =
            |step: &Step<'_>| self.tell(&AttackStep::Restart(RestartStep { restart: number, step: *step }));
        let start = match self.from.under_way.get(&number) {
            Some(state) => Start::State(state.clone()),
            None => Start::Random(self.seed_of(number)),
        };
        let inside = if self.params.restarts == 1 { self.threads } else { Parallelism::Sequential };
        let mut restart = search(number, start, inside, &mut observe)?;
        if let Some(raw) = self.sources.as_ref().and_then(Sources::raw) {
            let refined = raw.refine(restart.coordinates.view());
            restart.unrefined = Some(std::mem::replace(&mut restart.coordinates, refined));
        }
        if restart.termination != TerminationReason::TimeLimit {
            (self.keep)(number, &restart);
        }
        Some(restart)
    }
}
