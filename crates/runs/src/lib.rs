#![doc = include_str!("../README.md")]

mod error;
pub mod files;
mod host;
pub mod join;
pub mod kept;
pub mod lock;
pub mod part;
pub mod pool;
pub mod record;
pub mod snapshot;

pub use error::{Result, RunsError};
pub use files::MADE_BY;
pub use host::Host;
pub use kept::Kept;
pub use lock::{FolderLock, lock_folder};
pub use part::PartFile;
pub use pool::PoolForm;
pub use record::RunFile;
pub use snapshot::{Resume, Snapshots};
