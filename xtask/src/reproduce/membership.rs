//! `cargo xtask reproduce membership`: what tells members from others by the weights alone, beside tests that need a record's label and
//! networks trained on other data, in one table with seconds.

mod records;
mod scores;
mod shadow;

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use ndarray::{ArrayView1, ArrayView2, Axis, concatenate, s};
use palimpsest::terminal::{Misuse, clock, interrupt, lock_folder, output};
use palimpsest_attack::evidence::membership::{Outputs, Weights, assess};
use palimpsest_datasets::{Dataset, LoadParams, load_with};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::render_text_table;
use palimpsest_runs::files;
use serde::Serialize;

use self::records::Records;
use self::scores::{lira, rmia};
use self::shadow::{Shadows, margins};
use super::asked::MembershipArgs;
use super::defences::{Case, Network, Training, cases, shares, trained, true_positives};
use super::unfinished::broken_off;
use super::victims::ReproduceArgs;

/// One statistic on one network.
#[derive(Clone, Debug, Serialize)]
struct Line {
    network: String,
    statistic: &'static str,
    /// Whether it needs the label of a record.
    label: bool,
    shadows: usize,
    tpr_at_01: f64,
    tpr_at_1: f64,
    seconds: f64,
}

/// Fewest shadows of which a deviation can be taken.
const LEAST_SHADOWS: usize = 4;

/// Trains what is missing, asks, and prints one table; `membership.json` beside it.
pub(super) fn run(args: &ReproduceArgs, what: &MembershipArgs) -> Result<()> {
    ensure!(
        what.shadows == 0 || what.shadows >= LEAST_SHADOWS,
        Misuse(format!("--shadows must be 0 or at least {LEAST_SHADOWS}"))
    );
    let _lock = lock_folder(&args.out)?;
    let mut lines = Vec::new();
    for case in cases(args, &what.networks) {
        let Some(training) = case.training() else { continue };
        if interrupt::requested() {
            bail!(broken_off(args));
        }
        output::note(&format!("{case}"));
        lines.extend(asked(args, what, &case, &training)?);
        files::write_json(&args.out.join("membership.json"), &lines)?;
    }
    ensure!(!lines.is_empty(), Misuse("no network is left; check --only".into()));
    print(&lines);
    Ok(())
}

/// All statistics on the network of `case`.
fn asked(args: &ReproduceArgs, what: &MembershipArgs, case: &Case, training: &Training) -> Result<Vec<Line>> {
    let network = trained(args, case, training)?;
    let data_dir = network.data_args.data_dir.as_deref();
    let params = LoadParams { data_dir, block: args.block, ..LoadParams::default() };
    let split = load_with(case.data, &params)?;
    let train = &network.data.train.dataset;
    let (records, population) = asked_of(train, &split.test)?;
    let name = case.to_string();
    let line = |statistic, label, shadows, found: &[f64], seconds| {
        let (members, rest) = found.split_at(records.members);
        let (tpr_at_01, tpr_at_1) =
            (true_positives(members, rest, 0.001), true_positives(members, rest, 0.01));
        Line { network: name.clone(), statistic, label, shadows, tpr_at_01, tpr_at_1, seconds }
    };
    let start = clock::now();
    let elapsed = |start| clock::now().saturating_sub(start).as_secs_f64();
    let own = by_weights(&network, records.raw.view(), population.raw.view())?;
    let mut lines = vec![line("weights alone", false, 0, &own, elapsed(start))];
    let start = clock::now();
    let target = margins(&network, &records)?;
    lines.push(line("loss threshold", true, 0, target.as_slice().unwrap_or(&[]), elapsed(start)));
    if what.shadows > 0 {
        let others = without(&split.train, train)?;
        let shadows = Shadows { args, case, training, wanted: what.shadows, limit_s: what.shadow_limit };
        let (of_records, of_population, seconds) = shadows.margins(&others, &records, &population)?;
        let count = of_records.nrows();
        ensure!(count >= LEAST_SHADOWS, "{count} shadows are too few; give --shadow-limit more seconds");
        let found = lira(target.view(), of_records.view());
        lines.push(line("LiRA, offline", true, count, &found, seconds));
        let own_population = margins(&network, &population)?;
        let found = rmia(target.view(), of_records.view(), own_population.view(), of_population.view());
        lines.push(line("RMIA, offline", true, count, &found, seconds));
    }
    Ok(lines)
}

/// The records that are asked: training examples, then others; and a population of yet others.
fn asked_of(train: &Dataset, test: &Dataset) -> Result<(Records, Records)> {
    let (references, others) = shares(test.count());
    let rows = s![references..references + others, ..];
    let records = Records {
        members: train.count(),
        raw: concatenate(Axis(0), &[train.inputs(), test.inputs().slice(rows)])?,
        labels: [train.labels(), &test.labels()[references..references + others]].concat(),
    };
    let population = Records {
        members: 0,
        raw: test.inputs().slice(s![..references, ..]).to_owned(),
        labels: test.labels()[..references].to_vec(),
    };
    Ok((records, population))
}

/// Scores of raw records by the weights, compared with raw references.
fn by_weights(
    network: &Network,
    records: ArrayView2<'_, f32>,
    references: ArrayView2<'_, f32>,
) -> Result<Vec<f64>> {
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let scaling = &network.data.scaling;
    let (records, references) = (scaling.apply(records), scaling.apply(references));
    let weights = Weights::Network(&network.weights, Outputs::Classes);
    let found = assess(weights, records.view(), Some(references.view()), parallelism)?;
    Ok(found.records.iter().map(|record| record.score).collect())
}

/// The examples of `all` that are not among `some`.
fn without(all: &Dataset, some: &Dataset) -> Result<Dataset> {
    let bits = |row: ArrayView1<'_, f32>| row.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    let known: HashSet<Vec<u32>> = some.inputs().rows().into_iter().map(bits).collect();
    let inputs = all.inputs();
    let rows = inputs.rows().into_iter().enumerate();
    let rest: Vec<usize> = rows.filter(|(_, row)| !known.contains(&bits(*row))).map(|(i, _)| i).collect();
    Ok(all.select(&rest)?)
}

fn print(lines: &[Line]) {
    let header = ["network", "statistic", "needs labels", "shadows", "at 0.1 %", "at 1 %", "seconds"];
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.network.clone(),
                line.statistic.to_owned(),
                if line.label { "yes" } else { "no" }.to_owned(),
                line.shadows.to_string(),
                format!("{:.0} %", line.tpr_at_01),
                format!("{:.0} %", line.tpr_at_1),
                format!("{:.1}", line.seconds),
            ]
        })
        .collect();
    output::line(&render_text_table(&header, &rows));
}
