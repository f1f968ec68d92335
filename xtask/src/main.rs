//! The runner: the commands of `palimpsest`, and those of its developers.

mod bench;
mod ci;
mod reproduce;

use std::process::ExitCode;

use clap::Subcommand;
use palimpsest::cli;

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "made once, of a command line")]
enum Command {
    #[command(flatten)]
    Product(cli::Command),
    /// Make the benchmark's victims, attack them, and print one table.
    Reproduce(reproduce::ReproduceArgs),
    /// Measure speed against the limit of this machine, and beside PyTorch.
    #[command(disable_help_flag = true)]
    Bench(bench::BenchArgs),
    /// Run what continuous integration runs: format, lints, tests.
    #[command(after_help = "Examples:\n  palimpsest ci")]
    Ci,
}

fn main() -> ExitCode {
    cli::main_with("cargo xtask", |command| match command {
        Command::Product(command) => cli::run(command),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ci => ci::run(),
    })
}
