//! What the restarts and the other stages of an attack found, in one reconstruction.

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_unmix::raw::RawImages;

use crate::error::AttackError;
use crate::pipeline::entries::{Entries, are_images};
use crate::pipeline::estimates::{distinct, estimates};
use crate::pipeline::finished::{Finished, finished};
use crate::pipeline::list::List;
use crate::pipeline::listing::{listed, separated};
use crate::pipeline::reconstruction::{Candidates, InSpan, Reconstruction, RestartRecord};
use crate::problem::exposure::Exposure;
use crate::search::restart::Restart;
use crate::stages::candidate::{Candidate, Origin, OriginGroup};
use crate::stages::context::AttackContext;
use crate::stages::separated_starts::sources::Sources;
use crate::stages::stage::StageRecord;

/// Pools the candidates of the restarts, and after them the candidates that stages `solved` for.
///
/// # Errors
/// [`AttackError::NothingFinished`] when every restart ended in a NaN, or none was begun and no stage found anything.
pub(crate) fn pool(
    mut context: AttackContext<'_>,
    solved: Vec<Candidate>,
    stages: Vec<StageRecord>,
) -> Result<Reconstruction, AttackError> {
    let mut restarts = finished(std::mem::take(&mut context.restarts), !solved.is_empty())?;
    let (problem, parallelism) = (context.problem, context.threads);
    let raw = raw_images(&context, &mut restarts);
    let raw = raw.as_ref();
    let finished = Finished::compare(&context, restarts)?;
    let mut entries = Entries::of(&context, &finished, raw);
    entries.add(&solved, &finished, raw, parallelism);
    let (ranked, of_each): (Vec<_>, Vec<_>) =
        listed(&mut entries, &context, &solved, raw)?.into_iter().unzip();
    let told_apart = of(&ranked, &separated(entries.of_restarts, &solved));
    let merged = estimates(&context, &finished, &entries, &ranked, &told_apart, raw);
    let kept = without_repeats(&context, &finished, merged.view(), &told_apart, raw);
    let list = List {
        ranking: of(&kept, &ranked),
        estimates: merged.select(Axis(0), &kept),
        witnesses: of(&kept, &of_each),
    };
    let list = list.with_signals(&context, &mut entries)?;
    let List { ranking, estimates: merged, witnesses } = list.with_sum(&context, &mut entries, &solved);
    let lifted = |rows: Array2<f32>| lifted(&context, raw, rows);
    let is_in_span = raw.is_none() && context.params.method.is_in_subspace();
    let in_span = is_in_span
        .then(|| InSpan { coordinates: entries.rows.clone(), basis: problem.subspace.basis().to_owned() });
    let mut merged = match raw {
        Some(raw) => raw.shown(merged.view(), parallelism),
        None => lifted(merged),
    };
    let mut candidates = lifted(entries.rows);
    let mean_image = raw.zip(entries.appearance.as_ref()).map(|(raw, looks)| {
        let mean = raw.mean_image(ranking.iter().map(|&i| (looks[i], entries.confidence[i])));
        candidates -= &mean;
        merged -= &mean;
        mean + problem.prior.input_range.0 as f32
    });
    Ok(Reconstruction {
        candidates: Candidates::new(candidates),
        in_span,
        merged: Candidates::new(merged),
        origins: origins(&context, &finished, &solved),
        stages,
        multipliers: entries.multipliers,
        labels: entries.labels,
        agreement: entries.agreement,
        bias_share: finished.has_bias_shares.then_some(entries.bias_share),
        appearance: entries.appearance,
        mean_image,
        distinct_share: finished.distinct_share,
        confidence: entries.confidence,
        witnesses: witnesses.into_iter().collect(),
        ranking,
        restarts: records(&context, &finished),
        saturation: context.saturation,
        exposure: Exposure::of(context.network, problem),
        head: problem.head,
        rank: problem.rank(),
        candidates_per_restart: context.labels.len(),
        input_norm: problem.input_norm,
        spectrum: problem.spectrum.clone(),
    })
}

/// What is known of raw images, as the candidates of the restarts tell it, which then are images without the mean that they tell.
fn raw_images(context: &AttackContext<'_>, restarts: &mut [(u64, Restart)]) -> Option<RawImages> {
    let raw = context.sources.as_ref().and_then(Sources::raw)?;
    let candidates =
        restarts.iter_mut().map(|(_, restart)| (&mut restart.coordinates, restart.unrefined.as_ref()));
    Some(raw.told_by(candidates))
}

/// Inputs (k, d), or raw images, of candidates in the coordinates of the attack (k, r).
fn lifted(context: &AttackContext<'_>, raw: Option<&RawImages>, rows: Array2<f32>) -> Array2<f32> {
    match raw {
        Some(raw) => raw.images(rows.view(), context.threads),
        None if context.params.method.is_in_subspace() => context.problem.lift(rows.view(), context.threads),
        None => rows,
    }
}

/// Which of `estimates` (ranking, r) to keep: those that have become the same image are one, but for pictures that a separation `told_apart`.
fn without_repeats(
    context: &AttackContext<'_>,
    finished: &Finished<'_>,
    estimates: ArrayView2<'_, f32>,
    told_apart: &[bool],
    raw: Option<&RawImages>,
) -> Vec<usize> {
    if raw.is_some() || !are_images(context) {
        return (0..estimates.nrows()).collect();
    }
    let compared = finished.comparison.apply(estimates, context.threads);
    distinct(estimates, compared.view(), told_apart)
}

/// Those of `values` at `indices`.
fn of<T: Copy>(indices: &[usize], values: &[T]) -> Vec<T> {
    indices.iter().map(|&i| values[i]).collect()
}

/// The record of each restart.
fn records(context: &AttackContext<'_>, finished: &Finished<'_>) -> Vec<RestartRecord> {
    let restarts = finished.restarts.iter().zip(&finished.consensus.collapsed);
    restarts
        .map(|((number, restart), &collapsed)| RestartRecord {
            restart: *number,
            separated: context.begins_with_images(*number),
            relative_residual: restart.relative_residual,
            curve: restart.curve.clone(),
            termination: restart.termination,
            collapsed,
        })
        .collect()
}

/// Where the candidates come from, neighbours of the same origin as one group.
fn origins(context: &AttackContext<'_>, finished: &Finished<'_>, solved: &[Candidate]) -> Vec<OriginGroup> {
    let of_restarts = finished.restarts.iter().map(|(number, _)| OriginGroup {
        origin: Origin::Restart(*number),
        candidates: context.labels.len(),
    });
    let of_stages = solved.iter().map(|input| OriginGroup { origin: input.origin, candidates: 1 });
    let mut joined: Vec<OriginGroup> = Vec::new();
    for group in of_restarts.chain(of_stages) {
        match joined.last_mut() {
            Some(last) if last.origin == group.origin => last.candidates += group.candidates,
            _ => joined.push(group),
        }
    }
    joined
}
