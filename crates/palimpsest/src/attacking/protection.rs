//! What would have protected a network, by the measured table of `docs/defences.md`: the setting nearest to a network that was attacked.

use palimpsest_report::{Protection, ProtectionRow};
use serde::Deserialize;

use super::found::Found;

/// `docs/results/defences.json`, as it was when this program was made.
const MEASURED: &str = include_str!("../../results/defences.json");

#[derive(Deserialize)]
struct Results {
    rows: Vec<Row>,
}

#[derive(Clone, Deserialize)]
struct Row {
    task: String,
    told: String,
    defence: String,
    seed: u64,
    n: usize,
    hidden: String,
    test_accuracy: f64,
    nearly_exact: usize,
    tpr_at_01: f64,
}

/// What is seen of a network: channels of its input if that is an image, and how many outputs it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) channels: Option<usize>,
    pub(crate) outputs: usize,
}

impl Seen {
    pub(crate) fn of(found: &Found) -> Self {
        Self {
            channels: found.run.input_shape.map(|[channels, ..]| channels),
            outputs: found.network.outputs(),
        }
    }
}

/// The rows of the setting nearest to what is seen; nothing where none were measured.
pub(crate) fn protection(seen: Seen) -> Option<Protection> {
    nearest(MEASURED, seen)
}

/// What can be asked by whoever has records that may have been trained on, of a network in the file called `model`.
pub(crate) fn candidate_records(seen: Seen, model: &str) -> Vec<String> {
    let mut sentences = vec![
        "Which of given records a network was trained on can be told from its weights, also where nothing is reconstructed.".into(),
        format!(
            "With the records and at least 200 others of their kind that were surely not trained on: palimpsest members {model} --records \
             FILE --reference FILE --out DIR."
        ),
    ];
    if let Some(protection) = protection(seen) {
        let shares = || protection.rows.iter().map(|row| row.members);
        let (low, high) = (shares().fold(f64::INFINITY, f64::min), shares().fold(0.0, f64::max));
        sentences.push(format!(
            "Of the networks measured that are most like this one it told {low:.0} to {high:.0} % of the training inputs, with one in a \
             thousand others taken for one."
        ));
    }
    sentences
}

fn nearest(results: &str, seen: Seen) -> Option<Protection> {
    let rows: Vec<Row> = serde_json::from_str::<Results>(results).ok()?.rows;
    let two = seen.outputs == 1;
    let coloured = seen.channels == Some(3);
    let distance = |row: &&Row| {
        let outputs = row.task.contains("two") != two;
        let data = row.task.contains("CIFAR") != coloured;
        usize::from(outputs) + usize::from(data)
    };
    let first = rows.iter().min_by_key(distance)?.clone();
    let chosen: Vec<&Row> =
        rows.iter().filter(|row| row.task == first.task && row.seed == first.seed).collect();
    let none = chosen.iter().find(|row| row.defence == "none").map_or(first.n, |row| row.n);
    let setting = vec![
        format!(
            "Measured on other networks, the most like this one that were: {}, {none} training examples, hidden layers of {}.",
            first.task,
            first.hidden.replace(',', " and ")
        ),
        "What protected those may protect less where examples are fewer, layers wider or attacks longer."
            .into(),
    ];
    let rows = chosen.iter().map(|row| ProtectionRow {
        defence: row.told.clone(),
        test_accuracy: row.test_accuracy,
        nearly_exact: row.nearly_exact,
        of: row.n,
        members: row.tpr_at_01,
    });
    Some(Protection { setting, rows: rows.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(tasks: &[&str]) -> String {
        let row = |task: &&str| {
            serde_json::json!({
                "task": task, "told": format!("none of {task}"), "defence": "none", "seed": 7, "n": 100, "hidden": "9,9",
                "test_accuracy": 70.5, "nearly_exact": 3, "tpr_at_01": 40.0
            })
        };
        serde_json::json!({ "rows": tasks.iter().map(row).collect::<Vec<_>>() }).to_string()
    }

    #[test]
    fn the_nearest_setting_is_chosen() {
        let all = results(&["MNIST, two classes", "CIFAR-10, two classes", "CIFAR-10, ten classes"]);
        let told =
            |channels, outputs| nearest(&all, Seen { channels, outputs }).unwrap().rows[0].defence.clone();
        assert_eq!(told(Some(3), 1), "none of CIFAR-10, two classes");
        assert_eq!(told(Some(3), 10), "none of CIFAR-10, ten classes");
        assert_eq!(told(Some(1), 1), "none of MNIST, two classes");
        assert_eq!(nearest(&results(&[]), Seen { channels: None, outputs: 1 }), None);
    }

    #[test]
    fn what_was_measured_can_be_read() {
        let seen = Seen { channels: Some(3), outputs: 1 };
        let found = protection(seen).unwrap();
        assert!(
            found.rows.len() > 1
                && found.rows.iter().all(|row| row.of > 0 && (0.0..=100.0).contains(&row.members))
        );
        let sentences = candidate_records(seen, "net.pth");
        assert!(sentences[1].contains("palimpsest members net.pth") && sentences.len() == 3);
    }
}
