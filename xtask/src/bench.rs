//! `cargo xtask bench`: hands over to the benchmark's own program, which counts allocations; no other program does.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use palimpsest::terminal::output::{self, Mode};

/// Measure products, passes, training epochs and attack steps against the limit of this machine.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Options of the benchmark; --help names them.
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--bin", "bench", "--"]);
    match output::mode() {
        Mode::Person => {}
        Mode::Machine => drop(command.arg("--json")),
        Mode::Quiet => drop(command.arg("--quiet")),
    }
    // The commands that are measured whole are those of this program.
    command.args(&args.options).arg("--program").arg(this);
    if !command.status().context("cannot start cargo")?.success() {
        bail!("the benchmark failed");
    }
    Ok(())
}
