//! What the singular values of a first layer say before any attack.
//!
//! Training moves the first layer inside the span of the training inputs only. What it has never touched is the random
//! initialisation, shrunk by weight decay or not, and its singular values follow the Marchenko-Pastur law. Singular
//! values above the upper edge of that law are what training has written.

/// Number of singular values (descending) of an (h, d) first layer that stand out of the floor left by its
/// initialisation; between 1 and their number.
///
/// The smallest number is taken for which the values that remain look like a floor: their largest is no larger than
/// the law allows for their median. When nearly all values are signal there is little floor to see, and the number is
/// told to within an eighth only.
///
/// # Panics
/// When the spectrum is empty.
///
/// # Source
/// Marchenko and Pastur (1967) for the law; Gavish and Donoho (2014) for telling its scale from a quantile.
#[track_caller]
pub fn signal_rank(spectrum: &[f32], shape: (usize, usize)) -> usize {
    assert!(!spectrum.is_empty(), "signal_rank: no singular values");
    // Weights are stored in single precision: what lies below its rounding is nothing, whatever its law.
    let stored = spectrum.iter().take_while(|&&s| s > f32::EPSILON * spectrum[0]).count();
    let all = spectrum.len();
    let (short, long) = (all as f64, shape.0.max(shape.1) as f64);
    (0..(all + 1).saturating_sub(SHORTEST_FLOOR))
        .find(|&signal| {
            // Without its signal, the layer is as random as a matrix with that many fewer rows and columns.
            let law = MarchenkoPastur::new((short - signal as f64) / (long - signal as f64));
            let floor = &spectrum[signal..];
            let scale = f64::from(floor[floor.len() / 2]) / law.median;
            f64::from(floor[0]) <= EDGE_MARGIN * scale * law.upper
        })
        .map_or(stored, |signal| signal.min(stored))
        .max(1)
}

/// The law's count is not believed when it is more than this many times the elbow: `docs/decisions/0025-rank.md`.
const BEYOND_ELBOW: f64 = 1.5;

/// Whether the `counted` values of [`signal_rank`] end so far beyond the [`elbow`] that their floor follows no law.
pub(crate) fn is_beyond(counted: usize, elbow: usize) -> bool {
    counted as f64 > BEYOND_ELBOW * elbow as f64
}

/// Directions of an (h, d) first layer that its spectrum alone tells: the count of [`signal_rank`], or the [`elbow`] where it bends far
/// before that; at least 1.
///
/// # Panics
/// When the spectrum is empty.
#[track_caller]
pub fn spectral_rank(spectrum: &[f32], shape: (usize, usize)) -> usize {
    let (counted, elbow) = (signal_rank(spectrum, shape), elbow(spectrum));
    if is_beyond(counted, elbow) { elbow.max(1) } else { counted }
}

/// Index of the last bend of a `spectrum` (descending): the start of the last of three straight lines that fit its logarithm best, of
/// what is well above the rounding of single precision; their number when that is too small for three lines.
pub fn elbow(spectrum: &[f32]) -> usize {
    let first = spectrum.first().copied().unwrap_or(0.0);
    let logs: Vec<f64> = spectrum
        .iter()
        .take_while(|&&s| s > LEAST_FITTED * first && s > 0.0)
        .take(MOST_FITTED)
        .map(|&s| f64::from(s).ln())
        .collect();
    let n = logs.len();
    if n < 3 * SHORTEST_LINE {
        return n;
    }
    let lines = Lines::of(&logs);
    // Best first line up to each end, then best two.
    let mut best = f64::INFINITY;
    let mut bend = n;
    for last in 2 * SHORTEST_LINE..=n - SHORTEST_LINE {
        let two = (SHORTEST_LINE..=last - SHORTEST_LINE)
            .map(|middle| lines.error(0, middle) + lines.error(middle, last))
            .fold(f64::INFINITY, f64::min);
        let error = two + lines.error(last, n);
        if error < best {
            (best, bend) = (error, last);
        }
    }
    bend
}

/// Share of the largest singular value below which one is nearly rounding, and bends as that does.
const LEAST_FITTED: f32 = 1e-5;
/// Singular values that are looked at.
const MOST_FITTED: usize = 600;
/// Singular values of a line, at least.
const SHORTEST_LINE: usize = 5;

/// Sums of a sequence from which the error of a straight line through any part of it follows.
struct Lines {
    /// Sums of x, y, xx, xy and yy before each index.
    sums: Vec<[f64; 5]>,
}

impl Lines {
    fn of(values: &[f64]) -> Self {
        let mut sums = vec![[0.0; 5]];
        for (x, &y) in values.iter().enumerate() {
            let (x, last) = (x as f64, sums[sums.len() - 1]);
            let terms = [x, y, x * x, x * y, y * y];
            sums.push(std::array::from_fn(|k| last[k] + terms[k]));
        }
        Self { sums }
    }

    /// Sum of squares that the best line through the values of `start..end` leaves.
    fn error(&self, start: usize, end: usize) -> f64 {
        let [x, y, xx, xy, yy]: [f64; 5] = std::array::from_fn(|k| self.sums[end][k] - self.sums[start][k]);
        let n = (end - start) as f64;
        let (of_x, both, of_y) = (xx - x * x / n, xy - x * y / n, yy - y * y / n);
        (of_y - both * both / of_x.max(f64::MIN_POSITIVE)).max(0.0)
    }
}

/// Fewest values whose largest can be compared with their median.
const SHORTEST_FLOOR: usize = 5;

/// The largest floor value fluctuates around the edge by a few percent at these sizes.
const EDGE_MARGIN: f64 = 1.03;

/// Singular values of a long random matrix with independent unit entries, divided by the root of its long side.
struct MarchenkoPastur {
    median: f64,
    upper: f64,
}

impl MarchenkoPastur {
    /// For short side / long side = `ratio`, in (0, 1].
    fn new(ratio: f64) -> Self {
        let (lower, upper) = (1.0 - ratio.sqrt(), 1.0 + ratio.sqrt());
        // Density of a singular value s, up to a constant: sqrt((upper^2 - s^2)(s^2 - lower^2)) / s.
        let cells = 400;
        let at = |i: usize| lower + (upper - lower) * (i as f64 + 0.5) / f64::from(cells);
        let density =
            |s: f64| ((upper * upper - s * s) * (s * s - lower * lower)).max(0.0).sqrt() / s.max(1e-9);
        let total: f64 = (0..cells as usize).map(|i| density(at(i))).sum();
        let mut below = 0.0;
        let median = (0..cells as usize).map(at).find(|&s| {
            below += density(s);
            below >= total / 2.0
        });
        Self { median: median.unwrap_or(1.0), upper }
    }
}

/// Singular value that a random matrix (rows, columns) of independent entries with this sum of squares does not exceed.
///
/// # Source
/// Marchenko and Pastur (1967) for the edge; it fluctuates by the number of rows to the power -2/3 (Johnstone 2001).
pub(crate) fn largest_by_chance(squares: f64, (rows, columns): (usize, usize)) -> f64 {
    let (rows, columns) = (rows as f64, columns as f64);
    let entry = (squares.max(0.0) / (rows * columns)).sqrt();
    let fluctuation = 1.0 + 3.0 * rows.min(columns).powf(-2.0 / 3.0);
    entry * (rows.sqrt() + columns.sqrt()) * fluctuation
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::factor::svd;
    use palimpsest_numerics::gemm::{Parallelism, matmul};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn draw(rows: usize, cols: usize, name: &str) -> Array2<f32> {
        Array2::random_using((rows, cols), StandardNormal, &mut Seed::new(1).named(name).rng())
    }

    fn rank_of(signal: usize, strength: f32, floor: f32, shape: (usize, usize)) -> usize {
        let mut left = draw(shape.0, signal, "left") * strength;
        // Signal values fall by a factor of a hundred.
        for (i, mut column) in left.axis_iter_mut(Axis(1)).enumerate() {
            column *= 0.01_f32.powf(i as f32 / signal as f32);
        }
        let weight = matmul(left.view(), draw(signal, shape.1, "right").view(), Parallelism::Sequential)
            + draw(shape.0, shape.1, "floor") * floor;
        signal_rank(
            svd(weight.view(), Parallelism::Sequential).unwrap().singular_values.as_slice().unwrap(),
            shape,
        )
    }

    #[test]
    fn finds_the_edge_of_the_floor() {
        for (signal, shape) in [(20, (200, 300)), (60, (250, 200)), (100, (200, 600)), (150, (200, 600))] {
            let found = rank_of(signal, 1.0, 1e-4, shape);
            assert!(found.abs_diff(signal) <= 2, "{signal} of {shape:?}: {found}");
        }
    }

    #[test]
    fn what_weight_decay_has_shrunk_to_rounding_is_no_signal() {
        // Signals over two decades, then the rounding of stored weights, which does not follow the law.
        let rounding = |i: i32| 6e-8 * 0.9_f32.powi(i);
        let spectrum: Vec<f32> = (0..23).map(|i| 0.8_f32.powi(i)).chain((0..17).map(rounding)).collect();
        assert_eq!(signal_rank(&spectrum, (300, 40)), 23);
    }

    #[test]
    fn the_elbow_is_where_the_spectrum_bends_last() {
        // Falls fast, then slowly, then hardly: a floor that no law describes.
        let fall = |i: i32| match i {
            0..20 => 0.8_f32.powi(i),
            20..90 => 0.8_f32.powi(20) * 0.95_f32.powi(i - 20),
            _ => 0.8_f32.powi(20) * 0.95_f32.powi(70) * 0.99_f32.powi(i - 90),
        };
        let spectrum: Vec<f32> = (0..300).map(fall).collect();
        assert!((88..=92).contains(&elbow(&spectrum)), "{}", elbow(&spectrum));
        assert_eq!((elbow(&spectrum[..9]), elbow(&[])), (9, 0));
        // The law counts all that a layer of this shape holds.
        let shape = (300, 3000);
        assert!(signal_rank(&spectrum, shape) > 150);
        assert_eq!(spectral_rank(&spectrum, shape), elbow(&spectrum));
        assert_eq!(spectral_rank(&[0.0; 20], (20, 30)), 1);
    }

    #[test]
    fn a_few_values_show_no_floor() {
        assert_eq!(signal_rank(&[3.0, 1.0], (1000, 2)), 2);
        assert_eq!(signal_rank(&[3.0, 2.0, 1.0, 0.0], (1000, 4)), 3);
        assert_eq!(signal_rank(&[1.0], (1000, 1)), 1);
    }

    #[test]
    fn no_floor_and_no_signal() {
        // The rounding of f32 products is a floor too, but not an independent one: a few of its values stand out.
        assert!((30..=50).contains(&rank_of(30, 1.0, 0.0, (100, 150))));
        assert!(rank_of(100, 1.0, 1e-4, (100, 150)) > 80);
        assert!(rank_of(1, 0.0, 1.0, (200, 300)) <= 3);
    }
}
