//! Data sets to train on and to judge by: read, checked, turned into a task, and centred.
//!
//! A datum walks one way: bytes ([`source`]) are parsed ([`idx`], [`cifar`], [`npy`]) into a checked [`Dataset`]; a
//! [`Block`] keeps what is looked at, fitted on and reported apart; a [`Task`] picks a training set and a held-out set and
//! turns classes into a [`Label`] each, or into +1 and -1; [`PixelMean`] removes the mean of the training inputs, and puts
//! it back when a picture is wanted.
//!
//! ```
//! use palimpsest_datasets::{DataName, PixelMean, Task, load};
//!
//! // 500 training images of each of two blocks and 1,000 held-out ones are embedded; a folder with the complete set may be given instead.
//! let split = load(DataName::FashionMnist, None)?;
//! let task: Task = "odd-even".parse()?;
//! let train = task.balanced(&split.train, 100)?;
//! let held_out = task.held_out(&split.test, 1000)?;
//!
//! let mean = PixelMean::fit(train.dataset.inputs());
//! let x = mean.center(train.dataset.inputs());
//! let x_held_out = mean.center(held_out.dataset.inputs());
//! assert_eq!((x.view().dim(), train.signs.len()), ((100, 784), 100));
//! assert_eq!(x_held_out.view().dim(), (1000, 784));
//! # Ok::<(), palimpsest_datasets::DatasetError>(())
//! ```
//!
//! # What it promises
//! * Images have values in [0, 1], every value is finite, and rows are contiguous: [`Dataset::new`] is the only way in.
//! * No file can make it panic or use memory out of proportion: sizes that a file declares are compared with the bytes
//!   it has before anything is allocated, and nothing beyond [`source::MAX_BYTES`] is unpacked.
//! * What was loaded can be told: [`Split::files`] has the SHA-256 of each file, and known files are recognised.
//!
//! It does not fetch anything; files come from a folder or are embedded.

pub mod cifar;
pub mod embedded;
pub mod idx;
pub mod npy;
pub mod source;

mod block;
mod catalogue;
mod centering;
mod dataset;
mod error;
mod label;
mod loading;
mod npz;
mod reading;
mod records;
mod selection;
mod split;
mod tabular;
mod task;

pub use block::Block;
pub use catalogue::{DataName, KnownFile, Origin};
pub use centering::{CenteredInputs, PixelMean};
pub use dataset::{Dataset, InputShape};
pub use error::DatasetError;
pub use label::{Counts, Label};
pub use loading::{LoadParams, load, load_with};
pub use reading::{Declared, FlatOrder, LabelKind, Reading};
pub use records::{Records, read_records};
pub use selection::{BinarySet, LabelledSet};
pub use split::{DataFile, Split};
pub use tabular::ZScore;
pub use task::Task;
