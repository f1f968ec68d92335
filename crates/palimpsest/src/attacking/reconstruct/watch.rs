//! Watches an attack for whoever started it: progress, snapshots, and when to stop.

use std::ops::{ControlFlow, Range};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use palimpsest_attack::{AttackParams, AttackState, AttackStep};
use palimpsest_runs::Kept;

use crate::terminal::progress::{Measured, Progress};
use crate::terminal::{interrupt, output};

/// Share of the time limit at which the search for activation patterns ends.
const SEARCHING_SHARE: f64 = 0.9;

/// An attack that is watched.
pub(in crate::attacking) struct Watch<'a> {
    kept: &'a Kept,
    limit: Option<Duration>,
    progress: Progress,
    /// Begun with the search for activation patterns.
    searching: OnceLock<Progress>,
    search_steps: u64,
    agreed: AtomicUsize,
    stopped: AtomicBool,
}

impl<'a> Watch<'a> {
    /// Watches the restarts of these `numbers`, going on `from` there.
    pub(in crate::attacking) fn begin(
        kept: &'a Kept,
        from: &AttackState,
        params: &AttackParams,
        numbers: Range<u64>,
        limit: Option<Duration>,
    ) -> Self {
        let steps = params.method.steps();
        let restarts = numbers.end.saturating_sub(numbers.start);
        let finished = from.finished.range(numbers.clone()).count();
        let under_way: Vec<usize> = from.under_way.range(numbers).map(|(_, run)| run.steps_taken()).collect();
        if finished + under_way.len() > 0 {
            let inside = under_way.len();
            output::note(&format!("going on after {finished} of {restarts} restarts, inside {inside} more"));
        }
        let done =
            under_way.iter().fold(finished.saturating_mul(steps), |done, taken| done.saturating_add(*taken));
        Self {
            kept,
            limit,
            progress: Progress::resume("attack", restarts.saturating_mul(steps as u64), done as u64),
            searching: OnceLock::new(),
            search_steps: params.patterns.map_or(0, |options| options.steps_at_most()),
            agreed: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Sees where the attack is; ends it by an interrupt or the time limit.
    pub(in crate::attacking) fn see(&self, at: &AttackStep<'_>) -> ControlFlow<()> {
        self.show(at);
        // The last round is followed by solving for the inputs, which takes about a tenth of the search.
        let share = if matches!(at, AttackStep::Patterns(_)) { SEARCHING_SHARE } else { 1.0 };
        let over = interrupt::requested()
            || self.limit.is_some_and(|limit| self.kept.elapsed_s() > share * limit.as_secs_f64());
        if over {
            self.stopped.store(true, Ordering::Relaxed);
        }
        match at {
            AttackStep::Restart(at) if over => self.kept.leave(at),
            AttackStep::Restart(at) => self.kept.pass(at),
            AttackStep::Separation(_)
            | AttackStep::Separated(_)
            | AttackStep::Agreed(_)
            | AttackStep::Patterns(_) => {}
        }
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn show(&self, at: &AttackStep<'_>) {
        match at {
            AttackStep::Restart(at) => self.progress.step(|| Measured {
                residual: Some(at.step.relative_residual),
                best_agreement: self.kept.best_agreement(),
                agreed: Some(self.agreed.load(Ordering::Relaxed)).filter(|&images| images > 0),
                ..Measured::default()
            }),
            AttackStep::Agreed(images) => self.agreed.store(*images, Ordering::Relaxed),
            AttackStep::Separation(found) => {
                self.progress.tell(Measured { separated: Some(*found), ..Measured::default() });
            }
            AttackStep::Separated(images) => {
                let found = images.coordinates.nrows();
                self.progress.tell(Measured { separated: Some(found), ..Measured::default() });
            }
            AttackStep::Patterns(at) => self
                .searching
                .get_or_init(|| {
                    self.progress.finish();
                    // A kill in the search costs the search, and no restart.
                    self.kept.write();
                    Progress::start("patterns", self.search_steps)
                })
                .step(|| Measured {
                    residual: at.relative_residual,
                    certified: Some(at.certified),
                    ..Measured::default()
                }),
        }
    }

    /// The attack has ended; whether it was stopped.
    pub(in crate::attacking) fn end(self) -> bool {
        self.searching.get().unwrap_or(&self.progress).finish();
        self.stopped.into_inner()
    }
}
