//! The data sets known by name: their files and the pinned checksums.

use std::fmt;
use std::str::FromStr;

use crate::DatasetError;

/// A data set known by name: `fashion-mnist`, `mnist`, `digits`, `breast-cancer`, `cifar10` or, for data of one's own,
/// `npz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataName {
    /// Zalando's articles of clothing, 28 x 28 grey.
    FashionMnist,
    /// Handwritten digits, 28 x 28 grey.
    Mnist,
    /// Animals and vehicles, 32 x 32 colour.
    Cifar10,
    /// Handwritten digits, 8 x 8 grey.
    Digits,
    /// Thirty measurements of cell nuclei: a table, no pictures.
    BreastCancer,
    /// Data of one's own: `train.npz` and `test.npz` in a folder.
    Npz,
}

/// A file whose content is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Name of the unpacked file, without `.gz`.
    pub name: &'static str,
    /// SHA-256 of the unpacked bytes, 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
}

/// What is known of a file by its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The complete file as its authors published it.
    Official,
    /// The sample that is part of this crate.
    Embedded,
    /// Not known here: a subset or data of one's own. Worth printing beside every result.
    Unrecognised,
}

const NAMES: [DataName; 6] = [
    DataName::FashionMnist,
    DataName::Mnist,
    DataName::Cifar10,
    DataName::Digits,
    DataName::BreastCancer,
    DataName::Npz,
];
pub(crate) const NPZ_FILES: [&str; 2] = ["train.npz", "test.npz"];
pub(crate) const CIFAR_FOLDER: &str = "cifar-10-batches-bin";
/// Files of the sample's `report` block.
pub(crate) const REPORT_FILES: [&str; 2] = ["report-images-idx3-ubyte", "report-labels-idx1-ubyte"];
pub(crate) const IDX_FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

impl DataName {
    /// Files of the complete data set with their pinned checksums: training images and labels, test images and labels; of CIFAR-10
    /// the five training batches and the test batch.
    ///
    /// Empty where no published checksum is known.
    ///
    /// # Source
    /// Fashion-MNIST: computed from the files of the Debian package `dataset-fashion-mnist`. MNIST: the test files
    /// computed from an independent copy; the training files as several public projects pin them alike. CIFAR-10: the six files
    /// as the Ruby torchvision pins them; never computed here from the whole files.
    pub fn official_files(self) -> &'static [KnownFile] {
        match self {
            DataName::FashionMnist => &FASHION_MNIST_OFFICIAL,
            DataName::Mnist => &MNIST_OFFICIAL,
            DataName::Cifar10 => &CIFAR_OFFICIAL,
            DataName::Digits | DataName::BreastCancer | DataName::Npz => &[],
        }
    }

    /// Names of the columns of a table; empty for pictures and for data of one's own.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            DataName::BreastCancer => &BREAST_CANCER_COLUMNS,
            _ => &[],
        }
    }

    /// Names of the classes, in the order of their numbers; empty where the numbers are the names, and for data of one's own.
    ///
    /// ```
    /// assert_eq!(palimpsest_datasets::DataName::Cifar10.class_names()[3], "cat");
    /// assert!(palimpsest_datasets::DataName::Mnist.class_names().is_empty());
    /// ```
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            DataName::FashionMnist => &FASHION_MNIST_CLASSES,
            DataName::Cifar10 => &CIFAR10_CLASSES,
            DataName::Mnist | DataName::Digits | DataName::BreastCancer | DataName::Npz => &[],
        }
    }

    /// The embedded sample's files of its `report` block: images and labels; empty where there is none.
    pub(crate) fn report_files(self) -> &'static [KnownFile] {
        match self {
            DataName::FashionMnist => &FASHION_MNIST_REPORT,
            DataName::Mnist => &MNIST_REPORT,
            DataName::Cifar10 | DataName::Digits | DataName::BreastCancer | DataName::Npz => &[],
        }
    }

    /// The embedded sample's files, in the same order; empty where nothing is embedded.
    pub(crate) fn embedded_files(self) -> &'static [KnownFile] {
        match self {
            DataName::FashionMnist => &FASHION_MNIST_EMBEDDED,
            DataName::Mnist => &MNIST_EMBEDDED,
            DataName::Digits => &DIGITS_EMBEDDED,
            DataName::BreastCancer => &BREAST_CANCER_EMBEDDED,
            DataName::Cifar10 | DataName::Npz => &[],
        }
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataName::FashionMnist => "fashion-mnist",
            DataName::Mnist => "mnist",
            DataName::Cifar10 => "cifar10",
            DataName::Digits => "digits",
            DataName::BreastCancer => "breast-cancer",
            DataName::Npz => "npz",
        })
    }
}

impl FromStr for DataName {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<DataName, DatasetError> {
        let unknown = || DatasetError::UnknownName { got: text.to_owned() };
        NAMES.into_iter().find(|name| name.to_string() == text).ok_or_else(unknown)
    }
}

/// The known file that has a checksum.
pub(crate) fn recognise(sum: &str) -> Option<(DataName, &'static str, Origin)> {
    let known = NAMES.into_iter().flat_map(|name| {
        let official = name.official_files().iter().map(move |file| (name, file, Origin::Official));
        let embedded = name.embedded_files().iter().chain(name.report_files());
        official.chain(embedded.map(move |file| (name, file, Origin::Embedded)))
    });
    known
        .filter(|(_, file, _)| file.sha256 == sum)
        .map(|(name, file, origin)| (name, file.name, origin))
        .next()
}

const fn pinned(sums: [&'static str; 4]) -> [KnownFile; 4] {
    let [a, b, c, d] = sums;
    [
        KnownFile { name: IDX_FILES[0], sha256: a },
        KnownFile { name: IDX_FILES[1], sha256: b },
        KnownFile { name: IDX_FILES[2], sha256: c },
        KnownFile { name: IDX_FILES[3], sha256: d },
    ]
}

static FASHION_MNIST_OFFICIAL: [KnownFile; 4] = pinned([
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
]);
static MNIST_OFFICIAL: [KnownFile; 4] = pinned([
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
]);
static CIFAR_OFFICIAL: [KnownFile; 6] = [
    KnownFile {
        name: "data_batch_1.bin",
        sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    },
    KnownFile {
        name: "data_batch_2.bin",
        sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    },
    KnownFile {
        name: "data_batch_3.bin",
        sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    },
    KnownFile {
        name: "data_batch_4.bin",
        sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    },
    KnownFile {
        name: "data_batch_5.bin",
        sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    KnownFile {
        name: "test_batch.bin",
        sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
];
static FASHION_MNIST_EMBEDDED: [KnownFile; 4] = pinned([
    "d11f5b816cfb894ea06523b538f0d80b5f9d19c53b7fca7ad25fc8d8107ce201",
    "364ae7aa560e20e4aec89ff6189380a9586a0d64bccd6055c780361c26278f03",
    "7a6d8e07ea021ec5bc73135ebd0a5770799557ec6f8242d8749c4f32a3cf4643",
    "b40abac7ec8228f434940f579deb7cf7b6e3103b5274cb91d1545771f5ef1c8b",
]);
static MNIST_EMBEDDED: [KnownFile; 4] = pinned([
    "0529cb20b59c4c465eee0d0cae8efb7cb7635bd008aaf48f6c98e2b83866ff93",
    "4c76be0296c3f80a0b58935c3eaccf97a2ee9b8868b9d7607b3b5d56cb389705",
    "de7c252b04f05e1f8309634180ccdf286dc6dbac8c579b74e76e02ae0331ca52",
    "832c0d20f0dc42e575488c75a83a970787d4c8d4d05831b2ef03701b4a478a90",
]);
static FASHION_MNIST_REPORT: [KnownFile; 2] = [
    KnownFile {
        name: REPORT_FILES[0],
        sha256: "b4f43296ebef2eed1f1182c3c09504b64ef54d39e3c677e2c75b9fdd8f374399",
    },
    KnownFile {
        name: REPORT_FILES[1],
        sha256: "01787aea887027b3b9b31fd82a2a0cb49924c65cc5049ca94f8be05668f6ea46",
    },
];
static MNIST_REPORT: [KnownFile; 2] = [
    KnownFile {
        name: REPORT_FILES[0],
        sha256: "4c169738343b45e8829434aea75b30d4fa9da652cee081f455fa0f7d9f6df59a",
    },
    KnownFile {
        name: REPORT_FILES[1],
        sha256: "eea0089512a1dd25bf7025d636574ffb6b3418f9a957ba871f6ada9f6112a1e3",
    },
];

static DIGITS_EMBEDDED: [KnownFile; 2] = [
    KnownFile {
        name: NPZ_FILES[0],
        sha256: "ebe6529a6352a020e074a94b6d9901e2d7ebc4b88cd18a167da7f826b74b7c7a",
    },
    KnownFile {
        name: NPZ_FILES[1],
        sha256: "dd507888272ccb84a1707bf8cdc7a01fb41718d50b45f3b6fbf9b7430a0e5d2c",
    },
];
static BREAST_CANCER_EMBEDDED: [KnownFile; 2] = [
    KnownFile {
        name: NPZ_FILES[0],
        sha256: "82f820cebccede63cf14f9fd5f77a4f03b3bb74e7a2765d635e7e46ab8bd8da7",
    },
    KnownFile {
        name: NPZ_FILES[1],
        sha256: "b4f9de827864cb9777cb6d5451a8f6001e2c1f7f69180f6172c80bb01f75a219",
    },
];
static FASHION_MNIST_CLASSES: [&str; 10] =
    ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

static CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

static BREAST_CANCER_COLUMNS: [&str; 30] = [
    "mean radius",
    "mean texture",
    "mean perimeter",
    "mean area",
    "mean smoothness",
    "mean compactness",
    "mean concavity",
    "mean concave points",
    "mean symmetry",
    "mean fractal dimension",
    "radius error",
    "texture error",
    "perimeter error",
    "area error",
    "smoothness error",
    "compactness error",
    "concavity error",
    "concave points error",
    "symmetry error",
    "fractal dimension error",
    "worst radius",
    "worst texture",
    "worst perimeter",
    "worst area",
    "worst smoothness",
    "worst compactness",
    "worst concavity",
    "worst concave points",
    "worst symmetry",
    "worst fractal dimension",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_read() {
        for name in NAMES {
            assert_eq!(name.to_string().parse::<DataName>().unwrap(), name);
        }
        assert!(
            "MNIST".parse::<DataName>().unwrap_err().to_string().contains("fashion-mnist, mnist, digits")
        );
    }
}
