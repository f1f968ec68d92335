//! `palimpsest report`: pages that people read.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use ndarray::{ArrayView1, Axis};
use palimpsest_kkt::StationarityCertificate;
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::score::min_max;
use palimpsest_metrics::table::RowKind as Row;
use palimpsest_metrics::tally::INTERVAL_LEVEL;
use palimpsest_report::{
    Answer, CandidateView, ConfidenceKind, GridCell, InputKind, PictureShape, ReportData, TruthMatch,
};
use palimpsest_runs::{RunFile, files};

use super::contestants::{check_width, image_shape, shown};
use super::data::VictimData;
use super::score::{DistanceScore, Match, ScoreFile, training_row};
use super::section::judge_section;
use super::train::TrainRecord;
use crate::attacking::answers::Answers;
use crate::attacking::found::Found;
use crate::attacking::pages::{SHOWN, columns, convergence, count, method, picture, values, write};
use crate::attacking::protection::{Seen, protection};
use crate::attacking::too_short::too_short;
use crate::attacking::unjudged::unjudged;
use crate::terminal::{Misuse, lock_folder, output};

/// Write report.html, report.md and report.json for a judged (or unjudged) reconstruction.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest report runs/judged      # a folder that `evaluate` wrote: pictures beside the truth, counts beside nulls
  palimpsest report runs/attack      # a folder that `reconstruct` wrote: what the attacker alone can say")]
pub struct ReportArgs {
    /// Folder that `evaluate` or `reconstruct` wrote; the report is written into it.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Carries out `palimpsest report`.
///
/// # Errors
/// Files that cannot be read or do not fit together; [`Misuse`] for a folder without results.
pub fn run(args: &ReportArgs) -> Result<()> {
    let holds = |name: &str| args.folder.join(name).exists();
    // Only then, so that no folder is made where there was none.
    let _lock = (holds("score.json") || holds("run.json")).then(|| lock_folder(&args.folder)).transpose()?;
    if holds("score.json") {
        let score: ScoreFile = files::read_json(&args.folder.join("score.json"))?;
        let data = VictimData::load(&score.data.args()?)?;
        judged(&args.folder, &score, &data, &[])?;
    } else if holds("run.json") {
        unjudged(&args.folder)?;
    } else {
        bail!(Misuse(format!(
            "{} holds neither score.json nor run.json; name a folder that `evaluate` or `reconstruct` wrote",
            args.folder.display()
        )));
    }
    let page = output::absolute(&args.folder.join("report.html"));
    output::line(&format!("wrote {}", page.display()));
    output::event("result", &serde_json::json!({ "command": "report", "report": page }));
    Ok(())
}

/// Writes the report of a judged reconstruction into `folder`; `stages` are (name, seconds).
pub fn judged(
    folder: &Path,
    score: &ScoreFile,
    data: &VictimData,
    stages: &[(String, f64)],
) -> Result<ReportData> {
    let found = Found::read(&score.reconstruction)?;
    check_width(&found.candidates, data)?;
    let fits = score.matches.len() == data.train.count()
        && score.matches.iter().all(|m| m.candidate < found.candidates.nrows())
        && score.distances.as_ref().is_none_or(|distances| {
            distances.nearest.len() == score.matches.len()
                && distances.nearest.iter().all(|near| near.candidate < found.candidates.nrows())
        });
    ensure!(fits, "score.json does not fit the reconstruction or the data; run evaluate again");
    let (kind, _) = found.claimed(data.input_kind());
    let answer = judged_answer(score, kind)?;
    let inputs = if score.distances.is_some() { "rows" } else { "images" };
    let subject = format!("{} {inputs} of {}, task {}", score.data.n, score.data.data, score.data.task);
    let mut report = ReportData::new("What these weights remember", subject, answer);
    report.candidates = pairs(score, data, &found)?;
    if data.input_kind() == InputKind::Row {
        report.columns = columns(data.name.columns(), found.candidates.ncols());
    }
    report.judge = Some(judge_section(score));
    report.warnings.extend(too_short(&found.run));
    report.method = Some(method(&found, stages, &certificates_at_truth(&found.run)));
    report.convergence = Some(convergence(&found.run));
    report.protection = protection(Seen::of(&found));
    let cells: Vec<GridCell> = report
        .candidates
        .iter()
        .filter_map(|c| {
            let truth = c.truth.as_ref()?;
            Some(GridCell {
                top: c.picture.clone()?,
                bottom: truth.picture.clone(),
                caption: format!("{:.2}", truth.ssim),
            })
        })
        .collect();
    write(folder, &report, &cells)?;
    Ok(report)
}

/// How many training inputs pass the held-out bar: by distance for plain rows, by SSIM for pictures.
fn judged_answer(score: &ScoreFile, confidence: ConfidenceKind) -> Result<Answer> {
    if let Some(DistanceScore { table, .. }) = &score.distances {
        let missing = || anyhow!("score.json lacks a row of distances; run evaluate again");
        let row = table.row(Row::Training).ok_or_else(missing)?;
        let held_out = table.row(Row::HeldOut).ok_or_else(missing)?;
        return Ok(Answer::Judged {
            recovered: count(row.within, row.n, Some(row.interval)),
            measure: "a scaled distance of".into(),
            threshold: table.threshold,
            interval_level: INTERVAL_LEVEL,
            null: "held-out rows of the same table".into(),
            null_count: count(held_out.within, held_out.n, None),
            smaller_is_better: true,
            confidence,
            inputs: InputKind::Row,
        });
    }
    let row = training_row(score)?;
    let tally = row.ssim.as_ref().unwrap_or(&row.ncc);
    let null_count = score.table.row(Row::HeldOut).map_or(count(0, 0, None), |row| {
        count(row.ssim.as_ref().unwrap_or(&row.ncc).above_threshold, row.n, None)
    });
    Ok(Answer::Judged {
        recovered: count(tally.above_threshold, row.n, Some(tally.interval)),
        measure: if row.ssim.is_some() { "SSIM" } else { "NCC" }.into(),
        threshold: score.table.thresholds.ssim.unwrap_or(score.table.thresholds.ncc),
        interval_level: INTERVAL_LEVEL,
        null: "held-out images of the same distribution".into(),
        null_count,
        smaller_is_better: false,
        confidence,
        inputs: InputKind::Image,
    })
}

/// The best pairs of a training input and its nearest candidate, best first.
fn pairs(score: &ScoreFile, data: &VictimData, found: &Found) -> Result<Vec<CandidateView>> {
    let shape = image_shape(data.shape);
    let (_, confidence) = found.claimed(data.input_kind());
    let neighbour = |i: usize| score.distances.as_ref().map(|distances| distances.nearest[i]);
    let value = |i: usize| score.decisive(i).0;
    let mut order: Vec<usize> = (0..score.matches.len()).collect();
    order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    order.truncate(SHOWN);
    let answers = Answers::of(found, found.candidates.view());
    order
        .into_iter()
        .map(|i| {
            let Match { candidate, ncc, ssim } = score.matches[i];
            let candidate = neighbour(i).map_or(candidate, |near| near.candidate);
            let restored = shown(found, data, found.candidates.row(candidate).insert_axis(Axis(0)));
            let truth = data.train.dataset.inputs();
            let show = |row: ArrayView1<'_, f32>| {
                (!shape.is_vector()).then(|| picture(row, picture_shape(shape))).transpose()
            };
            let numbers = |row: ArrayView1<'_, f32>| shape.is_vector().then(|| values(row));
            Ok(CandidateView {
                candidate,
                picture: show(min_max(restored.view()).row(0))?,
                values: numbers(restored.row(0)),
                rank: found.run.ranking.iter().position(|&j| j == candidate).map(|p| p + 1),
                confidence: Some(f64::from(confidence[candidate])),
                answer: Some(answers.words(candidate, &data.names, data.label_scale.unwrap_or((0.0, 1.0)))),
                truth: Some(TruthMatch {
                    index: i,
                    label: Some(data.truth_name(i)),
                    picture: show(truth.row(i))?,
                    values: numbers(truth.row(i)),
                    distance: neighbour(i).map(|near| near.distance),
                    ssim: ssim.unwrap_or(f64::NAN),
                    ncc,
                    recovered: value(i) > score.decisive(i).1,
                }),
            })
        })
        .collect()
}

fn picture_shape(ImageShape { channels, height, width }: ImageShape) -> PictureShape {
    PictureShape { channels, height, width }
}

/// What the trainer's certificate, if it lies beside the model, says of the training data: truth, for judges alone.
fn certificates_at_truth(run: &RunFile) -> Vec<StationarityCertificate> {
    let trained: Option<TrainRecord> =
        run.model.parent().and_then(|folder| files::read_json(&folder.join("train.json")).ok());
    trained.map(|t| t.certificates).unwrap_or_default()
}
