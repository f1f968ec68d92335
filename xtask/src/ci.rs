//! `cargo xtask ci`: what continuous integration runs.

use std::process::Command;

use anyhow::{Context, Result, bail};

use palimpsest::terminal::output;

const STEPS: [&[&str]; 4] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["test", "--workspace"],
    &["doc", "--workspace", "--no-deps"],
];

pub(crate) fn run() -> Result<()> {
    for step in STEPS {
        output::note(&format!("cargo {}", step.join(" ")));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        if step[0] == "doc" {
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        let status = command.args(step).status().context("cannot start cargo")?;
        if !status.success() {
            bail!("`cargo {}` failed", step.join(" "));
        }
    }
    output::note("all checks passed");
    Ok(())
}
