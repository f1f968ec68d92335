//! How many directions of the entry layer are signal.
//!
//! Where a random start is left, its singular values follow a law, and what stands out of it is signal ([`signal_rank`]). Adam leaves no such
//! floor, nor do weights that were stored in half precision: the law then counts several times too many. That shows in the spectrum itself,
//! whose logarithm bends once more ([`elbow`]) far below the count. Then what separations support decides, or else the rank at which
//! most images are separated: `docs/decisions/0025-rank.md`.

use std::ops::ControlFlow;

use ndarray::s;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::separation::{SEPARATED, SeparationParams, WhitenedEdges, separate};

use crate::error::AttackError;
use crate::problem::entry::{EntryLayer, LEAST_DIRECTIONS, MOST_OF_INPUTS};
use crate::problem::spectrum::{elbow, is_beyond, signal_rank};

/// Ranks that are tried then, from [`LEAST_DIRECTIONS`] on, each this multiple of the one before.
const STEP: f64 = 1.18;

/// Directions to work in; `supported` tells those that separations support, if they say something, and is asked only where that matters.
///
/// # Errors
/// [`AttackError::Factor`] when edges cannot be decomposed; those of `supported`.
pub(crate) fn directions_of_signal(
    entry: &EntryLayer,
    supported: &dyn Fn() -> Result<Option<usize>, AttackError>,
    separation: Option<SeparationParams>,
    seed: Seed,
    parallelism: Parallelism,
) -> Result<usize, AttackError> {
    let counted = signal_rank(entry.spectrum(), entry.network.layers()[0].weight.dim());
    let (elbow, most) = (elbow(entry.spectrum()), MOST_OF_INPUTS * entry.network.inputs() as f64);
    let bends = is_beyond(counted, elbow);
    // Rows of plain numbers and small images have no pictures in too wide a span.
    let are_separated = entry.prior.image_shape.is_some() && most >= LEAST_DIRECTIONS as f64;
    if !bends && (counted as f64 <= most || !are_separated) {
        return Ok(counted);
    }
    if let Some(supported) = supported()? {
        return Ok(supported.min(counted));
    }
    if !bends {
        return Ok(most as usize);
    }
    let Some((shape, params)) = entry.prior.image_shape.zip(separation) else { return Ok(elbow) };
    let ends = most.min(elbow as f64);
    let ranks = (0..).map(|step| LEAST_DIRECTIONS as f64 * STEP.powi(step)).take_while(|&rank| rank <= ends);
    // Few images in a span of many directions: beyond the right rank fewer of them are separated, not more.
    let mut best: Option<(usize, usize)> = None;
    for rank in ranks.map(|rank| rank.round() as usize) {
        let edges = WhitenedEdges::of(entry.directions().slice(s![..rank, ..]), shape, parallelism)?;
        let go_on = &mut |_| ControlFlow::Continue(());
        let found = separate(&edges, &params, seed.indexed(rank as u64), parallelism, go_on)?;
        let sources = found.contrasts.len();
        if sources as f64 >= SEPARATED * rank as f64 && best.is_none_or(|(most, _)| sources >= most) {
            best = Some((sources, rank));
        }
    }
    Ok(best.map_or(elbow, |(_, rank)| rank))
}
