//! The list of the distinct inputs among all candidates.

use ndarray::Axis;
use palimpsest_kkt::outputs::Label;
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_unmix::edges::edges;
use palimpsest_unmix::raw::RawImages;

use crate::error::AttackError;
use crate::evidence::consensus::{ranking, ranking_up_to_sign};
use crate::evidence::left_factors::own_sign;
use crate::evidence::witnesses::Witnesses;
use crate::evidence::zero_sum::{Known, log_odds_of_signs};
use crate::pipeline::entries::{Entries, are_images};
use crate::pipeline::witnesses::witnesses;
use crate::stages::candidate::{Candidate, Origin};
use crate::stages::context::AttackContext;

/// Entries of the list for each direction of the weights: there are about as many inputs as directions, and what comes later is chance.
const LISTED: usize = 3;
/// Directions below which the list is as long as for so many.
const LEAST_LISTED: usize = 10;
/// Probability that an entry which all restarts found is an input or the negative of one.
const FOUND: f32 = 0.9;
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
    let mut ranked = ranking_up_to_sign(compared, rows, order, strength.view(), &solved_for, &pictures);
    ranked.truncate(most);
    for signed in &ranked {
        if let Some(negative) = signed.turned {
            entries.turn(signed.candidate, entries.labels[negative]);
        }
    }
    let (ranked, signs): (Vec<usize>, Vec<f32>) =
        ranked.into_iter().map(|signed| (signed.candidate, signed.sign)).unzip();
    let witnesses = with_signs(context, entries, solved, &ranked, &signs);
    for (&i, witnesses) in ranked.iter().zip(&witnesses) {
        entries.confidence[i] = witnesses.probability();
    }
    let mut listed: Vec<Listed> = ranked.into_iter().zip(witnesses.into_iter().map(Some)).collect();
    listed.sort_by(|(a, _), (b, _)| entries.confidence[*b].total_cmp(&entries.confidence[*a]));
    Ok(listed)
}

/// What speaks for each of those `ranked`, whose own signs have these log odds; those are turned for whose negative the sum of all speaks more.
fn with_signs(
    context: &AttackContext<'_>,
    entries: &mut Entries,
    solved: &[Candidate],
    ranked: &[usize],
    signs: &[f32],
) -> Vec<Witnesses> {
    let mut of_each = witnesses(context, entries, solved, ranked);
    for (of, &sign) in of_each.iter_mut().zip(signs) {
        of.sign = sign;
    }
    let Some(sums) = zero_sum(context, entries, ranked, &of_each) else { return of_each };
    let turned: Vec<bool> = signs.iter().zip(&sums).map(|(sign, sum)| sign + sum < 0.0).collect();
    for (&candidate, _) in ranked.iter().zip(&turned).filter(|(_, turned)| **turned) {
        entries.turn(candidate, label_of_negative(context, entries, candidate));
    }
    let mut of_each = witnesses(context, entries, solved, ranked);
    for (i, of) in of_each.iter_mut().enumerate() {
        let own = if turned[i] { -1.0 } else { 1.0 };
        (of.sign, of.sum) = (own * signs[i], Some(own * sums[i]));
    }
    of_each
}

/// Log odds that all others give the sign of each of those `ranked`, where inputs are images that look as if they sum to zero; 0 for those
/// that come later than there may be inputs.
fn zero_sum(
    context: &AttackContext<'_>,
    entries: &Entries,
    ranked: &[usize],
    of_each: &[Witnesses],
) -> Option<Vec<f32>> {
    // Of pictures that are not smooth the negative was told by what is black.
    context.problem.image_prior.as_ref()?.smoothness.as_ref()?;
    let shape = context.problem.prior.image_shape?;
    // Inputs that sum to zero have one direction less.
    let inputs = context.problem.rank() + 1;
    let first = ranked.len().min(inputs + inputs / 5);
    let pictures = entries.rows.select(Axis(0), &ranked[..first]);
    let edges = edges(context.problem.lift(pictures.view(), context.threads).view(), shape);
    let known = |of: &Witnesses| Known {
        found: of.separation.max(of.activation_pattern).max(of.rounds).max(FOUND * of.found).into(),
        sign: of.sign.into(),
    };
    let known: Vec<Known> = of_each[..first].iter().map(known).collect();
    let log_odds = log_odds_of_signs(edges.view(), &known, inputs, context.threads)?;
    let mut sums = vec![0.0; ranked.len()];
    for (sum, log_odds) in sums.iter_mut().zip(log_odds) {
        *sum = log_odds as f32;
    }
    Some(sums)
}

/// Label of the negative of a candidate.
fn label_of_negative(context: &AttackContext<'_>, entries: &Entries, candidate: usize) -> Label {
    let (network, label) = (&context.problem.network, entries.labels[candidate]);
    let negative = -&entries.rows.select(Axis(0), &[candidate]);
    let answer = outputs(network, negative.view(), context.threads);
    let possible = context.problem.head.labels_of_answer(answer.as_slice().expect("outputs are contiguous"));
    if possible.contains(&label) { label } else { possible[0] }
}

/// What its left factor says of the sign of each candidate that a separation told apart from others.
fn pictures(
    context: &AttackContext<'_>,
    entries: &Entries,
    solved: &[Candidate],
) -> Result<Vec<Option<f32>>, AttackError> {
    let told_apart = separated(entries.of_restarts, solved);
    let which: Vec<usize> = (0..told_apart.len()).filter(|&i| told_apart[i]).collect();
    let mut pictures = vec![None; told_apart.len()];
    if which.is_empty() {
        return Ok(pictures);
    }
    let (problem, rows) = (context.problem, unit_rows(entries.rows.select(Axis(0), &which).view()));
    let signs = own_sign(&problem.network, problem.head, rows.view(), problem.input_norm, context.threads)?;
    for (&i, &sign) in which.iter().zip(&signs) {
        pictures[i] = Some(sign as f32);
    }
    Ok(pictures)
}

/// Which candidates, those of restarts first, a separation told apart from each other.
pub(super) fn separated(of_restarts: usize, solved: &[Candidate]) -> Vec<bool> {
    let of_stages = solved.iter().map(|candidate| candidate.origin == Origin::Separation);
    std::iter::repeat_n(false, of_restarts).chain(of_stages).collect()
}
