//! All candidates of an attack, with what speaks for each, and the list of the distinct inputs among them.

use ndarray::{Array1, Array2, Axis};
use palimpsest_kkt::outputs::Label;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
use palimpsest_unmix::raw::{Appearance, RawImages};

use crate::evidence::confidence::{ConfidenceModel, Evidence};
use crate::pipeline::finished::{Finished, joined};
use crate::stages::candidate::Candidate;
use crate::stages::context::AttackContext;

/// Smallest and largest length of an image that is given back, in units of the prior norm: that of real ones is 0.4 to 1.8 on the data
/// sets here.
const LENGTHS: (f64, f64) = (0.5, 2.0);

/// All candidates, those of the restarts first.
pub(super) struct Entries {
    /// In the coordinates of the attack, (M, r).
    pub(super) rows: Array2<f32>,
    /// As they are compared, (M, s).
    pub(super) compared: Array2<f32>,
    pub(super) labels: Vec<Label>,
    pub(super) multipliers: Array1<f32>,
    pub(super) agreement: Array1<f32>,
    pub(super) bias_share: Array1<f32>,
    pub(super) appearance: Option<Vec<Appearance>>,
    pub(super) confidence: Array1<f32>,
    /// By which they are ranked.
    pub(super) order: Array1<f32>,
    /// Those of the restarts.
    pub(super) of_restarts: usize,
    /// Whether the restarts came to their own end.
    pub(super) are_whole: bool,
}

impl Entries {
    /// Candidates of the restarts.
    pub(super) fn of(context: &AttackContext<'_>, finished: &Finished<'_>, raw: Option<&RawImages>) -> Self {
        let (agreement, bias_share) = (joined(&finished.consensus.scores), joined(&finished.consensus.told));
        let appearance = raw.map(|raw| finished.appearances(raw, context.threads));
        let model = ConfidenceModel::default();
        let probability = |i: usize| {
            let evidence = Evidence {
                agreement: agreement[i],
                distinct_share: finished.distinct_share,
                bias_share: finished.has_bias_shares.then_some(bias_share[i]),
                appearance: appearance.as_ref().map(|looks| looks[i]),
            };
            model.probability(&evidence, finished.residual, finished.restarts.len())
        };
        let confidence: Array1<f32> = (0..agreement.len()).map(probability).collect();
        let mut rows = finished.rows.clone();
        let mut multipliers = finished.of_each(|restart| &restart.multipliers);
        if raw.is_none() && are_images(context) {
            lengthen(&mut rows, &mut multipliers, context.problem.input_norm);
        }
        Self {
            of_restarts: rows.nrows(),
            are_whole: finished.are_whole(),
            rows,
            compared: finished.compared.clone(),
            labels: context.labels.repeat(finished.restarts.len()),
            multipliers,
            // How a candidate looks says what agreement does not.
            order: if raw.is_some() { confidence.clone() } else { agreement.clone() },
            agreement,
            bias_share,
            appearance,
            confidence,
        }
    }

    /// Adds the candidates that stages `solved` for.
    pub(super) fn add(
        &mut self,
        solved: &[Candidate],
        finished: &Finished<'_>,
        raw: Option<&RawImages>,
        parallelism: Parallelism,
    ) {
        let mut rows = Array2::zeros((solved.len(), self.rows.ncols()));
        for (mut row, input) in rows.rows_mut().into_iter().zip(solved) {
            row.assign(&input.coordinates);
        }
        if let Some((raw, looks)) = raw.zip(self.appearance.as_mut()) {
            let refined = raw.refine(rows.view());
            looks.extend(raw.appearances(refined.view(), rows.view(), parallelism));
            rows = refined;
        }
        let compared = finished.comparison.apply(rows.view(), parallelism);
        let labels: Vec<Label> = solved.iter().map(|input| input.label).collect();
        let (mut agreement, mut bias_share) = finished.votes(compared.view(), &labels);
        for (i, support) in solved.iter().enumerate().filter_map(|(i, input)| Some((i, input.support?))) {
            (agreement[i], bias_share[i]) = (support.agreement, support.bias_share);
        }
        // Before all that restarts only agree on, if it is likelier real than not.
        let order = solved.iter().zip(&agreement).map(|(input, &agreeing)| {
            if input.probability >= 0.5 { 1.0 + input.probability } else { agreeing }
        });
        append(&mut self.order, order.collect());
        append(&mut self.agreement, agreement);
        append(&mut self.bias_share, bias_share);
        append(&mut self.multipliers, solved.iter().map(|input| input.multiplier).collect());
        append(&mut self.confidence, solved.iter().map(|input| input.probability).collect());
        self.labels.extend(labels);
        self.rows.append(Axis(0), rows.view()).expect("inputs have the coordinates of the restarts");
        self.compared.append(Axis(0), compared.view()).expect("they are compared alike");
    }

    /// Makes a candidate its negative, which has this `label`.
    pub(super) fn turn(&mut self, candidate: usize, label: Label) {
        self.rows.row_mut(candidate).mapv_inplace(|v| -v);
        self.compared.row_mut(candidate).mapv_inplace(|v| -v);
        self.labels[candidate] = label;
    }

    /// Multiplier times length of each candidate (M), which does not depend on how an input is split into the two.
    pub(super) fn strength(&self) -> Array1<f32> {
        let lengths = self.rows.map_axis(Axis(1), |row| reduce::norm(row) as f32);
        &self.multipliers * &lengths
    }
}

/// Whether candidates are images, in the subspace of the weights.
pub(super) fn are_images(context: &AttackContext<'_>) -> bool {
    context.problem.prior.image_shape.is_some() && context.params.method.is_in_subspace()
}

fn append(to: &mut Array1<f32>, values: Vec<f32>) {
    to.append(Axis(0), Array1::from(values).view()).expect("vectors always join");
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
