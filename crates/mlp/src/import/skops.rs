//! `skops` files of scikit-learn: a ZIP archive with a tree in `schema.json` and one `.npy` array a leaf.
//!
//! Read is the first object with `coefs_` and `intercepts_`, alone or inside a pipeline; what stands beside it, such as
//! a scaler of the inputs, is told as findings.
//!
//! # Source
//! skops 0.16, `skops/io/_general.py`, `_numpy.py` and `_sklearn.py`: each node names its class and holds `content`.

use palimpsest_numerics::zip::Archive;
use serde_json::Value;

use super::chain::Layout;
use super::contents::Contents;
use super::finding::{self, Fact};
use super::format::Format;
use super::naming::shown;
use super::npy;
use super::npz;
use super::options::ReadOptions;
use super::sequence::Step;
use super::stored_activation::StoredActivation;

/// Longest schema; the arrays are not in it.
const MAX_SCHEMA_BYTES: usize = 2 << 20;
/// Most nodes of the tree that are looked at.
const MAX_NODES: usize = 100_000;
/// Largest array beside the weights that is looked into for a finding.
const MAX_FINDING_BYTES: usize = 1 << 20;
/// Most layers.
const MAX_LAYERS: usize = 256;
const SCHEMA: &str = "schema.json";

pub(super) const FORMAT: Format = Format { name: ".skops", recognise, read: contents };

fn recognise(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK") && Archive::open(bytes).is_ok_and(|archive| archive.member(SCHEMA).is_some())
}

fn contents<'a>(bytes: &'a [u8], _: &ReadOptions) -> Result<Contents<'a>, String> {
    let archive = Archive::open(bytes)?;
    let mut budget = npz::MAX_UNPACKED_BYTES;
    let schema = archive.member(SCHEMA).ok_or("it has no schema.json")?;
    if schema.size() > MAX_SCHEMA_BYTES {
        return Err(format!("its schema has {} bytes, above the limit of {MAX_SCHEMA_BYTES}", schema.size()));
    }
    let tree: Value = serde_json::from_slice(&schema.content(&mut budget)?)
        .map_err(|e| format!("its schema is no JSON ({e}); the file is damaged"))?;
    let (network, facts) = search(&tree);
    let network = network.ok_or(
        "it holds no MLPClassifier or MLPRegressor: nothing in it has coefs_ and intercepts_; other models of \
         scikit-learn are no networks",
    )?;
    let (weights, biases) = (files(network, "coefs_"), files(network, "intercepts_"));
    if weights.is_empty() || weights.len() != biases.len() || weights.len() > MAX_LAYERS {
        return Err(format!(
            "it lists {} coefs_ and {} intercepts_; expected as many of each, at most {MAX_LAYERS}",
            weights.len(),
            biases.len()
        ));
    }
    let mut contents = Contents::default();
    let mut steps = Vec::new();
    let hidden = text(network, "activation").map(|name| activation(&name));
    for (layer, (weight, bias)) in weights.iter().zip(&biases).enumerate() {
        if let (true, Some(Some(hidden))) = (layer > 0, &hidden) {
            steps.push(Step::Activation(hidden.clone()));
        }
        let place = contents.tensors.len();
        for (name, file) in [("coefs_", weight), ("intercepts_", bias)] {
            let member =
                archive.member(file).ok_or_else(|| format!("member `{}` is missing", shown(file)))?;
            let mut tensor = npy::array(member.name(), member.content(&mut budget)?)?;
            tensor.name = format!("{name}{layer}").into();
            contents.tensors.push(tensor);
        }
        steps.push(Step::Dense {
            name: "coefs_".into(),
            weight: place,
            bias: Some(place + 1),
            layout: Layout::InOut,
        });
    }
    steps.extend(text(network, "out_activation_").and_then(|name| activation(&name)).map(Step::Activation));
    contents.steps = Some(steps);
    contents.assumed.push("weights are stored as (in, out), as scikit-learn does".into());
    for (name, leaf) in facts {
        let fact = match leaf {
            Leaf::Said(fact) => Some(fact),
            Leaf::File(file) => archive
                .member(file)
                .filter(|m| m.size() <= MAX_FINDING_BYTES)
                .and_then(|member| npy::fact(&name, member.content(&mut budget).ok()?, MAX_FINDING_BYTES)),
        };
        contents.facts.extend(fact.map(|fact| (name, fact)));
    }
    Ok(contents)
}

/// `None` for the identity.
fn activation(name: &str) -> Option<StoredActivation> {
    match name {
        "identity" => None,
        "relu" => Some(StoredActivation::Relu),
        "logistic" => Some(StoredActivation::Named("sigmoid".into())),
        other => Some(StoredActivation::Named(shown(other))),
    }
}

/// A value beside the weights: in the schema, or in an array of its own.
enum Leaf<'t> {
    Said(Fact),
    File(&'t str),
}

type Attributes = serde_json::Map<String, Value>;

/// The first network of the tree, and what the tree says besides.
fn search(tree: &Value) -> (Option<&Attributes>, Vec<(String, Leaf<'_>)>) {
    let (mut network, mut facts) = (None, Vec::new());
    let mut waiting = vec![(String::new(), tree)];
    for _ in 0..MAX_NODES {
        let Some((name, node)) = waiting.pop() else { break };
        if let Some(leaf) = finding::asks_for(&name).then(|| leaf(node)).flatten() {
            facts.push((name.clone(), leaf));
        }
        match node.get("content") {
            Some(Value::Object(inside)) => {
                let attributes = inside.get("content").and_then(Value::as_object).unwrap_or(inside);
                if network.is_none()
                    && attributes.contains_key("coefs_")
                    && attributes.contains_key("intercepts_")
                {
                    network = Some(attributes);
                }
                let class = node.get("__class__").and_then(Value::as_str).unwrap_or_default();
                let below =
                    attributes.iter().map(|(key, value)| (format!("{}.{}", shown(class), shown(key)), value));
                waiting.extend(below.filter(|(_, value)| value.is_object()));
            }
            Some(Value::Array(items)) if !name.ends_with("coefs_") => {
                waiting.extend(
                    items.iter().rev().filter(|item| item.is_object()).map(|item| (String::new(), item)),
                );
            }
            _ => {}
        }
    }
    (network, facts)
}

fn leaf(node: &Value) -> Option<Leaf<'_>> {
    if let Some(file) = node.get("file").and_then(Value::as_str) {
        return Some(Leaf::File(file));
    }
    let said = node.get("content").and_then(Value::as_str)?;
    Some(Leaf::Said(match serde_json::from_str(said).ok()? {
        Value::Number(number) => Fact::number(number.as_f64()?),
        Value::String(text) => Fact::text(&text),
        _ => return None,
    }))
}

/// Names of the arrays in a list.
fn files<'t>(network: &'t Attributes, name: &str) -> Vec<&'t str> {
    let list = network.get(name).and_then(|node| node.get("content")).and_then(Value::as_array);
    let files = list.into_iter().flatten().map(|item| item.get("file").and_then(Value::as_str));
    files.take(MAX_LAYERS + 1).flatten().collect()
}

fn text(network: &Attributes, name: &str) -> Option<String> {
    let said = network.get(name)?.get("content")?.as_str()?;
    serde_json::from_str(said).ok()
}
