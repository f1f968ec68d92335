//! What the singular values of a first layer say before any attack.
//!
//! Training moves the first layer inside the span of the training inputs only. What it has never touched is the random
//! initialisation, shrunk by weight decay or not, and its singular values follow the Marchenko-Pastur law. Singular
//! values above the upper edge of that law are what training has written.

/// Number of singular values (descending) of an (h, d) first layer that stand out of the floor left by its
/// initialisation; between 1 and their number.
///
/// The floor's scale is told from the lower part of the spectrum, again and again as the number of signal values
/// becomes known. When nearly all values are signal there is no floor to see, and all of them are counted.
///
/// # Panics
/// When the spectrum is empty.
///
/// # Source
/// Marchenko and Pastur (1967) for the law; Gavish and Donoho (2014) for telling its scale from a quantile.
#[track_caller]
pub fn signal_rank(spectrum: &[f32], shape: (usize, usize)) -> usize {
    assert!(!spectrum.is_empty(), "signal_rank: no singular values");
    let all = spectrum.len();
    let ratio = shape.0.min(shape.1) as f64 / shape.0.max(shape.1) as f64;
    // Below the rounding of f32 there is neither signal nor floor.
    let alive = spectrum.iter().take_while(|&&s| f64::from(s) > 1e-7 * f64::from(spectrum[0])).count();
    if alive < all {
        return alive.max(1);
    }
    let law = MarchenkoPastur::new(ratio);
    // An eighth of the values must be floor for its scale to be seen.
    let largest = all - all / 8;
    let mut signal = all / 2;
    for _ in 0..50 {
        let floor = &spectrum[signal.min(largest)..];
        let scale = f64::from(floor[floor.len() / 2]) / law.median;
        let edge = EDGE_MARGIN * scale * law.upper;
        let next = spectrum.iter().take_while(|&&s| f64::from(s) > edge).count();
        if next == signal {
            break;
        }
        signal = next;
    }
    if signal >= largest { all } else { signal.max(1) }
}

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
        let cells = 4000;
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
    fn no_floor_and_no_signal() {
        assert_eq!(rank_of(30, 1.0, 0.0, (100, 150)), 30);
        assert_eq!(rank_of(100, 1.0, 1e-4, (100, 150)), 100);
        assert!(rank_of(1, 0.0, 1.0, (200, 300)) <= 3);
    }
}
