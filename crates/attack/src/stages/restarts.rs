//! Independent restarts.

use std::ops::ControlFlow;

use palimpsest_numerics::gemm::Parallelism;

use crate::error::AttackError;
use crate::search::alternating::alternate;
use crate::search::annealed::anneal;
use crate::search::method::Method;
use crate::search::published::descend;
use crate::search::restart::Restart;
use crate::search::state::Start;
use crate::search::step::Step;
use crate::stages::context::{AttackContext, AttackStep};
use crate::stages::saturation::{Looks, Saturation};
use crate::stages::stage::{Outcome, Stage};
use crate::stages::starts::{refinement, start_at_images};
use crate::stages::why_not::WhyNot;

/// The restarts after which other stages may know enough; if none waits for them, all.
pub struct FirstRestarts;

/// The restarts that are left.
pub struct RemainingRestarts;

impl Stage for FirstRestarts {
    fn name(&self) -> &'static str {
        "restarts"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        are_left(context)
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let planned = context.planned;
        let waiting = context.params.patterns.map(|patterns| patterns.after_restarts);
        let looked = context.params.saturation.map(|saturation| saturation.every);
        let end = waiting.into_iter().chain(looked).fold(planned, usize::min);
        make(context, end)
    }
}

impl Stage for RemainingRestarts {
    fn name(&self) -> &'static str {
        "more restarts"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        are_left(context)
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let Some(params) = context.params.saturation else { return make(context, context.planned) };
        let first = context.restarts.len();
        let mut looks = Looks::default();
        while context.restarts.len() < context.planned && !context.is_stopped() {
            let made = context.restarts.len();
            context.saturation = looks.look(&context.restarts, context.labels, &params, context.threads)?;
            if let Some(Saturation { last, .. }) = context.saturation {
                context.planned = made;
                if made == first {
                    return Ok(Outcome::Nothing(WhyNot::because(format!(
                        "the last {last} restarts brought nothing new"
                    ))));
                }
                break;
            }
            make(context, context.planned.min(made + params.every))?;
        }
        Ok(Outcome::Found(Vec::new()))
    }
}

fn are_left(context: &AttackContext<'_>) -> Result<(), WhyNot> {
    if context.restarts.len() < context.planned {
        Ok(())
    } else {
        Err(WhyNot::because("all restarts that are of use were made by an earlier stage"))
    }
}

fn make(context: &mut AttackContext<'_>, end: usize) -> Result<Outcome, AttackError> {
    context.look_for_starts()?;
    let first = context.restarts.len();
    let made: Vec<Option<Restart>> = {
        let context = &*context;
        let search = |number: u64,
                      start: Start,
                      inside: Parallelism,
                      observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>| {
            search(context, number, start, inside, observe)
        };
        context.make(first..end.max(first), &search)
    };
    context.restarts.extend(made);
    Ok(Outcome::Found(Vec::new()))
}

/// A restart by the attack's method, from separated images where it is its turn.
fn search(
    context: &AttackContext<'_>,
    number: u64,
    start: Start,
    inside: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Option<Restart> {
    let (problem, pull) = (context.problem, context.pull);
    match &context.params.method {
        Method::Annealed(options) => {
            if !context.begins_with_images(number) {
                return Some(anneal(problem, pull, options, start, inside, observe));
            }
            let options = refinement(options);
            let start = match (start, &context.sources) {
                (Start::Random(seed), Some(sources)) => {
                    let tell = &mut |found: usize| context.tell(&AttackStep::Separation(found));
                    let start = sources.start(pull, &options, seed, inside, tell);
                    if context.is_stopped() {
                        return None;
                    }
                    start
                }
                (Start::Random(seed), None) => {
                    let images = context.supported_images();
                    start_at_images(problem, images.view(), pull, &options, seed, inside)
                }
                (state, _) => state,
            };
            Some(anneal(problem, pull, &options, start, inside, observe))
        }
        Method::Alternating(options) => Some(alternate(problem, pull, options, start, inside, observe)),
        Method::Gradient(options) => Some(descend(context.network, pull, options, start, inside, observe)),
    }
}
