//! The networks of the table.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use palimpsest::judging::data::DataArgs;
use palimpsest_datasets::DataName;

use super::super::asked::{Kind, NetworksArgs};
use super::super::victims::ReproduceArgs;
use super::listed::{self, Defence, Made, Training};

/// One network of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) data: DataName,
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    pub(crate) n: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) defence: Defence,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, seed {}: {}", self.task(), self.seed, self.defence.told)
    }
}

impl Case {
    pub(crate) fn task(&self) -> String {
        let data = match self.data {
            DataName::Cifar10 => "CIFAR-10",
            _ => "MNIST",
        };
        format!("{data}, {}", self.kind.words())
    }

    /// The data with so many times the examples, less a constant if one is given.
    pub(crate) fn data(&self, args: &ReproduceArgs, times: usize, subtract: Option<f32>) -> Result<DataArgs> {
        let task = match (self.kind, self.data) {
            (Kind::Ten, _) => "classes",
            (Kind::Numbers, _) => "regression",
            (Kind::Two, DataName::Cifar10) => "animals-vehicles",
            (Kind::Two, _) => "odd-even",
        };
        let data_dir = args.data_dir(self.data);
        let balanced = DataArgs::balanced(self.data, task.parse()?, self.n * times);
        Ok(DataArgs { data_dir, block: args.block, subtract, ..balanced })
    }

    pub(crate) fn widths(&self) -> String {
        self.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
    }

    /// What it is trained on and how wide it is, as a name.
    pub(crate) fn name(&self, args: &ReproduceArgs) -> String {
        let kind = self.kind.words().replace(' ', "-");
        let block = args.block.map_or_else(String::new, |block| format!("-{block}"));
        let widths = self.widths().replace(',', "x");
        format!("{}{block}-{}-{kind}-{widths}-seed{}", self.data, self.n, self.seed)
    }

    /// Where everything of it is.
    pub(crate) fn folder(&self, args: &ReproduceArgs) -> PathBuf {
        args.out.join("defences").join(self.name(args)).join(self.defence.name)
    }

    /// How it is trained; none of a network whose weights were changed.
    pub(crate) fn training(&self) -> Option<Training> {
        match &self.defence.made {
            Made::Trained(training) => Some((**training).clone()),
            Made::Altered(_) => None,
        }
    }

    /// The same with another defence.
    pub(super) fn with(&self, defence: Defence) -> Self {
        Self { defence, ..self.clone() }
    }
}

/// The networks that are asked for, in the order of the table.
pub(crate) fn cases(args: &ReproduceArgs, what: &NetworksArgs) -> Vec<Case> {
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
