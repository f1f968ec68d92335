//! How fast the engine is, in percent of what the machine can do, and beside PyTorch.
//!
//! Every piece of work is run once a round, with the peak of the machine measured beside it and, if asked for, the same
//! work in PyTorch. Medians over rounds are printed as Markdown. Machines are shared: ratios within a round mean more than
//! milliseconds, and work done in a second of CPU time more than work done in a second.

mod counted;
mod engine;
mod job;
mod limit;
mod lists;
mod passes;
mod peer;
mod record;
mod table;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use palimpsest::terminal::output::{self, Mode};
use palimpsest::terminal::progress::{self, Progress};
use palimpsest::terminal::{Misuse, interrupt, memory};

use self::limit::Limits;
use self::peer::Peer;
use self::record::{BenchRecord, Measured};
use self::work::{Amount, Sample, Work};

/// Measure products, passes, training epochs and attack steps against the limit of this machine.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    bin_name = "cargo xtask bench",
    after_help = "Examples:
  cargo xtask bench --quick
  cargo xtask bench --peer --record bench.json
  cargo xtask bench --only 'published attack step' --peer
  cargo xtask bench --only large --rounds 1
  cargo xtask bench --peer --python /opt/torch/bin/python --rounds 9"
)]
struct BenchArgs {
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
    /// Print one JSON object a line: progress and notes, for programs.
    #[arg(long, conflicts_with = "quiet", help_heading = "Output")]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, help_heading = "Output")]
    quiet: bool,
    /// The program whose commands are measured whole.
    #[arg(long, value_name = "FILE", hide = true, default_value = "target/release/xtask")]
    program: PathBuf,
}

fn main() -> ExitCode {
    let args = BenchArgs::parse();
    output::set_mode(match (args.json, args.quiet) {
        (true, _) => Mode::Machine,
        (_, true) => Mode::Quiet,
        _ => Mode::Person,
    });
    interrupt::install();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::from(if error.is::<Misuse>() { 2 } else { 1 })
        }
    }
}

fn run(args: &BenchArgs) -> Result<()> {
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
        peak_memory_bytes: memory::peak("self"),
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
        works.extend(lists::scaling_works(cores, &args.program));
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
