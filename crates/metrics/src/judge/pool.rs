//! Counts over all candidates, each beside what anybody could offer: how many training images have a candidate of their
//! own, by which measure, and how many "have" one that was never trained on.
//!
//! All counts are one-to-one: a candidate serves one image. By NCC the number of pairs above the bar is made as large as
//! it can be; by SSIM the pairs are those with the largest total NCC, since a search by NCC names the pairs of which an
//! SSIM is taken. Class means alone may serve any number of images, as if offered once for each: otherwise two of them
//! could never be found more than twice.

use ndarray::ArrayView2;
use palimpsest_numerics::gemm::Parallelism;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use super::legible::LEGIBLE;
use crate::matching::{Pairing, match_above};
use crate::null_model::NullModel;
use crate::score::{Protocol, Scores, scores_by, search_ncc};
use crate::table::{RowKind, RowScores, Thresholds, thresholds};
use crate::tally::SSIM_CUT;
use crate::{CandidateImages, Result, TargetImages};

/// Everything that a pool of candidates is counted with.
#[derive(Clone, Copy, Debug)]
pub struct Contestants<'a> {
    /// The candidates of the attack.
    pub attack: CandidateImages<'a>,
    /// Training images.
    pub training: TargetImages<'a>,
    /// Images of the same kind that were not trained on, at least 1,000 of them to give a 0.1 % rate a meaning.
    pub held_out: TargetImages<'a>,
    /// Mean image of each class.
    pub class_means: CandidateImages<'a>,
    /// Rows of the first weight matrix.
    pub weight_rows: CandidateImages<'a>,
    /// Noise.
    pub noise: CandidateImages<'a>,
    /// The training images as far as the directions of the attack keep them; none for an attack on all inputs.
    pub in_span: Option<CandidateImages<'a>>,
}

/// By what an image and a candidate are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Measure {
    /// Normalised cross-correlation.
    Ncc,
    /// Structural similarity, as shown.
    Ssim,
}

/// What a score must exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Bar {
    /// [`LEGIBLE`] by NCC, [`SSIM_CUT`] by SSIM.
    Fixed,
    /// What 0.1 % of the held-out images exceed.
    HeldOutRate,
}

/// One count of the table with its nulls. To pass is to exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct PoolCount {
    /// The measure.
    pub measure: Measure,
    /// The bar.
    pub bar: Bar,
    /// Its value for this pool.
    pub threshold: f64,
    /// Training images with a candidate of their own that passes.
    pub count: usize,
    /// The same of the held-out images, out of [`PoolTable::held_out`].
    pub held_out: usize,
    /// Training images that a class mean passes for.
    pub class_means: usize,
    /// Training images with a row of the first weight matrix of their own that passes.
    pub weight_rows: usize,
    /// Training images with noise of their own that passes.
    pub noise: usize,
    /// What the training images themselves would count, as far as the directions of the attack keep them and by the same
    /// measure; none for an attack on all inputs. No bound by SSIM, where better candidates raise the threshold.
    pub span_keeps: Option<usize>,
    /// What class means reach, where that is half of the count or more: then the count is no headline.
    pub class_means_reach: Option<usize>,
}

impl PoolCount {
    /// Whether the count may stand at the head of a report: class means do not reach half of it.
    pub fn is_headline(&self) -> bool {
        self.class_means_reach.is_none()
    }
}

/// The counts of a pool.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct PoolTable {
    /// Number of candidates of the attack.
    pub candidates: usize,
    /// Number of training images, what each count is out of.
    pub n: usize,
    /// Number of held-out images.
    pub held_out: usize,
    /// The counts: by NCC, and by SSIM where the protocol has one.
    pub counts: Vec<PoolCount>,
}

impl PoolTable {
    /// The count of a measure and a bar; none by SSIM when the protocol has none.
    pub fn count(&self, measure: Measure, bar: Bar) -> Option<&PoolCount> {
        self.counts.iter().find(|count| count.measure == measure && count.bar == bar)
    }
}

/// A table, and the scores of each row for pictures and for [`score_table`](crate::table::score_table).
#[derive(Clone, Debug, PartialEq)]
pub struct PoolJudgement {
    /// The table.
    pub table: PoolTable,
    /// The rows of attack and nulls, in the order of [`judge`](crate::table::judge).
    pub rows: Vec<RowScores>,
}

/// Counts a pool of candidates beside its nulls.
///
/// # Errors
/// What [`score_against`](crate::score::score_against) refuses.
///
/// # Panics
/// When shapes differ.
#[track_caller]
pub fn judge_pool(
    pool: &Contestants<'_>,
    protocol: &Protocol,
    parallelism: Parallelism,
) -> Result<PoolJudgement> {
    let nulls = [
        NullModel::HeldOut(pool.held_out),
        NullModel::ClassMeans(pool.class_means),
        NullModel::WeightRows(pool.weight_rows),
        NullModel::RandomNoise(pool.noise),
    ];
    let contest = |candidates, targets| Contest::score(candidates, targets, protocol, parallelism);
    // The held-out row fixes the bars of all others.
    let held_out = contest(pool.attack, pool.held_out)?;
    let bars = thresholds(&[held_out.row(RowKind::HeldOut)])?;
    let attack = contest(pool.attack, pool.training)?;
    let mut counted =
        vec![(RowKind::Training, attack.counts(&bars)), (RowKind::HeldOut, held_out.counts(&bars))];
    let mut rows = vec![attack.row(RowKind::Training), held_out.row(RowKind::HeldOut)];
    for null in &nulls[1..] {
        let (candidates, targets) = null.contest(pool.attack, pool.training);
        let scored = contest(candidates, targets)?;
        let kind = null.kind();
        let counts =
            if kind == RowKind::ClassMeans { scored.counts_nearest(&bars) } else { scored.counts(&bars) };
        counted.push((kind, counts));
        rows.push(scored.row(kind));
    }
    let kept = match pool.in_span {
        None => None,
        Some(in_span) => {
            // Judged as an attack would be, by what the same candidates make of held-out images.
            let own = thresholds(&[contest(in_span, pool.held_out)?.row(RowKind::HeldOut)])?;
            Some(contest(in_span, pool.training)?.counts(&own))
        }
    };
    let table = PoolTable {
        candidates: pool.attack.count(),
        n: pool.training.count(),
        held_out: pool.held_out.count(),
        counts: table_counts(&bars, &counted, kept),
    };
    Ok(PoolJudgement { table, rows })
}

/// How many pass: by NCC at the fixed bar and at the held-out rate, by SSIM likewise.
type FourCounts = [Option<usize>; 4];

const KINDS: [(Measure, Bar); 4] = [
    (Measure::Ncc, Bar::Fixed),
    (Measure::Ncc, Bar::HeldOutRate),
    (Measure::Ssim, Bar::Fixed),
    (Measure::Ssim, Bar::HeldOutRate),
];

fn table_counts(
    bars: &Thresholds,
    counted: &[(RowKind, FourCounts)],
    kept: Option<FourCounts>,
) -> Vec<PoolCount> {
    let at = |kind, of: usize| counted.iter().find(|row| row.0 == kind).and_then(|row| row.1[of]);
    let values = [Some(LEGIBLE), Some(bars.ncc), bars.ssim.map(|_| SSIM_CUT), bars.ssim];
    let counts = KINDS.iter().zip(values).enumerate().filter_map(|(of, (&(measure, bar), threshold))| {
        let (count, class_means) = (at(RowKind::Training, of)?, at(RowKind::ClassMeans, of)?);
        Some(PoolCount {
            measure,
            bar,
            threshold: threshold?,
            count,
            held_out: at(RowKind::HeldOut, of)?,
            class_means,
            weight_rows: at(RowKind::WeightRows, of)?,
            noise: at(RowKind::RandomNoise, of)?,
            span_keeps: kept.and_then(|kept| kept[of]),
            class_means_reach: reach(count, class_means),
        })
    });
    counts.collect()
}

/// What class means reach, if it is something and half of the count or more.
fn reach(count: usize, class_means: usize) -> Option<usize> {
    (class_means > 0 && 2 * class_means >= count).then_some(class_means)
}

/// Candidates against targets, by every pairing.
struct Contest {
    ncc: ndarray::Array2<f32>,
    nearest: Scores,
    one_to_one: Scores,
}

impl Contest {
    fn score(
        candidates: CandidateImages<'_>,
        targets: TargetImages<'_>,
        protocol: &Protocol,
        parallelism: Parallelism,
    ) -> Result<Self> {
        let ncc = search_ncc(candidates, targets, protocol, parallelism)?;
        let scores = |pairing| scores_by(ncc.view(), candidates, targets, protocol, pairing);
        let (nearest, one_to_one) = (scores(Pairing::Nearest)?, scores(Pairing::OneToOne)?);
        Ok(Self { ncc, nearest, one_to_one })
    }

    /// One-to-one.
    fn counts(&self, bars: &Thresholds) -> FourCounts {
        let pairs = |bar| Some(most_above(self.ncc.view(), bar));
        let passed = |bar: Option<f64>| above(self.one_to_one.ssim.as_deref(), bar);
        [pairs(LEGIBLE), pairs(bars.ncc), passed(bars.ssim.map(|_| SSIM_CUT)), passed(bars.ssim)]
    }

    /// Every target with its nearest candidate, however many it serves.
    fn counts_nearest(&self, bars: &Thresholds) -> FourCounts {
        let (ncc, ssim) = (Some(&*self.nearest.matching.ncc), self.nearest.ssim.as_deref());
        [
            above(ncc, Some(LEGIBLE)),
            above(ncc, Some(bars.ncc)),
            above(ssim, bars.ssim.map(|_| SSIM_CUT)),
            above(ssim, bars.ssim),
        ]
    }

    fn row(&self, kind: RowKind) -> RowScores {
        RowScores {
            kind,
            candidates: self.ncc.ncols(),
            nearest: self.nearest.clone(),
            one_to_one: self.one_to_one.clone(),
        }
    }
}

fn most_above(ncc: ArrayView2<'_, f32>, bar: f64) -> usize {
    match_above(ncc, bar).len()
}

fn above(scores: Option<&[f64]>, bar: Option<f64>) -> Option<usize> {
    let (scores, bar) = (scores?, bar?);
    Some(scores.iter().filter(|&&score| score > bar).count())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;
    use crate::ImageShape;
    use crate::null_model::{class_means, random_noise};
    use crate::table::judge;
    use palimpsest_numerics::seed::Seed;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 8, width: 8 };

    fn pixels(n: usize, name: &str) -> Array2<f32> {
        random_noise(n, SHAPE.size(), 0.2, &Seed::new(5).named(name)).mapv(|v| (v + 0.5).clamp(0.0, 1.0))
    }

    fn offered(images: &Array2<f32>) -> CandidateImages<'_> {
        CandidateImages::new(images.view(), images.view(), SHAPE).unwrap()
    }

    fn wanted(images: &Array2<f32>) -> TargetImages<'_> {
        TargetImages::new(images.view(), images.view(), SHAPE).unwrap()
    }

    /// Twelve training images, of which the attack has five, each twice, and the negative of a sixth.
    fn judged(means: &Array2<f32>, in_span: Option<&Array2<f32>>) -> PoolJudgement {
        let (training, held_out) = (pixels(12, "training"), pixels(300, "held out"));
        let mut attack = pixels(30, "attack");
        for i in 0..5 {
            attack.row_mut(2 * i).assign(&training.row(i));
            attack.row_mut(2 * i + 1).assign(&training.row(i));
        }
        attack.row_mut(10).assign(&training.row(5).mapv(|v| 1.0 - v));
        let (rows, noise) = (pixels(30, "rows"), pixels(30, "noise"));
        let pool = Contestants {
            attack: offered(&attack),
            training: wanted(&training),
            held_out: wanted(&held_out),
            class_means: offered(means),
            weight_rows: offered(&rows),
            noise: offered(&noise),
            in_span: in_span.map(offered),
        };
        judge_pool(&pool, &Protocol::published(SHAPE), Parallelism::Sequential).unwrap()
    }

    #[test]
    fn twins_and_negatives_count_once_and_not_at_all() {
        let training = pixels(12, "training");
        let labels: Vec<u8> = (0..12).map(|i| i % 2).collect();
        let means = class_means(training.view(), &labels).unwrap();
        let PoolJudgement { table, rows } = judged(&means, Some(&training));
        assert_eq!((table.candidates, table.n, table.held_out), (30, 12, 300));
        assert_eq!(table.counts.len(), 4);
        for count in &table.counts {
            if count.bar == Bar::HeldOutRate {
                assert!(count.held_out <= 1, "{count:?}");
            }
            assert_eq!(count.span_keeps, Some(12));
        }
        let fixed = table.count(Measure::Ncc, Bar::Fixed).unwrap();
        assert_eq!((fixed.count, fixed.threshold), (5, LEGIBLE));
        assert_eq!((fixed.held_out, fixed.class_means, fixed.weight_rows, fixed.noise), (0, 0, 0, 0));
        assert!(fixed.is_headline());
        assert_eq!(table.count(Measure::Ssim, Bar::Fixed).unwrap().threshold, SSIM_CUT);
        let kinds: Vec<_> = rows.iter().map(|row| row.kind).collect();
        use RowKind::*;
        assert_eq!(kinds, [Training, HeldOut, ClassMeans, WeightRows, RandomNoise]);
    }

    #[test]
    fn a_class_mean_may_serve_every_image_and_marks_the_count() {
        let training = pixels(12, "training");
        // A "class mean" that passes for three training images would reach half of five.
        let mut mean = Array2::zeros((1, SHAPE.size()));
        mean.row_mut(0).assign(&training.slice(s![..1, ..]).row(0));
        let PoolJudgement { table, .. } = judged(&mean, None);
        let fixed = table.count(Measure::Ncc, Bar::Fixed).unwrap();
        assert_eq!((fixed.class_means, fixed.class_means_reach, fixed.span_keeps), (1, None, None));
        assert_eq!(
            (reach(5, 2), reach(5, 3), reach(4, 2), reach(0, 0), reach(0, 1)),
            (None, Some(3), Some(2), None, Some(1))
        );
        let all_alike = Contest {
            ncc: Array2::from_elem((7, 1), 0.95),
            nearest: Scores {
                matching: crate::matching::Matching { ncc: vec![0.95; 7], ..Default::default() },
                ssim: None,
            },
            one_to_one: Scores { matching: crate::matching::Matching::default(), ssim: None },
        };
        let bars = Thresholds { ncc: 0.97, ssim: None };
        assert_eq!(all_alike.counts_nearest(&bars), [Some(7), Some(0), None, None]);
        assert_eq!(all_alike.counts(&bars), [Some(1), Some(0), None, None]);
    }

    #[test]
    fn rows_are_those_of_the_published_table() {
        let training = pixels(12, "training");
        let (held_out, attack, noise) = (pixels(300, "held out"), pixels(30, "attack"), pixels(30, "noise"));
        let pool = Contestants {
            attack: offered(&attack),
            training: wanted(&training),
            held_out: wanted(&held_out),
            class_means: offered(&noise),
            weight_rows: offered(&noise),
            noise: offered(&noise),
            in_span: None,
        };
        let protocol = Protocol::published(SHAPE);
        let nulls = [
            NullModel::HeldOut(pool.held_out),
            NullModel::ClassMeans(pool.class_means),
            NullModel::WeightRows(pool.weight_rows),
            NullModel::RandomNoise(pool.noise),
        ];
        let judged = judge_pool(&pool, &protocol, Parallelism::Sequential).unwrap();
        let slow = judge(pool.attack, pool.training, &nulls, &protocol, Parallelism::Sequential).unwrap();
        assert_eq!(judged.rows, slow);
    }

    #[test]
    fn plain_numbers_are_counted_by_ncc_alone() {
        let shape = ImageShape::vector(6);
        let rows = |n, name: &str| random_noise(n, 6, 1.0, &Seed::new(1).named(name));
        let (training, held_out, others) = (rows(4, "training"), rows(50, "held out"), rows(9, "others"));
        let offer =
            |rows: &'static Array2<f32>| CandidateImages::new(rows.view(), rows.view(), shape).unwrap();
        let others: &'static Array2<f32> = Box::leak(Box::new(others));
        let pool = Contestants {
            attack: offer(others),
            training: TargetImages::new(training.view(), training.view(), shape).unwrap(),
            held_out: TargetImages::new(held_out.view(), held_out.view(), shape).unwrap(),
            class_means: offer(others),
            weight_rows: offer(others),
            noise: offer(others),
            in_span: None,
        };
        let table = judge_pool(&pool, &Protocol::published(shape), Parallelism::Sequential).unwrap().table;
        assert_eq!(table.counts.len(), 2);
        assert!(table.count(Measure::Ssim, Bar::Fixed).is_none());
        let text = serde_json::to_string(&table).unwrap();
        assert!(text.contains("\"measure\":\"ncc\",\"bar\":\"fixed\""), "{text}");
    }
}
