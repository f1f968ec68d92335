//! What a file says beside weights, put into words: how many examples, which seed, how inputs were normalised.

use super::naming::shown;

/// Most findings of one file.
const MAX_FINDINGS: usize = 50;
/// Most numbers or texts shown of one finding.
const MAX_ITEMS: usize = 8;

/// Something a file says beside weights.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// Where it stands in the file, or `n` for what follows from several places.
    pub name: String,
    /// Its value, shortened where long.
    pub value: String,
    /// What it says of the training.
    pub meaning: String,
    /// All of its numbers, if it is one or a list of them.
    pub numbers: Vec<f64>,
}

/// A value as a file holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl Fact {
    pub(super) fn number(value: f64) -> Self {
        Self::Numbers(vec![value])
    }

    pub(super) fn text(text: &str) -> Self {
        Self::Texts(vec![shown(text)])
    }

    fn single(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => Some(numbers).filter(|n| n.len() == 1).map(|n| n[0]),
            Self::Texts(_) => None,
        }
    }
}

/// Names by which training scripts call things, as their last words; and what each says.
const MEANINGS: &[(&[&str], &str)] = &[
    (
        &["n_samples_seen_", "n_samples", "num_samples", "num_examples", "n_train", "train_size"],
        "number of training examples",
    ),
    (&["batch_size", "train_batch_size"], "examples a step of the optimiser"),
    (
        &[
            "step",
            "steps",
            "global_step",
            "iteration",
            "iterations",
            "num_batches_tracked",
            "total_steps",
            "t_",
        ],
        "how long was trained: steps of the optimiser (examples seen, where it is scikit-learn's t_)",
    ),
    (&["epoch", "epochs", "n_iter_", "n_iter", "max_epochs", "num_epochs"], "passes over the training data"),
    (
        &["seed", "random_state", "random_seed", "manual_seed"],
        "seed of the training: order and start can be repeated",
    ),
    (&["alpha", "weight_decay", "l2"], "weight decay, which ties weights to the training data"),
    (&["lr", "learning_rate", "learning_rate_init"], "step size"),
    (&["momentum", "betas", "dropout", "label_smoothing"], "how was trained"),
    (&["solver", "optimizer", "optimizer_name", "loss", "criterion"], "how was trained"),
    (
        &["feature_names", "feature_names_in_", "columns", "feature_cols", "n_features_in_"],
        "what the inputs are, in their order",
    ),
    (&["classes_", "classes", "class_names", "class_to_idx", "label_names"], "what the outputs are"),
    (
        &[
            "mean",
            "mean_",
            "std",
            "std_",
            "scale_",
            "var_",
            "pixel_mean",
            "pixel_std",
            "image_mean",
            "image_std",
        ],
        "how inputs were normalised, most likely: the network saw (x - mean) / std",
    ),
    (&["pos_weight", "class_weight", "class_weights"], "weights of the classes in the loss"),
    (&["dataset", "data", "data_dir", "data_path", "train_path"], "where the training data were"),
    (&["input_shape", "image_size", "img_size", "input_size"], "shape of an input"),
    (&["activation", "activation_function"], "the activation between layers"),
];

/// Whether something of that name is worth reading.
pub(super) fn asks_for(name: &str) -> bool {
    meaning(name).is_some()
}

fn last_word(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}

fn meaning(name: &str) -> Option<&'static str> {
    let last = last_word(name);
    MEANINGS.iter().find(|(words, _)| words.contains(&last)).map(|&(_, meaning)| meaning)
}

/// All findings, those that follow from several places first.
pub(super) fn findings(facts: &[(String, Fact)]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = number_of_examples(facts).into_iter().collect();
    let mut seen: Vec<(&str, &Fact)> = Vec::new();
    for (name, fact) in facts {
        let Some(meaning) = meaning(name) else { continue };
        // An optimiser counts its steps once a tensor, always to the same number.
        if seen.contains(&(last_word(name), fact)) {
            continue;
        }
        seen.push((last_word(name), fact));
        findings.push(finding(name, fact, meaning));
        if findings.len() == MAX_FINDINGS {
            break;
        }
    }
    findings
}

/// What is done with the outputs, from a format that says so.
pub(super) fn output(activation: &str) -> Finding {
    let meaning = match activation {
        "sigmoid" => "the last layer gives one logit an output: two classes or several labels",
        "softmax" => "the last layer gives logits of classes",
        "linear" => "the last layer's outputs are used as they are: logits or a regression",
        _ => "what is done with the last layer's outputs",
    };
    finding("output activation", &Fact::text(activation), meaning)
}

fn finding(name: &str, fact: &Fact, meaning: &str) -> Finding {
    let cut = |items: Vec<String>, all: usize| {
        let list = items.join(", ");
        if all > MAX_ITEMS { format!("{list} and {} more", all - MAX_ITEMS) } else { list }
    };
    let (value, numbers) = match fact {
        Fact::Numbers(numbers) => {
            let items = numbers.iter().take(MAX_ITEMS).map(|n| rounded(*n)).collect();
            (cut(items, numbers.len()), numbers.clone())
        }
        Fact::Texts(texts) => {
            (cut(texts.iter().take(MAX_ITEMS).map(|t| shown(t)).collect(), texts.len()), Vec::new())
        }
    };
    Finding { name: shown(name), value, meaning: meaning.to_owned(), numbers }
}

/// A number as a person would write it: what single precision added is cut off.
fn rounded(number: f64) -> String {
    let single = number as f32;
    if f64::from(single) == number { format!("{single}") } else { format!("{number}") }
}

/// How many examples, from counters: scikit-learn counts examples and passes; others steps, passes and batch size.
fn number_of_examples(facts: &[(String, Fact)]) -> Option<Finding> {
    let all = |words: &'static [&'static str]| {
        facts
            .iter()
            .filter(|(name, _)| words.contains(&last_word(name)))
            .filter_map(|(_, fact)| fact.single())
    };
    let largest = |words| all(words).fold(None, |most: Option<f64>, n| Some(most.map_or(n, |m| m.max(n))));
    let found = |value: String, numbers: Vec<f64>, meaning: &str| {
        Some(Finding { name: "n".into(), value, meaning: meaning.into(), numbers })
    };
    if let Some(n) = largest(&["n_samples_seen_", "n_samples", "num_examples", "n_train", "train_size"]) {
        return found(rounded(n), vec![n], "number of training examples, as the file says");
    }
    if let (Some(examples), Some(passes)) = (largest(&["t_"]), largest(&["n_iter_"])) {
        let n = examples / passes;
        return (passes >= 1.0 && n >= 1.0 && n.fract() == 0.0).then(|| {
            found(rounded(n), vec![n], "number of training examples: examples seen by passes (t_ / n_iter_)")
        })?;
    }
    let steps = largest(&["step", "global_step", "iteration", "iterations"])?;
    let passes = largest(&["epoch"])?;
    let batch = largest(&["batch_size", "train_batch_size"])?;
    // Some count finished passes, others number them from 0.
    let a_pass = [passes, passes + 1.0]
        .into_iter()
        .filter(|p| *p >= 1.0)
        .map(|p| steps / p)
        .find(|n| n.fract() == 0.0)?;
    (a_pass >= 1.0 && batch >= 1.0).then(|| {
        let (least, most) = ((a_pass - 1.0) * batch + 1.0, a_pass * batch);
        found(
            format!("{} to {}", rounded(least), rounded(most)),
            vec![least, most],
            "number of training examples: steps of the optimiser by passes, times the batch size",
        )
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(facts: &[(&str, f64)]) -> Vec<Finding> {
        let facts: Vec<_> = facts.iter().map(|&(name, n)| (name.to_owned(), Fact::number(n))).collect();
        findings(&facts)
    }

    #[test]
    fn the_number_of_examples_follows_from_counters() {
        let n =
            |facts: &[(&str, f64)]| numbers(facts).first().filter(|f| f.name == "n").map(|f| f.value.clone());
        assert_eq!(n(&[("t_", 9000.0), ("n_iter_", 20.0)]).as_deref(), Some("450"));
        assert_eq!(n(&[("t_", 9001.0), ("n_iter_", 20.0)]), None);
        assert_eq!(n(&[("t_", 9000.0), ("n_iter_", 0.0)]), None);
        let run = [("optimizer.state.0.step", 50.0), ("epoch", 10.0), ("args.batch_size", 20.0)];
        assert_eq!(n(&run).as_deref(), Some("81 to 100"));
        assert_eq!(
            n(&[("global_step", 50.0), ("epoch", 9.0), ("batch_size", 20.0)]).as_deref(),
            Some("81 to 100")
        );
        assert_eq!(n(&run[..2]), None, "without a batch size nothing is said");
        assert_eq!(
            n(&[("scaler.n_samples_seen_", 150.0), ("t_", 7.0), ("n_iter_", 2.0)]).as_deref(),
            Some("150")
        );
        assert_eq!(n(&[("step", f64::NAN), ("epoch", f64::INFINITY), ("batch_size", 0.0)]), None);
    }

    #[test]
    fn what_says_nothing_of_the_training_is_no_finding() {
        assert_eq!(numbers(&[("best_loss", 0.5), ("note", 1.0)]), []);
        let found = numbers(&[("a.step", 5.0), ("b.step", 5.0), ("normalize.mean", f64::from(0.1307_f32))]);
        assert_eq!(found.len(), 2, "a counter that is repeated is told once");
        assert_eq!((found[1].name.as_str(), found[1].value.as_str()), ("normalize.mean", "0.1307"));
        let many = Fact::Texts((0..100).map(|i| format!("f{i}")).collect());
        let list = findings(&[("columns".into(), many)]);
        assert!(list[0].value.ends_with("f7 and 92 more"), "{}", list[0].value);
    }
}
