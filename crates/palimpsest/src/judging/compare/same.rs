//! Which inputs of two lists are the same, with chance beside it.

use anyhow::Result;
use ndarray::{ArrayView2, Axis};
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::ncc::ncc_matrix;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::quantile::quantile;

/// NCC, without its sign, above which two reconstructions may be the same input: two that each have 0.85 with it have this together.
const LEAST_NCC: f64 = 0.7;
/// Inputs that may resemble another one of their own list as much as the bar asks, as a share.
const CHANCE: f64 = 0.05;

/// An input of both lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Same {
    /// Its place before, from 0.
    pub(super) before: usize,
    /// Its place after, from 0.
    pub(super) after: usize,
    /// NCC of the two; below 0 where one is the negative of the other.
    pub(super) ncc: f64,
}

/// How alike two inputs must be to be the same one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bar {
    /// NCC, without its sign.
    pub(super) ncc: f64,
    /// Inputs that resemble another one of their own list more than that.
    pub(super) alike: usize,
    /// Of so many that were compared: those the attack is sure of.
    pub(super) of: usize,
}

impl Bar {
    /// From inputs that are known to be different: the lists of those that an attack is sure of, each (k, d).
    pub(super) fn of(
        lists: &[ArrayView2<'_, f32>],
        shape: ImageShape,
        parallelism: Parallelism,
    ) -> Result<Self> {
        let mut nearest = Vec::new();
        for list in lists.iter().filter(|list| list.nrows() > 1) {
            let ncc = ncc_matrix(*list, *list, shape, parallelism)?;
            nearest.extend(ncc.axis_iter(Axis(0)).enumerate().map(|(i, row)| {
                let others = row.iter().enumerate().filter(|&(j, _)| j != i);
                others.map(|(_, ncc)| f64::from(ncc.abs())).fold(0.0, f64::max)
            }));
        }
        let usual = if nearest.is_empty() { 0.0 } else { quantile(&nearest, 1.0 - CHANCE) };
        let ncc = usual.max(LEAST_NCC);
        Ok(Self { ncc, alike: nearest.iter().filter(|&&alike| alike > ncc).count(), of: nearest.len() })
    }
}

/// The inputs of both lists, `before` (k, d) and `after` (l, d), in the order of the first: the most alike are paired first, and no
/// input twice.
pub(super) fn same(
    before: ArrayView2<'_, f32>,
    after: ArrayView2<'_, f32>,
    bar: f64,
    shape: ImageShape,
    parallelism: Parallelism,
) -> Result<Vec<Same>> {
    let ncc = ncc_matrix(before, after, shape, parallelism)?;
    let mut pairs: Vec<Same> = ncc
        .indexed_iter()
        .map(|((before, after), &ncc)| Same { before, after, ncc: f64::from(ncc) })
        .filter(|pair| pair.ncc.abs() > bar)
        .collect();
    pairs.sort_by(|a, b| {
        b.ncc.abs().total_cmp(&a.ncc.abs()).then((a.before, a.after).cmp(&(b.before, b.after)))
    });
    let (mut free_before, mut free_after) = (vec![true; before.nrows()], vec![true; after.nrows()]);
    pairs.retain(|pair| {
        let free = free_before[pair.before] && free_after[pair.after];
        if free {
            (free_before[pair.before], free_after[pair.after]) = (false, false);
        }
        free
    });
    pairs.sort_by_key(|pair| pair.before);
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn shape(d: usize) -> ImageShape {
        ImageShape::vector(d)
    }

    #[test]
    fn the_most_alike_are_paired_first_and_negatives_are_the_same() {
        let before = array![[0.0_f32, 1.0, 2.0, 3.0], [1.0, -1.0, 1.0, -1.0], [5.0, 0.0, 0.0, 0.0]];
        let after = array![[0.0_f32, 1.0, 2.0, 3.5], [0.0, 1.0, 2.0, 3.0], [-1.0, 1.0, -1.0, 1.0]];
        let pairs = same(before.view(), after.view(), 0.8, shape(4), Parallelism::Sequential).unwrap();
        let places: Vec<_> = pairs.iter().map(|pair| (pair.before, pair.after)).collect();
        assert_eq!(places, [(0, 1), (1, 2)], "the ramp takes its copy, and the spike has none");
        assert!((pairs[0].ncc - 1.0).abs() < 1e-6 && (pairs[1].ncc + 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_bar_rises_where_different_inputs_are_alike() {
        let alike = Array2::from_shape_fn((40, 8), |(i, j)| if j == i % 8 { 0.3 } else { 0.0 } + j as f32);
        let different = Array2::from_shape_fn((8, 8), |(i, j)| f32::from(u8::from(i == j)));
        let bar = |lists: &[ArrayView2<'_, f32>]| Bar::of(lists, shape(8), Parallelism::Sequential).unwrap();
        assert_eq!(bar(&[different.view()]), Bar { ncc: LEAST_NCC, alike: 0, of: 8 });
        let high = bar(&[alike.view(), different.view()]);
        assert!(high.ncc > 0.95 && high.of == 48, "{high:?}");
        assert_eq!(bar(&[different.view().split_at(Axis(0), 1).0]), Bar { ncc: LEAST_NCC, alike: 0, of: 0 });
    }
}
