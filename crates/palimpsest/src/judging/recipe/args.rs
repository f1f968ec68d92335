//! The options of a recipe as they are typed.

use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::privacy::PrivacyArgs;
use crate::judging::normalize::Normalize;

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
    /// Differential privacy.
    #[command(flatten)]
    pub privacy: PrivacyArgs,
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
