//! The chains a file holds: layers that follow each other by number and width, cut where they do not.

use super::sorting::Stranger;
use super::unit::{ChainSummary, Layout, Unit};

/// Layers that follow each other.
pub(super) struct Piece<'u> {
    pub(super) name: String,
    pub(super) units: Vec<&'u Unit>,
    layout: Layout,
}

impl Piece<'_> {
    pub(super) fn inputs(&self) -> usize {
        self.units.first().map_or(0, |unit| unit.inputs(self.layout))
    }

    pub(super) fn outputs(&self) -> usize {
        self.units.last().map_or(0, |unit| unit.outputs(self.layout))
    }

    pub(super) fn summary(&self) -> ChainSummary {
        let outputs = self.units.iter().map(|unit| unit.outputs(self.layout));
        ChainSummary {
            name: self.name.clone(),
            widths: std::iter::once(self.inputs()).chain(outputs).collect(),
        }
    }
}

/// Cuts groups, in order, where widths do not chain or a stranger stands between.
pub(super) fn pieces<'u>(units: &'u [Unit], strangers: &[Stranger]) -> Vec<Piece<'u>> {
    let cut = |layout| {
        let groups = units.chunk_by(|a, b| a.group == b.group);
        let cuts = groups.flat_map(|group| {
            group.chunk_by(move |a, b| {
                a.outputs(layout) == b.inputs(layout) && !strangers.iter().any(|s| s.is_between(a, b))
            })
        });
        cuts.collect::<Vec<&'u [Unit]>>()
    };
    let misfits = |layout| units.iter().filter(|unit| !unit.bias_fits(layout)).count();
    let (out_in, in_out) = (cut(Layout::OutIn), cut(Layout::InOut));
    let (layout, cuts) = if (misfits(Layout::InOut), in_out.len()) < (misfits(Layout::OutIn), out_in.len()) {
        (Layout::InOut, in_out)
    } else {
        (Layout::OutIn, out_in)
    };
    let named =
        cuts.iter().map(|piece| Piece { name: name(piece, units), units: piece.iter().collect(), layout });
    named.collect()
}

/// What no other layer's module begins with: `encoder` of `encoder.0` and `encoder.2`, `fc` of `fc1` and `fc2`; else
/// the first layer's module.
fn name(piece: &[Unit], units: &[Unit]) -> String {
    let first = &piece[0].module;
    let own = |prefix: &str| {
        !prefix.is_empty()
            && units.iter().filter(|unit| unit.module.starts_with(prefix)).count() == piece.len()
    };
    let common = piece[1..].iter().fold(first.as_str(), |common, unit| {
        let same = common.chars().zip(unit.module.chars()).take_while(|(a, b)| a == b);
        &common[..same.map(|(c, _)| c.len_utf8()).sum()]
    });
    if piece.len() == 1 {
        return first.clone();
    }
    let whole = common.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(['.', '_']);
    // `nets.1` and not `nets` when there is `nets.0` beside it.
    [whole, common.trim_end_matches(['.', '_'])]
        .into_iter()
        .find(|prefix| own(prefix))
        .map_or_else(|| first.clone(), str::to_owned)
}
