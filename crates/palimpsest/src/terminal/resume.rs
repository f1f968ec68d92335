//! Options of a command that can go on after it was cut off.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use palimpsest_runs::Resume;

use super::Misuse;

/// How a run may go on after it was cut off.
#[derive(Clone, Copy, Debug, Args)]
pub struct ResumeArgs {
    /// Go on from the last snapshot in --out, after an interrupt or a kill; all other options must be as they were.
    #[arg(long)]
    pub resume: bool,
    /// Seconds between snapshots, at least; an interrupt writes one besides.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub snapshot_every: f64,
}

impl ResumeArgs {
    /// Of a run inside a command of several: goes on when there is something to go on from.
    pub fn when_possible(folder: &Path) -> Self {
        let resume = Resume::when_possible(folder) == Resume::FromSnapshot;
        Self { resume, snapshot_every: 30.0 }
    }

    /// How the run begins.
    pub fn start(&self) -> Resume {
        if self.resume { Resume::FromSnapshot } else { Resume::Anew }
    }

    /// Least time between two snapshots.
    ///
    /// # Errors
    /// [`Misuse`] when it is no time.
    pub fn interval(&self) -> Result<Duration, Misuse> {
        Duration::try_from_secs_f64(self.snapshot_every).map_err(|_| {
            let got = self.snapshot_every;
            Misuse(format!("--snapshot-every must be a number of seconds of at least 0, got {got}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_time() {
        for wrong in [-1.0, f64::NAN, 1e30] {
            assert!(ResumeArgs { resume: true, snapshot_every: wrong }.interval().is_err(), "{wrong}");
        }
        let seldom = ResumeArgs { resume: true, snapshot_every: 1e6 };
        assert_eq!(seldom.interval().unwrap(), Duration::from_secs(1_000_000));
    }
}
