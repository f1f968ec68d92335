//! `cargo xtask reproduce calibrate`: how sure an attack may be, fitted to attacks that were judged.

use anyhow::{Result, ensure};
use ndarray::{Array1, Array2};
use palimpsest::judging::score::ScoreFile;
use palimpsest::terminal::{Misuse, output};
use palimpsest_attack::Origin;
use palimpsest_attack::evidence::confidence::{Evidence, features_of_agreed};
use palimpsest_metrics::logistic::fit_logistic;
use palimpsest_runs::record::APPEARANCE_FILE;
use palimpsest_runs::{RunFile, files};
use palimpsest_unmix::raw::Appearance;

use super::victims::{ReproduceArgs, Victim};

/// Fits the confidence model; every victim counts alike, however many candidates it left.
pub(super) fn calibrate(args: &ReproduceArgs, victims: &[Victim]) -> Result<()> {
    // Others, candidates whose raw images are known, and images on which rounds of restarts agreed.
    let mut fits: [Fit; 3] = Default::default();
    for victim in victims {
        let (attacked, judged) = (victim.folder(args, "attack"), victim.folder(args, "judged"));
        if !judged.join("score.json").exists() {
            continue;
        }
        let score: ScoreFile = files::read_json(&judged.join("score.json"))?;
        let run: RunFile = files::read_json(&attacked.join("run.json"))?;
        let agreement: Array1<f32> = files::read_npy(&attacked.join("agreement.npy"))?;
        let path = attacked.join("bias_shares.npy");
        let bias_shares: Option<Array1<f32>> = path.exists().then(|| files::read_npy(&path)).transpose()?;
        let path = attacked.join(APPEARANCE_FILE);
        let looks: Option<Array2<f32>> = path.exists().then(|| files::read_npy(&path)).transpose()?;
        // Inputs that were solved for exactly or agreed on by a round have probabilities of their own.
        let origins = run.origins();
        let ranked = run.ranking.iter().zip(&score.ranking.real);
        let agreed = ranked.clone().filter(|(candidate, _)| origins[**candidate] == Origin::Deflation);
        let count = agreed.clone().count();
        if let (Some(shares), true) = (&bias_shares, count > 0) {
            fits[2].victims += 1;
            for (&candidate, &is_real) in agreed {
                let features = features_of_agreed(agreement[candidate], shares[candidate]);
                fits[2].push(&features, is_real, count);
            }
        }
        let fit = &mut fits[usize::from(looks.is_some())];
        let ranked = ranked.filter(|(candidate, _)| matches!(origins[**candidate], Origin::Restart(_)));
        let count = ranked.clone().count();
        fit.victims += 1;
        for (&candidate, &is_real) in ranked {
            let evidence = Evidence {
                agreement: agreement[candidate],
                distinct_share: run.distinct_share,
                bias_share: bias_shares.as_ref().map(|shares| shares[candidate]),
                appearance: looks.as_ref().map(|looks| Appearance {
                    contrast: looks[[candidate, 0]],
                    brightness: looks[[candidate, 1]],
                    unchanged: looks[[candidate, 2]],
                }),
            };
            fit.push(&evidence.features(), is_real, count);
        }
    }
    ensure!(
        fits.iter().any(|fit| fit.victims > 0),
        Misuse("no judged attack is there; run `reproduce attack` for these seeds first".into())
    );
    for (fit, what) in fits.into_iter().zip(["centred", "raw", "agreed"]).filter(|(fit, _)| fit.victims > 0) {
        let Fit { victims, features, real, weights } = fit;
        let features = Array2::from_shape_vec((real.len(), features.len() / real.len()), features)?;
        let coefficients = fit_logistic(features.view(), &real, &weights)?;
        output::line(&format!(
            "{what} images: {victims} victims, {} candidates, coefficients {coefficients:.2}",
            real.len()
        ));
    }
    Ok(())
}

/// What a confidence model is fitted on.
#[derive(Default)]
struct Fit {
    victims: usize,
    features: Vec<f64>,
    real: Vec<bool>,
    weights: Vec<f64>,
}

impl Fit {
    /// Adds one of `count` candidates of a victim.
    fn push(&mut self, features: &[f64], is_real: bool, count: usize) {
        self.features.extend(features);
        self.real.push(is_real);
        self.weights.push(1.0 / count as f64);
    }
}
