//! The directions of a truncation under which its edges are most likely.
//!
//! Images are not quite uncorrelated. Directions that are kept orthogonal miss them by that, and directions that go each to its own maximum
//! meet there. Here the mixing itself is estimated: each source has edges of a Student density, and the determinant keeps sources apart without
//! making them orthogonal. Preconditioned quasi-Newton steps, each accepted only if it makes the edges more likely.
//!
//! # Source
//! Pham and Garat (1997) for the likelihood; Ablin, Cardoso and Gramfort, *Faster independent component analysis by preconditioning with
//! Hessian approximations* (2018), for the steps.

use std::collections::VecDeque;

use ndarray::{Array2, ArrayView2, Axis, Zip, s};
use palimpsest_numerics::factor::Cholesky;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;

use super::contrast::{curvature_at_zero, slopes_and_logarithm, to_unit};
use super::whitening::WhitenedEdges;

/// A setting is one task: its products run alone.
const ALONE: Parallelism = Parallelism::Sequential;
/// Earlier steps that say how the likelihood bends.
const MEMORY: usize = 7;
/// Smallest curvature that is believed.
const LEAST_CURVATURE: f64 = 0.1;
/// Longest step of a direction of length one.
const LONGEST: f64 = 1.0;
/// What is left of a step that made the edges less likely, and how often it is shortened.
const SHORTER: f64 = 0.4;
const SHORTENED: usize = 6;
/// Gain of a step for each direction, in natural logarithms for each difference, below which the search ends.
const LEAST_GAIN: f64 = 2e-5;

/// Moves `directions` (r, r), unit rows in whitened coordinates, to where edges are most likely, by at most `steps` steps.
/// `scale` is the edge, in units of the root mean square, from which on an edge counts as strong.
pub(super) fn maximise(
    whitened: &WhitenedEdges,
    directions: Array2<f32>,
    steps: usize,
    scale: f32,
) -> Array2<f32> {
    let count = directions.nrows();
    let mut model = Model::of(whitened, directions.dim(), scale);
    let mut at = Point::new(directions);
    if !model.look(&mut at) {
        return at.directions;
    }
    let mut next = Point::new(at.directions.clone());
    let mut history = History::default();
    for _ in 0..steps {
        let gradient = at.gradient();
        let bend = at.curvatures.clone();
        let step = history.step(&gradient, &bend);
        let Some(taken) = model.shorten_until_better(&at, &mut next, &step) else {
            // The curvature of earlier steps misled; the next step is without them.
            if history.is_empty() {
                break;
            }
            history = History::default();
            continue;
        };
        let gain = at.value - next.value;
        std::mem::swap(&mut at, &mut next);
        history.add(&step * taken, at.gradient() - gradient);
        if gain < LEAST_GAIN * count as f64 {
            break;
        }
    }
    at.directions
}

/// Directions and what is known of the likelihood there.
struct Point {
    /// (r, r), unit rows.
    directions: Array2<f32>,
    /// Minus the logarithm of the likelihood for each difference.
    value: f64,
    /// Mean products of the slope along each direction and the edges along each, (r, r).
    moments: Array2<f64>,
    /// Inner products of directions, (r, r).
    products: Array2<f64>,
    /// Second derivative of the value for a turn of each direction towards another.
    curvatures: Vec<f64>,
}

impl Point {
    fn new(directions: Array2<f32>) -> Self {
        let (rows, shape) = (directions.nrows(), directions.dim());
        let zeros = || Array2::zeros(shape);
        Self {
            directions,
            value: f64::INFINITY,
            moments: zeros(),
            products: zeros(),
            curvatures: vec![0.0; rows],
        }
    }

    /// Derivative of the value when some of direction j is added to direction i, (r, r); zero for i = j.
    fn gradient(&self) -> Array2<f64> {
        let own = self.moments.diag();
        let mut gradient = self.moments.clone();
        for (i, mut row) in gradient.rows_mut().into_iter().enumerate() {
            row.scaled_add(1.0 - own[i], &self.products.row(i));
            row[i] = 0.0;
        }
        gradient
    }
}

/// Edges and buffers.
struct Model<'a> {
    whitened: &'a WhitenedEdges,
    threshold: f32,
    /// Edges of a chunk along the directions, and the contrast's slope at each.
    values: Array2<f32>,
    slopes: Array2<f32>,
    moments: Array2<f32>,
    moved: Array2<f32>,
    cholesky: Cholesky<f64>,
}

impl<'a> Model<'a> {
    fn of(whitened: &'a WhitenedEdges, shape: (usize, usize), scale: f32) -> Self {
        let buffer = || Array2::zeros((shape.0, whitened.chunks.len_of(Axis(2))));
        Self {
            whitened,
            threshold: scale * scale * whitened.group as f32,
            values: buffer(),
            slopes: buffer(),
            moments: Array2::zeros((shape.0, shape.0)),
            moved: Array2::zeros(shape),
            cholesky: Cholesky::with_order(shape.0, ALONE),
        }
    }

    /// Works out the likelihood at `point`; whether it is finite.
    fn look(&mut self, point: &mut Point) -> bool {
        let group = self.whitened.group;
        // Of a Student density with one degree of freedom in as many dimensions as a group has.
        let exponent = f64::from(1 + group as u16);
        let differences = self.whitened.differences() as f64;
        let of_padding = self.whitened.padding as f32 * curvature_at_zero(self.threshold, group);
        let rank = point.directions.ncols();
        point.curvatures.fill(f64::from(-of_padding));
        let mut logarithms = 0.0;
        for (i, chunk) in self.whitened.chunks.outer_iter().enumerate() {
            let edges = chunk.slice_move(s![..rank, ..]);
            gemm(1.0, point.directions.view(), edges, 0.0, self.values.view_mut(), ALONE);
            let rows = self.values.rows().into_iter().zip(self.slopes.rows_mut()).zip(&mut point.curvatures);
            for ((values, mut slopes), curvature) in rows {
                let values = values.to_slice().expect("rows are contiguous");
                let slopes = slopes.as_slice_mut().expect("rows are contiguous");
                let (bend, logarithm) = slopes_and_logarithm(values, slopes, group, self.threshold);
                *curvature += f64::from(bend);
                logarithms += logarithm;
            }
            let before = if i == 0 { 0.0 } else { 1.0 };
            gemm(1.0, self.slopes.view(), self.values.t(), before, self.moments.view_mut(), ALONE);
        }
        let of_each = exponent / differences;
        Zip::from(&mut point.moments)
            .and(&self.moments)
            .for_each(|to, &from| *to = of_each * f64::from(from));
        for (curvature, own) in point.curvatures.iter_mut().zip(point.moments.diag()) {
            *curvature = 1.0 + of_each * *curvature - own;
        }
        let directions = point.directions.mapv(f64::from);
        gemm(1.0, directions.view(), directions.t(), 0.0, point.products.view_mut(), ALONE);
        self.cholesky.matrix_mut().assign(&point.products);
        point.value = match self.cholesky.factor() {
            Ok(()) => 0.5 * of_each * logarithms - 0.5 * self.cholesky.log_determinant(),
            Err(_) => f64::INFINITY,
        };
        point.value.is_finite()
    }

    /// Goes from `at` along `step`, shortened until the edges are more likely at `next`: by which factor, if so.
    fn shorten_until_better(&mut self, at: &Point, next: &mut Point, step: &Array2<f64>) -> Option<f64> {
        let longest = step.rows().into_iter().map(reduce::norm).fold(0.0, f64::max);
        let mut taken = (LONGEST / longest.max(f64::MIN_POSITIVE)).min(1.0);
        let step = step.mapv(|v| v as f32);
        gemm(1.0, step.view(), at.directions.view(), 0.0, self.moved.view_mut(), ALONE);
        for _ in 0..SHORTENED {
            next.directions.assign(&at.directions);
            next.directions.scaled_add(taken as f32, &self.moved);
            for mut row in next.directions.rows_mut() {
                to_unit(row.as_slice_mut().expect("rows are contiguous"));
            }
            if self.look(next) && next.value < at.value {
                return Some(taken);
            }
            taken *= SHORTER;
        }
        None
    }
}

/// Earlier steps and how they changed the gradient.
#[derive(Default)]
struct History {
    steps: VecDeque<(Array2<f64>, Array2<f64>)>,
}

impl History {
    fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn add(&mut self, step: Array2<f64>, change: Array2<f64>) {
        if product(step.view(), change.view()) > 0.0 {
            self.steps.push_back((step, change));
            if self.steps.len() > MEMORY {
                self.steps.pop_front();
            }
        }
    }

    /// A step down from a point with this gradient and these curvatures: the two loops of limited-memory quasi-Newton.
    fn step(&mut self, gradient: &Array2<f64>, curvatures: &[f64]) -> Array2<f64> {
        let mut rest = gradient.clone();
        let mut shares = Vec::with_capacity(self.steps.len());
        for (step, change) in self.steps.iter().rev() {
            let share = product(step.view(), rest.view()) / product(step.view(), change.view());
            rest.scaled_add(-share, change);
            shares.push(share);
        }
        let mut result = preconditioned(&rest, curvatures);
        for ((step, change), share) in self.steps.iter().zip(shares.into_iter().rev()) {
            let other = product(change.view(), result.view()) / product(step.view(), change.view());
            result.scaled_add(share - other, step);
        }
        if product(result.view(), gradient.view()) <= 0.0 {
            self.steps.clear();
            result = preconditioned(gradient, curvatures);
        }
        -result
    }
}

fn product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    let contiguous = "matrices are contiguous";
    reduce::inner(a.as_slice().expect(contiguous), b.as_slice().expect(contiguous))
}

/// `gradient` times the inverse of the approximate second derivative: blocks of the turns of i towards j and of j towards i.
fn preconditioned(gradient: &Array2<f64>, curvatures: &[f64]) -> Array2<f64> {
    let mut result = Array2::zeros(gradient.dim());
    for i in 0..curvatures.len() {
        for j in 0..i {
            let (mut a, mut b) = (curvatures[i], curvatures[j]);
            let least = 0.5 * (a + b) - (0.25 * (a - b).powi(2) + 1.0).sqrt();
            let more = (LEAST_CURVATURE - least).max(0.0);
            (a, b) = (a + more, b + more);
            let determinant = a * b - 1.0;
            let (g, h) = (gradient[[i, j]], gradient[[j, i]]);
            result[[i, j]] = (b * g - h) / determinant;
            result[[j, i]] = (a * h - g) / determinant;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::{StandardNormal, StudentT};
    use palimpsest_numerics::gemm::matmul;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::operators::EdgeOperator;

    fn model_of_images() -> WhitenedEdges {
        let images: Array2<f32> =
            Array2::random_using((9, 300), StudentT::new(2.5).unwrap(), &mut Seed::new(4).rng());
        let edges = EdgeOperator::Joint { chroma: 2.5 }.edges(images.view(), [3, 10, 10]);
        WhitenedEdges::of(&edges, Parallelism::Sequential)
    }

    /// The twin a child can check: the gradient, by differences of the value.
    #[test]
    fn the_gradient_is_the_derivative_of_the_value() {
        let whitened = model_of_images();
        let random: Array2<f32> = Array2::random_using((9, 9), StandardNormal, &mut Seed::new(5).rng());
        let start = reduce::unit_rows(random.view());
        let mut model = Model::of(&whitened, (9, 9), 0.3);
        let mut at = Point::new(start.clone());
        assert!(model.look(&mut at));
        let gradient = at.gradient();
        for (i, j) in [(0, 1), (1, 0), (4, 7), (8, 2)] {
            let mut value = |amount: f32| {
                let mut moved = start.clone();
                let other = start.row(j).to_owned();
                moved.row_mut(i).scaled_add(amount, &other);
                let mut point = Point::new(reduce::unit_rows(moved.view()));
                assert!(model.look(&mut point));
                point.value
            };
            let expected = (value(1e-2) - value(-1e-2)) / 2e-2;
            assert!((expected - gradient[[i, j]]).abs() < 2e-3, "{i} {j}: {expected} {}", gradient[[i, j]]);
        }
    }

    /// Random directions end at the images of a mixture, two of which have a part in common.
    #[test]
    fn it_finds_the_images_of_a_mixture() {
        let mut rng = Seed::new(6).rng();
        let free: Array2<f32> = Array2::random_using((6, 12 * 12), StudentT::new(1.5).unwrap(), &mut rng);
        let mut images = free.mapv(|v| v.clamp(-20.0, 20.0));
        let shared = images.slice(s![0, ..48]).to_owned();
        images.slice_mut(s![1, ..48]).assign(&shared);
        let edges = EdgeOperator::Neighbours.edges(images.view(), [1, 12, 12]);
        let whitened = WhitenedEdges::of(&edges, Parallelism::Sequential);
        let start: Array2<f32> = Array2::random_using((6, 6), StandardNormal, &mut rng);
        let found = maximise(&whitened, reduce::unit_rows(start.view()), 200, 0.3);
        // Of each image its direction in whitened coordinates.
        let truth = reduce::unit_rows(whitened.inverse().view());
        let cosines = matmul(truth.view(), found.t(), Parallelism::Sequential);
        for (i, row) in cosines.rows().into_iter().enumerate() {
            let best = row.iter().fold(0.0_f32, |best, v| best.max(v.abs()));
            assert!(best > 0.95, "image {i}: {best}");
        }
    }

    #[test]
    fn a_step_never_makes_the_edges_less_likely() {
        let whitened = model_of_images();
        let random: Array2<f32> = Array2::random_using((9, 9), StandardNormal, &mut Seed::new(7).rng());
        let start = reduce::unit_rows(random.view());
        let value = |directions: Array2<f32>| {
            let mut point = Point::new(directions);
            Model::of(&whitened, (9, 9), 0.3).look(&mut point);
            point.value
        };
        let values: Vec<f64> =
            [0, 1, 5, 50].map(|steps| value(maximise(&whitened, start.clone(), steps, 0.3))).to_vec();
        assert!(values.windows(2).all(|pair| pair[1] <= pair[0]), "{values:?}");
        assert!(values[3] < values[0]);
    }
}
