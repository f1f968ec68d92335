//! Looks for images that every other restart begins with.

use crate::error::AttackError;
use crate::problem::entry::MOST_OF_INPUTS;
use crate::search::method::Method;
use crate::stages::context::{AttackContext, AttackStep, SeparatedImages};
use crate::stages::separated_starts::sources::Sources;
use crate::stages::stage::{Outcome, Stage};
use crate::stages::why_not::WhyNot;

/// Separates the row space of the weights at its own rank, see [`palimpsest_unmix::separation`].
pub struct SeparatedStarts;

impl Stage for SeparatedStarts {
    fn name(&self) -> &'static str {
        "separated starts"
    }

    fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
        let problem = context.problem;
        if !matches!(context.params.method, Method::Annealed(_)) {
            return Err(WhyNot::because("only annealed descent can begin with given images"));
        }
        if context.params.separation.is_none() {
            return Err(WhyNot::because("it was left out"));
        }
        if problem.prior.image_shape.is_none() {
            return Err(WhyNot::because("the shape of an image was not declared"));
        }
        if problem.rank() as f64 > MOST_OF_INPUTS * problem.inputs as f64 {
            return Err(WhyNot::because("the weights have so many directions that any picture lies in them"));
        }
        Ok(())
    }

    fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
        let (Some(params), Some(shape)) = (context.params.separation, context.problem.prior.image_shape)
        else {
            return Ok(Outcome::Nothing(WhyNot::because("it was left out")));
        };
        // A look that is cut short finds other sources: restarts must not begin with them.
        let tell = &mut |found: usize| context.tell(&AttackStep::Separation(found));
        let found = Sources::look(context.problem, shape, params, context.seed_of(0), context.threads, tell)?;
        context.sources = found;
        if let Some(sources) = &context.sources
            && let Some(images) = sources.images()
        {
            let separated = SeparatedImages { coordinates: images.view(), raw: sources.raw() };
            // Whoever ends the attack here is heard before the next step.
            let _ = context.tell(&AttackStep::Separated(separated));
        }
        Ok(match &context.sources {
            Some(_) => Outcome::Found(Vec::new()),
            None => Outcome::Nothing(WhyNot::because(
                "too few images were separated for the directions there are",
            )),
        })
    }
}
