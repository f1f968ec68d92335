//! What this machine can do at most: fused multiply-adds a second.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Thread pools of one thread up to all cores, in which work and peaks are measured.
pub(super) struct Limits {
    pools: Vec<ThreadPool>,
}

impl Limits {
    pub(super) fn new() -> Self {
        let pool =
            |threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        Self { pools: (1..=rayon::current_num_threads()).map(pool).collect() }
    }

    /// Runs `job` in a pool of that many threads.
    pub(super) fn on_threads<R: Send>(&self, threads: usize, job: impl FnOnce() -> R + Send) -> R {
        self.pools[threads - 1].install(job)
    }

    /// Operations a second that an FMA loop in registers reaches on all of `threads` at once, in f32.
    pub(super) fn peak(&self, threads: usize) -> f64 {
        let each = self.pools[threads - 1].broadcast(|_| Arch::new().dispatch(Fma { turns: 600_000 }));
        each.iter().sum()
    }
}

/// A loop of fused multiply-adds on numbers that stay in registers; its output is operations a second.
struct Fma {
    turns: usize,
}

/// Enough chains to hide the latency of two units.
const CHAINS: usize = 12;

impl WithSimd for Fma {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (factor, term) = (simd.splat_f32s(0.999_999), simd.splat_f32s(1e-7));
        let mut chains = [simd.splat_f32s(1.0); CHAINS];
        let start = Instant::now();
        for _ in 0..self.turns {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, term);
            }
        }
        let elapsed_s = start.elapsed().as_secs_f64();
        for chain in chains {
            black_box(simd.reduce_sum_f32s(chain));
        }
        (2 * self.turns * CHAINS * S::F32_LANES) as f64 / elapsed_s
    }
}

/// Name of the widest vector instructions in use.
pub(super) fn instructions() -> String {
    let name = format!("{:?}", Arch::new());
    match name.split('(').next() {
        Some("V4") => "AVX-512".into(),
        Some("V3") => "AVX2 and FMA".into(),
        other => other.unwrap_or_default().into(),
    }
}

/// Seconds that all threads of this process have run; 0 where the system does not tell.
pub(super) fn cpu_seconds() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Load averages of the last 1, 5 and 15 minutes, where the system tells.
pub(super) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
