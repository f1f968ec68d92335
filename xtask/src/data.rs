//! Data options shared by the commands that may see the truth.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ndarray::Array2;
use palimpsest_datasets::{BinarySet, DataName, DatasetError, InputShape, PixelMean, Task, load};

use crate::Misuse;

/// Held-out images that every count is compared with.
pub(crate) const HELD_OUT: usize = 1000;

/// Which training set: the same options train a victim and judge its reconstruction.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataArgs {
    /// Data set: fashion-mnist, mnist (both embedded) or cifar10 (needs --data-dir).
    #[arg(long, value_name = "NAME")]
    pub(crate) data: DataName,
    /// Folder with the full data set in its official files.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or classes as in 0,1,2/3,4 (the first set is +1).
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Task,
    /// Training examples: the first n/2 of each label, in file order.
    #[arg(long, value_name = "N")]
    pub(crate) n: usize,
}

/// A victim's training set, its held-out images and its mean.
pub(crate) struct VictimData {
    pub(crate) train: BinarySet,
    pub(crate) held_out: BinarySet,
    pub(crate) mean: PixelMean,
    /// Training inputs with the mean removed, (n, d).
    pub(crate) centered: Array2<f32>,
    /// Held-out inputs with the same mean removed, (k, d).
    pub(crate) held_out_centered: Array2<f32>,
    pub(crate) shape: InputShape,
}

impl VictimData {
    /// Loads and selects what `args` say.
    pub(crate) fn load(args: &DataArgs) -> Result<Self> {
        let split = load(args.data, args.data_dir.as_deref()).map_err(|error| match error {
            DatasetError::NotEmbedded => anyhow::Error::new(Misuse(error.to_string())),
            error => error.into(),
        })?;
        let train = args.task.balanced(&split.train, args.n).map_err(|e| Misuse(e.to_string()))?;
        let held_out = args.task.held_out(&split.test, HELD_OUT)?;
        let mean = PixelMean::fit(train.dataset.inputs());
        let centered = mean.center(train.dataset.inputs()).view().to_owned();
        let held_out_centered = mean.center(held_out.dataset.inputs()).view().to_owned();
        let shape = train.dataset.shape();
        Ok(Self { train, held_out, mean, centered, held_out_centered, shape })
    }

    /// Checksum of the centred training inputs and their labels.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for value in self.centered.iter().chain(&self.train.signs) {
            hasher.update(&value.to_le_bytes());
        }
        hasher.finalize().to_string()
    }

    /// Labels of the training examples in {-1, +1}.
    pub(crate) fn labels(&self) -> Vec<i8> {
        self.train.signs.iter().map(|&s| if s > 0.0 { 1 } else { -1 }).collect()
    }
}
