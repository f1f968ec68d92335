//! Separates nested truncations of the weights' row space and takes what many separations find for candidates.

use std::ops::ControlFlow;

use ndarray::{Array1, Axis, s};
use palimpsest_unmix::agreement::{Evidence, separate_by_agreement};

use crate::error::AttackError;
use crate::search::method::Method;
use crate::search::step::Step;
use crate::stages::candidate::{Candidate, Origin, Support};
use crate::stages::context::{AttackContext, AttackStep};
use crate::stages::separation_by_agreement::inputs::{PictureInput, inputs_of, truncated};
use crate::stages::stage::{Outcome, Stage, WhyNot};

/// Pictures that many separations agree on, see [`palimpsest_unmix::agreement`].
pub struct SeparationByAgreement;

/// Pictures that become candidates, for each direction of the attack.
const MOST: usize = 1;

impl Stage for SeparationByAgreement {
    fn name(&self) -> &'static str {
        "separation by agreement"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        if !matches!(context.params.method, Method::Annealed(_)) {
            return Err(WhyNot::because("only annealed descent can begin with given images"));
        }
        if context.params.agreement.is_none() {
            return Err(WhyNot::because("it was left out"));
        }
        match context.problem.prior.image_shape {
            None => Err(WhyNot::because("the shape of an image was not declared")),
            Some([_, height, width]) if height < 3 || width < 3 => {
                Err(WhyNot::because("images this small have too few edges"))
            }
            Some(_) if context.sources.as_ref().is_some_and(|sources| sources.raw().is_some()) => {
                Err(WhyNot::because("raw images are known, of which their background says more"))
            }
            Some(_) => Ok(()),
        }
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let (Method::Annealed(options), Some(params), Some(shape)) =
            (&context.params.method, context.params.agreement, context.problem.prior.image_shape)
        else {
            return Ok(Outcome::Nothing(WhyNot::because("it was left out")));
        };
        let (problem, seed, threads) = (context.problem, context.seed.named("agreement"), context.threads);
        let directions = problem.directions.view();
        let values: Array1<f64> =
            problem.spectrum[..directions.nrows()].iter().map(|&value| f64::from(value)).collect();
        let tell = |found: usize| context.tell(&AttackStep::Separation(found));
        let mut observe = |at: palimpsest_unmix::agreement::Progress| tell(at.confirmed);
        let found =
            separate_by_agreement(directions, values.view(), shape, &params, seed, threads, &mut observe)?;
        let shown: Vec<usize> = (0..found.evidence.len())
            .filter(|&i| !found.evidence[i].is_shared_background())
            .take(MOST * problem.rank())
            .collect();
        if shown.is_empty() {
            return Ok(Outcome::Nothing(WhyNot::because("no picture was found by several separations")));
        }
        let pictures = truncated(found.pictures.select(Axis(0), &shown).slice(s![.., ..]), problem.rank());
        let mut step = |_: &Step<'_>| -> ControlFlow<()> { tell(shown.len()) };
        let seed = seed.named("signs");
        let candidates = context.labels.len();
        let inputs = inputs_of(problem, pictures.view(), candidates, options, seed, threads, &mut step);
        let inputs = inputs.unwrap_or_default();
        let candidates =
            inputs.iter().zip(&shown).map(|(input, &i)| candidate(input, &found.evidence[i])).collect();
        Ok(Outcome::Found(candidates))
    }
}

/// A picture with what speaks for it, as a candidate.
fn candidate(input: &PictureInput, evidence: &Evidence) -> Candidate {
    Candidate {
        origin: Origin::Separation,
        coordinates: input.coordinates.clone(),
        multiplier: input.multiplier,
        label: input.label,
        probability: probability(input, evidence) as f32,
        support: Some(Support { agreement: evidence.support_share.min(1.0) as f32, bias_share: 1.0 }),
    }
}

/// Probability in [0, 1] that a picture is a training input, sign included.
fn probability(input: &PictureInput, evidence: &Evidence) -> f64 {
    let unmoved = f64::from(input.unmoved).clamp(0.0, 1.0);
    let sign = SIGN[0] + SIGN[1] * logit(f64::from(input.sign_share));
    evidence.probability() * unmoved * logistic(sign)
}

/// Coefficients of 1 and the log odds of the sign's share.
const SIGN: [f64; 2] = [1.0, 1.5];

fn logistic(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(0.5, LARGEST_SHARE);
    (share / (1.0 - share)).ln()
}

/// Share above which a sign is not surer.
const LARGEST_SHARE: f64 = 0.99;
