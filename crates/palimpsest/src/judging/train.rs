//! A binary victim by full-batch descent, as the published attack expects it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use palimpsest_kkt::{StationarityCertificate, certify};
use palimpsest_mlp::import::save_safetensors;
use palimpsest_mlp::loss::Targets;
use palimpsest_mlp::passes::{Scope, outputs};
use palimpsest_mlp::train::{Schedule, StopReason, TrainParams};
use palimpsest_mlp::{Activation, Checkpoint, Mlp, Provenance};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_runs::record::MODEL_FILE;
use palimpsest_runs::{MADE_BY, files};
use serde::{Deserialize, Serialize};

use super::data::{DataArgs, VictimData};
use super::descent::{Descended, descend, initial, training_bytes, widths};
use super::regime::{RegimeArgs, regime};
use crate::terminal::{ResumeArgs, lock_folder, memory, output};

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
/// Whatever keeps training from its end; [`Misuse`](crate::terminal::Misuse) for options that cannot work.
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
