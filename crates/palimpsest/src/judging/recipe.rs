//! How people train: the options of loss, optimiser, biases, normalisation and augmentation, read and checked.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use palimpsest_mlp::BiasPlacement;
use palimpsest_mlp::loss::Loss;
use palimpsest_mlp::train::{Augmentation, BatchSchedule, Decayed, Moments, Optimizer, RateDecay, Schedule};
use palimpsest_numerics::range::{at_least_one, finite, positive, within};
use serde::Serialize;

use super::train::{RegimeArgs, regime};
use crate::terminal::Misuse;

/// Options beside those of the published attack.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct RecipeArgs {
    /// Loss [default: logistic for two sets, softmax for classes, squared for regression].
    #[arg(long, value_name = "LOSS", help_heading = "Recipe")]
    pub loss: Option<LossName>,
    /// Optimiser: gd is full-batch descent as described under --weight-decay and --until-log-loss [default: gd].
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    pub optimizer: Option<OptimizerName>,
    /// Examples a step, with sgd, adam and adamw [default: 32].
    #[arg(long, value_name = "B", help_heading = "Recipe")]
    pub batch_size: Option<usize>,
    /// Learning rate, with sgd, adam and adamw [default: 0.001 with adam and adamw].
    #[arg(long, value_name = "R", help_heading = "Recipe")]
    pub learning_rate: Option<f64>,
    /// Multiply the learning rate by F every E epochs.
    #[arg(long, value_name = "E,F", help_heading = "Recipe")]
    pub rate_decay: Option<EveryFactor>,
    /// Momentum of sgd [default: 0.9].
    #[arg(long, value_name = "M", help_heading = "Recipe")]
    pub momentum: Option<f64>,
    /// What weight decay draws to 0, with sgd, adam and adamw: all parameters as in PyTorch, or weights alone as in
    /// scikit-learn [default: all].
    #[arg(long, value_name = "WHAT", help_heading = "Recipe")]
    pub decayed: Option<DecayedName>,
    /// Which layers have a bias [default: first].
    #[arg(long, value_name = "WHERE", help_heading = "Recipe")]
    pub biases: Option<BiasName>,
    /// What is done to inputs first: mean-image, none, or one MEAN,STD for all channels or one for each, as in
    /// 0.49,0.48,0.45,0.25,0.24,0.26 [default: mean-image; columns of a table to mean 0 and deviation 1].
    #[arg(long, value_name = "HOW", help_heading = "Recipe")]
    pub normalize: Option<Normalize>,
    /// Share of each target that is spread over all classes, with the softmax loss.
    #[arg(long, value_name = "E", help_heading = "Recipe")]
    pub label_smoothing: Option<f64>,
    /// Share of hidden values set to 0 in a step, with sgd, adam and adamw.
    #[arg(long, value_name = "P", help_heading = "Recipe")]
    pub dropout: Option<f64>,
    /// How images are altered each time, with sgd, adam and adamw: flip, shift (by up to an eighth of the width), or both.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Recipe")]
    pub augment: Vec<AugmentName>,
}

/// Names of losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LossName {
    Logistic,
    Softmax,
    Squared,
}

/// Names of optimisers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OptimizerName {
    Gd,
    Sgd,
    Adam,
    Adamw,
}

/// What decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DecayedName {
    All,
    Weights,
}

/// Where biases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum BiasName {
    First,
    Everywhere,
    Nowhere,
}

/// How images are altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AugmentName {
    Flip,
    Shift,
}

/// A number of epochs and a factor, as in 100,0.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EveryFactor(pub usize, pub f64);

impl FromStr for EveryFactor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once(',')
            .and_then(|(every, factor)| Some(Self(every.trim().parse().ok()?, factor.trim().parse().ok()?)));
        parsed.ok_or_else(|| "it must be a number of epochs and a factor, as in 100,0.1".into())
    }
}

/// What is done to raw inputs before the network sees them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Normalize {
    /// The mean of the training inputs is taken off.
    MeanImage,
    /// Nothing.
    None,
    /// Mean and deviation of each channel, or of all.
    Channels(Vec<(f32, f32)>),
}

impl FromStr for Normalize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean-image" => return Ok(Self::MeanImage),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let numbers = text.split(',').map(|v| v.trim().parse::<f32>().ok().filter(|v| v.is_finite()));
        let numbers = numbers
            .collect::<Option<Vec<f32>>>()
            .filter(|n| n.len() % 2 == 0)
            .ok_or("it must be mean-image, none, or as many means as deviations, as in 0.5,0.5")?;
        let (means, deviations) = numbers.split_at(numbers.len() / 2);
        if deviations.iter().any(|&std| std <= 0.0) {
            return Err("deviations must be above 0".into());
        }
        Ok(Self::Channels(means.iter().copied().zip(deviations.iter().copied()).collect()))
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MeanImage => f.write_str("mean-image"),
            Self::None => f.write_str("none"),
            Self::Channels(channels) => {
                let list = |values: Vec<f32>| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
                let (means, deviations) = channels.iter().copied().unzip();
                write!(f, "{},{}", list(means), list(deviations))
            }
        }
    }
}

/// A recipe whose options fit each other.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) loss: Loss,
    pub(super) schedule: Schedule,
    pub(super) until_log_loss: Option<f64>,
    pub(super) epochs: usize,
    pub(super) biases: BiasPlacement,
    /// Whether the first layer starts as ordinary ones do, and not at 1e-4.
    pub(super) ordinary_start: bool,
}

impl RecipeArgs {
    /// The recipe for targets whose usual loss is `usual`, on images of `image_shape` if they are images. Ranges are checked
    /// here, before any data is read; what the trainer checks besides are shapes.
    pub(super) fn recipe(
        &self,
        usual: LossName,
        full_batch: &RegimeArgs,
        epochs: Option<usize>,
        seed: u64,
        image_shape: Option<[usize; 3]>,
    ) -> Result<Recipe> {
        let name = self.loss.unwrap_or(usual);
        let label_smoothing = self.label_smoothing.unwrap_or(0.0);
        share("--label-smoothing", label_smoothing)?;
        let loss = match name {
            LossName::Logistic => Loss::Logistic,
            LossName::Softmax => Loss::Softmax { label_smoothing },
            LossName::Squared => Loss::Squared,
        };
        if self.label_smoothing.is_some() && name != LossName::Softmax {
            bail!(Misuse("--label-smoothing needs the softmax loss; add --loss softmax".into()));
        }
        let biases = match self.biases {
            None | Some(BiasName::First) => BiasPlacement::FirstLayer,
            Some(BiasName::Everywhere) => BiasPlacement::Everywhere,
            Some(BiasName::Nowhere) => BiasPlacement::Nowhere,
        };
        let optimizer = self.optimizer.unwrap_or(OptimizerName::Gd);
        if optimizer == OptimizerName::Gd {
            if let Some(option) = self.of_batches() {
                bail!(Misuse(format!("{option} needs batches; add --optimizer sgd, adam or adamw")));
            }
            if !loss.vanishes() && full_batch.weight_decay.is_none() && !full_batch.published {
                bail!(Misuse(
                    "this loss does not fall to 0 as outputs grow, so its logarithm cannot be descended; \
                     add --weight-decay or --optimizer"
                        .into()
                ));
            }
            let (schedule, until_log_loss, epochs) = regime(full_batch, epochs)?;
            let ordinary_start = full_batch.weight_decay.is_some();
            return Ok(Recipe { loss, schedule, until_log_loss, epochs, biases, ordinary_start });
        }
        if full_batch.published {
            bail!(Misuse("--published is full-batch descent; leave --optimizer out".into()));
        }
        let until_log_loss = full_batch.until_log_loss;
        if let Some(target) = until_log_loss {
            finite("--until-log-loss", target).map_err(Misuse::from)?;
        }
        let epochs = epochs.unwrap_or(200);
        at_least_one("--epochs", epochs).map_err(Misuse::from)?;
        let batches = self.batches(optimizer, full_batch.weight_decay.unwrap_or(0.0), seed, image_shape)?;
        let schedule = Schedule::Batches(batches);
        Ok(Recipe { loss, schedule, until_log_loss, epochs, biases, ordinary_start: true })
    }

    fn batches(
        &self,
        optimizer: OptimizerName,
        weight_decay: f64,
        seed: u64,
        image_shape: Option<[usize; 3]>,
    ) -> Result<BatchSchedule> {
        let momentum = self.momentum.unwrap_or(0.9);
        share("--momentum", momentum)?;
        let (rule, usual_rate) = match optimizer {
            OptimizerName::Gd | OptimizerName::Sgd => (Optimizer::Sgd { momentum }, None),
            OptimizerName::Adam => (Optimizer::Adam(Moments::default()), Some(1e-3)),
            OptimizerName::Adamw => (Optimizer::AdamW(Moments::default()), Some(1e-3)),
        };
        if self.momentum.is_some() && optimizer != OptimizerName::Sgd {
            bail!(Misuse("--momentum belongs to --optimizer sgd".into()));
        }
        let Some(rate) = self.learning_rate.or(usual_rate) else {
            bail!(Misuse("--optimizer sgd needs --learning-rate, as 0.05".into()));
        };
        positive("--learning-rate", rate).map_err(Misuse::from)?;
        within("--weight-decay", weight_decay, 0.0..=1.0, "from 0 to 1").map_err(Misuse::from)?;
        let batch_size = self.batch_size.unwrap_or(32);
        at_least_one("--batch-size", batch_size).map_err(Misuse::from)?;
        let dropout = self.dropout.unwrap_or(0.0);
        share("--dropout", dropout)?;
        let rate_decay = match self.rate_decay {
            Some(EveryFactor(every, factor)) if every == 0 || !(factor > 0.0 && factor <= 1.0) => {
                bail!(Misuse(format!(
                    "--rate-decay must be at least 1 epoch and a factor above 0 and at most 1, got {every},{factor}"
                )))
            }
            given => given.map(|EveryFactor(every, factor)| RateDecay { every, factor }),
        };
        let augmentation = match (self.augment.is_empty(), image_shape) {
            (true, _) => None,
            (false, None) => bail!(Misuse("--augment needs images; this data set is a table".into())),
            (false, Some(shape)) => Some(Augmentation {
                shape,
                flip_probability: if self.augment.contains(&AugmentName::Flip) { 0.5 } else { 0.0 },
                shift: if self.augment.contains(&AugmentName::Shift) {
                    (shape[2].min(shape[1]) / 8).max(1)
                } else {
                    0
                },
            }),
        };
        let decayed = match self.decayed {
            None | Some(DecayedName::All) => Decayed::AllParameters,
            Some(DecayedName::Weights) => Decayed::Weights,
        };
        let plain = BatchSchedule::new(rule, rate, batch_size, seed);
        Ok(BatchSchedule { rate_decay, weight_decay, decayed, dropout, augmentation, ..plain })
    }

    /// An option that was given and that full-batch descent does not have.
    fn of_batches(&self) -> Option<&'static str> {
        [
            (self.batch_size.is_some(), "--batch-size"),
            (self.learning_rate.is_some(), "--learning-rate"),
            (self.rate_decay.is_some(), "--rate-decay"),
            (self.momentum.is_some(), "--momentum"),
            (self.decayed.is_some(), "--decayed"),
            (self.dropout.is_some(), "--dropout"),
            (!self.augment.is_empty(), "--augment"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

fn share(name: &'static str, value: f64) -> Result<(), Misuse> {
    Ok(within(name, value, 0.0..1.0, "at least 0 and below 1")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &RecipeArgs) -> Result<Recipe, String> {
        let decay = RegimeArgs { weight_decay: Some(1e-3), ..RegimeArgs::default() };
        args.recipe(LossName::Softmax, &decay, Some(7), 5, Some([3, 32, 32])).map_err(|e| e.to_string())
    }

    #[test]
    fn a_recipe_is_what_the_options_say() {
        let adam = RecipeArgs { optimizer: Some(OptimizerName::Adam), ..RecipeArgs::default() };
        let Schedule::Batches(batches) = read(&adam).unwrap().schedule else { panic!("no batches") };
        assert_eq!(
            (batches.learning_rate, batches.batch_size, batches.weight_decay, batches.seed),
            (1e-3, 32, 1e-3, 5)
        );
        let augment = vec![AugmentName::Flip, AugmentName::Shift];
        let Schedule::Batches(batches) = read(&RecipeArgs { augment, ..adam }).unwrap().schedule else {
            panic!("no batches")
        };
        let augmentation = batches.augmentation.unwrap();
        assert_eq!((augmentation.flip_probability, augmentation.shift), (0.5, 4));
        assert!(matches!(read(&RecipeArgs::default()).unwrap().schedule, Schedule::WeightDecay { .. }));
    }

    #[test]
    fn options_that_do_not_fit_are_named() {
        let plain = RecipeArgs::default();
        let sgd =
            RecipeArgs { optimizer: Some(OptimizerName::Sgd), learning_rate: Some(0.1), ..plain.clone() };
        for (args, told) in [
            (RecipeArgs { batch_size: Some(8), ..plain.clone() }, "--batch-size needs batches"),
            (RecipeArgs { learning_rate: None, ..sgd.clone() }, "needs --learning-rate"),
            (
                RecipeArgs { momentum: Some(1.0), ..sgd.clone() },
                "--momentum must be at least 0 and below 1, got 1",
            ),
            (RecipeArgs { dropout: Some(-0.5), ..sgd.clone() }, "--dropout must be"),
            (RecipeArgs { batch_size: Some(0), ..sgd.clone() }, "--batch-size must be at least 1"),
            (RecipeArgs { label_smoothing: Some(1.0), ..plain.clone() }, "--label-smoothing must be"),
            (
                RecipeArgs { label_smoothing: Some(0.1), loss: Some(LossName::Squared), ..plain.clone() },
                "needs the softmax loss",
            ),
            (RecipeArgs { rate_decay: Some(EveryFactor(0, 0.5)), ..sgd }, "--rate-decay must be"),
        ] {
            let error = read(&args).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let deep = RegimeArgs::default();
        let squared = RecipeArgs { loss: Some(LossName::Squared), ..plain };
        let error = squared.recipe(LossName::Softmax, &deep, None, 0, None).unwrap_err().to_string();
        assert!(error.contains("add --weight-decay or --optimizer"), "{error}");
    }

    #[test]
    fn normalisations_are_read_and_written() {
        for text in ["mean-image", "none", "0.5,0.25", "0.1,0.2,0.3,0.4,0.5,0.6"] {
            assert_eq!(text.parse::<Normalize>().unwrap().to_string(), text);
        }
        for wrong in ["", "0.5", "0.5,0", "0.5,-1", "a,b", "0.5,NaN"] {
            assert!(wrong.parse::<Normalize>().is_err(), "{wrong}");
        }
    }
}
