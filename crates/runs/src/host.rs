//! What a run asks of the program it runs in: libraries read no clock and print nothing.

use std::time::Duration;

/// A clock and somebody to tell.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Time since some fixed moment, by a clock that cannot jump.
    pub now: fn() -> Duration,
    /// Takes a sentence that is worth knowing but ends nothing.
    pub tell: fn(&str),
}
