//! The benchmark as Markdown.

use super::{BenchRecord, Measured, median};
use crate::output::line;

pub(super) fn print(record: &BenchRecord) {
    line(&format!(
        "{} cores with {}, load average {} before and {} after{}",
        record.cores,
        record.instructions,
        record.load_average_before,
        record.load_average_after,
        record.peer.as_deref().map(|peer| format!("; peer: {peer}")).unwrap_or_default()
    ));
    let alone = record.works.iter().filter(|work| work.threads == 1);
    let best_peak = alone.flat_map(|work| &work.peaks).copied().fold(0.0, f64::max);
    line(&format!("Peak of one thread: {:.0} GFLOP/s in f32", best_peak / 1e9));
    let mut group = "";
    for measured in &record.works {
        if measured.group != group {
            group = measured.group;
            line(&format!("\n**{group}**\n"));
            line(
                "| work | threads | ms | GFLOP/s | of peak | of peak by CPU time | allocations a step | peer ms | times faster |",
            );
            line("|---|---|---|---|---|---|---|---|---|");
        }
        line(&row(measured, best_peak));
    }
    line("\n**Elementwise, one thread**\n\n| pass | ns an element |\n|---|---|");
    for (name, ns) in &record.elementwise_ns {
        line(&format!("| {name} | {ns:.2} |"));
    }
    if let Some(bytes) = record.peak_memory_bytes {
        line(&format!("\nPeak memory of the benchmark: {}", crate::memory::amount(bytes)));
    }
}

fn row(measured: &Measured, best_peak: f64) -> String {
    let Measured {
        name, threads, operations, seconds, cpu_seconds, peaks, peer_seconds, allocations, ..
    } = measured;
    let share: Vec<f64> = seconds.iter().zip(peaks).map(|(s, peak)| operations / s / peak).collect();
    let cpu_share: Vec<f64> = cpu_seconds.iter().map(|s| operations / s / best_peak).collect();
    let rates: Vec<f64> = seconds.iter().map(|s| operations / s / 1e9).collect();
    let ratios: Vec<f64> = peer_seconds.iter().zip(seconds).map(|(peer, own)| peer / own).collect();
    let peer = if ratios.is_empty() {
        "| |".to_owned()
    } else {
        format!("| {:.1} | {:.2} |", 1e3 * median(peer_seconds), median(&ratios))
    };
    format!(
        "| {name} | {threads} | {:.1} | {:.0} | {:.0} % | {:.0} % | {allocations:.0} {peer}",
        1e3 * median(seconds),
        median(&rates),
        100.0 * median(&share),
        100.0 * median(&cpu_share),
    )
}
