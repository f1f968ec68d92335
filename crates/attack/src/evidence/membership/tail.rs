//! p-values by a sample of the null: ranks in the bulk, a fitted tail beyond its largest tenth.

use ndarray::Array1;

/// Fewest references: a tenth of them must be enough to tell how the tail falls.
pub const LEAST_REFERENCES: usize = 200;

/// The distribution of a statistic over references; large values speak against the null.
pub struct Tail {
    /// Ascending.
    sorted: Vec<f64>,
    threshold: f64,
    beyond: usize,
    /// Shape of the generalised Pareto law, >= 0: 0 falls exponentially.
    shape: f64,
    scale: f64,
}

impl Tail {
    /// Learns the law of `references`, at least two and all finite.
    ///
    /// # Panics
    /// When there are fewer than two.
    ///
    /// # Source
    /// Pickands (1975): excesses over a high threshold follow a generalised Pareto law; here by moments (Hosking and Wallis
    /// 1987), and never with a lighter tail than the exponential one, so that Gaussian tails give p-values that are too large.
    pub fn of(references: &[f64]) -> Self {
        assert!(references.len() > 1, "a tail of {} references", references.len());
        let mut sorted = references.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let beyond = (n / 10).clamp(1, 100);
        let threshold = sorted[n - beyond - 1];
        let excesses: Vec<f64> = sorted[n - beyond..].iter().map(|z| z - threshold).collect();
        let mean = (excesses.iter().sum::<f64>() / beyond as f64).max(f64::MIN_POSITIVE);
        let variance = excesses.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / beyond as f64;
        let shape = (0.5 * (1.0 - mean * mean / variance.max(f64::MIN_POSITIVE))).clamp(0.0, 0.45);
        Self { sorted, threshold, beyond, shape, scale: mean * (1.0 - shape) }
    }

    /// Logarithm of the probability of at least `value` under the null, at most 0.
    pub fn log_p(&self, value: f64) -> f64 {
        let n = self.sorted.len() as f64;
        if value <= self.threshold {
            // Ranks, with ties counted as larger.
            let below = self.sorted.partition_point(|&z| z < value);
            return ((n - below as f64 + 1.0) / (n + 1.0)).min(1.0).ln();
        }
        let excess = (value - self.threshold) / self.scale;
        let fall = if self.shape < 1e-6 { -excess } else { -(self.shape * excess).ln_1p() / self.shape };
        ((self.beyond as f64 + 1.0) / (n + 1.0)).ln() + fall
    }

    /// [`Tail::log_p`] of each of `values`.
    pub fn log_ps(&self, values: &Array1<f64>) -> Array1<f64> {
        values.mapv(|value| self.log_p(value))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn normal(n: usize, seed: u64) -> Vec<f64> {
        Array2::random_using((n, 1), StandardNormal, &mut Seed::new(seed).rng()).into_iter().collect()
    }

    #[test]
    fn p_values_of_the_null_are_uniform_and_never_too_small_by_much() {
        let tail = Tail::of(&normal(1000, 1));
        let mut ps: Vec<f64> = normal(20_000, 2).iter().map(|&z| tail.log_p(z).exp()).collect();
        ps.sort_by(f64::total_cmp);
        let n = ps.len() as f64;
        let ks = ps.iter().enumerate().map(|(i, p)| (p - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max);
        assert!(ks < 0.05, "{ks}");
        for level in [0.01, 0.001] {
            let share = ps.iter().filter(|&&p| p < level).count() as f64 / n;
            assert!(share < 1.6 * level, "{share} below {level}");
        }
    }

    #[test]
    fn the_tail_goes_on_falling_and_stays_above_that_of_a_gaussian() {
        let tail = Tail::of(&normal(1000, 3));
        let mut last = 0.0;
        for step in 0..400 {
            let log_p = tail.log_p(-4.0 + 0.1 * f64::from(step));
            assert!(log_p <= last + 1e-12, "{step}");
            last = log_p;
        }
        // 10 deviations of a Gaussian are 8e-24.
        let far = tail.log_p(10.0);
        assert!(far > (8e-24_f64).ln() && far < (1e-4_f64).ln(), "{far}");
    }

    #[test]
    fn references_that_are_all_the_same_give_no_nan() {
        let tail = Tail::of(&[1.0; 300]);
        assert!(tail.log_p(1.0) == 0.0 && tail.log_p(0.0) == 0.0);
        assert!(tail.log_p(2.0).is_finite() || tail.log_p(2.0) == f64::NEG_INFINITY);
    }
}
