//! The networks of the table in docs/members.md, and what each must reach.

use palimpsest_datasets::DataName;

use super::super::asked::{Kind, MembershipArgs};
use super::super::defences::{Case, cases, named};
use super::super::victims::ReproduceArgs;

/// A network that is asked.
pub(super) struct Wanted {
    pub(super) case: Case,
    /// Per cent of the members that must be told at 0.1 % of the others, if anybody said so.
    pub(super) must: Option<f64>,
}

/// Data set, what is told apart, examples, name of the training, and what must be reached.
const ACCEPTANCE: [(DataName, Kind, usize, &str, f64); 7] = [
    (DataName::Cifar10, Kind::Two, 100, "decay-2e-3", 99.0),
    (DataName::Cifar10, Kind::Two, 100, "none", 92.0),
    (DataName::Cifar10, Kind::Two, 500, "decay-1e-3", 85.0),
    (DataName::Cifar10, Kind::Two, 500, "none", 75.0),
    (DataName::Mnist, Kind::Two, 500, "decay-1e-3", 80.0),
    (DataName::Cifar10, Kind::Ten, 100, "adam-decay-1e-3", 98.0),
    (DataName::Cifar10, Kind::Numbers, 100, "decay-2e-3", 95.0),
];

/// The networks that are asked for, in the order of the table.
pub(super) fn networks(args: &ReproduceArgs, what: &MembershipArgs) -> Vec<Wanted> {
    if !what.acceptance {
        let cases = cases(args, &what.networks);
        return cases.into_iter().map(|case| Wanted { case, must: None }).collect();
    }
    let mut wanted = Vec::new();
    for (data, kind, n, training, must) in ACCEPTANCE {
        if data == DataName::Cifar10 && args.cifar10_dir.is_none() {
            continue;
        }
        for &seed in &args.seeds {
            let Some(defence) = named(training) else { continue };
            let case = Case { data, kind, seed, n, hidden: vec![1000, 1000], defence };
            if args.only.as_deref().is_none_or(|text| victim(args, &case).contains(text)) {
                wanted.push(Wanted { case, must: Some(must) });
            }
        }
    }
    wanted
}

/// The name of a network in a row, and what `--only` looks into.
pub(super) fn victim(args: &ReproduceArgs, case: &Case) -> String {
    format!("{}-{}", case.name(args), case.defence.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_table_has_a_training() {
        for (data, kind, n, training, _) in ACCEPTANCE {
            assert!(named(training).is_some(), "{data}, {kind:?}, {n}: {training}");
        }
    }
}
