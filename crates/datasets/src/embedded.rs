//! Small samples that are part of the crate: two blocks of 500 training images and 1,000 held-out images of Fashion-MNIST
//! and of MNIST, 500 and 1,000 of 8x8 digits, and 120 training and 449 held-out rows of breast cancer measurements.
//!
//! The training images of a block are the first 250 of odd and the first 250 of even class in file order, so that a
//! balanced odd-even selection of up to 500 is the one of that block of the complete set (`dev` also that of the whole
//! set); the held-out images are the first 1,000 of the official test set. Origin and licence: `data/fashion-mnist/README.md` (MIT) and `data/mnist/README.md`
//! (CC BY-SA 3.0), cut by `examples/cut_subset.rs`; `data/digits/README.md` and `data/breast-cancer/README.md`
//! (CC BY 4.0).

use std::borrow::Cow;

use crate::catalogue::{DataName, KnownFile, Origin};
use crate::source::{unpack, verify_sha256};
use crate::split::{DataFile, Split};
use crate::{Block, DatasetError, idx, npy};

/// Embedded gzip files of one data set: training images and labels, test images and labels.
struct Files<const N: usize>([(&'static str, &'static [u8]); N]);

/// The bytes of a sample, or none where samples are left out.
#[cfg(feature = "embedded-data")]
macro_rules! sample {
    ($path:expr) => {
        include_bytes!($path)
    };
}
#[cfg(not(feature = "embedded-data"))]
macro_rules! sample {
    ($path:expr) => {
        b""
    };
}

macro_rules! files {
    ($folder:literal) => {
        Files([
            ("train-images-idx3-ubyte", sample!(concat!("../data/", $folder, "/train-images-idx3-ubyte.gz"))),
            ("train-labels-idx1-ubyte", sample!(concat!("../data/", $folder, "/train-labels-idx1-ubyte.gz"))),
            ("t10k-images-idx3-ubyte", sample!(concat!("../data/", $folder, "/t10k-images-idx3-ubyte.gz"))),
            ("t10k-labels-idx1-ubyte", sample!(concat!("../data/", $folder, "/t10k-labels-idx1-ubyte.gz"))),
        ])
    };
}

macro_rules! npz_files {
    ($folder:literal) => {
        Files([
            ("train.npz", sample!(concat!("../data/", $folder, "/train.npz"))),
            ("test.npz", sample!(concat!("../data/", $folder, "/test.npz"))),
        ])
    };
}

macro_rules! report_files {
    ($folder:literal) => {
        Files([
            (
                "report-images-idx3-ubyte",
                sample!(concat!("../data/", $folder, "/report-images-idx3-ubyte.gz")),
            ),
            (
                "report-labels-idx1-ubyte",
                sample!(concat!("../data/", $folder, "/report-labels-idx1-ubyte.gz")),
            ),
        ])
    };
}

const FASHION_MNIST: Files<4> = files!("fashion-mnist");
const MNIST: Files<4> = files!("mnist");
const FASHION_MNIST_REPORT: Files<2> = report_files!("fashion-mnist");
const MNIST_REPORT: Files<2> = report_files!("mnist");
const DIGITS: Files<2> = npz_files!("digits");
const BREAST_CANCER: Files<2> = npz_files!("breast-cancer");

/// The embedded sample of a data set, verified against its pinned checksums.
///
/// # Errors
/// [`DatasetError::NotEmbedded`] for CIFAR-10, whose authors state no licence; [`DatasetError::NoFolder`] for data of
/// one's own; [`DatasetError::LeftOut`] without the feature `embedded-data`; [`DatasetError::Checksum`] when the program is
/// damaged.
///
/// ```
/// use palimpsest_datasets::{DataName, embedded};
///
/// let split = embedded::split(DataName::Mnist)?;
/// assert_eq!((split.train.count(), split.test.count()), (500, 1000));
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
pub fn split(name: DataName) -> Result<Split, DatasetError> {
    if !cfg!(feature = "embedded-data") {
        return Err(DatasetError::LeftOut);
    }
    match name {
        DataName::FashionMnist => idx_split(name, FASHION_MNIST),
        DataName::Mnist => idx_split(name, MNIST),
        DataName::Digits => npz_split(name, DIGITS),
        DataName::BreastCancer => npz_split(name, BREAST_CANCER),
        DataName::Cifar10 => Err(DatasetError::NotEmbedded),
        DataName::Npz => Err(DatasetError::NoFolder),
    }
}

/// The embedded sample with the training images of a block; without one, as [`split`] gives it.
///
/// # Errors
/// Those of [`split`]; [`DatasetError::Block`] for a block that is not embedded.
pub(crate) fn block(name: DataName, block: Option<Block>) -> Result<Split, DatasetError> {
    let mut sample = split(name)?;
    let Some(block) = block else { return Ok(sample) };
    let report = match (block, name) {
        (Block::Dev, _) => {
            sample.train = block.named(sample.train);
            return Ok(sample);
        }
        (Block::Report, DataName::FashionMnist) => FASHION_MNIST_REPORT,
        (Block::Report, DataName::Mnist) => MNIST_REPORT,
        _ => return Err(block.not_embedded(name)),
    };
    let (unpacked, files) = verified(report, name.report_files())?;
    sample.train = block.named(idx::parse(&unpacked[0], &unpacked[1], &format!("{name} train"))?);
    sample.files.extend(files);
    Ok(sample)
}

fn idx_split(name: DataName, files: Files<4>) -> Result<Split, DatasetError> {
    let (unpacked, files) = verified(files, name.embedded_files())?;
    Ok(Split {
        train: idx::parse(&unpacked[0], &unpacked[1], &format!("{name} train"))?,
        test: idx::parse(&unpacked[2], &unpacked[3], &format!("{name} test"))?,
        files,
        readings: Vec::new(),
    })
}

fn npz_split(name: DataName, files: Files<2>) -> Result<Split, DatasetError> {
    let (bytes, files) = verified(files, name.embedded_files())?;
    Ok(Split {
        train: npy::parse_npz(&bytes[0], &format!("{name} train"))?,
        test: npy::parse_npz(&bytes[1], &format!("{name} test"))?,
        files,
        readings: Vec::new(),
    })
}

/// The bytes of files, unpacked where they are gzip, and the list of them.
type Verified = (Vec<Cow<'static, [u8]>>, Vec<DataFile>);

/// Unpacks files and compares them with their pinned checksums.
fn verified<const N: usize>(files: Files<N>, pins: &[KnownFile]) -> Result<Verified, DatasetError> {
    let mut unpacked = Vec::with_capacity(N);
    let mut listed = Vec::with_capacity(N);
    for ((file, packed), pinned) in files.0.into_iter().zip(pins) {
        let bytes = unpack(packed)?;
        verify_sha256(&bytes, pinned.sha256)?;
        unpacked.push(bytes);
        listed.push(DataFile { name: file.into(), sha256: pinned.sha256.into(), origin: Origin::Embedded });
    }
    Ok((unpacked, listed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;

    #[test]
    fn both_samples_serve_balanced_selections_up_to_all_they_have() {
        let task: Task = "odd-even".parse().unwrap();
        for name in [DataName::FashionMnist, DataName::Mnist] {
            let split = split(name).unwrap();
            assert_eq!(split.train.shape().to_string(), "1x28x28");
            let all = task.balanced(&split.train, 500).unwrap();
            assert_eq!(all.dataset, split.train);
            assert_eq!(all.rows, (0..500).collect::<Vec<_>>());
            assert_eq!(task.held_out(&split.test, 1000).unwrap().dataset, split.test);
            assert!(task.balanced(&split.train, 502).unwrap_err().to_string().contains("--data-dir"));
        }
    }

    #[test]
    fn the_report_block_is_balanced_too_and_shares_no_image_with_dev() {
        let task: Task = "odd-even".parse().unwrap();
        for name in [DataName::FashionMnist, DataName::Mnist] {
            let [dev, report] = [Block::Dev, Block::Report].map(|part| block(name, Some(part)).unwrap());
            assert_eq!(task.balanced(&report.train, 500).unwrap().dataset, report.train);
            assert_eq!((dev.files.len(), report.files.len()), (4, 6));
            assert_eq!(dev.test, report.test);
            for image in report.train.inputs().rows() {
                assert!(dev.train.inputs().rows().into_iter().all(|other| other != image));
            }
        }
    }

    #[test]
    fn digits_are_pictures_and_breast_cancer_is_a_table_with_named_columns() {
        let digits = split(DataName::Digits).unwrap();
        assert_eq!(digits.train.shape().to_string(), "1x8x8");
        assert_eq!((digits.train.count(), digits.test.count()), (500, 1000));
        let table = split(DataName::BreastCancer).unwrap();
        assert_eq!(table.train.shape(), crate::InputShape::Vector { len: 30 });
        assert_eq!((table.train.count(), table.test.count()), (120, 449));
        assert_eq!(DataName::BreastCancer.columns().len(), 30);
        // The first row of the published file: a malignant tumour of mean radius 17.99.
        assert_eq!((table.train.inputs()[[0, 0]], table.train.labels()[0]), (17.99, 0));
        assert!("0/1".parse::<Task>().unwrap().balanced(&table.train, 120).is_ok());
    }

    #[test]
    fn the_readme_beside_the_files_states_the_pinned_checksums() {
        let readme = |name| match name {
            DataName::FashionMnist => include_str!("../data/fashion-mnist/README.md"),
            DataName::Digits => include_str!("../data/digits/README.md"),
            DataName::BreastCancer => include_str!("../data/breast-cancer/README.md"),
            _ => include_str!("../data/mnist/README.md"),
        };
        for name in [DataName::FashionMnist, DataName::Mnist, DataName::Digits, DataName::BreastCancer] {
            for file in name.embedded_files().iter().chain(name.report_files()) {
                assert!(
                    readme(name).contains(&format!("{}  {}", file.sha256, file.name)),
                    "{name}: {}",
                    file.name
                );
            }
        }
    }

    #[test]
    fn cifar_is_not_embedded_and_the_message_says_where_to_get_it() {
        let message = split(DataName::Cifar10).unwrap_err().to_string();
        assert!(message.contains("--data-dir") && message.contains("licence"), "{message}");
    }
}
