//! Order statistics of small lists: quantiles and medians.

use crate::Real;

/// The q-quantile of at least one value, q in [0, 1], interpolated linearly between order statistics.
///
/// # Panics
/// When there are no values or q is outside [0, 1].
///
/// ```
/// assert_eq!(palimpsest_numerics::quantile::quantile(&[4.0, 1.0, 2.0], 0.75), 3.0);
/// ```
///
/// # Source
/// Type 7 of Hyndman and Fan, "Sample quantiles in statistical packages", 1996: what `numpy.quantile` does.
#[track_caller]
pub fn quantile(values: &[f64], q: f64) -> f64 {
    assert!(!values.is_empty() && (0.0..=1.0).contains(&q), "quantile {q} of {} values", values.len());
    let mut values = values.to_vec();
    let position = q * (values.len() - 1) as f64;
    let below = position.floor() as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low + (high - low) * (position - below as f64)
}

/// The median of at least one value; of an even number, the mean of the two in the middle.
///
/// # Panics
/// When there are no values.
///
/// ```
/// assert_eq!(palimpsest_numerics::quantile::median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
/// ```
#[track_caller]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The middle one of `values`, the upper of the two of an even number, without memory of its own; none of none.
///
/// The values are put into another order.
///
/// ```
/// assert_eq!(palimpsest_numerics::quantile::upper_median(&mut [4.0, 1.0, 2.0, 9.0]), Some(4.0));
/// ```
pub fn upper_median<T: Real>(values: &mut [T]) -> Option<T> {
    let middle = values.len() / 2;
    let order = |a: &T, b: &T| a.wide().total_cmp(&b.wide());
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, order).1)
}

/// The value up to which half of the weight of `(value, weight)` lies; none of none.
pub fn weighted_median(values: impl Iterator<Item = (f32, f32)>) -> Option<f32> {
    let mut values: Vec<(f32, f32)> = values.collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = 0.5 * values.iter().map(|(_, weight)| weight).sum::<f32>();
    let mut below = 0.0;
    let middle = values.iter().find(|(_, weight)| {
        below += weight;
        below >= half
    });
    middle.map(|&(value, _)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy 2.4: np.quantile([3, 1, 4, 1, 5, 9, 2, 6], q).
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        for (q, expected) in
            [(0.0, 1.0), (0.1, 1.0), (0.3, 2.1), (0.5, 3.5), (0.9, 6.9), (0.999, 8.979), (1.0, 9.0)]
        {
            assert!((quantile(&values, q) - expected).abs() < 1e-12, "{q}");
        }
        assert_eq!(quantile(&[2.0], 0.999), 2.0);
        assert_eq!(median(&values), 3.5);
    }

    #[test]
    #[should_panic(expected = "quantile 0.5 of 0 values")]
    fn nothing_has_no_median() {
        median(&[]);
    }

    #[test]
    fn a_weighted_median_is_where_half_of_the_weight_is() {
        let of = |values: &[(f32, f32)]| weighted_median(values.iter().copied());
        assert_eq!(of(&[(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]), Some(2.0));
        assert_eq!(of(&[(3.0, 5.0), (1.0, 1.0), (2.0, 1.0)]), Some(3.0));
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn the_upper_median_is_the_middle_of_the_sorted(
            values in prop::collection::vec(-1.0..1.0_f32, 0..40),
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            prop_assert_eq!(upper_median(&mut values.clone()), sorted.get(values.len() / 2).copied());
        }

        #[test]
        fn a_quantile_has_its_share_below(values in prop::collection::vec(-1.0..1.0_f64, 1..200), q in 0.0..=1.0_f64) {
            let at = quantile(&values, q);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let position = q * (values.len() - 1) as f64;
            prop_assert!(sorted[position.floor() as usize] <= at && at <= sorted[position.ceil() as usize]);
        }
    }
}
