//! `cargo xtask report`: pages that people read.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use ndarray::{ArrayView1, Axis};
use palimpsest_attack::Method;
use palimpsest_kkt::StationarityCertificate;
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::score::{Search, min_max};
use palimpsest_metrics::table::RowKind as Row;
use palimpsest_metrics::tally::{HELD_OUT_RATE, INTERVAL_LEVEL, SSIM_CUT, Tally};
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_report::{
    Answer, AxisScale, CalibrationBin, CandidateView, ConfidenceKind, Convergence, Count, Curve, GridCell,
    GridParams, InputKind, Judge, LayerCertificate, LayerView, Method as MethodView, Picture, PictureShape,
    PrecisionAt, Ranking, ReportData, RowKind, ScoreRow, Setting, Stage, TruthMatch, render_grid,
    render_html, render_markdown, to_json,
};

use crate::data::VictimData;
use crate::evaluate::{DistanceScore, Match, ScoreFile, check_width, image_shape, shown, training_row};
use crate::found::Found;
use crate::lock::lock_folder;
use crate::reconstruct::RunFile;
use crate::train::TrainRecord;
use crate::unjudged::unjudged;
use crate::{Misuse, output};

/// Write report.html, report.md and report.json for a judged (or unjudged) reconstruction.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask report runs/judged      # a folder that `evaluate` wrote: pictures beside the truth, counts beside nulls
  cargo xtask report runs/attack      # a folder that `reconstruct` wrote: what the attacker alone can say")]
pub(crate) struct ReportArgs {
    /// Folder that `evaluate` or `reconstruct` wrote; the report is written into it.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Pairs shown on a page and in the grid.
pub(crate) const SHOWN: usize = 50;

pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    let holds = |name: &str| args.folder.join(name).exists();
    // Only then, so that no folder is made where there was none.
    let _lock = (holds("score.json") || holds("run.json")).then(|| lock_folder(&args.folder)).transpose()?;
    if holds("score.json") {
        let score: ScoreFile = output::read_json(&args.folder.join("score.json"))?;
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
pub(crate) fn judged(
    folder: &Path,
    score: &ScoreFile,
    data: &VictimData,
    stages: &[(String, f64)],
) -> Result<ReportData> {
    let found = Found::read(&score.reconstruction)?;
    check_width(&found.candidates, data)?;
    let fits = score.matches.len() == data.train.rows.len()
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
    report.method = Some(method(&found, stages, &certificates_at_truth(&found.run)));
    report.convergence = Some(convergence(&found.run));
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

/// Writes a report in its three forms, and the grid of its pictures if there are any.
pub(crate) fn write(folder: &Path, report: &ReportData, cells: &[GridCell]) -> Result<()> {
    write_atomically(&folder.join("report.html"), render_html(report)?.as_bytes())?;
    write_atomically(&folder.join("report.md"), render_markdown(report)?.as_bytes())?;
    write_atomically(&folder.join("report.json"), to_json(report)?.as_bytes())?;
    if !cells.is_empty() {
        let params = GridParams { columns: 10, zoom: 3 };
        write_atomically(&folder.join("pairs.png"), &render_grid(cells, &params)?)?;
    }
    Ok(())
}

/// The best pairs of a training input and its nearest candidate, best first.
fn pairs(score: &ScoreFile, data: &VictimData, found: &Found) -> Result<Vec<CandidateView>> {
    let shape = image_shape(data.shape);
    let by_ssim = score.table.thresholds.ssim;
    let threshold = match &score.distances {
        Some(distances) => -distances.table.threshold,
        None => by_ssim.unwrap_or(score.table.thresholds.ncc),
    };
    let (_, confidence) = found.claimed(data.input_kind());
    let neighbour = |i: usize| score.distances.as_ref().map(|distances| distances.nearest[i]);
    // Larger is better: a distance counts below zero.
    let value = |i: usize| {
        let alike = score.matches[i].ssim.unwrap_or(score.matches[i].ncc);
        neighbour(i).map_or(alike, |near| -near.distance)
    };
    let mut order: Vec<usize> = (0..score.matches.len()).collect();
    order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    order.truncate(SHOWN);
    order
        .into_iter()
        .map(|i| {
            let Match { candidate, ncc, ssim } = score.matches[i];
            let candidate = neighbour(i).map_or(candidate, |near| near.candidate);
            let restored = shown(found, data, found.candidates.row(candidate).insert_axis(Axis(0)));
            let truth = data.train.dataset.inputs();
            let show =
                |row: ArrayView1<'_, f32>| (!shape.is_vector()).then(|| picture(row, shape)).transpose();
            let numbers = |row: ArrayView1<'_, f32>| shape.is_vector().then(|| values(row));
            Ok(CandidateView {
                candidate,
                picture: show(min_max(restored.view()).row(0))?,
                values: numbers(restored.row(0)),
                rank: found.run.ranking.iter().position(|&j| j == candidate).map(|p| p + 1),
                confidence: Some(f64::from(confidence[candidate])),
                support: None,
                truth: Some(TruthMatch {
                    index: i,
                    picture: show(truth.row(i))?,
                    values: numbers(truth.row(i)),
                    distance: neighbour(i).map(|near| near.distance),
                    ssim: ssim.unwrap_or(f64::NAN),
                    ncc,
                    recovered: value(i) > threshold,
                }),
            })
        })
        .collect()
}

/// Most columns of a row that a page shows.
const MAX_COLUMNS: usize = 64;

/// The columns that a page shows, by name or by number.
pub(crate) fn columns(names: &[&str], d: usize) -> Vec<String> {
    let named = (names.len() == d).then(|| names.iter().map(|name| (*name).to_owned()).collect());
    let mut columns: Vec<String> = named.unwrap_or_else(|| (1..=d).map(|i| format!("value {i}")).collect());
    columns.truncate(MAX_COLUMNS);
    columns
}

/// The numbers of a row that a page shows.
pub(crate) fn values(row: ArrayView1<'_, f32>) -> Vec<f64> {
    row.iter().take(MAX_COLUMNS).map(|&v| f64::from(v)).collect()
}

pub(crate) fn picture(row: ArrayView1<'_, f32>, shape: ImageShape) -> Result<Picture> {
    let shape = PictureShape { channels: shape.channels, height: shape.height, width: shape.width };
    Ok(Picture::new(shape, row.iter().copied())?)
}

/// The judge's counts as the report words them.
pub(crate) fn judge_section(score: &ScoreFile) -> Judge {
    let of_rows = score.distances.as_ref().map(|distances| &distances.table);
    let name = |kind| match kind {
        Row::HeldOut if of_rows.is_some() => "held-out rows",
        Row::Training => "candidates of the attack",
        Row::HeldOut => "held-out images",
        Row::ClassMeans => "class means",
        Row::WeightRows => "rows of W1",
        Row::RandomNoise => "random noise",
    };
    let rows = score.table.rows.iter().map(|row| {
        let by_ssim = |of: fn(&Tally) -> Count, n| row.ssim.as_ref().map(|t| Count { of: n, ..of(t) });
        ScoreRow {
            name: name(row.kind).into(),
            kind: if row.kind == Row::Training { RowKind::Candidates } else { RowKind::Null },
            above_cut: by_ssim(|t| count(t.above_cut, 0, None), row.n),
            ssim_at_rate: by_ssim(|t| count(t.above_threshold, 0, Some(t.interval)), row.n),
            ncc_at_rate: Some(count(row.ncc.above_threshold, row.n, Some(row.ncc.interval))),
            unique: by_ssim(|t| count(t.unique_above_cut, 0, None), row.n),
            distance_at_rate: of_rows
                .and_then(|table| table.row(row.kind))
                .map(|found| count(found.within, found.n, Some(found.interval))),
            mean_of_ten_best: match of_rows {
                Some(table) => table.row(row.kind).map(|found| found.mean_of_ten_nearest),
                None => row.ssim.as_ref().map(|t| t.mean_of_ten_best),
            },
        }
    });
    Judge {
        protocol: protocol_words(score),
        ssim_cut: SSIM_CUT,
        held_out_rate: HELD_OUT_RATE,
        ssim_at_rate: score.table.thresholds.ssim.unwrap_or(f64::NAN),
        ncc_at_rate: score.table.thresholds.ncc,
        distance_at_rate: of_rows.map(|table| table.threshold),
        interval_level: INTERVAL_LEVEL,
        rows: rows.collect(),
        ranking: Some(Ranking {
            by: "how sure it is of each".into(),
            precision_at: score
                .ranking
                .precision_at
                .iter()
                .map(|p| PrecisionAt { k: p.k, real: p.real })
                .collect(),
            calibration: score
                .ranking
                .calibration
                .bins
                .iter()
                .map(|b| CalibrationBin { claimed: b.claimed, real: b.real, of: b.of })
                .collect(),
        }),
    }
}

fn protocol_words(score: &ScoreFile) -> String {
    match &score.table.protocol.ssim {
        Some(ssim) => format!(
            "Nearest candidate by NCC at {} size, {} added, min-max to [0, 1], SSIM of window {}, sigma {}, range {}.",
            match score.table.protocol.search {
                Search::FullSize => "full",
                Search::HalfSize => "half",
            },
            match (&score.with_training_mean, score.data.subtract) {
                (Some(_), _) => "the mean image that the attack tells",
                (None, Some(_)) => "the constant that was taken",
                (None, None) => "training mean",
            },
            ssim.window,
            ssim.sigma,
            ssim.data_range
        ),
        None => "Nearest candidate by scaled distance: root mean square difference, each column in standard deviations of \
                 the training rows. NCC is counted beside it."
            .into(),
    }
}

pub(crate) fn method(
    found: &Found,
    stages: &[(String, f64)],
    certificates_at_truth: &[StationarityCertificate],
) -> MethodView {
    let Found { run, network, provenance, .. } = found;
    let depth = network.depth();
    let model = network.layers().iter().enumerate().map(|(l, layer)| {
        let bias = layer.bias.as_ref().map_or(0, |b| b.len());
        LayerView {
            name: format!("layer {}{}", l + 1, if bias > 0 { ", with bias" } else { "" }),
            shape: format!("{} × {}", layer.weight.nrows(), layer.weight.ncols()),
            activation: if l + 1 < depth { "ReLU" } else { "none" }.into(),
            parameters: (layer.weight.len() + bias) as u64,
        }
    });
    let prior = &run.params.prior;
    let declared = if prior.input_norm.is_some() { "" } else { " (not declared)" };
    let norm = format!("{:.3}{declared}", run.input_norm);
    let (attack, steps) = match run.params.method {
        Method::Annealed(options) => (
            "Annealed descent on the residual of the first layer, from independent random starts.",
            options.steps,
        ),
        Method::Alternating(options) => {
            ("Alternating least squares in the subspace of the first layer.", options.steps)
        }
        Method::Gradient(options) => {
            ("Published gradient descent on the stationarity residual.", options.steps)
        }
    };
    let mut view = MethodView {
        model: model.collect(),
        prior: vec![
            Setting::new("input range", format!("{} to {}", prior.input_range.0, prior.input_range.1)),
            Setting::new("norm of an input", norm),
            Setting::new("labels", "half of each"),
        ],
        attack: match (run.exact, run.agreed) {
            (0, 0) => attack.into(),
            (0, agreed) => format!(
                "Annealed descent on the residual of the first layer, in rounds of random starts: the {agreed} images on which the \
                 starts of a round agreed were taken out of the equation before the next round."
            ),
            (exact, _) => format!(
                "{attack} {exact} candidates were then solved for exactly, each from the neurons that it switches on."
            ),
        },
        parameters: vec![
            Setting::new("steps", steps),
            Setting::new("restarts", format!("{} finished of {}", run.runs.len(), run.params.restarts)),
            Setting::new("candidates per restart", run.candidates_per_run),
            Setting::new("candidates solved for exactly", run.exact),
            Setting::new("images that rounds agreed on", run.agreed),
            Setting::new("coordinates (rank)", run.rank),
            Setting::new("threads", run.threads),
        ],
        seeds: vec![Setting::new("attack", run.seed)],
        stages: stages
            .iter()
            .map(|(name, elapsed_s)| Stage { name: name.clone(), elapsed_s: *elapsed_s })
            .collect(),
        ..MethodView::default()
    };
    if let Some(provenance) = provenance {
        view.provenance.push(Setting::new("made by", &provenance.made_by));
        let known = [
            ("epochs", provenance.epochs.map(|e| e.to_string())),
            ("log loss", provenance.log_loss.map(|l| format!("{l:.2}"))),
            ("schedule", provenance.schedule.map(|s| format!("{s:?}"))),
        ];
        for (name, value) in known {
            view.provenance.extend(value.map(|v| Setting::new(name, v)));
        }
        view.seeds.extend(provenance.seed.map(|s| Setting::new("training", s)));
    }
    view.certificate = certificate(run, certificates_at_truth);
    view
}

/// What the trainer's certificate, if it lies beside the model, says of the training data: truth, for judges alone.
fn certificates_at_truth(run: &RunFile) -> Vec<StationarityCertificate> {
    let trained: Option<TrainRecord> =
        run.model.parent().and_then(|folder| output::read_json(&folder.join("train.json")).ok());
    trained.map(|t| t.certificates).unwrap_or_default()
}

/// The first layer's residual at the candidates, and every layer's at the truth where that is known.
fn certificate(run: &RunFile, at_truth: &[StationarityCertificate]) -> Vec<LayerCertificate> {
    let best = run.runs.iter().map(|r| r.relative_residual).min_by(f64::total_cmp);
    (1..run.dims.len())
        .map(|l| LayerCertificate {
            layer: format!("layer {l}"),
            at_candidates: best.filter(|_| l == 1),
            // The first certificate is fitted to the first layer alone, the second to all of them.
            at_truth: at_truth.get(usize::from(l > 1)).and_then(|c| c.layers.get(l - 1).copied()),
        })
        .collect()
}

pub(crate) fn convergence(run: &RunFile) -> Convergence {
    let curves = run.runs.iter().map(|r| Curve {
        name: format!("restart {}", r.restart),
        steps: r.curve.iter().map(|&(step, _)| step as u64).collect(),
        values: r.curve.iter().map(|&(_, value)| value).collect(),
    });
    Convergence { quantity: "relative residual".into(), scale: AxisScale::Log, curves: curves.collect() }
}

/// A count with its interval, which is rounded outwards: images are whole.
pub(crate) fn count(count: usize, of: usize, interval: Option<[f64; 2]>) -> Count {
    Count { count, of, interval: interval.map(|[low, high]| [low.floor(), high.ceil()]) }
}

pub(crate) fn chain(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}
