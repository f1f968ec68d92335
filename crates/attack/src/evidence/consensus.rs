//! Agreement between independent restarts: a score that needs no truth.
//!
//! A training input is found again from other random starts; an artefact of one start is not. A candidate's score is
//! the cosine with the nearest candidate of the same label in each *other* restart, averaged over those restarts. A restart that has
//! collapsed to few distinct candidates agrees with itself many times over and proves nothing, so it neither votes nor
//! is counted. It is a score that ranks, not a probability.
//!
//! Inputs that are much alike, as two shirts are, have much in common that says nothing of either, and candidates have it before
//! anything else. So candidates are compared where that counts no more than the rest: see [`Comparison`].

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_kkt::outputs::Label;
use palimpsest_numerics::factor::{FactorError, svd};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::{self, unit_rows};
use rayon::prelude::*;

use crate::evidence::signs::{Evidence, Sides};

/// Cosine above which two candidates stand for the same input in a [`ranking`].
pub const SAME_COSINE: f32 = 0.5;
/// A restart is collapsed when its candidates have more than this share of the restart as near-copies, on average.
pub const COLLAPSED_SHARE: f64 = 0.2;
/// Cosine above which two candidates of one restart are copies.
const COPY_COSINE: f32 = 0.95;
/// Cosine of coordinates as they are above which two candidates are the same picture.
const ALIKE: f32 = 0.7;
/// Log odds of a sign that was solved for.
const SOLVED: f32 = 5.0;
/// Candidates that are compared with all others in one product.
const BLOCK: usize = 64;
/// Variance of a direction, relative to the largest, below which it counts as if it had that.
const LEAST_VARIANCE: f64 = 1e-9;

/// Consensus of several restarts.
#[derive(Clone, Debug, PartialEq)]
pub struct Consensus {
    /// Score of each candidate of each restart, in [0, 1].
    pub scores: Vec<Array1<f32>>,
    /// What is told of each candidate of each restart, averaged over it and the nearest of the other restarts.
    pub told: Vec<Array1<f32>>,
    /// Whether each restart has collapsed; its candidates have score 0.
    pub collapsed: Vec<bool>,
}

/// The coordinates in which candidates are compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// From coordinates of candidates, to be multiplied from the right, (r, r); as they are if there is none.
    whitening: Option<Array2<f32>>,
}

impl Comparison {
    /// Coordinates in which `candidates` (M, r), those of all restarts, are uncorrelated and of variance one. Where a restart has fewer
    /// candidates than there are directions they say too little of these, and are compared as they are.
    ///
    /// # Errors
    /// [`FactorError`] when a candidate is not finite.
    pub fn of(
        candidates: ArrayView2<'_, f32>,
        candidates_per_restart: usize,
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        if candidates_per_restart < candidates.ncols() {
            return Ok(Self { whitening: None });
        }
        let moments = matmul(candidates.t(), candidates, parallelism).mapv(f64::from);
        let svd = svd(moments.view(), parallelism)?;
        let least = LEAST_VARIANCE * svd.singular_values.first().copied().unwrap_or(0.0);
        let mut directions = svd.vt;
        for (mut direction, &variance) in directions.rows_mut().into_iter().zip(&svd.singular_values) {
            direction /= variance.max(least).max(f64::MIN_POSITIVE).sqrt();
        }
        Ok(Self { whitening: Some(directions.t().mapv(|v| v as f32)) })
    }

    /// `candidates` (M, r) as they are to be compared.
    pub fn apply(&self, candidates: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        match &self.whitening {
            Some(whitening) => matmul(candidates, whitening.view(), parallelism),
            None => candidates.to_owned(),
        }
    }
}

/// Scores the candidates of `restarts`, each (m, r), whose rows have the shared `labels` (m). `told` holds a number for each
/// candidate of each restart (m).
///
/// With fewer than two restarts that have not collapsed, every score is 0.
///
/// # Panics
/// When a restart has not one row and one number per label.
#[track_caller]
pub fn consensus(restarts: &[ArrayView2<'_, f32>], labels: &[Label], told: &[Array1<f32>]) -> Consensus {
    let one_each = told.len() == restarts.len() && told.iter().all(|told| told.len() == labels.len());
    assert!(one_each, "consensus: one number a candidate");
    let unit: Vec<Array2<f32>> = restarts.iter().map(|restart| unit_rows(*restart)).collect();
    let collapsed: Vec<bool> = unit.par_iter().map(|restart| is_collapsed(restart, labels)).collect();
    let voters: Vec<usize> = (0..restarts.len()).filter(|&i| !collapsed[i]).collect();
    let (scores, told) = (0..restarts.len())
        .into_par_iter()
        .map(|this| {
            let (mut votes, mut sum) = (Array1::zeros(labels.len()), told[this].clone());
            if collapsed[this] || voters.len() < 2 {
                return (votes, sum);
            }
            for &other in voters.iter().filter(|&&other| other != this) {
                let cosines = matmul(unit[this].view(), unit[other].t(), Parallelism::Sequential);
                for (i, row) in cosines.rows().into_iter().enumerate() {
                    let alike = (0..labels.len()).filter(|&j| labels[j] == labels[i]);
                    let nearest = alike.max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)));
                    let nearest = nearest.expect("the other restart has a candidate of this label, too");
                    // Rounding may carry a cosine past 1.
                    votes[i] += row[nearest].clamp(0.0, 1.0);
                    sum[i] += told[other][nearest];
                }
            }
            (votes / (voters.len() - 1) as f32, sum / voters.len() as f32)
        })
        .unzip();
    Consensus { scores, told, collapsed }
}

/// Candidates that stand for the distinct inputs among `candidates` (M, r), surest first.
///
/// In order of falling confidence (ties by index), each candidate that has the same label and direction as one already
/// taken is left out.
///
/// # Panics
/// When labels or confidence are not one per candidate.
#[track_caller]
pub fn ranking(
    candidates: ArrayView2<'_, f32>,
    labels: &[Label],
    confidence: ArrayView1<'_, f32>,
) -> Vec<usize> {
    let all = candidates.nrows();
    assert_eq!((labels.len(), confidence.len()), (all, all), "ranking: one label and confidence a candidate");
    ranked(candidates, confidence, |a, b| labels[a] == labels[b])
}

/// [`ranking`] in which only candidates that `may_be_same` are compared.
fn ranked(
    candidates: ArrayView2<'_, f32>,
    confidence: ArrayView1<'_, f32>,
    may_be_same: impl Fn(usize, usize) -> bool,
) -> Vec<usize> {
    let all = candidates.nrows();
    let mut order: Vec<usize> = (0..all).collect();
    order.sort_by(|&a, &b| confidence[b].total_cmp(&confidence[a]).then(a.cmp(&b)));
    let unit = unit_rows(candidates);
    let threads = Parallelism::of_threads(rayon::current_num_threads());
    let mut taken: Vec<usize> = Vec::new();
    let mut covered = vec![false; all];
    let mut order = order.into_iter();
    loop {
        // Compared together, though some will be covered by those before them.
        let block: Vec<usize> = order.by_ref().filter(|&i| !covered[i]).take(BLOCK).collect();
        if block.is_empty() {
            break;
        }
        let cosines = matmul(unit.select(Axis(0), &block).view(), unit.t(), threads);
        for (&candidate, cosines) in block.iter().zip(cosines.rows()) {
            if covered[candidate] {
                continue;
            }
            taken.push(candidate);
            for (other, &cosine) in cosines.iter().enumerate() {
                covered[other] |= cosine > SAME_COSINE && may_be_same(other, candidate);
            }
        }
    }
    taken
}

/// A candidate that is listed with a sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signed {
    /// Its index.
    pub candidate: usize,
    /// If it is to be turned: the index of the surest candidate that is its negative.
    pub turned: Option<usize>,
    /// Log odds that it, turned if it is to be, has its own sign and not that of its negative.
    pub sign: f32,
    /// What says so of a picture.
    pub evidence: Option<Evidence>,
}

/// [`ranking`] in which a candidate and its negatives are one entry: that sign of it is taken for which more speaks, by `strength` (M).
///
/// What speaks for a sign is the strength of its candidates, as they are compared and as they are `coordinates` (M, r). Where the candidate
/// that comes first was `solved` for (M), its sign is known. `docs/decisions/0031-sparse-edges.md` has what each says. Those that were
/// told apart before are `pictures` of either sign (M), each with what its left factor says of that: they are different, however alike they
/// are as compared, and one for whose negative more speaks is turned, not left for a candidate that is its negative. `restarts_know` the sign
/// of a candidate, or they hardly do.
///
/// # Panics
/// When coordinates, confidence, strength, what was solved or is a picture are not one per candidate.
#[track_caller]
pub fn ranking_up_to_sign(
    candidates: ArrayView2<'_, f32>,
    coordinates: ArrayView2<'_, f32>,
    confidence: ArrayView1<'_, f32>,
    strength: ArrayView1<'_, f32>,
    solved: &[bool],
    pictures: &[Option<[f32; 2]>],
    restarts_know: bool,
) -> Vec<Signed> {
    let all = candidates.nrows();
    assert_eq!((solved.len(), strength.len()), (all, all), "ranking: one strength a candidate");
    assert_eq!((pictures.len(), confidence.len()), (all, all), "ranking: one confidence a candidate");
    assert_eq!(coordinates.nrows(), all, "ranking: one row of coordinates a candidate");
    let may_be_same = |a: usize, b: usize| a == b || pictures[a].is_none() || pictures[b].is_none();
    let (mut taken, mut covered) = (Vec::new(), vec![false; all]);
    // Those of one sign come first by their own confidence; a negative of one that was taken is covered by it.
    let (unit, plain) = (unit_rows(candidates), unit_rows(coordinates));
    let threads = Parallelism::of_threads(rayon::current_num_threads());
    for block in ranked(candidates, confidence, may_be_same).chunks(BLOCK) {
        let cosines_of = |unit: &Array2<f32>| matmul(unit.select(Axis(0), block).view(), unit.t(), threads);
        let (cosines, plain) = (cosines_of(&unit), cosines_of(&plain));
        for ((&first, cosines), plain) in block.iter().zip(cosines.rows()).zip(plain.rows()) {
            if covered[first] {
                continue;
            }
            let alike = |i: &usize| cosines[*i].abs() > SAME_COSINE && may_be_same(*i, first);
            let negatives = (0..all).filter(alike).filter(|&i| cosines[i] < 0.0);
            let turned = negatives.reduce(|best, i| if confidence[i] > confidence[best] { i } else { best });
            let above = |cosines: ArrayView1<'_, f32>, least: f32| {
                let alike = (0..all).filter(|&i| may_be_same(i, first) && cosines[i].abs() > least);
                Sides::of(alike.map(|i| (cosines[i], strength[i])))
            };
            let found = above(cosines, SAME_COSINE).over(above(plain, ALIKE));
            let evidence = pictures[first].map(|left| Evidence { found, left });
            let speaks = match turned {
                _ if solved[first] => SOLVED,
                Some(negative) if solved[negative] => -SOLVED,
                _ => evidence.map_or(found, |evidence| evidence.log_odds(restarts_know)),
            };
            (0..all).filter(alike).for_each(|i| covered[i] = true);
            let turned = turned.filter(|_| speaks < 0.0);
            let sign = if turned.is_some() { -speaks } else { speaks };
            let evidence = if turned.is_some() { evidence.map(Evidence::turned) } else { evidence };
            taken.push(match turned {
                Some(negative) if pictures[first].is_none() => {
                    Signed { candidate: negative, turned: None, sign, evidence }
                }
                turned => Signed { candidate: first, turned, sign, evidence },
            });
        }
    }
    taken
}

/// One best estimate for each ranked candidate, (ranking, r), of unit length: the mean direction of itself and the
/// nearest candidate of the same label in each restart, where that is at least [`SAME_COSINE`] near, weighted by its cosine.
///
/// `candidates` (M, r) are those of all restarts, one restart after the other, each with the shared `labels` (m); `compared` (M, s) is what
/// cosines are of.
///
/// # Panics
/// When the candidates are not whole restarts, not as many are compared, or the ranking names one that is not there.
#[track_caller]
pub fn merge(
    candidates: ArrayView2<'_, f32>,
    compared: ArrayView2<'_, f32>,
    labels: &[Label],
    ranking: &[usize],
) -> Array2<f32> {
    let (all, m) = (candidates.nrows(), labels.len());
    assert!(m > 0 && all.is_multiple_of(m), "merge: {all} candidates are not whole runs of {m}");
    assert_eq!(compared.nrows(), all, "merge: {} of {all} candidates are compared", compared.nrows());
    let (unit, compared) = (unit_rows(candidates), unit_rows(compared));
    let mut merged = Array2::zeros((ranking.len(), candidates.ncols()));
    let blocks = merged.axis_chunks_iter_mut(Axis(0), BLOCK).into_par_iter().zip(ranking.par_chunks(BLOCK));
    blocks.for_each(|(mut rows, ranked)| {
        let ranked_rows = compared.select(Axis(0), ranked);
        let cosines = matmul(ranked_rows.view(), compared.t(), Parallelism::Sequential);
        for ((mut row, cosines), &this) in rows.rows_mut().into_iter().zip(cosines.rows()).zip(ranked) {
            for restart in 0..all / m {
                let alike = (0..m).filter(|&i| labels[i] == labels[this % m]).map(|i| restart * m + i);
                let nearest = alike.max_by(|&a, &b| cosines[a].total_cmp(&cosines[b])).unwrap_or(this);
                if cosines[nearest] >= SAME_COSINE {
                    row.scaled_add(cosines[nearest], &unit.row(nearest));
                }
            }
            let length = reduce::norm(row.view()) as f32;
            if length > 0.0 {
                row /= length;
            }
        }
    });
    merged
}

fn is_collapsed(unit: &Array2<f32>, labels: &[Label]) -> bool {
    assert_eq!(unit.nrows(), labels.len(), "consensus: one label a candidate");
    let cosines = matmul(unit.view(), unit.t(), Parallelism::Sequential);
    let copies = cosines
        .indexed_iter()
        .filter(|&((i, j), &c)| i != j && labels[i] == labels[j] && c > COPY_COSINE)
        .count();
    // Copies have the same label, as their share of the candidates does.
    let distinct = (0..labels.len()).filter(|&i| !labels[..i].contains(&labels[i])).count();
    let m = labels.len() as f64;
    copies as f64 / m > COLLAPSED_SHARE * m / distinct as f64
}

#[cfg(test)]
mod tests {
    use ndarray::concatenate;
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn draw(rows: usize, name: &str) -> Array2<f32> {
        Array2::random_using((rows, 30), StandardNormal, &mut Seed::new(1).named(name).rng())
    }

    #[test]
    fn the_sign_is_that_for_which_more_speaks_unless_it_was_solved_for() {
        // An input that comes first by confidence, its negative twice, and something else.
        let candidates = ndarray::array![[1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1], [0.0, 1.0]];
        let confidence = ndarray::array![0.9, 0.5, 0.6, 0.1];
        let rank = |strength: [f32; 4], solved: [bool; 4]| {
            let strength = Array1::from(strength.to_vec());
            let (rows, confidence) = (candidates.view(), confidence.view());
            let listed =
                ranking_up_to_sign(rows, rows, confidence, strength.view(), &solved, &[None; 4], true);
            listed.iter().map(|signed| signed.candidate).collect::<Vec<_>>()
        };
        let unsolved = [false; 4];
        assert_eq!(rank([3.0, 1.0, 1.0, 1.0], unsolved), [0, 3]);
        assert_eq!(rank([1.0, 2.0, 1.0, 1.0], unsolved), [2, 3], "the surest of the stronger sign");
        assert_eq!(rank([1.0, 2.0, 1.0, 1.0], [true, false, false, false]), [0, 3]);
        assert_eq!(rank([0.0; 4], unsolved), [0, 3], "nothing speaks for either");
    }

    #[test]
    fn what_was_told_apart_stays_apart_and_says_nothing_of_the_others_sign() {
        let candidates = ndarray::array![[1.0, 0.0], [0.8, 0.6], [-0.7, 0.7], [0.9, 0.1]];
        let (confidence, strength) =
            (ndarray::array![0.9, 0.8, 0.7, 0.1], ndarray::array![1.0, 1.0, 9.0, 1.0]);
        let rank = |told_apart: [bool; 4]| {
            let (rows, pictures) =
                (candidates.view(), told_apart.map(|told_apart| told_apart.then_some([0.0; 2])));
            let listed = ranking_up_to_sign(
                rows,
                rows,
                confidence.view(),
                strength.view(),
                &[false; 4],
                &pictures,
                true,
            );
            listed.iter().map(|signed| (signed.candidate, signed.turned)).collect::<Vec<_>>()
        };
        assert_eq!(rank([false; 4]), [(2, None)], "all are one, and most speaks for the negative");
        let apart = [(0, None), (1, None), (2, None)];
        assert_eq!(rank([true, true, true, false]), apart, "the last is a candidate of the first");
        assert_eq!(rank([true, true, false, false])[0], (0, Some(2)), "a picture is turned");
    }

    #[test]
    fn coordinates_speak_where_whitening_hides_what_is_shared() {
        // Compared, the negative is no stronger; as they are, another candidate is on its side.
        let compared = ndarray::array![[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];
        let coordinates = ndarray::array![[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [-1.0, 0.0, 0.3]];
        let (confidence, strength) = (ndarray::array![0.9, 0.5, 0.1], ndarray::array![1.0, 1.0, 1.0]);
        let rank = |coordinates: &Array2<f32>| {
            let listed = ranking_up_to_sign(
                compared.view(),
                coordinates.view(),
                confidence.view(),
                strength.view(),
                &[false; 3],
                &[None; 3],
                true,
            );
            listed.iter().map(|signed| signed.candidate).collect::<Vec<_>>()
        };
        assert_eq!(rank(&compared), [0, 2]);
        assert_eq!(rank(&coordinates), [1, 2]);
    }

    #[test]
    fn shared_candidates_score_and_private_ones_do_not() {
        let shared = draw(4, "shared");
        let restarts: Vec<_> = (0..3)
            .map(|i| concatenate![Axis(0), &shared * (1.0 + i as f32), draw(4, &format!("private {i}"))])
            .collect();
        let views: Vec<_> = restarts.iter().map(|r| r.view()).collect();
        let labels = [1, 1, 0, 0, 1, 1, 0, 0].map(Label);
        let told: Vec<_> = (0..3).map(|restart| Array1::from_elem(8, restart as f32)).collect();
        let result = consensus(&views, &labels, &told);
        assert!(result.told.iter().flatten().all(|&mean| mean == 1.0));
        for scores in &result.scores {
            let (shared, private) = scores.as_slice().unwrap().split_at(4);
            assert!(shared.iter().all(|s| (s - 1.0).abs() < 1e-5), "{shared:?}");
            assert!(private.iter().all(|&s| s < 0.7), "{private:?}");
        }
        // The same rows under the other label are other inputs.
        let flipped: Vec<Label> = labels.iter().map(|label| Label(1 - label.0)).collect();
        assert_eq!(consensus(&views, &flipped, &told), result);
    }

    #[test]
    fn what_all_have_in_common_counts_no_more_than_the_rest() {
        let common = draw(1, "common") * 5.0;
        let alike = draw(60, "own") + &common;
        let largest = |rows: &Array2<f32>| {
            let unit = unit_rows(rows.view());
            let cosines = matmul(unit.view(), unit.t(), Parallelism::Sequential);
            cosines.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, &c)| c).fold(0.0, f32::max)
        };
        assert!(largest(&alike) > 0.95);
        let on = |per_restart| {
            let comparison = Comparison::of(alike.view(), per_restart, Parallelism::Sequential).unwrap();
            comparison.apply(alike.view(), Parallelism::Sequential)
        };
        assert_eq!(on(29), alike);
        let whitened = on(30);
        assert!(largest(&whitened) < 0.7, "{}", largest(&whitened));
        let moments = matmul(whitened.t(), whitened.view(), Parallelism::Sequential);
        for ((i, j), &moment) in moments.indexed_iter() {
            assert!((moment - f32::from(u8::from(i == j))).abs() < 1e-3, "{moment} at {i}, {j}");
        }
    }

    #[test]
    fn ranking_names_each_input_once_and_the_surest_first() {
        let inputs = draw(3, "inputs");
        let candidates = concatenate![Axis(0), inputs, &inputs * 2.0];
        let confidence = Array1::from(vec![0.1, 0.5, 0.2, 0.3, 0.4, 0.2]);
        assert_eq!(ranking(candidates.view(), &[Label(1); 6], confidence.view()), [1, 3, 2]);
        let labels = [1, 1, 1, 0, 0, 0].map(Label);
        assert_eq!(ranking(candidates.view(), &labels, confidence.view()), [1, 4, 3, 2, 5, 0]);
    }

    #[test]
    fn merging_averages_noise_away() {
        let truth = draw(4, "truth");
        let labels = [1, 1, 0, 0].map(Label);
        let noisy = |run: usize| &truth + &(draw(4, &format!("noise {run}")) * 0.5);
        let restarts: Vec<_> = (0..6).map(noisy).collect();
        let all = concatenate(Axis(0), &restarts.iter().map(|r| r.view()).collect::<Vec<_>>()).unwrap();
        let merged = merge(all.view(), all.view(), &labels, &[2, 8, 1]);
        let cosine = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| {
            f64::from((&a * &b).sum()) / (reduce::norm(a) * reduce::norm(b))
        };
        for (row, &ranked) in merged.rows().into_iter().zip(&[2_usize, 8, 1]) {
            let (before, after) =
                (cosine(all.row(ranked), truth.row(ranked % 4)), cosine(row, truth.row(ranked % 4)));
            assert!(after > before && after > 0.95, "{before} -> {after}");
        }
    }

    #[test]
    fn collapsed_runs_do_not_vote() {
        let one = draw(1, "one");
        let collapsed = one.broadcast((8, 30)).unwrap().to_owned() + draw(8, "jitter") * 0.01;
        let honest = concatenate![Axis(0), one, draw(7, "rest")];
        let labels = [Label(1); 8];
        let told = vec![Array1::zeros(8); 3];
        let result = consensus(&[collapsed.view(), collapsed.view(), honest.view()], &labels, &told);
        assert_eq!(result.collapsed, [true, true, false]);
        assert!(result.scores.iter().flatten().all(|&s| s == 0.0));
    }
}
