//! Which tensors make which layer, by names and shapes alone.
//!
//! A layer is `PREFIX.weight`, (out, in), with an optional `PREFIX.bias`, (out); or `W3` with `b3`, where a bare `b` is
//! the bias of `W0`; `names` has them all. Layers whose names differ only in their numbers are ordered by these, so
//! `layers.0 .. layers.10` and `net.0, net.2, net.4` both come out as meant. Where names differ otherwise
//! (`fc1, fc2, out`), widths must chain in exactly one order, else the file is refused. Weights are (in, out) when only
//! so widths chain and biases fit. Several sets of layers that are networks in themselves are never joined unasked.

use super::naming::shown;
use crate::MlpError;

mod names;
mod order;
mod pieces;
mod sorting;
#[cfg(test)]
mod tests;
mod unit;

pub(super) use names::{NAMES_THAT_ARE_READ, is_part, tells_of_weights};
pub use unit::ChainSummary;
pub(super) use unit::{Layer, Layout, Named};

use order::NoOrder;
use pieces::{Piece, pieces};
use sorting::{Sorted, Stranger, most_telling, sort};
use unit::{Unit, is_inside};

/// Most layers of a network.
pub(super) const MAX_LAYERS: usize = 256;
/// Most layers or chains named in a message.
const MAX_NAMED: usize = 8;
/// Most chains joined by `+`.
const MAX_JOINED: usize = 16;

/// The layers of a chain, first layer first, and what was recognised.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) layers: Vec<Layer>,
    /// How order and layout were found, as sentences.
    pub(super) notes: Vec<String>,
    /// Tensors that belong to no layer of it.
    pub(super) apart: Vec<usize>,
    pub(super) name: String,
    pub(super) chains: Vec<ChainSummary>,
}

/// Finds the chain that is meant: the one there is, or the one of that name.
///
/// # Errors
/// [`MlpError::NotANetwork`] that names the first tensor that does not belong to a chain of dense layers, or the
/// chains to choose from.
pub(super) fn arrange(tensors: &[Named<'_>], choice: Option<&str>) -> Result<Chain, MlpError> {
    arranged(tensors, choice).map_err(MlpError::NotANetwork)
}

fn arranged(tensors: &[Named<'_>], choice: Option<&str>) -> Result<Chain, String> {
    if let Some(adapter) = tensors.iter().find(|tensor| names::is_adapter(tensor.name)) {
        return Err(format!(
            "tensor `{}` is part of an adapter: merge it into its base model first \
             (model.merge_and_unload() in PEFT) and save that",
            shown(adapter.name)
        ));
    }
    let Sorted { units, strangers, mut apart } = sort(tensors)?;
    if units.len() > MAX_LAYERS {
        return Err(format!("it has more than {MAX_LAYERS} layers"));
    }
    let pieces = pieces(&units, &strangers);
    if units.is_empty() && !(tensors.is_empty() && choice.is_none()) {
        return Err(match most_telling(&strangers) {
            Some(stranger) => stranger.complaint(tensors),
            None => {
                let stranger = Stranger::nameless(apart.first().copied().unwrap_or_default());
                format!("{}; {NAMES_THAT_ARE_READ}", stranger.complaint(tensors))
            }
        });
    }
    let (ordered, name) = match choice {
        Some(choice) => chosen(choice, &units, &strangers, &pieces, tensors)?,
        None => {
            if let Some(stranger) = most_telling(&strangers) {
                return Err(stranger.complaint(tensors) + &to_choose_from(&pieces));
            }
            let all: Vec<&Unit> = units.iter().collect();
            let ordered = whole(&all, tensors).map_err(|e| e + &joined_or_one_of(&pieces))?;
            let name = name_of(&ordered, &pieces);
            (ordered, name)
        }
    };
    let mut notes = how_found(&ordered, tensors);
    let used: Vec<Layer> =
        ordered.iter().flat_map(|part| part.units.iter().map(|unit| unit.layer(part.layout))).collect();
    if choice.is_some() && (used.len() < units.len() || !strangers.is_empty()) {
        notes.push(format!(
            "of all that is in the file the chain `{}` is read; where other layers come before it, its inputs are the \
             features that these give",
            shown(&name)
        ));
        let is_used =
            |index: usize| used.iter().any(|layer| layer.weight == index || layer.bias == Some(index));
        apart = (0..tensors.len()).filter(|&index| !is_used(index)).collect();
    }
    let chains = pieces.iter().map(Piece::summary).collect();
    Ok(Chain { layers: used, notes, apart, name, chains })
}

/// How order and layout were found, as sentences.
fn how_found(ordered: &[Ordered<'_>], tensors: &[Named<'_>]) -> Vec<String> {
    let mut notes = vec![if ordered.iter().any(|part| part.by_widths) {
        "layers are applied in the only order in which their widths chain".to_owned()
    } else {
        "layers are applied in the order of the numbers in their names".to_owned()
    }];
    let guessed = |part: &Ordered<'_>| part.units.iter().any(|unit| unit.known.is_none());
    if ordered.iter().any(|part| part.layout == Layout::InOut && guessed(part)) {
        notes.push("weights are stored as (in, out): only so do widths and biases fit".to_owned());
    }
    // PyTorch's own name says the layout.
    let square =
        |unit: &Unit| unit.shape[0] == unit.shape[1] && !tensors[unit.weight].name.ends_with("weight");
    if ordered.iter().any(|part| guessed(part) && part.units.iter().all(|unit| square(unit))) {
        notes.push(
            "weights are square and would fit as (in, out), too: they are taken as (out, in)".to_owned(),
        );
    }
    notes
}

/// Layers in order.
struct Ordered<'u> {
    units: Vec<&'u Unit>,
    layout: Layout,
    by_widths: bool,
}

/// The names of the pieces in order, joined by `+` as a choice would be.
fn name_of(ordered: &[Ordered<'_>], pieces: &[Piece<'_>]) -> String {
    let piece_of =
        |unit: &Unit| pieces.iter().find(|piece| piece.units.iter().any(|u| u.weight == unit.weight));
    let names =
        ordered.iter().flat_map(|part| &part.units).filter_map(|unit| piece_of(unit)).map(|p| &*p.name);
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.join("+")
}

/// The chains of that name, parts of it joined by `+`.
fn chosen<'u>(
    choice: &str,
    units: &'u [Unit],
    strangers: &[Stranger],
    pieces: &[Piece<'u>],
    tensors: &[Named<'_>],
) -> Result<(Vec<Ordered<'u>>, String), String> {
    let mut ordered: Vec<Ordered<'u>> = Vec::new();
    for part in choice.split('+').map(str::trim).take(MAX_JOINED) {
        let members: Vec<&Unit> = match pieces.iter().find(|piece| piece.name == part) {
            Some(piece) => piece.units.clone(),
            None => units.iter().filter(|unit| is_inside(&unit.module, part)).collect(),
        };
        if members.is_empty() {
            return Err(format!(
                "it has no chain of dense layers `{}`{}",
                shown(part),
                to_choose_from(pieces)
            ));
        }
        if let Some(stranger) = strangers.iter().find(|stranger| stranger.is_amid(&members, part)) {
            return Err(stranger.complaint(tensors) + &to_choose_from(pieces));
        }
        let next = whole(&members, tensors)?.pop().expect("one part for one set of layers");
        if let Some(last) = ordered.last() {
            let (gives, takes) = (
                last.units.last().map_or(0, |unit| unit.outputs(last.layout)),
                next.units.first().map_or(0, |unit| unit.inputs(next.layout)),
            );
            if gives != takes {
                return Err(format!(
                    "widths do not chain in `{}`: `{}` takes {takes} values, what stands before it gives {gives}",
                    shown(choice),
                    shown(part)
                ));
            }
        }
        ordered.push(next);
    }
    Ok((ordered, choice.to_owned()))
}

/// All of these layers as one chain, (out, in) if that fits, else (in, out).
fn whole<'u>(units: &[&'u Unit], tensors: &[Named<'_>]) -> Result<Vec<Ordered<'u>>, String> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let first = match attempt(units, Layout::OutIn, tensors) {
        Ok(ordered) => return Ok(vec![ordered]),
        Err(problem) => problem,
    };
    match attempt(units, Layout::InOut, tensors) {
        Ok(ordered) => Ok(vec![ordered]),
        // The first layout is the usual one; what is wrong with it is told, unless the biases speak for the other.
        Err(second) if first.bias && !second.bias => Err(second.text),
        Err(_) => Err(first.text),
    }
}

/// Why layers are no chain, and whether already a bias does not fit.
struct NoChain {
    text: String,
    bias: bool,
}

fn attempt<'u>(units: &[&'u Unit], layout: Layout, tensors: &[Named<'_>]) -> Result<Ordered<'u>, NoChain> {
    let problem = |text| NoChain { text, bias: false };
    if let Some(unit) = units.iter().find(|unit| !unit.bias_fits(layout)) {
        let text = format!(
            "`{}` has {} outputs but a bias of {}",
            shown(tensors[unit.weight].name),
            unit.outputs(layout),
            unit.bias_len.unwrap_or_default()
        );
        return Err(NoChain { text, bias: true });
    }
    let groups: Vec<&[&Unit]> = units.chunk_by(|a, b| a.group == b.group).collect();
    if groups.len() == 1 {
        if let Some(pair) = units.windows(2).find(|pair| pair[0].outputs(layout) != pair[1].inputs(layout)) {
            return Err(problem(format!(
                "widths do not chain: `{}` gives {} values, `{}` takes {}",
                shown(tensors[pair[0].weight].name),
                pair[0].outputs(layout),
                shown(tensors[pair[1].weight].name),
                pair[1].inputs(layout)
            )));
        }
        return Ok(Ordered { units: units.to_vec(), layout, by_widths: false });
    }
    let names = || {
        let all = units.iter().take(MAX_NAMED).map(|unit| {
            let tensor = &tensors[unit.weight];
            format!("`{}` {:?}", shown(tensor.name), tensor.shape)
        });
        all.collect::<Vec<_>>().join(", ") + if units.len() > MAX_NAMED { ", .." } else { "" }
    };
    if groups.iter().filter(|group| group.len() > 1).count() > 1 {
        return Err(problem("it holds several chains of dense layers".into()));
    }
    let advice = "name them by number (layers.0, layers.1, ..) when saving";
    let units = order::merge(&groups, layout).map_err(|why| {
        problem(match why {
            NoOrder::Several => format!("the widths of {} chain in more than one order; {advice}", names()),
            NoOrder::None => format!("the widths of {} do not chain in any order", names()),
            NoOrder::HardToTell => {
                format!("the order of {} is hard to tell from widths; {advice}", names())
            }
        })
    })?;
    Ok(Ordered { units, layout, by_widths: true })
}

/// The chains of a file, as the end of a sentence.
pub(super) fn listed<'c>(chains: impl IntoIterator<Item = &'c ChainSummary>) -> String {
    let all: Vec<String> = chains.into_iter().map(ChainSummary::to_string).collect();
    let shown = all.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMED { format!("{shown} and {} more", all.len() - MAX_NAMED) } else { shown }
}

fn to_choose_from(pieces: &[Piece<'_>]) -> String {
    let summaries: Vec<ChainSummary> = pieces.iter().map(Piece::summary).collect();
    match summaries.first() {
        Some(first) => format!(
            "; chains of dense layers in it: {}; choose one, as in --chain {}",
            listed(&summaries),
            shown(&first.name)
        ),
        None => String::new(),
    }
}

/// As [`to_choose_from`], with the ways in which two chains fit behind each other.
fn joined_or_one_of(pieces: &[Piece<'_>]) -> String {
    if pieces.len() < 2 {
        return String::new();
    }
    let joined =
        pieces.iter().take(MAX_NAMED).flat_map(|a| pieces.iter().take(MAX_NAMED).map(move |b| (a, b)));
    let joined = joined.filter(|(a, b)| a.name != b.name && a.outputs() == b.inputs());
    let joined: Vec<String> = joined.map(|(a, b)| format!("{}+{}", a.name, b.name)).take(2).collect();
    let both = match joined.first() {
        Some(_) => format!(" or, one after the other, {}", shown(&joined.join(" or "))),
        None => String::new(),
    };
    to_choose_from(pieces) + &both
}
