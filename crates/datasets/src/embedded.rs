//! Small samples that are part of the crate: 500 training and 1,000 held-out images of Fashion-MNIST and of MNIST.
//!
//! The training images are the first 250 of odd and the first 250 of even class in file order, so that a balanced
//! odd-even selection of up to 500 is the one of the complete set; the held-out images are the first 1,000 of the
//! official test set. Origin and licence: `data/fashion-mnist/README.md` (MIT) and `data/mnist/README.md`
//! (CC BY-SA 3.0). `examples/cut_subset.rs` cut them.

use crate::catalogue::{DataFile, DataName, Origin, Split};
use crate::source::{unpack, verify_sha256};
use crate::{DatasetError, idx};

/// Embedded gzip files of one data set: training images and labels, test images and labels.
struct Files([(&'static str, &'static [u8]); 4]);

macro_rules! files {
    ($folder:literal) => {
        Files([
            (
                "train-images-idx3-ubyte",
                include_bytes!(concat!("../data/", $folder, "/train-images-idx3-ubyte.gz")),
            ),
            (
                "train-labels-idx1-ubyte",
                include_bytes!(concat!("../data/", $folder, "/train-labels-idx1-ubyte.gz")),
            ),
            (
                "t10k-images-idx3-ubyte",
                include_bytes!(concat!("../data/", $folder, "/t10k-images-idx3-ubyte.gz")),
            ),
            (
                "t10k-labels-idx1-ubyte",
                include_bytes!(concat!("../data/", $folder, "/t10k-labels-idx1-ubyte.gz")),
            ),
        ])
    };
}

const FASHION_MNIST: Files = files!("fashion-mnist");
const MNIST: Files = files!("mnist");

/// The embedded sample of a data set, verified against its pinned checksums.
///
/// # Errors
/// [`DatasetError::NotEmbedded`] for CIFAR-10, whose authors state no licence; [`DatasetError::Checksum`] when the
/// program is damaged.
///
/// ```
/// use palimpsest_datasets::{DataName, embedded};
///
/// let split = embedded::split(DataName::Mnist)?;
/// assert_eq!((split.train.count(), split.test.count()), (500, 1000));
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
pub fn split(name: DataName) -> Result<Split, DatasetError> {
    let Files(files) = match name {
        DataName::FashionMnist => FASHION_MNIST,
        DataName::Mnist => MNIST,
        DataName::Cifar10 => return Err(DatasetError::NotEmbedded),
    };
    let mut unpacked = Vec::with_capacity(files.len());
    let mut listed = Vec::with_capacity(files.len());
    for ((file, packed), pinned) in files.into_iter().zip(name.embedded_files()) {
        let bytes = unpack(packed)?;
        verify_sha256(&bytes, pinned.sha256)?;
        unpacked.push(bytes);
        listed.push(DataFile { name: file.into(), sha256: pinned.sha256.into(), origin: Origin::Embedded });
    }
    Ok(Split {
        train: idx::parse(&unpacked[0], &unpacked[1], &format!("{name} train"))?,
        test: idx::parse(&unpacked[2], &unpacked[3], &format!("{name} test"))?,
        files: listed,
    })
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
    fn the_readme_beside_the_files_states_the_pinned_checksums() {
        let readme = |name| match name {
            DataName::FashionMnist => include_str!("../data/fashion-mnist/README.md"),
            _ => include_str!("../data/mnist/README.md"),
        };
        for name in [DataName::FashionMnist, DataName::Mnist] {
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
