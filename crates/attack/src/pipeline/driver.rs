//! The driver: which stages run on a network, in which order, and what they found, pooled into one reconstruction.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use palimpsest_mlp::Mlp;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

use crate::error::AttackError;
use crate::pipeline::pool::pool;
use crate::pipeline::reconstruction::Reconstruction;
use crate::problem::entry::EntryLayer;
use crate::problem::prepared::AttackProblem;
use crate::problem::rank::directions_of_signal;
use crate::search::restart::Restart;
use crate::search::state::{AttackState, RunShape};
use crate::stages;
use crate::stages::candidate::Candidate;
use crate::stages::context::{AttackContext, AttackObserver, AttackStep, tell};
use crate::stages::params::AttackParams;
use crate::stages::separation_by_agreement::look::{Pictures, Supported};
use crate::stages::stage::{Outcome, Stage, StageRecord};

/// Attacks `network` from independent starts and pools what they find.
///
/// Restarts run on the current rayon pool, one thread each; a single restart uses the pool inside its products. The
/// result is the same bits for any number of threads. `observe` may end everything: restarts cut short are dropped unless
/// no restart has finished; where none was begun, what separations found is listed.
///
/// # Errors
/// [`AttackError::BadOption`], [`AttackError::NotAttackable`], [`AttackError::Factor`], or [`AttackError::NothingFinished`] when
/// every restart ended in a NaN, or none was begun and nothing was found otherwise.
pub fn reconstruct(
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
) -> Result<Reconstruction, AttackError> {
    reconstruct_from(network, params, seed, &AttackState::default(), observe, &|_, _| {})
}

/// [`reconstruct`] from where an attack has come to already. `keep` is handed each restart that comes to its end, `observe`
/// the state of each that is under way, both from several threads, so that the attack can go on from there another time.
///
/// A restart depends on its index alone, and a step on the state before it, so the result is the same bits as without a
/// break.
///
/// # Errors
/// Those of [`reconstruct`], and [`AttackError::ForeignRestart`] for a restart that cannot be one of this attack.
pub fn reconstruct_from(
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    from: &AttackState,
    observe: &AttackObserver<'_>,
    keep: &(dyn Fn(u64, &Restart) + Sync),
) -> Result<Reconstruction, AttackError> {
    reconstruct_by(&stages::all(), network, params, seed, from, observe, keep)
}

/// [`reconstruct_from`] by these stages, in their order.
///
/// # Errors
/// Those of [`reconstruct_from`].
pub fn reconstruct_by(
    stages: &[Box<dyn Stage>],
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    from: &AttackState,
    observe: &AttackObserver<'_>,
    keep: &(dyn Fn(u64, &Restart) + Sync),
) -> Result<Reconstruction, AttackError> {
    prepared(network, params, seed, from, observe, keep, |mut context| {
        let (mut records, mut solved) = (Vec::with_capacity(stages.len()), Vec::new());
        for stage in stages {
            records.push(run_stage(stage.as_ref(), &mut context, &mut solved)?);
        }
        pool(context, solved, records)
    })
}

/// Prepares the attack that [`reconstruct_by`] would make, up to its first stage, and hands it to `then`.
///
/// # Errors
/// Those of [`reconstruct_from`], and those of `then`.
pub(crate) fn prepared<T>(
    network: &Mlp<f32>,
    params: &AttackParams,
    seed: Seed,
    from: &AttackState,
    observe: &AttackObserver<'_>,
    keep: &(dyn Fn(u64, &Restart) + Sync),
    then: impl FnOnce(AttackContext<'_>) -> Result<T, AttackError>,
) -> Result<T, AttackError> {
    params.check()?;
    let threads = Parallelism::of_threads(rayon::current_num_threads());
    let entry = EntryLayer::of(network, params.prior, threads)?;
    let stopped = AtomicBool::new(false);
    let pictures = Pictures::of(&entry, params, seed.named("agreement"), threads);
    let supported = || {
        let mut tell = |found: usize| tell(observe, &stopped, &AttackStep::Separation(found));
        Ok(pictures.look(&mut tell)?.ok().and_then(Supported::rank))
    };
    let rank = match params.rank {
        Some(rank) => rank,
        None => directions_of_signal(&entry, &supported, params.separation, seed.named("rank"), threads)?,
    };
    let problem = AttackProblem::enter(&entry, Some(rank), threads)?;
    let m = params.candidates.unwrap_or(2 * problem.rank());
    let labels = problem.head.label_evenly(m);
    let pull = problem.head.pull(labels.clone());
    let context = AttackContext {
        network: &entry.network,
        problem: &problem,
        params,
        labels: &labels,
        pull: &pull,
        seed,
        threads,
        from,
        observe,
        keep,
        stopped: &stopped,
        pictures: &pictures,
        sources: None,
        restarts: Vec::new(),
        planned: params.restarts,
        saturation: None,
        ours: 0..u64::MAX,
    };
    let (steps, moments) = (params.method.steps(), params.method.moments());
    from.check_fits(&RunShape { point: (m, context.columns()), moments, steps })?;
    then(context)
}

/// Runs a stage, if it applies; adds what it found to `solved`.
pub(crate) fn run_stage(
    stage: &dyn Stage,
    context: &mut AttackContext<'_>,
    solved: &mut Vec<Candidate>,
) -> Result<StageRecord, AttackError> {
    let before = context.candidates_of_restarts();
    let outcome = match stage.applies(context) {
        Ok(()) => stage.run(context)?,
        Err(why_not) => Outcome::Nothing(why_not),
    };
    let (found, why_not) = match outcome {
        Outcome::Found(found) => (found, None),
        Outcome::Nothing(why_not) => (Vec::new(), Some(why_not)),
    };
    let candidates = found.len() + context.candidates_of_restarts() - before;
    solved.extend(found);
    Ok(StageRecord { stage: stage.name().into(), candidates, why_not })
}
