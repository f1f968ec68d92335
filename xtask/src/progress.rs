//! One line of progress, quiet when nobody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress line over `length` steps; hidden unless standard error is a terminal (indicatif's own rule).
pub(crate) fn bar(stage: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:30}] {percent:>3}%  {eta:>4} left  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    bar.set_style(style);
    bar.set_prefix(stage.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
