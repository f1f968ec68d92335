//! Counts beside their nulls: how many images were found, at a rate of chance that is stated.
//!
//! A fixed threshold means nothing by itself: on digits, *unrelated* digits pass the usual one. So the threshold of the
//! headline number is set on images the net never saw: it is what their best scores exceed in 0.1 % of cases, and the
//! same threshold then counts the training images and every null.

use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::matching::Pairing;
use crate::null_model::NullModel;
pub use crate::row_kind::RowKind;
use crate::score::{Protocol, Scores, score_against};
use crate::tally::{Counter, HELD_OUT_RATE, NCC_CUT, SSIM_CUT, Tally, quantile};
use crate::{CandidateImages, MetricsError, Result, TargetImages};

/// The scores of a row, kept for pictures and for [`score_table`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct RowScores {
    /// What is scored.
    pub kind: RowKind,
    /// Number of candidates m.
    pub candidates: usize,
    /// Every target with its best candidate.
    pub nearest: Scores,
    /// Every candidate for one target only.
    pub one_to_one: Scores,
}

/// Scores that only [`HELD_OUT_RATE`] of the held-out images exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Thresholds {
    /// Of NCC.
    pub ncc: f64,
    /// Of SSIM; `None` when the protocol has none.
    pub ssim: Option<f64>,
}

/// All counts of a judgement.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct ScoreTable {
    /// How images were searched and compared.
    pub protocol: Protocol,
    /// The held-out thresholds, the same for every row.
    pub thresholds: Thresholds,
    /// The rows, in the order given.
    pub rows: Vec<ScoreRow>,
}

/// The counts of one set of targets against one set of candidates.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct ScoreRow {
    /// What is counted.
    pub kind: RowKind,
    /// Number of targets n: what each count is out of.
    pub n: usize,
    /// Number of candidates m.
    pub candidates: usize,
    /// By NCC.
    pub ncc: Tally,
    /// By SSIM; `None` when the protocol has none.
    pub ssim: Option<Tally>,
}

impl ScoreTable {
    /// The first row of a kind.
    pub fn row(&self, kind: RowKind) -> Option<&ScoreRow> {
        self.rows.iter().find(|row| row.kind == kind)
    }
}

/// Scores the attack's candidates against the training images, then every null: one row each.
///
/// # Errors
/// What [`score_against`] refuses.
///
/// # Panics
/// When shapes differ.
#[track_caller]
pub fn judge<'a>(
    attack: CandidateImages<'a>,
    training: TargetImages<'a>,
    nulls: &[NullModel<'a>],
    protocol: &Protocol,
    parallelism: Parallelism,
) -> Result<Vec<RowScores>> {
    let contests = nulls.iter().map(|null| (null.kind(), null.contest(attack, training)));
    std::iter::once((RowKind::Training, (attack, training)))
        .chain(contests)
        .map(|(kind, (candidates, targets))| {
            let score = |pairing| score_against(candidates, targets, protocol, pairing, parallelism);
            Ok(RowScores {
                kind,
                candidates: candidates.count(),
                nearest: score(Pairing::Nearest)?,
                one_to_one: score(Pairing::OneToOne)?,
            })
        })
        .collect()
}

/// The thresholds that the one [`RowKind::HeldOut`] row fixes.
///
/// # Errors
/// [`MetricsError::Rows`] when there is not exactly one; [`MetricsError::Empty`] when it has no scores.
pub fn thresholds(rows: &[RowScores]) -> Result<Thresholds> {
    let held_out = held_out(rows)?;
    Ok(Thresholds {
        ncc: quantile(&held_out.nearest.matching.ncc, 1.0 - HELD_OUT_RATE),
        ssim: held_out.nearest.ssim.as_ref().map(|scores| quantile(scores, 1.0 - HELD_OUT_RATE)),
    })
}

/// Counts every row at the fixed and at the held-out thresholds.
///
/// The bootstrap draws from the stream `bootstrap` of the seed. The held-out row is counted at the threshold it fixes
/// itself, so its count is the rate by construction; its interval says how far a second set like it may stray.
///
/// # Errors
/// [`MetricsError::Rows`] when there is not exactly one held-out row; [`MetricsError::Empty`] when a row has no scores.
///
/// # Panics
/// When some rows have SSIM and others do not: the rows are of different protocols.
///
/// # Source
/// Interval: percentile bootstrap, Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 13.3.
#[track_caller]
pub fn score_table(rows: &[RowScores], protocol: &Protocol, seed: &Seed) -> Result<ScoreTable> {
    let held_out = held_out(rows)?;
    let thresholds = thresholds(rows)?;
    if let Some(row) = rows.iter().find(|row| row.nearest.matching.count() == 0) {
        return Err(MetricsError::Empty { what: "scores of a row", rows: 0, columns: row.candidates });
    }
    let seed = seed.named("bootstrap");
    let ncc = Counter::new(&held_out.nearest.matching.ncc, NCC_CUT, thresholds.ncc, seed.named("ncc"));
    let ssim = thresholds.ssim.map(|threshold| {
        let scores = held_out.nearest.ssim.as_ref().expect("the threshold is a quantile of it");
        Counter::new(scores, SSIM_CUT, threshold, seed.named("ssim"))
    });
    let rows = rows.iter().map(|row| ScoreRow {
        kind: row.kind,
        n: row.nearest.matching.count(),
        candidates: row.candidates,
        ncc: ncc.tally(&row.nearest.matching.ncc, &row.one_to_one.matching.ncc),
        ssim: match (&ssim, &row.nearest.ssim, &row.one_to_one.ssim) {
            (Some(counter), Some(nearest), Some(unique)) => Some(counter.tally(nearest, unique)),
            (None, None, None) => None,
            _ => {
                panic!("row {:?} and the held-out row are of different protocols: one has no SSIM", row.kind)
            }
        },
    });
    Ok(ScoreTable { protocol: *protocol, thresholds, rows: rows.collect() })
}

fn held_out(rows: &[RowScores]) -> Result<&RowScores> {
    let found: Vec<_> = rows.iter().filter(|row| row.kind == RowKind::HeldOut).collect();
    match found[..] {
        [row] if row.nearest.matching.count() > 0 => Ok(row),
        [row] => Err(MetricsError::Empty { what: "held-out scores", rows: 0, columns: row.candidates }),
        _ => Err(MetricsError::Rows { kind: "held_out", got: found.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;
    use crate::matching::Matching;
    use crate::null_model::{class_means, random_noise};

    fn row(kind: RowKind, nearest: &[f64], unique: &[f64]) -> RowScores {
        let scores = |ncc: &[f64]| Scores {
            matching: Matching {
                target: (0..ncc.len()).collect(),
                candidate: (0..ncc.len()).collect(),
                ncc: ncc.to_vec(),
            },
            ssim: Some(ncc.iter().map(|v| v / 2.0).collect()),
        };
        RowScores { kind, candidates: 9, nearest: scores(nearest), one_to_one: scores(unique) }
    }

    fn protocol() -> Protocol {
        Protocol::published(ImageShape { channels: 1, height: 28, width: 28 })
    }

    fn ramp(n: usize, from: f64, to: f64) -> Vec<f64> {
        (0..n).map(|i| from + (to - from) * i as f64 / (n - 1) as f64).collect()
    }

    #[test]
    fn counts_are_those_done_by_hand() {
        // Held out: 0, 0.0005, ... 0.5 (1001 values); the 99.9 % quantile is the last but one.
        let held_out = row(RowKind::HeldOut, &ramp(1001, 0.0, 0.5), &[0.1]);
        let training = row(RowKind::Training, &[0.2, 0.4995, 0.49951, 0.6, 0.85, 0.95], &[0.1, 0.6, 0.95]);
        let table = score_table(&[training, held_out], &protocol(), &Seed::new(0)).unwrap();
        assert!((table.thresholds.ncc - 0.4995).abs() < 1e-12);
        assert!((table.thresholds.ssim.unwrap() - 0.24975).abs() < 1e-12);
        let (found, null) = (&table.rows[0], &table.rows[1]);
        assert_eq!((found.n, null.n), (6, 1001));
        assert_eq!((found.ncc.above_cut, found.ncc.unique_above_cut), (2, 1));
        assert_eq!((found.ncc.above_threshold, found.ncc.unique_above_threshold), (4, 2));
        assert_eq!(null.ncc.above_threshold, 1);
        let ssim = found.ssim.unwrap();
        assert_eq!((ssim.above_cut, ssim.above_threshold), (2, 4));
        assert!((null.ncc.mean_of_ten_best - (0.5 - 0.0005 * 4.5)).abs() < 1e-12);
        assert!(
            (found.ncc.mean_of_ten_best - (0.2 + 0.4995 + 0.49951 + 0.6 + 0.85 + 0.95) / 6.0).abs() < 1e-12
        );
    }

    #[test]
    fn the_interval_is_that_of_a_binomial_when_the_threshold_is_sure() {
        // 200 of 400 far above every held-out score: mean 200, standard deviation 10.
        let scores: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 0.9 } else { 0.1 }).collect();
        let rows = [row(RowKind::Training, &scores, &scores), row(RowKind::HeldOut, &[0.5; 1000], &[0.5])];
        let table = score_table(&rows, &protocol(), &Seed::new(4)).unwrap();
        let [low, high] = table.rows[0].ncc.interval;
        assert!((178.0..183.0).contains(&low) && (217.0..222.0).contains(&high), "{low} {high}");
        assert_eq!(table, score_table(&rows, &protocol(), &Seed::new(4)).unwrap());
        assert_ne!(table, score_table(&rows, &protocol(), &Seed::new(5)).unwrap());
        assert_eq!(table.rows[1].ncc.interval, [0.0, 0.0]);
    }

    #[test]
    fn an_unsure_threshold_widens_the_interval() {
        let scores = ramp(300, 0.0, 1.0);
        let count = |held_out: &[f64]| {
            let rows = [row(RowKind::Training, &scores, &scores), row(RowKind::HeldOut, held_out, &[0.5])];
            score_table(&rows, &protocol(), &Seed::new(4)).unwrap().rows[0].ncc
        };
        let mut tail = vec![0.2; 1000];
        tail[..3].copy_from_slice(&[0.5, 0.6, 0.7]);
        let (sure, unsure) = (count(&[0.6; 1000]), count(&tail));
        assert!(unsure.interval[1] - unsure.interval[0] > 1.5 * (sure.interval[1] - sure.interval[0]));
        assert!(unsure.interval[1] > 200.0, "a resample may miss the tail: {:?}", unsure.interval);
    }

    #[test]
    fn a_whole_judgement_with_every_null() {
        let shape = ImageShape { channels: 3, height: 8, width: 8 };
        let seed = Seed::new(11);
        let pixels = |n: usize, name: &str| {
            random_noise(n, shape.size(), 0.2, &seed.named(name)).mapv(|v| (v + 0.5).clamp(0.0, 1.0))
        };
        let (training, held_out) = (pixels(20, "training"), pixels(200, "held out"));
        let mut found = random_noise(40, shape.size(), 0.2, &seed.named("attack"));
        for i in 0..8 {
            found.row_mut(2 * i).assign(&(&training.row(i) - 0.5));
            found.row_mut(2 * i + 1).assign(&(&training.row(i) - 0.5)); // twins: one is enough
        }
        let labels: Vec<u8> = (0..20).map(|i| i % 2).collect();
        let means = class_means(training.view(), &labels).unwrap();
        let noise = random_noise(40, shape.size(), 0.2, &seed.named("noise"));
        let (shown, noise_shown) = (&found + 0.5, &noise + 0.5);
        let (means_c, training_c, held_out_c) = (&means - 0.5, &training - 0.5, &held_out - 0.5);
        let null = |centered, restored| CandidateImages::new(centered, restored, shape).unwrap();
        let nulls = [
            NullModel::HeldOut(TargetImages::new(held_out_c.view(), held_out.view(), shape).unwrap()),
            NullModel::ClassMeans(null(means_c.view(), means.view())),
            NullModel::RandomNoise(null(noise.view(), noise_shown.view())),
        ];
        let attack = null(found.view(), shown.view());
        let truth = TargetImages::new(training_c.view(), training.view(), shape).unwrap();
        let protocol = Protocol::published(shape);
        let rows = judge(attack, truth, &nulls, &protocol, Parallelism::Sequential).unwrap();
        let table = score_table(&rows, &protocol, &seed).unwrap();
        let kinds: Vec<_> = table.rows.iter().map(|row| row.kind).collect();
        assert_eq!(kinds, [RowKind::Training, RowKind::HeldOut, RowKind::ClassMeans, RowKind::RandomNoise]);
        for tally in [table.rows[0].ncc, table.rows[0].ssim.unwrap()] {
            assert_eq!((tally.above_threshold, tally.unique_above_threshold), (8, 8));
            assert!(tally.interval[0] >= 2.0 && tally.interval[1] <= 15.0, "{:?}", tally.interval);
        }
        assert_eq!(table.row(RowKind::RandomNoise).unwrap().ncc.above_cut, 0);
        let text = serde_json::to_string(&table).unwrap();
        let back: ScoreTable = serde_json::from_str(&text).unwrap();
        assert_eq!(
            format!("{back:.9?}"),
            format!("{table:.9?}"),
            "equal up to the last digits of JSON numbers"
        );
    }

    #[test]
    fn a_table_without_its_threshold_is_refused() {
        let training = row(RowKind::Training, &[0.5], &[0.5]);
        let refusal = |rows: &[RowScores]| score_table(rows, &protocol(), &Seed::new(0)).unwrap_err();
        assert_eq!(refusal(std::slice::from_ref(&training)), MetricsError::Rows { kind: "held_out", got: 0 });
        let twice = row(RowKind::HeldOut, &[0.5], &[0.5]);
        assert_eq!(refusal(&[twice.clone(), twice.clone()]), MetricsError::Rows { kind: "held_out", got: 2 });
        let none = row(RowKind::HeldOut, &[], &[]);
        assert!(matches!(refusal(&[training, none]), MetricsError::Empty { .. }));
        let none = row(RowKind::Training, &[], &[]);
        assert!(matches!(refusal(&[none, twice]), MetricsError::Empty { .. }));
    }
}
