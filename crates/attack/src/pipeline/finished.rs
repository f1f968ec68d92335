//! The restarts of an attack that came to their end, and what they say of each other. There may be none, where other stages found inputs.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_kkt::bias_share::shares_of_restart;
use palimpsest_kkt::outputs::Label;
use palimpsest_kkt::stationarity::StationarityResidual;
use palimpsest_mlp::passes::Scope;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_unmix::raw::RawImages;

use crate::error::AttackError;
use crate::evidence::consensus::{Comparison, Consensus, consensus, ranking};
use crate::problem::prepared::AttackProblem;
use crate::search::restart::{Restart, TerminationReason};
use crate::stages::context::AttackContext;

/// Restarts among which the share of distinct candidates is counted: it falls with every one, so it needs a fixed number.
const DISTINCT_RESTARTS: usize = 6;

/// Restarts that came to their end.
pub(super) struct Finished<'a> {
    /// With their numbers.
    pub(super) restarts: Vec<(u64, Restart)>,
    /// Candidates of all of them, (M, r).
    pub(super) rows: Array2<f32>,
    /// The same where they are compared, (M, s).
    pub(super) compared: Array2<f32>,
    pub(super) comparison: Comparison,
    pub(super) consensus: Consensus,
    /// Whether bias shares are known.
    pub(super) has_bias_shares: bool,
    /// Share of distinct candidates among those of the first of them, in (0, 1]; 1 where there is none.
    pub(super) distinct_share: f64,
    /// Median relative residual; 1 where there is no restart, as none has explained anything.
    pub(super) residual: f64,
    /// Bias shares of the candidates of each restart; 0 where they are not known.
    shares: Vec<Array1<f32>>,
    labels: &'a [Label],
}

impl<'a> Finished<'a> {
    /// Compares `restarts` with each other.
    ///
    /// # Errors
    /// [`AttackError::Factor`] when a candidate is not finite.
    pub(super) fn compare(
        context: &AttackContext<'a>,
        restarts: Vec<(u64, Restart)>,
    ) -> Result<Self, AttackError> {
        let (labels, parallelism) = (context.labels, context.threads);
        let none = Array2::zeros((0, context.columns()));
        let of_each = restarts.iter().map(|(_, restart)| restart.coordinates.view());
        let views: Vec<_> = std::iter::once(none.view()).chain(of_each).collect();
        let rows = concatenate(Axis(0), &views).expect("restarts have the same number of columns");
        let shares = bias_shares(context, &restarts);
        let has_bias_shares = shares.is_some();
        let shares = shares.unwrap_or_else(|| vec![Array1::zeros(labels.len()); restarts.len()]);
        let comparison = Comparison::of(rows.view(), labels.len(), parallelism)?;
        let compared = comparison.apply(rows.view(), parallelism);
        let views: Vec<_> = compared.axis_chunks_iter(Axis(0), labels.len()).collect();
        let consensus = consensus(&views, labels, &shares);
        let scores = joined(&consensus.scores);
        let first = (DISTINCT_RESTARTS * labels.len()).min(scores.len());
        let of_first = labels.repeat(first.div_ceil(labels.len()));
        let among_first =
            ranking(compared.slice(s![..first, ..]), &of_first[..first], scores.slice(s![..first]));
        let distinct_share = if first == 0 { 1.0 } else { among_first.len() as f64 / first as f64 };
        let mut residuals: Vec<f64> = restarts.iter().map(|(_, restart)| restart.relative_residual).collect();
        let residual = upper_median(&mut residuals).unwrap_or(1.0);
        Ok(Self {
            restarts,
            rows,
            compared,
            comparison,
            consensus,
            has_bias_shares,
            distinct_share,
            residual,
            shares,
            labels,
        })
    }

    /// Whether they came to their own end. That one which an observer cut did not find an input says nothing of it.
    pub(super) fn are_whole(&self) -> bool {
        !self.restarts.is_empty() && !self.restarts.iter().any(|(_, restart)| is_cut(restart))
    }

    /// A number for each candidate, restart by restart, from `of` each.
    pub(super) fn of_each(&self, of: impl Fn(&Restart) -> &Array1<f32>) -> Array1<f32> {
        self.restarts.iter().flat_map(|(_, restart)| of(restart).iter().copied()).collect()
    }

    /// Agreement of inputs, compared as (k, s), of these `labels` (k) with the restarts that may vote, and the mean bias share of the
    /// candidates that each agrees with.
    pub(super) fn votes(&self, compared: ArrayView2<'_, f32>, labels: &[Label]) -> (Vec<f32>, Vec<f32>) {
        let views = self.compared.axis_chunks_iter(Axis(0), self.labels.len());
        let may_vote = views.zip(&self.shares).zip(&self.consensus.collapsed);
        let voters: Vec<_> = may_vote
            .filter(|(_, collapsed)| !**collapsed)
            .map(|((restart, told), _)| (restart, told))
            .collect();
        let inputs = compared.axis_chunks_iter(Axis(0), 1).zip(labels);
        inputs.map(|(input, &label)| vote(input, label, &voters, self.labels)).unzip()
    }

    /// Candidates as they were before they were refined as raw images, (M, r), and their appearance.
    pub(super) fn appearances(
        &self,
        raw: &RawImages,
        parallelism: Parallelism,
    ) -> Vec<palimpsest_unmix::raw::Appearance> {
        let unrefined = self
            .restarts
            .iter()
            .map(|(_, restart)| restart.unrefined.as_ref().unwrap_or(&restart.coordinates).view());
        let unrefined = concatenate(Axis(0), &unrefined.collect::<Vec<_>>());
        let unrefined = unrefined.expect("restarts have the same number of columns");
        raw.appearances(self.rows.view(), unrefined.view(), parallelism)
    }
}

/// The vectors after one another.
pub(super) fn joined(parts: &[Array1<f32>]) -> Array1<f32> {
    parts.iter().flatten().copied().collect()
}

/// Of `restarts` those that came to their end; if none did, those that an observer ended. None where none was begun and other stages
/// `found` inputs.
///
/// # Errors
/// [`AttackError::NothingFinished`] when every restart met a NaN, or nothing was found by anybody.
pub(super) fn finished(
    restarts: Vec<Option<Restart>>,
    found: bool,
) -> Result<Vec<(u64, Restart)>, AttackError> {
    let numbered =
        restarts.into_iter().enumerate().filter_map(|(i, made)| made.map(|restart| (i as u64, restart)));
    let (kept, others): (Vec<_>, Vec<_>) = numbered.partition(|(_, restart)| {
        !matches!(restart.termination, TerminationReason::NonFinite { .. } | TerminationReason::TimeLimit)
    });
    if !kept.is_empty() {
        return Ok(kept);
    }
    let steps: Vec<String> =
        others.iter().map(|(i, run)| format!("restart {i}: {:?}", run.termination)).collect();
    let kept: Vec<_> = others.into_iter().filter(|(_, restart)| is_cut(restart)).collect();
    if kept.is_empty() && !(steps.is_empty() && found) {
        return Err(AttackError::NothingFinished(steps.join(", ")));
    }
    Ok(kept)
}

/// Whether an observer ended it.
fn is_cut(restart: &Restart) -> bool {
    restart.termination == TerminationReason::TimeLimit
}

/// Bias shares of the candidates of each of `restarts`; nothing where the first layer has no biases.
fn bias_shares(context: &AttackContext<'_>, restarts: &[(u64, Restart)]) -> Option<Vec<Array1<f32>>> {
    let (problem, parallelism): (&AttackProblem, _) = (context.problem, context.threads);
    let network = &problem.network;
    network.layers()[0].bias.as_ref()?;
    let mut residual = StationarityResidual::new(network, context.labels.len(), Scope::FirstLayer);
    let mut of_restart = |restart: &Restart| {
        let is_in_subspace = context.params.method.is_in_subspace();
        let projected =
            (!is_in_subspace).then(|| problem.subspace.project(restart.coordinates.view(), parallelism));
        let x = projected.as_ref().unwrap_or(&restart.coordinates);
        let at = (x.view(), restart.multipliers.view());
        // Candidates that give the biases nothing are not found in them.
        shares_of_restart(network, &mut residual, context.pull, at, None, parallelism)
    };
    Some(restarts.iter().map(|(_, restart)| of_restart(restart)).collect())
}

/// Agreement of an input (1, s) of a label with the restarts that may vote, and the bias share of the candidates that it agrees with: its
/// best cosine among the candidates of its label of each, averaged, and the mean of what is told of these.
fn vote(
    input: ArrayView2<'_, f32>,
    label: Label,
    voters: &[(ArrayView2<'_, f32>, &Array1<f32>)],
    labels: &[Label],
) -> (f32, f32) {
    let direction = unit_rows(input);
    let votes = voters.iter().map(|(restart, told)| {
        let cosines = matmul(unit_rows(*restart).view(), direction.t(), Parallelism::Sequential);
        let alike = cosines.iter().zip(*told).zip(labels).filter(|(_, of_restart)| **of_restart == label);
        let (cosine, told) = alike
            .map(|((&cosine, &told), _)| (cosine, told))
            .fold((0.0, 0.0), |best, this| if this.0 > best.0 { this } else { best });
        (cosine.min(1.0), told)
    });
    let (cosines, told) = votes.fold((0.0, 0.0), |sum, vote| (sum.0 + vote.0, sum.1 + vote.1));
    let count = voters.len().max(1) as f32;
    (cosines / count, told / count)
}
