//! Whether an attack was cut before it could answer.

use palimpsest_attack::Origin;
use palimpsest_attack::search::restart::TerminationReason;
use palimpsest_runs::RunFile;

/// That the attack ended before any restart did, or before two could be compared, and how long one takes; nothing if it did not.
pub fn too_short(run: &RunFile) -> Option<String> {
    if !run.stopped_early {
        return None;
    }
    let cut =
        run.restarts.iter().filter(|restart| restart.termination == TerminationReason::TimeLimit).count();
    // What ended it earlier was an interrupt.
    let limit = run.time_limit_s.filter(|limit| run.elapsed_s > 0.8 * limit);
    let what = match limit {
        Some(limit) => format!("The time limit of {limit:.0} s was too short for an answer"),
        None => "The attack was stopped too early for an answer".into(),
    };
    let advice = "what was not found may still be in the weights";
    let none_ended = cut == run.restarts.len();
    if none_ended && run.count(Origin::Separation) > 0 {
        let when = limit.map_or_else(
            || "before the attack was stopped".into(),
            |limit| format!("in the time limit of {limit:.0} s"),
        );
        return Some(format!(
            "No restart came to its end {when}: the list is what separations of the weights found by then, and {advice}."
        ));
    }
    if none_ended {
        let time = restart_s(run).map_or_else(String::new, |seconds| {
            let enough = match limit {
                Some(_) => {
                    format!("; allow at least --time-limit {}, or take fewer --steps", enough_s(seconds))
                }
                None => String::new(),
            };
            format!(" One restart takes about {seconds:.0} s here{enough}.")
        });
        return Some(format!("{what}: it cut the first restarts, and {advice}.{time}"));
    }
    (run.restarts.len() == 1 && run.params.restarts > 1).then(|| {
        let seconds = run.elapsed_s;
        format!(
            "{what}: one restart ended, which took about {seconds:.0} s, and restarts tell by agreement what is real; {advice}. \
             Allow at least --time-limit {}.",
            enough_s(seconds)
        )
    })
}

/// Seconds that a restart of those that were cut would have taken, from how far they came; none if they took no step.
fn restart_s(run: &RunFile) -> Option<f64> {
    let taken =
        run.restarts.iter().filter_map(|restart| restart.curve.last()).map(|&(step, _)| step).max()?;
    let all = run.params.method.steps();
    (taken > 0).then(|| run.elapsed_s * all as f64 / taken as f64)
}

/// A limit in which several restarts end, rounded up to whole tens of seconds.
fn enough_s(restart_s: f64) -> usize {
    ((2.5 * restart_s / 10.0).ceil() * 10.0).max(10.0) as usize
}
