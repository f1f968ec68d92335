//! What stands between the commands and the person, program or machine that runs them: printing, progress, interrupts, the
//! clock, memory. Nothing else of this crate reads a clock or prints.

#[cfg(feature = "cli")]
pub mod blocks;
pub mod clock;
#[cfg(feature = "cli")]
pub mod command_line;
#[cfg(feature = "cli")]
mod folder;
#[cfg(feature = "cli")]
pub mod interrupt;
pub mod memory;
mod misuse;
pub mod output;
#[cfg(feature = "cli")]
pub mod progress;
#[cfg(feature = "cli")]
mod resume;
#[cfg(feature = "cli")]
pub mod serve;
#[cfg(feature = "cli")]
pub mod threads;
#[cfg(feature = "fetch")]
pub mod transfer;

#[cfg(feature = "cli")]
pub use folder::{host, lock_folder};
pub use misuse::Misuse;
#[cfg(feature = "cli")]
pub use resume::ResumeArgs;
