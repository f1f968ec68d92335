//! Fixed-width tables for the terminal.

use crate::data::{Count, Judge, ScoreRow};
use crate::number;

/// Sets rows under a header in columns of equal width: the first to the left, the others to the right.
///
/// Control characters and those that turn the writing direction are shown as `?`, so a name from a file cannot move
/// the cursor.
///
/// ```
/// use palimpsest_report::render_text_table;
/// let text = render_text_table(&["row", "count"], &[vec!["candidates".into(), "45".into()]]);
/// assert_eq!(text, "row         count\n----------  -----\ncandidates     45\n");
/// ```
///
/// # Panics
/// When a row has another number of cells than the header.
#[track_caller]
pub fn render_text_table(header: &[&str], rows: &[Vec<String>]) -> String {
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(
            row.len(),
            header.len(),
            "row {index} has {} cells, the header {}",
            row.len(),
            header.len()
        );
    }
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = |text: &str| {
        text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect::<String>()
    };
    let header: Vec<String> = header.iter().map(|cell| clean(cell)).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|i| std::iter::once(&header).chain(&rows).map(|row| row[i].chars().count()).max().unwrap_or(0))
        .collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for row in [&header, &rule].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| {
            if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The judge's score table as text: every count with its total and interval, candidates and nulls alike, and below
/// it what the thresholds and ranges are.
pub fn render_score_table(judge: &Judge) -> String {
    let rows: Vec<Vec<String>> = judge
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![row.name.clone()];
            cells.extend(score_counts(judge, row).into_iter().map(count));
            cells.push(number::fixed(row.mean_of_ten_best, 3));
            cells
        })
        .collect();
    let cut = format!("SSIM > {}", number::short(Some(judge.ssim_cut)));
    let ssim = format!("SSIM > {}", number::fixed(Some(judge.ssim_at_rate), 3));
    let ncc = format!("NCC > {}", number::fixed(Some(judge.ncc_at_rate), 3));
    let rate = number::percent(Some(judge.held_out_rate));
    let level = number::percent(Some(judge.interval_level));
    if let Some(distance) = judge.distance_at_rate {
        let distance = format!("distance < {}", number::fixed(Some(distance), 3));
        let text = render_text_table(&["rows", &distance, &ncc, "ten best"], &rows);
        return format!(
            "{text}{distance} and {ncc} are what {rate} of held-out rows reach; distance is in standard deviations; ten \
             best is its mean; ranges are {level} intervals.\n"
        );
    }
    let text = render_text_table(&["pictures", &cut, &ssim, &ncc, "one to one", "ten best"], &rows);
    format!(
        "{text}{ssim} and {ncc} are what {rate} of held-out images reach; one to one counts {cut}; ten best is their \
         mean SSIM; ranges are {level} intervals.\n"
    )
}

/// The heads of the score table's columns, thresholds included.
pub(crate) fn score_header(judge: &Judge) -> Vec<String> {
    let rate = number::percent(Some(judge.held_out_rate));
    let ncc = format!("NCC at {rate} held-out (>\u{a0}{})", number::fixed(Some(judge.ncc_at_rate), 3));
    if let Some(distance) = judge.distance_at_rate {
        let distance =
            format!("scaled distance at {rate} held-out (<\u{a0}{})", number::fixed(Some(distance), 3));
        return vec!["rows".into(), distance, ncc, "mean of ten nearest".into()];
    }
    let cut = number::short(Some(judge.ssim_cut));
    vec![
        "pictures".into(),
        format!("SSIM\u{a0}>\u{a0}{cut}"),
        format!("SSIM at {rate} held-out (>\u{a0}{})", number::fixed(Some(judge.ssim_at_rate), 3)),
        ncc,
        format!("one to one, SSIM\u{a0}>\u{a0}{cut}"),
        "mean of ten best".into(),
    ]
}

/// The counts of a row, in the order of the columns between the first and the last.
pub(crate) fn score_counts(judge: &Judge, row: &ScoreRow) -> Vec<Option<Count>> {
    match judge.distance_at_rate {
        Some(_) => vec![row.distance_at_rate, row.ncc_at_rate],
        None => vec![row.above_cut, row.ssim_at_rate, row.ncc_at_rate, row.unique],
    }
}

/// A count with its total and interval on one line.
fn count(count: Option<Count>) -> String {
    let Some(Count { count, of, interval }) = count else { return number::ABSENT.into() };
    let head = format!("{} of {}", number::grouped(count as u64), number::grouped(of as u64));
    match interval {
        Some([low, high]) => {
            format!("{head} ({} to {})", number::short(Some(low)), number::short(Some(high)))
        }
        None => head,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    proptest! {
        #[test]
        fn columns_line_up(cells in prop::collection::vec(prop::collection::vec(".{0,9}", 3), 0..5)) {
            let text = render_text_table(&["a", "bb", "c|"], &cells);
            let lines: Vec<&str> = text.split_terminator('\n').collect();
            prop_assert_eq!(lines.len(), cells.len() + 2);
            let rule = lines[1].chars().count();
            prop_assert!(lines.iter().all(|line| line.chars().count() <= rule && !line.chars().any(char::is_control)));
            prop_assert!(lines[0].chars().count() == rule, "the last head is right-aligned");
        }
    }

    #[test]
    #[should_panic(expected = "row 0 has 1 cells, the header 2")]
    fn ragged_rows_are_a_mistake_of_the_caller() {
        render_text_table(&["a", "b"], &[vec!["x".into()]]);
    }

    #[test]
    fn score_table_shows_nulls_intervals_and_dashes() {
        let mut judge = sample::judged().judge.unwrap();
        judge.rows[1].ncc_at_rate = None;
        judge.rows[1].mean_of_ten_best = Some(f64::NAN);
        let text = render_score_table(&judge);
        assert!(
            text.contains("SSIM > 0.431 and NCC > 0.620 are what 0.1 % of held-out images reach"),
            "{text}"
        );
        assert!(text.contains("45 of 100 (44.5 to 47.5)"), "{text}");
        assert!(text.contains("1 of 1,000 (0.5 to 3.5)"), "{text}");
        assert_eq!(text.lines().nth(3).unwrap().matches('\u{2014}').count(), 2, "{text}");
    }
}
