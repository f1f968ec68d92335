//! How much of a record lies outside the span of what training has written into a layer.

use ndarray::{Array1, Array2, ArrayView2, s};
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::factor::{Cholesky, FactorError, svd};
use palimpsest_numerics::gemm::{Parallelism, matmul, symmetric};
use palimpsest_numerics::reduce;

use super::population::{Population, explained_left_out, left_out, row_products};
use crate::problem::spectrum::signal_rank;

/// How freely a record may use weak directions, as a multiple of the squared floor of the start: nearly as it likes.
const FREE: f64 = 0.003;
/// The same so dear that only directions that stand out are used.
const DEAR: f64 = 1.0;

/// Shrinkage of the metric in which remainders are measured, see [`Population::of`].
pub const SHRINKAGE: f64 = 3.0;

/// The row space of a layer's weights, strongest directions first.
pub struct RowSpace {
    /// Left singular vectors as columns, (h, k).
    pub left: Array2<f64>,
    /// Singular values, k of them, descending, > 0.
    pub singular_values: Array1<f64>,
    /// Right singular vectors as rows, (k, d).
    pub directions: Array2<f64>,
    /// Directions that stand out of what the start has left.
    pub rank: usize,
}

impl RowSpace {
    /// Decomposes weights (h, d).
    ///
    /// Directions below the rounding of single precision are left out.
    ///
    /// # Errors
    /// [`FactorError`] for weights that are all zero or not finite.
    pub fn of(weight: ArrayView2<'_, f64>, parallelism: Parallelism) -> Result<Self, FactorError> {
        let (h, d) = weight.dim();
        let side = h.min(d);
        // The smaller Gram matrix, in f64 of weights in f32: values down to 1e-7 of the largest are told to half their digits.
        let short = if h <= d { weight } else { weight.t() };
        let mut gram = Array2::zeros((side, side));
        symmetric(short.as_standard_layout().view(), gram.view_mut(), parallelism);
        for i in 0..side {
            for j in 0..i {
                gram[[i, j]] = gram[[j, i]];
            }
        }
        let decomposed = svd(gram.view(), parallelism)?;
        let values = decomposed.singular_values.mapv(|square| square.max(0.0).sqrt());
        let least = values.first().map_or(0.0, |largest| largest * f64::from(f32::EPSILON));
        let kept = values.iter().take_while(|&&value| value > least).count();
        if kept == 0 {
            return Err(FactorError::NotPositiveDefinite { order: side, pivot: 0 });
        }
        let values = values.slice(s![..kept]).to_owned();
        let near = decomposed.u.slice(s![.., ..kept]).to_owned();
        let far = matmul(short.t(), near.view(), parallelism) / &values;
        let (left, directions) =
            if h <= d { (near, far.reversed_axes()) } else { (far, near.reversed_axes()) };
        let spectrum: Vec<f32> =
            decomposed.singular_values.iter().map(|s| s.max(0.0).sqrt() as f32).collect();
        let rank = signal_rank(&spectrum, (h, d)).min(kept);
        Ok(Self {
            left,
            singular_values: values,
            directions: directions.as_standard_layout().into_owned(),
            rank,
        })
    }

    /// Largest singular value that does not stand out; 0 if all do.
    pub fn floor(&self) -> f64 {
        self.singular_values.get(self.rank).copied().unwrap_or(0.0)
    }

    /// What each direction costs a record that uses it, in the units of `1 / variance of a value`.
    fn penalties(&self, freedom: f64, variance: f64) -> Array1<f64> {
        let largest = self.singular_values[0];
        let least = 1e-9 * largest * largest;
        let scale = freedom * self.floor().powi(2) + least;
        self.singular_values.mapv(|value| scale / (value * value * variance))
    }
}

/// Remainders of records in the metric of a population.
pub struct SpanTest<'a> {
    space: &'a RowSpace,
    population: Population,
    /// `V S^-1`, (k, d).
    inverse_directions: Array2<f64>,
    free: Cholesky<f64>,
    dear: Cholesky<f64>,
    parallelism: Parallelism,
}

/// Logarithms of the share of records outside the span.
pub struct LogShares {
    /// Outside of all directions, weak ones used freely, (m).
    pub all: Array1<f64>,
    /// Outside of the strong ones, (m).
    pub strong: Array1<f64>,
}

/// Whether records take part in the metric that they are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// They are the references, of which each is left out of its own measurement.
    References,
    /// They are others.
    Others,
}

impl<'a> SpanTest<'a> {
    /// Prepares the measurement by `references` (n, d).
    ///
    /// # Errors
    /// [`FactorError`] when references are all zero or not finite.
    pub fn new(
        space: &'a RowSpace,
        references: ArrayView2<'_, f64>,
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        let population = Population::of(references, SHRINKAGE, parallelism)?;
        let inverse_directions = population.inverse_times(space.directions.view());
        let gram = matmul(space.directions.view(), inverse_directions.t(), parallelism);
        let variance = population.ridge() / SHRINKAGE;
        let system = |cost: f64| -> Result<Cholesky<f64>, FactorError> {
            let mut system = Cholesky::with_order(space.singular_values.len(), parallelism);
            system.matrix_mut().assign(&gram);
            let penalties = space.penalties(cost, variance);
            for (value, penalty) in system.matrix_mut().diag_mut().iter_mut().zip(&penalties) {
                *value += penalty;
            }
            system.factor()?;
            Ok(system)
        };
        let (free, dear) = (system(FREE)?, system(DEAR)?);
        Ok(Self { space, population, inverse_directions, free, dear, parallelism })
    }

    /// Shares of each of `records` (m, d) outside the span.
    pub fn measure(&self, records: ArrayView2<'_, f64>, part: Part) -> LogShares {
        let n = self.population.size();
        let total = row_products(self.population.inverse_times(records).view(), records);
        // (k, m): what each direction has of each record.
        let along = matmul(self.inverse_directions.view(), records.t(), self.parallelism);
        let shares = |system: &Cholesky<f64>| {
            let mut solved = along.clone();
            system.solve_in_place(solved.view_mut());
            let explained = column_products(along.view(), solved.view());
            let shares = total.iter().zip(&explained).map(|(&total, &explained)| match part {
                Part::Others => log_share(total, explained),
                Part::References => log_share(left_out(total, n), explained_left_out(explained, total, n)),
            });
            shares.collect()
        };
        LogShares { all: shares(&self.free), strong: shares(&self.dear) }
    }

    /// Plain share of the square of each record (m, d) outside of the directions above the floor, in [0, 1].
    pub fn plain_shares(&self, records: ArrayView2<'_, f64>) -> Array1<f64> {
        let leading = self.space.directions.slice(s![..self.space.rank, ..]);
        let inside = matmul(records, leading.t(), self.parallelism);
        let squares = row_products(records, records);
        let inside = row_products(inside.view(), inside.view());
        squares
            .iter()
            .zip(&inside)
            .map(|(&all, &inside)| if all > 0.0 { (1.0 - inside / all).clamp(0.0, 1.0) } else { 1.0 })
            .collect()
    }
}

/// Logarithm of the remaining share, kept above the rounding of single precision.
fn log_share(total: f64, explained: f64) -> f64 {
    if total <= 0.0 { 0.0 } else { ((total - explained) / total).clamp(1e-12, 1.0).ln() }
}

/// Inner products of the columns of `a` and `b` (k, m), as (m).
fn column_products(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array1<f64> {
    let mut sums = Array1::zeros(a.ncols());
    vectorised(|| {
        for (a, b) in a.rows().into_iter().zip(b.rows()) {
            for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
    });
    sums
}

/// Squared lengths (m) of records (m, d).
pub fn squares(records: ArrayView2<'_, f64>) -> Array1<f64> {
    records
        .rows()
        .into_iter()
        .map(|row| row.as_slice().map_or_else(|| row.iter().map(|v| v * v).sum(), reduce::sum_squares))
        .collect()
}
