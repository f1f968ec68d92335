//! The page and its picture, from the rows alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use palimpsest_report::{
    DotShape, ResultsTables, Scatter, ScatterDot, ScatterPanel, parse_results_table, render_scatter,
    write_results_tables,
};

use super::claims::{DELTA, above_their_null, allowed, looked_into};
use super::listed::FAMILIES;
use super::measure::NEARLY_EXACT;
use super::row::{Row, results};

/// What leaks against what the network can do, a dot a row.
pub(super) fn picture(rows: &[Row]) -> String {
    let panel = |y: &str, value: fn(&Row) -> f64| ScatterPanel {
        y: y.into(),
        dots: rows.iter().map(|row| dot(row, value(row))).collect(),
    };
    render_scatter(&Scatter {
        x: "test accuracy, %".into(),
        panels: vec![
            panel("training images nearly exact, %", |row| 100.0 * row.exact_share()),
            panel("members at 0.1 % false ones, %", |row| row.tpr_at_01),
        ],
        groups: FAMILIES.map(str::to_owned).to_vec(),
    })
}

fn dot(row: &Row, value: f64) -> ScatterDot {
    ScatterDot {
        at: [row.test_accuracy, value],
        group: FAMILIES.iter().position(|family| *family == row.family).unwrap_or(0),
        shape: if row.task.contains("two") { DotShape::Disc } else { DotShape::Square },
        label: format!("{}, seed {}: {}", row.task, row.seed, row.told),
    }
}

/// `docs/defences.md`.
pub(super) fn page(rows: &[Row]) -> Result<String> {
    let mut text = head(rows);
    claims(&mut text, rows);
    private(&mut text, rows);
    text.push_str(HOW);
    let table = parse_results_table(&results(rows).to_string())?;
    let tables = ResultsTables::from([("defences".to_owned(), table)]);
    Ok(write_results_tables(&text, &tables)?)
}

fn listed<T: Ord + ToString>(values: impl Iterator<Item = T>) -> String {
    let distinct: BTreeSet<T> = values.collect();
    distinct.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn head(rows: &[Row]) -> String {
    let tasks = listed(rows.iter().map(|row| row.task.as_str()));
    let seeds: BTreeSet<u64> = rows.iter().map(|row| row.seed).collect();
    let nets = listed(rows.iter().map(|row| row.hidden.replace(',', " and ")));
    let restarts = rows.iter().map(|row| row.restarts).max().unwrap_or(0);
    format!(
        "# What protects training data?\n\n\
         The same training set with and without what is said to protect. Each network is attacked alike, and asked for its members.\n\n\
         * Measured: {tasks}; {} network{} a defence; hidden layers of {nets}; at most {restarts} restarts an attack. More restarts find more, so a \
         count is what at least leaks.\n\
         * This page is written by `cargo xtask reproduce defences --write`. Nothing in it is written by hand.\n\n\
         ## The table\n\n\
         <!-- table:defences:begin -->\n<!-- table:defences:end -->\n\n\
         | column | meaning |\n|---|---|\n\
         | missed in training | training examples that the network answers wrong; many, and it has learned nothing that could leak |\n\
         | certificate | share of the first layer's weights that the training examples do not explain; 0 at a stationary point |\n\
         | nearly exact | training images of which a candidate has an NCC above {NEARLY_EXACT} |\n\
         | legible, held out | images of the first n of the attack's list in which a training image can be read, and the same of images never seen |\n\
         | sure, real | images that the attack calls 95 % sure, and those of them that are training images |\n\
         | members at 0.1 %, at 1 % | per cent of the training images that `members` scores above all but that share of {} others |\n\n\
         ![What leaks against accuracy](results/defences.svg)\n\n\
         Discs tell two classes apart, squares ten.\n\n",
        seeds.len(),
        if seeds.len() == 1 { "" } else { "s" },
        listed(rows.iter().map(|row| row.others)),
    )
}

fn claims(text: &mut String, rows: &[Row]) {
    text.push_str(
        "## What is said, and what the rows say\n\n\
         A defence protects if at most half of what leaks without it is left; in part, if at most four fifths are. Read the accuracy first: a \
         network that learned nothing holds nothing.\n\n\
         | claim | of | task, seed | accuracy, % | nearly exact, % | by images | members, % | by members |\n|---|---|---|---:|---:|---|---:|---|\n",
    );
    for looked in looked_into(rows) {
        let (without, with) = (looked.without, looked.with);
        let _ = writeln!(
            text,
            "| {} | {} | {}, {} | {:.0} to {:.0} | {:.0} to {:.0} | {} | {:.0} to {:.0} | {} |",
            looked.claim.told,
            looked.claim.source,
            with.task,
            with.seed,
            without.test_accuracy,
            with.test_accuracy,
            100.0 * without.exact_share(),
            100.0 * with.exact_share(),
            looked.by_images().word(),
            without.tpr_at_01,
            with.tpr_at_01,
            looked.by_members().word(),
        );
    }
    text.push('\n');
}

fn private(text: &mut String, rows: &[Row]) {
    let private: Vec<&Row> = rows.iter().filter(|row| row.epsilon.is_some()).collect();
    if private.is_empty() {
        return;
    }
    text.push_str("## Differential privacy\n\n");
    let best = private.iter().map(|row| row.test_accuracy).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "* Epsilon is that of the steps, by Rényi divergences of the sampled Gaussian mechanism, at a delta of {DELTA}. It does not cover the \
         seed, from which the noise can be made again.\n\
         * These networks are trained by plain steps on all examples, on inputs less a half: a mean image is not private. Steps and learning \
         rate were not tuned. The best has a test accuracy of {best:.1} %.\n",
    );
    text.push_str(
        "| task, seed | epsilon | members at 1 %, in % | what epsilon allows, in % |\n|---|---:|---:|---:|\n",
    );
    for row in &private {
        let epsilon = row.epsilon.unwrap_or(f64::NAN);
        let bound = allowed(epsilon, 0.01);
        let _ = writeln!(
            text,
            "| {}, {} | {epsilon:.2} | {:.0} | {bound:.1} |",
            row.task, row.seed, row.tpr_at_1
        );
    }
    text.push('\n');
    let loud = above_their_null(rows);
    if loud.is_empty() {
        text.push_str("No row with privacy shows images above their null, or more members than its epsilon allows beyond what chance adds.\n\n");
    } else {
        for row in loud {
            let _ = writeln!(
                text,
                "**To be explained:** {}, seed {}, {}: {} nearly exact, {} called sure, {} legible beside {} held out, {:.0} % of the members at 1 %.\n",
                row.task,
                row.seed,
                row.told,
                row.nearly_exact,
                row.sure,
                row.legible,
                row.legible_held_out,
                row.tpr_at_1
            );
        }
    }
}

const HOW: &str = "\
## How it was measured\n\n\
* What a defence is compared with differs from it by the defence alone: changed weights, sizes and the shift from weight decay 0.002, \
how long and how much decay from the published point, the rest from Adam on all examples at once. DP-SGD differs from Adam in its steps, too.\n\
* A network that a defence makes useless protects, too: read the accuracy beside it.\n\
* Records and references of `members` are given as the network sees them, also where the inputs were moved: who knows the records knows \
how they were prepared.\n\
* Members are counted on held-out images of the same data set, none of which is a reference.\n\
* A claim is held against attacks of the same number of restarts; an attack that a time limit cut is left out of the claims.\n\
* Every row of [`results/defences.json`](results/defences.json) has its command and its seconds, on two cores that were shared with \
other work.\n";

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn the_page_has_its_table_its_claims_and_what_is_to_be_explained() {
        let rows = [
            row("none", "none", 3, 50.0),
            row("decay-2e-3", "none", 40, 90.0),
            Row { epsilon: Some(4.0), family: "DP-SGD".into(), ..row("dp-4", "adam", 1, 30.0) },
        ];
        let text = page(&rows).unwrap();
        assert!(text.starts_with("# What protects training data?\n"));
        assert!(text.contains("| told of decay-2e-3 | 7 | 100 | 80.0 | 0 |"), "{text}");
        assert!(text.contains("| weight decay leaks | Buzaglo et al. (2023) | MNIST, two classes, 7 | 80 to 80 | 3 to 40 | confirmed | 50 to 90 | confirmed |"), "{text}");
        assert!(
            text.contains("**To be explained:**")
                && !text.contains("No row with privacy")
                && text.contains("| 4.00 | 30 | 54.7 |")
        );
        assert!(!page(&rows[..2]).unwrap().contains("Differential privacy"));
        let svg = picture(&rows);
        assert_eq!(svg.matches("<title>").count(), 6);
        assert!(svg.contains("told of dp-4"));
    }
}
