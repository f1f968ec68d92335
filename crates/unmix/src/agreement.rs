//! Separation by agreement: pictures that many blind separations of one span find independently of each other.
//!
//! A span of images is separated at nested truncations with several edge operators. What is a source of one setting alone is an accident
//! of it; what many settings find is an image. So no rank is chosen, and nothing of a network is used.

mod clusters;
mod contrast;
mod diagnostics;
mod evidence;
mod fixed_point;
mod grid;
mod likelihood;
mod spread;
mod whitening;

use std::ops::{Bound, ControlFlow};

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, s};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::range::{above, positive, within};
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_numerics::seed::Seed;
use rayon::prelude::*;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use self::clusters::{Cluster, Pool, Setting};
pub use self::diagnostics::Diagnostics;
pub use self::evidence::Evidence;
use self::fixed_point::Schedule;
use self::whitening::WhitenedEdges;
use crate::UnmixError;
use crate::operators::{EdgeOperator, NEIGHBOURS};

/// Options of [`separate_by_agreement`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct AgreementParams {
    /// Smallest truncation, >= 4.
    pub smallest_rank: usize,
    /// Rank of a truncation relative to the one before, > 1.
    pub rank_growth: f64,
    /// Settings in which a picture must be found to be supported, >= 2.
    pub least_support: usize,
    /// Edge, > 0, in units of the root mean square edge, from which on an edge counts as strong: first and last.
    pub edge_scales: (f32, f32),
    /// Iterations, at most: decorrelated at the first scale, decorrelated at the last, by the likelihood at the last.
    pub iterations: (usize, usize, usize),
    /// Cosine of edges above which two sources are the same picture, in (0, 1).
    pub same_cosine: f32,
    /// Cosine of edges above which two pictures are one, seen more and less clearly, in (0, 1).
    pub merged_cosine: f32,
}

impl Default for AgreementParams {
    fn default() -> Self {
        Self {
            smallest_rank: 25,
            rank_growth: 1.3,
            least_support: 3,
            edge_scales: (1.0, 0.3),
            iterations: (15, 8, 60),
            same_cosine: 0.75,
            merged_cosine: 0.5,
        }
    }
}

impl AgreementParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`UnmixError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), UnmixError> {
        within("smallest rank", self.smallest_rank, 4.., "at least 4")?;
        within("growth of ranks", self.rank_growth, above(1.0), "a finite number above 1")?;
        within("least support", self.least_support, 2.., "at least 2")?;
        positive("edge scale", self.edge_scales.0)?;
        positive("edge scale", self.edge_scales.1)?;
        let between = (Bound::Excluded(0.0), Bound::Excluded(1.0));
        within("cosine of the same picture", self.same_cosine, between, "between 0 and 1")?;
        within("cosine of merged pictures", self.merged_cosine, between, "between 0 and 1")?;
        Ok(())
    }
}

/// What [`separate_by_agreement`] finds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Agreement {
    /// Pictures in coordinates of the largest span, each of unit length and of either sign, surest first, (k, r).
    pub pictures: Array2<f32>,
    /// What is known of each picture, (k).
    pub evidence: Vec<Evidence>,
    /// How the separations went.
    pub diagnostics: Diagnostics,
    /// Sources of all settings in coordinates of the largest span, (count, r).
    pub sources: Array2<f32>,
    /// Rank of the truncation and index of the operator of each source, (count).
    pub settings: Vec<(usize, usize)>,
}

impl Agreement {
    /// For each picture, the probability that it is one of the images that were mixed, (k), in (0, 1); see [`Evidence::probability`].
    pub fn probabilities(&self) -> Vec<f64> {
        self.evidence.iter().map(Evidence::probability).collect()
    }
}

/// What an observer sees after each truncation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Rank of the truncation.
    pub rank: usize,
    /// Pictures that most operators agree on there.
    pub confirmed: usize,
    /// Those that no smaller truncation had confirmed.
    pub new: usize,
}

/// Singular values relative to the largest, below which a direction is rounding.
const LEAST_SINGULAR_VALUE: f64 = 1e-6;
/// Operators that must agree for a source to be confirmed at one truncation.
const MOST_OPERATORS: usize = 3;
/// New confirmed pictures of a truncation, as a share of all, below which it brought nothing.
const LEAST_NEW: f64 = 0.05;
/// Confirmed pictures, as a share of the most of any smaller truncation, below which a truncation takes pictures apart, and the grid ends.
/// Single counts of small truncations vary more than that.
const TAKEN_APART: f64 = 0.9;

/// Confirmed pictures, as a share of the directions, above which a truncation holds little else; and below which the next one, which had room
/// for more, seems to hold all there are.
const FULL: f64 = 0.95;
const EXHAUSTED: f64 = 0.85;
/// What [`LEAST_NEW`] is for a truncation that seems to hold all there are.
const LEAST_NEW_OF_EXHAUSTED: f64 = 0.1;

/// Pictures in the span of `basis` (r, d), orthonormal rows in falling order of `singular_values` (r), which are images of the channels,
/// height and width `shape`.
///
/// Settings run side by side in the current rayon pool; `parallelism` is for the products before. The result does not depend on either.
/// `observe` is called after each truncation and may end the search, which then gives what it has.
///
/// # Errors
/// [`UnmixError`] when an option is out of range, the shape is not that of the rows, something is not finite, or there is no direction.
///
/// # Source
/// Hyvärinen, Fast and robust fixed-point algorithms for independent component analysis (1999), with the logarithm of a Student density
/// as contrast, of single edges and of groups of them.
pub fn separate_by_agreement(
    basis: ArrayView2<'_, f32>,
    singular_values: ArrayView1<'_, f64>,
    shape: [usize; 3],
    params: &AgreementParams,
    seed: Seed,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Agreement, UnmixError> {
    params.check()?;
    check(basis, singular_values, shape)?;
    let least = LEAST_SINGULAR_VALUE * singular_values.first().copied().unwrap_or(0.0);
    let directions = singular_values.iter().filter(|&&s| s > least).count();
    let basis = basis.slice_move(s![..directions, ..]);
    let whitened: Vec<WhitenedEdges> = EdgeOperator::of_channels(shape[0])
        .into_par_iter()
        .map(|operator| WhitenedEdges::of(&operator.edges(basis, shape), parallelism))
        .collect();
    let to_edges = whitened[NEIGHBOURS].inverse();
    let mut found = Found::new(directions, params);
    let (mut most, mut was_full) = (0, false);
    for rank in grid::ranks(params.smallest_rank, params.rank_growth, directions) {
        let seed = seed.named("truncation").indexed(rank as u64);
        let sources = sources_of_operators(&whitened, rank, params, seed);
        let progress = found.add(rank, sources, to_edges.view());
        most = most.max(progress.confirmed);
        let share = progress.confirmed as f64 / rank as f64;
        let is_exhausted = was_full && rank >= FEW_BY && share < EXHAUSTED;
        let least_new = if is_exhausted { LEAST_NEW_OF_EXHAUSTED } else { LEAST_NEW };
        let brings_nothing =
            rank >= FEW_BY && (progress.new as f64) < least_new * found.known_pictures as f64;
        let are_taken_apart = rank >= FEW_BY && (progress.confirmed as f64) < TAKEN_APART * most as f64;
        let has_seen_all = brings_nothing || are_taken_apart;
        let is_ended = observe(progress).is_break();
        found.diagnostics.ended_early = is_ended && !has_seen_all;
        if is_ended || has_seen_all {
            break;
        }
        was_full = share > FULL;
    }
    let mut agreement = found.agreement(&whitened[NEIGHBOURS], to_edges.view(), params);
    let spreads = spread::spreads(agreement.pictures.view(), basis, parallelism);
    let early = spread::last_early(agreement.evidence.iter().map(|evidence| evidence.rank_first).collect());
    let persistence: f64 = agreement.evidence.iter().map(|evidence| evidence.persistence).sum();
    let usual_persistence = persistence / agreement.evidence.len().max(1) as f64;
    for (evidence, spread) in agreement.evidence.iter_mut().zip(spreads) {
        (evidence.spread, evidence.is_late) = (spread, evidence.rank_first > early);
        evidence.usual_persistence = usual_persistence;
    }
    Ok(agreement)
}

/// Rank by which some source must be confirmed, or there are none; and from which the number of those that are is told.
const FEW_BY: usize = 70;

/// Sources of a truncation by each operator, unit rows in its coordinates.
fn sources_of_operators(
    whitened: &[WhitenedEdges],
    rank: usize,
    params: &AgreementParams,
    seed: Seed,
) -> Vec<Array2<f32>> {
    let schedule = Schedule { edge_scales: params.edge_scales, iterations: params.iterations };
    let of = |(operator, whitened): (usize, &WhitenedEdges)| {
        let found = fixed_point::sources(whitened, rank, &schedule, seed.indexed(operator as u64));
        let to_coordinates = whitened.to_coordinates.slice(s![..rank, ..rank]);
        unit_rows(matmul(found.view(), to_coordinates, Parallelism::Sequential).view())
    };
    whitened.par_iter().enumerate().with_max_len(1).map(of).collect()
}

/// Sources of the truncations so far.
struct Found {
    pool: Pool,
    /// (count, r).
    sources: Array2<f32>,
    /// Sources that are a confirmed picture, in rising order.
    known: Vec<usize>,
    known_pictures: usize,
    diagnostics: Diagnostics,
}

impl Found {
    fn new(directions: usize, params: &AgreementParams) -> Self {
        Self {
            pool: Pool::new(directions, params.same_cosine),
            sources: Array2::zeros((0, directions)),
            known: Vec::new(),
            known_pictures: 0,
            diagnostics: Diagnostics::default(),
        }
    }

    /// Adds the sources of all operators at one truncation.
    fn add(&mut self, rank: usize, found: Vec<Array2<f32>>, to_edges: ArrayView2<'_, f32>) -> Progress {
        let index = self.diagnostics.ranks.len();
        for (operator, found) in found.iter().enumerate() {
            let edges = matmul(found.view(), to_edges.slice(s![..rank, ..rank]), Parallelism::Sequential);
            self.pool.add(unit_rows(edges.view()).view(), Setting { rank: index, operator });
            let mut padded = Array2::zeros((found.nrows(), self.sources.ncols()));
            padded.slice_mut(s![.., ..rank]).assign(found);
            self.sources.append(Axis(0), padded.view()).expect("all rows have the same length");
        }
        let confirmed = self.pool.confirmed(index, MOST_OPERATORS, &self.known);
        self.known.extend(confirmed.members);
        self.known.sort_unstable();
        self.known.dedup();
        self.known_pictures += confirmed.new;
        self.diagnostics.ranks.push(rank);
        self.diagnostics.confirmed.push(confirmed.count);
        self.diagnostics.new.push(confirmed.new);
        Progress { rank, confirmed: confirmed.count, new: confirmed.new }
    }

    /// The pictures that enough settings agree on, and what is known of them.
    fn agreement(
        self,
        neighbours: &WhitenedEdges,
        to_edges: ArrayView2<'_, f32>,
        params: &AgreementParams,
    ) -> Agreement {
        let clusters: Vec<Cluster> = self
            .pool
            .clusters()
            .into_iter()
            .filter(|cluster| cluster.support >= params.least_support)
            .collect();
        let mut pictures = Array2::zeros((clusters.len(), self.sources.ncols()));
        for (cluster, picture) in clusters.iter().zip(pictures.rows_mut()) {
            self.shown(cluster, picture);
        }
        let pictures = unit_rows(pictures.view());
        let edges = unit_rows(matmul(pictures.view(), to_edges, Parallelism::Sequential).view());
        let contrasts = contrast::contrasts(neighbours, edges.view(), params.edge_scales.1);
        let ranks = &self.diagnostics.ranks;
        let rank = |&member: &usize| self.pool.settings()[member].rank;
        let last: Vec<usize> =
            clusters.iter().map(|cluster| cluster.members.iter().map(rank).max().unwrap_or(0)).collect();
        let mut listed: Vec<(usize, Evidence)> = clusters::merged(edges.view(), &last, params.merged_cosine)
            .into_iter()
            .map(|group| {
                let (first, members) = (group[0], group.iter().map(|&cluster| &clusters[cluster]));
                let found = self.pool.found(members);
                (first, evidence::of(&found, &self.diagnostics, contrasts[first], pictures.row(first)))
            })
            .collect();
        listed.sort_by_key(|(_, evidence)| std::cmp::Reverse(evidence.support));
        let order: Vec<usize> = listed.iter().map(|(cluster, _)| *cluster).collect();
        let settings = self.pool.settings().iter().map(|s| (ranks[s.rank], s.operator)).collect();
        Agreement {
            pictures: pictures.select(Axis(0), &order),
            evidence: listed.into_iter().map(|(_, evidence)| evidence).collect(),
            diagnostics: self.diagnostics,
            sources: self.sources,
            settings,
        }
    }

    /// The mean of the sources of a cluster at the two largest truncations that have one, with the sign of its centre.
    fn shown(&self, cluster: &Cluster, mut picture: ArrayViewMut1<'_, f32>) {
        let rank = |source: usize| self.pool.settings()[source].rank;
        let mut ranks: Vec<usize> = cluster.members.iter().map(|&member| rank(member)).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let least = ranks[ranks.len().saturating_sub(SHOWN_TRUNCATIONS)];
        for &member in cluster.members.iter().filter(|&&member| rank(member) >= least) {
            let sign = self.pool.sign(cluster.centre, member);
            picture.scaled_add(sign, &self.sources.row(member));
        }
    }
}

/// Truncations whose sources make the picture that is shown.
const SHOWN_TRUNCATIONS: usize = 2;

fn check(
    basis: ArrayView2<'_, f32>,
    singular_values: ArrayView1<'_, f64>,
    [channels, height, width]: [usize; 3],
) -> Result<(), UnmixError> {
    let (rows, columns) = basis.dim();
    let values = channels.checked_mul(height).and_then(|v| v.checked_mul(width));
    if values != Some(columns) || channels == 0 || height < 3 || width < 3 {
        return Err(UnmixError::BadShape { channels, height, width, columns });
    }
    let finite = singular_values.iter().filter(|s| s.is_finite()).count();
    if finite != rows || singular_values.len() != rows {
        return Err(UnmixError::BadSpectrum { rows, got: finite });
    }
    if !basis.iter().all(|v| v.is_finite()) {
        return Err(UnmixError::NotFinite { rows });
    }
    if singular_values.iter().all(|&s| s <= 0.0) {
        return Err(UnmixError::NothingMixed);
    }
    Ok(())
}
