//! `cargo xtask reproduce defences`: the same networks with and without what is said to protect, attacked alike, in one table.

mod altered;
mod claims;
mod listed;
mod measure;
mod network;
mod page;
mod row;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use palimpsest::judging::data::DataArgs;
use palimpsest::terminal::{Misuse, interrupt, lock_folder, output};
use palimpsest_datasets::DataName;
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_runs::files;

pub(super) use self::listed::Training;
use self::listed::{Defence, Made};
pub(super) use self::measure::{shares, true_positives};
pub(super) use self::network::{Network, trained, trained_on};
use self::row::{Row, results};
use super::broken_off;
use super::victims::ReproduceArgs;

/// Which networks are trained.
#[derive(Clone, Debug, Args)]
pub(super) struct DefencesArgs {
    /// What they tell apart: two classes, ten, or both.
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',', default_values_t = [Kind::Two, Kind::Ten])]
    kinds: Vec<Kind>,
    /// Training examples.
    #[arg(long, value_name = "N", default_value_t = 100)]
    n: usize,
    /// Hidden widths.
    #[arg(long, value_name = "WIDTHS", default_value = "1000,1000", value_delimiter = ',')]
    hidden: Vec<usize>,
    /// Restarts of each attack.
    #[arg(long, value_name = "R", default_value_t = 2)]
    restarts: usize,
    /// Make no row that is not there, and write the table of those that are.
    #[arg(long)]
    done: bool,
    /// Write docs/results/defences.json, its picture and docs/defences.md instead of the same files in the folder.
    #[arg(long)]
    write: bool,
}

/// What a network tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Two,
    Ten,
}

/// One network of the table.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) data: DataName,
    kind: Kind,
    pub(super) seed: u64,
    pub(super) n: usize,
    hidden: Vec<usize>,
    defence: Defence,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Two => "two classes",
            Self::Ten => "ten classes",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, seed {}: {}", self.task(), self.seed, self.defence.told)
    }
}

impl Case {
    fn task(&self) -> String {
        let data = match self.data {
            DataName::Cifar10 => "CIFAR-10",
            _ => "MNIST",
        };
        format!("{data}, {}", self.kind.words())
    }

    /// The data with so many times the examples, less a constant if one is given.
    pub(super) fn data(&self, args: &ReproduceArgs, times: usize, subtract: Option<f32>) -> Result<DataArgs> {
        let task = match (self.kind, self.data) {
            (Kind::Ten, _) => "classes",
            (Kind::Two, DataName::Cifar10) => "animals-vehicles",
            (Kind::Two, _) => "odd-even",
        };
        let data_dir = args.cifar10_dir.clone().filter(|_| self.data == DataName::Cifar10);
        let balanced = DataArgs::balanced(self.data, task.parse()?, self.n * times);
        Ok(DataArgs { data_dir, block: args.block, subtract, ..balanced })
    }

    fn widths(&self) -> String {
        self.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
    }

    /// Where everything of it is.
    pub(super) fn folder(&self, args: &ReproduceArgs) -> PathBuf {
        let kind = self.kind.words().replace(' ', "-");
        let block = args.block.map_or_else(String::new, |block| format!("-{block}"));
        let widths = self.widths().replace(',', "x");
        let name = format!("{}{block}-{}-{kind}-{widths}-seed{}", self.data, self.n, self.seed);
        args.out.join("defences").join(name).join(self.defence.name)
    }

    /// How it is trained; none of a network whose weights were changed.
    pub(super) fn training(&self) -> Option<Training> {
        match &self.defence.made {
            Made::Trained(training) => Some((**training).clone()),
            Made::Altered(_) => None,
        }
    }

    /// The same with another defence.
    fn with(&self, defence: Defence) -> Self {
        Self { defence, ..self.clone() }
    }
}

/// Makes and measures what is asked for, and writes table, picture and page after each row.
pub(super) fn run(args: &ReproduceArgs, what: &DefencesArgs) -> Result<()> {
    ensure!(what.n > 0 && what.restarts > 0, Misuse("--n and --restarts must be at least 1".into()));
    let mut cases = cases(args, what);
    cases.retain(|case| !what.done || measure::is_done(args, case));
    ensure!(!cases.is_empty(), Misuse("no defence is left; check --only".into()));
    let _lock = lock_folder(&args.out)?;
    let mut rows = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if interrupt::requested() {
            bail!(broken_off(args));
        }
        output::note(&format!("{} of {}: {case}", number + 1, cases.len()));
        rows.push(measure::row(args, what, case)?);
        write(&args.out, &rows, what)?;
    }
    output::line(&format!("{} rows in {}", rows.len(), args.out.display()));
    Ok(())
}

/// The networks that are asked for, in the order of the table.
pub(super) fn cases(args: &ReproduceArgs, what: &DefencesArgs) -> Vec<Case> {
    let data = if args.cifar10_dir.is_some() { DataName::Cifar10 } else { DataName::Mnist };
    let mut cases = Vec::new();
    for &seed in &args.seeds {
        for &kind in &what.kinds {
            for defence in listed::all() {
                if args.only.as_deref().is_none_or(|text| defence.name.contains(text)) {
                    let (n, hidden) = (what.n, what.hidden.clone());
                    cases.push(Case { data, kind, seed, n, hidden, defence });
                }
            }
        }
    }
    cases
}

/// Writes what is known so far.
fn write(out: &Path, rows: &[Row], what: &DefencesArgs) -> Result<()> {
    let picture = page::picture(rows);
    if !what.write {
        files::write_json(&out.join("defences.json"), &results(rows))?;
        write_atomically(&out.join("defences.svg"), picture.as_bytes())?;
        return Ok(write_atomically(&out.join("defences.md"), page::page(rows)?.as_bytes())?);
    }
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is a folder of the workspace")?;
    let docs = root.join("docs");
    files::write_json(&docs.join("results").join("defences.json"), &results(rows))?;
    write_atomically(&docs.join("results").join("defences.svg"), picture.as_bytes())?;
    Ok(write_atomically(&docs.join("defences.md"), page::page(rows)?.as_bytes())?)
}
