//! What was measured.

use palimpsest_numerics::quantile::upper_median;
use serde::Serialize;

use super::limit::Peak;
use super::work::Amount;

/// A piece of work with everything measured about it.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) threads: usize,
    pub(super) amount: Amount,
    pub(super) seconds: Vec<f64>,
    /// Seconds that threads ran for it, which others on the machine do not add to.
    pub(super) cpu_seconds: Vec<f64>,
    /// Peak of an FMA loop on as many threads, measured right before each sample.
    pub(super) peaks: Vec<Peak>,
    /// Seconds of the same work in PyTorch.
    pub(super) peer_seconds: Vec<f64>,
    pub(super) peer_cpu_seconds: Vec<f64>,
    /// Allocations of one step after the first.
    pub(super) allocations: f64,
    /// Most memory of a command.
    pub(super) peak_bytes: Option<u64>,
}

/// What is written to `--record`.
#[derive(Debug, Serialize)]
pub(super) struct BenchRecord {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) instructions: String,
    pub(super) rounds: usize,
    pub(super) load_average_before: String,
    pub(super) load_average_after: String,
    pub(super) peer: Option<String>,
    pub(super) works: Vec<Measured>,
    pub(super) peak_memory_bytes: Option<u64>,
}

/// Middle value; NaN for none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    upper_median(&mut values).unwrap_or(f64::NAN)
}
