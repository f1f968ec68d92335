//! The truncations of a span that are separated.

/// Ranks from `smallest` on, each `growth` times the last, up to `largest`, which is the last.
///
/// A separation needs many more edges than directions, and leading truncations hold what is strongest: no one rank is right.
pub(super) fn ranks(smallest: usize, growth: f64, largest: usize) -> Vec<usize> {
    let mut ranks = Vec::new();
    let mut next = smallest as f64;
    // `growth` is above 1 by the check of the parameters; the limit is for one that hardly is.
    while ranks.len() < MOST_RANKS && next < largest as f64 {
        let rank = next.round() as usize;
        if ranks.last() != Some(&rank) {
            ranks.push(rank);
        }
        next *= growth;
    }
    if ranks.last().is_some_and(|&last| largest as f64 > last as f64 * growth.sqrt()) || ranks.is_empty() {
        ranks.push(largest);
    }
    ranks
}

/// Truncations of a span, at most.
const MOST_RANKS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_grow_and_end_at_the_largest() {
        assert_eq!(ranks(25, 1.4, 100), [25, 35, 49, 69, 96]);
        assert_eq!(ranks(25, 1.4, 120), [25, 35, 49, 69, 96, 120]);
        assert_eq!(ranks(25, 2.0, 10), [10]);
    }
}
