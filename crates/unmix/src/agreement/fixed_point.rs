//! The fixed-point iteration of independent component analysis, all directions of a truncation at once.
//!
//! The directions along which edges are least Gaussian are searched for together, and kept apart by symmetric decorrelation: as many
//! as the truncation has. Those that are no images end anywhere, which other operators and truncations then do not confirm. Images are not quite
//! uncorrelated, so at the end the likelihood of the edges moves the directions freely ([`super::likelihood`]).

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

use super::likelihood;
use super::whitening::WhitenedEdges;
use crate::operators::LANES;

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

/// Sum of the second derivatives of a group of zeros.
pub(super) fn curvature_at_zero(threshold: f32, group: usize) -> f32 {
    group as f32 / threshold
}

/// Replaces edges e by the slope `e / (threshold + |group of e|^2)` of the contrast, and gives the sum of its second derivatives.
pub(super) fn slopes(edges: &mut [f32], group: usize, threshold: f32) -> f32 {
    let size = group as f32;
    vectorised(move || {
        let mut sums = [0.0_f32; LANES];
        for tile in edges.chunks_exact_mut(LANES * group) {
            let mut q = [threshold; LANES];
            for plane in tile.chunks_exact(LANES) {
                for (q, v) in q.iter_mut().zip(plane) {
                    *q += v * v;
                }
            }
            let mut inverse = [0.0_f32; LANES];
            for i in 0..LANES {
                inverse[i] = 1.0 / q[i];
                sums[i] += ((size - 2.0) * q[i] + 2.0 * threshold) * inverse[i] * inverse[i];
            }
            for plane in tile.chunks_exact_mut(LANES) {
                for (v, inverse) in plane.iter_mut().zip(&inverse) {
                    *v *= inverse;
                }
            }
        }
        sums.iter().sum::<f32>()
    })
}

pub(super) fn to_unit(row: &mut [f32]) {
    let length = reduce::sum_squares(row).sqrt() as f32;
    let scale = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    row.iter_mut().for_each(|v| *v *= scale);
}

/// Mean of `ln(1 + e^2 / strong)` over single edges, of each of `directions` (m, r).
pub(super) fn contrasts(
    whitened: &WhitenedEdges,
    directions: ArrayView2<'_, f32>,
    scale: f32,
) -> Array1<f32> {
    let mut sums = vec![0.0_f64; directions.nrows()];
    let (mut values, strong) =
        (Array2::zeros((directions.nrows(), whitened.chunks.len_of(Axis(2)))), scale * scale);
    for chunk in whitened.chunks.outer_iter() {
        gemm(1.0, directions, chunk.slice(s![..directions.ncols(), ..]), 0.0, values.view_mut(), ALONE);
        for (row, sum) in values.rows().into_iter().zip(&mut sums) {
            // One logarithm for several edges: eight factors of the size of an f32 are no more than an f64 holds.
            let row = row.to_slice().expect("rows are contiguous");
            let log =
                |edges: &[f32]| edges.iter().map(|e| 1.0 + f64::from(e * e / strong)).product::<f64>().ln();
            *sum += row.chunks(8).map(log).sum::<f64>();
        }
    }
    let count = whitened.differences() as f64;
    sums.iter().map(|sum| (sum / count) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The twin a child can check: value and derivatives of `sum over groups of ln(threshold + |e|^2) / 2`, by differences.
    #[test]
    fn slopes_and_curvature_are_the_derivatives_of_the_contrast() {
        for group in [1, 2, 6] {
            let threshold = 0.3 * group as f32;
            let edges: Vec<f32> =
                (0..3 * LANES * group).map(|i| ((7 * i % 31) as f32 - 15.0) * 0.1).collect();
            let contrast = |edges: &[f64]| {
                let mut sum = 0.0;
                for tile in edges.chunks(LANES * group) {
                    for lane in 0..LANES {
                        let squares: f64 = (0..group).map(|plane| tile[plane * LANES + lane].powi(2)).sum();
                        sum += 0.5 * (f64::from(threshold) + squares).ln();
                    }
                }
                sum
            };
            let exact: Vec<f64> = edges.iter().map(|&e| f64::from(e)).collect();
            let mut fast = edges.clone();
            let curvature = slopes(&mut fast, group, threshold);
            let (step, mut expected) = (1e-4, 0.0);
            for i in 0..edges.len() {
                let at = |offset: f64| {
                    let mut moved = exact.clone();
                    moved[i] += offset;
                    contrast(&moved)
                };
                let slope = (at(step) - at(-step)) / (2.0 * step);
                assert!((slope - f64::from(fast[i])).abs() < 1e-5, "{group} {i}: {slope} {}", fast[i]);
                expected += (at(step) - 2.0 * at(0.0) + at(-step)) / (step * step);
            }
            assert!(
                (expected - f64::from(curvature)).abs() < 1e-3 * expected.abs(),
                "{expected} {curvature}"
            );
            let zero = curvature_at_zero(threshold, group);
            assert!((slopes(&mut vec![0.0; LANES * group], group, threshold) - 16.0 * zero).abs() < 1e-3);
        }
    }
}
