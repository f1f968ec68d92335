//! The data sets known by name: their files, the pinned checksums, and loading from a folder or from the embedded
//! samples.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::source::{read, sha256};
use crate::{Dataset, DatasetError, cifar, embedded, idx, npy};

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

/// A file that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Path, or name of an embedded file.
    pub name: PathBuf,
    /// SHA-256 of the unpacked bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// What the checksum says about it.
    pub origin: Origin,
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

/// Training and held-out examples that do not overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Examples to train on.
    pub train: Dataset,
    /// Separate examples that no training may see.
    pub test: Dataset,
    /// The files they came from, in the order they were read.
    pub files: Vec<DataFile>,
}

const NAMES: [DataName; 6] = [
    DataName::FashionMnist,
    DataName::Mnist,
    DataName::Cifar10,
    DataName::Digits,
    DataName::BreastCancer,
    DataName::Npz,
];
const NPZ_FILES: [&str; 2] = ["train.npz", "test.npz"];
const CIFAR_FOLDER: &str = "cifar-10-batches-bin";
const IDX_FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

impl DataName {
    /// Files of the complete data set with their pinned checksums: training images and labels, test images and labels.
    ///
    /// Empty where no published checksum is known.
    ///
    /// # Source
    /// Fashion-MNIST: computed from the files of the Debian package `dataset-fashion-mnist`. MNIST: the test files
    /// computed from an independent copy; the training files as several public projects pin them alike.
    pub fn official_files(self) -> &'static [KnownFile] {
        match self {
            DataName::FashionMnist => &FASHION_MNIST_OFFICIAL,
            DataName::Mnist => &MNIST_OFFICIAL,
            DataName::Cifar10 | DataName::Digits | DataName::BreastCancer | DataName::Npz => &[],
        }
    }

    /// Names of the columns of a table; empty for pictures and for data of one's own.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            DataName::BreastCancer => &BREAST_CANCER_COLUMNS,
            _ => &[],
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

/// Training and test set of a folder, or the embedded sample when no folder is given.
///
/// A folder holds the files under their published names, plain or with `.gz`: `train-images-idx3-ubyte`,
/// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`; for CIFAR-10 those of
/// `data_batch_1.bin` to `data_batch_5.bin` that are there (at least one) and `test_batch.bin`, also in a subfolder
/// `cifar-10-batches-bin`; for the others `train.npz` and `test.npz`, each with the arrays of [`crate::npy`]. Subsets are welcome; [`Split::files`] tells their checksums.
///
/// # Errors
/// [`DatasetError::NotEmbedded`] for CIFAR-10 without a folder, [`DatasetError::NotFound`] for a missing file,
/// [`DatasetError::WrongFile`] when a checksum is that of another known file (MNIST and Fashion-MNIST use the same
/// names), and the errors of the readers.
///
/// ```
/// use palimpsest_datasets::{DataName, load};
///
/// let split = load(DataName::FashionMnist, None)?;
/// assert_eq!(split.train.inputs().dim(), (500, 784));
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
pub fn load(name: DataName, data_dir: Option<&Path>) -> Result<Split, DatasetError> {
    match (data_dir, name) {
        (None, _) => embedded::split(name),
        (Some(dir), DataName::Cifar10) => load_cifar(dir),
        (Some(dir), DataName::FashionMnist | DataName::Mnist) => load_idx(name, dir),
        (Some(dir), DataName::Digits | DataName::BreastCancer | DataName::Npz) => load_npz(name, dir),
    }
}

fn load_idx(name: DataName, dir: &Path) -> Result<Split, DatasetError> {
    let mut files = Vec::new();
    let mut part = |[images, labels]: [&str; 2], which: &str| {
        let (image_path, images) = fetch(name, &[dir.to_owned()], images, &mut files)?;
        let (label_path, labels) = fetch(name, &[dir.to_owned()], labels, &mut files)?;
        let images = idx::parse_images(&images).map_err(|e| e.in_file(&image_path))?;
        let labels = idx::parse_labels(&labels).map_err(|e| e.in_file(&label_path))?;
        idx::from_parts(images, labels, &format!("{name} {which}"))
    };
    let train = part([IDX_FILES[0], IDX_FILES[1]], "train")?;
    let test = part([IDX_FILES[2], IDX_FILES[3]], "test")?;
    Ok(Split { train, test, files })
}

fn load_cifar(dir: &Path) -> Result<Split, DatasetError> {
    let name = DataName::Cifar10;
    let dirs = [dir.to_owned(), dir.join(CIFAR_FOLDER)];
    let mut files = Vec::new();
    let mut part = |file: &str, which: &str| {
        let (path, bytes) = fetch(name, &dirs, file, &mut files)?;
        cifar::parse(&bytes, &format!("{name} {which}")).map_err(|e| e.in_file(&path))
    };
    let mut batches = Vec::new();
    for batch in 1..=5 {
        match part(&format!("data_batch_{batch}.bin"), "train") {
            Ok(data) => batches.push(data),
            Err(DatasetError::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    if batches.is_empty() {
        return Err(not_found(dir, "data_batch_1.bin .. data_batch_5.bin"));
    }
    let test = part("test_batch.bin", "test")?;
    Ok(Split { train: Dataset::concat(&batches, format!("{name} train"))?, test, files })
}

fn load_npz(name: DataName, dir: &Path) -> Result<Split, DatasetError> {
    let mut files = Vec::new();
    let mut part = |file: &str, which: &str| {
        let (path, bytes) = fetch(name, &[dir.to_owned()], file, &mut files)?;
        npy::parse_npz(&bytes, &format!("{name} {which}")).map_err(|e| e.in_file(&path))
    };
    let (train, test) = (part(NPZ_FILES[0], "train")?, part(NPZ_FILES[1], "test")?);
    if train.shape() != test.shape() {
        let problem =
            format!("train.npz has inputs of {} values and test.npz of {}", train.shape(), test.shape());
        return Err(DatasetError::Invalid { name: name.to_string(), problem });
    }
    Ok(Split { train, test, files })
}

/// Reads the first of the possible places of a file, unpacked, and notes it with its checksum.
fn fetch(
    name: DataName,
    dirs: &[PathBuf],
    file: &str,
    files: &mut Vec<DataFile>,
) -> Result<(PathBuf, Vec<u8>), DatasetError> {
    let packed = format!("{file}.gz");
    let mut places = dirs.iter().flat_map(|dir| [dir.join(file), dir.join(&packed)]);
    let path = places.find(|path| path.exists()).ok_or_else(|| not_found(&dirs[0], file))?;
    let bytes = read(&path)?;
    let sum = sha256(&bytes);
    let origin = match recognise(&sum) {
        None => Origin::Unrecognised,
        Some((known, known_file, origin)) if (known, known_file) == (name, file) => origin,
        Some((known, known_file, _)) => {
            let (is, expected) = (format!("{known_file} of {known}"), format!("{file} of {name}"));
            return Err(DatasetError::WrongFile { path, is, expected });
        }
    };
    files.push(DataFile { name: path.clone(), sha256: sum, origin });
    Ok((path, bytes))
}

fn not_found(dir: &Path, file: &str) -> DatasetError {
    DatasetError::NotFound { dir: dir.to_owned(), looked_for: format!("{file}[.gz]") }
}

fn recognise(sum: &str) -> Option<(DataName, &'static str, Origin)> {
    let known = NAMES.into_iter().flat_map(|name| {
        let official = name.official_files().iter().map(move |file| (name, file, Origin::Official));
        official.chain(name.embedded_files().iter().map(move |file| (name, file, Origin::Embedded)))
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
    use std::fs;

    use super::*;
    use crate::Task;

    /// Lays the embedded files of a data set into a folder, unpacked.
    fn lay_out(name: DataName, dir: &Path) {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name.to_string());
        for file in IDX_FILES {
            fs::write(dir.join(file), read(&data.join(format!("{file}.gz"))).unwrap()).unwrap();
        }
    }

    /// The folder with the lossless subsets, beside the work tree; tests that need it are skipped without it.
    fn shared(data: &str) -> Option<PathBuf> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(data);
        if !dir.is_dir() {
            println!("skipped: {} is not there", dir.display());
        }
        dir.is_dir().then_some(dir)
    }

    #[test]
    fn names_are_written_as_they_are_read() {
        for name in NAMES {
            assert_eq!(name.to_string().parse::<DataName>().unwrap(), name);
        }
        assert!(
            "MNIST".parse::<DataName>().unwrap_err().to_string().contains("fashion-mnist, mnist, digits")
        );
    }

    #[test]
    fn a_folder_gives_what_is_embedded_whether_packed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in [DataName::FashionMnist, DataName::Mnist] {
            let embedded = load(name, None).unwrap();
            lay_out(name, dir.path());
            let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name.to_string());
            for folder in [dir.path(), &packed] {
                let split = load(name, Some(folder)).unwrap();
                assert_eq!((&split.train, &split.test), (&embedded.train, &embedded.test));
                assert!(split.files.iter().all(|file| file.origin == Origin::Embedded));
            }
        }
    }

    #[test]
    fn files_of_the_other_data_set_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        lay_out(DataName::Mnist, dir.path());
        let message = load(DataName::FashionMnist, Some(dir.path())).unwrap_err().to_string();
        assert!(message.contains("of mnist, but train-images-idx3-ubyte of fashion-mnist"), "{message}");
        fs::copy(dir.path().join(IDX_FILES[0]), dir.path().join(IDX_FILES[2])).unwrap();
        assert!(matches!(load(DataName::Mnist, Some(dir.path())), Err(DatasetError::WrongFile { .. })));
    }

    #[test]
    fn missing_and_damaged_files_are_named_and_own_data_are_welcome() {
        let dir = tempfile::tempdir().unwrap();
        let message = || load(DataName::Mnist, Some(dir.path())).unwrap_err().to_string();
        assert!(message().contains("train-images-idx3-ubyte[.gz]"));
        lay_out(DataName::Mnist, dir.path());
        let labels = dir.path().join(IDX_FILES[3]);
        let mut bytes = fs::read(&labels).unwrap();
        fs::write(&labels, &bytes[..100]).unwrap();
        assert!(message().contains("t10k-labels"));
        bytes[8] ^= 1;
        fs::write(&labels, &bytes).unwrap();
        let files = load(DataName::Mnist, Some(dir.path())).unwrap().files;
        assert_eq!((files[3].origin, &files[3].sha256), (Origin::Unrecognised, &sha256(&bytes)));
        fs::remove_file(&labels).unwrap();
        assert!(message().contains("t10k-labels-idx1-ubyte[.gz]"));
    }

    #[test]
    fn cifar_batches_are_joined_in_order_from_either_folder() {
        let dir = tempfile::tempdir().unwrap();
        let record = |label: u8| [&[label][..], &[10 * label; 3072]].concat();
        let sub = dir.path().join(CIFAR_FOLDER);
        fs::create_dir(&sub).unwrap();
        let message = load(DataName::Cifar10, Some(dir.path())).unwrap_err().to_string();
        assert!(message.contains("data_batch_1.bin .. data_batch_5.bin[.gz]"), "{message}");
        fs::write(sub.join("data_batch_5.bin"), record(5)).unwrap();
        fs::write(sub.join("data_batch_2.bin"), [record(2), record(3)].concat()).unwrap();
        assert!(
            load(DataName::Cifar10, Some(dir.path())).unwrap_err().to_string().contains("test_batch.bin")
        );
        fs::write(dir.path().join("test_batch.bin"), record(9)).unwrap();
        let split = load(DataName::Cifar10, Some(dir.path())).unwrap();
        assert_eq!((split.train.labels(), split.test.labels()), (&[2, 3, 5][..], &[9][..]));
        assert_eq!(split.train.inputs()[[1, 7]], 30.0 / 255.0);
        assert_eq!(split.files.len(), 3);
    }

    #[test]
    fn the_lossless_mnist_subset_agrees_with_the_pins_and_the_sample() {
        let Some(dir) = shared("mnist") else { return };
        let split = load(DataName::Mnist, Some(&dir)).unwrap();
        let origins: Vec<_> = split.files.iter().map(|file| file.origin).collect();
        // The training part there is the first 10,000 images, the test part is complete.
        assert_eq!(origins, [Origin::Unrecognised, Origin::Unrecognised, Origin::Official, Origin::Official]);
        let (task, sample) = ("odd-even".parse::<Task>().unwrap(), load(DataName::Mnist, None).unwrap());
        for n in [2, 100, 500] {
            let (full, small) =
                (task.balanced(&split.train, n).unwrap(), task.balanced(&sample.train, n).unwrap());
            assert_eq!((full.dataset, full.signs), (small.dataset, small.signs), "n = {n}");
        }
        assert_eq!(task.held_out(&split.test, 1000).unwrap().dataset, sample.test);
    }

    #[test]
    fn the_lossless_cifar_subset_has_the_known_vehicles() {
        let Some(dir) = shared("cifar10") else { return };
        let split = load(DataName::Cifar10, Some(&dir)).unwrap();
        let task: Task = "animals-vehicles".parse().unwrap();
        let vehicles = |data: &Dataset| data.labels().iter().filter(|&&c| task.sign(c) == Some(-1.0)).count();
        assert_eq!((split.train.count(), vehicles(&split.train)), (2000, 799));
        assert_eq!((split.test.count(), vehicles(&split.test)), (1000, 407));
    }
}
