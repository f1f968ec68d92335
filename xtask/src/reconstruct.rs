//! `cargo xtask reconstruct`: attack the weights of a network.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use ndarray::Array1;
use palimpsest_kkt::alternating::AlternatingParams;
use palimpsest_kkt::descent::DescentParams;
use palimpsest_kkt::gradient::GradientParams;
use palimpsest_kkt::reconstruction::RunRecord;
use palimpsest_kkt::{
    AttackParams, Attackability, KktError, Method, PriorKnowledge, Reconstruction, RestartStep, Run,
    reconstruct_from,
};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::kept::Kept;
use crate::lock::lock_folder;
use crate::model_file::{Model, load_model};
use crate::progress::{Measured, Progress};
use crate::snapshot::ResumeArgs;
use crate::{Misuse, interrupt, memory, output};

/// Attack the weights of a network; sees the weights and declared prior knowledge only.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask reconstruct --model runs/victim/model.palimpsest --out runs/attack
  cargo xtask reconstruct --model net.safetensors --input-shape 3x32x32 --restarts 20 --time-limit 120 --out runs/attack
  cargo xtask reconstruct --model net.safetensors --method gradient --candidates 200 --restarts 1 --out runs/published

Writes candidates.npy (one row a candidate, training mean removed), multipliers.npy, labels.npy, confidence.npy
(probability of being real), agreement.npy (across restarts), reconstructions.npy (merged, surest first) and run.json.
Ctrl-C stops early and keeps every restart that has finished; the same command with --resume goes on where it stopped,
and so it does after a kill.")]
pub(crate) struct ReconstructArgs {
    /// The network: .palimpsest, or a chain of dense layers in .safetensors, .pth, .pt or .npz.
    #[arg(long, value_name = "FILE")]
    pub(crate) model: PathBuf,
    /// The attack.
    #[arg(long, value_enum, default_value_t = MethodName::Annealed)]
    pub(crate) method: MethodName,
    /// Candidates per restart, half of each label [default: twice the rank told from the spectrum].
    #[arg(long, value_name = "M")]
    pub(crate) candidates: Option<usize>,
    /// Independent restarts, pooled [default: 8; with --time-limit, as many as fit, at most 32].
    #[arg(long, value_name = "R")]
    pub(crate) restarts: Option<usize>,
    /// Steps of each restart [default: 800 annealed, 1000 alternating, 50000 gradient].
    #[arg(long, value_name = "STEPS")]
    pub(crate) steps: Option<usize>,
    /// Seed of the starts.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Threads [default: all cores]; the result is the same for any number.
    #[arg(long, value_name = "T")]
    pub(crate) threads: Option<usize>,
    /// Seconds after which no restart is begun or continued; the result then depends on the machine.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<f64>,
    /// Smallest and largest raw input value, declared prior knowledge.
    #[arg(long, value_name = "LO,HI", default_value = "0,1", allow_hyphen_values = true)]
    pub(crate) input_range: Range,
    /// Channels, height and width of an input, so that reports can show pictures [default: from a .palimpsest file].
    #[arg(long, value_name = "CxHxW")]
    pub(crate) input_shape: Option<InputShape>,
    /// Typical norm of a centred input, declared prior knowledge [default: told from the input range].
    #[arg(long, value_name = "NORM")]
    pub(crate) input_norm: Option<f64>,
    /// Annealed: first and last gate slope, in units of one over the typical pre-activation.
    #[arg(long, value_name = "A0,A1", help_heading = "Research options")]
    pub(crate) alpha: Option<Range>,
    /// Annealed: largest step of a coordinate, in units of a typical coordinate.
    #[arg(long, value_name = "STEP", help_heading = "Research options")]
    pub(crate) step_size: Option<f64>,
    /// Annealed: largest step of the logarithm of a multiplier.
    #[arg(long, value_name = "STEP", help_heading = "Research options")]
    pub(crate) multiplier_step_size: Option<f64>,
    /// Annealed: norm of a start, in units of the norm of an input.
    #[arg(long, value_name = "NORM", help_heading = "Research options")]
    pub(crate) initial_norm: Option<f64>,
    /// Annealed: power of the singular value by which steps of a coordinate are scaled.
    #[arg(long, value_name = "POWER", help_heading = "Research options")]
    pub(crate) step_power: Option<f64>,
    /// Annealed: first multiplier, in units of the one at which orthogonal gradients would explain the first layer.
    #[arg(long, value_name = "LAMBDA", help_heading = "Research options")]
    pub(crate) initial_multiplier: Option<f64>,
    /// Coordinates to work in [default: told from the spectrum].
    #[arg(long, value_name = "RANK", help_heading = "Research options")]
    pub(crate) rank: Option<usize>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) resume: ResumeArgs,
}

impl ReconstructArgs {
    /// The default attack on `model` with results in `out`.
    pub(crate) fn defaults(model: PathBuf, out: PathBuf) -> Self {
        Self {
            model,
            method: MethodName::Annealed,
            candidates: None,
            restarts: None,
            steps: None,
            seed: 0,
            threads: None,
            time_limit: None,
            input_range: Range(0.0, 1.0),
            input_norm: None,
            input_shape: None,
            alpha: None,
            step_size: None,
            multiplier_step_size: None,
            initial_norm: None,
            step_power: None,
            initial_multiplier: None,
            rank: None,
            resume: ResumeArgs::when_possible(&out),
            out,
        }
    }
}

/// Restarts unless told otherwise.
const RESTARTS: usize = 8;
/// Restarts under a time limit unless told otherwise: later ones find little that is new.
const RESTARTS_IN_TIME: usize = 32;

/// Name of an attack on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodName {
    /// Descent on the first layer's residual while the gates sharpen.
    Annealed,
    /// Gates fixed, least squares, repeat.
    Alternating,
    /// Published momentum descent (Haim et al. 2022).
    Gradient,
}

/// `CxHxW` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InputShape([usize; 3]);

impl std::str::FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
        match sides.as_deref() {
            Ok(&[channels, height, width]) if (channels == 1 || channels == 3) && height > 0 && width > 0 => {
                Ok(Self([channels, height, width]))
            }
            _ => Err(format!("expected channels (1 or 3), height and width, as in 3x32x32; got {text}")),
        }
    }
}

/// `LO,HI` on the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range(f64, f64);

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        match parts.as_deref() {
            Ok(&[low, high]) if low < high && low.is_finite() && high.is_finite() => Ok(Self(low, high)),
            _ => Err(format!("expected two numbers, the smaller first, as in 0,1 or -1,1; got {text}")),
        }
    }
}

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
    /// Share of distinct candidates among those of the first six runs.
    pub(crate) distinct_share: f64,
    /// Candidates that stand for the distinct inputs found, surest first.
    pub(crate) ranking: Vec<usize>,
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
    let record = attack(args)?;
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
    output::line(&format!("relative residuals {}", residuals.join(" ")));
    output::line(&format!("wrote {}", output::absolute(&args.out.join("candidates.npy")).display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "reconstruct",
            "out": output::absolute(&args.out),
            "candidates": record.candidates,
            "distinct": record.ranking.len(),
            "restarts": record.runs.len(),
            "residuals": record.runs.iter().map(|r| r.relative_residual).collect::<Vec<_>>(),
            "stopped_early": record.stopped_early,
            "elapsed_s": record.elapsed_s,
        }),
    );
    Ok(())
}

/// Runs the attack that `args` describe and writes its files into the folder, which the caller has locked.
pub(crate) fn attack(args: &ReconstructArgs) -> Result<RunFile> {
    let params = params(args)?;
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
    memory::require(
        "the attack",
        attack_bytes(&network.dims(), &params, threads),
        "take fewer --candidates or --threads, or a smaller --rank",
    )?;
    let options = Options {
        made_by: concat!("palimpsest ", env!("CARGO_PKG_VERSION")),
        network: digest(&network),
        params: &params,
        seed: args.seed,
    };
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
    let observe = |at: &RestartStep<'_>| {
        progress.step(|| Measured {
            residual: Some(at.step.relative_residual),
            best_agreement: kept.best_agreement(),
            ..Measured::default()
        });
        let over =
            interrupt::requested() || limit.is_some_and(|limit| kept.elapsed_s() > limit.as_secs_f64());
        if over {
            kept.leave(at);
            stopped.store(true, Ordering::Relaxed);
            return ControlFlow::Break(());
        }
        kept.pass(at);
        ControlFlow::Continue(())
    };
    let keep = |restart: u64, run: &Run| kept.finish(restart, run);
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start the threads")?;
    let found =
        pool.install(|| reconstruct_from(&network, &params, Seed::new(args.seed), &from, &observe, &keep));
    progress.finish();
    // A time limit ends a run as it was asked to; an interrupt only breaks it off.
    let broken_off = stopped.load(Ordering::Relaxed) && interrupt::requested();
    if broken_off {
        kept.write();
    }
    let found = found.map_err(|error| match error {
        KktError::BadOption { .. } => anyhow!(Misuse(error.to_string())),
        KktError::NothingFinished(_) => anyhow!(
            "every restart met a NaN or infinity; check that this network was trained, or take smaller research options"
        ),
        KktError::Factor(_) => anyhow::Error::new(error)
            .context("the first layer cannot be decomposed; check that its weights are of ordinary size"),
        error => error.into(),
    })?;
    let record = RunFile {
        made_by: format!("palimpsest {}", env!("CARGO_PKG_VERSION")),
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
        distinct_share: found.distinct_share,
        ranking: found.ranking.clone(),
        spectrum: found.spectrum.clone(),
        stopped_early: stopped.into_inner(),
        runs: found.runs.clone(),
        elapsed_s: kept.elapsed_s(),
    };
    write(&args.out, &found, &record)?;
    if broken_off {
        output::note("stopped early; --resume goes on from here");
    } else {
        kept.remove();
    }
    Ok(record)
}

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
    let gram = match params.method {
        Method::Alternating(_) => memory::numbers(at_once, &[2, m, m], single),
        _ => Some(0),
    };
    let found = memory::numbers(params.restarts, &[2, m, d], single);
    memory::total(weights.chain([decomposition, run, gram, found]))
}

/// Most restarts: their results wait in memory to be pooled.
const MAX_RESTARTS: usize = 10_000;
/// Most candidates of a restart, which are compared with each other.
const MAX_CANDIDATES: usize = 16_384;

fn params(args: &ReconstructArgs) -> Result<AttackParams> {
    let annealed_only = [
        ("--alpha", args.alpha.is_some()),
        ("--step-size", args.step_size.is_some()),
        ("--multiplier-step-size", args.multiplier_step_size.is_some()),
        ("--initial-norm", args.initial_norm.is_some()),
        ("--step-power", args.step_power.is_some()),
        ("--initial-multiplier", args.initial_multiplier.is_some()),
    ];
    if args.method != MethodName::Annealed
        && let Some((name, _)) = annealed_only.iter().find(|(_, given)| *given)
    {
        bail!(Misuse(format!("{name} belongs to --method annealed; leave it out")));
    }
    let method = match args.method {
        MethodName::Annealed => {
            let defaults = DescentParams::default();
            Method::Annealed(DescentParams {
                steps: args.steps.unwrap_or(defaults.steps),
                alpha: args.alpha.map_or(defaults.alpha, |range| (range.0, range.1)),
                step_size: args.step_size.unwrap_or(defaults.step_size),
                multiplier_step_size: args.multiplier_step_size.unwrap_or(defaults.multiplier_step_size),
                step_power: args.step_power.unwrap_or(defaults.step_power),
                initial_norm: args.initial_norm.unwrap_or(defaults.initial_norm),
                initial_multiplier: args.initial_multiplier.unwrap_or(defaults.initial_multiplier),
            })
        }
        MethodName::Alternating => {
            let defaults = AlternatingParams::default();
            Method::Alternating(AlternatingParams { steps: args.steps.unwrap_or(defaults.steps), ..defaults })
        }
        MethodName::Gradient => {
            let defaults = GradientParams::default();
            Method::Gradient(GradientParams { steps: args.steps.unwrap_or(defaults.steps), ..defaults })
        }
    };
    let prior =
        PriorKnowledge { input_range: (args.input_range.0, args.input_range.1), input_norm: args.input_norm };
    let restarts =
        args.restarts.unwrap_or(if args.time_limit.is_some() { RESTARTS_IN_TIME } else { RESTARTS });
    let params = AttackParams { method, candidates: args.candidates, restarts, rank: args.rank, prior };
    params.check().map_err(|e| Misuse(e.to_string()))?;
    if params.restarts > MAX_RESTARTS {
        bail!(Misuse(format!("--restarts must be at most {MAX_RESTARTS}, got {}", params.restarts)));
    }
    if let Some(m) = params.candidates
        && m > MAX_CANDIDATES
    {
        bail!(Misuse(format!("--candidates must be at most {MAX_CANDIDATES}, got {m}")));
    }
    Ok(params)
}

fn time_limit(seconds: f64) -> Result<Duration> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => bail!(Misuse(format!(
            "--time-limit must be a number of seconds above 0 and below 1e19, got {seconds}"
        ))),
    }
}

fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        None => Ok(rayon::current_num_threads()),
        Some(t) if (1..=1024).contains(&t) => Ok(t),
        Some(t) => bail!(Misuse(format!("--threads must be between 1 and 1024, got {t}"))),
    }
}

fn write(folder: &Path, found: &Reconstruction, record: &RunFile) -> Result<()> {
    output::write_npy(&folder.join("candidates.npy"), &found.candidates.view())?;
    output::write_npy(&folder.join("multipliers.npy"), &found.multipliers)?;
    output::write_npy(&folder.join("labels.npy"), &Array1::from(found.labels.clone()))?;
    output::write_npy(&folder.join("confidence.npy"), &found.confidence)?;
    output::write_npy(&folder.join("agreement.npy"), &found.agreement)?;
    output::write_npy(&folder.join("reconstructions.npy"), &found.merged.view().to_owned())?;
    output::write_json(&folder.join("run.json"), record)
}
