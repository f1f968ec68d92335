//! From p-values to probabilities, by a prior; and how many records are too many for chance.

/// Probability that a record is a member, in [0, 1], by the logarithm of its p-value and a `prior` probability in (0, 1).
///
/// Under the alternative p-values are taken to follow `k p^(k-1)` with k uniform in (0, 1): a law that has no number to choose. It
/// gives the Bayes factor `(1 - p + p ln p) / (p (ln p)^2)`, which is also a valid e-value whatever the alternative is.
///
/// # Source
/// Sellke, Bayarri and Berger (2001) for the family; Vovk and Wang (2021), section 2, for the mixture.
///
/// ```
/// use palimpsest_attack::evidence::membership::member_probability;
/// assert!(member_probability(-0.01, 0.5) < 0.5);
/// assert!((0.8..0.9).contains(&member_probability(0.01_f64.ln(), 0.5)));
/// assert!(member_probability(-60.0, 0.01) > 0.999);
/// ```
pub fn member_probability(log_p: f64, prior: f64) -> f64 {
    let log_p = log_p.clamp(-700.0, 0.0);
    // Near p = 1 both parts of the fraction vanish; its limit is 1/2.
    let factor = if log_p > -1e-3 {
        0.5 - log_p / 6.0
    } else {
        let p = log_p.exp();
        (1.0 - p + p * log_p) / (p * log_p * log_p)
    };
    let odds = factor * prior / (1.0 - prior);
    odds / (1.0 + odds)
}

/// How many of the records with these p-values can be called members with a false discovery rate of at most `rate`.
///
/// # Source
/// Benjamini and Hochberg (1995).
///
/// ```
/// use palimpsest_attack::evidence::membership::discoveries;
/// assert_eq!(discoveries(&[0.5, 1e-5, 0.02, 0.9], 0.05), 2);
/// assert_eq!(discoveries(&[0.5, 0.3, 0.2, 0.9], 0.05), 0);
/// ```
pub fn discoveries(p_values: &[f64], rate: f64) -> usize {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let m = sorted.len() as f64;
    (1..=sorted.len()).rev().find(|&k| sorted[k - 1] <= rate * k as f64 / m).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_fall_with_p_and_keep_the_prior_on_average() {
        let mut last = 1.0;
        for step in 1..2000 {
            let probability = member_probability(-30.0 + 0.015 * f64::from(step), 0.2);
            assert!(probability <= last + 1e-9 && (0.0..=1.0).contains(&probability), "{step}");
            last = probability;
        }
        // Over uniform p the Bayes factor has the mean 1, most of it at very small p: over the logarithm of p, then.
        let (steps, least) = (4_000_000, -2000.0_f64);
        let mean: f64 = (0..steps)
            .map(|i| {
                let log_p = least * (f64::from(i) + 0.5) / f64::from(steps);
                let p = log_p.exp();
                let weighted = if log_p > -1e-3 { 0.5 * p } else { (1.0 - p + p * log_p) / (log_p * log_p) };
                weighted * -least / f64::from(steps)
            })
            .sum();
        assert!((mean - 1.0).abs() < 2e-3, "{mean}");
    }
}
