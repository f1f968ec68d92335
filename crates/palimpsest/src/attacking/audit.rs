//! The attacking half of an audit: from somebody's weight file to what its weights give away.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ndarray::{Array1, Array2, Axis};
use palimpsest_attack::{AttackProblem, Exposure, PriorKnowledge, Task};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_runs::files;
use palimpsest_runs::record::{ChannelOrder, MEAN_FILE};

use super::exposure::exposure;
use super::input_shape::{InputShape, columns_first};
use super::model_file::{describe, load_model};
use super::reconstruct::{Attacked, PoolName, Range, ReconstructArgs, Restarts, attack};
use super::unjudged::JUDGE_PAGE;
use crate::terminal::{Misuse, ResumeArgs, output};

/// What an audit is told about the network.
#[derive(Clone, Debug, Args)]
pub struct AuditArgs {
    /// The network: a chain of dense layers in .safetensors, .pth, .pt, .npz or .palimpsest.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Which chain of dense layers is meant, where a file holds several or other layers before a dense head.
    #[arg(long, value_name = "NAME")]
    pub chain: Option<String>,
    /// Channels, height and width of an input that is a picture, so that images are separated from the weights; with the channels
    /// last, as in 32x32x3, if the network takes them so; without it inputs are rows of plain numbers, and far fewer are found.
    #[arg(long, value_name = "CxHxW")]
    pub input_shape: Option<InputShape>,
    /// Smallest and largest raw value of an image [default: 0,1].
    #[arg(long, value_name = "LO,HI", allow_hyphen_values = true)]
    input_range: Option<Range>,
    /// Typical Euclidean norm of an input as the network saw it [default: for images estimated from the input range, for rows from the
    /// weights].
    #[arg(long, value_name = "NORM")]
    input_norm: Option<f64>,
    /// The network tells a number instead of classes, trained by the squared error.
    #[arg(long)]
    pub regression: bool,
    /// Mean of the training inputs, .npy of as many values as an input has, for showing what was found; a second row
    /// holds the deviation of each column, if inputs were divided by it [default: what the weights tell of it, if anything].
    #[arg(long, value_name = "FILE")]
    mean: Option<PathBuf>,
    /// Seconds after which no restart is begun or continued; the result then depends on the machine. If no restart
    /// ended, the list is what separations of the weights found.
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// Candidates per restart, as many of each label as can be [default: twice the rank estimated from the spectrum].
    #[arg(long, value_name = "M")]
    candidates: Option<usize>,
    /// Independent restarts, pooled, exactly so many [default: until the last eight bring nothing new, at most 48].
    #[arg(long, value_name = "R")]
    restarts: Option<usize>,
    /// Steps of each restart [default: that of `reconstruct`].
    #[arg(long, value_name = "STEPS")]
    steps: Option<usize>,
    /// Seed of the starts.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Threads [default: all cores]; the result is the same for any number.
    #[arg(long, value_name = "T")]
    threads: Option<usize>,
    /// In which form all candidates are kept [default: inputs, or coordinates where these would take more than 64 MiB].
    #[arg(long, value_enum, value_name = "FORM", num_args = 0..=1, default_missing_value = "coordinates")]
    keep_pool: Option<PoolName>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seconds between snapshots, at least; the same command goes on from the last one after an interrupt or a kill.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    snapshot_every: f64,
    /// Show the folder to a browser on this machine while the command works, at this port or any free one; the page asks again by itself.
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub watch: Option<u16>,
}

/// Reads the network, says what it shows, attacks it and writes what was found into the folder, which the caller has locked.
pub fn attacked(args: &AuditArgs) -> Result<Attacked> {
    let inputs = inspect(args)?;
    let mut mean = args.mean.as_deref().map(|path| read_mean(path, inputs)).transpose()?;
    if let (Some(mean), Some(InputShape { sides, channels: ChannelOrder::Last })) =
        (&mut mean, args.input_shape)
        && (InputShape { sides, channels: ChannelOrder::Last }).size() == Some(inputs)
    {
        // Given as the network takes it, like all that is given; shown channel by channel.
        *mean = columns_first(mean.view(), sides);
    }
    clear(&args.out)?;
    if let Some(mean) = mean {
        files::write_npy(&args.out.join(MEAN_FILE), &mean)?;
    }
    let attacked = attack(&reconstruct_args(args))?;
    if attacked.broken_off {
        output::note("stopped early: the report holds what was finished; the same command goes on from here");
    }
    Ok(attacked)
}

/// Removes what an earlier audit left that this one may not write again.
fn clear(out: &Path) -> Result<()> {
    for name in [MEAN_FILE, JUDGE_PAGE, "judge/score.json"] {
        let path = out.join(name);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot replace {}", path.display()))?;
        }
    }
    Ok(())
}

/// Says what the file holds and whether the network looks exposed, before any long work; returns its input width.
fn inspect(args: &AuditArgs) -> Result<usize> {
    let chain = args.chain.as_deref();
    let model = load_model(&args.model, chain)?;
    let file = describe(&args.model, chain, &model.network, model.provenance.as_ref())?;
    output::note(&format!("Found in {}:", args.model.display()));
    for fact in file.found.iter().skip(1) {
        output::note(&format!("  {}: {}", fact.name, fact.value));
    }
    if !file.assumed.is_empty() {
        output::note("Assumed:");
    }
    for assumed in &file.assumed {
        output::note(&format!("  {assumed}"));
    }
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let task = if args.regression { Task::Regression } else { Task::Classification };
    let prior = PriorKnowledge { task, ..PriorKnowledge::default() };
    let problem = AttackProblem::prepare(&model.network, prior, None, parallelism)?;
    let exposed = exposure(&Exposure::of(&model.network, &problem), &problem.spectrum);
    output::note(&exposed.sentence);
    output::event("exposure", &exposed);
    Ok(model.network.inputs())
}

fn reconstruct_args(args: &AuditArgs) -> ReconstructArgs {
    let defaults = ReconstructArgs::defaults(args.model.clone(), args.out.clone());
    ReconstructArgs {
        chain: args.chain.clone(),
        candidates: args.candidates,
        restarts: args.restarts.map(Restarts::Count),
        steps: args.steps,
        seed: args.seed,
        threads: args.threads,
        time_limit: args.time_limit,
        input_range: args.input_range.unwrap_or(defaults.input_range),
        input_norm: args.input_norm,
        input_shape: args.input_shape,
        regression: args.regression,
        keep_pool: args.keep_pool,
        until_nothing_new: true,
        live: true,
        resume: ResumeArgs { snapshot_every: args.snapshot_every, ..defaults.resume },
        ..defaults
    }
}

/// Largest file of a mean: two rows of as many values as the widest network has, in f64.
const MAX_MEAN_BYTES: u64 = 1 << 28;

/// Reads a mean of `d` values, and a row of deviations if there is one, whatever its shape and precision.
///
/// # Errors
/// [`Misuse`] for another number of values; else when the file cannot be read.
pub fn read_mean(path: &Path, d: usize) -> Result<Array2<f32>> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= MAX_MEAN_BYTES, "{} is too large for the mean of one input", path.display());
    let single = files::read_npy::<f32, ndarray::IxDyn>(path);
    let values: Array1<f32> = match single {
        Ok(values) => values.into_iter().collect(),
        Err(error) => match files::read_npy::<f64, ndarray::IxDyn>(path) {
            Ok(values) => values.into_iter().map(|v| v as f32).collect(),
            Err(_) => return Err(error.into()),
        },
    };
    let rows = values.len() / d.max(1);
    if !matches!(rows, 1 | 2) || rows * d != values.len() || values.iter().any(|v| !v.is_finite()) {
        bail!(Misuse(format!(
            "--mean must hold {d} finite values, or {d} and as many deviations; {} holds {}",
            path.display(),
            values.len()
        )));
    }
    let values = values.into_shape_with_order((rows, d)).expect("rows times d is the length");
    ensure!(
        rows == 1 || values.index_axis(Axis(0), 1).iter().all(|&v| v > 0.0),
        "a deviation in {} is not above 0",
        path.display()
    );
    Ok(values)
}
