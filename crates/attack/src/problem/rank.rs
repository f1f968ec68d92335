//! How many directions of the entry layer are signal.
//!
//! Where a random start is left, its singular values follow a law, and what stands out of it is signal ([`signal_rank`]). Adam leaves no such
//! floor, nor do weights that were stored in half precision: the law then counts several times too many. That shows in the spectrum itself,
//! whose logarithm bends once more ([`elbow`]) far below the count. Then what separations support decides, or else the largest number near
//! the elbow at which as many images are separated as a span of few images gives: `docs/decisions/0025-rank.md`.

use std::ops::ControlFlow;

use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::separation::{SEPARATED, SeparationParams, WhitenedEdges, separate};

use crate::error::AttackError;
use crate::problem::entry::EntryLayer;
use crate::problem::spectrum::{elbow, signal_rank};

/// The law's count is not believed when it is more than this many times the elbow.
const BEYOND_ELBOW: f64 = 1.5;
/// Ranks that are tried, each this share of the one before.
const STEP: f64 = 0.85;
/// How many.
const TRIED: i32 = 5;

/// Directions to work in; `supported` are those that separations support, if they say something.
///
/// # Errors
/// [`AttackError::Factor`] when edges cannot be decomposed.
pub(crate) fn directions_of_signal(
    entry: &EntryLayer,
    supported: Option<usize>,
    separation: Option<SeparationParams>,
    seed: Seed,
    parallelism: Parallelism,
) -> Result<usize, AttackError> {
    let counted = signal_rank(entry.spectrum(), entry.network.layers()[0].weight.dim());
    let elbow = elbow(entry.spectrum());
    if counted as f64 <= BEYOND_ELBOW * elbow as f64 {
        return Ok(counted);
    }
    if let Some(supported) = supported {
        return Ok(supported.min(counted));
    }
    let Some((shape, params)) = entry.prior.image_shape.zip(separation) else { return Ok(elbow) };
    let directions = entry.directions();
    for step in 0..TRIED {
        let rank = ((elbow as f64 * STEP.powi(step)).round() as usize).clamp(1, directions.nrows());
        let basis = directions.slice(ndarray::s![..rank, ..]);
        let edges = WhitenedEdges::of(basis, shape, parallelism)?;
        let go_on = &mut |_| ControlFlow::Continue(());
        let found = separate(&edges, &params, seed.indexed(step as u64), parallelism, go_on)?;
        if found.contrasts.len() as f64 >= SEPARATED * rank as f64 {
            return Ok(rank);
        }
    }
    Ok(elbow)
}
