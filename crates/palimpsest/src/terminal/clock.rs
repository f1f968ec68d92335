//! The clock.

use std::sync::OnceLock;
#[cfg(feature = "cli")]
use std::time::SystemTime;
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

/// Time since this was first asked, by a clock that cannot jump.
pub fn now() -> Duration {
    START.get_or_init(Instant::now).elapsed()
}

/// The wall clock, which may jump: told to people, never reckoned with.
#[cfg(feature = "cli")]
#[expect(clippy::disallowed_methods, reason = "the start that a second writer is told")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Today, as 2026-11-29 (UTC): what a row of results says of itself.
#[cfg(feature = "cli")]
pub fn today() -> String {
    let mut day = humantime::format_rfc3339_seconds(wall()).to_string();
    day.truncate("2026-11-29".len());
    day
}
