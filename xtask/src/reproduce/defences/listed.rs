//! What is tried as a defence: how the network is trained, or what is done to its weights afterwards.

use palimpsest::judging::recipe::{AugmentName, LossName, OptimizerName, PrivacyArgs, RecipeArgs};
use palimpsest::judging::regime::RegimeArgs;

use super::altered::Alteration;
use super::claims::DELTA;

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Defence {
    /// Name of its folder, unique.
    pub(crate) name: &'static str,
    /// What a reader is told.
    pub(crate) told: &'static str,
    /// Its colour in the picture.
    pub(super) family: &'static str,
    /// What it differs from by the defence alone.
    pub(super) base: Base,
    pub(super) made: Made,
}

/// What a defence is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Full-batch descent to the published point.
    Published,
    /// Full-batch descent with weight decay.
    Decay,
    /// Adam on all examples at once, without weight decay.
    Adam,
}

/// How the network comes about.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// By this training.
    Trained(Box<Training>),
    /// Out of the network of the base.
    Altered(Alteration),
}

/// A training; what is not named is that of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Training {
    pub(super) regime: RegimeArgs,
    pub(super) recipe: RecipeArgs,
    pub(super) epochs: Option<usize>,
    pub(super) hidden: Option<Vec<usize>>,
    /// How many times as many examples.
    pub(crate) times: Option<usize>,
    /// What is taken from every raw value instead of the mean image.
    pub(crate) subtract: Option<f32>,
}

impl Base {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Published => "none",
            Self::Decay => "decay-2e-3",
            Self::Adam => "adam",
        }
    }
}

/// Weight decay that suits the numbers of examples here.
const DECAY: f64 = 2e-3;

/// All of them, in the order of the table; each base comes before what is compared with it.
pub(super) fn all() -> Vec<Defence> {
    [
        (FAMILIES[0], early()),
        (FAMILIES[1], decay()),
        (FAMILIES[2], others_with_decay()),
        (FAMILIES[3], altered()),
        (FAMILIES[4], batches()),
        (FAMILIES[5], private()),
    ]
    .into_iter()
    .flat_map(|(family, defences)| defences.into_iter().map(move |defence| Defence { family, ..defence }))
    .collect()
}

/// Families of defences, a colour each.
pub(super) const FAMILIES: [&str; 6] =
    ["how long", "weight decay", "size, inputs", "changed weights", "steps of Adam", "DP-SGD"];

fn trained(name: &'static str, told: &'static str, base: Base, training: Training) -> Defence {
    Defence { name, told, family: "", base, made: Made::Trained(Box::new(training)) }
}

/// Until other losses than the published one; a longer training among them.
fn early() -> Vec<Defence> {
    let until = |name, told, log_loss| {
        let regime = RegimeArgs { until_log_loss: Some(log_loss), ..RegimeArgs::default() };
        trained(name, told, Base::Published, Training { regime, ..Training::default() })
    };
    vec![
        until("none", "none: to log loss -11.5", -11.5),
        until("until-0.7", "early stopping: to log loss -0.75", -0.75),
        until("until-2", "early stopping: to log loss -2", -2.0),
        until("until-4", "early stopping: to log loss -4", -4.0),
        until("until-8", "early stopping: to log loss -8", -8.0),
        until("until-100", "longer training: to log loss -100", -100.0),
    ]
}

fn with_decay(weight_decay: f64) -> RegimeArgs {
    RegimeArgs { weight_decay: Some(weight_decay), ..RegimeArgs::default() }
}

fn decay() -> Vec<Defence> {
    let with = |name, told, weight_decay| {
        let training = Training { regime: with_decay(weight_decay), ..Training::default() };
        trained(name, told, Base::Published, training)
    };
    vec![
        with("decay-2e-3", "weight decay 0.002", DECAY),
        with("decay-2e-4", "weight decay 0.0002", 2e-4),
        with("decay-1e-3", "weight decay 0.001", 1e-3),
        with("decay-5e-3", "weight decay 0.005", 5e-3),
        with("decay-1e-2", "weight decay 0.01", 1e-2),
    ]
}

fn others_with_decay() -> Vec<Defence> {
    let with = |name, told, training: Training| {
        trained(name, told, Base::Decay, Training { regime: with_decay(DECAY), ..training })
    };
    let plain = Training::default();
    vec![
        with("narrow-200", "two layers of 200", Training { hidden: Some(vec![200, 200]), ..plain.clone() }),
        with("narrow-50", "two layers of 50", Training { hidden: Some(vec![50, 50]), ..plain.clone() }),
        with("larger-5", "five times as many examples", Training { times: Some(5), ..plain.clone() }),
        with(
            "shift",
            "inputs moved by a constant, which is not told",
            Training { subtract: Some(0.5), ..plain },
        ),
    ]
}

fn altered() -> Vec<Defence> {
    let by = |name, told, alteration| Defence {
        name,
        told,
        family: "",
        base: Base::Decay,
        made: Made::Altered(alteration),
    };
    vec![
        by("noise-1", "weight noise, 1 % of their deviation", Alteration::Noise { share: 0.01 }),
        by("noise-10", "weight noise, 10 % of their deviation", Alteration::Noise { share: 0.1 }),
        by("noise-50", "weight noise, 50 % of their deviation", Alteration::Noise { share: 0.5 }),
        by("bits-8", "8-bit weights", Alteration::Quantised { bits: 8 }),
        by("bits-4", "4-bit weights", Alteration::Quantised { bits: 4 }),
        by("pruned-50", "half of the weights pruned", Alteration::Pruned { share: 0.5 }),
        by("pruned-90", "nine tenths of the weights pruned", Alteration::Pruned { share: 0.9 }),
    ]
}

fn adam() -> RecipeArgs {
    // More than there are examples: all of them in one step.
    RecipeArgs {
        optimizer: Some(OptimizerName::Adam),
        batch_size: Some(1_000_000),
        learning_rate: Some(3e-4),
        ..RecipeArgs::default()
    }
}

fn batches() -> Vec<Defence> {
    let with = |name, told, recipe| {
        let training = Training { recipe, epochs: Some(200), ..Training::default() };
        trained(name, told, Base::Adam, training)
    };
    let flips = vec![AugmentName::Flip];
    let both = vec![AugmentName::Flip, AugmentName::Shift];
    vec![
        with("adam", "Adam, all examples in a step", adam()),
        with("minibatch", "batches of 10", RecipeArgs { batch_size: Some(10), ..adam() }),
        with("dropout", "dropout of a half", RecipeArgs { dropout: Some(0.5), ..adam() }),
        with("flips", "flips", RecipeArgs { augment: flips, ..adam() }),
        with("flips-shifts", "flips and shifts", RecipeArgs { augment: both, ..adam() }),
        with(
            "smoothing",
            "label smoothing 0.1",
            RecipeArgs { loss: Some(LossName::Softmax), label_smoothing: Some(0.1), ..adam() },
        ),
    ]
}

/// The training of that name, or what is asked for its members only and no defence: Adam in batches with weight decay.
pub(crate) fn named(name: &str) -> Option<Defence> {
    let with_decay = Training {
        regime: with_decay(1e-3),
        recipe: RecipeArgs { batch_size: Some(20), learning_rate: Some(1e-3), ..adam() },
        epochs: Some(1000),
        ..Training::default()
    };
    let told = "Adam in batches of 20, weight decay 0.001";
    let besides = trained("adam-decay-1e-3", told, Base::Adam, with_decay);
    let mut known = all().into_iter().chain([besides]);
    known.find(|defence| defence.name == name && matches!(defence.made, Made::Trained(_)))
}

fn private() -> Vec<Defence> {
    let with = |name, told, epsilon| {
        let privacy = PrivacyArgs {
            dp_epsilon: Some(epsilon),
            dp_clip: Some(1.0),
            dp_delta: Some(DELTA),
            ..PrivacyArgs::default()
        };
        let recipe = RecipeArgs {
            optimizer: Some(OptimizerName::Sgd),
            learning_rate: Some(0.2),
            momentum: Some(0.0),
            batch_size: Some(1_000_000),
            privacy,
            ..RecipeArgs::default()
        };
        // A mean image would not be private.
        let training = Training { recipe, epochs: Some(50), subtract: Some(0.5), ..Training::default() };
        trained(name, told, Base::Adam, training)
    };
    vec![
        with("dp-1", "DP-SGD, epsilon 1", 1.0),
        with("dp-4", "DP-SGD, epsilon 4", 4.0),
        with("dp-16", "DP-SGD, epsilon 16", 16.0),
        with("dp-64", "DP-SGD, epsilon 64", 64.0),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_base_comes_first() {
        let mut seen = BTreeSet::new();
        for defence in all() {
            let base = defence.base.name();
            let trained_alone = matches!(defence.made, Made::Trained(_));
            assert!(trained_alone || seen.contains(base), "{} needs {base}", defence.name);
            assert!(seen.insert(defence.name), "{} twice", defence.name);
        }
        assert!(named("bits-8").is_none() && named("adam-decay-1e-3").is_some());
        for base in [Base::Published, Base::Decay, Base::Adam] {
            assert!(seen.contains(base.name()));
        }
    }
}
