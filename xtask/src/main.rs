//! The runner of Palimpsest: trains victims, attacks weights, judges what came back, and reports.
//!
//! Clock, environment, threads and printing live here and nowhere else. Exit codes: 0 done (or stopped early by Ctrl-C
//! with what was finished), 1 failed, 2 misused, 130 ended by a second Ctrl-C.

mod audit;
mod bench;
mod chance;
mod ci;
mod data;
mod demo;
mod evaluate;
mod exposure;
mod found;
mod interrupt;
mod kept;
mod lock;
mod memory;
mod model_file;
mod output;
mod progress;
mod reconstruct;
mod report;
mod reproduce;
mod snapshot;
mod train;
mod unjudged;

use std::alloc::System;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::output::Mode;

/// Counts allocations, for the benchmark.
#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of this process so far.
fn allocations() -> usize {
    let stats = COUNTED.stats();
    stats.allocations + stats.reallocations
}

/// Recover training data from the weights of a trained network, and say honestly how sure it is.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object a line: progress, notes and results, for programs.
    #[arg(long, global = true, conflicts_with = "quiet", help_heading = "Output")]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, global = true, help_heading = "Output")]
    quiet: bool,
}

const EXAMPLES: &str = "Examples:
  cargo xtask demo
  cargo xtask audit net.safetensors --input-shape 3x32x32 --out runs/audit
  cargo xtask train --data fashion-mnist --task odd-even --n 100 --weight-decay 2e-3 --out runs/victim
  cargo xtask reconstruct --model runs/victim/model.palimpsest --out runs/attack
  cargo xtask evaluate --reconstruction runs/attack --data fashion-mnist --task odd-even --n 100 --out runs/judged
  cargo xtask report runs/judged";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on embedded Fashion-MNIST, attack the weights, judge, and write a report: the whole walk.
    Demo(demo::DemoArgs),
    /// Audit somebody's network: read it, judge from its weights whether it looks exposed, attack it, and report.
    Audit(audit::AuditArgs),
    /// Train a victim: a binary classifier whose weights will be attacked.
    Train(train::TrainArgs),
    /// Attack the weights of a network; sees the weights and declared prior knowledge only.
    Reconstruct(reconstruct::ReconstructArgs),
    /// Judge a reconstruction against the training images and against nulls.
    Evaluate(evaluate::EvaluateArgs),
    /// Write report.html, report.md and report.json for a judged (or unjudged) reconstruction.
    Report(report::ReportArgs),
    /// Make the benchmark's victims, attack them, and print one table.
    Reproduce(reproduce::ReproduceArgs),
    /// Measure speed against the limit of this machine, and beside PyTorch.
    Bench(bench::BenchArgs),
    /// Run what continuous integration runs: format, lints, tests.
    #[command(after_help = "Examples:\n  cargo xtask ci")]
    Ci,
}

fn main() -> ExitCode {
    let matches = values_may_be_negative(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    output::set_mode(match (cli.json, cli.quiet) {
        (true, _) => Mode::Machine,
        (_, true) => Mode::Quiet,
        _ => Mode::Person,
    });
    interrupt::install();
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Reconstruct(args) => reconstruct::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&sentence(&error));
            ExitCode::from(if error.is::<Misuse>() { 2 } else { 1 })
        }
    }
}

/// Lets every option take a number below zero, so that `--n -2` is told what is wrong with -2.
fn values_may_be_negative(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let takes_value = arg.get_action().takes_values();
            arg.allow_negative_numbers(takes_value)
        })
        .mut_subcommands(values_may_be_negative)
}

/// An error with its causes, leaving out those that it quotes already.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

/// An option whose value cannot work, found out after parsing: exit code 2.
#[derive(Debug)]
struct Misuse(String);

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}
