//! What the runs of an attack found, and what can be said of it without the truth, in one reconstruction.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, concatenate, s};
use palimpsest_kkt::bias_share::shares_of_run;
use palimpsest_kkt::outputs::Label;
use palimpsest_kkt::stationarity::StationarityResidual;
use palimpsest_mlp::passes::Scope;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::{self, unit_rows};

use crate::error::AttackError;
use crate::evidence::confidence::{ConfidenceModel, Evidence};
use crate::evidence::consensus::{
    Comparison, consensus, merge, merge_near, ranking as distinct_of, ranking_up_to_sign,
};
use crate::pipeline::reconstruction::{Candidates, Reconstruction, RunRecord};
use crate::problem::exposure::Attackability;
use crate::problem::prepared::AttackProblem;
use crate::search::run::{Run, TerminationReason};
use crate::stages::candidate::{Candidate, Origin, OriginGroup};
use crate::stages::context::AttackContext;
use crate::stages::separated_starts::sources::Sources;
use crate::stages::stage::StageRecord;

/// Runs among which the share of distinct candidates is counted: it falls with every run, so it needs a fixed number.
const DISTINCT_RUNS: usize = 6;
/// Entries of the list for each direction of the weights: there are about as many inputs as directions, and what comes later is chance.
const LISTED: usize = 3;
/// Directions below which the list is as long as for so many.
const LEAST_LISTED: usize = 10;
/// Smallest and largest length of an image that is given back, in units of the prior norm: that of real ones is 0.4 to 1.8 on the data
/// sets here.
const LENGTHS: (f64, f64) = (0.5, 2.0);

/// Pools the candidates of the restarts, and after them the candidates that stages `solved` for.
///
/// # Errors
/// [`AttackError::NothingFinished`] when every run ended in a NaN.
pub(crate) fn pool(
    mut context: AttackContext<'_>,
    solved: Vec<Candidate>,
    stages: Vec<StageRecord>,
) -> Result<Reconstruction, AttackError> {
    let runs = std::mem::take(&mut context.runs);
    let (problem, labels, parallelism) = (context.problem, context.labels, context.threads);
    let lift = context.params.method.is_in_subspace();
    let raw = context.sources.as_ref().and_then(Sources::raw);
    let attackability = Attackability::of(context.network, problem);
    let numbered = runs.into_iter().enumerate().filter_map(|(i, run)| run.map(|run| (i as u64, run)));
    let (mut kept, others): (Vec<_>, Vec<_>) = numbered.partition(|(_, run)| {
        !matches!(run.termination, TerminationReason::NonFinite { .. } | TerminationReason::TimeLimit)
    });
    if kept.is_empty() {
        let steps: Vec<String> =
            others.iter().map(|(i, run)| format!("restart {i}: {:?}", run.termination)).collect();
        kept =
            others.into_iter().filter(|(_, run)| run.termination == TerminationReason::TimeLimit).collect();
        if kept.is_empty() {
            return Err(AttackError::NothingFinished(steps.join(", ")));
        }
    }
    let raw = raw.map(|raw| {
        raw.told_by(kept.iter_mut().map(|(_, run)| (&mut run.coordinates, run.unrefined.as_ref())))
    });
    let raw = raw.as_ref();
    let views: Vec<_> = kept.iter().map(|(_, run)| run.coordinates.view()).collect();
    let shares = bias_shares(problem, &kept, labels, lift, parallelism);
    let unknown = || vec![Array1::zeros(labels.len()); kept.len()];
    let of_runs = concatenate(Axis(0), &views).expect("runs have the same number of columns");
    let comparison = Comparison::of(of_runs.view(), labels.len(), parallelism)?;
    let compared_runs = comparison.apply(of_runs.view(), parallelism);
    let compared_views: Vec<_> = compared_runs.axis_chunks_iter(Axis(0), labels.len()).collect();
    let agreement = consensus(&compared_views, labels, shares.as_ref().unwrap_or(&unknown()));
    let mut stacked = of_runs.clone();
    let mut labels_of_all = labels.repeat(kept.len());
    let mut scores = concatenate(Axis(0), &agreement.scores.iter().map(|s| s.view()).collect::<Vec<_>>())
        .expect("vectors always join");
    let mut bias_share = concatenate(Axis(0), &agreement.told.iter().map(|s| s.view()).collect::<Vec<_>>())
        .expect("vectors always join");
    let mut multipliers =
        concatenate(Axis(0), &kept.iter().map(|(_, run)| run.multipliers.view()).collect::<Vec<_>>())
            .expect("vectors always join");
    let first = (DISTINCT_RUNS * labels.len()).min(scores.len());
    let among_first =
        distinct_of(compared_runs.slice(s![..first, ..]), &labels_of_all[..first], scores.slice(s![..first]));
    let distinct_share = among_first.len() as f64 / first as f64;
    let mut residuals: Vec<f64> = kept.iter().map(|(_, run)| run.relative_residual).collect();
    residuals.sort_by(f64::total_cmp);
    let (median, model) = (residuals[residuals.len() / 2], ConfidenceModel::default());
    if lift && raw.is_none() && problem.prior.image_shape.is_some() {
        lengthen(&mut stacked, &mut multipliers, problem.input_norm);
    }
    let has_shares = shares.is_some();
    let mut appearance = raw.map(|raw| {
        let unrefined = kept.iter().map(|(_, run)| run.unrefined.as_ref().unwrap_or(&run.coordinates).view());
        let unrefined = concatenate(Axis(0), &unrefined.collect::<Vec<_>>());
        let unrefined = unrefined.expect("runs have the same number of columns");
        raw.appearances(of_runs.view(), unrefined.view(), parallelism)
    });
    let mut confidence = Zip::indexed(&scores).and(&bias_share).map_collect(|i, &agreement, &share| {
        let (bias_share, appearance) =
            (has_shares.then_some(share), appearance.as_ref().map(|looks| looks[i]));
        model.probability(&Evidence { agreement, distinct_share, bias_share, appearance }, median, kept.len())
    });
    // How a candidate looks says what agreement does not.
    let mut order = if raw.is_some() { confidence.clone() } else { scores.clone() };

    let append = |to: &mut Array1<f32>, values: Vec<f32>| {
        to.append(Axis(0), Array1::from(values).view()).expect("vectors always join");
    };
    let told = shares.unwrap_or_else(unknown);
    let voters: Vec<_> = compared_views
        .iter()
        .zip(&told)
        .zip(&agreement.collapsed)
        .filter(|(_, collapsed)| !**collapsed)
        .map(|((run, told), _)| (*run, told))
        .collect();
    let mut of_solved = Array2::zeros((solved.len(), stacked.ncols()));
    for (mut row, input) in of_solved.rows_mut().into_iter().zip(&solved) {
        row.assign(&input.coordinates);
    }
    if let Some((raw, looks)) = raw.zip(appearance.as_mut()) {
        let refined = raw.refine(of_solved.view());
        looks.extend(raw.appearances(refined.view(), of_solved.view(), parallelism));
        of_solved = refined;
    }
    let of_solved = of_solved.view();
    stacked.append(Axis(0), of_solved).expect("inputs have the coordinates of the runs");
    let compared_solved = comparison.apply(of_solved, parallelism);
    let votes = compared_solved.axis_chunks_iter(Axis(0), 1).zip(&solved).map(|(compared, input)| {
        let of_stage = input.support.map(|support| (support.agreement, support.bias_share));
        of_stage.unwrap_or_else(|| vote(compared, input.label, &voters, labels))
    });
    let (agreeing, shares_of_solved): (Vec<f32>, Vec<f32>) = votes.unzip();
    append(&mut bias_share, shares_of_solved);
    append(&mut multipliers, solved.iter().map(|input| input.multiplier).collect());
    append(&mut confidence, solved.iter().map(|input| input.probability).collect());
    // Before all that restarts only agree on, if it is likelier real than not.
    let rank = |(input, &agreeing): (&Candidate, &f32)| {
        if input.probability >= 0.5 { 1.0 + input.probability } else { agreeing }
    };
    append(&mut order, solved.iter().zip(&agreeing).map(rank).collect());
    append(&mut scores, agreeing);
    labels_of_all.extend(solved.iter().map(|input| input.label));
    let compared = concatenate![Axis(0), compared_runs, compared_solved];
    // A raw image is the same whatever label it was found with; of others, two labels see mirror images.
    let told_apart = if raw.is_some() { &vec![Label(0); labels_of_all.len()] } else { &labels_of_all };
    let is_image = problem.prior.image_shape.is_some() && lift;
    let mut ranking = if raw.is_none() && is_image {
        let lengths = stacked.map_axis(Axis(1), |row| reduce::norm(row) as f32);
        let solved_for = |i: usize| i >= of_runs.nrows() && solved[i - of_runs.nrows()].support.is_none();
        let solved_for: Vec<bool> = (0..stacked.nrows()).map(solved_for).collect();
        let strength = &multipliers * &lengths;
        ranking_up_to_sign(compared.view(), order.view(), strength.view(), &solved_for)
    } else {
        distinct_of(compared.view(), told_apart, order.view())
    };
    ranking.truncate(LISTED * problem.rank().max(LEAST_LISTED));

    let agreed: Vec<usize> = ranking.iter().copied().filter(|&i| i < of_runs.nrows()).collect();
    let merged = |rows: ArrayView2<'_, f32>| merge(rows, compared_runs.view(), labels, &agreed);
    let agreed = match raw {
        Some(raw) => raw.without_offset(merged(raw.with_offset(of_runs.view()).view()).view()),
        None => merged(of_runs.view()) * problem.input_norm as f32,
    };
    let mut agreed = agreed.rows().into_iter();
    let mut merged = Array2::zeros((ranking.len(), stacked.ncols()));
    for (mut row, &ranked) in merged.rows_mut().into_iter().zip(&ranking) {
        if ranked < of_runs.nrows() {
            row.assign(&agreed.next().expect("a row for each of the restarts"));
            continue;
        }
        row.assign(&stacked.row(ranked));
        let input = &solved[ranked - of_runs.nrows()];
        if input.origin == Origin::Separation {
            let direction = compared.row(ranked);
            merge_near(row.view_mut(), direction, of_runs.view(), compared_runs.view(), labels.len());
        }
    }
    let lifted = |rows: Array2<f32>| match raw {
        Some(raw) => raw.images(rows.view(), parallelism),
        None if lift => problem.lift(rows.view(), parallelism),
        None => rows,
    };
    let (mut candidates, mut merged) = (lifted(stacked), lifted(merged));
    let mean_image = raw.zip(appearance.as_ref()).map(|(raw, looks)| {
        let mean = raw.mean_image(ranking.iter().map(|&i| (looks[i], confidence[i])));
        candidates -= &mean;
        merged -= &mean;
        mean + problem.prior.input_range.0 as f32
    });
    let of_restart = |(restart, _): &(u64, Run)| OriginGroup {
        origin: Origin::Restart(*restart),
        candidates: labels.len(),
    };
    let of_solved = |input: &Candidate| OriginGroup { origin: input.origin, candidates: 1 };
    let origins = grouped(kept.iter().map(of_restart).chain(solved.iter().map(of_solved)));
    Ok(Reconstruction {
        candidates: Candidates::new(candidates),
        merged: Candidates::new(merged),
        origins,
        stages,
        multipliers,
        labels: labels_of_all,
        agreement: scores,
        bias_share: has_shares.then_some(bias_share),
        appearance,
        mean_image,
        distinct_share,
        confidence,
        ranking,
        runs: kept
            .iter()
            .zip(&agreement.collapsed)
            .map(|((restart, run), &collapsed)| RunRecord {
                restart: *restart,
                separated: context.begins_with_images(*restart),
                relative_residual: run.relative_residual,
                curve: run.curve.clone(),
                termination: run.termination,
                collapsed,
            })
            .collect(),
        attackability,
        head: problem.head,
        rank: problem.rank(),
        candidates_per_run: labels.len(),
        input_norm: problem.input_norm,
        spectrum: problem.spectrum.clone(),
    })
}

/// Neighbours of the same origin as one group.
fn grouped(groups: impl Iterator<Item = OriginGroup>) -> Vec<OriginGroup> {
    let mut joined: Vec<OriginGroup> = Vec::new();
    for group in groups {
        match joined.last_mut() {
            Some(last) if last.origin == group.origin => last.candidates += group.candidates,
            _ => joined.push(group),
        }
    }
    joined
}

/// Brings candidates within [`LENGTHS`] of the prior `norm`; their multipliers change so that what they explain stays. A candidate
/// whose multiplier has vanished can be so short that, with the mean added back, it shows nothing but the mean.
fn lengthen(candidates: &mut Array2<f32>, multipliers: &mut Array1<f32>, norm: f64) {
    for (mut row, multiplier) in candidates.rows_mut().into_iter().zip(multipliers) {
        let length = reduce::norm(row.view());
        if length > 0.0 {
            let factor = ((length / norm).clamp(LENGTHS.0, LENGTHS.1) * norm / length) as f32;
            row *= factor;
            *multiplier /= factor;
        }
    }
}

/// Bias shares of the candidates of each of `runs`; nothing where the first layer has no biases.
fn bias_shares(
    problem: &AttackProblem,
    runs: &[(u64, Run)],
    labels: &[Label],
    lift: bool,
    parallelism: Parallelism,
) -> Option<Vec<Array1<f32>>> {
    let network = &problem.network;
    network.layers()[0].bias.as_ref()?;
    let weighting = problem.head.pull(labels.to_vec());
    let mut residual = StationarityResidual::new(network, labels.len(), Scope::FirstLayer);
    let mut of_run = |run: &Run| {
        let projected = (!lift).then(|| problem.subspace.project(run.coordinates.view(), parallelism));
        let x = projected.as_ref().unwrap_or(&run.coordinates);
        let at = (x.view(), run.multipliers.view());
        // Candidates that give the biases nothing are not found in them.
        shares_of_run(network, &mut residual, &weighting, at, None, parallelism)
    };
    Some(runs.iter().map(|(_, run)| of_run(run)).collect())
}

/// Agreement of an input (1, s) of a label with the runs that may vote, and the bias share of the candidates that it agrees with: its
/// best cosine among a run's candidates of its label, averaged over the runs, and the mean of what is told of these.
fn vote(
    input: ArrayView2<'_, f32>,
    label: Label,
    voters: &[(ArrayView2<'_, f32>, &Array1<f32>)],
    labels: &[Label],
) -> (f32, f32) {
    let direction = unit_rows(input);
    let votes = voters.iter().map(|(run, told)| {
        let cosines = matmul(unit_rows(*run).view(), direction.t(), Parallelism::Sequential);
        let alike = cosines.iter().zip(*told).zip(labels).filter(|(_, of_run)| **of_run == label);
        let (cosine, told) = alike
            .map(|((&cosine, &told), _)| (cosine, told))
            .fold((0.0, 0.0), |best, this| if this.0 > best.0 { this } else { best });
        (cosine.min(1.0), told)
    });
    let (cosines, told) = votes.fold((0.0, 0.0), |sum, vote| (sum.0 + vote.0, sum.1 + vote.1));
    let count = voters.len().max(1) as f32;
    (cosines / count, told / count)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn short_and_long_candidates_are_given_back_at_the_ends_of_what_images_are() {
        let mut candidates = array![[0.0, 0.1], [3.0, 4.0], [30.0, 40.0], [0.0, 0.0]];
        let mut multipliers = array![2.0, 2.0, 2.0, 2.0];
        lengthen(&mut candidates, &mut multipliers, 5.0);
        assert_eq!(candidates, array![[0.0, 2.5], [3.0, 4.0], [6.0, 8.0], [0.0, 0.0]]);
        assert_eq!(multipliers, array![0.08, 2.0, 10.0, 2.0]);
    }
}
