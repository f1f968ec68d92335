//! `cargo xtask bench`: how fast the engine is, in percent of what the machine can do, and beside PyTorch.
//!
//! Every piece of work is run once a round, with the peak of the machine measured beside it and, if asked for, the same
//! work in PyTorch. Medians over rounds are printed as Markdown. Machines are shared: ratios within a round mean more than
//! milliseconds, and work done in a second of CPU time, compared with the best peak of one thread, more than work done in
//! a second.

mod limit;
mod peer;
mod table;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use self::limit::Limits;
use self::peer::Peer;
use self::work::{Sample, Work};
use crate::progress::{self, Progress};
use crate::{Misuse, interrupt, output};

/// Measure products, passes, training epochs and attack steps against the limit of this machine.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench --quick
  cargo xtask bench --peer --record bench.json
  cargo xtask bench --peer --python /opt/torch/bin/python --rounds 9")]
pub(crate) struct BenchArgs {
    /// Run the same work in PyTorch in the same rounds.
    #[arg(long)]
    peer: bool,
    /// Python that can import torch.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Leave the scaling tables out.
    #[arg(long)]
    quick: bool,
    /// Rounds; medians are over these.
    #[arg(long, value_name = "R", default_value_t = 5)]
    rounds: usize,
    /// Write every sample to FILE, too.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// A piece of work with everything measured about it.
#[derive(Debug, Serialize)]
struct Measured {
    group: &'static str,
    name: String,
    threads: usize,
    /// Floating-point operations of one step; 0 where they do not bound the time.
    operations: f64,
    seconds: Vec<f64>,
    /// Seconds that threads ran for it, which others on the machine do not add to.
    cpu_seconds: Vec<f64>,
    /// Peak of an FMA loop on as many threads, measured right before each sample, in operations a second.
    peaks: Vec<f64>,
    /// Seconds of the same work in PyTorch.
    peer_seconds: Vec<f64>,
    /// Allocations of one step after the first.
    allocations: f64,
}

/// What is written to `--record`.
#[derive(Debug, Serialize)]
struct BenchRecord {
    cores: usize,
    instructions: String,
    load_average_before: String,
    load_average_after: String,
    peer: Option<String>,
    elementwise_ns: Vec<(String, f64)>,
    works: Vec<Measured>,
    peak_memory_bytes: Option<u64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    if args.rounds == 0 {
        anyhow::bail!(Misuse("--rounds must be at least 1".into()));
    }
    let mut peer = args.peer.then(|| Peer::start(&args.python)).transpose()?;
    let cores = rayon::current_num_threads();
    let load_average_before = limit::load_average();
    let mut works = work::main_works(cores);
    if !args.quick {
        works.extend(work::scaling_works(cores));
    }
    let mut measured: Vec<Measured> = works.iter().map(blank).collect();
    let limits = Limits::new();
    let progress = Progress::start("bench", (args.rounds * works.len()) as u64);
    'rounds: for _ in 0..args.rounds {
        for (work, measured) in works.iter_mut().zip(&mut measured) {
            if interrupt::requested() {
                break 'rounds;
            }
            measure(work, measured, &limits, peer.as_mut())?;
            progress.step(progress::Measured::default);
        }
    }
    progress.finish();
    measured.retain(|m| !m.seconds.is_empty());
    let record = BenchRecord {
        cores,
        instructions: limit::instructions(),
        load_average_before,
        load_average_after: limit::load_average(),
        peer: peer.as_ref().map(|p| p.version.clone()),
        elementwise_ns: work::elementwise_ns(args.rounds),
        works: measured,
        peak_memory_bytes: crate::memory::peak(),
    };
    table::print(&record);
    if let Some(path) = &args.record {
        let text = serde_json::to_string_pretty(&record)?;
        palimpsest_mlp::checkpoint::write_atomically(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        output::note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn blank(work: &Work) -> Measured {
    Measured {
        group: work.group,
        name: work.name.clone(),
        threads: work.threads,
        operations: work.operations,
        seconds: Vec::new(),
        cpu_seconds: Vec::new(),
        peaks: Vec::new(),
        peer_seconds: Vec::new(),
        allocations: f64::NAN,
    }
}

fn measure(work: &mut Work, measured: &mut Measured, limits: &Limits, peer: Option<&mut Peer>) -> Result<()> {
    if let (Some(peer), Some(line)) = (peer, &work.peer) {
        measured.peer_seconds.push(peer.time(work.threads, line)?);
    }
    measured.peaks.push(limits.peak(work.threads));
    let Sample { seconds, cpu_seconds, allocations } = limits.on_threads(work.threads, &mut *work.run);
    measured.seconds.push(seconds);
    measured.cpu_seconds.push(cpu_seconds);
    measured.allocations = allocations;
    Ok(())
}

/// Middle value; NaN for none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
