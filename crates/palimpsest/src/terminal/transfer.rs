//! Progress of a transfer: bytes received, for a person or a program.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::clock;
use super::output::{self, Mode};

/// Time between two lines for a program.
const EVERY: Duration = Duration::from_secs(1);

/// What was received of one file.
pub struct Received {
    name: String,
    bar: ProgressBar,
    last: Mutex<Duration>,
}

impl Received {
    /// Of the file of this name.
    pub fn of(name: &str) -> Self {
        let target = match output::mode() {
            Mode::Person => ProgressDrawTarget::stderr_with_hz(5),
            Mode::Machine | Mode::Quiet => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template(
            "{prefix} [{bar:24}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(name.to_owned());
        Self { name: name.to_owned(), bar, last: Mutex::new(clock::now()) }
    }

    /// It begins after `from` bytes, and has `length` in all if that is known.
    pub fn begin(&self, from: u64, length: Option<u64>) {
        if let Some(length) = length {
            self.bar.set_length(length);
        }
        self.bar.set_position(from);
        self.bar.reset_eta();
    }

    /// So many bytes are there.
    pub fn tell(&self, done: u64) {
        self.bar.set_position(done);
        let Ok(mut last) = self.last.try_lock() else { return };
        let now = clock::now();
        if now.saturating_sub(*last) >= EVERY {
            *last = now;
            let of = self.bar.length();
            output::event(
                "progress",
                &serde_json::json!({ "stage": "fetch", "file": self.name, "done": done, "of": of }),
            );
        }
    }

    /// It is there, or given up; the line goes.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
