//! The best estimate of each input on the list.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce::{self, unit_rows};
use palimpsest_unmix::raw::RawImages;

use crate::evidence::consensus::{SAME_COSINE, merge};
use crate::pipeline::entries::{Entries, are_images};
use crate::pipeline::finished::Finished;
use crate::stages::context::AttackContext;

/// Cosine of estimates as they are above which a candidate of a restart shows the same picture.
const SHOWS_THE_SAME: f32 = 0.7;
/// Mean distance of pictures from what restarts show of them, one minus the cosine, at which a picture counts as much as restarts do.
const AS_GOOD: f32 = 0.2;
/// Restarts whose mean says more than what there was before, where no separation found it.
const LEAST_RESTARTS: usize = 2;

/// One row for each of those `ranked`, (ranked, r): what restarts agree on, of the prior norm, with a separated picture where there is one; where
/// raw images are known, and what a stage solved for, the candidate as it is. Of raw images the surest candidate was chosen by how it looks, and
/// a mean over restarts looks worse: `docs/decisions/0017-raw-images.md`.
pub(super) fn estimates(
    context: &AttackContext<'_>,
    finished: &Finished<'_>,
    entries: &Entries,
    ranked: &[usize],
    told_apart: &[bool],
    raw: Option<&RawImages>,
) -> Array2<f32> {
    let mut estimates = entries.rows.select(Axis(0), ranked);
    if raw.is_some() {
        return estimates;
    }
    let count = finished.rows.nrows();
    let of_restarts: Vec<usize> = (0..ranked.len()).filter(|&at| ranked[at] < count).collect();
    let agreed: Vec<usize> = of_restarts.iter().map(|&at| ranked[at]).collect();
    let merged = merge(finished.rows.view(), finished.compared.view(), context.labels, &agreed);
    for (&at, merged) in of_restarts.iter().zip(merged.rows()) {
        estimates.row_mut(at).assign(&(&merged * context.problem.input_norm as f32));
    }
    if are_images(context) && finished.are_whole() {
        let restarts = unit_rows(finished.rows.view());
        let of_each: Vec<Option<Shown>> = (0..ranked.len())
            .map(|at| {
                (told_apart[at] || ranked[at] < count).then(|| {
                    Shown::of(
                        estimates.row(at),
                        restarts.view(),
                        context.labels.len(),
                        told_apart[at],
                        context.threads,
                    )
                })?
            })
            .collect();
        let mut of_pictures: Vec<f32> = of_each
            .iter()
            .zip(told_apart)
            .filter_map(|(shown, &picture)| picture.then_some(shown.as_ref()?.alike))
            .collect();
        let weight = upper_median(&mut of_pictures).map_or(0.0, weight_of_pictures);
        for (at, shown) in of_each.iter().enumerate() {
            if let Some(shown) = shown {
                let own = if told_apart[at] { weight } else { 0.0 };
                let beside = shown.beside(estimates.row(at), own);
                estimates.row_mut(at).assign(&beside);
            }
        }
    }
    estimates
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
    /// Of an `estimate` (r) by `restarts`, each of `m` unit rows of (M, r), if they show it; a separated `picture` may have either sign.
    fn of(
        estimate: ArrayView1<'_, f32>,
        restarts: ArrayView2<'_, f32>,
        m: usize,
        picture: bool,
        parallelism: Parallelism,
    ) -> Option<Self> {
        let own = unit_rows(estimate.insert_axis(Axis(0)));
        let cosines = matmul(restarts, own.t(), parallelism);
        let alike = |i: usize| if picture { cosines[[i, 0]].abs() } else { cosines[[i, 0]] };
        let (mut mean, mut sum, mut count) = (Array1::<f32>::zeros(estimate.len()), 0.0, 0);
        for first in (0..restarts.nrows()).step_by(m) {
            let nearest = (first..first + m).max_by(|&a, &b| alike(a).total_cmp(&alike(b)));
            if let Some(nearest) = nearest.filter(|&i| alike(i) > SHOWS_THE_SAME) {
                mean.scaled_add(cosines[[nearest, 0]].signum(), &restarts.row(nearest));
                sum += alike(nearest);
                count += 1;
            }
        }
        let least = if picture { 1 } else { LEAST_RESTARTS };
        (count >= least).then(|| Self {
            mean: unit_rows(mean.insert_axis(Axis(0)).view()).remove_axis(Axis(0)),
            alike: sum / count as f32,
        })
    }

    /// The mean, with the `estimate` (r) counting `own`, of the length of the estimate.
    fn beside(&self, estimate: ArrayView1<'_, f32>, own: f32) -> Array1<f32> {
        let length = reduce::norm(estimate);
        let both = &self.mean + &(&estimate * (f64::from(own) / length.max(f64::MIN_POSITIVE)) as f32);
        let factor = length / reduce::norm(both.view()).max(f64::MIN_POSITIVE);
        both * factor as f32
    }
}

/// Cosine of estimates as they are above which they are the same picture to whoever looks at them, whatever tells them apart.
const SAME_PICTURE: f32 = 0.85;

/// Which of `estimates` (k, r), which are `compared` as (k, s), are neither the same as one before nor its negative. Those that were
/// `told_apart` (k) are different.
pub(super) fn distinct(
    estimates: ArrayView2<'_, f32>,
    compared: ArrayView2<'_, f32>,
    told_apart: &[bool],
) -> Vec<usize> {
    let cosines = |rows: ArrayView2<'_, f32>| {
        let unit = unit_rows(rows);
        matmul(unit.view(), unit.t(), Parallelism::Sequential)
    };
    let (pictures, compared) = (cosines(estimates), cosines(compared));
    let mut kept: Vec<usize> = Vec::new();
    for i in 0..estimates.nrows() {
        let is_new = |&before: &usize| {
            let alike =
                compared[[i, before]].abs() > SAME_COSINE || pictures[[i, before]].abs() > SAME_PICTURE;
            !alike || (told_apart[i] && told_apart[before])
        };
        if kept.iter().all(is_new) {
            kept.push(i);
        }
    }
    kept
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
            Shown::of(estimate.view(), restarts.view(), 2, picture, Parallelism::Sequential)
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
    fn an_image_is_listed_once_and_its_negative_is_it() {
        let estimates = array![[1.0, 0.0], [0.1, 1.0], [2.0, 0.3], [-0.1, -3.0], [0.0, 0.0]];
        assert_eq!(distinct(estimates.view(), estimates.view(), &[false; 5]), [0, 1, 4]);
        // What whitening tells apart can look the same.
        let compared = array![[1.0, 0.0], [0.0, 1.0]];
        assert_eq!(distinct(array![[1.0, 0.5], [1.0, 0.0]].view(), compared.view(), &[false; 2]), [0]);
        assert_eq!(distinct(array![[1.0, 1.0], [1.0, 0.0]].view(), compared.view(), &[false; 2]), [0, 1]);
        assert_eq!(distinct(array![[1.0, 0.5], [1.0, 0.0]].view(), compared.view(), &[true; 2]), [0, 1]);
    }
}
