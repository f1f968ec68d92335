//! The command line: what a person types, parsed and carried out.
//!
//! Exit codes: 0 done (or stopped early by Ctrl-C with what was finished), 1 failed, 2 misused, 130 ended by a second Ctrl-C.

use std::process::ExitCode;

use anyhow::Result;
use clap::{FromArgMatches, Parser, Subcommand};
use palimpsest_runs::RunsError;

use crate::attacking::{merge, peek, reconstruct};
use crate::installed::{self, Installed};
#[cfg(feature = "fetch")]
use crate::judging::fetch;
use crate::judging::{audit, classifier, compare, demo, evaluate, members, report, risk};
use crate::terminal::output::{self, Mode};
use crate::terminal::{Misuse, interrupt};

/// Recover training data from the weights of a trained network, and say honestly how sure it is.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli<C: Subcommand> {
    #[command(subcommand)]
    command: C,
    /// Print one JSON object a line: progress, notes and results, for programs.
    #[arg(long, global = true, conflicts_with = "quiet", help_heading = "Output")]
    json: bool,
    /// Print nothing but errors.
    #[arg(long, global = true, help_heading = "Output")]
    quiet: bool,
}

const EXAMPLES: &str = "Examples:
  palimpsest demo
  palimpsest audit net.safetensors --input-shape 3x32x32 --out runs/audit
  palimpsest peek ten_classes.pth --input-shape 3x32x32 --out runs/peek
  palimpsest fetch cifar10
  palimpsest compare runs/before runs/after --out compare.html
  palimpsest members net.pth --records mine.npz --reference public.npz --out runs/members
  palimpsest train --data fashion-mnist --task odd-even --n 100 --weight-decay 2e-3 --out runs/victim
  palimpsest reconstruct --model runs/victim/model.palimpsest --out runs/attack
  palimpsest evaluate --reconstruction runs/attack --data fashion-mnist --task odd-even --n 100 --out runs/judged
  palimpsest report runs/judged";

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train on embedded Fashion-MNIST, attack the weights, judge, and write a report: the whole walk.
    Demo(demo::DemoArgs),
    /// Audit somebody's network: read it, judge from its weights whether it looks exposed, attack it, and report.
    Audit(audit::JudgedAuditArgs),
    /// Look for pictures in one layer of any network: separation alone, up to sign, in seconds.
    Peek(peek::PeekArgs),
    /// Tell which of given records a network was trained on, with a p-value each, in seconds.
    Members(members::MembersArgs),
    /// Train a victim: a network whose weights will be attacked.
    Train(classifier::TrainCommand),
    /// Attack the weights of a network; sees the weights and declared prior knowledge only.
    Reconstruct(reconstruct::ReconstructArgs),
    /// Join parts of an attack that several machines have made with `reconstruct --restarts A..B`.
    Merge(merge::MergeArgs),
    /// Judge a reconstruction against the training images and against nulls.
    Evaluate(evaluate::EvaluateArgs),
    /// Compare two audits: what an attack finds after a change of the network, and what is gone.
    Compare(compare::CompareArgs),
    /// Tell how exposed each training record is, for whoever holds the training set.
    Risk(risk::RiskArgs),
    /// Fetch a published data set from public mirrors and verify it.
    #[cfg(feature = "fetch")]
    Fetch(fetch::FetchArgs),
    /// Write report.html, report.md and report.json for a judged (or unjudged) reconstruction.
    Report(report::ReportArgs),
}

/// Carries out one command.
///
/// # Errors
/// Whatever keeps it from its end; [`Misuse`] for the caller's mistake.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Peek(args) => peek::run(&args),
        Command::Members(args) => members::run(&args),
        Command::Train(args) => classifier::run(&args),
        Command::Reconstruct(args) => reconstruct::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Risk(args) => risk::run(&args),
        #[cfg(feature = "fetch")]
        Command::Fetch(args) => fetch::run(&args),
        Command::Report(args) => report::run(&args),
    }
}

/// The commands, and what an installed program offers besides.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "made once, of a command line")]
enum Everything {
    #[command(flatten)]
    Command(Command),
    #[command(flatten)]
    Installed(Installed),
}

/// The whole program, installed as `name`.
pub fn main_as(name: &'static str) -> ExitCode {
    main_with(name, |asked| match asked {
        Everything::Command(command) => run(command),
        Everything::Installed(asked) => installed::run(&asked, command::<Everything>(name)),
    })
}

/// A program called `name` with the commands `C`, each carried out by `run`.
pub fn main_with<C: Subcommand>(name: &'static str, run: impl FnOnce(C) -> Result<()>) -> ExitCode {
    let matches = command::<C>(name).get_matches();
    let cli = Cli::<C>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    output::set_mode(match (cli.json, cli.quiet) {
        (true, _) => Mode::Machine,
        (_, true) => Mode::Quiet,
        _ => Mode::Person,
    });
    interrupt::install();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&sentence(&error));
            ExitCode::from(if misused(&error) { 2 } else { 1 })
        }
    }
}

/// The command line of a program called `name`.
fn command<C: Subcommand>(name: &'static str) -> clap::Command {
    let command = <Cli<C> as clap::CommandFactory>::command().name(name).bin_name(name).after_help(EXAMPLES);
    called(name, values_may_be_negative(command))
}

/// Writes `name` where the examples of a help say `palimpsest`.
fn called(name: &'static str, command: clap::Command) -> clap::Command {
    let examples = command.get_after_help().map(ToString::to_string);
    let command = match examples {
        Some(text) => command.after_help(text.replace("\n  palimpsest ", &format!("\n  {name} "))),
        None => command,
    };
    command.mut_subcommands(|command| called(name, command))
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

/// Whether the caller can correct it.
fn misused(error: &anyhow::Error) -> bool {
    error.is::<Misuse>() || matches!(error.downcast_ref(), Some(RunsError::Refused(_)))
}

/// An error with its causes, leaving out those that it quotes already.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}
