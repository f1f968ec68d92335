//! Which dictionary of a pickle holds the weights, and what stands beside it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::import::chain;
use crate::import::finding::{self, Fact};
use crate::import::naming::MAX_LISTED;
use crate::import::naming::shown;
use crate::import::pickle::{Id, Pickle, Value, View};

/// Most tensors beside each other; a dense network has two a layer.
pub(super) const MAX_TENSORS: usize = 10_000;
/// Most dictionaries around the weights.
const MAX_LEVELS: usize = 4;
/// Most dictionaries around something said beside the weights.
const MAX_FACT_LEVELS: usize = 6;
/// Most values looked at for what is said beside the weights.
const MAX_LOOKED_AT: usize = 10_000;
/// Most facts of one file: tensors of a short file may share the same numbers.
const MAX_FACTS: usize = 200;
/// Most items of a list that are taken.
const MAX_ITEMS: usize = 1 << 12;

/// The tensors of the weights, by name, and the names of everything else.
pub(super) struct Found<'a> {
    pub(super) tensors: Vec<(Cow<'a, str>, Id)>,
    pub(super) ignored: Vec<String>,
}

/// A dictionary and how it was reached.
struct Step {
    dictionary: Id,
    /// The step this one was reached from, and the key.
    from: Option<(usize, Id)>,
}

/// Keys from the root down to a step.
fn path<'a>(pickle: &Pickle<'a>, steps: &[Step], mut at: usize) -> Vec<Cow<'a, str>> {
    let mut keys = Vec::new();
    while let Some((from, key)) = steps[at].from {
        keys.push(pickle.key(key));
        at = from;
    }
    keys.reverse();
    keys
}

fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    matches!(pickle.value(id), Value::Tensor(_) | Value::UnreadTensor(_))
}

/// All dictionaries, level by level, and which of them hold weights.
fn walk(pickle: &Pickle<'_>) -> Result<(Vec<Step>, Vec<usize>), String> {
    let holds_weights = |&(key, value): &(Id, Id)| {
        let is_matrix = match pickle.value(value) {
            Value::Tensor(view) => view.shape.len() > 1,
            Value::UnreadTensor(_) => true,
            _ => false,
        };
        is_matrix && matches!(pickle.value(key), Value::Text(name) if chain::tells_of_weights(name))
    };
    if pickle.entries(pickle.root()).is_none() {
        return Err(
            "it holds no dictionary; save the weights with torch.save(model.state_dict(), path)".into()
        );
    }
    // Each dictionary is looked at once, however often it is referred to.
    let mut steps = vec![Step { dictionary: pickle.root(), from: None }];
    let mut seen = BTreeSet::from([pickle.root()]);
    let mut found = Vec::new();
    let mut level = 0..1;
    for _ in 0..=MAX_LEVELS {
        let end = steps.len();
        for at in level {
            let inside = pickle.entries(steps[at].dictionary).expect("only dictionaries are entered");
            if inside.iter().any(holds_weights) {
                found.push(at);
                continue;
            }
            for &(key, value) in inside {
                if pickle.entries(value).is_some() && seen.insert(value) {
                    steps.push(Step { dictionary: value, from: Some((at, key)) });
                }
            }
        }
        level = end..steps.len();
    }
    Ok((steps, found))
}

/// The one dictionary that holds weights; all of them, named with their path, where a chain is chosen among several.
pub(super) fn find<'a>(pickle: &Pickle<'a>, choice: Option<&str>) -> Result<Found<'a>, String> {
    let (steps, found) = walk(pickle)?;
    let entries = |at: usize| pickle.entries(steps[at].dictionary).expect("only dictionaries are entered");
    let tensors_of = |at: usize| entries(at).iter().filter(|(_, value)| is_tensor(pickle, *value));
    match (found.as_slice(), choice) {
        (&[at], _) => Ok(Found {
            tensors: tensors_of(at).map(|&(key, value)| (pickle.key(key), value)).collect(),
            ignored: beside(pickle, &steps, at),
        }),
        ([], _) => {
            let keys =
                entries(0).iter().take(MAX_LISTED).map(|&(key, _)| format!("`{}`", shown(&pickle.key(key))));
            let keys = keys.collect::<Vec<_>>().join(", ");
            Err(format!(
                "it has no weights in a dictionary at most {MAX_LEVELS} levels deep; its keys are [{keys}]; {}",
                chain::NAMES_THAT_ARE_READ
            ))
        }
        (several, Some(_)) => {
            let named = several.iter().flat_map(|&at| {
                // A long key could stand for a million entries.
                let above: String = path(pickle, &steps, at).iter().map(|key| shown(key) + ".").collect();
                tensors_of(at)
                    .map(move |&(key, value)| (Cow::Owned(above.clone() + &shown(&pickle.key(key))), value))
            });
            Ok(Found { tensors: named.take(MAX_TENSORS + 1).collect(), ignored: Vec::new() })
        }
        (several, None) => {
            let paths: Vec<String> = several
                .iter()
                .take(MAX_LISTED)
                .map(|&at| shown(&path(pickle, &steps, at).join(".")))
                .collect();
            Err(format!(
                "it holds several sets of weights, {}; choose one, as in --chain {}, or save the one that is meant \
                 alone",
                paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "),
                paths.first().map_or("", String::as_str)
            ))
        }
    }
}

/// Names of all that is no weight: beside the weights and on the way to them.
fn beside(pickle: &Pickle<'_>, steps: &[Step], at: usize) -> Vec<String> {
    let entries = |at: usize| pickle.entries(steps[at].dictionary).expect("only dictionaries are entered");
    let listed = |at: usize, key: Id| {
        let above: String = path(pickle, steps, at).iter().map(|key| shown(key) + ".").collect();
        above + &shown(&pickle.key(key))
    };
    // One more than is shown, so that it is seen that there are more.
    let inside = entries(at).iter().filter(|(_, value)| !is_tensor(pickle, *value));
    let mut ignored: Vec<String> = inside.take(MAX_LISTED + 1).map(|&(key, _)| listed(at, key)).collect();
    let mut way = at;
    while let Some((from, taken)) = steps[way].from {
        let others = entries(from).iter().filter(|(key, _)| *key != taken);
        let others = others.take(MAX_LISTED + 1).map(|&(key, _)| listed(from, key));
        ignored.splice(0..0, others);
        way = from;
    }
    ignored
}

/// Something said beside the weights.
pub(super) enum Place<'p, 'a> {
    Said(Fact),
    Tensor(&'p View<'a>),
}

/// What the pickle says beside the weights, by path, where the name says something of the training.
pub(super) fn facts<'p, 'a>(pickle: &'p Pickle<'a>) -> Vec<(String, Place<'p, 'a>)> {
    let mut facts = Vec::new();
    let mut seen = BTreeSet::from([pickle.root()]);
    let mut level: Vec<(String, Id)> = vec![(String::new(), pickle.root())];
    let mut left = MAX_LOOKED_AT;
    for _ in 0..MAX_FACT_LEVELS {
        let mut below = Vec::new();
        for (above, id) in level {
            let entries =
                pickle.entries(id).unwrap_or_default().iter().map(|&(key, value)| (pickle.key(key), value));
            let items = match pickle.value(id) {
                Value::List(items) => items.as_slice(),
                _ => &[],
            };
            let items = items.iter().enumerate().map(|(i, &value)| (Cow::from(i.to_string()), value));
            for (key, value) in entries.chain(items) {
                if left == 0 || facts.len() == MAX_FACTS {
                    return facts;
                }
                left -= 1;
                let name = if above.is_empty() { shown(&key) } else { format!("{above}.{}", shown(&key)) };
                if let Some(fact) = finding::asks_for(&name).then(|| fact(pickle, value)).flatten() {
                    facts.push((name, fact));
                } else if (pickle.entries(value).is_some() || matches!(pickle.value(value), Value::List(_)))
                    && seen.insert(value)
                {
                    below.push((name, value));
                }
            }
        }
        level = below;
    }
    facts
}

fn fact<'p, 'a>(pickle: &'p Pickle<'a>, id: Id) -> Option<Place<'p, 'a>> {
    Some(Place::Said(match pickle.value(id) {
        Value::Text(text) => Fact::text(text),
        Value::Tensor(view) => return Some(Place::Tensor(view)),
        Value::List(items) | Value::Tuple(items) if !items.is_empty() => list(pickle, items)?,
        _ => Fact::number(number(pickle, id)?),
    }))
}

fn number(pickle: &Pickle<'_>, id: Id) -> Option<f64> {
    match *pickle.value(id) {
        Value::Int(int) => Some(int as f64),
        Value::Float(float) => Some(float),
        Value::Flag(flag) => Some(f64::from(u8::from(flag))),
        _ => None,
    }
}

fn list(pickle: &Pickle<'_>, items: &[Id]) -> Option<Fact> {
    let items = &items[..items.len().min(MAX_ITEMS)];
    let texts = items.iter().map(|&id| match pickle.value(id) {
        Value::Text(text) => Some(shown(text)),
        _ => None,
    });
    texts
        .collect::<Option<Vec<_>>>()
        .map(Fact::Texts)
        .or_else(|| items.iter().map(|&id| number(pickle, id)).collect::<Option<Vec<_>>>().map(Fact::Numbers))
}
