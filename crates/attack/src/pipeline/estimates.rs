//! The best estimate of each input on the list.

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_unmix::raw::RawImages;

use crate::evidence::consensus::{SAME_COSINE, merge};
use crate::pipeline::entries::{Entries, are_images};
use crate::pipeline::finished::Finished;
use crate::pipeline::shown::Restarts;
use crate::stages::context::AttackContext;

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
    let of_restarts: Vec<bool> = ranked.iter().map(|&candidate| candidate < count).collect();
    let agreed: Vec<usize> = ranked.iter().copied().filter(|&candidate| candidate < count).collect();
    let merged = merge(finished.rows.view(), finished.compared.view(), context.labels, &agreed);
    let rows = estimates.rows_mut().into_iter().zip(&of_restarts).filter(|(_, of_restarts)| **of_restarts);
    for ((mut row, _), merged) in rows.zip(merged.rows()) {
        row.assign(&(&merged * context.problem.input_norm as f32));
    }
    if are_images(context) && finished.are_whole() {
        let restarts = unit_rows(finished.rows.view());
        let restarts = Restarts { candidates: restarts.view(), of_each: context.labels.len() };
        restarts.show(&mut estimates, told_apart, &of_restarts, context.threads);
    }
    estimates
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
