//! The command `palimpsest`.

use std::process::ExitCode;

fn main() -> ExitCode {
    palimpsest::cli::main_as("palimpsest")
}
