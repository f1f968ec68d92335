//! Small samples that are part of the crate: 500 training and 1,000 held-out images of Fashion-MNIST, of MNIST and of 8x8
//! digits, and 120 training and 449 held-out rows of breast cancer measurements.
//!
//! The training images are the first 250 of odd and the first 250 of even class in file order, so that a balanced
//! odd-even selection of up to 500 is the one of the complete set; the held-out images are the first 1,000 of the
//! official test set. Origin and licence: `data/fashion-mnist/README.md` (MIT) and `data/mnist/README.md`
//! (CC BY-SA 3.0), cut by `examples/cut_subset.rs`; `data/digits/README.md` and `data/breast-cancer/README.md`
//! (CC BY 4.0).

use std::borrow::Cow;

use crate::catalogue::{DataFile, DataName, Origin, Split};
use crate::source::{unpack, verify_sha256};
use crate::{DatasetError, idx, npy};

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

const FASHION_MNIST: Files<4> = files!("fashion-mnist");
const MNIST: Files<4> = files!("mnist");
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

fn idx_split(name: DataName, files: Files<4>) -> Result<Split, DatasetError> {
    let (unpacked, files) = verified(name, files)?;
    Ok(Split {
        train: idx::parse(&unpacked[0], &unpacked[1], &format!("{name} train"))?,
        test: idx::parse(&unpacked[2], &unpacked[3], &format!("{name} test"))?,
        files,
    })
}

fn npz_split(name: DataName, files: Files<2>) -> Result<Split, DatasetError> {
    let (bytes, files) = verified(name, files)?;
    Ok(Split {
        train: npy::parse_npz(&bytes[0], &format!("{name} train"))?,
        test: npy::parse_npz(&bytes[1], &format!("{name} test"))?,
        files,
    })
}

/// The bytes of files, unpacked where they are gzip, and the list of them.
type Verified = (Vec<Cow<'static, [u8]>>, Vec<DataFile>);

/// Unpacks files and compares them with their pinned checksums.
fn verified<const N: usize>(name: DataName, files: Files<N>) -> Result<Verified, DatasetError> {
    let mut unpacked = Vec::with_capacity(N);
    let mut listed = Vec::with_capacity(N);
    for ((file, packed), pinned) in files.0.into_iter().zip(name.embedded_files()) {
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
            for file in name.embedded_files() {
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
