//! The victims of the benchmark, and which of them are asked for.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use palimpsest::judging::data::DataArgs;
use palimpsest_datasets::{Block, DataName};

use super::asked::{DefencesArgs, MembershipArgs, RowsArgs};
use super::constants::ConstantsArgs;
use super::listed::ListArgs;
use super::nulls::Null;
use super::pictures::PicturesArgs;
use super::tables::TableArgs;

/// Make the benchmark's victims, attack them, and print one table.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest reproduce victims --only mnist-100 --seeds 1
  palimpsest reproduce attack --cifar10-dir data/cifar10 --only cifar10-100-weight-decay --seeds 1,3,5
  palimpsest reproduce attack --only minus --seeds 1
  palimpsest reproduce nulls --only mnist-100-weight-decay-1000x1000 --seeds 1
  palimpsest reproduce attack --block report --only mnist-100-weight-decay --seeds 7 --write
  palimpsest reproduce calibrate --block calibrate --seeds 6,7,8
  palimpsest reproduce calibrate-list runs/*/judged
  palimpsest reproduce calibrate-pictures photographs=runs/peek=train.npz digits=runs/peek-digits=digits.npz mixtures=runs/peek-null
  palimpsest reproduce defences --cifar10-dir data/cifar10 --kinds two --seeds 7 --write
  palimpsest reproduce membership --cifar10-dir data/cifar10 --kinds two --only decay-2e-3 --seeds 7 --shadows 64
  palimpsest reproduce membership --cifar10-dir data/cifar10 --mnist-dir data/mnist --block report --acceptance --seeds 11 --shadows 0 --write
  palimpsest reproduce kinds --cifar10-dir data/cifar10 --block 27000..28000 --seeds 25
  palimpsest reproduce paper --cifar10-dir data/cifar10 --block report --seeds 8
  palimpsest reproduce table --write
  palimpsest reproduce constants --write

Options were tuned on block `dev` and seeds 0 to 5; report others (docs/results/burnt.md). Victims and attacks that are there already are not made again. The
whole benchmark takes hours; --only picks the victims whose name contains a text: `minus` those whose inputs lost a constant, or
nothing, instead of their mean.")]
pub(crate) struct ReproduceArgs {
    #[command(subcommand)]
    pub(super) what: What,
    /// Folder that holds CIFAR-10; without it its victims are left out.
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) cifar10_dir: Option<PathBuf>,
    /// Folder that holds MNIST, for more images than are embedded.
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) mnist_dir: Option<PathBuf>,
    /// Train and judge with the training images of one block: dev, calibrate or report, or positions as in 2000..3000 [default: the first of
    /// the file].
    #[arg(long, value_name = "BLOCK", global = true)]
    pub(super) block: Option<Block>,
    /// Only victims whose name contains this.
    #[arg(long, value_name = "TEXT", global = true)]
    pub(super) only: Option<String>,
    /// Seeds of victims and attacks.
    #[arg(long, value_name = "SEEDS", global = true, value_delimiter = ',', default_values_t = [1, 3, 5])]
    pub(super) seeds: Vec<u64>,
    /// Seconds for each attack [default: 120 for 100 examples, 600 for 500].
    #[arg(long, value_name = "SECONDS", global = true)]
    pub(super) time_limit: Option<f64>,
    /// Folder for victims, attacks and tables.
    #[arg(long, value_name = "DIR", global = true, default_value = "runs/reproduce")]
    pub(super) out: PathBuf,
}

impl ReproduceArgs {
    /// The folder of a data set; none where the embedded sample is taken.
    pub(super) fn data_dir(&self, data: DataName) -> Option<PathBuf> {
        match data {
            DataName::Cifar10 => self.cifar10_dir.clone(),
            DataName::Mnist => self.mnist_dir.clone(),
            _ => None,
        }
    }

    /// The command that does `what` for one victim of a data set again.
    pub(super) fn command(&self, what: &str, data: DataName, only: impl fmt::Display, seed: u64) -> String {
        let folder = match data {
            DataName::Cifar10 => " --cifar10-dir DIR",
            DataName::Mnist if self.mnist_dir.is_some() => " --mnist-dir DIR",
            _ => "",
        };
        let block = self.block.map_or_else(String::new, |block| format!(" --block {block}"));
        let limit = self.time_limit.map_or_else(String::new, |limit| format!(" --time-limit {limit}"));
        format!("cargo xtask reproduce {what}{folder}{block} --only {only} --seeds {seed}{limit}")
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum What {
    /// Train the victims.
    Victims,
    /// Train what is missing, attack, judge, and print the table; the rows are in rows.json.
    Attack(RowsArgs),
    /// Attack networks that hold none of the images they are judged by; what is called sure should be what they do hold.
    Nulls(RowsArgs),
    /// Fit the confidence model to attacks that were judged, and print its coefficients.
    Calibrate,
    /// Fit how sure an entry of the list may be, and what tells the sign of a picture, to judged attacks of any kind, one kind left out at a time.
    CalibrateList(ListArgs),
    /// Fit how probable it is that a separated picture is an image to folders of `peek`, one kind left out at a time.
    CalibratePictures(PicturesArgs),
    /// Train networks with and without what is said to protect, attack them alike, and write one table, one picture and one page.
    Defences(DefencesArgs),
    /// Tell members from others by the weights alone, and beside that by tests that need labels and networks trained on other data.
    Membership(MembershipArgs),
    /// Train one network of each kind that people have (losses, optimisers, biases, unbalanced sets), attack it, judge, and print a table.
    Kinds(RowsArgs),
    /// Train both networks of the first publication, attack them, and write one page beside its numbers.
    Paper,
    /// Make the tables of README.md and docs/ from docs/results/*.json.
    Table(TableArgs),
    /// List every number that somebody chose in the crates of the attack, and what is known of each choice.
    Constants(ConstantsArgs),
}

/// How far a victim is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Regime {
    Published,
    Deep,
    WeightDecay,
}

impl fmt::Display for Regime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Deep => "deep",
            Self::WeightDecay => "weight-decay",
        })
    }
}

/// A victim of the benchmark.
#[derive(Clone, Debug)]
pub(super) struct Victim {
    pub(super) data: DataName,
    pub(super) n: usize,
    pub(super) regime: Regime,
    pub(super) hidden: Vec<usize>,
    /// What is taken from every pixel instead of the training mean.
    pub(super) subtract: Option<f32>,
    pub(super) seed: u64,
    /// What it is instead of trained on these images.
    pub(super) null: Option<Null>,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden: Vec<String> = self.hidden.iter().map(usize::to_string).collect();
        let inputs = self.subtract.map_or_else(String::new, |value| format!("-minus{value}"));
        let null = self.null.map_or_else(String::new, |null| format!("-{null}"));
        write!(
            f,
            "{}-{}-{}-{}{inputs}{null}-seed{}",
            self.data,
            self.n,
            self.regime,
            hidden.join("x"),
            self.seed
        )
    }
}

pub(super) fn victims(args: &ReproduceArgs) -> Vec<Victim> {
    let mut all = Vec::new();
    for data in [DataName::Cifar10, DataName::Mnist, DataName::FashionMnist] {
        if data == DataName::Cifar10 && args.cifar10_dir.is_none() {
            continue;
        }
        for n in [100, 500] {
            for regime in [Regime::Published, Regime::Deep, Regime::WeightDecay] {
                for hidden in [vec![1000, 1000], vec![1000], vec![500, 500, 500]] {
                    for &seed in &args.seeds {
                        all.push(Victim {
                            data,
                            n,
                            regime,
                            hidden: hidden.clone(),
                            subtract: None,
                            seed,
                            null: None,
                        });
                    }
                }
            }
        }
        // What whoever has no mean image does: pictures on black as they are, or around zero.
        for subtract in [0.0, 0.5].into_iter().filter(|_| data != DataName::Cifar10) {
            for &seed in &args.seeds {
                let (regime, hidden) = (Regime::WeightDecay, vec![1000, 1000]);
                all.push(Victim { data, n: 100, regime, hidden, subtract: Some(subtract), seed, null: None });
            }
        }
    }
    if matches!(args.what, What::Nulls(_)) {
        let nulls = |victim: &Victim| Null::ALL.map(|null| Victim { null: Some(null), ..victim.clone() });
        all = all.iter().flat_map(nulls).collect();
    }
    all.retain(|victim| args.only.as_deref().is_none_or(|text| victim.to_string().contains(text)));
    all
}

impl Victim {
    pub(super) fn data(&self, args: &ReproduceArgs) -> Result<DataArgs> {
        let task = if self.data == DataName::Cifar10 { "animals-vehicles" } else { "odd-even" };
        let data_dir = args.data_dir(self.data);
        let (n, subtract, block) = (self.n, self.subtract, args.block);
        Ok(DataArgs { data_dir, block, subtract, ..DataArgs::balanced(self.data, task.parse()?, n) })
    }

    pub(super) fn folder(&self, args: &ReproduceArgs, part: &str) -> PathBuf {
        let name = match args.block {
            Some(block) => format!("{self}-{block}"),
            None => self.to_string(),
        };
        args.out.join(name).join(part)
    }
}
