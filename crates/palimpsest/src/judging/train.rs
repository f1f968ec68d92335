//! A binary victim by full-batch descent, as the published attack expects it.

use std::path::PathBuf;

use anyhow::Result;
use palimpsest_kkt::{StationarityCertificate, certify};
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::train::{Schedule, TrainParams};
use palimpsest_mlp::{Activation, BiasPlacement, Checkpoint, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_runs::MADE_BY;
use serde::{Deserialize, Serialize};

use super::data::{DataArgs, VictimData};
use super::descent::{Descent, descend, descend_as_one};
use super::regime::RegimeArgs;
use super::trained::{Lesson, Trained, Victim};
use crate::start::{FirstLayer, initial, training_bytes, widths};
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
    /// How the descent goes.
    pub descent: Descent,
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
    /// What is told of any victim.
    #[serde(flatten)]
    pub trained: Trained,
    /// What was taken from every input instead of the training mean.
    #[serde(default)]
    pub subtract: Option<f32>,
    /// Certificates of the first layer and of all layers at the training data, at the gate slope that fits best.
    pub certificates: Vec<StationarityCertificate>,
}

/// Carries out `palimpsest train` for a binary victim by full-batch descent.
///
/// # Errors
/// Whatever keeps training from its end; [`Misuse`](crate::terminal::Misuse) for options that cannot work.
pub fn run(args: &TrainArgs) -> Result<()> {
    let _lock = lock_folder(&args.out)?;
    let data = VictimData::load(&args.data)?;
    let record = victim(args, &data)?.1;
    let certificates = record.certificates.iter().map(|certificate| {
        format!(
            "certificate, {:?}: residual {:.3} of the weights' norm, {} examples support it",
            certificate.scope, certificate.relative_residual, certificate.support
        )
    });
    record.trained.say(&args.out, certificates);
    Ok(())
}

/// Trains the victim that `args` describe and writes its three files into the folder, which the caller has locked.
pub fn victim(args: &TrainArgs, data: &VictimData) -> Result<(Checkpoint, TrainRecord)> {
    let (schedule, until_log_loss, epochs) = args.descent.regime(&args.regime, args.epochs)?;
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
        n: data.train.count(),
        training_set: data.digest(),
        hidden: &args.hidden,
        schedule,
        until_log_loss,
        epochs,
        descent: args.descent,
        seed: args.seed,
    };
    let targets = Targets::Signs(data.signs()?.to_vec());
    let folder = (&*args.out, &args.resume);
    let (biases, first_layer) = (BiasPlacement::FirstLayer, FirstLayer::suiting(args.regime.weight_decay));
    let descended = if args.regime.published {
        let start = initial::<f64>(&dims, biases, first_layer, args.seed);
        descend(start, &data.centered, &targets, &params, folder, &options)?
    } else {
        let start = initial::<f32>(&dims, biases, first_layer, args.seed);
        match args.descent {
            Descent::Whole => descend(start, &data.centered, &targets, &params, folder, &options)?,
            Descent::AsOne => descend_as_one(start, &data.centered, &targets, &params, folder, &options)?,
        }
    };
    if descended.outcome.training_errors > 0 {
        output::note(&format!(
            "warning: {} training examples are still misclassified; the attack expects none (train longer)",
            descended.outcome.training_errors
        ));
    }
    let lesson = Lesson {
        data: args.data.data.to_string(),
        task: args.data.task.to_string(),
        examples: data.train.count(),
        seed: args.seed,
        schedule,
        image_shape: data.image_shape(),
    };
    let accuracy = |network: &Mlp<f32>| data.accuracy(network, Loss::Logistic, params.parallelism);
    let (victim, trained) = Victim::of(descended, lesson, accuracy);
    let certificates = certificates(&victim.checkpoint.network, data, params.parallelism)?;
    let record = TrainRecord { trained, subtract: args.data.subtract, certificates };
    Ok((victim.write(&args.out, &record)?, record))
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
    descent: Descent,
    seed: u64,
}

/// Gate slopes at which certificates are tried; many neurons sit on a ReLU breakpoint, where a soft gate fits better.
const GATE_ALPHAS: [f64; 4] = [10.0, 30.0, 100.0, 300.0];

fn certificates(
    network: &Mlp<f32>,
    data: &VictimData,
    parallelism: Parallelism,
) -> Result<Vec<StationarityCertificate>> {
    let (network, x) = (network.cast::<f64>(), data.centered.mapv(f64::from));
    let labels = data.signs()?;
    [Scope::FirstLayer, Scope::AllLayers]
        .into_iter()
        .map(|scope| {
            let mut best: Option<StationarityCertificate> = None;
            for activation in GATE_ALPHAS
                .map(|alpha| Activation::SigmoidGate { alpha })
                .into_iter()
                .chain([Activation::Relu])
            {
                let found = certify(&network, activation, x.view(), labels, scope, parallelism)?;
                if best.as_ref().is_none_or(|b| found.relative_residual < b.relative_residual) {
                    best = Some(found);
                }
            }
            Ok(best.expect("at least one slope is tried"))
        })
        .collect()
}
