//! `cargo xtask reproduce membership`: what tells members from others by the weights alone, beside tests that need a record's label and
//! networks trained on other data, in one table with seconds.

mod line;
mod networks;
mod records;
mod scores;
mod shadow;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use ndarray::ArrayView1;
use palimpsest::terminal::{Misuse, clock, interrupt, lock_folder, output};
use palimpsest_attack::evidence::membership::{Membership, Outputs, Weights, assess};
use palimpsest_datasets::{LoadParams, load_with};
use palimpsest_metrics::two_samples::two_samples;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

use self::line::{Line, Uniform};
use self::networks::{Wanted, networks, victim};
use self::records::{Asked, Records};
use self::scores::{lira, rmia};
use self::shadow::{Shadows, margins};
use super::asked::MembershipArgs;
use super::defences::{Case, Network, Training, trained, true_positives};
use super::results;
use super::unfinished::broken_off;
use super::victims::ReproduceArgs;

/// Fewest shadows of which a deviation can be taken.
const LEAST_SHADOWS: usize = 4;

/// Trains what is missing, asks, and prints one table; `membership.json` beside it.
pub(super) fn run(args: &ReproduceArgs, what: &MembershipArgs) -> Result<()> {
    ensure!(
        what.shadows == 0 || what.shadows >= LEAST_SHADOWS,
        Misuse(format!("--shadows must be 0 or at least {LEAST_SHADOWS}"))
    );
    let _lock = lock_folder(&args.out)?;
    let table = table(args, what);
    let mut lines = Vec::new();
    for wanted in networks(args, what) {
        let Some(training) = wanted.case.training() else { continue };
        if interrupt::requested() {
            bail!(broken_off(args));
        }
        output::note(&victim(args, &wanted.case));
        let new = asked(args, what, &wanted, &training)?;
        line::write(&table, &new)?;
        lines.extend(new);
    }
    ensure!(
        !lines.is_empty(),
        Misuse("no network is left; check --only, and give --cifar10-dir for CIFAR-10".into())
    );
    output::line(&line::text(&lines));
    output::line(&format!("wrote {}", table.display()));
    Ok(())
}

/// The file of the table.
fn table(args: &ReproduceArgs, what: &MembershipArgs) -> PathBuf {
    if what.write { results::table("membership") } else { args.out.join("membership.json") }
}

/// What a statistic says of members, then of others.
struct Statistic<'a> {
    name: &'a str,
    /// Whether it needs the label of a record.
    labels: &'a str,
    shadows: usize,
    scores: &'a [f64],
    null: Option<Uniform>,
    seconds: f64,
}

/// All statistics on a network.
fn asked(
    args: &ReproduceArgs,
    what: &MembershipArgs,
    wanted: &Wanted,
    training: &Training,
) -> Result<Vec<Line>> {
    let case = &wanted.case;
    let network = trained(args, case, training)?;
    let data_dir = network.data_args.data_dir.as_deref();
    let files = load_with(case.data, &LoadParams { data_dir, ..LoadParams::default() })?;
    let asked = Asked::of(&network.data.train.dataset, &files, &Seed::new(case.seed).named("others"))?;
    let line = |statistic: &Statistic<'_>| line_of(args, what, wanted, &asked, statistic);
    let start = clock::now();
    let found = by_weights(&network, &asked)?;
    let seconds = clock::now().saturating_sub(start).as_secs_f64();
    let scores: Vec<f64> = found.records.iter().map(|record| record.score).collect();
    let null = uniform(&scores[asked.records.members..], &found.reference_scores);
    let (name, labels) = ("weights alone", "no");
    let mut lines =
        vec![line(&Statistic { name, labels, shadows: 0, scores: &scores, null: Some(null), seconds })];
    let start = clock::now();
    let target = margins(&network, &asked.records)?;
    let seconds = clock::now().saturating_sub(start).as_secs_f64();
    let scores = target.as_slice().context("margins are contiguous")?;
    let (name, labels) = ("loss threshold", "yes");
    lines.push(line(&Statistic { name, labels, shadows: 0, scores, null: None, seconds }));
    if what.shadows > 0 {
        let shadows = Shadows { args, case, training, wanted: what.shadows, limit_s: what.shadow_limit };
        let found = by_shadows(&shadows, &network, &asked, target.view())?;
        let (shadows, seconds) = (found.count, found.seconds);
        for (name, scores) in &found.scores {
            lines.push(line(&Statistic { name, labels, shadows, scores, null: None, seconds }));
        }
    }
    Ok(lines)
}

/// What shadows say.
struct ByShadows {
    /// Scores by LiRA and RMIA, with their names.
    scores: [(&'static str, Vec<f64>); 2],
    /// How many shadows there are.
    count: usize,
    /// Seconds of their training.
    seconds: f64,
}

/// LiRA and RMIA.
fn by_shadows(
    shadows: &Shadows<'_>,
    network: &Network,
    asked: &Asked,
    target: ArrayView1<'_, f64>,
) -> Result<ByShadows> {
    let (of_records, of_population, seconds) = shadows.margins(asked)?;
    let count = of_records.nrows();
    ensure!(count >= LEAST_SHADOWS, "{count} shadows are too few; give --shadow-limit more seconds");
    let by_lira = lira(target, of_records.view());
    let own = margins(network, &asked.population)?;
    let by_rmia = rmia(target, of_records.view(), own.view(), of_population.view());
    let scores = [("LiRA, offline", by_lira), ("RMIA, offline", by_rmia)];
    Ok(ByShadows { scores, count, seconds })
}

fn line_of(
    args: &ReproduceArgs,
    what: &MembershipArgs,
    wanted: &Wanted,
    asked: &Asked,
    statistic: &Statistic<'_>,
) -> Line {
    let Records { members, .. } = asked.records;
    let (told, others) = statistic.scores.split_at(members);
    Line {
        victim: victim(args, &wanted.case),
        task: wanted.case.task(),
        n: members,
        seed: wanted.case.seed,
        training: wanted.case.defence.told.into(),
        statistic: statistic.name.into(),
        labels: statistic.labels.into(),
        shadows: statistic.shadows,
        others: others.len(),
        references: asked.population.raw.nrows(),
        tpr_at_01: true_positives(told, others, 0.001),
        tpr_at_1: true_positives(told, others, 0.01),
        must: wanted.must,
        null: statistic.null,
        seconds: statistic.seconds,
        machine: results::machine(),
        date: clock::today(),
        command: command(args, what, &wanted.case),
    }
}

/// The command that makes a line.
fn command(args: &ReproduceArgs, what: &MembershipArgs, case: &Case) -> String {
    let folder = |name: &str, given: bool| if given { format!(" --{name}-dir DIR") } else { String::new() };
    let folders = folder("cifar10", args.cifar10_dir.is_some()) + &folder("mnist", args.mnist_dir.is_some());
    let block = args.block.map_or_else(String::new, |block| format!(" --block {block}"));
    let networks = if what.acceptance {
        format!("--acceptance --only {}", victim(args, case))
    } else {
        let kind = case.kind.words().split(' ').next().unwrap_or_default();
        format!("--kinds {kind} --n {} --hidden {} --only {}", case.n, case.widths(), case.defence.name)
    };
    format!(
        "cargo xtask reproduce membership{folders}{block} {networks} --seeds {} --shadows {}",
        case.seed, what.shadows
    )
}

/// What the weights say of the records, compared with the population.
fn by_weights(network: &Network, asked: &Asked) -> Result<Membership> {
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let scaling = &network.data.scaling;
    let records = scaling.apply(asked.records.raw.view());
    let references = scaling.apply(asked.population.raw.view());
    let outputs = if network.data.label_scale.is_some() { Outputs::Values } else { Outputs::Classes };
    let weights = Weights::Network(&network.weights, outputs);
    Ok(assess(weights, records.view(), Some(references.view()), parallelism)?)
}

/// Of scores that are minus logarithms of p-values.
fn uniform(others: &[f64], references: &[f64]) -> Uniform {
    let below = |p: f64| {
        100.0 * others.iter().filter(|&&score| -score < p.ln()).count() as f64 / others.len().max(1) as f64
    };
    let compared = two_samples(others, references);
    Uniform {
        below_001: below(0.01),
        below_0001: below(0.001),
        distance: compared.distance,
        p_value: compared.p_value,
    }
}
