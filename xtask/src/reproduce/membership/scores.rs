//! Tests of membership by networks that were trained on other data.

use ndarray::{ArrayView1, ArrayView2, Axis};

/// Deviations by which the margin of each record (m) is above what it has in shadows (K, m) that were not trained on it, K >= 2; NaN where one
/// was. The deviation is that of all records together, as suits few shadows.
///
/// # Source
/// Carlini et al. (2022), "Membership inference attacks from first principles", the offline attack with a global variance.
pub(super) fn lira(target: ArrayView1<'_, f64>, shadows: ArrayView2<'_, f64>) -> Vec<f64> {
    let means = means(shadows, |margin| margin);
    let (mut squares, mut freedoms) = (0.0, 0_usize);
    for (of, mean) in shadows.axis_iter(Axis(1)).zip(&means) {
        let unseen = of.iter().filter(|margin| !margin.is_nan());
        squares += unseen.clone().map(|v| (v - mean).powi(2)).sum::<f64>();
        freedoms += unseen.count().saturating_sub(1);
    }
    let deviation = (squares / freedoms.max(1) as f64).sqrt().max(f64::MIN_POSITIVE);
    target.iter().zip(&means).map(|(v, mean)| (v - mean) / deviation).collect()
}

/// Share of the population whose probability of the own label has risen less from the shadows to the target than a record's has.
///
/// # Source
/// Zarifzadeh et al. (2024), "Low-cost high-power membership inference attacks", offline: pairwise likelihood ratios with gamma 1, and the
/// probability of a record in general taken as its mean over shadows that were not trained on it. Ties are broken by the ratio.
pub(super) fn rmia(
    target: ArrayView1<'_, f64>,
    shadows: ArrayView2<'_, f64>,
    target_population: ArrayView1<'_, f64>,
    shadows_population: ArrayView2<'_, f64>,
) -> Vec<f64> {
    let ratios = |target: ArrayView1<'_, f64>, shadows: ArrayView2<'_, f64>| -> Vec<f64> {
        let general = means(shadows, sigmoid);
        target.iter().zip(general).map(|(&m, p)| sigmoid(m) / p.max(1e-12)).collect()
    };
    let mut population = ratios(target_population, shadows_population);
    population.sort_unstable_by(f64::total_cmp);
    let share =
        |ratio: f64| population.partition_point(|&other| other <= ratio) as f64 / population.len() as f64;
    // A ratio is at most 1e12: it orders what the share leaves equal.
    ratios(target, shadows).into_iter().map(|ratio| share(ratio) + 1e-15 * ratio).collect()
}

/// Mean of each record (m) over the shadows (K, m) that were not trained on it; of all records, where every shadow was.
fn means(shadows: ArrayView2<'_, f64>, of: impl Fn(f64) -> f64) -> Vec<f64> {
    let mean = |values: &mut dyn Iterator<Item = &f64>| {
        let unseen: Vec<f64> = values.filter(|v| !v.is_nan()).map(|&v| of(v)).collect();
        (!unseen.is_empty()).then(|| unseen.iter().sum::<f64>() / unseen.len() as f64)
    };
    let of_all = mean(&mut shadows.iter()).unwrap_or(0.0);
    shadows.axis_iter(Axis(1)).map(|margins| mean(&mut margins.iter()).unwrap_or(of_all)).collect()
}

fn sigmoid(margin: f64) -> f64 {
    if margin >= 0.0 { 1.0 / (1.0 + (-margin).exp()) } else { margin.exp() / (1.0 + margin.exp()) }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn lira_is_the_distance_from_shadows_in_deviations() {
        let shadows = array![[1.0, 5.0], [3.0, 7.0]];
        // Means 2 and 6, squares 4 in all over (2 - 1) 2: a deviation of the root of 2.
        let found = lira(array![2.0, 8.0].view(), shadows.view());
        assert!(found[0].abs() < 1e-12 && (found[1] - 2.0 / 2_f64.sqrt()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn what_a_shadow_was_trained_on_does_not_count() {
        let none = f64::NAN;
        let shadows = array![[1.0, 5.0, none], [3.0, none, none], [none, 7.0, none]];
        // Means 2 and 6 as above; of the third record nothing is known but the mean of all, 4.
        let found = lira(array![2.0, 8.0, 4.0].view(), shadows.view());
        assert!(found[0].abs() < 1e-12 && (found[1] - 2.0 / 2_f64.sqrt()).abs() < 1e-12, "{found:?}");
        assert!(found[2].abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn rmia_is_higher_where_the_target_is_surer_than_shadows() {
        let shadows = array![[0.0, 0.0, 4.0], [0.0, 0.0, 4.0]];
        let population = array![[0.0, 0.0], [0.0, 0.0]];
        let found =
            rmia(array![3.0, 0.0, 4.0].view(), shadows.view(), array![0.5, -0.5].view(), population.view());
        assert!(found[0] > found[1] && (found[1] - found[2]).abs() < 1e-9, "{found:?}");
        assert!((found[0] - 1.0).abs() < 1e-9 && (found[1] - 0.5).abs() < 1e-9);
    }
}
