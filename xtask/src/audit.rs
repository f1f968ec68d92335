//! `cargo xtask audit`: from somebody's weight file to a report, in one folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ndarray::{Array1, Array2, Axis};
use palimpsest_attack::{AttackProblem, Attackability, PriorKnowledge};
use palimpsest_datasets::{DataName, Task};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::answer_sentences;

use crate::data::{DataArgs, VictimData};
use crate::evaluate::{self, EvaluateArgs};
use crate::exposure::exposure;
use crate::lock::lock_folder;
use crate::model_file::describe;
use crate::model_file::load_model;
use crate::reconstruct::{InputShape, Range, ReconstructArgs, attack};
use crate::snapshot::ResumeArgs;
use crate::unjudged::{JUDGE_PAGE, MEAN_FILE, unjudged};
use crate::{Misuse, output, report};

/// Audit somebody's network: read it, judge from its weights whether it looks exposed, attack it, and report.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask audit net.safetensors --input-shape 3x32x32 --out runs/audit
  cargo xtask audit net.pth --input-shape 1x28x28 --input-range -1,1 --mean mean.npy --time-limit 600 --out runs/audit
  cargo xtask audit table.npz --out runs/table
  cargo xtask audit net.safetensors --input-shape 3x32x32 --truth cifar10 --data-dir data/cifar10 --task animals-vehicles --n 100 --out runs/audit
  cargo xtask audit net.pth --truth npz --data-dir my-data --task 1/0 --n 80 --out runs/mine

Writes report.html, report.md and report.json, and what `reconstruct` writes, into one folder. Training data given with
--truth are read only after the attack; the judge's page goes into the subfolder `judge`.")]
pub(crate) struct AuditArgs {
    /// The network: a chain of dense layers in .safetensors, .pth, .pt, .npz or .palimpsest.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Channels, height and width of an input that is a picture, so that images are separated from the weights; without it inputs are
    /// rows of plain numbers, and far fewer are found.
    #[arg(long, value_name = "CxHxW")]
    input_shape: Option<InputShape>,
    /// Smallest and largest raw value of an image [default: 0,1].
    #[arg(long, value_name = "LO,HI", allow_hyphen_values = true)]
    input_range: Option<Range>,
    /// Typical Euclidean norm of an input as the network saw it [default: for images told from the input range, for rows from the
    /// weights].
    #[arg(long, value_name = "NORM")]
    input_norm: Option<f64>,
    /// Mean of the training inputs, .npy of as many values as an input has, for showing what was found; a second row
    /// holds the deviation of each column, if inputs were divided by it [default: what the weights tell of it, if anything].
    #[arg(long, value_name = "FILE")]
    mean: Option<PathBuf>,
    /// Seconds after which no restart is begun or continued; the result then depends on the machine.
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,
    /// Candidates per restart, half of each label [default: twice the rank told from the spectrum].
    #[arg(long, value_name = "M")]
    candidates: Option<usize>,
    /// Independent restarts, pooled [default: that of `reconstruct`].
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
    #[command(flatten)]
    truth: TruthArgs,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seconds between snapshots, at least; the same command goes on from the last one after an interrupt or a kill.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    snapshot_every: f64,
}

/// The training data, if whoever audits has them.
#[derive(Clone, Debug, Default, Args)]
struct TruthArgs {
    /// Training data to judge the result by, as `evaluate --data` names them; read after the attack only.
    #[arg(long, value_name = "DATA", requires_all = ["task", "n"], help_heading = "Judge")]
    truth: Option<DataName>,
    /// Folder with the data; for npz, with train.npz and test.npz (inputs, labels).
    #[arg(long, value_name = "DIR", requires = "truth", help_heading = "Judge")]
    data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or classes as in 0,1,2/3,4 (the first set is +1).
    #[arg(long, value_name = "TASK", requires = "truth", help_heading = "Judge")]
    task: Option<Task>,
    /// Training examples: the first n/2 of each label, in file order.
    #[arg(long, value_name = "N", requires = "truth", help_heading = "Judge")]
    n: Option<usize>,
    /// What was taken from every raw input in training, if it was not the training mean; 0 if nothing was.
    #[arg(
        long,
        value_name = "VALUE",
        requires = "truth",
        allow_negative_numbers = true,
        help_heading = "Judge"
    )]
    subtract: Option<f32>,
}

impl TruthArgs {
    fn data(&self) -> Option<DataArgs> {
        let Self { truth, data_dir, task, n, subtract } = self.clone();
        Some(DataArgs { data: truth?, data_dir, task: task?, n: n?, subtract })
    }
}

pub(crate) fn run(args: &AuditArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let inputs = inspect(args)?;
    let mean = args.mean.as_deref().map(|path| read_mean(path, inputs)).transpose()?;
    clear(&args.out)?;
    if let Some(mean) = mean {
        output::write_npy(&args.out.join(MEAN_FILE), &mean)?;
    }
    let attacked = attack(&reconstruct_args(args))?;
    if attacked.broken_off {
        output::note("stopped early: the report holds what was finished; the same command goes on from here");
    }
    let judged = args.truth.data().map(|data| judge(args, data)).transpose()?;
    let report = unjudged(&args.out)?;
    let record = attacked.done();

    let page = output::absolute(&args.out.join("report.html"));
    let sentences = answer_sentences(&report.answer).join(" ");
    output::line(&sentences);
    if let Some(judged) = &judged {
        output::line(&format!("The judge, with the training data: {judged}"));
        output::line(&format!("judge's page: {}", output::absolute(&args.out.join(JUDGE_PAGE)).display()));
    }
    output::line(&format!("report: {}", page.display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "audit",
            "answer": report.answer,
            "sentences": sentences,
            "judge": judged,
            "report": page,
            "elapsed_s": record.elapsed_s,
        }),
    );
    Ok(())
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
    let model = load_model(&args.model)?;
    let file = describe(&args.model, &model.network, model.provenance.as_ref())?;
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
    let problem = AttackProblem::prepare(&model.network, PriorKnowledge::default(), None, parallelism)?;
    let exposed = exposure(&Attackability::of(&model.network, &problem), &problem.spectrum);
    output::note(&exposed.sentence);
    output::event("exposure", &exposed);
    Ok(model.network.inputs())
}

fn reconstruct_args(args: &AuditArgs) -> ReconstructArgs {
    let defaults = ReconstructArgs::defaults(args.model.clone(), args.out.clone());
    ReconstructArgs {
        candidates: args.candidates,
        restarts: args.restarts,
        steps: args.steps,
        seed: args.seed,
        threads: args.threads,
        time_limit: args.time_limit,
        input_range: args.input_range.unwrap_or(defaults.input_range),
        input_norm: args.input_norm,
        input_shape: args.input_shape,
        resume: ResumeArgs { snapshot_every: args.snapshot_every, ..defaults.resume },
        ..defaults
    }
}

/// Judges the attack's files by the training data, in a folder of its own; returns the answer in words.
fn judge(args: &AuditArgs, data_args: DataArgs) -> Result<String> {
    let folder = args.out.join("judge");
    let _lock = lock_folder(&folder)?;
    let data = VictimData::load(&data_args)?;
    let evaluate_args =
        EvaluateArgs { reconstruction: args.out.clone(), data: data_args, out: folder.clone() };
    let score = evaluate::evaluate(&evaluate_args, &data)?;
    let report = report::judged(&folder, &score, &data, &[])?;
    evaluate::print(&score);
    Ok(answer_sentences(&report.answer).join(" "))
}

/// Largest file of a mean: two rows of as many values as the widest network has, in f64.
const MAX_MEAN_BYTES: u64 = 1 << 28;

/// Reads a mean of `d` values, and a row of deviations if there is one, whatever its shape and precision.
fn read_mean(path: &Path, d: usize) -> Result<Array2<f32>> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= MAX_MEAN_BYTES, "{} is too large for the mean of one input", path.display());
    let single: Result<ndarray::ArrayD<f32>> = output::read_npy(path);
    let values: Array1<f32> = match single {
        Ok(values) => values.into_iter().collect(),
        Err(error) => match output::read_npy::<f64, ndarray::IxDyn>(path) {
            Ok(values) => values.into_iter().map(|v| v as f32).collect(),
            Err(_) => return Err(error),
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
