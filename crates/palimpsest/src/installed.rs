//! What an installed program offers besides its commands: completions for a shell, and its man page.

use anyhow::{Result, bail};
use clap::Subcommand;
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::terminal::{Misuse, output};

/// What belongs to the program as it is installed.
#[derive(Debug, Subcommand)]
pub(crate) enum Installed {
    /// Write completions for a shell to standard output.
    #[command(after_help = "Examples:
  palimpsest completions bash > ~/.local/share/bash-completion/completions/palimpsest
  palimpsest completions zsh > ~/.zfunc/_palimpsest
  palimpsest completions fish > ~/.config/fish/completions/palimpsest.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the man page of the program, or of one of its commands, to standard output.
    #[command(after_help = "Examples:
  palimpsest man > ~/.local/share/man/man1/palimpsest.1
  palimpsest man audit > ~/.local/share/man/man1/palimpsest-audit.1")]
    Man {
        /// The command; without it, the program.
        command: Option<String>,
    },
}

/// Writes what was asked for of a program described by `program`.
///
/// # Errors
/// [`Misuse`] for a command that is not there.
pub(crate) fn run(asked: &Installed, mut program: clap::Command) -> Result<()> {
    let name = program.get_name().to_owned();
    let mut text = Vec::new();
    match asked {
        Installed::Completions { shell } => generate(*shell, &mut program, name, &mut text),
        Installed::Man { command: None } => Man::new(program).render(&mut text)?,
        Installed::Man { command: Some(command) } => {
            program.build();
            let Some(found) = program.find_subcommand(command) else {
                bail!(Misuse(format!("{name} has no command `{command}`; {name} --help names them")));
            };
            Man::new(found.clone()).render(&mut text)?;
        }
    }
    output::bytes(&text);
    Ok(())
}
