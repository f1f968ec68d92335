//! A binary victim by full-batch descent, as the published attack expects it.

use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use ndarray::Array2;
use palimpsest_kkt::{StationarityCertificate, certify};
use palimpsest_mlp::import::save_safetensors;
use palimpsest_mlp::loss::Targets;
use palimpsest_mlp::passes::{Scope, outputs};
use palimpsest_mlp::train::{Epoch, Schedule, StopReason, TrainOutcome, TrainParams, TrainState, train_on};
use palimpsest_mlp::{Activation, BiasPlacement, Checkpoint, Mlp, Provenance};
use palimpsest_numerics::Real;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::{at_least_one, finite, within};
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::record::MODEL_FILE;
use palimpsest_runs::{MADE_BY, Snapshots, files};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::data::{DataArgs, VictimData};
use crate::terminal::progress::{Measured, Progress};
use crate::terminal::{Misuse, ResumeArgs, clock, host, interrupt, lock_folder, memory, output};

/// A victim by full-batch descent: a binary classifier whose weights will be attacked.
#[derive(Clone, Debug)]
pub struct TrainArgs {
    /// The training data.
    pub data: DataArgs,
    /// Hidden widths.
    pub hidden: Vec<usize>,
    /// How far and how to train.
    pub regime: RegimeArgs,
    /// Steps after which training ends in any case, if not the usual number.
    pub epochs: Option<usize>,
    /// Seed of the initialisation.
    pub seed: u64,
    /// Folder for the results.
    pub out: PathBuf,
    /// How to go on after an interrupt.
    pub resume: ResumeArgs,
}

/// How far and how the victim is trained; loss-normalised to log loss -11.5 if nothing is said.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct RegimeArgs {
    /// Train with weight decay W (2e-3 suits n = 100, 1e-3 n = 500): ends near an exact stationary point.
    #[arg(long, value_name = "W")]
    pub weight_decay: Option<f64>,
    /// Train by loss-normalised descent until the log of the mean loss is L [default: -11.5, the published point].
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    pub until_log_loss: Option<f64>,
    /// Train by the published recipe: plain descent, step 0.01, in f64, for --epochs steps.
    #[arg(long)]
    pub published: bool,
}

/// The record of a training run, `train.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct TrainRecord {
    /// What the checkpoint says of itself.
    pub provenance: Provenance,
    /// What was taken from every input instead of the training mean.
    #[serde(default)]
    pub subtract: Option<f32>,
    /// Widths of all layers.
    pub dims: Vec<usize>,
    /// Weights and biases in all.
    pub parameters: usize,
    /// Why training ended.
    pub stop: StopReason,
    /// Training examples that are still misclassified.
    pub training_errors: usize,
    /// Share of the held-out examples that are classified right.
    pub test_accuracy: f64,
    /// Held-out examples.
    pub test_images: usize,
    /// Certificates of the first layer and of all layers at the training data, at the gate slope that fits best.
    pub certificates: Vec<StationarityCertificate>,
    /// Seconds of training, over all its sessions.
    pub training_s: f64,
    /// Threads it ran on; they change no bit.
    pub threads: usize,
}

/// Carries out `palimpsest train` for a binary victim by full-batch descent.
///
/// # Errors
/// Whatever keeps training from its end; [`Misuse`] for options that cannot work.
pub fn run(args: &TrainArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let data = VictimData::load(&args.data)?;
    let record = victim(args, &data)?.1;
    if record.stop == StopReason::Observer {
        output::note("stopped early; --resume goes on from here");
    }
    output::line(&format!(
        "{} epochs in {:.1} s: log loss {:.2}, {} training errors, test accuracy {:.1} % of {}",
        record.provenance.epochs.unwrap_or(0),
        record.training_s,
        record.provenance.log_loss.unwrap_or(f64::NAN),
        record.training_errors,
        100.0 * record.test_accuracy,
        record.test_images,
    ));
    for certificate in &record.certificates {
        output::line(&format!(
            "certificate, {:?}: residual {:.3} of the weights' norm, {} examples support it",
            certificate.scope, certificate.relative_residual, certificate.support
        ));
    }
    output::line(&format!("wrote {}", output::absolute(&args.out.join(MODEL_FILE)).display()));
    output::event(
        "result",
        &serde_json::json!({
            "command": "train",
            "out": output::absolute(&args.out),
            "epochs": record.provenance.epochs,
            "log_loss": record.provenance.log_loss,
            "training_errors": record.training_errors,
            "test_accuracy": record.test_accuracy,
            "elapsed_s": record.training_s,
        }),
    );
    Ok(())
}

/// Trains the victim that `args` describe and writes its three files into the folder, which the caller has locked.
pub fn victim(args: &TrainArgs, data: &VictimData) -> Result<(Checkpoint, TrainRecord)> {
    let (schedule, until_log_loss, epochs) = regime(&args.regime, args.epochs)?;
    let dims = widths(data.centered.ncols(), &args.hidden)?;
    memory::require(
        "training",
        training_bytes(data.centered.dim(), &dims),
        "choose a smaller n or smaller widths",
    )?;
    let params = TrainParams {
        max_epochs: epochs,
        until_log_loss,
        parallelism: Parallelism::of_threads(rayon::current_num_threads()),
        ..TrainParams::new(schedule)
    };
    let options = Options {
        made_by: MADE_BY,
        data: args.data.data.to_string(),
        task: args.data.task.to_string(),
        n: args.data.n,
        training_set: data.digest(),
        hidden: &args.hidden,
        schedule,
        until_log_loss,
        epochs,
        seed: args.seed,
    };
    let targets = Targets::Signs(data.labels());
    let folder = (&*args.out, &args.resume);
    let Descended { outcome, training_s, snapshots } = if args.regime.published {
        let start = initial::<f64>(&dims, args.regime.weight_decay.is_some(), args.seed);
        descend(start, &data.centered, &targets, &params, folder, &options)?
    } else {
        let start = initial::<f32>(&dims, args.regime.weight_decay.is_some(), args.seed);
        descend(start, &data.centered, &targets, &params, folder, &options)?
    };
    if outcome.training_errors > 0 {
        output::note(&format!(
            "warning: {} training examples are still misclassified; the attack expects none (train longer)",
            outcome.training_errors
        ));
    }
    let provenance = Provenance {
        made_by: MADE_BY.into(),
        data: Some(args.data.data.to_string()),
        task: Some(args.data.task.to_string()),
        examples: Some(args.data.n),
        seed: Some(args.seed),
        schedule: Some(schedule),
        epochs: Some(outcome.epochs),
        log_loss: Some(outcome.log_loss),
        image_shape: data.image_shape(),
    };
    let checkpoint = Checkpoint { network: outcome.network, provenance };
    let record = TrainRecord {
        provenance: checkpoint.provenance.clone(),
        subtract: args.data.subtract,
        dims,
        parameters: checkpoint.network.parameters(),
        stop: outcome.reason,
        training_errors: outcome.training_errors,
        test_accuracy: accuracy(&checkpoint.network, data, params.parallelism),
        test_images: data.held_out.rows.len(),
        certificates: certificates(&checkpoint.network, data, params.parallelism)?,
        training_s,
        threads: rayon::current_num_threads(),
    };
    write(&args.out, &checkpoint, &record)?;
    if record.stop != StopReason::Observer {
        snapshots.remove();
    }
    Ok((checkpoint, record))
}

/// What decides the bits of a training run: a snapshot is of this run when all of it is the same.
#[derive(Serialize)]
struct Options<'a> {
    made_by: &'a str,
    data: String,
    task: String,
    n: usize,
    /// Checksum of inputs and labels.
    training_set: String,
    hidden: &'a [usize],
    schedule: Schedule,
    until_log_loss: Option<f64>,
    epochs: usize,
    seed: u64,
}

/// Most weights of a victim: 1 GiB in `f64`, and as many as can be read back.
const MAX_WEIGHTS: usize = 1 << 27;

/// Widths of all layers, from the inputs to the output.
pub fn widths(inputs: usize, hidden: &[usize]) -> Result<Vec<usize>> {
    widths_to(inputs, hidden, 1)
}

/// Widths of all layers, from the inputs to so many outputs.
pub(super) fn widths_to(inputs: usize, hidden: &[usize], outputs: usize) -> Result<Vec<usize>> {
    if hidden.is_empty() || hidden.contains(&0) {
        bail!(Misuse("--hidden needs at least one width, each at least 1, as in 1000,1000".into()));
    }
    let dims: Vec<usize> = [inputs].into_iter().chain(hidden.iter().copied()).chain([outputs]).collect();
    let weights = dims.windows(2).try_fold(0_usize, |sum, w| sum.checked_add(w[0].checked_mul(w[1])?));
    if weights.is_none_or(|weights| weights > MAX_WEIGHTS) {
        bail!(Misuse(format!("--hidden makes more than {MAX_WEIGHTS} weights; choose smaller widths")));
    }
    Ok(dims)
}

/// Memory of training on inputs (n, d) and of its certificates, from above.
pub(super) fn training_bytes((n, d): (usize, usize), dims: &[usize]) -> Option<u64> {
    let hidden: usize =
        dims[1..dims.len() - 1].iter().try_fold(0_usize, |sum, &width| sum.checked_add(width))?;
    let weights = dims.windows(2).map(|pair| memory::numbers(6, pair, size_of::<f64>()));
    let passes = memory::numbers(8, &[n, hidden], size_of::<f64>());
    // Inputs in both precisions, and what their decomposition takes.
    let inputs = memory::numbers(5, &[n, d], size_of::<f64>());
    // The Gram matrix of the certificate and its factor.
    let gram = memory::numbers(2, &[n, n], size_of::<f64>());
    memory::total(weights.chain([passes, inputs, gram]))
}

/// Schedule, log loss to stop at and most epochs of full-batch descent.
pub(super) fn regime(regime: &RegimeArgs, epochs: Option<usize>) -> Result<(Schedule, Option<f64>, usize)> {
    let epochs = |default| epochs.unwrap_or(default);
    at_least_one("--epochs", epochs(1)).map_err(Misuse::from)?;
    Ok(if let Some(weight_decay) = regime.weight_decay {
        let range = (Bound::Excluded(0.0), Bound::Included(1.0));
        within("--weight-decay", weight_decay, range, "above 0 and at most 1").map_err(Misuse::from)?;
        (Schedule::WeightDecay { weight_decay, step_size: 0.15 }, None, epochs(4000))
    } else if regime.published {
        (Schedule::GradientDescent { step_size: 0.01 }, None, epochs(1_000_000))
    } else {
        let target = regime.until_log_loss.unwrap_or(-11.5);
        finite("--until-log-loss", target).map_err(Misuse::from)?;
        (Schedule::PacedFlow { step_size: 0.01 }, Some(target), epochs(1_000_000))
    })
}

/// The network that training begins with.
pub fn initial<T: Real>(dims: &[usize], weight_decay: bool, seed: u64) -> Mlp<T> {
    // Weight decay forgets its start, so it may be an ordinary one.
    let first_layer_std = if weight_decay { ordinary_std(dims) } else { 1e-4 };
    let seed = Seed::new(seed).named("initialisation");
    Mlp::initialise(dims, BiasPlacement::FirstLayer, first_layer_std, seed)
}

/// Standard deviation of an ordinary first layer: that of numbers even in +-1/sqrt(fan in).
pub(super) fn ordinary_std(dims: &[usize]) -> f64 {
    (3.0 * dims[0] as f64).sqrt().recip()
}

/// A run of [`descend`].
pub(super) struct Descended {
    pub(super) outcome: TrainOutcome<f32>,
    /// Time of training, over all the sessions it took.
    pub(super) training_s: f64,
    pub(super) snapshots: Snapshots,
}

/// Trains `network` on `inputs` (n, d) in the precision T, or goes on training in the folder that is given; the network
/// comes back in the precision of checkpoints. `options` are all that decides the bits of the run.
pub(super) fn descend<T: Real + Serialize + DeserializeOwned>(
    network: Mlp<T>,
    inputs: &Array2<f32>,
    targets: &Targets,
    params: &TrainParams,
    (folder, resume): (&Path, &ResumeArgs),
    options: &impl Serialize,
) -> Result<Descended> {
    let (mut snapshots, from) =
        Snapshots::open::<(f64, TrainState<T>)>(folder, resume.start(), resume.interval()?, options, host())?;
    let inputs = inputs.mapv(|v| T::of(f64::from(v)));
    let (before_s, from) = from.map_or((0.0, None), |(seconds, state)| (seconds, Some(state)));
    if let Some(state) = &from {
        output::note(&format!("going on at epoch {}", state.epoch()));
    }
    let start = clock::now();
    let elapsed_s = || before_s + (clock::now() - start).as_secs_f64();
    let done = from.as_ref().map_or(0, |state| state.epoch() as u64);
    let progress = Progress::resume("training", params.max_epochs as u64, done);
    let mut observer = |epoch: &Epoch<'_, T>| {
        progress.step(|| Measured { log_loss: Some(epoch.log_loss), ..Measured::default() });
        let over = interrupt::requested();
        if over || snapshots.due() {
            snapshots.write(&(elapsed_s(), epoch.state));
        }
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let TrainOutcome { network, epochs, log_loss, training_errors, reason } =
        train_on(network, inputs.view(), targets, params, from, &mut observer)?;
    progress.finish();
    let outcome = TrainOutcome { network: network.cast(), epochs, log_loss, training_errors, reason };
    Ok(Descended { outcome, training_s: elapsed_s(), snapshots })
}

fn accuracy(network: &Mlp<f32>, data: &VictimData, parallelism: Parallelism) -> f64 {
    let out = outputs(network, data.held_out_centered.view(), parallelism);
    let right = out.column(0).iter().zip(&data.held_out.signs).filter(|(o, s)| **o * **s > 0.0).count();
    right as f64 / data.held_out.signs.len().max(1) as f64
}

/// Gate slopes at which certificates are tried; many neurons sit on a kink, where a soft gate fits better.
const GATE_ALPHAS: [f64; 4] = [10.0, 30.0, 100.0, 300.0];

fn certificates(
    network: &Mlp<f32>,
    data: &VictimData,
    parallelism: Parallelism,
) -> Result<Vec<StationarityCertificate>> {
    let (network, x) = (network.cast::<f64>(), data.centered.mapv(f64::from));
    let labels = data.labels();
    [Scope::FirstLayer, Scope::AllLayers]
        .into_iter()
        .map(|scope| {
            let mut best: Option<StationarityCertificate> = None;
            for activation in GATE_ALPHAS
                .map(|alpha| Activation::SigmoidGate { alpha })
                .into_iter()
                .chain([Activation::Relu])
            {
                let found = certify(&network, activation, x.view(), &labels, scope, parallelism)?;
                if best.as_ref().is_none_or(|b| found.relative_residual < b.relative_residual) {
                    best = Some(found);
                }
            }
            Ok(best.expect("at least one slope is tried"))
        })
        .collect()
}

fn write(folder: &Path, checkpoint: &Checkpoint, record: &TrainRecord) -> Result<()> {
    checkpoint.save(&folder.join(MODEL_FILE))?;
    save_safetensors(&checkpoint.network, &folder.join("model.safetensors"))?;
    Ok(files::write_json(&folder.join("train.json"), record)?)
}
