//! Tensors sorted into layers, strangers that no chain of dense layers may hold, and what belongs to no layer.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Certainty, NEITHER, Part, Place};
use super::unit::{Layout, Named, Unit, is_inside};
use crate::import::naming::shown;

pub(super) struct Sorted {
    /// By group, then by numbers.
    pub(super) units: Vec<Unit>,
    /// In the order of the file.
    pub(super) strangers: Vec<Stranger>,
    pub(super) apart: Vec<usize>,
}

/// What is said of a bias whose weight is not there.
const ALONE: &str = "is the bias of a layer that has no weight";

/// The stranger that tells most: the first one, but a bias without its weight only where nothing else is strange.
pub(super) fn most_telling(strangers: &[Stranger]) -> Option<&Stranger> {
    strangers.iter().find(|stranger| stranger.why != ALONE).or_else(|| strangers.first())
}

/// A tensor that shows a layer of another kind.
pub(super) struct Stranger {
    tensor: usize,
    why: &'static str,
    module: String,
    group: String,
    numbers: Vec<u64>,
}

impl Stranger {
    fn new(tensor: usize, name: &str, why: &'static str) -> Self {
        let module = module(name).to_owned();
        let (group, numbers) = names::split_numbers(&module);
        Self { tensor, why, module, group, numbers }
    }

    /// A tensor of which nothing is known.
    pub(super) fn nameless(tensor: usize) -> Self {
        Self::new(tensor, "", NEITHER)
    }

    /// What is wrong, as a sentence.
    pub(super) fn complaint(&self, tensors: &[Named<'_>]) -> String {
        let (name, shape) = tensors.get(self.tensor).map_or(("", &[][..]), |t| (t.name, t.shape));
        complaint(name, shape, self.why)
    }

    /// Whether it stands between two layers of one group.
    pub(super) fn is_between(&self, a: &Unit, b: &Unit) -> bool {
        self.group == a.group && a.numbers < self.numbers && self.numbers < b.numbers
    }

    /// Whether a chain of these layers, chosen by that name, would leave it out from its middle.
    pub(super) fn is_amid(&self, units: &[&Unit], name: &str) -> bool {
        let between = units.windows(2).any(|pair| self.is_between(pair[0], pair[1]));
        let is_layer = units.iter().any(|unit| unit.module == self.module);
        between || is_layer || (!self.module.is_empty() && units.len() > 1 && is_inside(&self.module, name))
    }
}

fn complaint(name: &str, shape: &[usize], why: &str) -> String {
    format!(
        "tensor `{}` of shape {} {why}; only chains of dense layers are read",
        shown(name),
        shown(&format!("{shape:?}"))
    )
}

/// The module that a name says a tensor is in.
fn module(name: &str) -> &str {
    name.rsplit_once(['.', '/']).map_or("", |(module, _)| module)
}

#[derive(Default)]
struct Found {
    weight: Option<(usize, Part)>,
    bias: Option<(usize, Certainty)>,
    module: String,
}

type Groups = BTreeMap<String, BTreeMap<Vec<u64>, Found>>;

/// Sorts tensors by name and shape.
///
/// # Errors
/// Two tensors for one place.
pub(super) fn sort(tensors: &[Named<'_>]) -> Result<Sorted, String> {
    let mut groups = Groups::new();
    let (mut strangers, mut apart, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (index, tensor) in tensors.iter().enumerate() {
        match role(tensor) {
            Role::Part(place) => enter(&mut groups, place, index, tensor)?,
            Role::Stranger(why) => strangers.push(Stranger::new(index, tensor.name, why)),
            Role::Apart => apart.push(index),
            Role::Unknown => unknown.push(index),
        }
    }
    if groups.is_empty() {
        numbered(tensors, &mut groups, &mut unknown);
    }
    number_the_first(&mut groups);
    let layers: BTreeSet<String> =
        groups.values().flat_map(BTreeMap::values).map(|f| f.module.clone()).collect();
    for index in unknown {
        let Named { name, shape, .. } = tensors[index];
        // What lies in a layer changes it, and a matrix is used for something.
        if axes(shape) > 1 || (!module(name).is_empty() && layers.contains(module(name))) {
            strangers.push(Stranger::new(index, name, NEITHER));
        } else {
            apart.push(index);
        }
    }
    let mut units = Vec::new();
    for (group, members) in groups {
        for (numbers, Found { weight, bias, module }) in members {
            let Some((weight, part)) = weight else {
                match bias {
                    Some((bias, Certainty::Certain)) => {
                        strangers.push(Stranger::new(bias, tensors[bias].name, ALONE));
                    }
                    Some((bias, Certainty::ByShape)) => apart.push(bias),
                    None => unreachable!("a layer is entered with a tensor"),
                }
                continue;
            };
            let &[rows, columns] = tensors[weight].shape else { unreachable!("weights have two axes") };
            units.push(Unit {
                group: group.clone(),
                numbers,
                module,
                weight,
                bias: bias.map(|(bias, _)| bias),
                shape: [rows, columns],
                bias_len: bias.map(|(bias, _)| tensors[bias].shape.iter().product()),
                known: (part == Part::Kernel).then_some(Layout::InOut),
            });
        }
    }
    strangers.sort_by_key(|stranger| stranger.tensor);
    apart.sort_unstable();
    Ok(Sorted { units, strangers, apart })
}

enum Role {
    Part(Place),
    Stranger(&'static str),
    /// Belongs to no layer, whatever its shape.
    Apart,
    /// Belongs to no layer if its shape and module agree.
    Unknown,
}

/// Axes of more than one number: a bias may be a row.
fn axes(shape: &[usize]) -> usize {
    shape.iter().filter(|&&size| size > 1).count()
}

fn role(tensor: &Named<'_>) -> Role {
    let Some(place) = names::place(tensor.name) else {
        return match names::why_strange(tensor.name) {
            _ if tensor.counts => Role::Apart,
            NEITHER => Role::Unknown,
            why => Role::Stranger(why),
        };
    };
    let certain = place.certain == Certainty::Certain;
    match (place.part, tensor.shape.len()) {
        _ if tensor.counts && !certain => Role::Apart,
        (Part::Weight | Part::Kernel, 2) if tensor.name.contains("embed") => {
            Role::Stranger("looks like an embedding (rename it if it is dense)")
        }
        (Part::Weight | Part::Kernel, 2) => Role::Part(place),
        (Part::Bias, 0..=2) if axes(tensor.shape) <= 1 => Role::Part(place),
        (Part::Weight | Part::Kernel, 3..=5) => Role::Stranger("looks like a convolution"),
        (Part::Weight | Part::Kernel, 0 | 1) if !certain => Role::Unknown,
        (Part::Weight | Part::Kernel, 1) if tensor.shape == [1] => {
            Role::Stranger("looks like the slope of a PReLU, or a normalisation layer")
        }
        (Part::Weight | Part::Kernel, 1) if place.group.ends_with("W#") => Role::Stranger(
            "is a row, and weights are matrices: save it as a matrix, of one row for one output",
        ),
        (Part::Weight | Part::Kernel, 1) => Role::Stranger("looks like a normalisation layer"),
        _ => Role::Stranger(NEITHER),
    }
}

fn enter(groups: &mut Groups, place: Place, index: usize, tensor: &Named<'_>) -> Result<(), String> {
    let found = groups.entry(place.group).or_default().entry(place.numbers).or_default();
    let second = match place.part {
        Part::Bias => found.bias.replace((index, place.certain)).is_some(),
        part => found.weight.replace((index, part)).is_some(),
    };
    if second {
        return Err(complaint(tensor.name, tensor.shape, "is the second such tensor for its layer"));
    }
    found.module = place.module;
    Ok(())
}

/// Arrays that `numpy.savez` numbered: matrices are weights and rows biases, in this order.
fn numbered(tensors: &[Named<'_>], groups: &mut Groups, unknown: &mut Vec<usize>) {
    let numbers: Option<Vec<u64>> =
        unknown.iter().map(|&index| names::numbered_array(tensors[index].name)).collect();
    let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else { return };
    let mut order: Vec<(u64, usize)> = numbers.into_iter().zip(unknown.iter().copied()).collect();
    order.sort_unstable();
    let (weights, biases): (Vec<_>, Vec<_>) = order
        .iter()
        .map(|&(_, index)| index)
        .partition(|&index| axes(tensors[index].shape) == 2 || tensors[index].shape.len() == 2);
    let fit = weights.iter().all(|&index| tensors[index].shape.len() == 2)
        && biases.iter().all(|&index| tensors[index].shape.len() == 1)
        && (biases.is_empty() || biases.len() == weights.len());
    if !fit {
        return;
    }
    let members = groups.entry("arr_#".into()).or_default();
    for (position, &weight) in weights.iter().enumerate() {
        members.insert(
            vec![position as u64],
            Found {
                weight: Some((weight, Part::Weight)),
                bias: biases.get(position).map(|&bias| (bias, Certainty::Certain)),
                module: tensors[weight].name.to_owned(),
            },
        );
    }
    unknown.clear();
}

/// Keras counts `dense, dense_1, dense_2`: the first has no number.
fn number_the_first(groups: &mut Groups) {
    let first: Vec<String> = groups
        .iter()
        .filter(|(name, members)| members.len() == 1 && groups.contains_key(&format!("{name}_#")))
        .map(|(name, _)| name.clone())
        .collect();
    for name in first {
        let (mut numbers, found) =
            groups.get_mut(&name).and_then(BTreeMap::pop_first).expect("it has one member");
        numbers.push(0);
        let others = groups.get_mut(&format!("{name}_#")).expect("seen above");
        match others.contains_key(&numbers) {
            true => {
                numbers.pop();
                groups.get_mut(&name).expect("seen above").insert(numbers, found);
            }
            false => {
                others.insert(numbers, found);
                groups.remove(&name);
            }
        }
    }
}
