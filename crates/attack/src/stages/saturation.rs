//! Whether restarts still find anything new.
//!
//! An input counts as found when restarts agree on it. After every few restarts the list of these is compared with the list of those
//! before; once nothing came to it, more restarts are of no use. That depends on the restarts alone, so it is the same for any number
//! of threads and after a break.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_numerics::factor::FactorError;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::range::{share, within};
use palimpsest_numerics::reduce::unit_rows;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::evidence::consensus::{Comparison, SAME_COSINE, consensus, ranking};
use crate::search::restart::{Restart, TerminationReason};

/// When restarts end before their number is reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaturationParams {
    /// Restarts after each of which is looked, >= 4 and even. The first look compares all of them with their first half.
    pub every: usize,
    /// Mean cosine with the nearest candidate of each other restart above which an input counts as found, in [0, 1].
    pub agreement: f32,
    /// Share of the inputs found that may be new when nothing new has come, in [0, 1].
    pub new_share: f64,
}

impl Default for SaturationParams {
    fn default() -> Self {
        Self { every: 8, agreement: 0.8, new_share: 0.02 }
    }
}

impl SaturationParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        within("restarts between two looks", self.every, 4.., "an even number of at least 4")?;
        let even = usize::from(self.every.is_multiple_of(2));
        within("restarts between two looks", even, 1..=1, "an even number of at least 4")?;
        share("agreement of what is found", self.agreement)?;
        share("share of what may be new", self.new_share)?;
        Ok(())
    }

    /// Whether so many `new` inputs among those `found` are none.
    pub(crate) fn is_nothing(&self, new: usize, found: usize) -> bool {
        new as f64 <= self.new_share * found as f64
    }
}

/// That restarts ended by themselves, as nothing new came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saturation {
    /// Restarts that were made.
    pub restarts: usize,
    /// The last of them, which brought nothing new.
    pub last: usize,
    /// Inputs on which restarts agree.
    pub found: usize,
}

/// Restarts that can be compared as two halves.
const LEAST_RESTARTS: usize = 4;

/// What restarts agreed on when it was last looked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looks {
    /// Restarts that were compared.
    restarts: usize,
    /// Candidates that stand for the inputs found, counted through all restarts.
    found: Vec<usize>,
}

impl Looks {
    /// Looks at `restarts`, whose candidates have `labels` (m): whether nothing new has come since the look before, or, at the first
    /// look, since their first half. Nothing can be said while a restart is not whole.
    ///
    /// # Errors
    /// [`FactorError`] when candidates cannot be compared.
    pub(crate) fn look(
        &mut self,
        restarts: &[Option<Restart>],
        labels: &[Label],
        params: &SaturationParams,
        parallelism: Parallelism,
    ) -> Result<Option<Saturation>, FactorError> {
        let is_whole = |restart: &Option<Restart>| {
            restart.as_ref().is_some_and(|restart| restart.termination != TerminationReason::TimeLimit)
        };
        if !restarts.iter().all(is_whole) {
            return Ok(None);
        }
        let is_finite = |restart: &&Restart| restart.termination == TerminationReason::MaxSteps;
        let finite = restarts.iter().flatten().filter(is_finite);
        let rows: Vec<_> = finite.map(|restart| restart.coordinates.view()).collect();
        if rows.len() < LEAST_RESTARTS {
            return Ok(None);
        }
        let stacked = concatenate(Axis(0), &rows).expect("restarts have the same number of columns");
        if self.restarts == 0 {
            self.restarts = restarts.len() / 2;
            let half = stacked.slice(s![..rows.len() / 2 * labels.len(), ..]);
            self.found = agreed(half, labels, params.agreement, parallelism)?.1;
        }
        let (compared, found) = agreed(stacked.view(), labels, params.agreement, parallelism)?;
        let unit = unit_rows(compared.view());
        let (now, before) = (unit.select(Axis(0), &found), unit.select(Axis(0), &self.found));
        let cosines = matmul(now.view(), before.t(), parallelism);
        // An image and its negative are one.
        let is_new = |row: &ArrayView1<'_, f32>| row.iter().all(|cosine| cosine.abs() <= SAME_COSINE);
        let new = cosines.rows().into_iter().filter(is_new).count();
        let (last, found_by_now) = (restarts.len() - self.restarts, found.len());
        *self = Self { restarts: restarts.len(), found };
        let saturation = Saturation { restarts: self.restarts, last, found: found_by_now };
        Ok(params.is_nothing(new, found_by_now).then_some(saturation))
    }
}

/// Candidates (M, r) of whole restarts, each with the shared `labels` (m), as they are compared, and those that stand for the distinct
/// inputs on which restarts agree.
fn agreed(
    candidates: ArrayView2<'_, f32>,
    labels: &[Label],
    least: f32,
    parallelism: Parallelism,
) -> Result<(Array2<f32>, Vec<usize>), FactorError> {
    let m = labels.len();
    let compared = Comparison::of(candidates, m, parallelism)?.apply(candidates, parallelism);
    let views: Vec<_> = compared.axis_chunks_iter(Axis(0), m).collect();
    let scores = consensus(&views, labels, &vec![Array1::zeros(m); views.len()]).scores;
    let scores: Array1<f32> = scores.iter().flatten().copied().collect();
    let agreeing: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] > least).collect();
    let (rows, scores) = (compared.select(Axis(0), &agreeing), scores.select(Axis(0), &agreeing));
    let ranked = ranking(rows.view(), &vec![Label(0); agreeing.len()], scores.view());
    Ok((compared, ranked.into_iter().map(|i| agreeing[i]).collect()))
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn draw(rows: usize, seed: u64) -> Array2<f32> {
        Array2::random_using((rows, 30), StandardNormal, &mut Seed::new(seed).rng())
    }

    /// A restart that has found the first `found` of `inputs`; its other candidates are its own.
    fn restart(inputs: &Array2<f32>, found: usize, seed: u64) -> Option<Restart> {
        let mut coordinates = draw(20, seed);
        coordinates.slice_mut(s![..found, ..]).assign(&inputs.slice(s![..found, ..]));
        Some(Restart {
            multipliers: Array1::ones(coordinates.nrows()),
            coordinates,
            unrefined: None,
            relative_residual: 0.1,
            curve: Vec::new(),
            termination: TerminationReason::MaxSteps,
        })
    }

    fn look(looks: &mut Looks, restarts: &[Option<Restart>]) -> Option<Saturation> {
        let labels = [Label(0); 20];
        looks.look(restarts, &labels, &SaturationParams::default(), Parallelism::Sequential).unwrap()
    }

    #[test]
    fn restarts_end_when_the_last_ones_find_nothing_new() {
        let inputs = draw(12, 1);
        let mut restarts: Vec<_> = (10..18).map(|seed| restart(&inputs, 9, seed)).collect();
        let found = look(&mut Looks::default(), &restarts);
        assert_eq!(found, Some(Saturation { restarts: 8, last: 4, found: 9 }));
        // Its last candidates are compared with those of all others, so what only the second half finds is on no list yet.
        let mut looks = Looks { restarts: 8, found: (0..6).collect() };
        restarts.extend((20..28).map(|seed| restart(&inputs, 9, seed)));
        assert_eq!(look(&mut looks, &restarts), None, "three of nine are new");
        restarts.extend((30..38).map(|seed| restart(&inputs, 9, seed)));
        assert_eq!(look(&mut looks, &restarts), Some(Saturation { restarts: 24, last: 8, found: 9 }));
    }

    #[test]
    fn where_restarts_agree_on_nothing_more_of_them_bring_nothing() {
        let restarts: Vec<_> = (10..18).map(|seed| restart(&draw(12, 1), 0, seed)).collect();
        let found = look(&mut Looks::default(), &restarts);
        assert_eq!(found, Some(Saturation { restarts: 8, last: 4, found: 0 }));
    }

    #[test]
    fn an_attack_that_was_cut_says_nothing() {
        let inputs = draw(12, 1);
        let whole: Vec<_> = (10..18).map(|seed| restart(&inputs, 9, seed)).collect();
        let mut missing = whole.clone();
        missing[3] = None;
        assert_eq!(look(&mut Looks::default(), &missing), None);
        let mut cut = whole.clone();
        cut[7].as_mut().unwrap().termination = TerminationReason::TimeLimit;
        assert_eq!(look(&mut Looks::default(), &cut), None);
        let mut broken = whole;
        let restart = broken[0].as_mut().unwrap();
        restart.termination = TerminationReason::NonFinite { step: 3 };
        restart.coordinates.fill(f32::NAN);
        assert_eq!(
            look(&mut Looks::default(), &broken).map(|found| found.found),
            Some(9),
            "a NaN is left out"
        );
    }

    #[test]
    fn ranges_are_checked() {
        let with =
            |every, agreement, new_share| SaturationParams { every, agreement, new_share }.check().is_ok();
        assert!(SaturationParams::default().check().is_ok() && with(4, 0.0, 1.0));
        for (every, agreement, new_share) in [(2, 0.8, 0.0), (5, 0.8, 0.0), (8, 1.1, 0.0), (8, 0.8, f64::NAN)]
        {
            assert!(!with(every, agreement, new_share), "{every} {agreement} {new_share}");
        }
    }
}
