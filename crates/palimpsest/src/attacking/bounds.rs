//! What an attack may ask for: restarts, candidates, memory.

use palimpsest_attack::{AttackParams, Method};

use crate::terminal::{Misuse, memory};

/// Most restarts: their results wait in memory to be pooled.
pub(super) const MAX_RESTARTS: usize = 10_000;
/// Most candidates of a restart, which are compared with each other.
const MAX_CANDIDATES: usize = 16_384;
/// Restarts of an attack that a time limit ends, or that ends by itself, unless told otherwise: later ones find little that is new.
pub(crate) const RESTARTS_IN_TIME: usize = 48;

/// Whether an attack can be made with `params`.
///
/// # Errors
/// [`Misuse`] naming the option of the command that cannot work.
pub(crate) fn check(params: &AttackParams) -> Result<(), Misuse> {
    params.check().map_err(|error| Misuse(error.to_string()))?;
    if params.restarts > MAX_RESTARTS {
        return Err(Misuse(format!("--restarts must be at most {MAX_RESTARTS}, got {}", params.restarts)));
    }
    match params.candidates {
        Some(m) if m > MAX_CANDIDATES => {
            Err(Misuse(format!("--candidates must be at most {MAX_CANDIDATES}, got {m}")))
        }
        _ => Ok(()),
    }
}

/// Memory of an attack on a network of these widths, from above: the rank is not known before it starts.
pub(crate) fn attack_bytes(dims: &[usize], params: &AttackParams, threads: usize) -> Option<u64> {
    let (d, width) = (dims[0], dims[1]);
    let side = d.min(width);
    // A rank above the side is refused later.
    let rank = params.rank.map_or(side, |rank| rank.min(side));
    let coordinates = if matches!(params.method, Method::Gradient(_)) { d } else { rank };
    let m = params.candidates.unwrap_or(2 * rank);
    let hidden: usize =
        dims[1..dims.len() - 1].iter().try_fold(0_usize, |sum, &width| sum.checked_add(width))?;
    let at_once = threads.min(params.restarts);
    let single = size_of::<f32>();
    // The network, the same on coordinates, a residual for each restart that runs.
    let weights = dims.windows(2).map(|pair| memory::numbers(at_once.checked_add(2)?, pair, single));
    let decomposition = memory::numbers(3, &[d, width], size_of::<f64>());
    let run = memory::numbers(
        at_once,
        &[m, hidden.checked_mul(10)?.checked_add(coordinates.checked_mul(12)?)?],
        single,
    );
    let inside = match params.method {
        Method::Alternating(_) => memory::numbers(at_once, &[2, m, m], single),
        // The check for negatives.
        Method::Annealed(_) => {
            let given = width.checked_mul(2)?.checked_add(m.min(width))?;
            let check = memory::numbers(at_once, &[m, given], size_of::<f64>());
            // Two edges a pixel, in double precision and whitened, without and with a mean image, and those of the starts that are
            // iterated together.
            let edges = params.separation.is_some() || params.deflation.is_some();
            let images = params.prior.image_shape.filter(|_| edges);
            let separation = images.map_or(Some(0), |_| {
                let edges = memory::numbers(6, &[rank, d], size_of::<f64>())?;
                let together = memory::numbers(threads, &[2, SEPARATED_TOGETHER, d], single)?;
                // Edges and pixels along each direction, and with weights for each thread.
                let refined = memory::numbers(threads.checked_add(1)?, &[3, rank, d], single)?;
                edges.checked_add(together)?.checked_add(refined)
            });
            memory::total([check, separation])
        }
        Method::Gradient(_) => Some(0),
    };
    // As inputs, estimated and not, and as coordinates.
    let found = memory::numbers(params.restarts, &[m, d.checked_mul(2)?.checked_add(coordinates)?], single);
    memory::total(weights.chain([decomposition, run, inside, found]))
}

/// Bytes of candidates up to which restarts go on while something new comes: what is kept of them grows with each.
const MOST_BYTES: u64 = 1 << 32;

/// The most restarts of an attack that ends by itself: those of `params`, or fewer on a wide network. It does not depend on the machine.
pub(crate) fn most_restarts(dims: &[usize], params: &AttackParams) -> usize {
    let Some(saturation) = &params.saturation else { return params.restarts };
    let side = dims[0].min(dims[1]);
    let (rank, every) = (params.rank.map_or(side, |rank| rank.min(side)), saturation.every);
    let m = params.candidates.unwrap_or(2 * rank);
    let of_each = memory::numbers(m, &[2 * dims[0] + rank], size_of::<f32>());
    let fit = of_each.map_or(0, |bytes| MOST_BYTES / bytes.max(1) / every as u64);
    params.restarts.min(every.saturating_mul(usize::try_from(fit).unwrap_or(usize::MAX).max(1)))
}

/// Bound on the starts that a separation iterates together.
const SEPARATED_TOGETHER: usize = 64;

#[cfg(test)]
mod tests {
    use palimpsest_attack::SaturationParams;

    use super::*;

    #[test]
    fn restarts_that_end_by_themselves_are_fewer_on_a_wide_network() {
        let mut params = AttackParams::default();
        params.restarts = 48;
        assert_eq!(most_restarts(&[12288, 10000, 1], &params), 48, "a number that was asked for");
        params.saturation = Some(SaturationParams::default());
        assert_eq!(most_restarts(&[3072, 1000, 1], &params), 48);
        assert_eq!(most_restarts(&[12288, 1200, 1], &params), 16);
        assert_eq!(most_restarts(&[12288, 10000, 1], &params), 8);
        params.restarts = 4;
        assert_eq!(most_restarts(&[12288, 10000, 1], &params), 4);
    }
}
