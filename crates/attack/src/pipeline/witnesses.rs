//! Who found each entry of the list.

use ndarray::{ArrayView1, Axis};
use palimpsest_numerics::gemm::matmul;
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::reduce::unit_rows;

use crate::evidence::witnesses::Witnesses;
use crate::pipeline::entries::Entries;
use crate::pipeline::finished::Finished;
use crate::stages::candidate::{Candidate, Origin};
use crate::stages::context::AttackContext;

/// Cosine above which candidates are witnesses of the same input.
const SAME_INPUT: f32 = 0.8;

/// What speaks for each of those `ranked`.
pub(super) fn witnesses(
    context: &AttackContext<'_>,
    finished: &Finished<'_>,
    entries: &Entries,
    solved: &[Candidate],
    ranked: &[usize],
) -> Vec<Witnesses> {
    let strength = entries.strength();
    let mut strengths: Vec<f64> = ranked.iter().map(|&i| f64::from(strength[i])).collect();
    let median = upper_median(&mut strengths).unwrap_or(0.0).max(f64::MIN_POSITIVE) as f32;
    let began: Vec<bool> =
        finished.restarts.iter().map(|(number, _)| context.begins_with_images(*number)).collect();
    let of_all = Witnesses {
        distinct_share: finished.distinct_share as f32,
        separated_share: context.separated_share() as f32,
        explained: (1.0 - finished.residual * finished.residual).clamp(0.0, 1.0) as f32,
        ..Witnesses::default()
    };
    let unit = unit_rows(entries.rows.view());
    let cosines = matmul(unit.select(Axis(0), ranked).view(), unit.t(), context.threads);
    let nearest: Vec<Option<usize>> = cosines.columns().into_iter().map(nearest).collect();
    let of_each = ranked.iter().zip(cosines.rows()).enumerate().map(|(entry, (&i, cosines))| {
        let mut of_this = Witnesses {
            strength: strength[i] / median,
            sign_share: sign_share(cosines, strength.view()),
            ..of_all
        };
        let near = (0..nearest.len()).filter(|&other| nearest[other] == Some(entry));
        hear_candidates(&mut of_this, entries, solved, near);
        let of_restarts = nearest[..entries.of_restarts].chunks_exact(context.labels.len());
        let found: Vec<bool> = of_restarts.map(|of_restart| of_restart.contains(&Some(entry))).collect();
        hear_restarts(&mut of_this, &found, &began);
        of_this
    });
    of_each.collect()
}

/// Adds what the candidates `near` an entry say, by their indices.
fn hear_candidates(
    of_this: &mut Witnesses,
    entries: &Entries,
    solved: &[Candidate],
    near: impl Iterator<Item = usize>,
) {
    for other in near {
        let (agreement, bias_share) = (entries.agreement[other], entries.bias_share[other]);
        let surest = match other.checked_sub(entries.of_restarts).map(|i| solved[i].origin) {
            None | Some(Origin::Restart(_)) => {
                of_this.agreement = of_this.agreement.max(agreement);
                of_this.bias_share = of_this.bias_share.max(bias_share);
                &mut of_this.restarts
            }
            Some(Origin::Deflation) => &mut of_this.rounds,
            Some(Origin::Separation) => {
                of_this.support_share = of_this.support_share.max(agreement);
                &mut of_this.separation
            }
            Some(Origin::ActivationPattern) => &mut of_this.activation_pattern,
        };
        *surest = surest.max(entries.confidence[other]);
    }
}

/// Adds which restarts `found` an entry; `began` says which of them began with pictures.
fn hear_restarts(of_this: &mut Witnesses, found: &[bool], began: &[bool]) {
    let of_those = |with_pictures: bool| {
        let these = found.iter().zip(began).filter(|(_, began)| **began == with_pictures);
        share(these.map(|(found, _)| *found))
    };
    of_this.found = share(found.iter().copied());
    (of_this.found_from_random, of_this.found_from_pictures) = (of_those(false), of_those(true));
}

/// The entry that a candidate speaks for: the nearest by these cosines, if it is near. Of two entries that are alike it speaks for one, since
/// the other may be a poor copy.
fn nearest(cosines: ArrayView1<'_, f32>) -> Option<usize> {
    let of = cosines
        .iter()
        .enumerate()
        .fold((0, SAME_INPUT), |best, (i, &cosine)| if cosine > best.1 { (i, cosine) } else { best });
    (of.1 > SAME_INPUT).then_some(of.0)
}

/// Share of what is true, in [0, 1]; 0 of nothing.
fn share(these: impl Iterator<Item = bool>) -> f32 {
    let (all, hold) = these.fold((0, 0), |(all, hold), this| (all + 1, hold + usize::from(this)));
    hold as f32 / all.max(1) as f32
}

/// Strength on a candidate's own side, as a share of that of both.
fn sign_share(cosines: ArrayView1<'_, f32>, strength: ArrayView1<'_, f32>) -> f32 {
    let near = |sign: f32| {
        let near = cosines.iter().zip(strength).filter(|(cosine, _)| sign * **cosine > SAME_INPUT);
        near.map(|(_, &strength)| strength).sum::<f32>()
    };
    let (own, other) = (near(1.0), near(-1.0));
    if own + other > 0.0 { own / (own + other) } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_candidate_speaks_for_the_entry_that_is_nearest_to_it() {
        assert_eq!(nearest(array![0.81, 0.9, 0.9].view()), Some(1));
        assert_eq!(nearest(array![0.5, 0.8].view()), None);
    }

    #[test]
    fn a_sign_has_the_share_of_its_strength() {
        let strength = array![1.0, 2.0, 5.0, 1.0];
        assert_eq!(sign_share(array![1.0, 0.9, 0.1, -0.95].view(), strength.view()), 0.75);
        assert_eq!(sign_share(array![0.1, 0.1, 0.1, 0.1].view(), strength.view()), 0.5);
    }
}
