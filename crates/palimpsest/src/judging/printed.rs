//! What a person reads of a judgement in the terminal.

use palimpsest_metrics::calibration::PrecisionAt;
use palimpsest_metrics::judge::Judgement;
use palimpsest_metrics::judge::pool::Measure;
use palimpsest_metrics::judge::span::TruthFit;
use palimpsest_metrics::table::RowKind;
use palimpsest_report::{ClassCounts, render_score_table, render_text_table};

use super::score::ScoreFile;
use super::section::judge_section;
use crate::terminal::output;

/// Prints the first headline, the counts beside their nulls, and what was called sure.
fn print_judgement(judgement: &Judgement) {
    let Judgement { legible, legible_held_out, pool, reliability, .. } = judgement;
    output::line(&format!(
        "legible: {} of {} training images among the first {} of the list (NCC above 0.9; {} with the sign left open; \
         {} of the images are negatives); of held-out images {legible_held_out}",
        legible.legible, legible.n, legible.ranked, legible.up_to_sign, legible.negatives
    ));
    let header = [
        "over the pool, one-to-one",
        "bar",
        "found",
        "held out",
        "class means",
        "rows of W1",
        "noise",
        "span keeps",
        "",
    ];
    let rows: Vec<Vec<String>> = pool
        .counts
        .iter()
        .map(|count| {
            let measure = if count.measure == Measure::Ncc { "NCC" } else { "SSIM" };
            let mark = count.class_means_reach.map_or_else(String::new, |n| format!("class means reach {n}"));
            vec![
                measure.into(),
                format!("{:.3}", count.threshold),
                count.count.to_string(),
                format!("{} of {}", count.held_out, pool.held_out),
                count.class_means.to_string(),
                count.weight_rows.to_string(),
                count.noise.to_string(),
                count.span_keeps.map_or_else(|| "-".into(), |n| n.to_string()),
                mark,
            ]
        })
        .collect();
    output::line(&render_text_table(&header, &rows));
    if let Some(reliability) = reliability {
        let sure = &reliability.sure;
        let interval = sure.interval.map_or_else(String::new, |[low, high]| {
            format!(" (Wilson interval of the share {:.0} to {:.0} %)", 100.0 * low, 100.0 * high)
        });
        output::line(&format!(
            "called 95 % sure: {}, of these {} real{interval}, {} again, {} negatives, {} nothing",
            sure.called, sure.real, sure.repeated, sure.negatives, sure.chance
        ));
    }
}

/// Prints the table and the ranking.
pub(super) fn print(score: &ScoreFile) {
    if let Some(fit) = score.truth.as_ref().filter(|fit| fit.verdict == TruthFit::Foreign) {
        output::note(&format!("warning: {fit}"));
    }
    if let Some(judgement) = &score.judgement {
        print_judgement(judgement);
    }
    output::line(&render_score_table(&judge_section(score)));
    if !score.classes.is_empty() {
        let of = |class: &ClassCounts| format!("{}: {} of {}", class.name, class.recovered, class.training);
        let each: Vec<String> = score.classes.iter().map(of).collect();
        output::line(&format!("of each label: {}", each.join("; ")));
    }
    let cells =
        |of: &dyn Fn(&PrecisionAt) -> String| score.ranking.precision_at.iter().map(of).collect::<Vec<_>>();
    let header: Vec<String> = cells(&|p| format!("best {}", p.k));
    let header: Vec<&str> =
        std::iter::once("truth-free ranking").chain(header.iter().map(String::as_str)).collect();
    let row = std::iter::once("real".to_owned()).chain(cells(&|p| p.real.to_string())).collect();
    output::line(&render_text_table(&header, &[row]));
    if let Some(table) = &score.with_training_mean
        && let Some(row) = table.row(RowKind::Training)
        && let Some(ssim) = &row.ssim
    {
        let published = match (score.data.subtract, &score.data.normalize) {
            (Some(_), _) | (_, Some(_)) => "what was taken",
            (None, None) => "the training mean, as published",
        };
        output::line(&format!(
            "pictures are shown with the mean image that the attack tells; with {published}, {} count by SSIM",
            ssim.above_threshold
        ));
    }
    if let Some(limit) = &score.limit
        && let Some(row) = limit.table.row(RowKind::Training)
    {
        let by_ssim = row.ssim.as_ref().map(|ssim| format!("{} by SSIM, ", ssim.above_threshold));
        output::line(&format!(
            "upper limit: the training inputs themselves, in the {} directions of the attack, count {}{} by NCC at the same rate",
            limit.directions,
            by_ssim.unwrap_or_default(),
            row.ncc.above_threshold
        ));
    }
}
