//! The one error type of the crate.

use std::io;
use std::path::PathBuf;

/// What can go wrong while data are read, checked or selected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file could not be opened or read.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was read, but what is in it is not acceptable.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: Box<DatasetError>,
    },
    /// Something is larger than this crate agrees to hold in memory.
    #[error("{what}: more than the limit of {limit} bytes; split the data into smaller files")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The largest accepted size, in bytes.
        limit: usize,
    },
    /// Bytes do not follow their format.
    #[error("not a valid {format}: {problem}")]
    Malformed {
        /// The format that was expected.
        format: &'static str,
        /// What was found instead, and what to do.
        problem: String,
    },
    /// Bytes are not the ones whose checksum is pinned.
    #[error("SHA-256 is {got}, expected {expected}: the file is damaged or is another one, fetch it again")]
    Checksum {
        /// The pinned checksum, 64 hexadecimal digits.
        expected: String,
        /// The checksum of the bytes.
        got: String,
    },
    /// Inputs, labels and shape do not make a data set.
    #[error("data set {name:?}: {problem}")]
    Invalid {
        /// Name of the data set.
        name: String,
        /// What does not fit.
        problem: String,
    },
    /// A task could not be parsed.
    #[error(
        "task {got:?}: {problem}; expected odd-even, animals-vehicles, two class lists such as 0,1,2/3,4 (the first \
         is +1), classes (each class for itself) or classes:0,2+3,5 (these, 2 and 3 together)"
    )]
    Task {
        /// The text.
        got: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Numbers of examples could not be parsed.
    #[error(
        "{got:?} is no number of examples; expected 100, 70/30 (of each label) or first:100 (in file order)"
    )]
    Counts {
        /// The text.
        got: String,
    },
    /// The requested examples cannot be selected.
    #[error("cannot select {requested} examples of task {task} from {available}: {problem}")]
    Selection {
        /// The task.
        task: String,
        /// How many examples were asked for.
        requested: usize,
        /// What there is to choose from.
        available: String,
        /// Why that does not suffice, and what to do.
        problem: String,
    },
    /// A block of a data set cannot be had.
    #[error("block {block} of {name}: {problem}")]
    Block {
        /// The block.
        block: String,
        /// The data set.
        name: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// No block has that name.
    #[error(
        "unknown block {got:?}; expected dev, calibrate or report, or positions as in 2000..3000, the last left out"
    )]
    UnknownBlock {
        /// The text.
        got: String,
    },
    /// No data set of that name is known.
    #[error("unknown data set {got:?}; expected fashion-mnist, mnist, digits, breast-cancer, cifar10 or npz")]
    UnknownName {
        /// The text.
        got: String,
    },
    /// The data set is not part of this crate.
    #[error(
        "cifar10 is not embedded, because its authors state no licence: pass --data-dir with a folder that holds \
         data_batch_1.bin .. data_batch_5.bin and test_batch.bin (also as .gz, or in cifar-10-batches-bin); they are \
         in cifar-10-binary.tar.gz at https://www.cs.toronto.edu/~kriz/cifar.html"
    )]
    NotEmbedded,
    /// The samples were left out of this program.
    #[error(
        "this program was built without the feature embedded-data: pass --data-dir with a folder of the official files"
    )]
    LeftOut,
    /// Data of one's own lie in a folder, and none was named.
    #[error("npz is data of your own: pass --data-dir with a folder that holds train.npz and test.npz")]
    NoFolder,
    /// A folder lacks the files of a data set.
    #[error("{}: none of {looked_for} is there; put the file there or name another folder", dir.display())]
    NotFound {
        /// The folder.
        dir: PathBuf,
        /// The names that were tried.
        looked_for: String,
    },
    /// A file is known under another name, so using it here would silently change every result.
    #[error("{}: its checksum is that of {is}, but {expected} was asked for; name the right folder", path.display())]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// What it is.
        is: String,
        /// What was asked for.
        expected: String,
    },
}

impl DatasetError {
    pub(crate) fn malformed(format: &'static str, problem: impl Into<String>) -> Self {
        DatasetError::Malformed { format, problem: problem.into() }
    }

    /// The same error of a selection with the name of what was selected from.
    pub(crate) fn of_data(self, name: &str) -> Self {
        match self {
            DatasetError::Selection { task, requested, available, problem } => DatasetError::Selection {
                task,
                requested,
                available: format!("{available} in {name}"),
                problem,
            },
            other => other,
        }
    }

    /// The same error with the file it came from.
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        DatasetError::Content { path: path.to_owned(), source: Box::new(self) }
    }
}
