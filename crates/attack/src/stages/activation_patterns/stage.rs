//! Solves for inputs exactly, where weight decay made the equation exact.

use ndarray::{Array2, Axis, concatenate};
use palimpsest_kkt::outputs::Label;

use crate::error::AttackError;
use crate::evidence::confidence::probability_of_pattern;
use crate::search::restart::TerminationReason;
use crate::stages::activation_patterns::image::PatternInput;
use crate::stages::activation_patterns::search::{Beginning, PatternStep, find_inputs};
use crate::stages::candidate::{Candidate, Origin};
use crate::stages::context::{AttackContext, AttackStep};
use crate::stages::stage::{Outcome, Stage};
use crate::stages::why_not::WhyNot;

/// The search for activation patterns near the candidates of the first restarts.
pub struct ActivationPatterns;

/// Inputs found exactly, as a share of the directions, from which on no more restarts are made.
const MOST: f64 = 0.5;
/// Restarts whose candidates the search begins with.
const SEEDING_RESTARTS: usize = 4;

impl Stage for ActivationPatterns {
    fn name(&self) -> &'static str {
        "activation patterns"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        if context.params.patterns.is_none() {
            return Err(WhyNot::because("it was left out"));
        }
        if !context.params.method.is_in_subspace() {
            return Err(WhyNot::because("the published attack does not work in the subspace of the weights"));
        }
        if context.labels.iter().any(|&label| label > Label::POSITIVE) {
            return Err(WhyNot::because(
                "with several outputs the backpropagated signals of a class are not known from the weights",
            ));
        }
        if !context.problem.has_patterns() {
            return Err(WhyNot::because(
                "the first layer's equation is not exact: it takes weight decay to stationarity, directions clear of what is left of the start, a bias in the first layer, and four neurons for each direction",
            ));
        }
        Ok(())
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let Some(params) = context.params.patterns.filter(|_| !context.is_stopped()) else {
            return Ok(Outcome::Found(Vec::new()));
        };
        let finished = context
            .restarts
            .iter()
            .flatten()
            .filter(|restart| restart.termination == TerminationReason::MaxSteps);
        let views: Vec<_> =
            finished.take(SEEDING_RESTARTS).map(|restart| restart.coordinates.view()).collect();
        if views.is_empty() {
            return Ok(Outcome::Found(Vec::new()));
        }
        let near = concatenate(Axis(0), &views).expect("restarts have the same number of columns");
        let labels = context.labels.repeat(views.len());
        let seed = context.seed.named("patterns");
        let observe = |step: &PatternStep| (context.observe)(&AttackStep::Patterns(*step));
        let rank = context.problem.rank();
        let supported = context.supported()?;
        let pictures = match &supported {
            Ok(supported) => supported.truncated(rank, rank),
            Err(_) => Array2::zeros((0, rank)),
        };
        let separation = context.params.agreement.as_ref().filter(|_| supported.is_ok());
        let beginning =
            Beginning { candidates: near.view(), labels: &labels, pictures: pictures.view(), separation };
        let exact = find_inputs(context.problem, beginning, &params, seed, &observe);
        // Once most inputs were found exactly, more restarts would say little that is new.
        if exact.len() as f64 >= MOST * context.problem.rank() as f64 {
            context.planned = context.restarts.len();
        }
        Ok(Outcome::Found(exact.iter().map(candidate).collect()))
    }
}

/// An input found from its activation pattern.
fn candidate(input: &PatternInput) -> Candidate {
    Candidate {
        origin: Origin::ActivationPattern,
        coordinates: input.coordinates.clone(),
        multiplier: input.multiplier as f32,
        label: input.label,
        probability: probability(input) as f32,
        support: None,
    }
}

/// Probability of an input that is a picture with the gates of a pattern, at most: on two networks about one in ten was a negative, as the gates of
/// some inputs are alike.
const CONFIRMED_PICTURE: f64 = 0.9;

fn probability(input: &PatternInput) -> f64 {
    let solved = probability_of_pattern(input.held_out_agreement, input.stability);
    if input.is_determined() { solved } else { solved.min(CONFIRMED_PICTURE) }
}
