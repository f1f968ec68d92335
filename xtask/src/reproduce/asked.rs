//! Options of what `reproduce` does, besides those that all have.

use clap::{Args, ValueEnum};

/// Which networks are trained.
#[derive(Clone, Debug, Args)]
pub(super) struct NetworksArgs {
    /// What they tell apart: two classes, ten, or both.
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',', default_values_t = [Kind::Two, Kind::Ten])]
    pub(super) kinds: Vec<Kind>,
    /// Training examples.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) n: usize,
    /// Hidden widths.
    #[arg(long, value_name = "WIDTHS", default_value = "1000,1000", value_delimiter = ',')]
    pub(super) hidden: Vec<usize>,
}

/// Which networks are trained and attacked.
#[derive(Clone, Debug, Args)]
pub(super) struct DefencesArgs {
    #[command(flatten)]
    pub(super) networks: NetworksArgs,
    /// Restarts of each attack.
    #[arg(long, value_name = "R", default_value_t = 2)]
    pub(super) restarts: usize,
    /// Make no row that is not there, and write the table of those that are.
    #[arg(long)]
    pub(super) done: bool,
    /// Write docs/results/defences.json, its picture and docs/defences.md instead of the same files in the folder.
    #[arg(long)]
    pub(super) write: bool,
}

/// What a network tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Two,
    Ten,
    /// The label as a number; no defence is measured on it.
    #[value(skip)]
    Numbers,
}

impl Kind {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Two => "two classes",
            Self::Ten => "ten classes",
            Self::Numbers => "regression",
        }
    }
}

/// Which networks are asked, and how many are trained on other data.
#[derive(Clone, Debug, Args)]
pub(super) struct MembershipArgs {
    /// The networks that are asked; of `defences` those that are trained.
    #[command(flatten)]
    pub(super) networks: NetworksArgs,
    /// Ask the networks of the table in docs/members.md instead, each with what it must reach.
    #[arg(long, conflicts_with_all = ["kinds", "n", "hidden"])]
    pub(super) acceptance: bool,
    /// Networks trained on other examples of the same data set (shadows), for LiRA and RMIA.
    #[arg(long, value_name = "K", default_value_t = 64)]
    pub(super) shadows: usize,
    /// Seconds for the shadows of one network; with those that are done by then the table is made.
    #[arg(long, value_name = "SECONDS")]
    pub(super) shadow_limit: Option<f64>,
    /// Put the rows into docs/results/membership.json instead of the same file in the folder.
    #[arg(long)]
    pub(super) write: bool,
}

/// Where the rows of `attack`, `nulls` and `kinds` go.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct RowsArgs {
    /// Put the rows into the table in docs/results, where a row of the same network makes way.
    #[arg(long)]
    pub(super) write: bool,
}
