//! The list of the distinct inputs among all candidates.

use ndarray::Axis;
use palimpsest_kkt::outputs::Label;
use palimpsest_unmix::raw::RawImages;

use crate::error::AttackError;
use crate::evidence::consensus::{ranking, ranking_up_to_sign};
use crate::evidence::left_factors::{Likeness, likeness};
use crate::evidence::witnesses::Witnesses;
use crate::pipeline::entries::{Entries, are_images};
use crate::pipeline::witnesses::witnesses;
use crate::problem::head::Head;
use crate::stages::candidate::{Candidate, Origin};
use crate::stages::context::AttackContext;

/// Entries of the list for each direction of the weights: there are about as many inputs as directions, and what comes later is chance.
const LISTED: usize = 3;
/// Directions below which the list is as long as for so many.
const LEAST_LISTED: usize = 10;
/// A candidate that is listed, by its index, and who found it, where that is known.
pub(super) type Listed = (usize, Option<Witnesses>);

/// The distinct inputs among `entries`, surest first, whose confidence is from here on what their witnesses say.
///
/// # Errors
/// [`AttackError::Factor`] when a candidate is not finite.
pub(super) fn listed(
    entries: &mut Entries,
    context: &AttackContext<'_>,
    solved: &[Candidate],
    raw: Option<&RawImages>,
) -> Result<Vec<Listed>, AttackError> {
    let most = LISTED * context.problem.rank().max(LEAST_LISTED);
    if raw.is_some() || !are_images(context) {
        // A raw image is the same whatever label it was found with; of others, two labels see an input and its negative.
        let told_apart =
            if raw.is_some() { vec![Label(0); entries.labels.len()] } else { entries.labels.clone() };
        let mut ranked = ranking(entries.compared.view(), &told_apart, entries.order.view());
        ranked.truncate(most);
        return Ok(ranked.into_iter().map(|i| (i, None)).collect());
    }
    let solved_for = |i: usize| i >= entries.of_restarts && solved[i - entries.of_restarts].support.is_none();
    let solved_for: Vec<bool> = (0..entries.rows.nrows()).map(solved_for).collect();
    let pictures = pictures(context, entries, solved)?;
    let strength = entries.strength();
    let (compared, rows, order) = (entries.compared.view(), entries.rows.view(), entries.order.view());
    let restarts_know = entries.are_whole && context.problem.head != Head::Number;
    let mut ranked =
        ranking_up_to_sign(compared, rows, order, strength.view(), &solved_for, &pictures, restarts_know);
    ranked.truncate(most);
    for signed in &ranked {
        if let Some(negative) = signed.turned {
            entries.turn(signed.candidate, entries.labels[negative]);
        }
    }
    let signs = ranked;
    let ranked: Vec<usize> = signs.iter().map(|signed| signed.candidate).collect();
    let mut witnesses = witnesses(context, entries, solved, &ranked);
    for ((&i, witnesses), signed) in ranked.iter().zip(&mut witnesses).zip(signs) {
        (witnesses.sign, witnesses.of_sign) = (signed.sign, signed.evidence);
        entries.confidence[i] = witnesses.probability();
    }
    let mut listed: Vec<Listed> = ranked.into_iter().zip(witnesses.into_iter().map(Some)).collect();
    listed.sort_by(|(a, _), (b, _)| entries.confidence[*b].total_cmp(&entries.confidence[*a]));
    Ok(listed)
}

/// What its left factor says of the sign of each candidate that a separation told apart from others.
fn pictures(
    context: &AttackContext<'_>,
    entries: &Entries,
    solved: &[Candidate],
) -> Result<Vec<Option<[f32; 2]>>, AttackError> {
    let told_apart = separated(entries.of_restarts, solved);
    let which: Vec<usize> = (0..told_apart.len()).filter(|&i| told_apart[i]).collect();
    let mut pictures = vec![None; told_apart.len()];
    if which.is_empty() {
        return Ok(pictures);
    }
    let of_each = likeness(context.problem, entries.rows.select(Axis(0), &which).view(), context.threads)?;
    for (&i, likeness) in which.iter().zip(&of_each) {
        pictures[i] = Some(Likeness::own_sign(likeness));
    }
    Ok(pictures)
}

/// Which candidates, those of restarts first, a separation told apart from each other.
pub(super) fn separated(of_restarts: usize, solved: &[Candidate]) -> Vec<bool> {
    let of_stages = solved.iter().map(|candidate| candidate.origin == Origin::Separation);
    std::iter::repeat_n(false, of_restarts).chain(of_stages).collect()
}
