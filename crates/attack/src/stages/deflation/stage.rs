//! Makes the restarts in rounds, where that applies.

use std::ops::ControlFlow;

use palimpsest_numerics::gemm::Parallelism;

use crate::error::AttackError;
use crate::evidence::confidence::probability_of_agreed;
use crate::problem::prepared::AttackProblem;
use crate::search::annealed::DescentParams;
use crate::search::method::Method;
use crate::search::restart::Restart;
use crate::search::state::Start;
use crate::search::step::Step;
use crate::stages::candidate::{Candidate, Origin, Support};
use crate::stages::context::{AttackContext, AttackStep};
use crate::stages::deflation::rounds::{AgreedImage, Deflation, DeflationParams, MOST_DIRECTIONS};
use crate::stages::saturation::{Saturation, SaturationParams};
use crate::stages::stage::{Outcome, Stage};
use crate::stages::why_not::WhyNot;

/// Restarts in rounds, see [`crate::stages::deflation::rounds`].
pub struct DeflationRounds;

impl Stage for DeflationRounds {
    fn name(&self) -> &'static str {
        "deflation"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        options(context)?;
        if context.sources.is_some() {
            return Err(WhyNot::because(
                "images were separated from the weights, and restarts begin with these",
            ));
        }
        suits(context.problem)
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let (params, descent) = match options(context) {
            Ok(options) => options,
            Err(why_not) => return Ok(Outcome::Nothing(why_not)),
        };
        let (problem, threads) = (context.problem, context.threads);
        let of = Deflation::of(problem, context.labels, params, descent, threads)?;
        let Some(mut deflation) = of else {
            return Ok(Outcome::Nothing(WhyNot::because(
                "the weights do not look like sums of smooth images",
            )));
        };
        while context.restarts.len() < context.planned && !context.is_stopped() && !deflation.is_complete() {
            let first = context.restarts.len();
            let end = context.planned.min(first + deflation.restarts());
            let search = |_: u64,
                          start: Start,
                          inside: Parallelism,
                          observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>|
             -> Option<Restart> {
                Some(deflation.anneal(context.pull, start, inside, observe))
            };
            let round = context.make(first..end, &search);
            let is_whole = round.iter().all(Option::is_some);
            let (known, last) = (deflation.images().len(), round.len());
            if is_whole {
                deflation.learn(&round, threads);
            }
            context.restarts.extend(round);
            // The next round descends on what this one leaves: restarts that are somebody else's come first.
            if !is_whole {
                break;
            }
            let found = deflation.images().len();
            if context.tell(&AttackStep::Agreed(found)).is_break() {
                break;
            }
            let ends =
                |params: &SaturationParams| end >= params.every && params.is_nothing(found - known, found);
            if context.params.saturation.as_ref().is_some_and(ends) {
                context.saturation = Some(Saturation { restarts: end, last, found });
                break;
            }
        }
        // Once enough is known, more restarts would say little that is new.
        context.planned = context.restarts.len();
        let unexplained = deflation.first_residual();
        Ok(Outcome::Found(deflation.images().iter().map(|image| candidate(image, unexplained)).collect()))
    }
}

/// The options of the rounds and of their restarts.
fn options(context: &AttackContext<'_>) -> Result<(DeflationParams, DescentParams), WhyNot> {
    let Method::Annealed(descent) = context.params.method else {
        return Err(WhyNot::because("only restarts of annealed descent come in rounds"));
    };
    match context.params.deflation {
        Some(params) => Ok((params, descent)),
        None => Err(WhyNot::because("it was left out")),
    }
}

/// Whether the weights say that backpropagated signals were the same for long, and that they can be told apart.
fn suits(problem: &AttackProblem) -> Result<(), WhyNot> {
    if problem.prior.image_shape.is_none() {
        return Err(WhyNot::because("the shape of an image was not declared"));
    }
    if problem.is_exact() {
        return Err(WhyNot::because("the equation is exact, and activation patterns find more"));
    }
    let later = &problem.later_layers;
    if later.is_empty() {
        return Err(WhyNot::because(
            "with one hidden layer the weights do not say whether they were decayed",
        ));
    }
    if !problem.is_decayed() {
        return Err(WhyNot::because("the later layers have not forgotten their initialisation"));
    }
    let first = &problem.network.layers()[0];
    if first.bias.is_none() {
        return Err(WhyNot::because("the first layer has no biases"));
    }
    if (problem.rank() + 1) as f64 > MOST_DIRECTIONS * first.weight.nrows() as f64 {
        return Err(WhyNot::because("there are too many directions for the neurons"));
    }
    Ok(())
}

/// An image on which a round of restarts agreed, the first round having left `unexplained` of the first layer.
fn candidate(image: &AgreedImage, unexplained: f64) -> Candidate {
    Candidate {
        origin: Origin::Deflation,
        coordinates: image.coordinates.clone(),
        multiplier: image.multiplier,
        label: image.label,
        probability: probability_of_agreed(image.agreement, image.bias_share, unexplained) as f32,
        support: Some(Support { agreement: image.agreement, bias_share: image.bias_share }),
    }
}
