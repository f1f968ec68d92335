//! `cargo xtask reconstruct`: attack the weights of a network.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use ndarray::{Array1, Array2, Axis};
use palimpsest_attack::RunRecord;
use palimpsest_attack::{
    AttackError, AttackParams, AttackStep, Attackability, Method, Reconstruction, Run, reconstruct_from,
};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::kept::Kept;
use crate::lock::lock_folder;
use crate::model_file::{Model, load_model};
use crate::progress::{Measured, Progress};
use crate::{Misuse, interrupt, memory, output};

mod args;

use args::{params, threads, time_limit};

pub(crate) use args::{InputShape, Range, ReconstructArgs};

/// The record of an attack, `run.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    pub(crate) made_by: String,
    pub(crate) model: PathBuf,
    pub(crate) dims: Vec<usize>,
    /// Channels, height and width of an input, declared or from the model's file.
    pub(crate) input_shape: Option<[usize; 3]>,
    pub(crate) params: AttackParams,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) time_limit_s: Option<f64>,
    /// What the weights said beforehand.
    pub(crate) attackability: Attackability,
    pub(crate) rank: usize,
    pub(crate) candidates_per_run: usize,
    pub(crate) candidates: usize,
    /// How many of the candidates, after those of the restarts, were found exactly from their gate patterns.
    pub(crate) exact: usize,
    /// How many of the candidates, the last ones after those, are means of what a round of restarts agreed on.
    #[serde(default)]
    pub(crate) agreed: usize,
    /// Share of distinct candidates among those of the first six runs.
    pub(crate) distinct_share: f64,
    /// Candidates that stand for the distinct inputs found, surest first.
    pub(crate) ranking: Vec<usize>,
    /// Typical norm of an input, declared or told.
    pub(crate) input_norm: f64,
    pub(crate) spectrum: Vec<f32>,
    pub(crate) runs: Vec<RunRecord>,
    pub(crate) elapsed_s: f64,
    /// Whether a time limit or an interrupt ended the attack before all restarts were done.
    pub(crate) stopped_early: bool,
}

pub(crate) fn run(args: &ReconstructArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    for note in load_model(&args.model)?.notes {
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
    if record.exact > 0 {
        output::line(&format!(
            "{} of the candidates were solved for exactly, from their gate patterns",
            record.exact
        ));
    }
    if record.agreed > 0 {
        output::line(&format!(
            "{} more are images on which a round of restarts agreed before they were taken out of the equation",
            record.agreed
        ));
    }
    output::line(&format!("relative residuals {}", residuals.join(" ")));
    output::line(&format!("wrote {}", output::absolute(&args.out.join("candidates.npy")).display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "reconstruct",
            "out": output::absolute(&args.out),
            "candidates": record.candidates,
            "exact": record.exact,
            "agreed": record.agreed,
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
pub(crate) struct Attacked {
    pub(crate) record: RunFile,
    /// Whether an interrupt ended it, so that there is something to go on with.
    pub(crate) broken_off: bool,
    kept: Kept,
}

impl Attacked {
    /// Nothing can be lost any more: removes the snapshots, unless the attack was broken off.
    pub(crate) fn done(self) -> RunFile {
        if !self.broken_off {
            self.kept.remove();
        }
        self.record
    }
}

/// Runs the attack that `args` describe and writes its files into the folder, which the caller has locked.
pub(crate) fn attack(args: &ReconstructArgs) -> Result<Attacked> {
    let mut params = params(args)?;
    let threads = threads(args.threads)?;
    let limit = args.time_limit.map(time_limit).transpose()?;
    if output::absolute(&args.model).to_str().is_none() {
        bail!(Misuse("the path of --model must be UTF-8 to be named in run.json; rename the file".into()));
    }
    let Model { network, provenance, .. } = load_model(&args.model)?;
    let input_shape = args.input_shape.map(|s| s.0).or_else(|| provenance?.image_shape);
    if let Some(sides) = input_shape
        && sides.iter().try_fold(1_usize, |size, &side| size.checked_mul(side)) != Some(network.inputs())
    {
        bail!(Misuse(format!(
            "an input of shape {sides:?} has not the {} values that the network takes; correct --input-shape",
            network.inputs()
        )));
    }
    params.prior.image_shape = input_shape;
    memory::require(
        "the attack",
        attack_bytes(&network.dims(), &params, threads),
        "take fewer --candidates or --threads, or a smaller --rank",
    )?;
    let options =
        Options { made_by: output::MADE_BY, network: digest(&network), params: &params, seed: args.seed };
    let (kept, from) = Kept::open(&args.out, &args.resume, &options)?;
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
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start the threads")?;
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
        AttackError::NothingFinished(_) => anyhow!(
            "every restart met a NaN or infinity; check that this network was trained, or take smaller research options"
        ),
        AttackError::Factor(_) => anyhow::Error::new(error)
            .context("the first layer cannot be decomposed; check that its weights are of ordinary size"),
        error => error.into(),
    })?;
    let record = RunFile {
        made_by: output::MADE_BY.into(),
        model: output::absolute(&args.model),
        dims: network.dims(),
        input_shape,
        params,
        seed: args.seed,
        threads,
        time_limit_s: args.time_limit,
        attackability: found.attackability.clone(),
        rank: found.rank,
        candidates_per_run: found.candidates_per_run,
        candidates: found.candidates.len(),
        exact: found.exact,
        agreed: found.agreed,
        distinct_share: found.distinct_share,
        ranking: found.ranking.clone(),
        input_norm: found.input_norm,
        spectrum: found.spectrum.clone(),
        stopped_early: stopped.into_inner(),
        runs: found.runs.clone(),
        elapsed_s: kept.elapsed_s(),
    };
    write(&args.out, &found, &record)?;
    Ok(Attacked { record, broken_off, kept })
}

/// How candidates look as raw images, (M, 2): contrast and brightness; where it is known what was taken from all inputs.
pub(crate) const APPEARANCE_FILE: &str = "appearance.npy";
/// What was taken from all inputs, as the attack tells it, (1, d).
pub(crate) const MEAN_IMAGE_FILE: &str = "mean_image.npy";
/// Bound on the starts that a separation iterates together.
const SEPARATED_TOGETHER: usize = 64;
/// Share of the time limit at which the search for gate patterns ends.
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
        // The check for mirror images.
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

fn write(folder: &Path, found: &Reconstruction, record: &RunFile) -> Result<()> {
    output::write_npy(&folder.join("candidates.npy"), &found.candidates.view())?;
    output::write_npy(&folder.join("multipliers.npy"), &found.multipliers)?;
    output::write_npy(&folder.join("labels.npy"), &Array1::from(found.labels.clone()))?;
    output::write_npy(&folder.join("confidence.npy"), &found.confidence)?;
    output::write_npy(&folder.join("agreement.npy"), &found.agreement)?;
    output::write_npy_if_any(&folder.join("bias_shares.npy"), found.bias_share.as_ref())?;
    let looks = found.appearance.as_ref().map(|looks| {
        Array2::from(
            looks.iter().map(|look| [look.contrast, look.brightness, look.unchanged]).collect::<Vec<_>>(),
        )
    });
    output::write_npy_if_any(&folder.join(APPEARANCE_FILE), looks.as_ref())?;
    let mean = found.mean_image.clone().map(|mean| mean.insert_axis(Axis(0)));
    output::write_npy_if_any(&folder.join(MEAN_IMAGE_FILE), mean.as_ref())?;
    output::write_npy(&folder.join("reconstructions.npy"), &found.merged.view().to_owned())?;
    output::write_json(&folder.join("run.json"), record)
}
