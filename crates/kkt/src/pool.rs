//! What the runs of an attack found, and what can be said of it without the truth, in one reconstruction.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_numerics::gemm::{Parallelism, matmul};

use crate::confidence::{ConfidenceModel, probability_of_pattern};
use crate::consensus::{consensus, merge, ranking as distinct_of, unit_rows};
use crate::patterns::PatternInput;
use crate::problem::AttackProblem;
use crate::reconstruction::{Candidates, Reconstruction, Run, RunRecord, TerminationReason};
use crate::{Attackability, KktError};

/// Runs among which the share of distinct candidates is counted: it falls with every run, so it needs a fixed number.
const DISTINCT_RUNS: usize = 6;

/// Pools the candidates of `runs`, which share `labels`, and after them the inputs that were found `exact`ly.
///
/// # Errors
/// [`KktError::NothingFinished`] when every run ended in a NaN.
pub(crate) fn pool(
    problem: &AttackProblem,
    attackability: Attackability,
    runs: Vec<Option<Run>>,
    exact: Vec<PatternInput>,
    labels: &[i8],
    lift: bool,
    parallelism: Parallelism,
) -> Result<Reconstruction, KktError> {
    let numbered = || runs.iter().enumerate().filter_map(|(i, run)| run.as_ref().map(|run| (i as u64, run)));
    let finished = |run: &Run| {
        !matches!(run.termination, TerminationReason::NonFinite { .. } | TerminationReason::TimeLimit)
    };
    let mut kept: Vec<(u64, &Run)> = numbered().filter(|(_, run)| finished(run)).collect();
    if kept.is_empty() {
        kept = numbered().filter(|(_, run)| run.termination == TerminationReason::TimeLimit).collect();
    }
    if kept.is_empty() {
        let steps: Vec<String> =
            numbered().map(|(i, run)| format!("restart {i}: {:?}", run.termination)).collect();
        return Err(KktError::NothingFinished(steps.join(", ")));
    }
    let views: Vec<_> = kept.iter().map(|(_, run)| run.coordinates.view()).collect();
    let agreement = consensus(&views, labels);
    let of_runs = concatenate(Axis(0), &views).expect("runs have the same number of columns");
    let mut stacked = of_runs.clone();
    let mut labels_of_all = labels.repeat(kept.len());
    let mut scores = concatenate(Axis(0), &agreement.scores.iter().map(|s| s.view()).collect::<Vec<_>>())
        .expect("vectors always join");
    let mut multipliers =
        concatenate(Axis(0), &kept.iter().map(|(_, run)| run.multipliers.view()).collect::<Vec<_>>())
            .expect("vectors always join");
    let first = (DISTINCT_RUNS * labels.len()).min(scores.len());
    let among_first =
        distinct_of(stacked.slice(s![..first, ..]), &labels_of_all[..first], scores.slice(s![..first]));
    let distinct_share = among_first.len() as f64 / first as f64;
    let mut residuals: Vec<f64> = kept.iter().map(|(_, run)| run.relative_residual).collect();
    residuals.sort_by(f64::total_cmp);
    let (median, model) = (residuals[residuals.len() / 2], ConfidenceModel::default());
    let mut confidence = scores.mapv(|score| model.probability(score, distinct_share, median, kept.len()));
    let mut order = scores.clone();

    let append = |to: &mut Array1<f32>, values: Vec<f32>| {
        to.append(Axis(0), Array1::from(values).view()).expect("vectors always join");
    };
    let voters: Vec<ArrayView2<'_, f32>> = views
        .iter()
        .zip(&agreement.collapsed)
        .filter(|(_, collapsed)| !**collapsed)
        .map(|(v, _)| *v)
        .collect();
    append(&mut scores, exact.iter().map(|input| vote(input, &voters, labels)).collect());
    append(&mut multipliers, exact.iter().map(|input| input.multiplier as f32).collect());
    let sure = |input: &PatternInput| probability_of_pattern(input) as f32;
    append(&mut confidence, exact.iter().map(sure).collect());
    // Before all that restarts only agree on.
    append(&mut order, exact.iter().map(|input| 1.0 + sure(input)).collect());
    labels_of_all.extend(exact.iter().map(|input| input.label));
    for input in &exact {
        stacked.push_row(input.coordinates.view()).expect("inputs have the coordinates of the runs");
    }
    let ranking = distinct_of(stacked.view(), &labels_of_all, order.view());

    let lifted = |rows: Array2<f32>| if lift { problem.lift(rows.view(), parallelism) } else { rows };
    let agreed: Vec<usize> = ranking.iter().copied().filter(|&i| i < of_runs.nrows()).collect();
    let mut agreed = merge(of_runs.view(), labels, &agreed);
    agreed *= problem.prior.norm(problem.inputs) as f32;
    let mut agreed = agreed.rows().into_iter();
    let mut merged = Array2::zeros((ranking.len(), stacked.ncols()));
    for (mut row, &ranked) in merged.rows_mut().into_iter().zip(&ranking) {
        let estimate = if ranked < of_runs.nrows() { agreed.next() } else { None };
        row.assign(&estimate.unwrap_or(stacked.row(ranked)));
    }
    Ok(Reconstruction {
        candidates: Candidates::new(lifted(stacked)),
        merged: Candidates::new(lifted(merged)),
        exact: exact.len(),
        multipliers,
        labels: labels_of_all,
        agreement: scores,
        distinct_share,
        confidence,
        ranking,
        runs: kept
            .iter()
            .zip(&agreement.collapsed)
            .map(|((restart, run), &collapsed)| RunRecord {
                restart: *restart,
                relative_residual: run.relative_residual,
                curve: run.curve.clone(),
                termination: run.termination,
                collapsed,
            })
            .collect(),
        attackability,
        rank: problem.rank(),
        candidates_per_run: labels.len(),
        spectrum: problem.spectrum.clone(),
    })
}

/// Agreement of an input with the runs that may vote: its best cosine among their candidates of its label, averaged.
fn vote(input: &PatternInput, voters: &[ArrayView2<'_, f32>], labels: &[i8]) -> f32 {
    let direction = unit_rows(input.coordinates.view().insert_axis(Axis(0)));
    let votes = voters.iter().map(|run| {
        let cosines = matmul(unit_rows(*run).view(), direction.t(), Parallelism::Sequential);
        let alike = cosines.iter().zip(labels).filter(|(_, label)| **label == input.label);
        alike.map(|(&cosine, _)| cosine).fold(0.0, f32::max).min(1.0)
    });
    votes.sum::<f32>() / voters.len().max(1) as f32
}
