//! Data options shared by the commands that may see the truth.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_datasets::{
    BinarySet, Block, Counts, DataName, Dataset, DatasetError, InputShape, LoadParams, PixelMean, Split,
    Task, ZScore, load_with,
};
use palimpsest_report::InputKind;

use crate::terminal::{Misuse, output};

/// Held-out images that every count is compared with.
pub const HELD_OUT: usize = 1000;

/// Which training set: the same options train a victim and judge its reconstruction.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// Data set: fashion-mnist, mnist, digits, breast-cancer (all embedded), cifar10 or npz (both need --data-dir).
    #[arg(long, value_name = "NAME")]
    pub data: DataName,
    /// Folder with the full data set in its official files; for npz, with train.npz and test.npz (inputs, labels).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or classes as in 0,1,2/3,4 (the first set is +1).
    #[arg(long, value_name = "TASK")]
    pub task: Task,
    /// Training examples: the first n/2 of each label, in file order.
    #[arg(long, value_name = "N")]
    pub n: usize,
    /// Other numbers of each label, n in all: 70/30 (the first set of the task has 70) or first:37 (in file order).
    #[arg(long, value_name = "COUNTS")]
    pub counts: Option<Counts>,
    /// Training images of one block only, so that what is tuned on and what is reported share none: dev, calibrate or report.
    #[arg(long, value_name = "BLOCK")]
    pub block: Option<Block>,
    /// Take VALUE from every raw input before the network sees it, instead of the training mean; 0 leaves them as they are.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    pub subtract: Option<f32>,
}

/// How raw inputs become those of the network: pictures lose their mean, columns of a table get one unit, if no constant is
/// taken instead.
pub enum Scaling {
    /// The mean of each pixel, or a constant, is taken.
    Mean(PixelMean),
    /// Each column is brought to mean 0 and deviation 1.
    Columns(ZScore),
}

impl Scaling {
    fn fit(data: &Dataset, subtract: Option<f32>) -> Result<Self> {
        Ok(match (subtract, data.shape()) {
            (Some(value), _) => {
                let constant = Array1::from_elem(data.inputs().ncols(), value);
                Self::Mean(PixelMean::from_values(constant).map_err(|_| {
                    Misuse(format!("--subtract must be a finite number, as 0 or 0.5, got {value}"))
                })?)
            }
            (None, InputShape::Image { .. }) => Self::Mean(PixelMean::fit(data.inputs())),
            (None, InputShape::Vector { .. }) => Self::Columns(ZScore::fit(data.inputs())),
        })
    }

    /// Raw inputs (n, d) as the network sees them.
    pub fn apply(&self, inputs: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Mean(mean) => mean.center(inputs).view().to_owned(),
            Self::Columns(columns) => columns.apply(inputs),
        }
    }

    /// Rows (m, d) of the network's inputs in their own units again.
    pub fn restore(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Mean(mean) => mean.restore(rows),
            Self::Columns(columns) => columns.invert(rows),
        }
    }
}

/// A victim's training set, its held-out images and what is taken from them.
pub struct VictimData {
    /// The training examples.
    pub train: BinarySet,
    /// Examples the network never saw.
    pub held_out: BinarySet,
    /// What is taken from raw inputs.
    pub scaling: Scaling,
    /// The data set.
    pub name: DataName,
    /// Training inputs as the network sees them, (n, d).
    pub centered: Array2<f32>,
    /// Held-out inputs by the same scaling, (k, d).
    pub held_out_centered: Array2<f32>,
    /// What an input is.
    pub shape: InputShape,
}

/// The examples that `args` name.
fn select(args: &DataArgs, train: &Dataset) -> Result<BinarySet, DatasetError> {
    let Some(counts) = &args.counts else { return args.task.balanced(train, args.n) };
    let set = args.task.select(train, counts)?;
    // Tasks with more labels are refused where signs are asked for.
    match set.into_binary() {
        Some(set) => Ok(set),
        None => args.task.balanced(train, args.n),
    }
}

/// Loads a data set, or one block of it, and says how its files were read.
pub(super) fn load_split(data: DataName, data_dir: Option<&Path>, block: Option<Block>) -> Result<Split> {
    let split =
        load_with(data, &LoadParams { data_dir, block, shape: None }).map_err(|error| match error {
            DatasetError::NotEmbedded | DatasetError::NoFolder | DatasetError::Block { .. } => {
                anyhow::Error::new(Misuse(error.to_string()))
            }
            error => error.into(),
        })?;
    split.readings.iter().for_each(|reading| output::note(&reading.to_string()));
    Ok(split)
}

/// Refuses numbers of each label that are not n in all.
pub(super) fn check_counts(counts: Option<&Counts>, n: usize) -> Result<(), Misuse> {
    match counts.filter(|counts| counts.total() != n) {
        Some(counts) => Err(Misuse(format!("--counts {counts} is {} examples and --n {n}", counts.total()))),
        None => Ok(()),
    }
}

impl VictimData {
    /// Loads and selects what `args` say.
    pub fn load(args: &DataArgs) -> Result<Self> {
        let split = load_split(args.data, args.data_dir.as_deref(), args.block)?;
        check_counts(args.counts.as_ref(), args.n)?;
        let train = select(args, &split.train).map_err(|e| Misuse(e.to_string()))?;
        let held_out = args.task.held_out(&split.test, HELD_OUT)?;
        let scaling = Scaling::fit(&train.dataset, args.subtract)?;
        let centered = scaling.apply(train.dataset.inputs());
        let held_out_centered = scaling.apply(held_out.dataset.inputs());
        let shape = train.dataset.shape();
        Ok(Self { train, held_out, scaling, name: args.data, centered, held_out_centered, shape })
    }

    /// What an input is.
    pub fn input_kind(&self) -> InputKind {
        match self.shape {
            InputShape::Image { .. } => InputKind::Image,
            InputShape::Vector { .. } => InputKind::Row,
        }
    }

    /// Channels, height and width, if an input is an image.
    pub fn image_shape(&self) -> Option<[usize; 3]> {
        match self.shape {
            InputShape::Image { channels, height, width } => Some([channels, height, width]),
            InputShape::Vector { .. } => None,
        }
    }

    /// Checksum of the training inputs as the network sees them and their labels.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for value in self.centered.iter().chain(&self.train.signs) {
            hasher.update(&value.to_le_bytes());
        }
        hasher.finalize().to_string()
    }

    /// Labels of the training examples in {-1, +1}.
    pub fn labels(&self) -> Vec<i8> {
        self.train.signs.iter().map(|&s| if s > 0.0 { 1 } else { -1 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_lose_their_mean_or_the_constant_that_is_named() {
        let load = |data: &str, task: &str, subtract| {
            let (data, task) = (data.parse().unwrap(), task.parse().unwrap());
            VictimData::load(&DataArgs {
                data,
                data_dir: None,
                task,
                n: 10,
                counts: None,
                block: None,
                subtract,
            })
            .unwrap()
        };
        for (data, task) in [("mnist", "odd-even"), ("breast-cancer", "0/1")] {
            let centred = load(data, task, None);
            let means = centred.centered.mean_axis(ndarray::Axis(0)).unwrap();
            assert!(means.iter().all(|m| m.abs() < 1e-5), "{means}");
            for value in [0.0, 0.5] {
                let constant = load(data, task, Some(value));
                let raw = constant.train.dataset.inputs();
                assert_eq!(constant.centered, &raw - value);
                assert_eq!(constant.scaling.restore(constant.centered.view()), &(&raw - value) + value);
                assert_ne!(constant.digest(), centred.digest());
            }
        }
    }

    #[test]
    fn other_numbers_of_each_label_and_other_blocks_can_be_asked_for() {
        let load = |n, counts: Option<&str>, block: Option<&str>| {
            VictimData::load(&DataArgs {
                data: "mnist".parse().unwrap(),
                data_dir: None,
                task: "odd-even".parse().unwrap(),
                n,
                counts: counts.map(|counts| counts.parse().unwrap()),
                block: block.map(|block| block.parse().unwrap()),
                subtract: None,
            })
        };
        let of_plus_one = |data: &VictimData| data.labels().iter().filter(|&&label| label == 1).count();
        let (plain, dev) = (load(10, None, None).unwrap(), load(10, None, Some("dev")).unwrap());
        assert_eq!(plain.digest(), dev.digest());
        assert_ne!(plain.digest(), load(10, None, Some("report")).unwrap().digest());
        assert_eq!(of_plus_one(&load(10, Some("7/3"), None).unwrap()), 7);
        assert_eq!(load(37, Some("19/18"), Some("report")).unwrap().centered.nrows(), 37);
        assert_eq!(load(7, Some("first:7"), None).unwrap().centered.nrows(), 7);
        let message = |n, counts, block| load(n, counts, block).err().unwrap().to_string();
        assert!(message(10, Some("7/4"), None).contains("is 11 examples and --n 10"));
        assert!(message(10, None, Some("calibrate")).contains("holds dev and report"));
        assert!(message(502, None, Some("report")).contains("block report"));
    }
}
