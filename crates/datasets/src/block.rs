//! Blocks of a training set: disjoint ranges of positions in the published file, so that what was looked at, what was
//! fitted on and what is reported never share an image.
//!
//! | data set | `dev` | `calibrate` | `report` |
//! |---|---|---|---|
//! | CIFAR-10 | 0 to 659 | 660 to 1319 | 1320 to 1999 |
//! | MNIST, Fashion-MNIST | 0 to 2999 | 3000 to 4999 | 5000 to 9999 |
//!
//! Any other range of the published file is a block, too, `2000..3000` for one: images that nobody looked at are taken from there once all
//! of `report` was.
//!
//! A task selects inside a block as it does inside a file. The held-out images are those of the test set for every block.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use crate::{DataName, Dataset, DatasetError};

/// What the images of a part of a training set are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// To look at, tune on and break.
    Dev,
    /// To fit the confidence on, and nothing else.
    Calibrate,
    /// For the numbers in documents.
    Report,
    /// Training images `first` to `end - 1` of the published file.
    Range {
        /// The first.
        first: usize,
        /// The one after the last.
        end: usize,
    },
}

impl Block {
    /// All blocks with a name, in the order of the file.
    pub const ALL: [Self; 3] = [Self::Dev, Self::Calibrate, Self::Report];

    /// Positions of the block in the training images of a data set; none where no blocks are defined.
    ///
    /// ```
    /// use palimpsest_datasets::{Block, DataName};
    ///
    /// assert_eq!(Block::Report.positions(DataName::Cifar10), Some(1320..2000));
    /// assert_eq!("2000..3000".parse::<Block>()?.positions(DataName::Cifar10), Some(2000..3000));
    /// assert_eq!(Block::Report.positions(DataName::BreastCancer), None);
    /// # Ok::<(), palimpsest_datasets::DatasetError>(())
    /// ```
    pub fn positions(self, name: DataName) -> Option<Range<usize>> {
        let ranges = match name {
            DataName::Cifar10 => [0..660, 660..1320, 1320..2000],
            DataName::Mnist | DataName::FashionMnist => [0..3000, 3000..5000, 5000..10_000],
            DataName::Digits | DataName::BreastCancer | DataName::Npz => return None,
        };
        let [dev, calibrate, report] = ranges;
        Some(match self {
            Self::Dev => dev,
            Self::Calibrate => calibrate,
            Self::Report => report,
            Self::Range { first, end } => first..end,
        })
    }

    /// The examples of the block out of the training images as the published file has them, from its first on.
    ///
    /// # Errors
    /// [`DatasetError::Block`] when no blocks are defined or the file ends before the block does.
    pub fn cut(self, train: &Dataset, name: DataName) -> Result<Dataset, DatasetError> {
        let positions = self.positions(name).ok_or_else(|| self.undefined(name))?;
        if train.count() < positions.end {
            return Err(self.refuse(
                name,
                format!(
                    "it is the training images {} to {} and there are {}; pass a folder with more of the published \
                     file by --data-dir",
                    positions.start,
                    positions.end - 1,
                    train.count()
                ),
            ));
        }
        let rows: Vec<usize> = positions.collect();
        train.select(&rows).map(|block| self.named(block))
    }

    /// The same examples, the block being part of their name.
    pub(crate) fn named(self, examples: Dataset) -> Dataset {
        let name = format!("{}, block {self}", examples.name());
        examples.renamed(name)
    }

    /// Refuses a file that is not where positions are counted from.
    pub(crate) fn check_first_file(self, name: DataName, file: &Path) -> Result<(), DatasetError> {
        let first = file.file_name().and_then(|file| file.to_str());
        if name != DataName::Cifar10 || first.is_some_and(|file| file.starts_with("data_batch_1.bin")) {
            return Ok(());
        }
        Err(self.refuse(name, "its positions are counted from data_batch_1.bin, which is not there".into()))
    }

    pub(crate) fn not_embedded(self, name: DataName) -> DatasetError {
        self.refuse(
            name,
            "the embedded sample holds dev and report; pass a folder with the published files by --data-dir"
                .into(),
        )
    }

    pub(crate) fn undefined(self, name: DataName) -> DatasetError {
        self.refuse(
            name,
            "blocks are defined for cifar10, mnist and fashion-mnist; leave the block out to use all there is".into(),
        )
    }

    fn refuse(self, name: DataName, problem: String) -> DatasetError {
        DatasetError::Block { block: self.to_string(), name: name.to_string(), problem }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dev => f.write_str("dev"),
            Self::Calibrate => f.write_str("calibrate"),
            Self::Report => f.write_str("report"),
            Self::Range { first, end } => write!(f, "{first}..{end}"),
        }
    }
}

impl FromStr for Block {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let range = || {
            let (first, end) = text.split_once("..")?;
            let (first, end) = (first.parse().ok()?, end.parse().ok()?);
            (first < end).then_some(Self::Range { first, end })
        };
        let named = Self::ALL.into_iter().find(|block| block.to_string() == text);
        named.or_else(range).ok_or_else(|| DatasetError::UnknownBlock { got: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::InputShape;

    /// Examples whose input is their position and whose classes take turns.
    fn counted(n: usize) -> Dataset {
        let inputs = Array2::from_shape_fn((n, 1), |(i, _)| i as f32);
        let labels = (0..n).map(|i| (i % 10) as u8).collect();
        Dataset::new(inputs, labels, InputShape::Vector { len: 1 }, "counted").unwrap()
    }

    #[test]
    fn blocks_of_a_data_set_share_no_position_and_leave_no_gap() {
        for name in [DataName::Cifar10, DataName::Mnist, DataName::FashionMnist] {
            let ends: Vec<_> = Block::ALL.iter().map(|block| block.positions(name).unwrap()).collect();
            assert_eq!(ends[0].start, 0);
            assert!(ends.windows(2).all(|pair| pair[0].end == pair[1].start && !pair[0].is_empty()));
        }
    }

    #[test]
    fn a_block_holds_the_examples_at_its_positions() {
        let all = counted(2000);
        let mut seen = Vec::new();
        for block in Block::ALL {
            let part = block.cut(&all, DataName::Cifar10).unwrap();
            assert_eq!(part.name(), format!("counted, block {block}"));
            seen.extend(part.inputs().iter().map(|&v| v as usize));
        }
        assert!(seen.into_iter().eq(0..2000));
        let range = Block::Range { first: 1990, end: 2000 }.cut(&all, DataName::Cifar10).unwrap();
        assert!(range.inputs().iter().map(|&v| v as usize).eq(1990..2000));
    }

    #[test]
    fn what_is_too_short_or_has_no_blocks_is_refused_with_the_facts() {
        let message = Block::Report.cut(&counted(1999), DataName::Cifar10).unwrap_err().to_string();
        assert!(message.contains("1320 to 1999 and there are 1999"), "{message}");
        let message = Block::Dev.cut(&counted(9), DataName::Digits).unwrap_err().to_string();
        assert!(message.contains("digits") && message.contains("leave the block out"), "{message}");
        let wrong = "test".parse::<Block>().unwrap_err().to_string();
        assert!(wrong.contains("\"test\"") && wrong.contains("dev, calibrate or report"), "{wrong}");
        for block in Block::ALL.into_iter().chain([Block::Range { first: 30, end: 50 }]) {
            assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
        }
        for empty in ["50..50", "50..30", "..30", "30..", "-1..30", "30..=50"] {
            assert!(empty.parse::<Block>().is_err(), "{empty}");
        }
    }
}
