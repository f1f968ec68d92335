//! Counting one measure: thresholds and bootstrap intervals.

pub use palimpsest_numerics::quantile::quantile;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use rand::Rng as _;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// Share of the held-out images that may pass the threshold.
pub const HELD_OUT_RATE: f64 = 0.001;
/// The published fixed threshold of SSIM.
pub const SSIM_CUT: f64 = 0.4;
/// The fixed threshold of NCC.
pub const NCC_CUT: f64 = 0.8;
/// Level of every interval.
pub const INTERVAL_LEVEL: f64 = 0.95;
/// Bootstrap resamples behind an interval.
pub const RESAMPLES: usize = 1000;

/// How many targets pass, by one measure. To pass is to exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Tally {
    /// Targets above the fixed threshold, [`SSIM_CUT`] or [`NCC_CUT`].
    pub above_cut: usize,
    /// The same when a candidate may serve one target only.
    pub unique_above_cut: usize,
    /// Targets above the held-out threshold.
    pub above_threshold: usize,
    /// Interval of that count at [`INTERVAL_LEVEL`]: targets and held-out images both resampled.
    pub interval: [f64; 2],
    /// Targets above the held-out threshold when a candidate may serve one target only.
    pub unique_above_threshold: usize,
    /// Mean of the ten best scores (of all, when there are fewer).
    pub mean_of_ten_best: f64,
}

/// What counts by one measure, for all rows.
pub(crate) struct Counter {
    cut: f64,
    threshold: f64,
    /// The threshold in each resample of the held-out images.
    resampled: Vec<f64>,
    seed: Seed,
}

impl Counter {
    pub(crate) fn new(held_out: &[f64], cut: f64, threshold: f64, seed: Seed) -> Self {
        let mut rng = seed.named("held out").rng();
        let mut drawn = held_out.to_vec();
        let resampled = (0..RESAMPLES)
            .map(|_| {
                drawn.fill_with(|| held_out[rng.random_range(0..held_out.len())]);
                quantile(&drawn, 1.0 - HELD_OUT_RATE)
            })
            .collect();
        Self { cut, threshold, resampled, seed }
    }

    pub(crate) fn tally(&self, nearest: &[f64], unique: &[f64]) -> Tally {
        let above = |scores: &[f64], threshold| scores.iter().filter(|&&score| score > threshold).count();
        let mut best = nearest.to_vec();
        best.sort_unstable_by(|a, b| b.total_cmp(a));
        best.truncate(10);
        Tally {
            above_cut: above(nearest, self.cut),
            unique_above_cut: above(unique, self.cut),
            above_threshold: above(nearest, self.threshold),
            interval: self.interval(nearest),
            unique_above_threshold: above(unique, self.threshold),
            mean_of_ten_best: reduce::sum(&best) / best.len() as f64,
        }
    }

    fn interval(&self, scores: &[f64]) -> [f64; 2] {
        let mut rng = self.seed.named("targets").rng();
        let counts: Vec<f64> = self
            .resampled
            .iter()
            .map(|&threshold| {
                let passes =
                    (0..scores.len()).filter(|_| scores[rng.random_range(0..scores.len())] > threshold);
                passes.count() as f64
            })
            .collect();
        let tail = (1.0 - INTERVAL_LEVEL) / 2.0;
        [quantile(&counts, tail), quantile(&counts, 1.0 - tail)]
    }
}
