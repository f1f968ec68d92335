//! What this machine can do at most: fused multiply-adds a second.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

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

    /// What an FMA loop in registers reaches on all of `threads` at once, in f32.
    pub(super) fn peak(&self, threads: usize) -> Peak {
        let each = self.pools[threads - 1].broadcast(|_| Arch::new().dispatch(Fma { turns: 2_000_000 }));
        Peak {
            by_time: each.iter().map(|peak| peak.by_time).sum(),
            by_cpu_time: each.iter().map(|peak| peak.by_cpu_time).sum::<f64>() / threads as f64,
        }
    }
}

/// Operations a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Peak {
    /// Of all threads together.
    pub(super) by_time: f64,
    /// Of one thread in a second in which it runs.
    pub(super) by_cpu_time: f64,
}

/// A loop of fused multiply-adds on numbers that stay in registers; its output is what it reaches.
struct Fma {
    turns: usize,
}

/// Enough chains to hide the latency of two units.
const CHAINS: usize = 12;

impl WithSimd for Fma {
    type Output = Peak;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Peak {
        let (factor, term) = (simd.splat_f32s(0.999_999), simd.splat_f32s(1e-7));
        let mut chains = [simd.splat_f32s(1.0); CHAINS];
        let (start, cpu_start) = (Instant::now(), clock_gettime(ClockId::ThreadCPUTime));
        for _ in 0..self.turns {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, term);
            }
        }
        let elapsed_s = start.elapsed().as_secs_f64();
        let cpu_end = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_s =
            (cpu_end.tv_sec - cpu_start.tv_sec) as f64 + 1e-9 * (cpu_end.tv_nsec - cpu_start.tv_nsec) as f64;
        for chain in chains {
            black_box(simd.reduce_sum_f32s(chain));
        }
        let operations = (2 * self.turns * CHAINS * S::F32_LANES) as f64;
        Peak { by_time: operations / elapsed_s, by_cpu_time: operations / cpu_s }
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

/// Name of the processor, where the system tells.
pub(super) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or("an unknown processor", |(_, name)| name.trim()).to_owned()
}

/// Seconds that all threads of this process have run.
pub(super) fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + 1e-9 * now.tv_nsec as f64
}

/// Seconds that the threads there are now of another process have run; 0 where the system does not tell.
pub(super) fn cpu_seconds_of(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
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
