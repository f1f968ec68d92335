//! The signs of separated pictures, and what says them.

use std::collections::BTreeMap;

use anyhow::Result;
use ndarray::Array2;
use palimpsest::terminal::output;
use palimpsest_metrics::logistic::fit_logistic;

/// Features of a sign.
const FEATURES: usize = 3;

/// What is known of a sign, and whether it is right.
#[derive(Clone, Copy)]
pub(super) struct Sign {
    pub(super) features: [f64; FEATURES],
    pub(super) is_right: bool,
}

impl Sign {
    fn log_odds(&self, coefficients: &[f64]) -> f64 {
        self.features.iter().zip(coefficients).map(|(feature, c)| feature * c).sum()
    }

    fn log_loss(&self, coefficients: &[f64]) -> f64 {
        let log_odds = self.log_odds(coefficients);
        (if self.is_right { -log_odds } else { log_odds }).exp().ln_1p()
    }
}

/// Says how many signs of each kind are right by a fit without it, and the coefficients of all. Of each kind there are its attacks, which are
/// counted alike.
pub(super) fn leave_one_out(kinds: &BTreeMap<&str, Vec<Vec<Sign>>>) -> Result<()> {
    if kinds.len() < 2 {
        output::line("  none, or of one kind only: nothing was fitted");
        return Ok(());
    }
    for (kind, left_out) in kinds {
        let others: Vec<&Vec<Sign>> =
            kinds.iter().filter(|(other, _)| *other != kind).flat_map(|(_, of)| of).collect();
        let coefficients = fit(&others)?;
        let signs: Vec<&Sign> = left_out.iter().flatten().collect();
        let right = signs.iter().filter(|sign| (sign.log_odds(&coefficients) > 0.0) == sign.is_right).count();
        let loss: f64 = signs.iter().map(|sign| sign.log_loss(&coefficients)).sum();
        let of = signs.len();
        output::line(&format!("  {kind}: {right} of {of} right, log loss {:.3}", loss / of.max(1) as f64));
    }
    let all: Vec<&Vec<Sign>> = kinds.values().flatten().collect();
    output::line(&format!("  {} attacks, coefficients {:.2?}", all.len(), fit(&all)?));
    Ok(())
}

/// Coefficients of the features of the signs of `attacks`. The negative of a picture has the negative features, so there is no constant.
fn fit(attacks: &[&Vec<Sign>]) -> Result<Vec<f64>> {
    let (mut rows, mut right, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for signs in attacks {
        for sign in *signs {
            rows.extend(sign.features);
            right.push(sign.is_right);
            weights.push(100.0 / signs.len() as f64);
        }
    }
    let features = Array2::from_shape_vec((right.len(), FEATURES), rows)?;
    Ok(fit_logistic(features.view(), &right, &weights)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feature_that_tells_signs_has_the_weight() {
        let sign = |told: f64, noise: f64| Sign { features: [noise, told, 0.0], is_right: told > 0.0 };
        let attack: Vec<Sign> = (0..40)
            .map(|i| sign(if i % 3 == 0 { -1.0 } else { 1.0 }, if i % 2 == 0 { -1.0 } else { 1.0 }))
            .collect();
        let coefficients = fit(&[&attack]).unwrap();
        assert!(coefficients[1] > 3.0 && coefficients[0].abs() < 0.5, "{coefficients:?}");
        assert!(attack.iter().all(|sign| sign.log_loss(&coefficients) < 0.1));
    }
}
