//! The folder of a run, locked for this process.

use std::path::Path;

use palimpsest_runs::{FolderLock, Host, RunsError};

use super::{clock, output};

/// This program's clock, and its notes.
pub fn host() -> Host {
    Host { now: clock::now, tell: output::note }
}

/// Creates a folder for results and locks it; a second writer is told who this process is.
///
/// # Errors
/// Those of [`palimpsest_runs::lock_folder`].
pub fn lock_folder(folder: &Path) -> Result<FolderLock, RunsError> {
    palimpsest_runs::lock_folder(folder, &holder(), host())
}

fn holder() -> String {
    format!(
        "process {} on {}, started {}",
        std::process::id(),
        gethostname::gethostname().to_string_lossy(),
        humantime::format_rfc3339_seconds(clock::wall())
    )
}
