//! `cargo xtask reproduce paper`: both networks of the first publication, attacked by one command, on one page.
//!
//! # Source
//! Haim et al. (2022). Their figures are counted here on their released pictures, by the same judge; what they cost is computed from their
//! numbers of steps and the time of a step on two cores (`docs/evaluation.md`).

use anyhow::{Context, Result, ensure};
use palimpsest::judging::data::VictimData;
use palimpsest::judging::report;
use palimpsest::judging::score::{ScoreFile, training_row};
use palimpsest::judging::train::TrainRecord;
use palimpsest::terminal::{Misuse, interrupt, lock_folder, output};
use palimpsest_datasets::DataName;
use palimpsest_metrics::table::{RowKind, ScoreRow};
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_report::{
    Figure, GridCell, GridParams, IllustratedPage, IllustratedSection, PageTable, ReportData, render_grid,
    render_illustrated,
};
use palimpsest_runs::{RunFile, files};

use super::unfinished::broken_off;
use super::victims::{Regime, ReproduceArgs, Victim};

/// Training images of a published network.
const EXAMPLES: usize = 500;
/// Pairs of a published figure.
const PAIRS: usize = 45;

/// What was published of one network, counted by this project's judge on the released pictures.
struct Published {
    /// What was counted, the best SSIM, the mean of the ten best, images above SSIM 0.4.
    rows: &'static [[&'static str; 4]],
}

const CIFAR10: Published = Published {
    rows: &[
        ["published: two released attacks of 14 hours, pooled", "0.636", "0.536", "17"],
        ["published: the sweep of about 100 attacks (45 are shown)", "about 0.8", "", "45 or more"],
    ],
};
const MNIST: Published =
    Published { rows: &[["published: two released attacks, pooled", "0.239", "0.184", "0"]] };

/// Has both networks trained, attacked and judged by `judged`, and writes `paper.html` into the folder.
///
/// # Errors
/// Whatever keeps a step from its end; [`Misuse`] when no seed is given.
pub(super) fn run(args: &ReproduceArgs, judged: &dyn Fn(&Victim) -> Result<()>) -> Result<()> {
    let seed = *args.seeds.first().context(Misuse("--seeds needs a seed".into()))?;
    let _lock = lock_folder(&args.out)?;
    let mut sections = Vec::new();
    for data in [DataName::Cifar10, DataName::Mnist] {
        if data == DataName::Cifar10 && args.cifar10_dir.is_none() {
            output::note(
                "CIFAR-10 is left out: name its folder with --cifar10-dir; `palimpsest fetch cifar10` gets it",
            );
            continue;
        }
        ensure!(!interrupt::requested(), broken_off(args));
        let (regime, hidden) = (Regime::Published, vec![1000, 1000]);
        let victim = Victim { data, n: EXAMPLES, regime, hidden, subtract: None, seed, null: None };
        judged(&victim)?;
        sections.push(section(args, &victim)?);
    }
    let answer = sections.iter().map(|section| section.text[0].clone()).collect();
    sections.push(cost());
    let page = IllustratedPage {
        title: "The networks of the first publication".into(),
        subject: format!(
            "Haim et al. (2022): {EXAMPLES} images, three layers of width 1000, trained without weight decay. One command, seed {seed}."
        ),
        answer,
        sections,
    };
    let file = args.out.join("paper.html");
    write_atomically(&file, render_illustrated(&page)?.as_bytes())?;
    output::line(&format!("wrote {}", output::absolute(&file).display()));
    Ok(())
}

/// What was found of one network.
fn section(args: &ReproduceArgs, victim: &Victim) -> Result<IllustratedSection> {
    let judged = victim.folder(args, "judged");
    let score: ScoreFile = files::read_json(&judged.join("score.json"))?;
    let data = VictimData::load(&victim.data(args)?)?;
    let report = report::judged(&judged, &score, &data, &[])?;
    let trained: TrainRecord = files::read_json(&victim.folder(args, "victim").join("train.json"))?;
    let run: RunFile = files::read_json(&victim.folder(args, "attack").join("run.json"))?;
    let (name, published) = match victim.data {
        DataName::Cifar10 => ("CIFAR-10, animals against vehicles", CIFAR10),
        _ => ("MNIST, odd against even digits", MNIST),
    };
    let legible =
        score.judgement.as_ref().context("score.json was written by an older build; judge again")?.legible;
    let found = training_row(&score)?.ssim.context("the judge has no SSIM for these inputs")?;
    let held_out = score.table.row(RowKind::HeldOut).context("score.json has no row for held-out images")?;
    let passed = held_out.ssim.map_or(0, |tally| tally.above_cut);
    let class_means =
        score.table.row(RowKind::ClassMeans).and_then(|row| row.ssim).map_or(0, |tally| tally.above_cut);
    let mut text = vec![
        format!(
            "{name}: of {EXAMPLES} training images {} have a candidate above SSIM 0.4, and {} can be read in the first {EXAMPLES} of the list.",
            found.above_cut, legible.legible
        ),
        format!(
            "Of {} images that the network never saw {passed} have one above SSIM 0.4. Trained in {:.0} s, attacked in {:.0} s, {} restarts.",
            held_out.n,
            trained.trained.training_s,
            run.elapsed_s,
            run.restarts.len()
        ),
    ];
    if 2 * class_means >= found.above_cut {
        text.push(format!(
            "Class means alone have {class_means} above SSIM 0.4, so this count says nothing here."
        ));
    }
    Ok(IllustratedSection {
        heading: name.into(),
        text,
        figure: Some(figure(&report)?),
        table: Some(table(&score, &report, &published)),
    })
}

/// The best pairs, as the publication shows them.
fn figure(report: &ReportData) -> Result<Figure> {
    let cell = |view: &palimpsest_report::CandidateView| {
        let truth = view.truth.as_ref()?;
        let caption = format!("{:.2}", truth.ssim);
        Some(GridCell { top: view.picture.clone()?, bottom: truth.picture.clone(), caption })
    };
    let cells: Vec<GridCell> = report.candidates.iter().filter_map(cell).take(PAIRS).collect();
    let png = render_grid(&cells, &GridParams { columns: 15, zoom: 2 })?;
    let caption = format!(
        "The best {} pairs, as the publication chooses them: a judge who knows the training images took for each the nearest candidate. Above: \
         the candidate. Below: the training image. The number is their SSIM.",
        cells.len()
    );
    Ok(Figure { png, caption })
}

/// The published counts, ours, and those of what holds no training image.
fn table(score: &ScoreFile, report: &ReportData, published: &Published) -> PageTable {
    let mut rows: Vec<Vec<String>> =
        published.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
    let counted = |row: &ScoreRow, name: &str, best: String| {
        let ssim = row.ssim.as_ref()?;
        Some(vec![
            name.to_owned(),
            best,
            format!("{:.3}", ssim.mean_of_ten_best),
            format!("{} of {}", ssim.above_cut, row.n),
        ])
    };
    let best = report.candidates.first().and_then(|view| view.truth.as_ref()).map(|truth| truth.ssim);
    let best = best.map_or_else(String::new, |ssim| format!("{ssim:.3}"));
    for (kind, name) in [
        (RowKind::Training, "this attack"),
        (RowKind::HeldOut, "null: images that the network never saw"),
        (RowKind::ClassMeans, "null: class means"),
        (RowKind::WeightRows, "null: rows of the first weight matrix"),
        (RowKind::RandomNoise, "null: noise"),
    ] {
        let best = if kind == RowKind::Training { best.clone() } else { String::new() };
        rows.extend(score.table.row(kind).and_then(|row| counted(row, name, best)));
    }
    let header = ["", "best SSIM", "mean of the ten best", "above SSIM 0.4"];
    PageTable { header: header.map(str::to_owned).to_vec(), rows }
}

/// What it takes, then and now.
fn cost() -> IllustratedSection {
    let rows = [
        ["training, published", "1,000,000 epochs", "19.6 hours at 71 ms an epoch"],
        ["training, here", "to the same loss by loss-normalised descent", "seconds, above"],
        [
            "one attack, published",
            "50,000 steps",
            "6.9 hours at 0.50 s a step; about 100 of them, chosen by the truth",
        ],
        ["one attack, here", "all restarts and rounds", "seconds, above; options fixed before"],
    ];
    IllustratedSection {
        heading: "Cost".into(),
        text: vec![
            "Hours of the publication are steps times the time of a step on two quiet cores. Its sweep chose options by how near the training images came; here the attack sees no training image."
                .into(),
        ],
        figure: None,
        table: Some(PageTable {
            header: ["", "work", "time"].map(str::to_owned).to_vec(),
            rows: rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_row_has_a_cell_for_each_column() {
        for published in [CIFAR10, MNIST] {
            assert!(published.rows.iter().all(|row| !row[0].is_empty() && !row[3].is_empty()));
        }
        let cost = cost().table.unwrap();
        assert!(cost.rows.iter().all(|row| row.len() == cost.header.len()));
    }
}
