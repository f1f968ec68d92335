//! How people train: the options of loss, optimiser, biases and augmentation, checked and made a schedule.

mod args;
mod privacy;

use anyhow::{Result, bail};
use palimpsest_mlp::BiasPlacement;
use palimpsest_mlp::loss::Loss;
use palimpsest_mlp::train::{Augmentation, BatchSchedule, Decayed, Moments, Optimizer, RateDecay, Schedule};
use palimpsest_numerics::range::{OutOfRange, at_least_one, finite, positive, within};

pub use self::args::{AugmentName, BiasName, DecayedName, EveryFactor, LossName, OptimizerName, RecipeArgs};
pub use self::privacy::{PrivacyArgs, PrivacyRecord};
use super::regime::{RegimeArgs, regime};
use crate::start::FirstLayer;
use crate::terminal::Misuse;

/// How many times shorter the steps of full-batch descent with weight decay are for squared error, which is as steep at the end as at the
/// start: with whole steps one network of two diverged. It takes as many times more of them to forget its initialisation.
const SHORTER_STEPS: u8 = 3;

/// A recipe whose options fit each other.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) loss: Loss,
    pub(super) schedule: Schedule,
    pub(super) until_log_loss: Option<f64>,
    pub(super) epochs: usize,
    pub(super) biases: BiasPlacement,
    pub(super) first_layer: FirstLayer,
    /// The delta of a training with differential privacy.
    pub(super) delta: Option<f64>,
}

/// What a recipe must know of the examples.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaughtOn {
    pub(super) examples: usize,
    /// Channels, height and width, if examples are images.
    pub(super) image_shape: Option<[usize; 3]>,
}

impl RecipeArgs {
    /// The recipe for targets whose usual loss is `usual`, taught `on` such examples. Ranges are checked
    /// here, before any data is read; what the trainer checks besides are shapes.
    pub(super) fn recipe(
        &self,
        usual: LossName,
        full_batch: &RegimeArgs,
        epochs: Option<usize>,
        seed: u64,
        on: TaughtOn,
    ) -> Result<Recipe> {
        let loss = self.loss(usual)?;
        match self.optimizer.unwrap_or(OptimizerName::Gd) {
            OptimizerName::Gd => self.full_batch(loss, full_batch, epochs),
            optimizer => self.in_batches(loss, optimizer, full_batch, epochs, seed, on),
        }
    }

    fn loss(&self, usual: LossName) -> Result<Loss, Misuse> {
        let name = self.loss.unwrap_or(usual);
        let label_smoothing = self.label_smoothing.unwrap_or(0.0);
        share("--label-smoothing", label_smoothing)?;
        if self.label_smoothing.is_some() && name != LossName::Softmax {
            return Err(Misuse("--label-smoothing needs the softmax loss; add --loss softmax".into()));
        }
        Ok(match name {
            LossName::Logistic => Loss::Logistic,
            LossName::Softmax => Loss::Softmax { label_smoothing },
            LossName::Squared => Loss::Squared,
        })
    }

    fn biases(&self) -> BiasPlacement {
        match self.biases {
            None | Some(BiasName::First) => BiasPlacement::FirstLayer,
            Some(BiasName::Everywhere) => BiasPlacement::Everywhere,
            Some(BiasName::Nowhere) => BiasPlacement::Nowhere,
        }
    }

    fn full_batch(&self, loss: Loss, full_batch: &RegimeArgs, epochs: Option<usize>) -> Result<Recipe> {
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
        let asked = epochs;
        let (mut schedule, until_log_loss, mut epochs) = regime(full_batch, asked)?;
        if let (Schedule::WeightDecay { step_size, .. }, Loss::Squared) = (&mut schedule, loss) {
            *step_size /= f64::from(SHORTER_STEPS);
            epochs = asked.unwrap_or(epochs * usize::from(SHORTER_STEPS));
        }
        let first_layer = FirstLayer::suiting(full_batch.weight_decay);
        let biases = self.biases();
        Ok(Recipe { loss, schedule, until_log_loss, epochs, biases, first_layer, delta: None })
    }

    fn in_batches(
        &self,
        loss: Loss,
        optimizer: OptimizerName,
        full_batch: &RegimeArgs,
        epochs: Option<usize>,
        seed: u64,
        on: TaughtOn,
    ) -> Result<Recipe> {
        if full_batch.published {
            bail!(Misuse("--published is full-batch descent; leave --optimizer out".into()));
        }
        let until_log_loss = full_batch.until_log_loss;
        if let Some(target) = until_log_loss {
            finite("--until-log-loss", target).map_err(Misuse::from)?;
        }
        let epochs = epochs.unwrap_or(200);
        at_least_one("--epochs", epochs).map_err(Misuse::from)?;
        let weight_decay = full_batch.weight_decay.unwrap_or(0.0);
        let batches = self.batches(optimizer, weight_decay, seed, on.image_shape)?;
        let private = self.privacy.privacy(&batches, on.examples, epochs)?;
        if private.is_some() && until_log_loss.is_some() {
            bail!(Misuse(
                "--until-log-loss ends training by a loss that is not private; leave it out".into()
            ));
        }
        let schedule = private
            .map_or(Schedule::Batches(batches), |(privacy, _)| Schedule::PrivateBatches { batches, privacy });
        let (biases, first_layer) = (self.biases(), FirstLayer::Ordinary);
        let delta = private.map(|(_, delta)| delta);
        Ok(Recipe { loss, schedule, until_log_loss, epochs, biases, first_layer, delta })
    }

    fn batches(
        &self,
        optimizer: OptimizerName,
        weight_decay: f64,
        seed: u64,
        image_shape: Option<[usize; 3]>,
    ) -> Result<BatchSchedule> {
        let (rule, rate) = self.rule(optimizer)?;
        within("--weight-decay", weight_decay, 0.0..=1.0, "from 0 to 1").map_err(Misuse::from)?;
        let batch_size = self.batch_size.unwrap_or(32);
        at_least_one("--batch-size", batch_size).map_err(Misuse::from)?;
        let dropout = self.dropout.unwrap_or(0.0);
        share("--dropout", dropout)?;
        let decayed = match self.decayed {
            None | Some(DecayedName::All) => Decayed::AllParameters,
            Some(DecayedName::Weights) => Decayed::Weights,
        };
        let (rate_decay, augmentation) = (self.rate_decay()?, self.augmentation(image_shape)?);
        let plain = BatchSchedule::new(rule, rate, batch_size, seed);
        Ok(BatchSchedule { rate_decay, weight_decay, decayed, dropout, augmentation, ..plain })
    }

    /// The optimiser and its learning rate.
    fn rule(&self, optimizer: OptimizerName) -> Result<(Optimizer, f64), Misuse> {
        let momentum = self.momentum.unwrap_or(0.9);
        share("--momentum", momentum)?;
        let (rule, usual_rate) = match optimizer {
            OptimizerName::Gd | OptimizerName::Sgd => (Optimizer::Sgd { momentum }, None),
            OptimizerName::Adam => (Optimizer::Adam(Moments::default()), Some(1e-3)),
            OptimizerName::Adamw => (Optimizer::AdamW(Moments::default()), Some(1e-3)),
        };
        if self.momentum.is_some() && optimizer != OptimizerName::Sgd {
            return Err(Misuse("--momentum belongs to --optimizer sgd".into()));
        }
        let Some(rate) = self.learning_rate.or(usual_rate) else {
            return Err(Misuse("--optimizer sgd needs --learning-rate, as 0.05".into()));
        };
        positive("--learning-rate", rate)?;
        Ok((rule, rate))
    }

    fn rate_decay(&self) -> Result<Option<RateDecay>, Misuse> {
        match self.rate_decay {
            Some(EveryFactor(every, factor)) if every == 0 || !(factor > 0.0 && factor <= 1.0) => {
                let allowed = "at least 1 epoch and a factor above 0 and at most 1";
                Err(OutOfRange::new("--rate-decay", allowed, format!("{every},{factor}")).into())
            }
            given => Ok(given.map(|EveryFactor(every, factor)| RateDecay { every, factor })),
        }
    }

    fn augmentation(&self, image_shape: Option<[usize; 3]>) -> Result<Option<Augmentation>, Misuse> {
        if self.augment.is_empty() {
            return Ok(None);
        }
        let Some(shape) = image_shape else {
            return Err(Misuse("--augment needs images; this data set is a table".into()));
        };
        let asked = |name| self.augment.contains(&name);
        Ok(Some(Augmentation {
            shape,
            flip_probability: if asked(AugmentName::Flip) { 0.5 } else { 0.0 },
            shift: if asked(AugmentName::Shift) { (shape[2].min(shape[1]) / 8).max(1) } else { 0 },
        }))
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
        .or_else(|| self.privacy.any())
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
        let on = TaughtOn { examples: 100, image_shape: Some([3, 32, 32]) };
        args.recipe(LossName::Softmax, &decay, Some(7), 5, on).map_err(|e| e.to_string())
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
    fn an_epsilon_is_kept_by_the_noise_that_is_chosen() {
        let privacy = PrivacyArgs {
            dp_epsilon: Some(4.0),
            dp_clip: Some(1.0),
            dp_delta: Some(1e-3),
            ..PrivacyArgs::default()
        };
        let adam = RecipeArgs { optimizer: Some(OptimizerName::Adam), privacy, ..RecipeArgs::default() };
        let recipe = read(&adam).unwrap();
        let record = PrivacyRecord::of(&recipe.schedule, recipe.delta, 100, recipe.epochs).unwrap();
        assert!(record.epsilon <= 4.0 && record.epsilon > 3.99, "{}", record.epsilon);
        // Seven epochs of four steps, in each of which are 32 of 100 on average.
        assert_eq!((record.sampling_rate, record.steps), (0.32, 28));
        let half = PrivacyRecord::of(&recipe.schedule, recipe.delta, 100, recipe.epochs / 2).unwrap();
        assert!(half.epsilon < record.epsilon);
        assert_eq!(PrivacyRecord::of(&Schedule::GradientDescent { step_size: 0.1 }, None, 100, 7), None);
    }

    #[test]
    fn options_that_do_not_fit_are_named() {
        let plain = RecipeArgs::default();
        let sgd =
            RecipeArgs { optimizer: Some(OptimizerName::Sgd), learning_rate: Some(0.1), ..plain.clone() };
        let private =
            |dp_noise, dp_epsilon, dp_clip, dp_delta| PrivacyArgs { dp_noise, dp_epsilon, dp_clip, dp_delta };
        let sgd_with = |privacy| RecipeArgs { privacy, ..sgd.clone() };
        for (args, told) in [
            (
                sgd_with(private(None, Some(4.0), Some(1.0), None)),
                "--dp-epsilon needs --dp-clip and --dp-delta",
            ),
            (
                sgd_with(private(None, None, Some(1.0), Some(1e-3))),
                "--dp-clip needs --dp-noise or --dp-epsilon",
            ),
            (sgd_with(private(Some(1.0), None, Some(0.0), Some(1e-3))), "--dp-clip must be"),
            (sgd_with(private(Some(0.0), None, Some(1.0), Some(1e-3))), "--dp-noise must be"),
            (
                sgd_with(private(Some(1.0), None, Some(1.0), Some(1.0))),
                "--dp-delta must be above 0 and below 1",
            ),
            (
                RecipeArgs { privacy: private(Some(1.0), None, Some(1.0), Some(1e-3)), ..plain.clone() },
                "--dp-noise needs batches",
            ),
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
        let error = squared
            .recipe(LossName::Softmax, &deep, None, 0, TaughtOn { examples: 100, image_shape: None })
            .unwrap_err()
            .to_string();
        assert!(error.contains("add --weight-decay or --optimizer"), "{error}");
    }
}
