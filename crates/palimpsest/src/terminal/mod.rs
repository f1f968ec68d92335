//! What stands between the commands and the person, program or machine that runs them: printing, progress, interrupts, the
//! clock, memory. Nothing else of this crate reads a clock or prints.

pub mod blocks;
pub mod clock;
pub mod command_line;
mod folder;
pub mod interrupt;
pub mod memory;
mod misuse;
pub mod output;
pub mod progress;
mod resume;
pub mod serve;
pub mod threads;
#[cfg(feature = "fetch")]
pub mod transfer;

pub use folder::{host, lock_folder};
pub use misuse::Misuse;
pub use resume::ResumeArgs;
