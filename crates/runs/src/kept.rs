//! What an attack keeps of itself while it runs: the restarts that are done, and where the others are.
//!
//! Restarts run on several threads. Each leaves a copy of its state here at most once a second, so that whichever of them
//! finds a snapshot due can write the states of all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ndarray::{Array1, Axis, concatenate};
use palimpsest_attack::evidence::consensus::{Comparison, consensus};
use palimpsest_attack::{AttackState, Label, Restart, RestartStep};
use palimpsest_numerics::gemm::Parallelism;
use serde::Serialize;

use crate::Host;
use crate::error::Result;
use crate::snapshot::{Resume, Snapshots};

/// The state of an attack and its snapshots, shared by its threads.
#[derive(Debug)]
pub struct Kept {
    host: Host,
    start: Duration,
    /// Time of earlier sessions of the same attack.
    before_s: f64,
    /// For the progress line only; the bits of an f32, so that threads can share it.
    best_agreement: AtomicU32,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    snapshots: Snapshots,
    state: AttackState,
    /// When each restart last left its state.
    left: BTreeMap<u64, Duration>,
}

/// Longest time between two copies of a state: what a kill loses besides the time since the last snapshot.
const COPIED_EVERY: Duration = Duration::from_secs(1);

impl Kept {
    /// That of the attack which `options` describe, with snapshots in `folder`; and the state to go on from.
    ///
    /// # Errors
    /// Those of [`Snapshots::open`].
    pub fn open(
        folder: &Path,
        resume: Resume,
        every: Duration,
        options: &impl Serialize,
        host: Host,
    ) -> Result<(Self, AttackState)> {
        let (snapshots, found) = Snapshots::open::<(f64, AttackState)>(folder, resume, every, options, host)?;
        let (before_s, state) = found.unwrap_or_default();
        let kept = Self {
            host,
            start: (host.now)(),
            before_s,
            best_agreement: AtomicU32::new(best_agreement(&state.finished).to_bits()),
            shared: Mutex::new(Shared { snapshots, state: state.clone(), left: BTreeMap::new() }),
        };
        Ok((kept, state))
    }

    /// Seconds the attack has taken, over all its sessions.
    pub fn elapsed_s(&self) -> f64 {
        self.before_s + (self.host.now)().saturating_sub(self.start).as_secs_f64()
    }

    /// Best agreement among the last finished restarts, once there are two.
    pub fn best_agreement(&self) -> Option<f64> {
        Some(f64::from(f32::from_bits(self.best_agreement.load(Ordering::Relaxed))))
            .filter(|&best| best > 0.0)
    }

    /// A restart that goes on comes by.
    pub fn pass(&self, at: &RestartStep<'_>) {
        // Whoever holds it is writing a snapshot; the next step is soon enough.
        let Ok(mut shared) = self.shared.try_lock() else { return };
        let every = COPIED_EVERY.min(shared.snapshots.every());
        let now = (self.host.now)();
        if shared.left.get(&at.restart).is_none_or(|left| now.saturating_sub(*left) >= every) {
            shared.copy(at, now);
            shared.write_when_due(self.elapsed_s());
        }
    }

    /// A restart that is broken off comes by for the last time.
    pub fn leave(&self, at: &RestartStep<'_>) {
        self.lock().copy(at, (self.host.now)());
    }

    /// A restart has come to its end.
    pub fn finish(&self, number: u64, restart: &Restart) {
        let shared = &mut *self.lock();
        shared.state.under_way.remove(&number);
        shared.state.finished.insert(number, restart.clone());
        self.best_agreement.store(best_agreement(&shared.state.finished).to_bits(), Ordering::Relaxed);
        shared.write_when_due(self.elapsed_s());
    }

    /// Sees what the attack has done so far.
    pub fn state<T>(&self, see: impl FnOnce(&AttackState) -> T) -> T {
        see(&self.lock().state)
    }

    /// Writes a snapshot whether one is due or not.
    pub fn write(&self) {
        self.lock().write(self.elapsed_s());
    }

    /// Removes the snapshots: the attack is done, and its results are written.
    pub fn remove(self) {
        self.shared.into_inner().unwrap_or_else(PoisonError::into_inner).snapshots.remove();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn copy(&mut self, at: &RestartStep<'_>, now: Duration) {
        self.state.under_way.insert(at.restart, at.step.state.clone());
        self.left.insert(at.restart, now);
    }

    fn write_when_due(&mut self, elapsed_s: f64) {
        if self.snapshots.due() {
            self.write(elapsed_s);
        }
    }

    fn write(&mut self, elapsed_s: f64) {
        self.snapshots.write(&(elapsed_s, &self.state));
    }
}

/// Most finished restarts that are compared for the progress line.
const COMPARED: usize = 4;

/// Best agreement among the candidates of the last finished restarts; 0 with fewer than two.
fn best_agreement(restarts: &BTreeMap<u64, Restart>) -> f32 {
    let views: Vec<_> =
        restarts.values().rev().take(COMPARED).map(|restart| restart.coordinates.view()).collect();
    let m = views.first().map_or(0, |restart| restart.nrows());
    let labels = vec![Label(0); m];
    if views.len() < 2 || views.iter().any(|restart| restart.nrows() != m) {
        return 0.0;
    }
    let stacked = concatenate(Axis(0), &views).expect("restarts have the same number of columns");
    let Ok(comparison) = Comparison::of(stacked.view(), m, Parallelism::Sequential) else { return 0.0 };
    let compared = comparison.apply(stacked.view(), Parallelism::Sequential);
    let told = vec![Array1::zeros(m); views.len()];
    let views: Vec<_> = compared.axis_chunks_iter(Axis(0), m).collect();
    consensus(&views, &labels, &told).scores.iter().flatten().copied().fold(0.0, f32::max)
}
