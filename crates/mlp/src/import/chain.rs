//! Which tensors make which layer, told from names and shapes alone.
//!
//! A layer is `PREFIX.weight`, (out, in), with an optional `PREFIX.bias`, (out); or `W3` with `b3`, where a bare `b` is
//! the bias of `W0`. Layers whose names differ only in their numbers are ordered by these, so `layers.0 .. layers.10`
//! and `net.0, net.2, net.4` both come out as meant. Where names differ otherwise (`fc1, fc2, out`), widths must chain
//! in exactly one order, else the file is refused.

use std::collections::BTreeMap;

use super::shown;
use crate::MlpError;

/// Most layers of a network.
const MAX_LAYERS: usize = 256;
/// Most steps in search of an order; a hostile file could ask for any number.
const MAX_STEPS: usize = 100_000;
/// Longest name of a weight or bias, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most layers named in a message.
const MAX_NAMED: usize = 8;

/// Indices of the tensors that make one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
}

/// The layers of a chain, first layer first, and how their order was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) layers: Vec<Layer>,
    pub(super) ordered_by_widths: bool,
}

/// Finds the chain that uses every tensor, given as (name, shape).
///
/// # Errors
/// [`MlpError::NotANetwork`] that names the first tensor that does not belong to a chain of dense layers.
pub(super) fn arrange(tensors: &[(&str, &[usize])]) -> Result<Chain, MlpError> {
    #[derive(Default)]
    struct Found {
        weight: Option<usize>,
        bias: Option<usize>,
    }
    let mut groups: BTreeMap<String, BTreeMap<Vec<u64>, Found>> = BTreeMap::new();
    for (index, &(name, shape)) in tensors.iter().enumerate() {
        let stranger = |why: &str| {
            refused(format!(
                "tensor `{}` of shape {} {why}; only chains of dense layers are read",
                shown(name),
                shown(&format!("{shape:?}"))
            ))
        };
        let Some(((letters, numbers), part)) = place(name) else { return Err(stranger(why_strange(name))) };
        let found = groups.entry(letters).or_default().entry(numbers).or_default();
        let slot = match (part, shape.len()) {
            (Part::Weight, 2) if name.contains("embed") => {
                return Err(stranger("looks like an embedding (rename it if it is dense)"));
            }
            (Part::Weight, 2) => &mut found.weight,
            (Part::Bias, 1) => &mut found.bias,
            (Part::Weight, 3..=5) => return Err(stranger("looks like a convolution")),
            (Part::Weight, 1) => return Err(stranger("looks like a normalisation layer")),
            _ => return Err(stranger("is neither a weight (out, in) nor a bias (out)")),
        };
        if slot.replace(index).is_some() {
            return Err(stranger("is the second such tensor for its layer"));
        }
    }
    let groups = groups.into_values().map(|group| {
        let layers = group.into_values().map(|Found { weight, bias }| match (weight, bias) {
            (Some(weight), bias) => Ok(Layer { weight, bias }),
            (None, Some(bias)) => Err(refused(format!(
                "bias `{}` belongs to a layer that has no weight",
                shown(tensors[bias].0)
            ))),
            (None, None) => unreachable!("a layer is entered with a tensor"),
        });
        layers.collect::<Result<Vec<_>, _>>()
    });
    let mut groups: Vec<Vec<Layer>> = groups.collect::<Result<_, _>>()?;
    if groups.iter().map(Vec::len).sum::<usize>() > MAX_LAYERS {
        return Err(refused(format!("it has more than {MAX_LAYERS} layers")));
    }
    Ok(if groups.len() > 1 {
        Chain { layers: merge(&groups, tensors)?, ordered_by_widths: true }
    } else {
        Chain { layers: groups.pop().unwrap_or_default(), ordered_by_widths: false }
    })
}

/// Whether a tensor of that name is a layer's weight or bias.
pub(super) fn is_part(name: &str) -> bool {
    place(name).is_some()
}

/// Whether a tensor of that name shows that weights are kept where it is, of whatever kind of layer.
pub(super) fn tells_of_weights(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && (name.contains("weight") || is_part(name))
}

enum Part {
    Weight,
    Bias,
}

/// The layer a name belongs to, as (letters with `#` for each number, numbers), and what it is there.
fn place(name: &str) -> Option<((String, Vec<u64>), Part)> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let (prefix, last) = name.rsplit_once('.').unwrap_or(("", name));
    match last {
        "weight" => return Some((split_numbers(prefix), Part::Weight)),
        "bias" => return Some((split_numbers(prefix), Part::Bias)),
        "b" if prefix.is_empty() => return Some((("W#".into(), vec![0]), Part::Bias)),
        _ => {}
    }
    let part = match name.get(..1)? {
        "W" => Part::Weight,
        "b" => Part::Bias,
        _ => return None,
    };
    let digits = &name[1..];
    (!digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
        .then(|| (("W#".into(), split_numbers(digits).1), part))
}

fn split_numbers(prefix: &str) -> (String, Vec<u64>) {
    let (mut letters, mut numbers) = (String::new(), Vec::new());
    for piece in prefix.chars().collect::<Vec<_>>().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
    {
        if piece[0].is_ascii_digit() {
            letters.push('#');
            // Numbers beyond u64 collide, and what collides is refused.
            numbers.push(piece.iter().collect::<String>().parse().unwrap_or(u64::MAX));
        } else {
            letters.extend(piece);
        }
    }
    (letters, numbers)
}

/// What a tensor that is no weight and no bias looks like.
fn why_strange(name: &str) -> &'static str {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "running_mean" | "running_var" | "num_batches_tracked" => "looks like a normalisation layer",
        "weight_g" | "weight_v" | "original0" | "original1" | "weight_orig" | "weight_mask" => {
            "is a weight in parts (normalised or pruned); remove the parametrisation before saving"
        }
        _ if last.starts_with("weight_ih") || last.starts_with("weight_hh") || last.starts_with("bias_") => {
            "looks like a recurrent layer"
        }
        _ if last.contains("proj") => "looks like attention",
        _ => "is neither a weight (out, in) nor a bias (out)",
    }
}

/// The one order of all layers that keeps the order inside each group and lets widths chain.
fn merge(groups: &[Vec<Layer>], tensors: &[(&str, &[usize])]) -> Result<Vec<Layer>, MlpError> {
    let total = groups.iter().map(Vec::len).sum::<usize>();
    let names = || {
        let all = groups.iter().flatten().take(MAX_NAMED).map(|layer| {
            let (name, shape) = tensors[layer.weight];
            format!("`{}` {:?}", shown(name), shape)
        });
        all.collect::<Vec<_>>().join(", ") + if total > MAX_NAMED { ", .." } else { "" }
    };
    let advice = "name them by number (layers.0, layers.1, ..) when saving";
    let width = |layer: &Layer, axis: usize| tensors[layer.weight].1[axis];
    let mut taken = vec![0; groups.len()];
    let mut path: Vec<usize> = Vec::new();
    let mut order: Vec<Layer> = Vec::new();
    let mut answer: Option<Vec<Layer>> = None;
    let mut next = 0;
    // Depth first with the stack in hand: `path` says which group each layer of `order` came from.
    for _ in 0..MAX_STEPS {
        let fits = |&group: &usize| {
            groups[group]
                .get(taken[group])
                .is_some_and(|layer| order.last().is_none_or(|last| width(last, 0) == width(layer, 1)))
        };
        if let Some(group) = (next..groups.len()).find(fits) {
            order.push(groups[group][taken[group]]);
            path.push(group);
            taken[group] += 1;
            next = 0;
            if order.len() == total && answer.replace(order.clone()).is_some() {
                return Err(refused(format!(
                    "the widths of {} chain in more than one order; {advice}",
                    names()
                )));
            }
        } else if let Some(group) = path.pop() {
            order.pop();
            taken[group] -= 1;
            next = group + 1;
        } else {
            return answer
                .ok_or_else(|| refused(format!("the widths of {} do not chain in any order", names())));
        }
    }
    Err(refused(format!("the order of {} is hard to tell from widths; {advice}", names())))
}

fn refused(problem: String) -> MlpError {
    MlpError::NotANetwork(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights in the order found, by name.
    fn order(tensors: &[(&'static str, &[usize])]) -> Result<Vec<&'static str>, String> {
        let chain = arrange(tensors).map_err(|e| e.to_string())?;
        Ok(chain.layers.iter().map(|layer| tensors[layer.weight].0).collect())
    }

    #[test]
    fn numbers_order_first_and_widths_where_names_do_not() {
        let two = |a, b| order(&[(a, &[5, 5]), (b, &[5, 5])]);
        assert_eq!(two("net.10.weight", "net.9.weight").unwrap(), ["net.9.weight", "net.10.weight"]);
        assert_eq!(two("fc2.weight", "fc1.weight").unwrap(), ["fc1.weight", "fc2.weight"]);
        assert_eq!(two("W1", "W0").unwrap(), ["W0", "W1"]);
        assert!(two("encoder.weight", "decoder.weight").unwrap_err().contains("more than one order"));
        let mixed: [(&str, &[usize]); 4] = [
            ("out.weight", &[1, 8]),
            ("hidden2.weight", &[8, 8]),
            ("hidden1.weight", &[8, 8]),
            ("in.weight", &[8, 3]),
        ];
        assert_eq!(
            order(&mixed).unwrap(),
            ["in.weight", "hidden1.weight", "hidden2.weight", "out.weight"],
            "numbers order the hidden layers, which widths cannot"
        );
        let broken = order(&[("in.weight", &[8, 3]), ("out.weight", &[1, 7])]);
        assert!(broken.unwrap_err().contains("do not chain in any order"));
    }

    #[test]
    fn strangers_are_named_for_what_they_look_like() {
        for (name, shape, word) in [
            ("conv.weight", &[4, 3, 3, 3][..], "convolution"),
            ("conv.weight", &[4, 3, 3], "convolution"),
            ("norm.weight", &[4], "normalisation"),
            ("norm.running_mean", &[4], "normalisation"),
            ("token_embedding.weight", &[100, 4], "embedding"),
            ("rnn.weight_ih_l0", &[4, 4], "recurrent"),
            ("attention.in_proj_weight", &[12, 4], "attention"),
            ("0.weight_g", &[4, 1], "remove the parametrisation"),
            ("0.alpha", &[], "neither"),
            ("0.bias", &[4], "no weight"),
            ("b", &[4], "no weight"),
            ("W", &[4, 4], "neither"),
            ("é", &[4, 4], "neither"),
            ("", &[4, 4], "neither"),
        ] {
            let error = order(&[(name, shape)]).unwrap_err();
            assert!(error.contains(word), "{name}: {error}");
        }
    }

    #[test]
    fn two_tensors_for_one_place_are_refused() {
        for names in [["b", "b0"], ["0.bias", "0.bias"], ["l01.weight", "l1.weight"]] {
            let shape = |name: &str| if name.contains('b') { &[3][..] } else { &[3, 3][..] };
            let tensors = names.map(|name| (name, shape(name)));
            assert!(order(&tensors).unwrap_err().contains("second such tensor"), "{names:?}");
        }
        let huge = ["l99999999999999999999.weight", "l99999999999999999998.weight"];
        assert!(order(&huge.map(|name| (name, &[3, 3][..]))).unwrap_err().contains("second such tensor"));
    }

    #[test]
    fn a_hostile_set_of_names_ends_soon() {
        // Widths that chain almost always but never to an end: 2^64 orders to look at.
        let names: Vec<String> = (0..128).map(|i| format!("{}.weight", "x".repeat(i + 1))).collect();
        let mut tensors: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[2, 2][..])).collect();
        tensors.push(("end.weight", &[9, 8]));
        assert!(arrange(&tensors).unwrap_err().to_string().contains("hard to tell"));
        let names: Vec<String> = (0..300).map(|i| format!("{i}.weight")).collect();
        let many: Vec<(&str, &[usize])> = names.iter().map(|n| (n.as_str(), &[2, 2][..])).collect();
        assert!(arrange(&many).unwrap_err().to_string().contains("more than 256"));
    }
}
