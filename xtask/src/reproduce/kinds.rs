//! `cargo xtask reproduce kinds`: one network of each kind that people have, attacked and judged.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use palimpsest::cli::{self, Command};
use palimpsest::judging::score::{ScoreFile, training_row};
use palimpsest::terminal::{Misuse, clock, interrupt, output};
use palimpsest_datasets::DataName;
use palimpsest_report::render_text_table;
use palimpsest_runs::files;
use palimpsest_runs::record::MODEL_FILE;
use serde::{Deserialize, Serialize};

use super::asked::RowsArgs;
use super::results;
use super::rows::Counts;
use super::unfinished::{broken_off, finished};
use super::victims::ReproduceArgs;

/// Adam as a tutorial has it, until it rests.
const ADAM: &str = "--optimizer adam --batch-size 20 --learning-rate 1e-3 --epochs 1500 --rate-decay 300,0.3 --weight-decay 2e-3";

/// A kind of network: options of `train` and `reconstruct` as a person types them.
struct Kind {
    name: &'static str,
    /// What it is, for the table.
    words: &'static str,
    data: DataName,
    /// What `train` and `evaluate` both take.
    examples: &'static str,
    train: &'static str,
    attack: &'static str,
    /// Seconds for the attack.
    limit: f64,
}

const BINARY: &str = "--task animals-vehicles --n 100";
const TEN: &str = "--task classes --n 100";

/// All kinds.
const KINDS: [Kind; 16] = [
    Kind::of("decay", "two classes, weight decay", BINARY, "--weight-decay 2e-3"),
    Kind::of("published", "two classes, published point", BINARY, ""),
    Kind::of("biases", "two classes, biases everywhere", BINARY, "--weight-decay 2e-3 --biases everywhere"),
    Kind {
        examples: "--task animals-vehicles --n 100 --counts 25/75",
        ..Kind::of(
            "quarter",
            "two classes, 25 and 75, biases everywhere",
            "",
            "--weight-decay 2e-3 --biases everywhere",
        )
    },
    Kind::of(
        "adam",
        "two classes, Adam in batches, widths 600",
        BINARY,
        "ADAM --biases everywhere --hidden 600,600",
    ),
    Kind::of(
        "two-logits",
        "two logits",
        "--task 0,1,8,9/2,3,4,5,6,7 --n 100",
        "--loss softmax --weight-decay 2e-3",
    ),
    Kind::of("ten", "ten classes, biases everywhere", TEN, "--weight-decay 2e-3 --biases everywhere"),
    Kind::of("ten-adam", "ten classes, Adam in batches", TEN, "ADAM --biases everywhere"),
    Kind::of(
        "ten-sgd",
        "ten classes, SGD in batches",
        TEN,
        "--optimizer sgd --batch-size 20 --learning-rate 0.1 --epochs 3000 --rate-decay 600,0.3 --weight-decay 2e-3 --biases everywhere",
    ),
    Kind::of(
        "ten-sgd-early",
        "ten classes, SGD in batches, a tenth of the start left",
        TEN,
        "--optimizer sgd --batch-size 20 --learning-rate 0.05 --epochs 1500 --rate-decay 300,0.3 --weight-decay 2e-3 --biases everywhere",
    ),
    Kind::of(
        "ten-adamw",
        "ten classes, AdamW with decay 1e-2",
        TEN,
        "--optimizer adamw --batch-size 20 --learning-rate 1e-3 --epochs 1500 --rate-decay 300,0.3 --weight-decay 1e-2 --biases everywhere",
    ),
    Kind {
        limit: 600.0,
        ..Kind::of(
            "ten-500",
            "ten classes, n = 500",
            "--task classes --n 500",
            "--weight-decay 1e-3 --biases everywhere",
        )
    },
    Kind {
        limit: 600.0,
        ..Kind::of(
            "ten-500-published",
            "ten classes, n = 500, published point",
            "--task classes --n 500",
            "--biases everywhere",
        )
    },
    Kind {
        attack: "--regression",
        ..Kind::of("regression", "the label as a number", "--task regression --n 100", "--weight-decay 2e-3")
    },
    Kind { data: DataName::Mnist, ..Kind::of("digits-ten", "ten classes", TEN, "--weight-decay 2e-3") },
    Kind {
        data: DataName::Mnist,
        ..Kind::of(
            "digits-tutorial",
            "ten classes, Adam in batches, one hidden layer of 512, inputs minus 0.1307 over 0.3081",
            TEN,
            "--optimizer adam --batch-size 32 --learning-rate 1e-3 --epochs 800 --rate-decay 560,0.1 --weight-decay 2e-3 --biases everywhere \
             --hidden 512 --normalize 0.1307,0.3081",
        )
    },
];

impl Kind {
    const fn of(
        name: &'static str,
        words: &'static str,
        examples: &'static str,
        train: &'static str,
    ) -> Self {
        Self { name, words, data: DataName::Cifar10, examples, train, attack: "", limit: 120.0 }
    }

    /// Whether it is asked for by a `text`: its name, or a part of that where no kind has the text for its name.
    fn is_meant(&self, text: &str) -> bool {
        self.name == text || (self.name.contains(text) && KINDS.iter().all(|other| other.name != text))
    }

    /// Words that `train` and `evaluate` both take.
    fn examples(&self, args: &ReproduceArgs) -> Vec<String> {
        let mut words = vec!["--data".into(), self.data.to_string()];
        words.extend(split(self.examples));
        if let Some(folder) = args.data_dir(self.data) {
            words.extend(["--data-dir".into(), folder.display().to_string()]);
        }
        if let Some(block) = args.block {
            words.extend(["--block".into(), block.to_string()]);
        }
        words
    }

    fn training(&self) -> Vec<String> {
        split(&self.train.replace("ADAM", ADAM))
    }

    fn folder(&self, args: &ReproduceArgs, seed: u64, part: &str) -> PathBuf {
        let block = args.block.map_or_else(String::new, |block| format!("-{block}"));
        args.out.join(format!("{}-seed{seed}{block}", self.name)).join(part)
    }
}

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(Into::into).collect()
}

/// A command as it is typed.
#[derive(Parser)]
struct Typed {
    #[command(subcommand)]
    command: Command,
}

/// Carries out the command of these words.
fn carry_out(command: &str, words: impl IntoIterator<Item = String>) -> Result<()> {
    let words = ["palimpsest".into(), command.into()].into_iter().chain(words);
    cli::run(Typed::try_parse_from(words)?.command)
}

/// A judged attack, as the table shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    /// Name of the kind.
    victim: String,
    /// Data set and network, in words.
    network: String,
    block: Option<String>,
    seed: u64,
    #[serde(flatten)]
    counts: Counts,
    /// Over the pool, by NCC at a 0.1 % rate of held-out images.
    ncc_at_rate: usize,
    machine: String,
    date: String,
    command: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

/// Makes, attacks and judges what is missing, and writes the table.
pub(super) fn run(args: &ReproduceArgs, what: RowsArgs) -> Result<()> {
    let wanted: Vec<&Kind> = KINDS
        .iter()
        .filter(|kind| kind.data != DataName::Cifar10 || args.cifar10_dir.is_some())
        .filter(|kind| args.only.as_deref().is_none_or(|text| kind.is_meant(text)))
        .collect();
    ensure!(
        !wanted.is_empty(),
        Misuse("no kind is left; check --only, and give --cifar10-dir for CIFAR-10".into())
    );
    let table = if what.write { results::table("kinds") } else { args.out.join("kinds.json") };
    let mut rows: Vec<Row> = if table.exists() { files::read_json::<Rows>(&table)?.rows } else { Vec::new() };
    for kind in wanted {
        for &seed in &args.seeds {
            if interrupt::requested() {
                bail!(broken_off(args));
            }
            let row = measure(args, kind, seed)?;
            match rows.iter_mut().find(|of| (&of.victim, of.seed) == (&row.victim, row.seed)) {
                Some(old) => *old = row,
                None => rows.push(row),
            }
            files::write_json(&table, &in_columns(&rows))?;
        }
    }
    print(&rows);
    Ok(())
}

fn measure(args: &ReproduceArgs, kind: &Kind, seed: u64) -> Result<Row> {
    let folder = |part| kind.folder(args, seed, part);
    let (victim, attacked, judged) = (folder("victim"), folder("attack"), folder("judged"));
    let text = |path: &Path| path.display().to_string();
    let seeded = |folder: &Path| vec!["--seed".into(), seed.to_string(), "--out".into(), text(folder)];
    let resumed = |folder: &Path| if folder.exists() { split("--resume") } else { Vec::new() };
    if !finished(&victim, "train.json") {
        output::note(&format!("training {}, seed {seed}", kind.name));
        let words = [kind.examples(args), kind.training(), seeded(&victim), resumed(&victim)];
        carry_out("train", words.concat())?;
        ensure!(finished(&victim, "train.json"), broken_off(args));
    }
    if !finished(&attacked, "run.json") {
        output::note(&format!("attacking {}, seed {seed}", kind.name));
        let limit = args.time_limit.unwrap_or(kind.limit).to_string();
        let model = vec!["--model".into(), text(&victim.join(MODEL_FILE)), "--time-limit".into(), limit];
        carry_out(
            "reconstruct",
            [model, split(kind.attack), seeded(&attacked), resumed(&attacked)].concat(),
        )?;
        ensure!(finished(&attacked, "run.json"), broken_off(args));
    }
    if !judged.join("score.json").exists() {
        let mut words = vec!["--reconstruction".into(), text(&attacked), "--out".into(), text(&judged)];
        let training = kind.training();
        // What was done to inputs is declared to the judge, too.
        if let Some(at) = training.iter().position(|word| word == "--normalize") {
            words.extend_from_slice(&training[at..at + 2]);
        }
        carry_out("evaluate", [words, kind.examples(args)].concat())?;
    }
    row(args, kind, seed)
}

fn row(args: &ReproduceArgs, kind: &Kind, seed: u64) -> Result<Row> {
    let score: ScoreFile = files::read_json(&kind.folder(args, seed, "judged").join("score.json"))?;
    let pictures = if kind.data == DataName::Cifar10 { "photographs" } else { "digits" };
    Ok(Row {
        victim: kind.name.into(),
        network: format!("{pictures}, {}", kind.words),
        block: score.data.block.clone(),
        seed,
        counts: Counts::of(&score, &kind.folder(args, seed, "attack"))?,
        ncc_at_rate: training_row(&score)?.ncc.above_threshold,
        machine: results::machine(),
        date: clock::today(),
        command: args.command("kinds", kind.data, kind.name, seed),
    })
}

/// The rows as a file of `docs/results`.
fn in_columns(rows: &[Row]) -> serde_json::Value {
    let columns = HEADINGS.map(|(heading, fields)| {
        let mut column = serde_json::json!({ "heading": heading, "fields": fields });
        if fields == ["network"] {
            column["align"] = "left".into();
        }
        column
    });
    serde_json::json!({ "title": "One network of each kind", "columns": columns, "rows": rows })
}

/// Headings of the table, and which fields of a row each shows.
const HEADINGS: [(&str, &[&str]); 7] = [
    ("network", &["network"]),
    ("seconds", &["seconds"]),
    ("legible", &["legible"]),
    ("negatives", &["negatives"]),
    ("pool, NCC at a 0.1 % rate", &["ncc_at_rate"]),
    ("pool, SSIM > 0.4; held out", &["pool_ssim", "pool_ssim_held_out"]),
    ("called 95 % sure, of these real", &["sure", "sure_real"]),
];

fn print(rows: &[Row]) {
    let cells = |row: &Row| {
        let Row { network, counts, ncc_at_rate, .. } = row;
        vec![
            network.clone(),
            counts.seconds.to_string(),
            counts.legible.to_string(),
            counts.negatives.to_string(),
            ncc_at_rate.to_string(),
            format!("{}, {}", counts.pool_ssim, counts.pool_ssim_held_out),
            format!("{}, {}", counts.sure, counts.sure_real),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    output::line(&render_text_table(&HEADINGS.map(|(heading, _)| heading), &rows));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_command_that_can_be_typed_and_has_a_name_of_its_own() {
        let args = |command: &str, words: Vec<String>| {
            Typed::try_parse_from(["palimpsest".into(), command.into()].into_iter().chain(words))
                .map_err(|error| error.to_string())
        };
        for (i, kind) in KINDS.iter().enumerate() {
            let data = vec!["--data".into(), kind.data.to_string()];
            let out = split("--seed 1 --out there");
            args("train", [data, split(kind.examples), kind.training(), out.clone()].concat()).unwrap();
            args("reconstruct", [split("--model a"), split(kind.attack), out].concat()).unwrap();
            assert!(KINDS[..i].iter().all(|other| other.name != kind.name), "{}", kind.name);
            assert_eq!(KINDS.iter().filter(|other| other.is_meant(kind.name)).count(), 1, "{}", kind.name);
        }
    }
}
