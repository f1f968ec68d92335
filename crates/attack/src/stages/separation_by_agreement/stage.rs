//! Takes the pictures that many separations of the weights' row space agree on for candidates.

use std::ops::ControlFlow;

use ndarray::Array2;
use palimpsest_unmix::agreement::Evidence;

use crate::error::AttackError;
use crate::search::method::Method;
use crate::search::step::Step;
use crate::stages::candidate::{Candidate, Origin, Support};
use crate::stages::context::{AttackContext, AttackStep, SeparatedImages};
use crate::stages::separation_by_agreement::inputs::{PictureInput, inputs_of};
use crate::stages::stage::{Outcome, Stage};
use crate::stages::why_not::WhyNot;

/// Pictures that many separations agree on, see [`palimpsest_unmix::agreement`].
pub struct SeparationByAgreement;

/// Pictures that become candidates, for each direction of the attack.
const MOST: usize = 1;

impl Stage for SeparationByAgreement {
    fn name(&self) -> &'static str {
        "separation by agreement"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        if context.sources.as_ref().is_some_and(|sources| sources.raw().is_some()) {
            return Err(WhyNot::because("raw images are known, of which their background says more"));
        }
        Ok(())
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let supported = match context.supported()? {
            Ok(supported) => supported,
            Err(why_not) => return Ok(Outcome::Nothing(why_not)),
        };
        let Method::Annealed(options) = &context.params.method else {
            return Ok(Outcome::Nothing(WhyNot::because(
                "only annealed descent can begin with given images",
            )));
        };
        let (problem, threads) = (context.problem, context.threads);
        let pictures = supported.truncated(MOST * problem.rank(), problem.rank());
        let tell = |found: usize| context.tell(&AttackStep::Separation(found));
        let mut step = |_: &Step<'_>| -> ControlFlow<()> { tell(pictures.nrows()) };
        let seed = context.seed.named("agreement").named("signs");
        let candidates = context.labels.len();
        let inputs = inputs_of(problem, pictures.view(), candidates, options, seed, threads, &mut step);
        let inputs = inputs.unwrap_or_default();
        if !inputs.is_empty() {
            tell_images(context, &inputs);
        }
        let candidates =
            inputs.iter().zip(&supported.evidence).map(|(input, of)| candidate(input, of)).collect();
        Ok(Outcome::Found(candidates))
    }
}

/// Tells an observer the pictures as `inputs`, surest first.
fn tell_images(context: &AttackContext<'_>, inputs: &[PictureInput]) {
    let mut coordinates = Array2::zeros((inputs.len(), context.problem.rank()));
    for (mut row, input) in coordinates.rows_mut().into_iter().zip(inputs) {
        row.assign(&input.coordinates);
    }
    let separated = SeparatedImages { coordinates: coordinates.view(), raw: None };
    // Whoever ends the attack here is heard before the next step.
    let _ = context.tell(&AttackStep::Separated(separated));
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

/// Probability in [0, 1] that a picture is a training input or the negative of one: less if descent moved it.
fn probability(input: &PictureInput, evidence: &Evidence) -> f64 {
    evidence.probability() * f64::from(input.unmoved).clamp(0.0, 1.0)
}
