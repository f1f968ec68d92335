//! The fixed-point iteration of independent component analysis, all directions of a truncation at once.
//!
//! The directions along which edges are least Gaussian are searched for together, and kept apart by symmetric decorrelation: as many
//! as the truncation has. Those that are no images end anywhere, which other operators and truncations then do not confirm. Images are not quite
//! uncorrelated, so at the end the likelihood of the edges moves the directions freely ([`super::likelihood`]).

use ndarray::{Array2, Axis, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

use super::contrast::{curvature_at_zero, slopes, to_unit};
use super::likelihood;
use super::whitening::WhitenedEdges;

/// A setting is one task: its products run alone.
const ALONE: Parallelism = Parallelism::Sequential;
/// Cosine with the direction before an iteration from which on a direction has settled.
const SETTLED: f32 = 1.0 - 1e-3;
/// Settled directions, as a share, at which a phase ends.
const ENOUGH_SETTLED: f64 = 0.9;
/// Steps of the decorrelation of an iteration.
const DECORRELATIONS: usize = 5;
/// Steps of the power iteration that scales a decorrelation.
const POWER_STEPS: usize = 4;

/// How long and at which scales directions are iterated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Edge, in units of the root mean square, from which on an edge counts as strong: first and last.
    pub(super) edge_scales: (f32, f32),
    /// Iterations, at most: decorrelated at the first scale, decorrelated at the last, by the likelihood at the last.
    pub(super) iterations: (usize, usize, usize),
}

/// Directions of the leading `rank` whitened directions along which edges are sparse, (rank, rank), unit rows.
pub(super) fn sources(whitened: &WhitenedEdges, rank: usize, schedule: &Schedule, seed: Seed) -> Array2<f32> {
    let start: Array2<f32> = Array2::random_using((rank, rank), StandardNormal, &mut seed.rng());
    let mut iteration = Iteration::of(whitened, start);
    let (first, last) = schedule.edge_scales;
    let (together, sharper, free) = schedule.iterations;
    iteration.decorrelate();
    for (limit, scale) in [(together, first), (sharper, last)] {
        for _ in 0..limit {
            iteration.step(scale * scale);
            iteration.decorrelate();
            if iteration.has_settled() {
                break;
            }
        }
    }
    likelihood::maximise(whitened, iteration.directions, free, last)
}

struct Iteration<'a> {
    whitened: &'a WhitenedEdges,
    /// (m, rank).
    directions: Array2<f32>,
    /// The directions before the last step.
    former: Array2<f32>,
    /// Edges of a chunk along the directions, then the contrast's slope at each.
    values: Array2<f32>,
    /// Sum of second derivatives of the contrast along each direction.
    curvatures: Vec<f32>,
    next: Array2<f32>,
    /// Inner products of the directions, (m, m).
    products: Array2<f32>,
    power: (Array2<f32>, Array2<f32>),
}

impl<'a> Iteration<'a> {
    fn of(whitened: &'a WhitenedEdges, directions: Array2<f32>) -> Self {
        let (count, width) = (directions.nrows(), whitened.chunks.len_of(Axis(2)));
        let shape = directions.dim();
        Self {
            whitened,
            directions,
            former: Array2::zeros(shape),
            values: Array2::zeros((count, width)),
            curvatures: vec![0.0; count],
            next: Array2::zeros(shape),
            products: Array2::zeros((count, count)),
            power: (Array2::zeros((count, 1)), Array2::zeros((count, 1))),
        }
    }

    /// One step of each direction towards the smallest mean of `ln(1 + |edges of a group|^2 / (strong * group))`, to length one.
    fn step(&mut self, strong: f32) {
        let rank = self.directions.ncols();
        let (group, differences) = (self.whitened.group, self.whitened.differences() as f32);
        let threshold = strong * group as f32;
        self.former.assign(&self.directions);
        // Padding adds the second derivative at zero.
        let of_padding = self.whitened.padding as f32 * curvature_at_zero(threshold, group);
        self.curvatures.fill(-of_padding);
        for (i, chunk) in self.whitened.chunks.outer_iter().enumerate() {
            let edges = chunk.slice_move(s![..rank, ..]);
            gemm(1.0, self.directions.view(), edges, 0.0, self.values.view_mut(), ALONE);
            for (mut row, curvature) in self.values.rows_mut().into_iter().zip(&mut self.curvatures) {
                *curvature += slopes(row.as_slice_mut().expect("rows are contiguous"), group, threshold);
            }
            let before = if i == 0 { 0.0 } else { 1.0 };
            gemm(1.0, self.values.view(), edges.t(), before, self.next.view_mut(), ALONE);
        }
        for ((mut direction, next), &curvature) in
            self.directions.rows_mut().into_iter().zip(self.next.rows()).zip(&self.curvatures)
        {
            direction.zip_mut_with(&next, |old, &new| *old = (new - curvature * *old) / differences);
            to_unit(direction.as_slice_mut().expect("rows are contiguous"));
        }
    }

    /// Makes the directions orthonormal, nearly: Newton's iteration for the inverse root of their products.
    fn decorrelate(&mut self) {
        gemm(1.0, self.directions.view(), self.directions.t(), 0.0, self.products.view_mut(), ALONE);
        let scale = 1.0 / self.largest().sqrt();
        self.directions.mapv_inplace(|v| v * scale);
        for _ in 0..DECORRELATIONS {
            gemm(1.0, self.directions.view(), self.directions.t(), 0.0, self.products.view_mut(), ALONE);
            self.next.assign(&self.directions);
            gemm(-0.5, self.products.view(), self.next.view(), 1.5, self.directions.view_mut(), ALONE);
        }
        for mut row in self.directions.rows_mut() {
            to_unit(row.as_slice_mut().expect("rows are contiguous"));
        }
    }

    /// About the largest eigenvalue of the products, from above.
    fn largest(&mut self) -> f32 {
        let (old, new) = (&mut self.power.0, &mut self.power.1);
        // Of different sizes and signs: orthogonal to the first eigenvector only by chance.
        old.fill(1.0);
        old.iter_mut().step_by(2).for_each(|v| *v = -0.7);
        let mut value = 1.0;
        for _ in 0..POWER_STEPS {
            gemm(1.0, self.products.view(), old.view(), 0.0, new.view_mut(), ALONE);
            value = (reduce::norm(new.view()) / reduce::norm(old.view()).max(f64::MIN_POSITIVE)) as f32;
            std::mem::swap(old, new);
            let length = reduce::norm(old.view()).max(f64::MIN_POSITIVE) as f32;
            old.mapv_inplace(|v| v / length);
        }
        (1.1 * value).max(f32::MIN_POSITIVE)
    }

    fn has_settled(&self) -> bool {
        let settled = |(new, old): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
            let (new, old) = (new.to_slice(), old.to_slice());
            let cosine = reduce::inner(new.expect("rows are contiguous"), old.expect("rows are contiguous"));
            cosine.abs() as f32 > SETTLED
        };
        let rows = self.directions.rows().into_iter().zip(self.former.rows());
        rows.filter(|rows| settled((rows.0, rows.1))).count() as f64
            >= ENOUGH_SETTLED * self.directions.nrows() as f64
    }
}
