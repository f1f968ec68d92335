//! Where published data sets are to be had, and under which terms.

use palimpsest_datasets::DataName;

/// What is fetched for a data set.
pub(super) struct Source {
    /// Addresses that hold the downloads, best first.
    pub(super) mirrors: Vec<String>,
    /// The downloads, by their names under a mirror.
    pub(super) downloads: Vec<Download>,
    /// Under which licence its authors publish it.
    pub(super) licence: &'static str,
    /// Whom to cite.
    pub(super) citation: &'static str,
}

/// A packed file and what is in it.
pub(super) struct Download {
    pub(super) name: String,
    pub(super) packing: Packing,
    pub(super) files: Vec<Pinned>,
}

/// How files are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// One file, by gzip.
    Gz,
    /// An archive of several, by gzip.
    TarGz,
}

/// A file and the SHA-256 of its bytes.
#[derive(Clone, Debug)]
pub(super) struct Pinned {
    pub(super) name: String,
    pub(super) sha256: String,
}

impl Source {
    /// That of a data set; none for those that are not fetched.
    pub(super) fn of(name: DataName) -> Option<Self> {
        let pinned: Vec<Pinned> = name
            .official_files()
            .iter()
            .map(|file| Pinned { name: file.name.into(), sha256: file.sha256.into() })
            .collect();
        let (mirrors, licence, citation): (&[&str], _, _) = match name {
            DataName::FashionMnist => {
                (&FASHION_MNIST, "MIT, Copyright (c) 2017 Zalando SE", FASHION_CITATION)
            }
            DataName::Mnist => (&MNIST, "CC BY-SA 3.0", MNIST_CITATION),
            DataName::Cifar10 => (&CIFAR, "its authors state none; do not pass it on", CIFAR_CITATION),
            DataName::Digits | DataName::BreastCancer | DataName::Npz => return None,
        };
        let downloads = match name {
            DataName::Cifar10 => {
                vec![Download {
                    name: "cifar-10-binary.tar.gz".into(),
                    packing: Packing::TarGz,
                    files: pinned,
                }]
            }
            _ => pinned.into_iter().map(Download::gzipped).collect(),
        };
        let mirrors = mirrors.iter().map(|&mirror| mirror.into()).collect();
        Some(Self { mirrors, downloads, licence, citation })
    }
}

impl Download {
    pub(super) fn gzipped(file: Pinned) -> Self {
        Self { name: format!("{}.gz", file.name), packing: Packing::Gz, files: vec![file] }
    }
}

static FASHION_MNIST: [&str; 4] = [
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/gluon/dataset/fashion-mnist/",
];
static MNIST: [&str; 4] = [
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/gluon/dataset/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
];
static CIFAR: [&str; 3] = [
    "https://www.cs.toronto.edu/~kriz/",
    "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/gluon/dataset/cifar10/",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
];

const FASHION_CITATION: &str = "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning \
     algorithms, arXiv:1708.07747, 2017";
const MNIST_CITATION: &str =
    "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998";
const CIFAR_CITATION: &str = "A. Krizhevsky: Learning multiple layers of features from tiny images, technical report, University of Toronto, 2009";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_mirrors_pins_and_terms() {
        for (name, files) in [(DataName::Cifar10, 6), (DataName::Mnist, 4), (DataName::FashionMnist, 4)] {
            let source = Source::of(name).unwrap();
            assert!(source.mirrors.len() >= 3 && source.mirrors.iter().all(|mirror| mirror.ends_with('/')));
            let pinned: Vec<&Pinned> = source.downloads.iter().flat_map(|download| &download.files).collect();
            assert_eq!(pinned.len(), files);
            let is_hex =
                |pin: &&Pinned| pin.sha256.len() == 64 && pin.sha256.chars().all(|c| c.is_ascii_hexdigit());
            assert!(pinned.iter().all(is_hex));
            assert!(!source.licence.is_empty() && !source.citation.is_empty());
        }
        assert!(Source::of(DataName::Digits).is_none() && Source::of(DataName::Npz).is_none());
    }
}
