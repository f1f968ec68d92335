//! Which candidate belongs to which image.

use ndarray::{ArrayView1, ArrayView2};
use palimpsest_numerics::reduce;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::image::check_finite;

/// How images and candidates are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Pairing {
    /// Every target takes its best candidate; one candidate may serve many targets.
    Nearest,
    /// Every candidate serves at most one target, with the largest total (the Hungarian assignment).
    OneToOne,
}

/// Pairs of a target and a candidate, one an entry, targets ascending.
#[derive(Clone, Debug, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Matching {
    /// Row of the target.
    pub target: Vec<usize>,
    /// Row of its candidate.
    pub candidate: Vec<usize>,
    /// NCC of the two.
    pub ncc: Vec<f64>,
}

impl Matching {
    /// Number of pairs.
    pub fn count(&self) -> usize {
        self.target.len()
    }

    /// Sum of the NCC of all pairs.
    pub fn total(&self) -> f64 {
        reduce::sum(&self.ncc)
    }
}

/// Pairs targets with candidates by their NCC (n targets, m candidates).
///
/// [`Pairing::Nearest`] gives n pairs, the first of equally good candidates winning; [`Pairing::OneToOne`] gives
/// min(n, m) pairs.
///
/// # Errors
/// [`MetricsError::Empty`](crate::MetricsError::Empty); [`MetricsError::NonFinite`](crate::MetricsError::NonFinite)
/// with the row.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::matching::{Pairing, match_by};
///
/// let ncc = array![[0.9, 0.8], [0.9, 0.1]];
/// assert_eq!(match_by(ncc.view(), Pairing::Nearest)?.candidate, [0, 0]);
/// assert_eq!(match_by(ncc.view(), Pairing::OneToOne)?.candidate, [1, 0]);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
///
/// # Source
/// One to one: Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Transactions on Aerospace and
/// Electronic Systems 52(4), 2016 (shortest augmenting paths with prices), O(min(n, m)^2 max(n, m)).
pub fn match_by(ncc: ArrayView2<'_, f32>, pairing: Pairing) -> Result<Matching> {
    check_finite("NCC matrix", ncc)?;
    let (n, m) = ncc.dim();
    let pairs: Vec<(usize, usize)> = match pairing {
        Pairing::Nearest => ncc.rows().into_iter().map(first_largest).enumerate().collect(),
        Pairing::OneToOne if n <= m => assign(ncc).into_iter().enumerate().collect(),
        Pairing::OneToOne => {
            let targets = assign(ncc.t());
            let mut pairs: Vec<_> = targets.into_iter().enumerate().map(|(j, i)| (i, j)).collect();
            pairs.sort_unstable();
            pairs
        }
    };
    let ncc = pairs.iter().map(|&pair| f64::from(ncc[pair])).collect();
    let (target, candidate) = pairs.into_iter().unzip();
    Ok(Matching { target, candidate, ncc })
}

/// As many pairs (target, candidate) as possible whose NCC exceeds a threshold, no target and no candidate twice; targets
/// ascending.
///
/// [`Pairing::OneToOne`] makes the *total* largest, and may give up a pair above a threshold for it; this makes the
/// *number* largest.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::matching::match_above;
///
/// let ncc = array![[0.95, 0.91], [0.92, 0.2]];
/// assert_eq!(match_above(ncc.view(), 0.9), [(0, 1), (1, 0)]);
/// ```
///
/// # Source
/// Augmenting paths, Berge, "Two theorems in graph theory", PNAS 43(9), 1957; searched breadth first.
pub fn match_above(ncc: ArrayView2<'_, f32>, threshold: f64) -> Vec<(usize, usize)> {
    let (n, m) = ncc.dim();
    let above = |row: ArrayView1<'_, f32>| {
        let pairs = row.iter().enumerate().filter(|&(_, &v)| f64::from(v) > threshold);
        pairs.map(|(j, _)| j).collect::<Vec<usize>>()
    };
    let edges: Vec<Vec<usize>> = ncc.rows().into_iter().map(above).collect();
    let mut target_of: Vec<Option<usize>> = vec![None; m];
    let mut candidate_of: Vec<Option<usize>> = vec![None; n];
    // The target from which a search came to a candidate, and the search that was the last to come there.
    let (mut from, mut reached_by) = (vec![0; m], vec![usize::MAX; m]);
    let mut queue = Vec::with_capacity(n);
    for start in 0..n {
        queue.clear();
        queue.push(start);
        let mut next = 0;
        let mut free = None;
        // Each candidate is reached at most once, so at most m + 1 targets wait.
        'search: while let Some(&target) = queue.get(next) {
            next += 1;
            for &candidate in &edges[target] {
                if std::mem::replace(&mut reached_by[candidate], start) == start {
                    continue;
                }
                from[candidate] = target;
                match target_of[candidate] {
                    Some(taken_by) => queue.push(taken_by),
                    None => {
                        free = Some(candidate);
                        break 'search;
                    }
                }
            }
        }
        // Along the path every target passes its candidate on.
        while let Some(candidate) = free {
            let target = from[candidate];
            target_of[candidate] = Some(target);
            free = candidate_of[target].replace(candidate);
        }
    }
    candidate_of
        .into_iter()
        .enumerate()
        .filter_map(|(target, candidate)| Some((target, candidate?)))
        .collect()
}

fn first_largest(row: ArrayView1<'_, f32>) -> usize {
    let mut best = 0;
    for (j, &v) in row.iter().enumerate() {
        if v > row[best] {
            best = j;
        }
    }
    best
}

/// The column of each row that makes the total largest; there are at least as many columns as rows.
///
/// Rows enter one by one. Each looks for the cheapest alternating path to a free column, the cost of an edge being
/// what it falls short of the prices of its row and column (never negative, up to rounding); the prices then change so
/// that every edge in use costs nothing.
fn assign(value: ArrayView2<'_, f32>) -> Vec<usize> {
    let (n, m) = value.dim();
    let (mut row_price, mut column_price) = (vec![0.0; n], vec![0.0; m]);
    let mut column_of: Vec<Option<usize>> = vec![None; n];
    let mut row_of: Vec<Option<usize>> = vec![None; m];
    let mut distance = vec![0.0; m];
    let mut before = vec![0; m];
    let (mut open, mut reached): (Vec<usize>, Vec<usize>) = (Vec::with_capacity(m), Vec::with_capacity(m));
    for start in 0..n {
        open.clear();
        open.extend(0..m);
        reached.clear();
        distance.fill(f64::INFINITY);
        let (mut row, mut length) = (start, 0.0);
        // At most n rounds: each reaches another column that is taken, or ends at a free one.
        let mut column = loop {
            let values = value.row(row);
            let mut nearest = 0;
            for (at, &j) in open.iter().enumerate() {
                let through = length - f64::from(values[j]) - row_price[row] - column_price[j];
                if through < distance[j] {
                    distance[j] = through;
                    before[j] = row;
                }
                let best = open[nearest];
                // Among equals a free column ends the search.
                if distance[j] < distance[best]
                    || (distance[j] == distance[best] && row_of[j].is_none() && row_of[best].is_some())
                {
                    nearest = at;
                }
            }
            let column = open.swap_remove(nearest);
            length = distance[column];
            match row_of[column] {
                Some(taken_by) => row = taken_by,
                None => break column,
            }
            reached.push(column);
        };
        row_price[start] += length;
        for &j in &reached {
            let gain = length - distance[j];
            row_price[row_of[j].expect("a reached column is taken")] += gain;
            column_price[j] -= gain;
        }
        loop {
            let row = before[column];
            row_of[column] = Some(row);
            match column_of[row].replace(column) {
                Some(next) => column = next,
                None => break,
            }
        }
    }
    column_of.into_iter().map(|column| column.expect("every row was assigned")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;
    use crate::MetricsError;
    use crate::null_model::random_noise;
    use palimpsest_numerics::seed::Seed;

    /// Tries every assignment.
    fn best_total(value: ArrayView2<'_, f32>, row: usize, taken: &mut Vec<usize>) -> f64 {
        if row == value.nrows() {
            return 0.0;
        }
        let mut best = f64::NEG_INFINITY;
        for j in 0..value.ncols() {
            if !taken.contains(&j) {
                taken.push(j);
                best = best.max(f64::from(value[[row, j]]) + best_total(value, row + 1, taken));
                taken.pop();
            }
        }
        best
    }

    /// The largest number of pairs of which no two share a row or a column, by trying every set of them.
    pub(crate) fn most_pairs(allowed: ArrayView2<'_, bool>) -> usize {
        fn best(allowed: ArrayView2<'_, bool>, row: usize, taken: u64) -> usize {
            if row == allowed.nrows() {
                return 0;
            }
            let free = (0..allowed.ncols()).filter(|&j| allowed[[row, j]] && (taken >> j) & 1 == 0);
            let with = free.map(|j| 1 + best(allowed, row + 1, taken | (1 << j))).max();
            with.unwrap_or(0).max(best(allowed, row + 1, taken))
        }
        best(allowed, 0, 0)
    }

    fn assert_one_to_one(matching: &Matching, pairs: usize) {
        let mut used = matching.candidate.clone();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), pairs);
        assert_eq!(matching.count(), pairs);
        assert!(matching.target.windows(2).all(|pair| pair[0] < pair[1]));
    }

    proptest! {
        #[test]
        fn the_total_is_the_best_of_all_assignments(n in 1usize..6, m in 1usize..7, coarse: bool, seed: u64) {
            let mut value = random_noise(n, m, 1.0, &Seed::new(seed));
            if coarse { value.mapv_inplace(f32::round); } // many ties
            let matching = match_by(value.view(), Pairing::OneToOne).unwrap();
            assert_one_to_one(&matching, n.min(m));
            let rows = if n <= m { value.view() } else { value.t() };
            prop_assert!((matching.total() - best_total(rows, 0, &mut Vec::new())).abs() < 1e-6);
        }

        #[test]
        fn no_set_of_pairs_above_a_threshold_is_larger(
            n in 0usize..7, m in 0usize..7, threshold in -1.5..1.5_f64, seed: u64,
        ) {
            let value = random_noise(n, m, 1.0, &Seed::new(seed));
            let pairs = match_above(value.view(), threshold);
            prop_assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let candidates: std::collections::HashSet<usize> = pairs.iter().map(|pair| pair.1).collect();
            prop_assert_eq!(candidates.len(), pairs.len());
            prop_assert!(pairs.iter().all(|&pair| f64::from(value[pair]) > threshold));
            prop_assert_eq!(pairs.len(), most_pairs(value.mapv(|v| f64::from(v) > threshold).view()));
        }

        #[test]
        fn there_are_no_fewer_pairs_above_a_threshold_than_the_largest_total_has(
            n in 1usize..40, m in 1usize..60, threshold in -0.5..1.5_f64, seed: u64,
        ) {
            let value = random_noise(n, m, 1.0, &Seed::new(seed));
            let matching = match_by(value.view(), Pairing::OneToOne).unwrap();
            let of_total = matching.ncc.iter().filter(|&&v| v > threshold).count();
            prop_assert!(match_above(value.view(), threshold).len() >= of_total);
        }

        #[test]
        fn no_exchange_helps_in_larger_ones(n in 20usize..60, m in 20usize..90, seed: u64) {
            let value = random_noise(n, m, 1.0, &Seed::new(seed)).mapv(f64::from);
            let matching = match_by(value.mapv(|v| v as f32).view(), Pairing::OneToOne).unwrap();
            assert_one_to_one(&matching, n.min(m));
            let pairs: Vec<_> = matching.target.iter().copied().zip(matching.candidate.iter().copied()).collect();
            for &(i, j) in &pairs {
                for &(k, l) in &pairs {
                    prop_assert!(value[[i, j]] + value[[k, l]] >= value[[i, l]] + value[[k, j]] - 1e-9);
                }
                let free = (0..m).filter(|l| !matching.candidate.contains(l));
                prop_assert!(free.into_iter().all(|l| value[[i, j]] >= value[[i, l]] - 1e-9));
            }
        }
    }

    #[test]
    fn nearest_takes_the_first_of_equals() {
        let value = array![[0.1, 0.5, 0.5], [-0.9, -0.95, -0.9]];
        let matching = match_by(value.view(), Pairing::Nearest).unwrap();
        assert_eq!((matching.target, matching.candidate), (vec![0, 1], vec![1, 0]));
        assert_eq!(matching.ncc, [0.5, f64::from(-0.9_f32)]);
    }

    #[test]
    fn a_full_size_assignment_is_quick_enough_to_test() {
        // Planted: target i belongs to candidate 3 i, but candidate 0 tempts everybody.
        let mut value = random_noise(500, 2000, 0.05, &Seed::new(2));
        for i in 0..500 {
            value[[i, 0]] = 0.7;
            value[[i, 3 * i]] = 0.8;
        }
        let matching = match_by(value.view(), Pairing::OneToOne).unwrap();
        assert!(matching.candidate.iter().enumerate().all(|(i, &j)| j == 3 * i));
    }

    #[test]
    fn a_long_chain_of_exchanges_is_found() {
        // Target i may have the candidates i and i + 1, the last only its first: each gives way in turn.
        let n = 2000;
        let mut value = Array2::zeros((n, n));
        for i in 0..n {
            value[[n - 1 - i, i]] = 1.0;
            if i + 1 < n {
                value[[n - 1 - i, i + 1]] = 1.0;
            }
        }
        assert_eq!(match_above(value.view(), 0.5).len(), n);
        assert!(match_above(Array2::zeros((0, 3)).view(), 0.5).is_empty());
    }

    #[test]
    fn hostile_matrices_are_refused() {
        for pairing in [Pairing::Nearest, Pairing::OneToOne] {
            assert!(matches!(
                match_by(Array2::zeros((0, 3)).view(), pairing),
                Err(MetricsError::Empty { .. })
            ));
            assert!(matches!(
                match_by(Array2::zeros((3, 0)).view(), pairing),
                Err(MetricsError::Empty { .. })
            ));
            let error = match_by(array![[0.0, 1.0], [f32::NAN, 1.0]].view(), pairing).unwrap_err();
            assert!(matches!(error, MetricsError::NonFinite { row: 1, column: 0, .. }));
        }
    }
}
