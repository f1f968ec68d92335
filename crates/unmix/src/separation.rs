//! Blind source separation of the first layer's row space.
//!
//! Each gradient of the first layer is an input times what a neuron makes of it, so its rows lie in the span of the training
//! inputs, whatever the later layers, the loss or the optimiser. Where there are fewer inputs than directions, the leading
//! singular vectors span the inputs themselves, mixed. To unmix images nothing of the network is needed: their edges
//! (differences of neighbouring pixels) are few and strong, those of a mixture many and weak, as sums of independent terms
//! are. So the directions of the span along which the edges are least Gaussian are the images, up to sign and length. They
//! are searched for by the fixed-point iteration of independent component analysis; those found are left out of the next
//! round, which makes it easier.
//!
//! Which sign is right, how long an input is and which label it has is not told by edges.
//! `docs/decisions/0014-separated-sources.md` has the measurement.

use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, concatenate, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::factor::{FactorError, svd};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::range::{at_least_one, positive};
use palimpsest_numerics::reduce::{self, unit_rows};
use palimpsest_numerics::seed::Seed;
use palimpsest_numerics::whitening::whiten;
use rayon::prelude::*;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::edges::edges;
use crate::error::UnmixError;

/// Options of [`separate`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct SeparationParams {
    /// Most rounds, >= 1.
    pub rounds: usize,
    /// Random starts of a round, >= 1.
    pub starts: usize,
    /// Most iterations of each start, >= 1.
    pub iterations: usize,
    /// Edge, > 0, in units of the root mean square edge of an image, from which on an edge counts as strong: first and last.
    pub edge_scales: (f64, f64),
    /// Starts of a round that must end at a source, >= 1.
    pub supporters: usize,
}

impl Default for SeparationParams {
    fn default() -> Self {
        Self { rounds: 12, starts: 200, iterations: 60, edge_scales: (1.0, 0.3), supporters: 3 }
    }
}

impl SeparationParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`UnmixError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), UnmixError> {
        at_least_one("rounds of separation", self.rounds)?;
        at_least_one("starts of separation", self.starts)?;
        at_least_one("iterations of separation", self.iterations)?;
        at_least_one("supporters of a source", self.supporters)?;
        positive("edge scale", self.edge_scales.0)?;
        positive("edge scale", self.edge_scales.1)?;
        Ok(())
    }
}

/// Sources as a share of the directions, below which the span was not separated.
pub const SEPARATED: f64 = 0.5;
/// Cosine of edges above which two starts have ended at the same source.
const SAME: f32 = 0.9;
/// Cosine of edges with a source found before, above which a source is not new.
const KNOWN: f32 = 0.8;
/// Singular value of the sources found, each of length one, below which a direction is not theirs.
const LEAST_SPAN: f32 = 0.2;
/// Squared edges of a direction, relative to the largest, below which it has none.
const LEAST_EDGES: f64 = 1e-9;
/// New sources of a round, as a share of the directions, below which the search ends; twice in a row where it has too few.
const LEAST_NEW: f64 = 0.03;
/// Pace of the search at which it is given up, as a share of that at which the last round would bring enough sources: it gets faster
/// the fewer directions are left.
const SLOWEST: f64 = 0.5;
/// Rounds after which the search may be given up.
const FIRST_ROUNDS: usize = 3;
/// Directions left at which the search ends.
const FEW_DIRECTIONS: usize = 3;
/// Products of a block: blocks run side by side.
const ALONE: Parallelism = Parallelism::Sequential;
/// Starts that are iterated together.
const BLOCK: usize = 50;
/// Iterations at the last scale, and once more without regard to the sources found before.
const LAST_ITERATIONS: usize = 10;
/// Median cosine of the directions of a block with those before an iteration, from which on they have settled.
const SETTLED: f32 = 1.0 - 1e-4;

/// What [`separate`] finds.
#[derive(Clone, Debug)]
pub struct Separation {
    /// Sources, rows of length one in the order in which they were found, (k, r).
    pub coordinates: Array2<f32>,
    /// Mean `ln(1 + (e / s)^2)` over the edges e of each, s being the last edge scale: small where edges are few and strong, (k).
    pub contrasts: Vec<f32>,
}

/// Sources of a span of images. The search ends when it is not on the way to half as many sources as directions.
///
/// `observe` sees the number of sources before each round and may end the search, which then gives what it has.
///
/// # Errors
/// [`FactorError`] when a factorisation of the sources fails.
///
/// # Source
/// Hyvärinen, Fast and robust fixed-point algorithms for independent component analysis (1999), with the logarithm of a
/// Student density as contrast.
pub fn separate(
    whitened: &WhitenedEdges,
    params: &SeparationParams,
    seed: Seed,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Separation, FactorError> {
    let directions = whitened.edges.nrows();
    let mut found = Array2::<f32>::zeros((0, directions));
    let mut found_contrasts = Vec::new();
    let mut fruitless = 0;
    for round in 0..params.rounds {
        let known = span(found.view(), parallelism)?;
        let pace = SLOWEST * SEPARATED * directions as f64 / params.rounds as f64;
        let hopeless = round >= FIRST_ROUNDS && (found.nrows() as f64) < pace * round as f64;
        if hopeless || known.nrows() + FEW_DIRECTIONS > directions || observe(found.nrows()).is_break() {
            break;
        }
        let starts = (params.starts, directions);
        let mut rng = seed.indexed(round as u64).rng();
        let mut ends: Array2<f32> = Array2::random_using(starts, StandardNormal, &mut rng);
        let blocks = ends.axis_chunks_iter_mut(Axis(0), BLOCK).into_par_iter().with_max_len(1);
        let contrasts: Vec<f32> =
            blocks.flat_map_iter(|block| Iteration::of(whitened, params).run(block, known.view())).collect();
        let new = supported(ends.view(), &contrasts, found.view(), params.supporters);
        found = concatenate![Axis(0), found, ends.select(Axis(0), &new)];
        found_contrasts.extend(new.iter().map(|&end| contrasts[end]));
        fruitless = if (new.len() as f64) < LEAST_NEW * directions as f64 { fruitless + 1 } else { 0 };
        // Where too little is found, one such round may be bad luck.
        let enough = found.nrows() as f64 >= SEPARATED * directions as f64;
        if fruitless > usize::from(!enough) {
            break;
        }
    }
    let coordinates = unit_rows(matmul(found.view(), whitened.to_coordinates.view(), parallelism).view());
    Ok(Separation { coordinates, contrasts: found_contrasts })
}

/// Edges of images along directions of their span in which these are uncorrelated and of variance one.
#[derive(Clone, Debug)]
pub struct WhitenedEdges {
    /// (k, edges).
    edges: Array2<f32>,
    /// From whitened directions to coordinates, (k, r).
    to_coordinates: Array2<f32>,
}

impl WhitenedEdges {
    /// Edges of `basis` (r, d), orthonormal rows that are images of the channels, height and width `shape`.
    ///
    /// # Errors
    /// [`FactorError`] when the basis is not finite.
    ///
    /// # Panics
    /// When the shape is not that of the rows.
    #[track_caller]
    pub fn of(
        basis: ArrayView2<'_, f32>,
        shape: [usize; 3],
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        let edges = edges(basis, shape);
        let exact = edges.mapv(f64::from);
        let gram = matmul(exact.view(), exact.t(), parallelism) / edges.ncols().max(1) as f64;
        let to_coordinates = whiten(gram.view(), LEAST_EDGES, parallelism)?.mapv(|v| v as f32);
        Ok(Self { edges: matmul(to_coordinates.view(), edges.view(), parallelism), to_coordinates })
    }
}

/// The fixed-point iteration of a block of directions, and its memory.
struct Iteration<'a> {
    whitened: &'a WhitenedEdges,
    /// Squares of the edge that counts as strong, first and last.
    strong: (f32, f32),
    iterations: usize,
    /// Edges along the directions of a block, then the contrast's slope at each, (block, edges).
    values: Array2<f32>,
    /// Mean second derivative of the contrast along each direction.
    curvatures: Vec<f32>,
    next: Array2<f32>,
    /// The directions before an iteration.
    former: Array2<f32>,
    /// Cosines of directions with those before.
    cosines: Vec<f32>,
}

impl<'a> Iteration<'a> {
    fn of(whitened: &'a WhitenedEdges, params: &SeparationParams) -> Self {
        let (directions, edges) = whitened.edges.dim();
        let block = BLOCK.min(params.starts);
        Self {
            whitened,
            strong: (params.edge_scales.0.powi(2) as f32, params.edge_scales.1.powi(2) as f32),
            iterations: params.iterations,
            values: Array2::zeros((block, edges)),
            curvatures: vec![0.0; block],
            next: Array2::zeros((block, directions)),
            former: Array2::zeros((block, directions)),
            cosines: Vec::with_capacity(block),
        }
    }

    /// Moves each of `directions` (block, k) to a source outside of `known`, orthonormal rows, and gives their contrasts.
    fn run(mut self, mut directions: ArrayViewMut2<'_, f32>, known: ArrayView2<'_, f32>) -> Vec<f32> {
        leave_out(directions.view_mut(), known);
        let (first, last) = self.strong;
        for _ in 0..self.iterations {
            self.former.slice_mut(s![..directions.nrows(), ..]).assign(&directions);
            self.step(directions.view_mut(), first);
            leave_out(directions.view_mut(), known);
            if self.median_cosine(directions.view()) > SETTLED {
                break;
            }
        }
        for _ in 0..LAST_ITERATIONS {
            self.step(directions.view_mut(), last);
            leave_out(directions.view_mut(), known);
        }
        // Sources are not quite orthogonal: the last steps are taken without regard to the known ones.
        for _ in 0..LAST_ITERATIONS {
            self.step(directions.view_mut(), last);
            leave_out(directions.view_mut(), known.slice(s![..0, ..]));
        }
        let mut values = self.values.slice_mut(s![..directions.nrows(), ..]);
        gemm(1.0, directions.view(), self.whitened.edges.view(), 0.0, values.view_mut(), ALONE);
        let of = |row: ArrayView1<'_, f32>| contrast(row.to_slice().expect("rows are contiguous"), last);
        values.rows().into_iter().map(of).collect()
    }

    /// Median cosine, up to sign, of directions with the former ones.
    fn median_cosine(&mut self, directions: ArrayView2<'_, f32>) -> f32 {
        self.cosines.clear();
        for (new, old) in directions.rows().into_iter().zip(self.former.rows()) {
            let (new, old) = (new.to_slice(), old.to_slice());
            let cosine = reduce::inner(new.expect("rows are contiguous"), old.expect("rows are contiguous"));
            self.cosines.push(cosine.abs() as f32);
        }
        upper_median(&mut self.cosines).expect("a block has directions")
    }

    /// One step towards the smallest mean of `ln(1 + edge^2 / strong)`; lengths are left as they come.
    fn step(&mut self, mut directions: ArrayViewMut2<'_, f32>, strong: f32) {
        let block = directions.nrows();
        let edges = self.whitened.edges.view();
        let mut values = self.values.slice_mut(s![..block, ..]);
        gemm(1.0, directions.view(), edges, 0.0, values.view_mut(), ALONE);
        for (mut row, curvature) in values.rows_mut().into_iter().zip(&mut self.curvatures) {
            let row = row.as_slice_mut().expect("rows are contiguous");
            *curvature = slopes(row, strong);
        }
        let mut next = self.next.slice_mut(s![..block, ..]);
        let mean = 1.0 / edges.ncols().max(1) as f32;
        gemm(mean, values.view(), edges.t(), 0.0, next.view_mut(), ALONE);
        for ((mut direction, next), &curvature) in
            directions.rows_mut().into_iter().zip(next.rows()).zip(&self.curvatures)
        {
            direction.zip_mut_with(&next, |old, &new| *old = new - curvature * *old);
        }
    }
}

/// Mean of `ln(1 + edge^2 / strong)`.
fn contrast(edges: &[f32], strong: f32) -> f32 {
    // One logarithm for several edges: eight factors of the size of an f32 are no more than an f64 holds.
    let log = |edges: &[f32]| edges.iter().map(|e| 1.0 + f64::from(e * e / strong)).product::<f64>().ln();
    (edges.chunks(8).map(log).sum::<f64>() / edges.len() as f64) as f32
}

/// Replaces edges by the slope of the contrast at each, and gives its mean second derivative.
fn slopes(edges: &mut [f32], strong: f32) -> f32 {
    const LANES: usize = 16;
    let count = edges.len().max(1) as f32;
    vectorised(
        #[inline(always)]
        || {
            let mut sums = [0.0_f32; LANES];
            for chunk in edges.chunks_mut(LANES) {
                for (edge, sum) in chunk.iter_mut().zip(&mut sums) {
                    let square = *edge * *edge;
                    let inverse = 1.0 / (strong + square);
                    *sum += (strong - square) * inverse * inverse;
                    *edge *= inverse;
                }
            }
            sums.iter().sum::<f32>() / count
        },
    )
}

/// Takes their part in the span of `known`, orthonormal rows, from directions, and gives them length one.
fn leave_out(mut directions: ArrayViewMut2<'_, f32>, known: ArrayView2<'_, f32>) {
    if known.nrows() > 0 {
        let along = matmul(directions.view(), known.t(), ALONE);
        gemm(-1.0, along.view(), known, 1.0, directions.view_mut(), ALONE);
    }
    for mut row in directions.rows_mut() {
        let length = reduce::norm(row.view()) as f32;
        row.mapv_inplace(|v| if length > 0.0 { v / length } else { 0.0 });
    }
}

/// Orthonormal rows that span `found`, unit rows, but for directions that are hardly theirs.
fn span(found: ArrayView2<'_, f32>, parallelism: Parallelism) -> Result<Array2<f32>, FactorError> {
    if found.is_empty() {
        return Ok(found.to_owned());
    }
    let svd = svd(found, parallelism)?;
    let kept = svd.singular_values.iter().filter(|&&s| s > LEAST_SPAN).count();
    Ok(svd.vt.slice_move(s![..kept, ..]))
}

/// Which of `ends` stand for sources: of those that lie together the one of the smallest contrast, where there are at least
/// `supporters` and they are none of the sources `found` before.
fn supported(
    ends: ArrayView2<'_, f32>,
    contrasts: &[f32],
    found: ArrayView2<'_, f32>,
    supporters: usize,
) -> Vec<usize> {
    let alike = matmul(ends, ends.t(), Parallelism::Sequential);
    let known = matmul(ends, found.t(), Parallelism::Sequential);
    let mut order: Vec<usize> = (0..ends.nrows()).filter(|&i| contrasts[i].is_finite()).collect();
    order.sort_by(|&a, &b| contrasts[a].total_cmp(&contrasts[b]));
    let mut taken = vec![false; ends.nrows()];
    let mut new = Vec::new();
    for &this in &order {
        if taken[this] {
            continue;
        }
        let members: Vec<usize> =
            order.iter().copied().filter(|&i| !taken[i] && alike[[this, i]].abs() > SAME).collect();
        for &member in &members {
            taken[member] = true;
        }
        if members.len() >= supporters && known.row(this).iter().all(|cosine| cosine.abs() < KNOWN) {
            new.push(this);
        }
    }
    new
}
