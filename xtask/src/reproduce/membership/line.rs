//! One line of the table, and the table as a file of results.

use std::path::Path;

use anyhow::Result;
use palimpsest_report::render_text_table;
use palimpsest_runs::files;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One statistic on one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Name of the network.
    pub(super) victim: String,
    /// Data set and what is told apart, in words.
    pub(super) task: String,
    pub(super) n: usize,
    pub(super) seed: u64,
    pub(super) training: String,
    pub(super) statistic: String,
    /// Whether it needs the label of a record: yes or no.
    pub(super) labels: String,
    pub(super) shadows: usize,
    /// Records that were not trained on, and references besides.
    pub(super) others: usize,
    pub(super) references: usize,
    /// Per cent of the members that score above all but so many of the others.
    pub(super) tpr_at_01: f64,
    pub(super) tpr_at_1: f64,
    /// What the first must reach.
    pub(super) must: Option<f64>,
    pub(super) null: Option<Uniform>,
    pub(super) seconds: f64,
    pub(super) machine: String,
    pub(super) date: String,
    /// The command that makes it.
    pub(super) command: String,
}

/// How p-values behave on what was not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Uniform {
    /// Per cent of the others with a p-value below these.
    pub(super) below_001: f64,
    pub(super) below_0001: f64,
    /// Whether scores of others and of references are of one law (Kolmogorov and Smirnov, two samples).
    pub(super) distance: f64,
    pub(super) p_value: f64,
}

/// Lines of a file of results.
#[derive(Deserialize)]
struct Lines {
    rows: Vec<Line>,
}

/// Writes `new` to the table at `path`, each in place of the same statistic on the same network, behind what is there.
pub(super) fn write(path: &Path, new: &[Line]) -> Result<()> {
    let mut lines = if path.exists() { files::read_json::<Lines>(path)?.rows } else { Vec::new() };
    put(&mut lines, new);
    Ok(files::write_json(path, &results(&lines))?)
}

fn put(lines: &mut Vec<Line>, new: &[Line]) {
    for line in new {
        let same = |other: &Line| (&other.victim, &other.statistic) == (&line.victim, &line.statistic);
        match lines.iter().position(same) {
            Some(at) => lines[at] = line.clone(),
            // Beside the other statistics on its network.
            None => {
                let last = lines.iter().rposition(|other| other.victim == line.victim);
                lines.insert(last.map_or(lines.len(), |last| last + 1), line.clone());
            }
        }
    }
}

/// The lines as a file of `docs/results`.
fn results(lines: &[Line]) -> Value {
    let column = |heading: &str, field: &str| json!({ "heading": heading, "fields": [field] });
    let rounded = |heading: &str, field: &str, decimals: usize| {
        let mut column = column(heading, field);
        column["decimals"] = json!(decimals);
        column
    };
    let text = |heading: &str, field: &str| json!({ "heading": heading, "fields": [field], "align": "left" });
    json!({
        "title": "Which records were trained on",
        "columns": [
            text("network", "task"),
            column("n", "n"),
            text("training", "training"),
            text("statistic", "statistic"),
            text("needs labels", "labels"),
            column("shadows", "shadows"),
            rounded("members at 0.1 %", "tpr_at_01", 0),
            rounded("must reach", "must", 0),
            rounded("members at 1 %", "tpr_at_1", 0),
            rounded("others with p < 0.01, %", "below_001", 2),
            rounded("p < 0.001, %", "below_0001", 2),
            rounded("others like references, p", "p_value", 2),
            rounded("seconds", "seconds", 1),
        ],
        "rows": lines.iter().map(row).collect::<Vec<_>>(),
    })
}

/// A line with what is said of its null as fields of their own.
fn row(line: &Line) -> Value {
    let mut row = json!(line);
    for field in ["below_001", "below_0001", "p_value"] {
        row[field] = json!(line.null)[field].clone();
    }
    row
}

pub(super) fn text(lines: &[Line]) -> String {
    let header = [
        "network",
        "n",
        "training",
        "statistic",
        "labels",
        "shadows",
        "at 0.1 %",
        "must",
        "at 1 %",
        "p < 0.01",
        "p < 0.001",
        "one law, p",
        "seconds",
    ];
    let or_nothing =
        |value: Option<f64>, decimals: usize| value.map(|v| format!("{v:.decimals$}")).unwrap_or_default();
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.task.clone(),
                line.n.to_string(),
                line.training.clone(),
                line.statistic.clone(),
                line.labels.clone(),
                line.shadows.to_string(),
                format!("{:.1} %", line.tpr_at_01),
                or_nothing(line.must, 0),
                format!("{:.1} %", line.tpr_at_1),
                or_nothing(line.null.map(|null| null.below_001), 2),
                or_nothing(line.null.map(|null| null.below_0001), 2),
                or_nothing(line.null.map(|null| null.p_value), 3),
                format!("{:.1}", line.seconds),
            ]
        })
        .collect();
    render_text_table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use palimpsest_report::{ResultsTables, parse_results_table, results_markdown};

    use super::*;

    fn line(victim: &str, statistic: &str, tpr_at_01: f64) -> Line {
        Line {
            victim: victim.into(),
            task: "MNIST, two classes".into(),
            n: 500,
            seed: 11,
            training: "weight decay".into(),
            statistic: statistic.into(),
            labels: "no".into(),
            shadows: 0,
            others: 2000,
            references: 1000,
            tpr_at_01,
            tpr_at_1: tpr_at_01,
            must: Some(80.0),
            null: Some(Uniform { below_001: 1.25, below_0001: 0.05, distance: 0.02, p_value: 0.4 }),
            seconds: 2.5,
            machine: "a machine".into(),
            date: "2026-11-29".into(),
            command: "cargo xtask reproduce membership".into(),
        }
    }

    #[test]
    fn a_line_takes_the_place_of_the_same_and_a_new_one_stands_beside_its_network() {
        let mut lines = vec![line("a", "weights", 10.0), line("b", "weights", 20.0)];
        put(&mut lines, &[line("a", "weights", 30.0), line("a", "LiRA", 5.0), line("c", "weights", 1.0)]);
        let order: Vec<_> = lines.iter().map(|of| (&*of.victim, &*of.statistic, of.tpr_at_01)).collect();
        assert_eq!(
            order,
            [("a", "weights", 30.0), ("a", "LiRA", 5.0), ("b", "weights", 20.0), ("c", "weights", 1.0)]
        );
    }

    #[test]
    fn the_file_is_one_of_results_and_is_read_back() {
        let without = Line { null: None, must: None, ..line("b", "loss", 3.0) };
        let lines = [line("a", "weights", 81.4), without];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("membership.json");
        write(&path, &lines[..1]).unwrap();
        write(&path, &lines[1..]).unwrap();
        let back: Lines = files::read_json(&path).unwrap();
        assert_eq!(back.rows, lines);
        let table = parse_results_table(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let tables = ResultsTables::from([("membership".to_owned(), table)]);
        let text = results_markdown("membership", &tables).unwrap();
        assert!(text.contains("| weights | no | 0 | 81 | 80 | 81 | 1.25 | 0.05 | 0.40 | 2.5 |"), "{text}");
    }
}
