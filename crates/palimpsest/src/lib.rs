#![doc = include_str!("../README.md")]

pub mod attacking;
mod audit;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
#[cfg(feature = "cli")]
mod installed;
#[cfg(feature = "cli")]
pub mod judging;
mod members;
mod peek;
pub mod start;
pub mod terminal;
mod train;

pub use audit::{Audit, AuditOptions, audit, audit_observed, reconstruct};
pub use error::{Error, Result};
pub use members::{MembersOptions, members};
pub use peek::{Peek, PeekOptions, peek};
pub use train::{TrainOptions, train, train_observed};
