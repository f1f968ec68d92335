//! One line of progress for a person, one JSON line a second for a machine, nothing when nobody watches.
//!
//! A person sees stage, share done, rate, time left, the present residual and the best agreement so far. The line is
//! drawn only when standard error is a terminal; `--quiet` hides it, `--json` writes lines to standard output instead.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::output::{self, Mode};

/// Seconds between two lines for a machine.
const EVERY_S: f64 = 1.0;

/// What is measured while a stage runs; what is not known is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Relative residual of an attack.
    pub residual: Option<f64>,
    /// Logarithm of the mean loss of training.
    pub log_loss: Option<f64>,
    /// Best agreement among the candidates so far, in [0, 1].
    pub best_agreement: Option<f64>,
    /// Activation patterns certified so far.
    pub certified: Option<usize>,
    /// Images that the separation under way has found so far.
    pub separated: Option<usize>,
    /// Images on which rounds of restarts have agreed so far.
    pub agreed: Option<usize>,
}

/// Progress of one stage over a known number of steps.
pub struct Progress {
    stage: &'static str,
    length: u64,
    before: u64,
    start: Instant,
    bar: ProgressBar,
    done: AtomicU64,
    last_line: Mutex<Option<Instant>>,
}

/// One line of progress for a machine.
#[derive(Serialize)]
struct Line {
    stage: &'static str,
    done: u64,
    of: u64,
    elapsed_s: f64,
    per_s: Option<f64>,
    left_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    residual: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_agreement: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certified: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separated: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreed: Option<usize>,
}

impl Progress {
    /// Starts the stage.
    pub fn start(stage: &'static str, length: u64) -> Self {
        Self::resume(stage, length, 0)
    }

    /// Goes on with the stage after `before` steps that were done in another process; rates count the new ones only.
    pub fn resume(stage: &'static str, length: u64, before: u64) -> Self {
        let target = match output::mode() {
            // Hidden unless standard error is a terminal: indicatif's own rule.
            Mode::Person => ProgressDrawTarget::stderr_with_hz(5),
            Mode::Machine | Mode::Quiet => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let style = ProgressStyle::with_template(
            "{prefix:>9} [{bar:24}] {percent:>3}%  {per_sec}  {eta} left  {wide_msg}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("per_sec", |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
            // Nothing more can be done when the terminal refuses.
            let _ = write!(w, "{:.0} steps/s", state.per_sec());
        });
        bar.set_style(style);
        bar.set_prefix(stage);
        if output::mode() == Mode::Person {
            bar.enable_steady_tick(Duration::from_millis(500));
        }
        let last_line = Mutex::new(None);
        bar.set_position(before);
        bar.reset_eta();
        Self { stage, length, before, start: Instant::now(), bar, done: AtomicU64::new(before), last_line }
    }

    /// Counts one step more; `measured` is asked for now and then only.
    pub fn step(&self, measured: impl FnOnce() -> Measured) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.length < 1000 || done.is_multiple_of(20) {
            self.show(done, measured());
        }
    }

    /// Says what is measured between two steps.
    pub fn tell(&self, measured: Measured) {
        self.show(self.done.load(Ordering::Relaxed), measured);
    }

    fn show(&self, done: u64, measured: Measured) {
        self.bar.set_position(done);
        self.bar.set_message(words(&measured));
        if output::mode() != Mode::Machine {
            return;
        }
        // Another thread that is writing a line makes this one needless.
        let Ok(mut last) = self.last_line.try_lock() else { return };
        if last.is_some_and(|last| last.elapsed().as_secs_f64() < EVERY_S) {
            return;
        }
        *last = Some(Instant::now());
        output::event("progress", &self.line(done, &measured));
    }

    fn line(&self, done: u64, measured: &Measured) -> Line {
        let elapsed_s = self.start.elapsed().as_secs_f64();
        let per_s = (elapsed_s > 0.0 && done > self.before).then(|| (done - self.before) as f64 / elapsed_s);
        Line {
            stage: self.stage,
            done,
            of: self.length,
            elapsed_s,
            per_s,
            left_s: per_s.map(|rate| self.length.saturating_sub(done) as f64 / rate),
            residual: measured.residual,
            log_loss: measured.log_loss,
            best_agreement: measured.best_agreement,
            certified: measured.certified,
            separated: measured.separated,
            agreed: measured.agreed,
        }
    }

    /// Ends the stage and clears its line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if output::mode() == Mode::Machine {
            let done = self.done.load(Ordering::Relaxed);
            output::event("stage_end", &self.line(done, &Measured::default()));
        }
    }
}

fn words(measured: &Measured) -> String {
    let parts = [
        measured.log_loss.map(|loss| format!("log loss {loss:.2}")),
        measured.residual.map(|residual| format!("residual {residual:.3}")),
        measured.best_agreement.map(|best| format!("best agreement {best:.2}")),
        measured.certified.map(|patterns| format!("{patterns} patterns certified")),
        measured.separated.map(|images| format!("{images} images separated")),
        measured.agreed.map(|images| format!("{images} images agreed on")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_said() {
        assert_eq!(words(&Measured::default()), "");
        let measured = Measured { residual: Some(0.1666), best_agreement: Some(0.97), ..Measured::default() };
        assert_eq!(words(&measured), "residual 0.167  best agreement 0.97");
        let progress = Progress::start("attack", 200);
        (0..50).for_each(|_| progress.step(|| measured));
        let line = serde_json::to_value(progress.line(50, &measured)).unwrap();
        assert_eq!((line["done"].as_u64(), line["of"].as_u64()), (Some(50), Some(200)));
        assert!(line.get("log_loss").is_none() && line["left_s"].as_f64().unwrap() >= 0.0, "{line}");
        progress.finish();
    }
}
