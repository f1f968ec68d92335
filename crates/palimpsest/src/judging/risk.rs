//! `palimpsest risk`: how exposed each training record is, for whoever holds the training set.

mod groups;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use ndarray::Axis;
use palimpsest_attack::evidence::membership::{Outputs, RecordEvidence, Weights, assess};
use palimpsest_metrics::score::{Protocol, search_ncc};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::render_text_table;
use palimpsest_runs::{MADE_BY, files};
use serde::Serialize;

use super::contestants::{Twofold, check_width, image_shape, targets};
use super::data::VictimData;
use super::score::ScoreFile;
use super::task::VictimTask;
use crate::attacking::found::Found;
use crate::terminal::{Misuse, lock_folder, output};

/// Tell how exposed each training record is: what of it was reconstructed, and how surely it is told to be a member.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest risk runs/judged --out runs/risk
  palimpsest risk runs/judged --groups hospitals.csv --out runs/risk

Needs the training set: the folder is one that `evaluate` wrote. Writes risk.csv (one line a training record, the most exposed first) and
risk.json (how many records of each class, and of each group, are above the line). A record is above the line if an image of the attack's list resembles it
more than all but 0.1 % of the held-out records, or if fewer than one record in a thousand that was not trained on shows as much.")]
pub struct RiskArgs {
    /// Folder that `evaluate` wrote.
    #[arg(value_name = "DIR")]
    pub judged: PathBuf,
    /// Groups that are counted like classes, such as hospitals or years: a text file with a name a line, one for each training record, in
    /// the order of `record` in risk.csv. A first line `group` is a heading.
    #[arg(long, value_name = "FILE")]
    pub groups: Option<PathBuf>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// P-value from which on a record is told to be a member.
const MEMBER: f64 = 1e-3;

/// The record of the command, `risk.json`.
#[derive(Debug, Serialize)]
pub struct RiskFile {
    /// The program that wrote it.
    pub made_by: String,
    /// The folder that was judged, by absolute path.
    pub judged: PathBuf,
    /// NCC above which a record counts as reconstructed.
    pub ncc_bar: f64,
    /// P-value below which a record is told to be a member.
    pub p_bar: f64,
    /// All records together.
    pub all: Exposed,
    /// Those of each class.
    pub classes: Vec<Exposed>,
    /// Those of each group; none without `--groups`.
    pub groups: Vec<Exposed>,
    /// One a training record, the most exposed first.
    pub records: Vec<RecordRisk>,
}

/// How many records are above the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exposed {
    /// Name of the class; none of all and of a group.
    pub class: Option<String>,
    /// Name of the group; none of all and of a class.
    pub group: Option<String>,
    /// Training records.
    pub records: usize,
    /// Of these, reconstructed.
    pub reconstructed: usize,
    /// Of these, told to be members.
    pub told: usize,
    /// Of these, one or the other: the records above the line.
    pub above: usize,
}

/// How exposed a training record is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordRisk {
    /// Its place among the training records, from 0.
    pub record: usize,
    /// Its class.
    pub class: String,
    /// Its group, if it was told.
    pub group: Option<String>,
    /// Place in the attack's list, from 0, of what resembles it most.
    pub place: usize,
    /// How much that resembles it, NCC in [-1, 1].
    pub ncc: f64,
    /// Whether that is above the bar.
    pub reconstructed: bool,
    /// Its multiplier among the training records.
    pub multiplier: Option<f64>,
    /// Share of its square outside of the directions that training has written.
    pub span_share: f64,
    /// Decimal logarithm of the probability that a record that was not trained on shows as much.
    pub log10_p: f64,
    /// Whether that is below one in a thousand.
    pub told: bool,
}

impl RecordRisk {
    fn above(&self) -> bool {
        self.reconstructed || self.told
    }
}

/// Carries out `palimpsest risk`.
///
/// # Errors
/// Files that cannot be read or no longer fit together; fewer than 200 held-out records.
pub fn run(args: &RiskArgs) -> Result<()> {
    let judged = args.judged.join("score.json");
    if !judged.exists() {
        bail!(Misuse(format!(
            "{} holds no score.json; name a folder that `evaluate` wrote",
            args.judged.display()
        )));
    }
    let score: ScoreFile = files::read_json(&judged)?;
    let data_args = score.data.args()?;
    let data = VictimData::load(&data_args)?;
    let told = args.groups.as_ref().map(|path| groups::read(path, data.train.count())).transpose()?;
    let _lock = lock_folder(&args.out)?;
    let mut records = records(&score, &data, data_args.task == VictimTask::Regression)?;
    if let Some(told) = told {
        records.iter_mut().for_each(|risk| risk.group = Some(told[risk.record].clone()));
    }
    let file = RiskFile {
        made_by: MADE_BY.into(),
        judged: output::absolute(&args.judged),
        ncc_bar: score.table.thresholds.ncc,
        p_bar: MEMBER,
        all: exposed(&records, |_| true),
        classes: classes(&records),
        groups: grouped(&records),
        records,
    };
    files::write_json(&args.out.join("risk.json"), &file)?;
    files::write_whole(&args.out.join("risk.csv"), csv(&file.records).as_bytes())?;
    tell(args, &file);
    Ok(())
}

/// What is known of each training record, the most exposed first.
fn records(score: &ScoreFile, data: &VictimData, regression: bool) -> Result<Vec<RecordRisk>> {
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let found = Found::read(&score.reconstruction)?;
    check_width(&found.candidates, data)?;
    let listed = found.estimates(&score.reconstruction)?;
    let listed = listed.unwrap_or_else(|| found.candidates.select(Axis(0), &found.run.ranking));
    let claims = Twofold::of_attack(&found, data, listed);
    let shape = image_shape(data.shape);
    let ncc = search_ncc(claims.images(shape)?, targets(data)?.0, &Protocol::published(shape), parallelism)?;
    let outputs = if regression { Outputs::Values } else { Outputs::Classes };
    let references = Some(data.held_out_centered.view());
    let told =
        assess(Weights::Network(&found.network, outputs), data.centered.view(), references, parallelism)
            .map_err(|error| anyhow!("the held-out records are no reference: {error}"))?;
    let bar = score.table.thresholds.ncc;
    let of = |(record, evidence): (usize, &RecordEvidence)| {
        let row = ncc.row(record);
        let place = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
        let best = row.get(place).map_or(-1.0, |&ncc| f64::from(ncc));
        let log10_p = evidence.log_p.unwrap_or(0.0) / std::f64::consts::LN_10;
        RecordRisk {
            record,
            class: data.label_name(data.train.classes[record]),
            group: None,
            place,
            ncc: best,
            reconstructed: best > bar,
            multiplier: evidence.multiplier,
            span_share: evidence.span_share,
            log10_p,
            told: log10_p < MEMBER.log10(),
        }
    };
    let mut records: Vec<RecordRisk> = told.records.iter().enumerate().map(of).collect();
    records.sort_by(|a, b| {
        let most = |risk: &RecordRisk| (risk.reconstructed, risk.told);
        most(b).cmp(&most(a)).then(a.log10_p.total_cmp(&b.log10_p)).then(b.ncc.total_cmp(&a.ncc))
    });
    Ok(records)
}

/// Of the records that are `among` those to count.
fn exposed(records: &[RecordRisk], among: impl Fn(&RecordRisk) -> bool) -> Exposed {
    let mut sum = Exposed::default();
    for risk in records.iter().filter(|risk| among(risk)) {
        sum.records += 1;
        sum.reconstructed += usize::from(risk.reconstructed);
        sum.told += usize::from(risk.told);
        sum.above += usize::from(risk.above());
    }
    sum
}

fn classes(records: &[RecordRisk]) -> Vec<Exposed> {
    let names: BTreeSet<&str> = records.iter().map(|risk| risk.class.as_str()).collect();
    let of =
        |name: &str| Exposed { class: Some(name.to_owned()), ..exposed(records, |risk| risk.class == name) };
    names.into_iter().map(of).collect()
}

fn grouped(records: &[RecordRisk]) -> Vec<Exposed> {
    let names: BTreeSet<&str> = records.iter().filter_map(|risk| risk.group.as_deref()).collect();
    let of = |name: &str| Exposed {
        group: Some(name.to_owned()),
        ..exposed(records, |risk| risk.group.as_deref() == Some(name))
    };
    names.into_iter().map(of).collect()
}

fn csv(records: &[RecordRisk]) -> String {
    let mut text =
        String::from("record,class,group,above,reconstructed,told,place,ncc,multiplier,span_share,log10_p\n");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for risk in records {
        let fields = [
            risk.record.to_string(),
            quoted(&risk.class),
            risk.group.as_deref().map(quoted).unwrap_or_default(),
            u8::from(risk.above()).to_string(),
            u8::from(risk.reconstructed).to_string(),
            u8::from(risk.told).to_string(),
            risk.place.to_string(),
            format!("{:.4}", risk.ncc),
            risk.multiplier.map(|multiplier| format!("{multiplier:.6e}")).unwrap_or_default(),
            format!("{:.6e}", risk.span_share),
            format!("{:.3}", risk.log10_p),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn tell(args: &RiskArgs, file: &RiskFile) {
    let all = &file.all;
    output::line(&format!(
        "{} of {} training records are above the line: {} reconstructed, {} told to be members",
        all.above, all.records, all.reconstructed, all.told
    ));
    output::line(&table("class", &file.classes));
    if !file.groups.is_empty() {
        output::line(&table("group", &file.groups));
    }
    let csv = output::absolute(&args.out.join("risk.csv"));
    output::line(&format!("wrote {}", csv.display()));
    output::event(
        "result",
        &serde_json::json!({ "command": "risk", "out": output::absolute(&args.out), "above": all, "classes": file.classes, "groups": file.groups }),
    );
}

/// The counts of each `kind` of records.
fn table(kind: &str, counts: &[Exposed]) -> String {
    let row = |of: &Exposed| {
        let name = of.class.as_ref().or(of.group.as_ref()).cloned().unwrap_or_default();
        let numbers = [of.records, of.reconstructed, of.told, of.above].map(|n| n.to_string());
        [vec![name], numbers.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = counts.iter().map(row).collect();
    render_text_table(&[kind, "records", "reconstructed", "told", "above the line"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn risk(record: usize, class: &str, ncc: f64, log10_p: f64) -> RecordRisk {
        RecordRisk {
            record,
            class: class.into(),
            group: None,
            place: 0,
            ncc,
            reconstructed: ncc > 0.9,
            multiplier: None,
            span_share: 0.01,
            log10_p,
            told: log10_p < -3.0,
        }
    }

    #[test]
    fn records_above_the_line_are_counted_for_each_class() {
        let records = [
            risk(0, "cat", 0.95, -10.0),
            risk(1, "dog", 0.1, -4.0),
            risk(2, "cat", 0.95, -1.0),
            risk(3, "cat", 0.2, -0.1),
        ];
        let of = exposed(&records, |_| true);
        assert_eq!((of.records, of.reconstructed, of.told, of.above), (4, 2, 2, 3));
        let classes = classes(&records);
        assert_eq!(classes.iter().map(|class| class.above).collect::<Vec<_>>(), [2, 1]);
        assert!(grouped(&records).is_empty());
        let text = csv(&records);
        assert_eq!(text.lines().count(), 5);
        assert!(text.contains("1,\"dog\",,1,0,1,0,0.1000,,1.000000e-2,-4.000\n"), "{text}");
    }

    #[test]
    fn groups_are_counted_apart_from_classes() {
        let of = |record, class, group: &str, log10_p| RecordRisk {
            group: Some(group.into()),
            ..risk(record, class, 0.1, log10_p)
        };
        let records = [of(0, "cat", "north", -5.0), of(1, "dog", "south", -4.0), of(2, "cat", "south", -1.0)];
        let groups = grouped(&records);
        let counts: Vec<_> = groups.iter().map(|g| (g.group.as_deref(), g.records, g.above)).collect();
        assert_eq!(counts, [(Some("north"), 1, 1), (Some("south"), 2, 1)]);
        assert!(groups.iter().all(|group| group.class.is_none()));
        assert!(csv(&records).contains("1,\"dog\",\"south\",1,0,1,"));
    }
}
