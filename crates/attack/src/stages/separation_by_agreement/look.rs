//! Looks for pictures in the rows of the entry layer, before anything else is decided.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, Axis};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::agreement::{Agreement, Evidence, Progress, separate_by_agreement};

use crate::error::AttackError;
use crate::problem::entry::EntryLayer;
use crate::search::method::Method;
use crate::stages::params::AttackParams;
use crate::stages::stage::WhyNot;

/// Pictures that many separations agree on, with what speaks for each.
#[derive(Clone, Debug)]
pub struct Supported {
    /// In coordinates along the right singular vectors, of length one and of either sign, surest first, (k, w).
    pub pictures: Array2<f32>,
    /// What is known of each, (k).
    pub evidence: Vec<Evidence>,
}

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
        (!kept.is_empty()).then(|| Self { pictures: found.pictures.select(Axis(0), &kept), evidence })
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
