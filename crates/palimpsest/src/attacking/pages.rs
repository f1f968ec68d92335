//! What the pages of the attacker and of the judge have in common.

use std::path::Path;

use anyhow::Result;
use ndarray::ArrayView1;
use palimpsest_attack::Method;
use palimpsest_attack::{Origin, Saturation};
use palimpsest_kkt::StationarityCertificate;
use palimpsest_mlp::{Dense, Provenance};
use palimpsest_report::{
    AxisScale, Convergence, Count, Curve, GridCell, GridParams, LayerCertificate, LayerView,
    Method as MethodView, Picture, PictureShape, ReportData, Setting, Stage, render_grid, render_html,
    render_markdown, to_json,
};
use palimpsest_runs::RunFile;
use palimpsest_runs::files::write_whole;

use super::answers::labels_declared;
use super::found::Found;

/// Pairs shown on a page and in the grid.
pub const SHOWN: usize = 50;

/// The page of a report, in its folder.
pub const PAGE: &str = "report.html";

/// Writes a report in its three forms, and the grid of its pictures if there are any.
pub fn write(folder: &Path, report: &ReportData, cells: &[GridCell]) -> Result<()> {
    write_whole(&folder.join(PAGE), render_html(report)?.as_bytes())?;
    write_whole(&folder.join("report.md"), render_markdown(report)?.as_bytes())?;
    write_whole(&folder.join("report.json"), to_json(report)?.as_bytes())?;
    if !cells.is_empty() {
        let params = GridParams { columns: 10, zoom: 3 };
        write_whole(&folder.join("pairs.png"), &render_grid(cells, &params)?)?;
    }
    Ok(())
}

/// Most columns of a row that a page shows.
const MAX_COLUMNS: usize = 64;

/// The columns that a page shows, by name or by number.
pub fn columns(names: &[&str], d: usize) -> Vec<String> {
    let named = (names.len() == d).then(|| names.iter().map(|name| (*name).to_owned()).collect());
    let mut columns: Vec<String> = named.unwrap_or_else(|| (1..=d).map(|i| format!("value {i}")).collect());
    columns.truncate(MAX_COLUMNS);
    columns
}

/// The numbers of a row that a page shows.
pub fn values(row: ArrayView1<'_, f32>) -> Vec<f64> {
    row.iter().take(MAX_COLUMNS).map(|&v| f64::from(v)).collect()
}

/// A row of pixels as a picture; of other than one or three channels, their mean in grey.
///
/// # Errors
/// When the row has another number of values than the shape, or the shape is no picture's.
pub fn picture(row: ArrayView1<'_, f32>, shape: PictureShape) -> Result<Picture> {
    let PictureShape { channels, height, width } = shape;
    if matches!(channels, 0 | 1 | 3) || row.len() != channels * height * width {
        return Ok(Picture::new(shape, row.iter().copied())?);
    }
    let area = height * width;
    let grey = (0..area).map(|pixel| {
        let sum: f32 = (0..channels).map(|channel| row[channel * area + pixel]).sum();
        sum / channels as f32
    });
    Ok(Picture::new(PictureShape { channels: 1, height, width }, grey)?)
}

/// How the candidates of `found` were obtained; `stages` are (name, seconds).
pub fn method(
    found: &Found,
    stages: &[(String, f64)],
    certificates_at_truth: &[StationarityCertificate],
) -> MethodView {
    let Found { run, provenance, .. } = found;
    let (exact, agreed) = (run.count(Origin::ActivationPattern), run.count(Origin::Deflation));
    let (attack, steps) = search(run.params.method);
    let mut view = MethodView {
        model: layers(found),
        prior: prior(found),
        attack: match (exact, agreed) {
            (0, 0) if run.restarts.is_empty() => {
                "Separation of the first layer's row space at several truncations and by several edge operators, and what these agree on; \
                 the attack ended before a restart did."
                    .into()
            }
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
            Setting::new("restarts", restarts(run)),
            Setting::new("candidates per restart", run.candidates_per_restart),
            Setting::new("candidates solved for exactly", exact),
            Setting::new("images that rounds agreed on", agreed),
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
    view.parameters.extend(stages_told(run));
    if let Some(provenance) = provenance {
        view.provenance = origin(provenance);
        view.seeds.extend(provenance.seed.map(|s| Setting::new("training", s)));
    }
    view.certificate = certificate(run, certificates_at_truth);
    view
}

/// The layers of the network.
fn layers(found: &Found) -> Vec<LayerView> {
    let depth = found.network.depth();
    let layer = |(l, layer): (usize, &Dense<f32>)| {
        let bias = layer.bias.as_ref().map_or(0, |b| b.len());
        LayerView {
            name: format!("layer {}{}", l + 1, if bias > 0 { ", with bias" } else { "" }),
            shape: format!("{} × {}", layer.weight.nrows(), layer.weight.ncols()),
            activation: if l + 1 < depth { "ReLU" } else { "none" }.into(),
            parameters: (layer.weight.len() + bias) as u64,
        }
    };
    found.network.layers().iter().enumerate().map(layer).collect()
}

/// What was declared.
fn prior(found: &Found) -> Vec<Setting> {
    let prior = &found.run.params.prior;
    let declared = if prior.input_norm.is_some() { "" } else { " (not declared)" };
    vec![
        Setting::new("input range", format!("{} to {}", prior.input_range.0, prior.input_range.1)),
        Setting::new("norm of an input", format!("{:.3}{declared}", found.run.input_norm)),
        Setting::new("labels", labels_declared(found)),
    ]
}

/// The search in a sentence, and its steps.
fn search(method: Method) -> (&'static str, usize) {
    match method {
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
    }
}

/// How many restarts were made, and why no more.
fn restarts(run: &RunFile) -> String {
    match run.saturation {
        Some(Saturation { restarts, last, .. }) => {
            format!("{restarts}; ended by itself, as the last {last} brought nothing new")
        }
        None => format!("{} finished of {}", run.restarts.len(), run.params.restarts),
    }
}

/// What each stage gave, or why it was not used.
fn stages_told(run: &RunFile) -> impl Iterator<Item = Setting> {
    run.stages.iter().map(|stage| {
        let told = match &stage.why_not {
            Some(why_not) => format!("not used: {why_not}"),
            None => format!("{} candidates", stage.candidates),
        };
        Setting::new(format!("stage: {}", stage.stage), told)
    })
}

/// Where the network comes from.
fn origin(provenance: &Provenance) -> Vec<Setting> {
    let known = [
        ("epochs", provenance.epochs.map(|e| e.to_string())),
        ("log loss", provenance.log_loss.map(|l| format!("{l:.2}"))),
        ("schedule", provenance.schedule.map(|s| format!("{s:?}"))),
    ];
    let mut origin = vec![Setting::new("made by", &provenance.made_by)];
    origin.extend(known.into_iter().filter_map(|(name, value)| Some(Setting::new(name, value?))));
    origin
}

/// The first layer's residual at the candidates, and every layer's at the truth where that is known.
fn certificate(run: &RunFile, at_truth: &[StationarityCertificate]) -> Vec<LayerCertificate> {
    let best = run.restarts.iter().map(|r| r.relative_residual).min_by(f64::total_cmp);
    (1..run.dims.len())
        .map(|l| LayerCertificate {
            layer: format!("layer {l}"),
            at_candidates: best.filter(|_| l == 1),
            // The first certificate is fitted to the first layer alone, the second to all of them.
            at_truth: at_truth.get(usize::from(l > 1)).and_then(|c| c.layers.get(l - 1).copied()),
        })
        .collect()
}

/// How the residual of each restart fell.
pub fn convergence(run: &RunFile) -> Convergence {
    let curves = run.restarts.iter().map(|r| Curve {
        name: format!("restart {}", r.restart),
        steps: r.curve.iter().map(|&(step, _)| step as u64).collect(),
        values: r.curve.iter().map(|&(_, value)| value).collect(),
    });
    Convergence { quantity: "relative residual".into(), scale: AxisScale::Log, curves: curves.collect() }
}

/// A count with its interval, which is rounded outwards: images are whole.
pub fn count(count: usize, of: usize, interval: Option<[f64; 2]>) -> Count {
    Count { count, of, interval: interval.map(|[low, high]| [low.floor(), high.ceil()]) }
}

/// Widths of layers, as in 784-1000-1.
pub fn chain(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}
