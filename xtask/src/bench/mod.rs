//! `cargo xtask bench`: how fast the engine is, in percent of what the machine can do, and beside PyTorch.
//!
//! Every piece of work is run once a round, with the peak of the machine measured beside it and, if asked for, the same
//! work in PyTorch. Medians over rounds are printed as Markdown. Machines are shared: ratios within a round mean more than
//! milliseconds, and work done in a second of CPU time more than work done in a second.

mod engine;
mod job;
mod limit;
mod lists;
mod passes;
mod peer;
mod table;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use self::limit::{Limits, Peak};
use self::peer::Peer;
use self::work::{Amount, Sample, Work};
use crate::progress::{self, Progress};
use crate::{Misuse, interrupt, output};

/// Measure products, passes, training epochs and attack steps against the limit of this machine.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench --quick
  cargo xtask bench --peer --record bench.json
  cargo xtask bench --only 'published attack step' --peer
  cargo xtask bench --only large --rounds 1
  cargo xtask bench --peer --python /opt/torch/bin/python --rounds 9")]
pub(crate) struct BenchArgs {
    /// Run the same work in PyTorch in the same rounds.
    #[arg(long)]
    peer: bool,
    /// Python that can import torch.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Leave the scaling tables and whole commands out.
    #[arg(long)]
    quick: bool,
    /// Only work whose name or table holds TEXT; brings in the table `Large`, too, which takes minutes and gigabytes.
    #[arg(long, value_name = "TEXT", conflicts_with = "quick")]
    only: Option<String>,
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
    amount: Amount,
    seconds: Vec<f64>,
    /// Seconds that threads ran for it, which others on the machine do not add to.
    cpu_seconds: Vec<f64>,
    /// Peak of an FMA loop on as many threads, measured right before each sample.
    peaks: Vec<Peak>,
    /// Seconds of the same work in PyTorch.
    peer_seconds: Vec<f64>,
    peer_cpu_seconds: Vec<f64>,
    /// Allocations of one step after the first.
    allocations: f64,
    /// Most memory of a command.
    peak_bytes: Option<u64>,
}

/// What is written to `--record`.
#[derive(Debug, Serialize)]
struct BenchRecord {
    cores: usize,
    processor: String,
    instructions: String,
    rounds: usize,
    load_average_before: String,
    load_average_after: String,
    peer: Option<String>,
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
    let mut works = chosen(args, cores)?;
    let mut measured: Vec<Measured> = works.iter().map(blank).collect();
    let limits = Limits::new();
    let progress = Progress::start("bench", (args.rounds * works.len()) as u64);
    'rounds: for round in 0..args.rounds {
        for (work, measured) in works.iter_mut().zip(&mut measured) {
            if interrupt::requested() {
                break 'rounds;
            }
            if round == 0 || work.amount != Amount::Commands {
                measure(work, measured, &limits, peer.as_mut())?;
            }
            progress.step(progress::Measured::default);
        }
    }
    progress.finish();
    measured.retain(|m| !m.seconds.is_empty());
    let record = BenchRecord {
        cores,
        processor: limit::processor(),
        instructions: limit::instructions(),
        rounds: args.rounds,
        load_average_before,
        load_average_after: limit::load_average(),
        peer: peer.as_ref().map(|p| p.version.clone()),
        works: measured,
        peak_memory_bytes: crate::memory::peak("self"),
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

fn chosen(args: &BenchArgs, cores: usize) -> Result<Vec<Work>> {
    let mut works = lists::main_works(cores);
    if !args.quick {
        works.extend(lists::scaling_works(cores));
    }
    if let Some(text) = &args.only {
        let text = text.to_lowercase();
        works.extend(lists::large_works(cores));
        works.retain(|work| format!("{}: {}", work.group, work.name).to_lowercase().contains(&text));
        if works.is_empty() {
            anyhow::bail!(Misuse(format!("--only {text}: no work has that in its name or table")));
        }
    }
    Ok(works)
}

fn blank(work: &Work) -> Measured {
    Measured {
        group: work.group,
        name: work.name.clone(),
        threads: work.threads,
        amount: work.amount,
        seconds: Vec::new(),
        cpu_seconds: Vec::new(),
        peaks: Vec::new(),
        peer_seconds: Vec::new(),
        peer_cpu_seconds: Vec::new(),
        allocations: f64::NAN,
        peak_bytes: None,
    }
}

fn measure(work: &mut Work, measured: &mut Measured, limits: &Limits, peer: Option<&mut Peer>) -> Result<()> {
    if let (Some(peer), Some(line)) = (peer, &work.peer) {
        let (seconds, cpu_seconds) = peer.time(work.threads, line)?;
        measured.peer_seconds.push(seconds);
        measured.peer_cpu_seconds.push(cpu_seconds);
    }
    measured.peaks.push(limits.peak(work.threads));
    let Sample { seconds, cpu_seconds, allocations, peak_bytes } =
        limits.on_threads(work.threads, &mut *work.run)?;
    measured.seconds.push(seconds);
    measured.cpu_seconds.push(cpu_seconds);
    (measured.allocations, measured.peak_bytes) = (allocations, peak_bytes);
    Ok(())
}

/// Middle value; NaN for none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
