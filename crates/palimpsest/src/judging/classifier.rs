//! `palimpsest train`: a victim of any task, trained as its options say.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use palimpsest_datasets::{Block, Counts, DataName};
use palimpsest_mlp::loss::Loss;
use palimpsest_mlp::train::{Schedule, TrainParams};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_runs::MADE_BY;
use serde::{Deserialize, Serialize};

use super::data::{DataArgs, VictimData};
use super::descent::{Descent, descend};
use super::normalize::Normalize;
use super::recipe::{LossName, PrivacyArgs, PrivacyRecord, Recipe, RecipeArgs, TaughtOn};
use super::regime::RegimeArgs;
use super::task::VictimTask;
use super::train::{self, TrainArgs};
use super::trained::{Lesson, Trained, Victim};
use crate::attacking::input_shape::InputShape;
use crate::start::{initial, training_bytes, widths_to};
use crate::terminal::{Misuse, ResumeArgs, lock_folder, memory};

/// Train a victim: a network whose weights will be attacked.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest train --data fashion-mnist --task odd-even --n 100 --weight-decay 2e-3 --out runs/victim
  palimpsest train --data cifar10 --data-dir data/cifar10 --task animals-vehicles --n 500 --until-log-loss -11.5 --out runs/cifar500
  palimpsest train --data mnist --task 0,1,2/7,8,9 --n 50 --hidden 500 --seed 3 --out runs/small
  palimpsest train --data mnist --task odd-even --n 100 --weight-decay 2e-3 --subtract 0 --out runs/raw
  palimpsest train --data mnist --task classes --n 100 --weight-decay 2e-3 --biases everywhere --out runs/ten
  palimpsest train --data mnist --task classes --n 500 --optimizer adam --batch-size 20 --weight-decay 1e-4 --epochs 100 --normalize 0.1307,0.3081 --out runs/tutorial
  palimpsest train --data mnist --task classes --n 500 --optimizer sgd --learning-rate 0.5 --batch-size 100 --epochs 40 --subtract 0 --dp-epsilon 8 --dp-clip 1 --dp-delta 1e-4 --out runs/private
  palimpsest train --data mnist --task regression --n 100 --weight-decay 2e-3 --out runs/regression

Writes model.palimpsest, model.safetensors (PyTorch naming) and train.json. A run that was interrupted or killed goes on
to the same bits when the same command is given again with --resume.")]
pub struct TrainCommand {
    /// Data set: fashion-mnist, mnist, digits, breast-cancer (all embedded), cifar10 or npz (both need --data-dir).
    #[arg(long, value_name = "NAME")]
    pub data: DataName,
    /// Folder with the full data set in its official files; for npz, with train.npz and test.npz (inputs, labels).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or two sets as in 0,1,2/3,4 (the first is +1); classes for all labels, three and
    /// more sets as in 0,1/2,3/4; regression for the label as a number.
    #[arg(long, value_name = "TASK")]
    pub task: VictimTask,
    /// Training examples: equally many of each class, the first ones in file order.
    #[arg(long, value_name = "N")]
    pub n: usize,
    /// Other numbers of each label, n in all: 70/30 (the first set of the task has 70) or first:37 (in file order).
    #[arg(long, value_name = "COUNTS")]
    pub counts: Option<Counts>,
    /// Training images of one block only, so that what is tuned on and what is reported share none: dev, calibrate or report, or positions in the published file as
    /// in 2000..3000, the last left out.
    #[arg(long, value_name = "BLOCK")]
    pub block: Option<Block>,
    /// Take VALUE from every raw input before the network sees it, instead of the training mean; 0 leaves them as they are.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    pub subtract: Option<f32>,
    /// Shape of an input in train.npz and test.npz, as 1x28x28, or 32x32x3 with the channels last, if they hold flat rows;
    /// the network takes its inputs channels first.
    #[arg(long, value_name = "CxHxW")]
    pub input_shape: Option<InputShape>,
    /// Hidden widths, comma separated.
    #[arg(long, value_name = "WIDTHS", default_value = "1000,1000", value_delimiter = ',')]
    pub hidden: Vec<usize>,
    /// How far and how to train.
    #[command(flatten)]
    pub regime: RegimeArgs,
    /// Epochs after which training ends in any case [default: 4000 with weight decay (12000 for squared error), 200 in batches, else 1000000].
    #[arg(long, value_name = "E")]
    pub epochs: Option<usize>,
    /// Seed of the initialisation, and of what is drawn in training.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Loss, optimiser and what else tutorials choose.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// How to go on after an interrupt.
    #[command(flatten)]
    pub resume: ResumeArgs,
}

/// `train.json` of a victim of any task.
#[derive(Debug, Serialize, Deserialize)]
pub struct VictimRecord {
    /// What is told of any victim.
    #[serde(flatten)]
    pub trained: Trained,
    /// The loss.
    pub loss: Loss,
    /// Which layers have a bias.
    pub biases: BiasPlacement,
    /// What was done to inputs, as `--normalize` spells it.
    pub normalize: String,
    /// Labels of each class, in the order of the outputs; none for regression.
    pub classes: Vec<Vec<u8>>,
    /// Mean and deviation of the labels, for regression.
    pub label_scale: Option<(f64, f64)>,
    /// What the training has of differential privacy, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyRecord>,
}

impl TrainCommand {
    /// The training data.
    fn data(&self) -> DataArgs {
        DataArgs {
            data: self.data,
            data_dir: self.data_dir.clone(),
            task: self.task.clone(),
            n: Some(self.n),
            counts: self.counts.clone(),
            block: self.block,
            subtract: self.subtract,
            normalize: self.recipe.normalize.clone(),
            input_shape: self.input_shape,
        }
    }
}

/// Carries out `palimpsest train`.
///
/// # Errors
/// Whatever keeps training from its end; [`Misuse`] for options that cannot work.
pub fn run(command: &TrainCommand) -> Result<()> {
    if !command.task.is_binary() || command.recipe != RecipeArgs::default() {
        return run_recipe(command);
    }
    train::run(&TrainArgs {
        data: command.data(),
        hidden: command.hidden.clone(),
        regime: command.regime.clone(),
        epochs: command.epochs,
        descent: Descent::Whole,
        seed: command.seed,
        out: command.out.clone(),
        resume: command.resume,
    })
}

fn run_recipe(command: &TrainCommand) -> Result<()> {
    let record = taught(command)?;
    let private = record.privacy.as_ref().map(|privacy| {
        format!(
            "differential privacy: epsilon {:.3} at delta {:e}, noise {:.3} times the clip {}, {} steps; not covered: {}",
            privacy.epsilon,
            privacy.delta,
            privacy.privacy.noise_multiplier,
            privacy.privacy.clip,
            privacy.steps,
            privacy.not_covered
        )
    });
    record.trained.say(&command.out, private);
    Ok(())
}

/// Trains the victim that `command` describes, of any task, by its recipe, and writes its files.
///
/// # Errors
/// As [`run`].
pub fn taught(command: &TrainCommand) -> Result<VictimRecord> {
    let args = command.data();
    let normalize = args.normalize()?;
    if command.recipe.privacy != PrivacyArgs::default() {
        check_private(command, &normalize)?;
    }
    let normalize = normalize.to_string();
    let usual = match &command.task {
        VictimTask::Regression => LossName::Squared,
        task if task.is_binary() => LossName::Logistic,
        VictimTask::Labels(_) => LossName::Softmax,
    };
    let read = |examples, image_shape| {
        let on = TaughtOn { examples, image_shape };
        command.recipe.recipe(usual, &command.regime, command.epochs, command.seed, on)
    };
    // Once before data are read, with a shape that stands for any image.
    read(command.n, Some([1, 8, 8]))?;
    let _lock = lock_folder(&command.out)?;
    let data = VictimData::load(&args)?;
    let recipe = read(data.train.count(), data.image_shape())?;
    victim(command, &recipe, &data, normalize)
}

/// Whether everything that is learned of the examples is learned with privacy.
fn check_private(command: &TrainCommand, normalize: &Normalize) -> Result<(), Misuse> {
    if *normalize == Normalize::MeanImage {
        return Err(Misuse(
            "with privacy inputs cannot lose the mean of the training examples, which is not private; add --subtract 0.5".into(),
        ));
    }
    if command.task == VictimTask::Regression {
        return Err(Misuse("a regression is in units of its training labels, which are not private".into()));
    }
    Ok(())
}

fn victim(
    command: &TrainCommand,
    recipe: &Recipe,
    data: &VictimData,
    normalize: String,
) -> Result<VictimRecord> {
    let goals = &data.train.goals;
    let (targets, outputs) = (goals.targets(recipe.loss), goals.outputs(recipe.loss, data.sets.len()));
    let dims = widths_to(data.centered.ncols(), &command.hidden, outputs)?;
    recipe.loss.check(&targets, dims[dims.len() - 1]).map_err(|e| Misuse(e.to_string()))?;
    let bytes = training_bytes(data.centered.dim(), &dims);
    memory::require("training", bytes, "choose a smaller n or smaller widths")?;
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let params = TrainParams {
        loss: recipe.loss,
        max_epochs: recipe.epochs,
        until_log_loss: recipe.until_log_loss,
        parallelism,
        ..TrainParams::new(recipe.schedule)
    };
    let decisive = options(command, recipe, data, &normalize);
    let folder = (&*command.out, &command.resume);
    let (biases, first_layer, seed) = (recipe.biases, recipe.first_layer, command.seed);
    let descended = if command.regime.published {
        let start = initial::<f64>(&dims, biases, first_layer, seed);
        descend(start, &data.centered, &targets, &params, folder, &decisive)?
    } else {
        let start = initial::<f32>(&dims, biases, first_layer, seed);
        descend(start, &data.centered, &targets, &params, folder, &decisive)?
    };
    let lesson = Lesson {
        data: command.data.to_string(),
        task: command.task.to_string(),
        examples: command.n,
        seed: command.seed,
        schedule: recipe.schedule,
        image_shape: data.image_shape(),
    };
    let accuracy = |network: &Mlp<f32>| data.accuracy(network, recipe.loss, parallelism);
    let (victim, trained) = Victim::of(descended, lesson, accuracy);
    let epochs = trained.provenance.epochs.unwrap_or(0);
    let privacy = PrivacyRecord::of(&recipe.schedule, recipe.delta, data.train.count(), epochs);
    let record = VictimRecord {
        trained,
        loss: recipe.loss,
        biases: recipe.biases,
        normalize,
        classes: data.sets.clone(),
        label_scale: data.label_scale,
        privacy,
    };
    victim.write(&command.out, &record)?;
    Ok(record)
}

/// What decides the bits of a training run: a snapshot is of this run when all of it is the same.
#[derive(Serialize)]
struct Options<'a> {
    made_by: &'a str,
    data: String,
    task: String,
    /// Checksum of inputs and targets.
    training_set: String,
    normalize: String,
    hidden: &'a [usize],
    loss: Loss,
    biases: BiasPlacement,
    schedule: Schedule,
    until_log_loss: Option<f64>,
    epochs: usize,
    seed: u64,
}

fn options<'a>(
    command: &'a TrainCommand,
    recipe: &Recipe,
    data: &VictimData,
    normalize: &str,
) -> Options<'a> {
    Options {
        made_by: MADE_BY,
        data: command.data.to_string(),
        task: command.task.to_string(),
        training_set: data.digest(),
        normalize: normalize.to_owned(),
        hidden: &command.hidden,
        loss: recipe.loss,
        biases: recipe.biases,
        schedule: recipe.schedule,
        until_log_loss: recipe.until_log_loss,
        epochs: recipe.epochs,
        seed: command.seed,
    }
}
