//! What the sum of all entries of the list says of each.

use ndarray::{ArrayView2, Axis, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_mlp::passes::outputs;
use palimpsest_unmix::edges::edges;

use crate::evidence::signs::Evidence;
use crate::evidence::witnesses::Witnesses;
use crate::evidence::zero_sum::{Known, log_odds_of_signs};
use crate::pipeline::entries::Entries;
use crate::pipeline::list::{List, looked_at};
use crate::pipeline::witnesses::witnesses;
use crate::stages::candidate::Candidate;
use crate::stages::context::AttackContext;

/// Probability that an entry which all restarts found is an input or the negative of one.
const FOUND: f32 = 0.9;

impl List {
    /// The list with what the sum of all says of each: those are turned for whose negative more speaks, and all are as sure as that makes them.
    /// As it was where inputs are no images, or do not look as if they sum to zero.
    pub(super) fn with_sum(
        mut self,
        context: &AttackContext<'_>,
        entries: &mut Entries,
        solved: &[Candidate],
    ) -> Self {
        let Some(before) = self.witnesses.iter().copied().collect::<Option<Vec<_>>>() else { return self };
        let Some(sums) = sums(context, self.estimates.view(), &before) else { return self };
        let own: Vec<f32> = before.iter().zip(&sums).map(|(of, sum)| (of.sign + sum).signum()).collect();
        let turned = self.ranking.iter().zip(self.estimates.rows_mut()).zip(&own);
        for ((&candidate, mut estimate), _) in turned.filter(|(_, own)| **own < 0.0) {
            entries.turn(candidate, label_of_negative(context, entries, candidate));
            estimate.mapv_inplace(|v| -v);
        }
        let mut of_each = witnesses(context, entries, solved, &self.ranking);
        for (i, of) in of_each.iter_mut().enumerate() {
            let before = &before[i];
            (of.sign, of.sum) = (own[i] * before.sign, Some(own[i] * sums[i]));
            (of.of_sign, of.signals) = (before.of_sign, before.signals);
            if own[i] < 0.0 {
                of.of_sign = of.of_sign.map(Evidence::turned);
                of.signals = of.signals.map(|[own, negative]| [negative, own]);
            }
        }
        self.witnesses = of_each.into_iter().map(Some).collect();
        self.surest_first(entries)
    }
}

/// Log odds that all others give the sign of each of `estimates` (k, r), where inputs are images that look as if they sum to zero; 0 for those
/// that come later than there may be inputs.
fn sums(
    context: &AttackContext<'_>,
    estimates: ArrayView2<'_, f32>,
    of_each: &[Witnesses],
) -> Option<Vec<f32>> {
    let problem = context.problem;
    // Of pictures that are not smooth the negative was told by what is black.
    problem.image_prior.as_ref()?.smoothness.as_ref()?;
    let shape = problem.prior.image_shape?;
    // Inputs that sum to zero have one direction less.
    let inputs = problem.rank() + 1;
    let first = estimates.nrows().min(looked_at(inputs));
    let images = problem.lift(estimates.slice(s![..first, ..]), context.threads);
    // Restarts find blends of inputs, too, and where pictures are separated, inputs are among these.
    let is_separated = of_each.iter().any(|of| of.separation > 0.0);
    let known = |of: &Witnesses| {
        let by_restarts =
            if is_separated && of.separation == 0.0 { 0.0 } else { FOUND * of.found.unwrap_or(0.0) };
        Known {
            found: of.separation.max(of.activation_pattern).max(of.rounds).max(by_restarts).into(),
            sign: of.sign.into(),
        }
    };
    let known: Vec<Known> = of_each[..first].iter().map(known).collect();
    let log_odds = log_odds_of_signs(edges(images.view(), shape).view(), &known, inputs, context.threads)?;
    let mut sums = vec![0.0; estimates.nrows()];
    for (sum, log_odds) in sums.iter_mut().zip(log_odds) {
        *sum = log_odds as f32;
    }
    Some(sums)
}

/// Label of the negative of a candidate.
fn label_of_negative(context: &AttackContext<'_>, entries: &Entries, candidate: usize) -> Label {
    let (network, label) = (&context.problem.network, entries.labels[candidate]);
    let negative = -&entries.rows.select(Axis(0), &[candidate]);
    let answer = outputs(network, negative.view(), context.threads);
    let possible = context.problem.head.labels_of_answer(answer.as_slice().expect("outputs are contiguous"));
    if possible.contains(&label) { label } else { possible[0] }
}
