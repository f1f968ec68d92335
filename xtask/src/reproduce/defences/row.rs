//! One line of the table, and the whole table as a file of results.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What was measured of one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Data set and number of outputs, in words.
    pub(super) task: String,
    /// Name of the defence.
    pub(super) defence: String,
    /// The same for a reader.
    pub(super) told: String,
    /// The group of defences that it belongs to.
    pub(super) family: String,
    /// Name of the defence without it.
    pub(super) base: String,
    pub(super) seed: u64,
    pub(super) n: usize,
    pub(super) hidden: String,
    /// Per cent of the held-out examples.
    pub(super) test_accuracy: f64,
    /// Training examples that are missed.
    pub(super) training_errors: usize,
    /// Share of the first layer's weights that the training examples do not explain.
    pub(super) certificate: f64,
    /// Training images of which a candidate is nearly exact.
    pub(super) nearly_exact: usize,
    /// Training images that can be read in the first n of the list, and held-out images that can.
    pub(super) legible: usize,
    pub(super) legible_held_out: usize,
    /// Images called sure, and those of them that are training images.
    pub(super) sure: usize,
    pub(super) sure_real: usize,
    /// Per cent of the members that score above all but so many of the others.
    pub(super) tpr_at_01: f64,
    pub(super) tpr_at_1: f64,
    /// Records that were not trained on, to count these, and references besides.
    pub(super) others: usize,
    pub(super) references: usize,
    /// Of differential privacy.
    pub(super) epsilon: Option<f64>,
    pub(super) restarts: usize,
    /// Whether a time limit ended the attack, so that it says less than the others.
    #[serde(default)]
    pub(super) cut: bool,
    pub(super) training_s: f64,
    pub(super) attack_s: f64,
    pub(super) membership_s: f64,
    /// What it was measured on, and when.
    pub(super) machine: String,
    pub(super) date: String,
    /// The command that makes it.
    pub(super) command: String,
}

impl Row {
    /// Share of the training images that the attack leaves nearly exact.
    pub(super) fn exact_share(&self) -> f64 {
        self.nearly_exact as f64 / self.n as f64
    }
}

/// The rows as a file of `docs/results`.
pub(super) fn results(rows: &[Row]) -> Value {
    let column = |heading: &str, fields: &[&str], decimals: Option<usize>| {
        let mut column = json!({ "heading": heading, "fields": fields });
        if let Some(decimals) = decimals {
            column["decimals"] = json!(decimals);
        }
        column
    };
    let text = |heading: &str, field: &str| json!({ "heading": heading, "fields": [field], "align": "left" });
    json!({
        "title": "What protects the training data, and what it costs",
        "columns": [
            text("task", "task"),
            text("defence", "told"),
            column("seed", &["seed"], None),
            column("n", &["n"], None),
            column("test accuracy, %", &["test_accuracy"], Some(1)),
            column("missed in training", &["training_errors"], None),
            column("certificate", &["certificate"], Some(3)),
            column("nearly exact", &["nearly_exact"], None),
            column("legible, held out", &["legible", "legible_held_out"], None),
            column("sure, real", &["sure", "sure_real"], None),
            column("members at 0.1 %", &["tpr_at_01"], Some(0)),
            column("members at 1 %", &["tpr_at_1"], Some(0)),
        ],
        "rows": rows.iter().map(named).collect::<Vec<_>>(),
    })
}

/// A row with the name of its network, as every row of results has one.
fn named(row: &Row) -> Value {
    let mut row_of_results = json!(row);
    row_of_results["victim"] = json!(format!("{}, {}", row.task, row.told));
    row_of_results
}

#[cfg(test)]
pub(super) mod tests {
    use palimpsest_report::{ResultsTables, parse_results_table, results_markdown};

    use super::*;

    pub(crate) fn row(defence: &str, base: &str, nearly_exact: usize, tpr_at_01: f64) -> Row {
        Row {
            task: "MNIST, two classes".into(),
            defence: defence.into(),
            told: format!("told of {defence}"),
            family: "how long".into(),
            base: base.into(),
            seed: 7,
            n: 100,
            hidden: "1000,1000".into(),
            test_accuracy: 80.0,
            training_errors: 0,
            certificate: 0.1,
            nearly_exact,
            legible: nearly_exact,
            legible_held_out: 0,
            sure: nearly_exact,
            sure_real: nearly_exact,
            tpr_at_01,
            tpr_at_1: tpr_at_01,
            others: 2000,
            references: 1000,
            epsilon: None,
            restarts: 2,
            cut: false,
            training_s: 1.0,
            attack_s: 1.0,
            membership_s: 1.0,
            machine: "a machine".into(),
            date: "2026-11-29".into(),
            command: "cargo xtask reproduce defences".into(),
        }
    }

    #[test]
    fn the_file_is_one_of_results_and_is_read_back() {
        let rows = [row("none", "none", 3, 50.0)];
        let value = results(&rows);
        let table = parse_results_table(&value.to_string()).unwrap();
        let text =
            results_markdown("defences", &ResultsTables::from([("defences".to_owned(), table)])).unwrap();
        assert!(
            text.contains("| told of none | 7 | 100 | 80.0 | 0 | 0.100 | 3 | 3, 0 | 3, 3 | 50 | 50 |"),
            "{text}"
        );
        let back: Vec<Row> = serde_json::from_value(value["rows"].clone()).unwrap();
        assert_eq!(back, rows);
    }
}
