#![doc = include_str!("../README.md")]

mod error;
pub mod files;
mod host;
pub mod kept;
pub mod lock;
pub mod record;
pub mod snapshot;

pub use error::{Result, RunsError};
pub use files::MADE_BY;
pub use host::Host;
pub use kept::Kept;
pub use lock::{FolderLock, lock_folder};
pub use record::RunFile;
pub use snapshot::{Resume, Snapshots};
