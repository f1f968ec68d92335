//! Ctrl-C and SIGTERM: the first asks running work to stop and keep what it has, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use super::output;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Installs the handler; called once, first thing.
pub fn install() {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        output::note("stopping; interrupt again to end at once");
    };
    // Without a handler the program still works; Ctrl-C then ends it at once.
    let _ = ctrlc::set_handler(handler);
}

/// Whether the user has asked to stop.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
