//! Whether two samples are of one law.
//!
//! Scores of others are compared with scores of references, not with the law that references make expect: hundreds of references have a
//! sampling error of their own, which a comparison with a known law takes for a difference.

/// Largest distance of two empirical distributions, and how probable one at least as large is if both are of one law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoSamples {
    /// In [0, 1].
    pub distance: f64,
    /// In [0, 1].
    pub p_value: f64,
}

/// Compares `a` (m) and `b` (n), none of them NaN.
///
/// # Source
/// Smirnov (1939); the law of the distance is Kolmogorov's with the correction of Stephens (1970), good from four of each on.
///
/// # Panics
/// When one of them is empty.
///
/// ```
/// use palimpsest_metrics::two_samples::two_samples;
/// let a: Vec<f64> = (0..100).map(f64::from).collect();
/// let shifted: Vec<f64> = a.iter().map(|v| v + 50.0).collect();
/// assert!(two_samples(&a, &a).p_value > 0.99);
/// assert!(two_samples(&a, &shifted).p_value < 1e-9);
/// ```
#[track_caller]
pub fn two_samples(a: &[f64], b: &[f64]) -> TwoSamples {
    assert!(!a.is_empty() && !b.is_empty(), "two samples of {} and {}", a.len(), b.len());
    let (a, b) = (sorted(a), sorted(b));
    let (m, n) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut distance) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        // Ties are passed in both before they are compared.
        let at = a[i].min(b[j]);
        i += a[i..].partition_point(|&v| v <= at);
        j += b[j..].partition_point(|&v| v <= at);
        distance = distance.max((i as f64 / m - j as f64 / n).abs());
    }
    let root = (m * n / (m + n)).sqrt();
    TwoSamples { distance, p_value: kolmogorov((root + 0.12 + 0.11 / root) * distance) }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Probability that the limit of the scaled distance is at least `lambda`.
fn kolmogorov(lambda: f64) -> f64 {
    // The sum converges within a hundred terms from here on; below, the probability is 1 to twelve digits.
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
    };
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use palimpsest_numerics::seed::{Seed, random_noise};

    use super::*;

    #[test]
    fn the_law_is_kolmogorovs() {
        // scipy.special.kolmogorov
        for (lambda, expected) in
            [(0.3, 0.999_990_694), (0.5, 0.963_945_244), (1.0, 0.269_999_672), (1.628, 0.009_975_522)]
        {
            assert!((kolmogorov(lambda) - expected).abs() < 1e-8, "{lambda}");
        }
    }

    #[test]
    fn the_distance_is_that_of_the_steps_with_ties_taken_together() {
        // By hand: after 1 the shares are 2/4 and 0, after 2 they are 3/4 and 1/3.
        let found = two_samples(&[1.0, 1.0, 2.0, 3.0], &[2.0, 3.0, 3.0]);
        assert_eq!(found.distance, 0.5);
        let (ones, mixed) = ([1.0; 50], [1.0; 20]);
        assert_eq!(two_samples(&ones, &mixed), TwoSamples { distance: 0.0, p_value: 1.0 });
    }

    #[test]
    fn samples_of_one_law_differ_as_often_as_the_level_says_and_shifted_ones_always() {
        let draw = |n, seed| -> Vec<f64> {
            random_noise(1, n, 1.0, &Seed::new(seed)).iter().map(|&v| f64::from(v)).collect()
        };
        let below =
            (0..400).filter(|&i| two_samples(&draw(300, 2 * i), &draw(500, 2 * i + 1)).p_value < 0.05);
        // 20 are expected, with a deviation of 4.4.
        let below = below.count();
        assert!((6..=38).contains(&below), "{below} of 400");
        let shifted: Vec<f64> = draw(500, 1).iter().map(|v| v + 0.5).collect();
        assert!(two_samples(&draw(300, 2), &shifted).p_value < 1e-6);
    }
}
