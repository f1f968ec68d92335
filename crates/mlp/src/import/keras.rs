//! Keras: `.keras` archives (`config.json` and `model.weights.h5`), `.h5` models, and `.weights.h5` without a model.
//!
//! Where a model is described, its layers are taken in the order it lists them, with the activations it names. Weights
//! alone are ordered by the numbers that Keras gives layers of one kind: `dense`, `dense_1`, `dense_2`.
//!
//! # Source
//! Keras 3.15, `src/saving/saving_lib.py` (`layers/dense/vars/0`) and `src/legacy/saving/legacy_h5_format.py`
//! (`model_weights/dense/../kernel`); Keras 2 writes `kernel:0`.

use palimpsest_numerics::zip::Archive;
use serde_json::Value;

use super::chain;
use super::contents::Contents;
use super::finding::{self, Fact};
use super::format::Format;
use super::hdf5::{self, Entry};
use super::naming::MAX_LISTED;
use super::naming::shown;
use super::npz;
use super::options::ReadOptions;

mod model;

/// Longest description of a model.
const MAX_CONFIG_BYTES: usize = 2 << 20;
/// Most values of a description that are looked at for findings.
const MAX_LOOKED_AT: usize = 10_000;
/// Longest data set that is looked into for a finding, in numbers.
const MAX_FACT_NUMBERS: usize = 1 << 16;
const WEIGHTS: &str = "model.weights.h5";

pub(super) const H5: Format =
    Format { name: "Keras .h5", recognise: hdf5::recognise, read: |bytes, _| read(bytes, None) };

pub(super) const ARCHIVE: Format = Format { name: ".keras", recognise, read: archive };

fn recognise(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK") && Archive::open(bytes).is_ok_and(|archive| archive.member(WEIGHTS).is_some())
}

fn archive<'a>(bytes: &'a [u8], _: &ReadOptions) -> Result<Contents<'a>, String> {
    let archive = Archive::open(bytes)?;
    let mut budget = npz::MAX_UNPACKED_BYTES;
    let config =
        archive.member("config.json").ok_or("it has no config.json; save it again with model.save(path)")?;
    if config.size() > MAX_CONFIG_BYTES {
        return Err(format!(
            "its config.json has {} bytes, above the limit of {MAX_CONFIG_BYTES}",
            config.size()
        ));
    }
    let config = parse(&config.content(&mut budget)?)?;
    let weights = archive.member(WEIGHTS).ok_or("it has no weights")?.content(&mut budget)?;
    read(&weights, Some(config))
}

fn parse(config: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(config).map_err(|e| format!("the description of its model is no JSON ({e})"))
}

/// Reads HDF5, with the description of the model from the archive around it, if there is one.
fn read<'a>(bytes: &[u8], config: Option<Value>) -> Result<Contents<'a>, String> {
    let mut file = hdf5::Contents::open(bytes)?;
    let entries = file.entries()?;
    let config = match (config, file.text("model_config")) {
        (Some(config), _) => Some(config),
        (None, Some(text)) if text.len() <= MAX_CONFIG_BYTES => Some(parse(text.as_bytes())?),
        _ => None,
    };
    let mut contents = Contents::default();
    let is_optimizer = |entry: &Entry| entry.path.starts_with("optimizer");
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| !is_optimizer(entry)) {
        let mut tensor = file.tensor(entry)?;
        names.push(entry.path.as_str());
        if config.is_none() {
            tensor.name = spoken(&entry.path, &entry.shape).into();
        }
        contents.tensors.push(tensor);
    }
    for entry in entries.iter().filter(|entry| is_optimizer(entry)) {
        if contents.ignored.len() <= MAX_LISTED {
            contents.ignored.push(entry.path.clone());
        }
        if entry.shape.is_empty() {
            let tensor = file.tensor(entry)?;
            let counts = tensor.holds_whole_numbers();
            let name = if counts { "optimizer.iterations" } else { "optimizer.learning_rate" };
            contents.facts.extend(tensor.numbers(1).map(|n| (name.to_owned(), Fact::Numbers(n))));
        }
    }
    contents.assumed.push("kernels are stored as (in, out), as Keras does".into());
    if let Some(config) = &config {
        let steps = model::steps(config, &names, &contents.tensors, &|group| file.text_of(group, "name"))?;
        contents.facts.extend(normalisation(&steps, &contents));
        contents.steps = Some(steps.into_iter().map(|placed| placed.step).collect());
        facts(config.get("compile_config").unwrap_or(&Value::Null), &mut contents.facts);
    }
    if let Some(training) = file.text("training_config").and_then(|text| parse(text.as_bytes()).ok()) {
        facts(&training, &mut contents.facts);
    }
    if contents.tensors.is_empty() {
        return Err(format!("it holds no weights of Keras; {}", chain::NAMES_THAT_ARE_READ));
    }
    Ok(contents)
}

/// Mean and deviation of a layer that normalises inputs.
fn normalisation(steps: &[model::Placed], contents: &Contents<'_>) -> Vec<(String, Fact)> {
    let mut facts = Vec::new();
    for (mean, variance) in steps.iter().filter_map(|placed| placed.normalisation) {
        let numbers = |index: usize| contents.tensors[index].numbers(MAX_FACT_NUMBERS);
        facts.extend(numbers(mean).map(|m| ("normalization.mean".to_owned(), Fact::Numbers(m))));
        let std = numbers(variance).map(|v| v.into_iter().map(f64::sqrt).collect());
        facts.extend(std.map(|std| ("normalization.std".to_owned(), Fact::Numbers(std))));
    }
    facts
}

/// The name of a numbered variable as names of weights are understood, by its shape and its neighbours' order.
fn spoken(path: &str, shape: &[usize]) -> String {
    let Some((layer, number)) = path.rsplit_once("/vars/") else { return path.to_owned() };
    let word = match (number, shape.len()) {
        ("0", 0 | 1) => "gamma",
        ("0", _) => "kernel",
        ("1", 0 | 1) => "bias",
        ("1", _) => "recurrent_kernel",
        (_, _) => return format!("{layer}/variable_{number}"),
    };
    format!("{layer}/{word}")
}

/// What the description of the training says.
fn facts(config: &Value, facts: &mut Vec<(String, Fact)>) {
    let mut waiting = vec![("training".to_owned(), config)];
    for _ in 0..MAX_LOOKED_AT {
        let Some((name, value)) = waiting.pop() else { return };
        let asked = finding::asks_for(&name);
        match value {
            Value::Object(inside) => {
                waiting.extend(
                    inside.iter().rev().map(|(key, value)| (format!("training.{}", shown(key)), value)),
                );
            }
            Value::Number(number) if asked => facts.extend(number.as_f64().map(|n| (name, Fact::number(n)))),
            Value::String(text) if asked => facts.push((name, Fact::text(text))),
            _ => {}
        }
    }
}
