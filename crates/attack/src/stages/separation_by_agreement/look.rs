//! Looks for pictures in the rows of the entry layer, once and only where somebody asks for them.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use ndarray::{Array1, Array2, Axis};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::agreement::{Agreement, Evidence, Progress, separate_by_agreement};

use crate::error::AttackError;
use crate::problem::entry::{EntryLayer, LEAST_DIRECTIONS};
use crate::search::method::Method;
use crate::stages::params::AttackParams;
use crate::stages::why_not::WhyNot;

/// Pictures that many separations agree on, with what speaks for each.
#[derive(Clone, Debug)]
pub struct Supported {
    /// In coordinates along the right singular vectors, of length one and of either sign, surest first, (k, w).
    pub pictures: Array2<f32>,
    /// What is known of each, (k).
    pub evidence: Vec<Evidence>,
    /// Rank of the smallest truncation in which nearly as many images are confirmed as in any, if these are many for it.
    best_rank: Option<usize>,
}

/// The pictures of an entry layer, looked for when they are first asked for.
pub struct Pictures<'a> {
    entry: &'a EntryLayer,
    params: &'a AttackParams,
    seed: Seed,
    parallelism: Parallelism,
    found: OnceLock<Result<Supported, WhyNot>>,
}

impl<'a> Pictures<'a> {
    /// Those of `entry`, as [`Supported::look`] finds them.
    pub fn of(entry: &'a EntryLayer, params: &'a AttackParams, seed: Seed, parallelism: Parallelism) -> Self {
        Self { entry, params, seed, parallelism, found: OnceLock::new() }
    }

    /// Whether somebody asked for them.
    pub fn are_looked_for(&self) -> bool {
        self.found.get().is_some()
    }

    /// What was found, if they were looked for and there are any.
    pub fn found(&self) -> Option<&Supported> {
        self.found.get()?.as_ref().ok()
    }

    /// Looks for them, the first time only.
    ///
    /// # Errors
    /// Those of [`Supported::look`].
    pub fn look(
        &self,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Result<&Supported, WhyNot>, AttackError> {
        if !self.are_looked_for() {
            let found = Supported::look(self.entry, self.params, self.seed, self.parallelism, observe)?;
            self.found.get_or_init(|| found);
        }
        let found = self.found.get().expect("they were just looked for");
        Ok(found.as_ref().map_err(Clone::clone))
    }
}

/// Images that a truncation confirms, as a share of its rank, from which it says how many directions are signal.
const LEAST_CONFIRMED: f64 = 0.3;
/// Images that a truncation confirms, as a share of the most, from which it holds the signal: what larger ones confirm besides is mostly what
/// Adam leaves of its way (`docs/decisions/0025-rank.md`).
const NEARLY_MOST: f64 = 0.8;
/// Signal is expected up to this multiple of that rank: truncations grow by steps, and some images show in none.
const BEYOND: f64 = 1.15;

impl Supported {
    /// Pictures in the rows of `entry`, which are images of a declared shape; or why there are none.
    ///
    /// # Errors
    /// [`AttackError`] when options are out of range or a factorisation fails.
    pub fn look(
        entry: &EntryLayer,
        params: &AttackParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Result<Self, WhyNot>, AttackError> {
        if !matches!(params.method, Method::Annealed(_)) {
            return Ok(Err(WhyNot::because("only annealed descent can begin with given images")));
        }
        let Some(options) = params.agreement else { return Ok(Err(WhyNot::because("it was left out"))) };
        let shape = match entry.prior.image_shape {
            None => return Ok(Err(WhyNot::because("the shape of an image was not declared"))),
            Some([_, height, width]) if height < 3 || width < 3 => {
                return Ok(Err(WhyNot::because("images this small have too few edges")));
            }
            Some(shape) => shape,
        };
        let directions = entry.directions();
        if directions.nrows() < LEAST_DIRECTIONS {
            return Ok(Err(WhyNot::because("images this small have too few edges")));
        }
        let values: Array1<f64> =
            entry.spectrum()[..directions.nrows()].iter().map(|&value| f64::from(value)).collect();
        let mut tell = |at: Progress| observe(at.confirmed);
        let found =
            separate_by_agreement(directions, values.view(), shape, &options, seed, parallelism, &mut tell)?;
        Ok(Self::of(&found).ok_or(WhyNot::because("no picture was found by several separations")))
    }

    /// Those of `found` that are no shared background, if there are any.
    fn of(found: &Agreement) -> Option<Self> {
        let mut kept: Vec<usize> =
            (0..found.evidence.len()).filter(|&i| !found.evidence[i].is_shared_background()).collect();
        let probabilities = found.probabilities();
        kept.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let evidence: Vec<Evidence> = kept.iter().map(|&i| found.evidence[i].clone()).collect();
        let ranks = &found.diagnostics.ranks;
        let best_rank = rank_of_most(&confirmed_images(found), ranks);
        let pictures = found.pictures.select(Axis(0), &kept);
        (!kept.is_empty()).then_some(Self { pictures, evidence, best_rank })
    }

    /// Directions that separations support, if these say something of them.
    pub fn rank(&self) -> Option<usize> {
        self.best_rank.map(|rank| (BEYOND * rank as f64).round() as usize)
    }

    /// `count` of the surest pictures in the first `rank` of their coordinates, of length one, (count or fewer, rank).
    pub fn truncated(&self, count: usize, rank: usize) -> Array2<f32> {
        let shared = rank.min(self.pictures.ncols());
        let count = count.min(self.pictures.nrows());
        let mut rows = Array2::zeros((count, rank));
        rows.slice_mut(ndarray::s![.., ..shared])
            .assign(&self.pictures.slice(ndarray::s![..count, ..shared]));
        palimpsest_numerics::reduce::unit_rows(rows.view())
    }
}

/// Pictures that each truncation confirms, without those that are spots.
fn confirmed_images(found: &Agreement) -> Vec<usize> {
    let of_each = found.diagnostics.confirmed.iter().zip(&found.diagnostics.ranks);
    of_each
        .map(|(&confirmed, &rank)| {
            let is_there = |of: &&Evidence| of.is_spot() && (of.rank_first..=of.rank_last).contains(&rank);
            confirmed.saturating_sub(found.evidence.iter().filter(is_there).count())
        })
        .collect()
}

/// Rank of the smallest truncation that confirms nearly as many images as any, if these are many for it.
fn rank_of_most(confirmed: &[usize], ranks: &[usize]) -> Option<usize> {
    let most = confirmed.iter().copied().max().unwrap_or(0) as f64;
    confirmed
        .iter()
        .zip(ranks)
        .find(|&(&confirmed, _)| confirmed as f64 >= NEARLY_MOST * most)
        .filter(|&(&confirmed, &rank)| confirmed as f64 >= LEAST_CONFIRMED * rank as f64)
        .map(|(_, &rank)| rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_truncation_with_nearly_all_images_tells_the_rank() {
        let ranks = [25, 33, 42, 55, 71, 93, 121, 157];
        let after_adam = [22, 29, 37, 50, 69, 94, 99, 80];
        assert_eq!(rank_of_most(&after_adam, &ranks), Some(93));
        assert_eq!(rank_of_most(&[7, 8, 9, 9, 9, 9, 9, 9], &ranks), None, "few for so many directions");
        assert_eq!(rank_of_most(&[0; 8], &ranks), None);
        assert_eq!(rank_of_most(&[], &[]), None);
    }
}
