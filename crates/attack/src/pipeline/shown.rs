//! What the restarts that came to their end show of each entry of the list.
//!
//! Descent moves a picture that a separation found towards the input, and other restarts find it from nowhere. Where a layer holds many more
//! inputs than directions can be told apart, their mean is nearer to the input than the picture is
//! (`docs/decisions/0041-what-restarts-show.md`).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce::{self, unit_rows};

/// Cosine of estimates as they are above which a candidate of a restart shows the same picture.
const SHOWS_THE_SAME: f32 = 0.7;
/// Mean distance of pictures from what restarts show of them, one minus the cosine, at which a picture counts as much as restarts do.
const AS_GOOD: f32 = 0.2;
/// Restarts whose mean says more than what there was before, where no separation found it.
const LEAST_RESTARTS: usize = 2;

/// Estimates that are compared with all candidates in one product.
const BLOCK: usize = 64;

/// Candidates of restarts.
pub(super) struct Restarts<'a> {
    /// Of length one, restart by restart, (M, r).
    pub(super) candidates: ArrayView2<'a, f32>,
    /// How many each restart has.
    pub(super) of_each: usize,
}

impl Restarts<'_> {
    /// Makes each of `estimates` (k, r) that separations or restarts found what these show of it, as long as it was: those that are `pictures` (k) of
    /// a separation, beside which they count by how much they agree with all of these, and those that are `of_restarts` (k).
    pub(super) fn show(
        &self,
        estimates: &mut Array2<f32>,
        pictures: &[bool],
        of_restarts: &[bool],
        parallelism: Parallelism,
    ) {
        let asked: Vec<usize> =
            (0..estimates.nrows()).filter(|&at| pictures[at] || of_restarts[at]).collect();
        let mut shown: Vec<Option<Shown>> = pictures.iter().map(|_| None).collect();
        for block in asked.chunks(BLOCK) {
            let own = unit_rows(estimates.select(Axis(0), block).view());
            let cosines = matmul(own.view(), self.candidates.t(), parallelism);
            for (&at, cosines) in block.iter().zip(cosines.rows()) {
                shown[at] = self.shown(cosines, pictures[at]);
            }
        }
        let of_pictures = shown.iter().zip(pictures).filter(|(_, picture)| **picture);
        let mut alike: Vec<f32> =
            of_pictures.filter_map(|(shown, _)| shown.as_ref().map(|shown| shown.alike)).collect();
        let weight = upper_median(&mut alike).map_or(0.0, weight_of_pictures);
        for ((mut estimate, shown), &picture) in estimates.rows_mut().into_iter().zip(shown).zip(pictures) {
            if let Some(shown) = shown {
                let beside = shown.beside(estimate.view(), if picture { weight } else { 0.0 });
                estimate.assign(&beside);
            }
        }
    }

    /// What they show of an estimate that has these `cosines` (M) with their candidates, if enough of them do; a `picture` of a separation may
    /// have either sign.
    fn shown(&self, cosines: ArrayView1<'_, f32>, picture: bool) -> Option<Shown> {
        let alike = |i: usize| if picture { cosines[i].abs() } else { cosines[i] };
        let (mut mean, mut sum, mut count) = (Array1::<f32>::zeros(self.candidates.ncols()), 0.0, 0);
        for first in (0..cosines.len()).step_by(self.of_each) {
            let nearest = (first..first + self.of_each).max_by(|&a, &b| alike(a).total_cmp(&alike(b)));
            if let Some(nearest) = nearest.filter(|&i| alike(i) > SHOWS_THE_SAME) {
                mean.scaled_add(cosines[nearest].signum(), &self.candidates.row(nearest));
                sum += alike(nearest);
                count += 1;
            }
        }
        let least = if picture { 1 } else { LEAST_RESTARTS };
        (count >= least).then(|| Shown {
            mean: unit_rows(mean.insert_axis(Axis(0)).view()).remove_axis(Axis(0)),
            alike: sum / count as f32,
        })
    }
}

/// How much a separated picture counts beside the mean of what restarts show of it, where the pictures of an attack are `alike` to that.
/// Restarts agree with each other better than with pictures that are not exact.
fn weight_of_pictures(alike: f32) -> f32 {
    (AS_GOOD / (1.0 - alike).max(f32::EPSILON)).powi(2)
}

/// What restarts show of an estimate.
struct Shown {
    /// Mean of the nearest candidates, one of each restart that has it, of length one, (r).
    mean: Array1<f32>,
    /// Mean cosine of these with the estimate.
    alike: f32,
}

impl Shown {
    /// The mean, with the `estimate` (r) counting `own`, of the length of the estimate.
    fn beside(&self, estimate: ArrayView1<'_, f32>, own: f32) -> Array1<f32> {
        let length = reduce::norm(estimate);
        let both = &self.mean + &(&estimate * (f64::from(own) / length.max(f64::MIN_POSITIVE)) as f32);
        let factor = length / reduce::norm(both.view()).max(f64::MIN_POSITIVE);
        both * factor as f32
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn an_estimate_is_what_restarts_show_of_it_and_a_picture_counts_beside_that() {
        // Three restarts of two candidates: two have the first estimate, one of them turned.
        let restarts = array![
            [0.8, 0.6, 0.0],
            [0.0, 0.0, 1.0],
            [-0.8, 0.6, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0],
            [0.0, 1.0, 0.0]
        ];
        let of = |estimate: &Array1<f32>, picture| {
            let own = unit_rows(estimate.view().insert_axis(Axis(0)));
            let cosines = matmul(own.view(), restarts.t(), Parallelism::Sequential);
            Restarts { candidates: restarts.view(), of_each: 2 }.shown(cosines.row(0), picture)
        };
        let is_near = |a: &Array1<f32>, b: &Array1<f32>| (a - b).iter().all(|e| e.abs() < 1e-5);
        let first = array![5.0, 0.0, 0.0];
        let shown = of(&first, true).unwrap();
        assert!(is_near(&shown.mean, &array![1.0, 0.0, 0.0]) && (shown.alike - 0.8).abs() < 1e-6);
        assert!(of(&first, false).is_none(), "where the sign is known, one restart is too few");
        // The mean has the length of the estimate, and a picture counts beside it.
        let third = array![0.0, 3.0, 4.0];
        let shown = of(&third, true).unwrap();
        assert!(is_near(&shown.mean, &array![0.0, 0.0, 1.0]));
        assert!(is_near(&shown.beside(third.view(), 0.0), &array![0.0, 0.0, 5.0]));
        let half = array![0.0, 0.6, 1.8] * (5.0 / 3.6_f32.sqrt());
        assert!(is_near(&shown.beside(third.view(), 1.0), &half));
        assert!((weight_of_pictures(0.8) - 1.0).abs() < 1e-5 && weight_of_pictures(0.95) > 10.0);
    }

    #[test]
    fn what_nobody_is_asked_about_stays_and_pictures_count_by_how_alike_they_are() {
        let restarts = array![[0.8, 0.6, 0.0], [0.8, 0.6, 0.0]];
        let restarts = Restarts { candidates: restarts.view(), of_each: 1 };
        let before = array![[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]];
        let mut seen = before.clone();
        restarts.show(&mut seen, &[true, false, false], &[false, true, false], Parallelism::Sequential);
        assert!((seen[[1, 0]] - 0.8).abs() < 1e-6, "an entry of restarts is what they show");
        assert_eq!(seen.row(2), before.row(2), "what was solved for stays");
        let half = 1.8 / (1.8_f32 * 1.8 + 0.6 * 0.6).sqrt();
        assert!(
            (seen[[0, 0]] - half).abs() < 1e-6,
            "at a cosine of 0.8 a picture counts as much as restarts do"
        );
    }
}
