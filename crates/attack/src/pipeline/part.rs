//! Some restarts of an attack, by number, so that several machines can share it.
//!
//! A restart depends on the network, the options, the seed and its number; where restarts come in rounds
//! ([`crate::stages::deflation`]), also on the rounds before. The other stages need all restarts, or cost less than handing their
//! results on, and are left to whoever joins the parts: [`crate::reconstruct_from`] a state that holds all of them.

use std::ops::Range;

use palimpsest_mlp::Mlp;
use palimpsest_numerics::seed::Seed;

use crate::error::AttackError;
use crate::pipeline::driver::{prepared, run_stage};
use crate::search::restart::{Restart, TerminationReason};
use crate::search::state::AttackState;
use crate::stages::context::{AttackContext, AttackObserver};
use crate::stages::deflation::stage::DeflationRounds;
use crate::stages::params::AttackParams;
use crate::stages::restarts::RemainingRestarts;
use crate::stages::separated_starts::stage::SeparatedStarts;
use crate::stages::stage::Stage;

/// What has come of some restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Restarts that have come to their end, of those that were asked for.
    pub finished: u64,
    /// How many restarts are of use in all, where rounds of them have taken enough out of the equation: those from this number
    /// on were not made.
    pub enough: Option<u64>,
}

/// Makes the restarts of these `numbers` of an attack, and nothing else of it; `keep` is handed each that comes to its end.
///
/// Each is, to the bit, that of [`crate::reconstruct`] of any attack that has it, whatever `params.restarts` is. `from` holds
/// what is known of them, as in [`crate::reconstruct_from`], and the restarts before them where these come in rounds.
///
/// # Errors
/// Those of [`crate::reconstruct_from`], but for [`AttackError::NothingFinished`]; [`AttackError::EarlierRestarts`] when restarts
/// come in rounds and those of an earlier round are not in `from`; [`AttackError::BadOption`] for no numbers.
pub fn make_restarts(
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    numbers: Range<u64>,
    from: &AttackState,
    observe: &AttackObserver<'_>,
    keep: &(dyn Fn(u64, &Restart) + Sync),
) -> Result<Part, AttackError> {
    let planned = usize::try_from(numbers.end).unwrap_or(usize::MAX);
    if numbers.is_empty() {
        let got = format!("{}..{}", numbers.start, numbers.end);
        return Err(AttackError::BadOption { name: "restarts", allowed: "a range with a number in it", got });
    }
    let params = AttackParams { restarts: planned, ..*params };
    prepared(network, &params, seed, from, observe, keep, |mut context| {
        context.ours = numbers.clone();
        let stages: [&dyn Stage; 3] = [&SeparatedStarts, &DeflationRounds, &RemainingRestarts];
        for stage in stages {
            run_stage(stage, &mut context, &mut Vec::new())?;
        }
        part(&context, numbers, planned)
    })
}

/// What has come of the restarts of these `numbers`, when as many as `planned` were asked for.
fn part(context: &AttackContext<'_>, numbers: Range<u64>, planned: usize) -> Result<Part, AttackError> {
    let made = context.restarts.len() as u64;
    let is_known = |number: u64| matches!(context.restarts.get(number as usize), Some(Some(_)));
    let in_rounds = context.restarts.len() < planned && !context.is_stopped();
    if in_rounds && let Some(missing) = (0..made.min(numbers.start)).find(|&number| !is_known(number)) {
        return Err(AttackError::EarlierRestarts { needed: 0..made.min(numbers.start), missing });
    }
    let ours = context.restarts.iter().zip(0..).filter(|(_, number)| numbers.contains(number));
    let finished = ours.filter(|(restart, _)| {
        restart.as_ref().is_some_and(|restart| restart.termination != TerminationReason::TimeLimit)
    });
    Ok(Part { finished: finished.count() as u64, enough: in_rounds.then_some(made) })
}
