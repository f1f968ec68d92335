//! The layers that a description of a model lists, each with its variables.

use serde_json::{Map, Value};

use crate::import::chain::Layout;
use crate::import::naming::shown;
use crate::import::sequence::Step;
use crate::import::stored_activation::StoredActivation;
use crate::import::tensor::Tensor;

/// Most models inside each other.
const MAX_LEVELS: usize = 4;
/// Most layers.
const MAX_LAYERS: usize = 1_000;

/// A step, and where the numbers of a layer that normalises inputs are: mean and variance.
pub(super) struct Placed {
    pub(super) step: Step,
    pub(super) normalisation: Option<(usize, usize)>,
}

impl From<Step> for Placed {
    fn from(step: Step) -> Self {
        Self { step, normalisation: None }
    }
}

/// The variables of a file, and how layers are looked up in it.
struct Variables<'v> {
    paths: &'v [&'v str],
    tensors: &'v [Tensor<'v>],
    /// For each group of numbered variables, `layers/dense/vars`, the layer's name.
    groups: Vec<(&'v str, Option<String>)>,
}

/// All steps of the model, in the order of its description.
///
/// # Errors
/// A dense layer whose kernel is not in the file; models inside models without end.
pub(super) fn steps(
    config: &Value,
    paths: &[&str],
    tensors: &[Tensor<'_>],
    name_of_group: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Placed>, String> {
    let mut groups: Vec<&str> = paths.iter().filter_map(|path| path.strip_suffix("/0")).collect();
    groups.retain(|group| group.ends_with("/vars"));
    let groups = groups.into_iter().map(|group| (group, name_of_group(group))).collect();
    let variables = Variables { paths, tensors, groups };
    let mut steps = Vec::new();
    model(config, &variables, &mut steps, 0)?;
    Ok(steps)
}

fn model(
    description: &Value,
    variables: &Variables<'_>,
    steps: &mut Vec<Placed>,
    level: usize,
) -> Result<(), String> {
    if level == MAX_LEVELS {
        return Err(format!("it has models more than {MAX_LEVELS} levels inside each other"));
    }
    let config = description.get("config");
    let layers =
        config.and_then(|config| config.get("layers").or(Some(config))).and_then(Value::as_array).ok_or(
            "the description of its model lists no layers; save a Sequential or Functional model, or \
             model.save_weights(\"net.weights.h5\")",
        )?;
    if layers.len() > MAX_LAYERS {
        return Err(format!("it has more than {MAX_LAYERS} layers"));
    }
    let inputs = layers.iter().filter(|layer| class(layer) == "InputLayer").count();
    if inputs > 1 {
        steps.push(Step::Other(format!("{inputs} inputs")).into());
    }
    let empty = Map::new();
    for layer in layers {
        let config = layer.get("config").and_then(Value::as_object).unwrap_or(&empty);
        match class(layer) {
            "Sequential" | "Functional" | "Model" => model(layer, variables, steps, level + 1)?,
            "Dense" => dense(config, variables, steps)?,
            other => steps.push(of_another_kind(other, config, variables)),
        }
    }
    Ok(())
}

fn class(layer: &Value) -> &str {
    layer.get("class_name").and_then(Value::as_str).unwrap_or_default()
}

fn name_of(config: &Map<String, Value>) -> &str {
    config.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn dense(
    config: &Map<String, Value>,
    variables: &Variables<'_>,
    steps: &mut Vec<Placed>,
) -> Result<(), String> {
    let name = name_of(config);
    let before = steps.iter().filter(|placed| is_dense(&placed.step)).count();
    let (weight, bias) = variables
        .named(name)
        .or_else(|| variables.numbered(name, before))
        .ok_or_else(|| format!("the kernel of layer `{}` is not in the file", shown(name)))?;
    if variables.tensors[weight].shape.len() != 2 {
        return Err(format!("the kernel of layer `{}` is no matrix", shown(name)));
    }
    steps.push(Step::Dense { name: name.to_owned(), weight, bias, layout: Layout::InOut }.into());
    steps.extend(config.get("activation").and_then(activation).map(|a| Step::Activation(a).into()));
    Ok(())
}

impl Variables<'_> {
    /// `model_weights/NAME/../kernel` and `/bias`.
    fn named(&self, name: &str) -> Option<(usize, Option<usize>)> {
        let find = |word: &str| {
            self.paths.iter().position(|path| {
                let plain = path.rsplit_once(':').map_or(*path, |(plain, _)| plain);
                plain.strip_suffix(word).is_some_and(|rest| rest.ends_with('/'))
                    && path.split('/').rev().skip(1).any(|part| part == name)
            })
        };
        Some((find("kernel")?, find("bias")))
    }

    /// `layers/dense_1/vars/0` and `/1`, by the layer's name or by its place among all dense layers.
    fn numbered(&self, name: &str, before: usize) -> Option<(usize, Option<usize>)> {
        let group = self.group(name).or_else(|| {
            let mut dense: Vec<(u64, &str)> = self
                .groups
                .iter()
                .filter_map(|&(group, _)| {
                    let own = group.strip_suffix("/vars")?.rsplit('/').next()?;
                    let number = own.strip_prefix("dense")?;
                    let number =
                        if number.is_empty() { 0 } else { number.strip_prefix('_')?.parse().ok()? };
                    Some((number, group))
                })
                .collect();
            dense.sort_unstable();
            dense.get(before).map(|&(_, group)| group)
        })?;
        Some((self.variable(group, 0)?, self.variable(group, 1)))
    }

    fn group(&self, name: &str) -> Option<&str> {
        let called = |&(_, own): &&(&str, Option<String>)| own.as_deref() == Some(name);
        let ends = |&(group, _): &&(&str, Option<String>)| {
            group.strip_suffix("/vars").and_then(|g| g.rsplit('/').next()) == Some(name)
        };
        self.groups
            .iter()
            .find(|group| called(group))
            .or_else(|| self.groups.iter().find(|group| ends(group)))
            .map(|&(group, _)| group)
    }

    fn variable(&self, group: &str, number: usize) -> Option<usize> {
        let wanted = format!("{group}/{number}");
        self.paths.iter().position(|path| *path == wanted)
    }
}

/// The activation of that description; `None` for the identity.
fn activation(described: &Value) -> Option<StoredActivation> {
    let config = described.get("config");
    let name = match described {
        Value::String(name) => name.as_str(),
        Value::Object(_) => config.and_then(Value::as_str).unwrap_or_else(|| class(described)),
        _ => return None,
    };
    let slope = config.and_then(|config| config.get("negative_slope")).and_then(Value::as_f64);
    Some(match name {
        "linear" => return None,
        "relu" | "ReLU" => StoredActivation::Relu,
        "leaky_relu" | "LeakyReLU" => StoredActivation::LeakyRelu { slope: slope.unwrap_or(0.2) },
        other => StoredActivation::Named(shown(other)),
    })
}

fn of_another_kind(class: &str, config: &Map<String, Value>, variables: &Variables<'_>) -> Placed {
    let number = |key: &str| config.get(key).and_then(Value::as_f64);
    let named = |name: &str| Step::Activation(StoredActivation::Named(name.to_owned()));
    let step = match class {
        "InputLayer"
        | "Dropout"
        | "GaussianNoise"
        | "GaussianDropout"
        | "AlphaDropout"
        | "ActivityRegularization"
        | "Flatten"
        | "Identity" => Step::Passed(None),
        "Reshape" => Step::Passed(Some("numbers are reshaped before the next layer, in their order".into())),
        "Rescaling" => Step::Passed(Some(format!(
            "inputs are first multiplied by {} and {} is added: what is recovered is after that",
            number("scale").unwrap_or(1.0),
            number("offset").unwrap_or(0.0)
        ))),
        "Normalization" => return normalisation(config, variables),
        "Activation" => match config.get("activation").map(activation) {
            Some(Some(activation)) => Step::Activation(activation),
            _ => Step::Passed(None),
        },
        "ReLU" if number("max_value").is_none() && number("threshold").unwrap_or(0.0) == 0.0 => {
            match number("negative_slope").filter(|&slope| slope != 0.0) {
                Some(slope) => Step::Activation(StoredActivation::LeakyRelu { slope }),
                None => Step::Activation(StoredActivation::Relu),
            }
        }
        "LeakyReLU" => {
            let slope = number("negative_slope").or(number("alpha")).unwrap_or(0.3);
            Step::Activation(StoredActivation::LeakyRelu { slope })
        }
        "Softmax" => named("softmax"),
        "ELU" => named("elu"),
        other => Step::Other(format!("a layer `{}` of kind {}", shown(name_of(config)), shown(other))),
    };
    step.into()
}

fn normalisation(config: &Map<String, Value>, variables: &Variables<'_>) -> Placed {
    let note = "inputs are first normalised by a layer of the model: what is recovered is after that";
    let group = variables.group(name_of(config)).or_else(|| variables.group("normalization"));
    let place = |number| group.and_then(|group| variables.variable(group, number));
    Placed { step: Step::Passed(Some(note.into())), normalisation: place(0).zip(place(1)) }
}

/// Whether a step is a dense layer.
fn is_dense(step: &Step) -> bool {
    matches!(step, Step::Dense { .. })
}
