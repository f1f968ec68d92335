//! `palimpsest peek`: pictures in the weights of one layer, whatever the rest of the network is.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use ndarray::Array1;
use palimpsest_mlp::import::Matrix;
use palimpsest_report::answer_sentences;
use palimpsest_runs::{MADE_BY, files};
use palimpsest_unmix::agreement::{AgreementParams, Progress as Truncation};

use super::input_shape::InputShape;
use super::look::{Found, MOST_DIRECTIONS, layer, look};
use super::reconstruct::checked_threads;
use crate::terminal::progress::{Measured, Progress};
use crate::terminal::{clock, interrupt, lock_folder, memory, output, threads as workers};

mod page;
mod record;

pub use record::{PeekFile, PictureRecord};

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

/// Carries out `palimpsest peek`.
///
/// # Errors
/// Whatever keeps it from its end; [`Misuse`](crate::terminal::Misuse) for options that cannot work, such as a shape that no layer takes.
pub fn run(args: &PeekArgs) -> Result<()> {
    let threads = checked_threads(args.threads)?;
    let layer = layer(&args.model, args.input_shape, args.chain.as_deref(), args.layer.as_deref())?;
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
    let record = PeekFile::of(&found, args, &layer, threads, elapsed_s);
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

fn separate(args: &PeekArgs, layer: &Matrix, threads: usize) -> Result<Found> {
    let most = layer.weight.nrows().min(layer.weight.ncols()).min(MOST_DIRECTIONS);
    let progress = Progress::start("peek", truncations(&AgreementParams::default(), most));
    let mut observe = |at: Truncation| {
        progress.step(|| Measured { separated: Some(at.confirmed), ..Measured::default() });
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let found = look(layer, args.input_shape, args.seed, threads, &mut observe);
    progress.finish();
    found
}

/// Truncations of a span of this many directions, at most.
fn truncations(params: &AgreementParams, directions: usize) -> u64 {
    let octaves = (directions as f64 / params.smallest_rank as f64).max(1.0).ln();
    (octaves / params.rank_growth.ln()).ceil() as u64 + 1
}

impl PeekFile {
    fn of(found: &Found, args: &PeekArgs, layer: &Matrix, threads: usize, elapsed_s: f64) -> Self {
        let pictures: Vec<PictureRecord> = found
            .evidence
            .iter()
            .map(|evidence| PictureRecord { probability: evidence.probability(), evidence: evidence.clone() })
            .collect();
        Self {
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
            directions: found.directions,
            diagnostics: found.diagnostics.clone(),
            bar: SURE,
            sure: pictures.iter().filter(|picture| picture.probability > SURE).count(),
            shared_backgrounds: found.backgrounds.nrows(),
            pictures,
            elapsed_s,
            stopped_early: found.stopped_early,
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
