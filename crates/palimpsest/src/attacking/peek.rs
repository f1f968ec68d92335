//! `palimpsest peek`: pictures in the weights of one layer, whatever the rest of the network is.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use ndarray::{Array1, Array2, Axis, s};
use palimpsest_mlp::import::{Matrix, MatrixChoice};
use palimpsest_numerics::factor::svd;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::seed::Seed;
use palimpsest_report::answer_sentences;
use palimpsest_runs::record::ChannelOrder;
use palimpsest_runs::{MADE_BY, files};
use palimpsest_unmix::agreement::{
    Agreement, AgreementParams, Progress as Truncation, separate_by_agreement,
};

use super::input_shape::{InputShape, columns_first};
use super::model_file::load_layer;
use super::reconstruct::checked_threads;
use crate::terminal::progress::{Measured, Progress};
use crate::terminal::{Misuse, clock, interrupt, lock_folder, memory, output, threads as workers};

mod found;
mod page;

pub(crate) use found::Found;
pub use found::{PeekFile, PictureRecord};

/// Look for pictures in one layer of any network: separation alone, up to sign, in seconds.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest peek net.safetensors --input-shape 3x32x32 --out runs/peek
  palimpsest peek ten_classes.pth --input-shape 1x28x28 --layer fc1.weight --out runs/peek
  palimpsest peek autoencoder.npz --input-shape 3x32x32 --chain encoder --out runs/peek

For any network whose first dense layer sees pictures: ten classes, regression, an autoencoder, the flat patches of a
transformer. Nothing of what the network computes is used, so the sign of a picture stays unknown.
Writes reconstructions.npy (pictures of unit length as the layer sees them, surest first), confidence.npy (probability that
each is a training image, up to sign), run.json (what speaks for each), report.html and pairs.png (each above its negative).
Ctrl-C stops early and keeps what was found.")]
pub struct PeekArgs {
    /// The file of weights: .palimpsest, .safetensors, .pth, .pt, .npz, .keras, .h5, .onnx or .skops.
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// Channels, height and width of a picture that the layer sees.
    #[arg(long, value_name = "CxHxW")]
    pub input_shape: InputShape,
    /// Name of the layer's weights [default: the first matrix that takes inputs of this shape].
    #[arg(long, value_name = "NAME", conflicts_with = "chain")]
    pub layer: Option<String>,
    /// Take the first layer of this chain of dense layers.
    #[arg(long, value_name = "NAME")]
    pub chain: Option<String>,
    /// Seed of the starts.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Threads [default: all cores]; the result is the same for any number.
    #[arg(long, value_name = "T")]
    pub threads: Option<usize>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Probability above which a picture is called sure, as in the report of an attack.
const SURE: f64 = 0.8;
/// Directions that are separated, at most.
const MOST_DIRECTIONS: usize = 700;

/// Carries out `palimpsest peek`.
///
/// # Errors
/// Whatever keeps it from its end; [`Misuse`] for options that cannot work, such as a shape that no layer takes.
pub fn run(args: &PeekArgs) -> Result<()> {
    let threads = checked_threads(args.threads)?;
    let layer = layer(args)?;
    let [rows, columns] = [layer.weight.nrows(), layer.weight.ncols()];
    memory::require(
        "peek",
        bytes(rows, columns, threads),
        "take a --layer with fewer neurons, or fewer --threads",
    )?;
    let _lock = lock_folder(&args.out)?;
    output::note(&format!(
        "{}: {}, {rows} neurons that see {columns} values{}",
        args.model.display(),
        layer.name,
        if layer.turned { ", stored as (in, out)" } else { "" },
    ));
    let start = clock::now();
    let found = workers::pool(threads)?.install(|| separate(args, &layer, threads))?;
    let elapsed_s = clock::now().saturating_sub(start).as_secs_f64();
    let record = found.record(args, &layer, threads, elapsed_s);
    let report = page::page(&found, &record)?;
    write(&args.out, &found, &record)?;
    page::write(&args.out, &found, &record, &report)?;
    let page = output::absolute(&args.out.join("report.html"));
    if record.stopped_early {
        output::note("stopped early: what was found until then is kept");
    }
    output::line(&sentence(&record));
    output::line(&format!("report: {}", page.display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "peek",
            "out": output::absolute(&args.out),
            "layer": record.layer,
            "pictures": record.pictures.len(),
            "sure": record.sure,
            "sentences": answer_sentences(&report.answer).join(" "),
            "report": page,
            "stopped_early": record.stopped_early,
            "elapsed_s": record.elapsed_s,
        }),
    );
    Ok(())
}

/// The result in a line.
fn sentence(record: &PeekFile) -> String {
    format!(
        "{} pictures in {}, of which {} are called sure (probability above {:.0} %, up to sign); {:.1} s",
        record.pictures.len(),
        record.layer,
        record.sure,
        100.0 * record.bar,
        record.elapsed_s
    )
}

/// Weights of the layer that is meant.
pub(crate) fn layer(args: &PeekArgs) -> Result<Matrix> {
    let InputShape { sides: [channels, height, width], .. } = args.input_shape;
    let inputs = channels.checked_mul(height).and_then(|plane| plane.checked_mul(width));
    let inputs = inputs.filter(|_| height >= 3 && width >= 3).ok_or_else(|| {
        Misuse(format!(
            "--input-shape {channels}x{height}x{width}: a picture must be at least 3 high and wide"
        ))
    })?;
    let choice = match (&args.chain, &args.layer) {
        (Some(chain), _) => MatrixChoice::OfChain(chain),
        (None, Some(layer)) => MatrixChoice::Named(layer),
        (None, None) => MatrixChoice::First,
    };
    load_layer(&args.model, choice, inputs, "--input-shape, --layer or --chain")
}

fn separate(args: &PeekArgs, layer: &Matrix, threads: usize) -> Result<Found> {
    let most = layer.weight.nrows().min(layer.weight.ncols()).min(MOST_DIRECTIONS);
    let progress = Progress::start("peek", truncations(&AgreementParams::default(), most));
    let mut observe = |at: Truncation| {
        progress.step(|| Measured { separated: Some(at.confirmed), ..Measured::default() });
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let found = look(args, layer, threads, &mut observe);
    progress.finish();
    found
}

/// Looks for pictures in the layer; `observe` may end it early.
pub(crate) fn look(
    args: &PeekArgs,
    layer: &Matrix,
    threads: usize,
    observe: &mut dyn FnMut(Truncation) -> ControlFlow<()>,
) -> Result<Found> {
    let parallelism = Parallelism::of_threads(threads);
    let mut weight = layer.weight.mapv(|value| value as f32);
    if args.input_shape.channels == ChannelOrder::Last {
        weight = columns_first(weight.view(), args.input_shape.sides);
    }
    if !weight.iter().all(|value| value.is_finite()) {
        bail!("{} has weights above what f32 holds; scale them down", layer.name);
    }
    let decomposed = svd(weight.view(), parallelism).with_context(|| {
        format!("{} cannot be decomposed; check that its weights are of ordinary size", layer.name)
    })?;
    let most = decomposed.vt.nrows().min(MOST_DIRECTIONS);
    let basis = decomposed.vt.slice(s![..most, ..]);
    let values = decomposed.singular_values.slice(s![..most]).mapv(f64::from);
    let params = AgreementParams::default();
    let mut stopped_early = false;
    let mut observe = |at: Truncation| {
        let flow = observe(at);
        stopped_early |= flow.is_break();
        flow
    };
    let seed = Seed::new(args.seed).named("peek");
    let found = separate_by_agreement(
        basis,
        values.view(),
        args.input_shape.sides,
        &params,
        seed,
        parallelism,
        &mut observe,
    );
    Ok(Found::of(found?, basis.to_owned(), stopped_early, parallelism))
}

/// Truncations of a span of this many directions, at most.
fn truncations(params: &AgreementParams, directions: usize) -> u64 {
    let octaves = (directions as f64 / params.smallest_rank as f64).max(1.0).ln();
    (octaves / params.rank_growth.ln()).ceil() as u64 + 1
}

impl Found {
    fn of(found: Agreement, basis: Array2<f32>, stopped_early: bool, parallelism: Parallelism) -> Self {
        let probabilities = found.probabilities();
        let (mut shown, backgrounds): (Vec<usize>, Vec<usize>) =
            (0..probabilities.len()).partition(|&i| !found.evidence[i].is_shared_background());
        shown.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let span = basis.slice(s![..found.pictures.ncols(), ..]);
        let pixels =
            |chosen: &[usize]| matmul(found.pictures.select(Axis(0), chosen).view(), span, parallelism);
        Self {
            pictures: pixels(&shown),
            backgrounds: pixels(&backgrounds),
            evidence: shown.iter().map(|&i| found.evidence[i].clone()).collect(),
            directions: found.pictures.ncols(),
            diagnostics: found.diagnostics,
            stopped_early,
        }
    }

    fn record(&self, args: &PeekArgs, layer: &Matrix, threads: usize, elapsed_s: f64) -> PeekFile {
        let pictures: Vec<PictureRecord> = self
            .evidence
            .iter()
            .map(|evidence| PictureRecord { probability: evidence.probability(), evidence: evidence.clone() })
            .collect();
        PeekFile {
            made_by: MADE_BY.into(),
            command: "peek",
            model: output::absolute(&args.model),
            format: format!("{}, stored as {}", layer.format, layer.dtype),
            layer: layer.name.clone(),
            layer_shape: [layer.weight.nrows(), layer.weight.ncols()],
            input_shape: args.input_shape.sides,
            params: AgreementParams::default(),
            seed: args.seed,
            threads,
            directions: self.directions,
            diagnostics: self.diagnostics.clone(),
            bar: SURE,
            sure: pictures.iter().filter(|picture| picture.probability > SURE).count(),
            shared_backgrounds: self.backgrounds.nrows(),
            pictures,
            elapsed_s,
            stopped_early: self.stopped_early,
        }
    }
}

/// What all images have in common, if anything, (b, d).
const BACKGROUNDS_FILE: &str = "shared_backgrounds.npy";

/// Writes the arrays and the record; removes what an earlier look left that this one does not write.
fn write(folder: &Path, found: &Found, record: &PeekFile) -> Result<()> {
    for name in [BACKGROUNDS_FILE, "pairs.png"] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot replace {}", path.display()))?;
        }
    }
    let confidence: Array1<f32> = record.pictures.iter().map(|picture| picture.probability as f32).collect();
    files::write_npy(&folder.join("reconstructions.npy"), &found.pictures)?;
    files::write_npy(&folder.join("confidence.npy"), &confidence)?;
    let backgrounds = Some(&found.backgrounds).filter(|backgrounds| backgrounds.nrows() > 0);
    files::write_npy_if_any(&folder.join(BACKGROUNDS_FILE), backgrounds)?;
    Ok(files::write_json(&folder.join("run.json"), record)?)
}

/// Edges of a picture, for each of its values, over all operators, at most.
const EDGES: usize = 24;

/// Memory that a look needs, from above.
fn bytes(rows: usize, columns: usize, threads: usize) -> Option<u64> {
    let side = rows.min(columns);
    let directions = side.min(MOST_DIRECTIONS);
    memory::total([
        memory::numbers(4, &[rows, columns], size_of::<f64>()),
        memory::numbers(3, &[side, side], size_of::<f64>()),
        memory::numbers(EDGES, &[directions, columns], size_of::<f32>()),
        memory::numbers(threads, &[2, directions, columns], size_of::<f32>()),
    ])
}
