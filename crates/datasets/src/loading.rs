//! Loading a data set: from a folder with the published files, or from the embedded sample.

use std::path::{Path, PathBuf};

use crate::catalogue::{CIFAR_FOLDER, DataName, IDX_FILES, NPZ_FILES, Origin, REPORT_FILES, recognise};
use crate::source::{read, sha256};
use crate::split::{DataFile, Split};
use crate::{Block, Dataset, DatasetError, Declared, Reading, cifar, embedded, idx, npy};

/// Which part of a data set to load, and from where; the default is all of the embedded sample's `dev` images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadParams<'a> {
    /// Folder with the files; without it the embedded sample.
    pub data_dir: Option<&'a Path>,
    /// Training images of one block only; without it those of the whole files (of the embedded sample, its `dev` block).
    pub block: Option<Block>,
    /// What archives of one's own (`npz`) do not say of their arrays.
    pub declared: Declared,
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
    load_with(name, &LoadParams { data_dir, ..LoadParams::default() })
}

/// What [`load`] loads, or a block of it, or rows of one's own as images of a declared shape.
///
/// # Errors
/// Those of [`load`], and [`DatasetError::Block`] when no blocks are defined for the data set or the block is not in the
/// files.
///
/// ```
/// use palimpsest_datasets::{Block, DataName, LoadParams, load_with};
///
/// let block = |block| load_with(DataName::Mnist, &LoadParams { block, ..LoadParams::default() });
/// assert_eq!(block(Some(Block::Dev))?.train.inputs(), block(None)?.train.inputs());
/// assert_eq!(block(Some(Block::Report))?.train.count(), 500);
/// assert!(block(Some(Block::Calibrate)).is_err()); // needs a folder
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
pub fn load_with(name: DataName, params: &LoadParams<'_>) -> Result<Split, DatasetError> {
    let block = params.block;
    if let Some(block) = block
        && block.positions(name).is_none()
    {
        return Err(block.undefined(name));
    }
    match (params.data_dir, name) {
        (None, _) => embedded::block(name, block),
        (Some(dir), DataName::Cifar10) => load_cifar(dir, block),
        (Some(dir), DataName::FashionMnist | DataName::Mnist) => load_idx(name, dir, block),
        (Some(dir), DataName::Digits | DataName::BreastCancer | DataName::Npz) => {
            load_npz(name, dir, params.declared)
        }
    }
}

fn load_idx(name: DataName, dir: &Path, block: Option<Block>) -> Result<Split, DatasetError> {
    let mut files = Vec::new();
    let mut part = |[images, labels]: [&str; 2], which: &str| {
        let (image_path, images) = fetch(name, &[dir.to_owned()], images, &mut files)?;
        let (label_path, labels) = fetch(name, &[dir.to_owned()], labels, &mut files)?;
        let images = idx::parse_images(&images).map_err(|e| e.in_file(&image_path))?;
        let labels = idx::parse_labels(&labels).map_err(|e| e.in_file(&label_path))?;
        let origin = files[files.len() - 2].origin;
        idx::from_parts(images, labels, &format!("{name} {which}")).map(|examples| (examples, origin))
    };
    let (train, origin) = part([IDX_FILES[0], IDX_FILES[1]], "train")?;
    let train = match (block, origin) {
        (None, _) => train,
        // A sample is not where positions are counted in; its blocks have files of their own.
        (Some(Block::Dev), Origin::Embedded) => Block::Dev.named(train),
        (Some(Block::Report), Origin::Embedded) => Block::Report.named(part(REPORT_FILES, "train")?.0),
        (Some(block), Origin::Embedded) => return Err(block.not_embedded(name)),
        (Some(block), _) => block.cut(&train, name)?,
    };
    let (test, _) = part([IDX_FILES[2], IDX_FILES[3]], "test")?;
    Ok(Split { train, test, files, readings: Vec::new() })
}

fn load_cifar(dir: &Path, block: Option<Block>) -> Result<Split, DatasetError> {
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
            // Positions are counted in files that follow each other.
            Err(DatasetError::NotFound { .. }) if block.is_some() && !batches.is_empty() => break,
            Err(DatasetError::NotFound { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    if batches.is_empty() {
        return Err(not_found(dir, "data_batch_1.bin .. data_batch_5.bin"));
    }
    let test = part("test_batch.bin", "test")?;
    let train = Dataset::concat(&batches, format!("{name} train"))?;
    let train = match block {
        None => train,
        Some(block) => {
            block.check_first_file(name, &files[0].name)?;
            block.cut(&train, name)?
        }
    };
    Ok(Split { train, test, files, readings: Vec::new() })
}

fn load_npz(name: DataName, dir: &Path, declared: Declared) -> Result<Split, DatasetError> {
    let mut files = Vec::new();
    let mut readings = Vec::new();
    let mut part = |file: &str, which: &str| {
        let (path, bytes) = fetch(name, &[dir.to_owned()], file, &mut files)?;
        let read = npy::parse_npz_as(&bytes, &format!("{name} {which}"), declared);
        let (examples, found) = read.map_err(|e| e.in_file(&path))?;
        let new: Vec<Reading> = found.into_iter().filter(|reading| !readings.contains(reading)).collect();
        readings.extend(new);
        Ok::<_, DatasetError>(examples)
    };
    let (train, test) = (part(NPZ_FILES[0], "train")?, part(NPZ_FILES[1], "test")?);
    if train.shape() != test.shape() {
        let problem =
            format!("train.npz has inputs of {} values and test.npz of {}", train.shape(), test.shape());
        return Err(DatasetError::Invalid { name: name.to_string(), problem });
    }
    Ok(Split { train, test, files, readings })
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

    #[test]
    fn blocks_of_a_sample_are_the_same_embedded_and_in_a_folder() {
        for name in [DataName::FashionMnist, DataName::Mnist] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name.to_string());
            let of =
                |data_dir, block| load_with(name, &LoadParams { data_dir, block, ..LoadParams::default() });
            for block in [Block::Dev, Block::Report] {
                let embedded = of(None, Some(block)).unwrap();
                let folder = of(Some(&*folder), Some(block)).unwrap();
                assert_eq!((&embedded.train, &embedded.test), (&folder.train, &folder.test));
                assert!(folder.files.iter().all(|file| file.origin == Origin::Embedded));
                assert_eq!(embedded.train.name(), format!("{name} train, block {block}"));
            }
            for data_dir in [None, Some(&*folder)] {
                let message = of(data_dir, Some(Block::Calibrate)).unwrap_err().to_string();
                assert!(message.contains("holds dev and report"), "{message}");
            }
        }
        let message =
            load_with(DataName::Digits, &LoadParams { block: Some(Block::Dev), ..Default::default() });
        assert!(message.unwrap_err().to_string().contains("blocks are defined for cifar10"));
    }

    #[test]
    fn the_lossless_subsets_hold_every_block_and_the_samples_are_cut_from_it() {
        let cut = |name, dir: &Path, block| {
            load_with(name, &LoadParams { data_dir: Some(dir), block: Some(block), ..LoadParams::default() })
                .unwrap()
        };
        if let Some(dir) = shared("mnist") {
            let task: Task = "odd-even".parse().unwrap();
            for block in [Block::Dev, Block::Report] {
                let (full, sample) = (
                    cut(DataName::Mnist, &dir, block),
                    LoadParams { block: Some(block), ..Default::default() },
                );
                let sample = load_with(DataName::Mnist, &sample).unwrap();
                for n in [2, 100, 500] {
                    let [full, small] =
                        [&full, &sample].map(|split| task.balanced(&split.train, n).unwrap().dataset);
                    assert_eq!(full, small, "block {block}, n = {n}");
                }
            }
        }
        if let Some(dir) = shared("cifar10") {
            let task: Task = "animals-vehicles".parse().unwrap();
            for block in Block::ALL {
                let train = cut(DataName::Cifar10, &dir, block).train;
                assert!(task.balanced(&train, 500).is_ok());
                assert!(
                    (0..10).all(|class| train.labels().iter().filter(|&&c| c == class).count() >= 50),
                    "{block}"
                );
            }
        }
    }

    #[test]
    fn cifar_blocks_are_counted_from_the_first_batch() {
        let dir = tempfile::tempdir().unwrap();
        let records =
            |n: usize| (0..n).flat_map(|i| [&[(i % 10) as u8][..], &[7; 3072]].concat()).collect::<Vec<u8>>();
        fs::write(dir.path().join("test_batch.bin"), records(1)).unwrap();
        fs::write(dir.path().join("data_batch_2.bin"), records(700)).unwrap();
        let dev = || {
            let params =
                LoadParams { data_dir: Some(dir.path()), block: Some(Block::Dev), ..LoadParams::default() };
            load_with(DataName::Cifar10, &params)
        };
        assert!(dev().unwrap_err().to_string().contains("data_batch_1.bin, which is not there"));
        fs::write(dir.path().join("data_batch_1.bin"), records(1)).unwrap();
        assert_eq!(dev().unwrap().train.count(), 660);
        fs::remove_file(dir.path().join("data_batch_2.bin")).unwrap();
        fs::write(dir.path().join("data_batch_3.bin"), records(700)).unwrap();
        let gap = dev().unwrap_err().to_string();
        assert!(gap.contains("there are 1;"), "a file is missing between the two: {gap}");
    }
}
