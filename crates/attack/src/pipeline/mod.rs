//! From a network to a reconstruction: which stages run, in which order, and what comes of it.

pub mod driver;
mod entries;
mod estimates;
mod finished;
mod list;
mod listing;
pub mod part;
mod pool;
pub mod reconstruction;
mod shown;
mod signals;
mod sum;
mod witnesses;
