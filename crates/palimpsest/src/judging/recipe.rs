//! How people train: the options of loss, optimiser, biases and augmentation, checked and made a schedule.

mod args;

use anyhow::{Result, bail};
use palimpsest_mlp::BiasPlacement;
use palimpsest_mlp::loss::Loss;
use palimpsest_mlp::train::{Augmentation, BatchSchedule, Decayed, Moments, Optimizer, RateDecay, Schedule};
use palimpsest_numerics::range::{at_least_one, finite, positive, within};

pub use self::args::{AugmentName, BiasName, DecayedName, EveryFactor, LossName, OptimizerName, RecipeArgs};
use super::regime::{RegimeArgs, regime};
use crate::terminal::Misuse;

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
