//! The entries of the list, with what speaks for each.

use ndarray::{Array2, Axis};

use crate::evidence::witnesses::Witnesses;
use crate::pipeline::entries::Entries;

/// Entries that are compared with all others, for each input that there may be.
const LOOKED_AT: f64 = 1.2;

/// The entries of the list, surest first.
pub(super) struct List {
    /// Index of each among all candidates, (k).
    pub(super) ranking: Vec<usize>,
    /// Best estimate of each, in the coordinates of the attack, (k, r).
    pub(super) estimates: Array2<f32>,
    /// Who found it, where that is known, (k).
    pub(super) witnesses: Vec<Option<Witnesses>>,
}

impl List {
    /// The list with the confidence that its witnesses give each entry, in that order.
    pub(super) fn surest_first(self, entries: &mut Entries) -> Self {
        for (&i, of) in self.ranking.iter().zip(&self.witnesses) {
            if let Some(of) = of {
                entries.confidence[i] = of.probability();
            }
        }
        let mut order: Vec<usize> = (0..self.ranking.len()).collect();
        order.sort_by(|&a, &b| {
            entries.confidence[self.ranking[b]].total_cmp(&entries.confidence[self.ranking[a]])
        });
        Self {
            ranking: order.iter().map(|&i| self.ranking[i]).collect(),
            estimates: self.estimates.select(Axis(0), &order),
            witnesses: order.iter().map(|&i| self.witnesses[i]).collect(),
        }
    }
}

/// Entries of the list that are compared with all others, where there are so many `inputs`.
pub(super) fn looked_at(inputs: usize) -> usize {
    (LOOKED_AT * inputs as f64) as usize
}
