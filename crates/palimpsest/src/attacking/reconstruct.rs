//! `palimpsest reconstruct`: attack the weights of a network.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, anyhow, bail};
use ndarray::{Array1, Array2, Axis};
use palimpsest_attack::Origin;
use palimpsest_attack::{
    AttackError, AttackParams, AttackStep, Label, Method, Reconstruction, Run, reconstruct_from,
};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::record::{APPEARANCE_FILE, ChannelOrder, LABELS_FILE, MEAN_IMAGE_FILE};
use palimpsest_runs::{Kept, MADE_BY, RunFile, files};
use serde::Serialize;

use super::input_shape::{InputShape, to_channels_first};
use super::model_file::{Model, load_model};
use super::too_short::too_short;
use crate::terminal::progress::{Measured, Progress};
use crate::terminal::{Misuse, host, interrupt, lock_folder, memory, output, threads as workers};

mod args;

pub(crate) use args::params;
pub(super) use args::threads as checked_threads;
use args::time_limit;

pub use args::{Range, ReconstructArgs};

/// Carries out `palimpsest reconstruct`.
///
/// # Errors
/// Whatever keeps the attack from its end; [`Misuse`] for options that cannot work.
pub fn run(args: &ReconstructArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    for note in load_model(&args.model, args.chain.as_deref())?.notes {
        output::note(&note);
    }
    let attacked = attack(args)?;
    if attacked.broken_off {
        output::note("stopped early; --resume goes on from here");
    }
    let record = attacked.done();
    output::line(&record.attackability.sentences());
    let collapsed = record.runs.iter().filter(|r| r.collapsed).count();
    output::line(&format!(
        "{} candidates from {} of {} restarts in {:.1} s (rank {}, {} a restart{})",
        record.candidates,
        record.runs.len(),
        record.params.restarts,
        record.elapsed_s,
        record.rank,
        record.candidates_per_run,
        if collapsed > 0 { format!(", {collapsed} collapsed") } else { String::new() },
    ));
    let residuals: Vec<String> = record.runs.iter().map(|r| format!("{:.3}", r.relative_residual)).collect();
    let separated = record.runs.iter().filter(|run| run.separated).count();
    if separated > 0 {
        output::line(&format!(
            "{separated} restarts began with images separated from the row space of the weights"
        ));
    }
    for stage in &record.stages {
        output::line(&match &stage.why_not {
            Some(why_not) => format!("stage {}: not used, {why_not}", stage.stage),
            None => format!("stage {}: {} candidates", stage.stage, stage.candidates),
        });
    }
    output::line(&format!("relative residuals {}", residuals.join(" ")));
    output::line(&format!("wrote {}", output::absolute(&args.out.join("candidates.npy")).display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "reconstruct",
            "out": output::absolute(&args.out),
            "candidates": record.candidates,
            "exact": record.count(Origin::ActivationPattern),
            "agreed": record.count(Origin::Deflation),
            "stages": record.stages,
            "distinct": record.ranking.len(),
            "restarts": record.runs.len(),
            "residuals": record.runs.iter().map(|r| r.relative_residual).collect::<Vec<_>>(),
            "stopped_early": record.stopped_early,
            "elapsed_s": record.elapsed_s,
        }),
    );
    Ok(())
}

/// An attack whose files are written. Its snapshots stay until it is [`done`](Self::done), so that a command which goes on
/// with the files, and is killed, need not attack again.
#[must_use]
pub struct Attacked {
    /// What was done and found.
    pub record: RunFile,
    /// Whether an interrupt ended it, so that there is something to go on with.
    pub broken_off: bool,
    kept: Kept,
}

impl Attacked {
    /// Nothing can be lost any more: removes the snapshots, unless the attack was broken off.
    pub fn done(self) -> RunFile {
        if !self.broken_off {
            self.kept.remove();
        }
        self.record
    }
}

/// Runs the attack that `args` describe and writes its files into the folder, which the caller has locked.
pub fn attack(args: &ReconstructArgs) -> Result<Attacked> {
    let mut params = params(args)?;
    let threads = checked_threads(args.threads)?;
    let limit = args.time_limit.map(time_limit).transpose()?;
    if output::absolute(&args.model).to_str().is_none() {
        bail!(Misuse("the path of --model must be UTF-8 to be named in run.json; rename the file".into()));
    }
    let Model { mut network, provenance, .. } = load_model(&args.model, args.chain.as_deref())?;
    let input_shape = args.input_shape.or_else(|| Some(InputShape::channels_first(provenance?.image_shape?)));
    if let Some(shape) = input_shape {
        check_size(shape, network.inputs())?;
        to_channels_first(&mut network, shape);
        if shape.channels == ChannelOrder::Last {
            output::note(
                "the network takes the channels of a pixel side by side: all pictures are written channels first",
            );
        }
    }
    params.prior.image_shape = input_shape.map(|shape| shape.sides);
    memory::require(
        "the attack",
        attack_bytes(&network.dims(), &params, threads),
        "take fewer --candidates or --threads, or a smaller --rank",
    )?;
    let options = Options { made_by: MADE_BY, network: digest(&network), params: &params, seed: args.seed };
    let (kept, from) = Kept::open(&args.out, args.resume.start(), args.resume.interval()?, &options, host())?;
    let steps = params.method.steps();
    let (finished, under_way) = (from.finished.len(), from.under_way.len());
    if finished + under_way > 0 {
        let restarts = params.restarts;
        output::note(&format!("going on after {finished} of {restarts} restarts, inside {under_way} more"));
    }
    let done = from
        .under_way
        .values()
        .fold(finished.saturating_mul(steps), |done, run| done.saturating_add(run.steps_taken()));
    let progress = Progress::resume("attack", steps.saturating_mul(params.restarts) as u64, done as u64);
    let stopped = AtomicBool::new(false);
    let (searching, agreed) = (OnceLock::new(), AtomicUsize::new(0));
    let observe = |at: &AttackStep<'_>| {
        match at {
            AttackStep::Restart(at) => progress.step(|| Measured {
                residual: Some(at.step.relative_residual),
                best_agreement: kept.best_agreement(),
                agreed: Some(agreed.load(Ordering::Relaxed)).filter(|&images| images > 0),
                ..Measured::default()
            }),
            AttackStep::Agreed(images) => agreed.store(*images, Ordering::Relaxed),
            AttackStep::Separation(found) => {
                progress.tell(Measured { separated: Some(*found), ..Measured::default() });
            }
            AttackStep::Patterns(at) => searching
                .get_or_init(|| {
                    progress.finish();
                    // A kill in the search costs the search, and no restart.
                    kept.write();
                    Progress::start("patterns", params.patterns.map_or(0, |options| options.steps_at_most()))
                })
                .step(|| Measured {
                    residual: at.relative_residual,
                    certified: Some(at.certified),
                    ..Measured::default()
                }),
        }
        // The last round is followed by solving for the inputs, which takes about a tenth of the search.
        let share = if matches!(at, AttackStep::Patterns(_)) { SEARCHING_SHARE } else { 1.0 };
        let over = interrupt::requested()
            || limit.is_some_and(|limit| kept.elapsed_s() > share * limit.as_secs_f64());
        if over {
            stopped.store(true, Ordering::Relaxed);
        }
        match at {
            AttackStep::Restart(at) if over => kept.leave(at),
            AttackStep::Restart(at) => kept.pass(at),
            AttackStep::Separation(_) | AttackStep::Agreed(_) | AttackStep::Patterns(_) => {}
        }
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let keep = |restart: u64, run: &Run| kept.finish(restart, run);
    let pool = workers::pool(threads)?;
    let found =
        pool.install(|| reconstruct_from(&network, &params, Seed::new(args.seed), &from, &observe, &keep));
    if let Some(searching) = searching.get() {
        searching.finish();
    } else {
        progress.finish();
    }
    // A time limit ends a run as it was asked to; an interrupt only breaks it off.
    let broken_off = stopped.load(Ordering::Relaxed) && interrupt::requested();
    if broken_off {
        kept.write();
    }
    let found = found.map_err(|error| match error {
        AttackError::BadOption { .. } => anyhow!(Misuse(error.to_string())),
        AttackError::NothingFinished(_) if stopped.load(Ordering::Relaxed) => anyhow!(
            "the attack was stopped before a restart took its first step: allow a longer --time-limit, or take fewer --steps"
        ),
        AttackError::NothingFinished(_) => anyhow!(
            "every restart met a NaN or infinity; check that this network was trained, or take smaller research options"
        ),
        AttackError::Factor(_) => anyhow::Error::new(error)
            .context("the first layer cannot be decomposed; check that its weights are of ordinary size"),
        error => error.into(),
    })?;
    let asked = Asked {
        model: output::absolute(&args.model),
        chain: args.chain.clone(),
        channels: input_shape.map_or_else(ChannelOrder::default, |shape| shape.channels),
        dims: network.dims(),
        params,
        seed: args.seed,
        threads,
        time_limit_s: args.time_limit,
    };
    let record =
        RunFile { elapsed_s: kept.elapsed_s(), stopped_early: stopped.into_inner(), ..asked.record(&found) };
    write(&args.out, &found, &record)?;
    if let Some(sentence) = too_short(&record) {
        output::note(&format!("warning: {sentence}"));
    }
    Ok(Attacked { record, broken_off, kept })
}

/// Refuses a shape of other than the `inputs` values that a network takes.
pub(crate) fn check_size(shape: InputShape, inputs: usize) -> Result<(), Misuse> {
    if shape.size() == Some(inputs) {
        return Ok(());
    }
    Err(Misuse(format!(
        "an input of shape {shape} has not the {inputs} values that the network takes; correct --input-shape"
    )))
}

/// What an attack was asked to do, and on what.
pub(crate) struct Asked {
    pub(crate) model: PathBuf,
    pub(crate) chain: Option<String>,
    pub(crate) channels: ChannelOrder,
    pub(crate) dims: Vec<usize>,
    pub(crate) params: AttackParams,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) time_limit_s: Option<f64>,
}

impl Asked {
    /// The record of what was found, by an attack that took no time and came to its end.
    pub(crate) fn record(self, found: &Reconstruction) -> RunFile {
        let Self { model, chain, channels, dims, params, seed, threads, time_limit_s } = self;
        RunFile {
            made_by: MADE_BY.into(),
            model,
            chain,
            dims,
            input_shape: params.prior.image_shape,
            channels,
            params,
            seed,
            threads,
            time_limit_s,
            attackability: found.attackability.clone(),
            rank: found.rank,
            candidates_per_run: found.candidates_per_run,
            candidates: found.candidates.len(),
            origins: found.origins.clone(),
            stages: found.stages.clone(),
            distinct_share: found.distinct_share,
            ranking: found.ranking.clone(),
            input_norm: found.input_norm,
            spectrum: found.spectrum.clone(),
            stopped_early: false,
            runs: found.runs.clone(),
            elapsed_s: 0.0,
        }
    }
}

/// Bound on the starts that a separation iterates together.
const SEPARATED_TOGETHER: usize = 64;
/// Share of the time limit at which the search for activation patterns ends.
const SEARCHING_SHARE: f64 = 0.9;

/// What decides the bits of an attack: a snapshot is of this attack when all of it is the same.
#[derive(Serialize)]
struct Options<'a> {
    made_by: &'a str,
    /// Checksum of the weights.
    network: String,
    #[serde(flatten)]
    params: &'a AttackParams,
    seed: u64,
}

fn digest(network: &Mlp<f32>) -> String {
    let mut hasher = blake3::Hasher::new();
    for layer in network.layers() {
        for &size in layer.weight.shape() {
            hasher.update(&(size as u64).to_le_bytes());
        }
        for value in layer.weight.iter().chain(layer.bias.iter().flatten()) {
            hasher.update(&value.to_le_bytes());
        }
    }
    hasher.finalize().to_string()
}

/// Memory of an attack on a network of these widths, from above: the rank is not known before it starts.
fn attack_bytes(dims: &[usize], params: &AttackParams, threads: usize) -> Option<u64> {
    let (d, width) = (dims[0], dims[1]);
    let side = d.min(width);
    // A rank above the side is refused later.
    let rank = params.rank.map_or(side, |rank| rank.min(side));
    let coordinates = if matches!(params.method, Method::Gradient(_)) { d } else { rank };
    let m = params.candidates.unwrap_or(2 * rank);
    let hidden: usize =
        dims[1..dims.len() - 1].iter().try_fold(0_usize, |sum, &width| sum.checked_add(width))?;
    let at_once = threads.min(params.restarts);
    let single = size_of::<f32>();
    // The network, the same on coordinates, a residual for each restart that runs.
    let weights = dims.windows(2).map(|pair| memory::numbers(at_once.checked_add(2)?, pair, single));
    let decomposition = memory::numbers(3, &[d, width], size_of::<f64>());
    let run = memory::numbers(
        at_once,
        &[m, hidden.checked_mul(10)?.checked_add(coordinates.checked_mul(12)?)?],
        single,
    );
    let inside = match params.method {
        Method::Alternating(_) => memory::numbers(at_once, &[2, m, m], single),
        // The check for negatives.
        Method::Annealed(_) => {
            let given = width.checked_mul(2)?.checked_add(m.min(width))?;
            let check = memory::numbers(at_once, &[m, given], size_of::<f64>());
            // Two edges a pixel, in double precision and whitened, without and with an offset, and those of the starts that are
            // iterated together.
            let edges = params.separation.is_some() || params.deflation.is_some();
            let images = params.prior.image_shape.filter(|_| edges);
            let separation = images.map_or(Some(0), |_| {
                let edges = memory::numbers(6, &[rank, d], size_of::<f64>())?;
                let together = memory::numbers(threads, &[2, SEPARATED_TOGETHER, d], single)?;
                // Edges and pixels along each direction, and with weights for each thread.
                let refined = memory::numbers(threads.checked_add(1)?, &[3, rank, d], single)?;
                edges.checked_add(together)?.checked_add(refined)
            });
            memory::total([check, separation])
        }
        Method::Gradient(_) => Some(0),
    };
    let found = memory::numbers(params.restarts, &[2, m, d], single);
    memory::total(weights.chain([decomposition, run, inside, found]))
}

/// Writes the labels: -1 and +1 where there are two, else class numbers.
fn write_labels(folder: &Path, found: &Reconstruction) -> Result<()> {
    let (path, labels) = (folder.join(LABELS_FILE), &found.labels);
    if found.head.labels() == 2 {
        let signs: Array1<i8> = labels.iter().map(|label| label.sign() as i8).collect();
        return Ok(files::write_npy(&path, &signs)?);
    }
    let classes: Array1<u32> = labels.iter().map(|&Label(class)| class as u32).collect();
    Ok(files::write_npy(&path, &classes)?)
}

/// Writes the files of the contract.
pub(crate) fn write(folder: &Path, found: &Reconstruction, record: &RunFile) -> Result<()> {
    files::write_npy(&folder.join("candidates.npy"), &found.candidates.view())?;
    files::write_npy(&folder.join("multipliers.npy"), &found.multipliers)?;
    write_labels(folder, found)?;
    files::write_npy(&folder.join("confidence.npy"), &found.confidence)?;
    files::write_npy(&folder.join("agreement.npy"), &found.agreement)?;
    files::write_npy_if_any(&folder.join("bias_shares.npy"), found.bias_share.as_ref())?;
    let looks = found.appearance.as_ref().map(|looks| {
        Array2::from(
            looks.iter().map(|look| [look.contrast, look.brightness, look.unchanged]).collect::<Vec<_>>(),
        )
    });
    files::write_npy_if_any(&folder.join(APPEARANCE_FILE), looks.as_ref())?;
    let mean = found.mean_image.clone().map(|mean| mean.insert_axis(Axis(0)));
    files::write_npy_if_any(&folder.join(MEAN_IMAGE_FILE), mean.as_ref())?;
    files::write_npy(&folder.join("reconstructions.npy"), &found.merged.view().to_owned())?;
    Ok(files::write_json(&folder.join("run.json"), record)?)
}
