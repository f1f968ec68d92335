//! The judge's counts as the report words them.

use palimpsest_metrics::score::Search;
use palimpsest_metrics::table::RowKind as Row;
use palimpsest_metrics::tally::{HELD_OUT_RATE, INTERVAL_LEVEL, SSIM_CUT, Tally};
use palimpsest_report::{CalibrationBin, Count, Judge, PrecisionAt, Ranking, RowKind, ScoreRow};

use super::score::ScoreFile;
use crate::attacking::pages::count;

/// The judge's counts as the report words them.
pub(super) fn judge_section(score: &ScoreFile) -> Judge {
    let of_rows = score.distances.as_ref().map(|distances| &distances.table);
    let name = |kind| match kind {
        Row::HeldOut if of_rows.is_some() => "held-out rows",
        Row::Training => "candidates of the attack",
        Row::HeldOut => "held-out images",
        Row::ClassMeans => "class means",
        Row::WeightRows => "rows of W1",
        Row::RandomNoise => "random noise",
    };
    let rows = score.table.rows.iter().map(|row| {
        let by_ssim = |of: fn(&Tally) -> Count, n| row.ssim.as_ref().map(|t| Count { of: n, ..of(t) });
        ScoreRow {
            name: name(row.kind).into(),
            kind: if row.kind == Row::Training { RowKind::Candidates } else { RowKind::Null },
            above_cut: by_ssim(|t| count(t.above_cut, 0, None), row.n),
            ssim_at_rate: by_ssim(|t| count(t.above_threshold, 0, Some(t.interval)), row.n),
            ncc_at_rate: Some(count(row.ncc.above_threshold, row.n, Some(row.ncc.interval))),
            unique: by_ssim(|t| count(t.unique_above_cut, 0, None), row.n),
            distance_at_rate: of_rows
                .and_then(|table| table.row(row.kind))
                .map(|found| count(found.within, found.n, Some(found.interval))),
            mean_of_ten_best: match of_rows {
                Some(table) => table.row(row.kind).map(|found| found.mean_of_ten_nearest),
                None => row.ssim.as_ref().map(|t| t.mean_of_ten_best),
            },
        }
    });
    Judge {
        protocol: protocol_words(score),
        ssim_cut: SSIM_CUT,
        held_out_rate: HELD_OUT_RATE,
        ssim_at_rate: score.table.thresholds.ssim.unwrap_or(f64::NAN),
        ncc_at_rate: score.table.thresholds.ncc,
        distance_at_rate: of_rows.map(|table| table.threshold),
        interval_level: INTERVAL_LEVEL,
        rows: rows.collect(),
        classes: score.classes.clone(),
        ranking: Some(Ranking {
            by: "how sure it is of each".into(),
            precision_at: score
                .ranking
                .precision_at
                .iter()
                .map(|p| PrecisionAt { k: p.k, real: p.real })
                .collect(),
            calibration: score
                .ranking
                .calibration
                .bins
                .iter()
                .map(|b| CalibrationBin { claimed: b.claimed, real: b.real, of: b.of })
                .collect(),
        }),
    }
}

fn protocol_words(score: &ScoreFile) -> String {
    match &score.table.protocol.ssim {
        Some(ssim) => format!(
            "Nearest candidate by NCC at {} size, {} added, min-max to [0, 1], SSIM of window {}, sigma {}, range {}.",
            match score.table.protocol.search {
                Search::FullSize => "full",
                Search::HalfSize => "half",
            },
            match (&score.with_training_mean, score.data.subtract, &score.data.normalize) {
                (Some(_), _, _) => "the mean image that the attack tells",
                (None, Some(_), _) => "the constant that was taken",
                (None, None, Some(_)) => "the declared mean",
                (None, None, None) => "training mean",
            },
            ssim.window,
            ssim.sigma,
            ssim.data_range
        ),
        None => "Nearest candidate by scaled distance: root mean square difference, each column in standard deviations of \
                 the training rows. NCC is counted beside it."
            .into(),
    }
}
