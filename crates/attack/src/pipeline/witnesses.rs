//! Who found each entry of the list.

use ndarray::{ArrayView1, Axis};
use palimpsest_numerics::gemm::matmul;
use palimpsest_numerics::reduce::unit_rows;

use crate::evidence::witnesses::Witnesses;
use crate::pipeline::entries::Entries;
use crate::stages::candidate::{Candidate, Origin};
use crate::stages::context::AttackContext;

/// Cosine above which candidates are witnesses of the same input.
const SAME_INPUT: f32 = 0.8;

/// What speaks for each of those `ranked`.
pub(super) fn witnesses(
    context: &AttackContext<'_>,
    entries: &Entries,
    solved: &[Candidate],
    ranked: &[usize],
) -> Vec<Witnesses> {
    let unit = unit_rows(entries.rows.view());
    let cosines = matmul(unit.select(Axis(0), ranked).view(), unit.t(), context.threads);
    let nearest: Vec<Option<usize>> = cosines.columns().into_iter().map(nearest).collect();
    let (of_restarts, of_stages) = nearest.split_at(entries.of_restarts);
    let of_each = (0..ranked.len()).map(|entry| {
        let near = |of: &Option<usize>| *of == Some(entry);
        let restarts = of_restarts.chunks_exact(context.labels.len());
        let (all, found) = (restarts.len(), restarts.filter(|restart| restart.iter().any(near)).count());
        let mut of_this =
            Witnesses { found: entries.are_whole.then(|| found as f32 / all as f32), ..Witnesses::default() };
        for candidate in
            solved.iter().zip(of_stages).filter(|(_, of)| near(of)).map(|(candidate, _)| candidate)
        {
            let surest = match candidate.origin {
                Origin::Deflation => &mut of_this.rounds,
                Origin::Separation => &mut of_this.separation,
                Origin::ActivationPattern => &mut of_this.activation_pattern,
                Origin::Restart(_) => continue,
            };
            *surest = surest.max(candidate.probability);
        }
        of_this
    });
    of_each.collect()
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

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_candidate_speaks_for_the_entry_that_is_nearest_to_it() {
        assert_eq!(nearest(array![0.81, 0.9, 0.9].view()), Some(1));
        assert_eq!(nearest(array![0.5, 0.8].view()), None);
    }
}
