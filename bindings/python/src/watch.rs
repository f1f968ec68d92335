//! Work on threads of its own while the interpreter is free: Ctrl-C, a time limit and a callback may end it early.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure;

/// Where work is, and whether it is to end.
pub struct Watch {
    stop: AtomicBool,
    start: Instant,
    limit: Option<Duration>,
    stage: Mutex<&'static str>,
    done: AtomicU64,
    of: AtomicU64,
}

/// How often the interpreter is asked for signals.
const LOOK: Duration = Duration::from_millis(50);
/// Least time between two calls of a callback.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// Most threads.
const MAX_THREADS: usize = 1024;

impl Watch {
    /// The work has come to `done` of `of` (0 if that is not known) in `stage`; whether it is to end.
    pub fn pass(&self, stage: &'static str, done: u64, of: u64) -> bool {
        if let Ok(mut current) = self.stage.try_lock() {
            *current = stage;
            self.done.store(done, Ordering::Relaxed);
            self.of.store(of, Ordering::Relaxed);
        }
        if self.limit.is_some_and(|limit| self.start.elapsed() >= limit) {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.is_stopped()
    }

    /// Whether the work is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Tells `callback` where the work is.
    fn tell(&self, py: Python<'_>, callback: &Py<PyAny>) -> PyResult<()> {
        let at = PyDict::new(py);
        at.set_item("stage", *self.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
        at.set_item("done", self.done.load(Ordering::Relaxed))?;
        at.set_item("of", Some(self.of.load(Ordering::Relaxed)).filter(|&of| of > 0))?;
        at.set_item("elapsed_s", self.start.elapsed().as_secs_f64())?;
        callback.call1(py, (at,)).map(drop)
    }
}

/// What a first Ctrl-C does, apart from ending the work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// What was found comes back, and says that it was stopped early.
    Keeps,
    /// It raises: half of the work is worth nothing.
    Raises,
}

/// What work comes back with.
pub struct Done<T> {
    /// Its result.
    pub result: T,
    /// Whether it was ended early.
    pub stopped_early: bool,
    /// The Ctrl-C that ended it, if it was one.
    interrupt: Option<PyErr>,
}

impl<T> Done<palimpsest::Result<T>> {
    /// What was found, and whether that was ended early.
    ///
    /// # Errors
    /// Ctrl-C when it came before anything was found; else the error of the library.
    pub fn kept(self) -> PyResult<(T, bool)> {
        let stopped_early = self.stopped_early;
        let failed = |error| self.interrupt.unwrap_or_else(|| failure::of(error));
        self.result.map_err(failed).map(|found| (found, stopped_early))
    }
}

/// Does `work` in a pool of `threads` (all cores if not given) with the interpreter free.
///
/// The time limit ends it early with what it has, and so does a first Ctrl-C where it `Keeps`; any other Ctrl-C, and a callback that
/// raises, raise when it has ended.
pub fn watched<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    time_limit_s: Option<f64>,
    on_progress: Option<Py<PyAny>>,
    interrupted: Interrupted,
    work: impl FnOnce(&Watch) -> T + Send,
) -> PyResult<Done<T>> {
    let limit = time_limit_s.map(limit).transpose()?.flatten();
    if let Some(threads) = threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
        return Err(failure::misuse(format!("threads must be between 1 and {MAX_THREADS}, got {threads}")));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build();
    let pool = pool.map_err(failure::misuse)?;
    let watch = Watch {
        stop: AtomicBool::new(false),
        start: Instant::now(),
        limit,
        stage: Mutex::new("begin"),
        done: AtomicU64::new(0),
        of: AtomicU64::new(0),
    };
    let (asked, result) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, ended) = channel::<()>();
            let watch = &watch;
            let worker = thread::Builder::new().spawn_scoped(scope, move || {
                let result = catch_unwind(AssertUnwindSafe(|| pool.install(|| work(watch))));
                drop(sender);
                result
            });
            let worker = worker.map_err(failure::misuse)?;
            let asked = look_on(watch, &ended, on_progress.as_ref(), interrupted);
            // A panic of the work was caught inside; the thread itself has none.
            Ok::<_, PyErr>((asked, worker.join().and_then(|result| result)))
        })
    })?;
    if let Some(raised) = asked.raised {
        return Err(raised);
    }
    let result = result.map_err(|payload| failure::panicked(&*payload))?;
    Ok(Done { result, stopped_early: watch.is_stopped(), interrupt: asked.interrupt })
}

/// What the interpreter said while work went on.
#[derive(Default)]
struct Asked {
    /// What is to be raised when the work has ended.
    raised: Option<PyErr>,
    /// The Ctrl-C that ended it and keeps what was found.
    interrupt: Option<PyErr>,
}

/// Asks the interpreter for signals and calls `on_progress` until the work has `ended`; what either raises ends the work.
fn look_on(
    watch: &Watch,
    ended: &Receiver<()>,
    on_progress: Option<&Py<PyAny>>,
    interrupted: Interrupted,
) -> Asked {
    let mut asked = Asked::default();
    let mut told = Instant::now();
    while matches!(ended.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
        let due = on_progress.filter(|_| told.elapsed() >= TOLD_EVERY && asked.raised.is_none());
        let said = Python::attach(|py| {
            py.check_signals()
                .and_then(|()| due.map_or(Ok(()), |callback| watch.tell(py, callback)))
                .map_err(|error| (error.is_instance_of::<PyKeyboardInterrupt>(py), error))
        });
        if due.is_some() {
            told = Instant::now();
        }
        let Err((by_hand, error)) = said else { continue };
        watch.end();
        if by_hand && interrupted == Interrupted::Keeps && asked.interrupt.is_none() {
            asked.interrupt = Some(error);
        } else {
            asked.raised.get_or_insert(error);
        }
    }
    asked
}

/// Does short `work` on this thread with the interpreter free; a panic becomes an exception.
pub fn aside<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work))).map_err(|payload| failure::panicked(&*payload))
}

/// The limit of so many seconds; none that is too long to be measured.
fn limit(seconds: f64) -> PyResult<Option<Duration>> {
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(failure::misuse(format!(
            "time_limit must be a number of seconds above 0, got {seconds}"
        )));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok())
}
