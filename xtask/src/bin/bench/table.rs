//! The benchmark as Markdown.

use palimpsest::terminal::memory;
use palimpsest::terminal::output::line;

use super::limit::Peak;
use super::passes::COPY;
use super::record::{BenchRecord, Measured, median};
use super::work::Amount;

pub(super) fn print(record: &BenchRecord) {
    line(&format!(
        "{} cores of {} with {}, load average {} before and {} after, {} rounds{}",
        record.cores,
        record.processor,
        record.instructions,
        record.load_average_before,
        record.load_average_after,
        record.rounds,
        record.peer.as_deref().map(|peer| format!("; peer: {peer}")).unwrap_or_default()
    ));
    let peaks = record.works.iter().flat_map(|work| &work.peaks);
    let by_cpu_time = median(peaks.map(|peak| peak.by_cpu_time).collect());
    line(&format!("Peak of one thread by CPU time: {:.0} GFLOP/s in f32", by_cpu_time / 1e9));
    let mut groups: Vec<&str> = record.works.iter().map(|work| work.group).collect();
    groups.dedup();
    for group in groups {
        let works: Vec<&Measured> = record.works.iter().filter(|work| work.group == group).collect();
        line(&format!("\n**{group}**\n"));
        match works[0].amount {
            Amount::Operations(_) | Amount::Operations64(_) => rates(&works),
            Amount::Elements(_) => walks(&works),
            Amount::Commands => commands(&works),
        }
    }
    speedups(&record.works);
    if let Some(bytes) = record.peak_memory_bytes {
        line(&format!("\nPeak memory of the benchmark: {}", memory::amount(bytes)));
    }
}

fn rates(works: &[&Measured]) {
    let peer = works.iter().any(|work| !work.peer_seconds.is_empty());
    let heading = if peer { " peer ms | times faster | by CPU time | at the peak |" } else { "" };
    line(&format!(
        "| work | threads | ms | GFLOP/s | of peak | of peak by CPU time | allocations a step |{heading}"
    ));
    line(&format!("|---|---|---|---|---|---|---|{}", if peer { "---|---|---|---|" } else { "" }));
    for work in works {
        // Twice as many numbers of f32 as of f64 are in a vector.
        let (operations, scale) = match work.amount {
            Amount::Operations64(operations) => (operations, 0.5),
            Amount::Operations(operations) => (operations, 1.0),
            Amount::Elements(_) | Amount::Commands => (f64::NAN, 1.0),
        };
        let peaks = |of: fn(&Peak) -> f64| work.peaks.iter().map(of).collect::<Vec<f64>>();
        let share = |seconds: &[f64], peaks: Vec<f64>| {
            100.0 * operations / scale * median(products(seconds, &peaks).map(f64::recip).collect())
        };
        let beside = match (peer, work.peer_seconds.is_empty()) {
            (false, _) => String::new(),
            (true, true) => " | | | |".into(),
            (true, false) => {
                let at_the_peak = products(&work.peer_cpu_seconds, &peaks(|peak| peak.by_cpu_time))
                    .map(|operations_in_time| scale * operations_in_time / operations)
                    .collect();
                format!(
                    " {:.1} | {:.2} | {:.2} | {:.2} |",
                    1e3 * median(work.peer_seconds.clone()),
                    ratio(&work.peer_seconds, &work.seconds),
                    ratio(&work.peer_cpu_seconds, &work.cpu_seconds),
                    median(at_the_peak),
                )
            }
        };
        let seconds = median(work.seconds.clone());
        line(&format!(
            "| {} | {} | {:.1} | {:.0} | {:.0} % | {:.0} % | {:.0} |{beside}",
            work.name,
            work.threads,
            1e3 * seconds,
            operations / seconds / 1e9,
            share(&work.seconds, peaks(|peak| peak.by_time)),
            share(&work.cpu_seconds, peaks(|peak| peak.by_cpu_time)),
            work.allocations,
        ));
    }
}

fn products<'a>(a: &'a [f64], b: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    a.iter().zip(b).map(|(a, b)| a * b)
}

/// Median over rounds of `a / b`.
fn ratio(a: &[f64], b: &[f64]) -> f64 {
    median(a.iter().zip(b).map(|(a, b)| a / b).collect())
}

/// Passes over memory, beside copying in the same round.
fn walks(works: &[&Measured]) {
    let copy = works.iter().find(|work| work.name == COPY);
    line("| pass over 500,000 numbers, one thread | ns a number | ns of CPU time a number | copies |");
    line("|---|---|---|---|");
    for work in works {
        let Amount::Elements(elements) = work.amount else { continue };
        let ns = |seconds: &[f64]| 1e9 * median(seconds.to_vec()) / elements as f64;
        let copies = copy.map_or(f64::NAN, |copy| ratio(&work.cpu_seconds, &copy.cpu_seconds));
        line(&format!(
            "| {} | {:.2} | {:.2} | {copies:.1} |",
            work.name,
            ns(&work.seconds),
            ns(&work.cpu_seconds)
        ));
    }
}

fn commands(works: &[&Measured]) {
    line("| command, run once | threads | s | s of CPU time | peak memory |\n|---|---|---|---|---|");
    for work in works {
        let memory = work.peak_bytes.map_or("unknown".into(), memory::amount);
        line(&format!(
            "| {} | {} | {:.1} | {:.1} | {memory} |",
            work.name,
            work.threads,
            median(work.seconds.clone()),
            median(work.cpu_seconds.clone())
        ));
    }
}

/// What a second thread is worth, for work that ran on one and on two.
fn speedups(works: &[Measured]) {
    let alone = works.iter().filter(|work| work.threads == 1);
    let pairs: Vec<_> = alone
        .filter_map(|one| {
            let same = |two: &&Measured| (two.threads, two.group, &two.name) == (2, one.group, &one.name);
            works.iter().find(same).map(|two| (one, two))
        })
        .collect();
    if pairs.is_empty() {
        return;
    }
    line(
        "\n**Scaling in threads**\n\n| work | two threads are faster by | and take CPU time |\n|---|---|---|",
    );
    for (one, two) in pairs {
        line(&format!(
            "| {} | {:.2} | {:.2} |",
            one.name,
            ratio(&one.seconds, &two.seconds),
            ratio(&two.cpu_seconds, &one.cpu_seconds)
        ));
    }
}
