//! Runs that did not come to their end.

use std::path::Path;

use palimpsest::terminal::ResumeArgs;

use super::victims::ReproduceArgs;

/// Whether a run in `folder`, whose last file is `file`, came to its end; one that was interrupted leaves a snapshot, too.
pub(super) fn finished(folder: &Path, file: &str) -> bool {
    folder.join(file).exists() && !ResumeArgs::when_possible(folder).resume
}

/// What is said when an interrupt ends a run inside the benchmark.
pub(super) fn broken_off(args: &ReproduceArgs) -> String {
    format!("interrupted; what was done is in {}: the same command goes on from there", args.out.display())
}
