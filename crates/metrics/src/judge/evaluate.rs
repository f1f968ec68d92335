//! One pass over everything that a judgement says.

use ndarray::Array2;
use palimpsest_numerics::gemm::Parallelism;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::legible::{LEGIBLE, Legible, legible_by};
use super::pool::{Contestants, PoolTable, judge_pool};
use super::reliability::{Finding, Reliability, findings, reliability};
use crate::matching::match_above;
use crate::score::{Protocol, search_ncc};
use crate::table::{RowScores, thresholds};
use crate::{CandidateImages, Result};

/// What is judged: the pool of candidates with its nulls, and the ranked list with its claims.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The pool with everything it is counted with.
    pub pool: Contestants<'a>,
    /// One image for each distinct input that the attack claims, surest first (k).
    pub list: CandidateImages<'a>,
    /// Probability of each image of the list (k), in [0, 1]; none where the attack says "ranking only".
    pub probabilities: Option<&'a [f64]>,
}

/// The whole judgement; what took how long is the caller's to add.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Judgement {
    /// First headline: what the first n of the list show.
    pub legible: Legible,
    /// Its null: held-out images of which the same n images show one each.
    pub legible_held_out: usize,
    /// Counts over the pool beside their nulls.
    pub pool: PoolTable,
    /// What each image of the list is at the held-out threshold of NCC, surest first.
    pub findings: Vec<Finding>,
    /// The same at the bar of what is legible.
    #[cfg_attr(feature = "serde", serde(default))]
    pub findings_legible: Vec<Finding>,
    /// Whether probabilities hold, an image being real above the held-out threshold of NCC; none for "ranking only".
    pub reliability: Option<Reliability>,
    /// The same, an image being real when it is legible.
    pub reliability_legible: Option<Reliability>,
}

/// Judges, and gives the scores of each row of the pool for pictures and for
/// [`score_table`](crate::table::score_table).
///
/// # Errors
/// What [`score_against`](crate::score::score_against) refuses, [`MetricsError::Parameter`](crate::MetricsError::Parameter) for a probability outside
/// [0, 1].
///
/// # Panics
/// When shapes differ or there are not as many probabilities as images in the list.
#[track_caller]
pub fn evaluate(
    evidence: &Evidence<'_>,
    protocol: &Protocol,
    parallelism: Parallelism,
) -> Result<(Judgement, Vec<RowScores>)> {
    let Evidence { pool, list, probabilities } = *evidence;
    if let Some(probabilities) = probabilities {
        assert_eq!(probabilities.len(), list.count(), "a probability for each image of the list is needed");
    }
    let judged = judge_pool(&pool, protocol, parallelism)?;
    let n = pool.training.count();
    let ncc = search_ncc(list, pool.training, protocol, parallelism)?;
    let first = columns(&ncc, n);
    let by_chance = search_ncc(list.first(n), pool.held_out, protocol, parallelism)?;
    let threshold = thresholds(&judged.rows)?.ncc;
    let found = findings(ncc.view(), threshold)?;
    let held = |threshold: f64, found: &[Finding]| {
        probabilities.map(|probabilities| reliability(probabilities, found, threshold)).transpose()
    };
    let readable = findings(ncc.view(), LEGIBLE)?;
    let judgement = Judgement {
        legible: legible_by(first)?,
        legible_held_out: match_above(by_chance.view(), LEGIBLE).len(),
        pool: judged.table,
        reliability: held(threshold, &found)?,
        reliability_legible: held(LEGIBLE, &readable)?,
        findings: found,
        findings_legible: readable,
    };
    Ok((judgement, judged.rows))
}

/// The first k columns, or all when there are fewer.
fn columns(ncc: &Array2<f32>, k: usize) -> ndarray::ArrayView2<'_, f32> {
    ncc.view().split_at(ndarray::Axis(1), k.min(ncc.ncols())).0
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::judge::pool::{Bar, Measure};
    use crate::null_model::{class_means, random_noise};
    use crate::{ImageShape, TargetImages};

    #[test]
    fn a_judgement_says_what_a_reader_of_the_list_would_count() {
        let shape = ImageShape { channels: 3, height: 8, width: 8 };
        let seed = Seed::new(8);
        let pixels = |n: usize, name: &str| {
            random_noise(n, shape.size(), 0.2, &seed.named(name)).mapv(|v| (v + 0.5).clamp(0.0, 1.0))
        };
        let (training, held_out) = (pixels(10, "training"), pixels(200, "held out"));
        let mut attack = pixels(40, "attack");
        for i in 0..6 {
            attack.row_mut(i).assign(&training.row(i));
        }
        attack.row_mut(6).assign(&training.row(0)); // a twin
        attack.row_mut(7).assign(&training.row(7).mapv(|v| 1.0 - v)); // a negative
        attack.row_mut(39).assign(&training.row(9)); // in the pool, not among the first ten of the list
        let order = [0, 7, 1, 6, 2, 20, 3, 4, 5, 21, 39];
        let list = attack.select(Axis(0), &order);
        let probabilities = [0.99, 0.98, 0.97, 0.96, 0.9, 0.6, 0.55, 0.4, 0.3, 0.2, 0.1];
        let labels: Vec<usize> = (0..10).map(|i| i % 2).collect();
        let means = class_means(training.view(), &labels).unwrap();
        let (rows, noise) = (pixels(40, "rows"), pixels(40, "noise"));
        let offered =
            |images: &'static Array2<f32>| CandidateImages::new(images.view(), images.view(), shape).unwrap();
        let keep = |images: Array2<f32>| -> &'static Array2<f32> { Box::leak(Box::new(images)) };
        let wanted =
            |images: &'static Array2<f32>| TargetImages::new(images.view(), images.view(), shape).unwrap();
        let (training, held_out) = (keep(training), keep(held_out));
        let evidence = Evidence {
            pool: Contestants {
                attack: offered(keep(attack)),
                training: wanted(training),
                held_out: wanted(held_out),
                class_means: offered(keep(means)),
                weight_rows: offered(keep(rows)),
                noise: offered(keep(noise)),
                in_span: Some(offered(training)),
            },
            list: offered(keep(list)),
            probabilities: Some(&probabilities),
        };
        let protocol = Protocol::published(shape);
        let (judgement, scored) = evaluate(&evidence, &protocol, Parallelism::Sequential).unwrap();
        let Legible { n, ranked, legible, up_to_sign, repeated, negatives, others } = judgement.legible;
        assert_eq!((n, ranked, legible, up_to_sign), (10, 10, 6, 7));
        assert_eq!((repeated, negatives, others), (1, 1, 2));
        assert_eq!(judgement.legible_held_out, 0);
        let count = judgement.pool.count(Measure::Ncc, Bar::Fixed).unwrap();
        assert_eq!((count.count, count.span_keeps), (7, Some(10)));
        use Finding::*;
        assert_eq!(judgement.findings[..6], [Real, Negative, Real, Repeated, Real, Chance]);
        for held in [&judgement.reliability, &judgement.reliability_legible] {
            let sure = held.as_ref().unwrap().sure;
            assert_eq!((sure.called, sure.real, sure.negatives, sure.repeated), (4, 2, 1, 1));
        }
        assert_eq!(scored.len(), 5);
        let text = serde_json::to_string(&judgement).unwrap();
        let back: Judgement = serde_json::from_str(&text).unwrap();
        assert_eq!(back.legible, judgement.legible);
        let ranking_only = Evidence { probabilities: None, ..evidence };
        let (silent, _) = evaluate(&ranking_only, &protocol, Parallelism::Sequential).unwrap();
        assert_eq!((silent.reliability, silent.findings), (None, judgement.findings));
    }
}
