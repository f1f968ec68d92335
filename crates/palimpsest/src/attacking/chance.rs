//! What agreement chance reaches: random mixtures of an attack's own candidates, compared with its restarts.
//!
//! In few dimensions everything resembles something, so a fixed bar would call chance a finding.

use ndarray::{Array2, ArrayView2, Axis, s};
use palimpsest_attack::AttackError;
use palimpsest_attack::evidence::consensus::Comparison;
use palimpsest_attack::problem::head::Head;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_numerics::seed::{Seed, random_noise};

use super::found::Found;

/// Mixtures made.
const MIXTURES: usize = 1000;

/// The agreement of each of a thousand random mixtures; `None` when fewer than two restarts can vote.
///
/// A mixture is a Gaussian combination of all candidates, so mixtures spread as the candidates do and know nothing
/// else. Each is voted on as a candidate of one restart is: its best cosine among the candidates of one label of every
/// other restart, averaged.
pub(super) fn agreement_of_mixtures(found: &Found) -> Option<Vec<f64>> {
    let m = found.run.candidates_per_restart;
    // Inputs that were found exactly come after those of the restarts.
    let of_restarts = m * found.run.restarts.len();
    let voters: Vec<usize> =
        (0..found.run.restarts.len()).filter(|&restart| !found.run.restarts[restart].collapsed).collect();
    if voters.len() < 2 || m < 2 || found.candidates.nrows() < of_restarts {
        return None;
    }
    let labels = Head::of(&found.network, found.run.params.prior.task).ok()?.label_evenly(m);
    let mut kinds = labels.clone();
    kinds.dedup();
    let parallelism = Parallelism::of_threads(rayon::current_num_threads());
    let candidates = found.candidates.slice(s![..of_restarts, ..]);
    let compared = compared(found, candidates, parallelism).ok()?;
    let unit = unit_rows(compared.view());
    let weights = random_noise(MIXTURES, unit.nrows(), 1.0, &Seed::new(found.run.seed).named("chance"));
    let mixtures = unit_rows(matmul(weights.view(), compared.view(), parallelism).view());
    let cosines = matmul(mixtures.view(), unit.t(), parallelism);
    let agreement = cosines
        .axis_iter(Axis(0))
        .enumerate()
        .map(|(i, row)| {
            // Voters and labels take turns, as among the candidates.
            let own = voters[i % voters.len()];
            let label = kinds[i / voters.len() % kinds.len()];
            let votes = voters.iter().filter(|&&other| other != own).map(|&other| {
                let alike = (0..m).filter(|&j| labels[j] == label);
                alike.map(|j| row[other * m + j]).fold(0.0, f32::max)
            });
            f64::from(votes.sum::<f32>()) / (voters.len() - 1) as f64
        })
        .collect();
    Some(agreement)
}

/// Candidates (M, d) as the attack compared them.
fn compared(
    found: &Found,
    candidates: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Result<Array2<f32>, AttackError> {
    let coordinates = match found.span(parallelism)? {
        Some(basis) => matmul(candidates, basis.t(), parallelism),
        None => candidates.to_owned(),
    };
    let comparison = Comparison::of(coordinates.view(), found.run.candidates_per_restart, parallelism)?;
    Ok(comparison.apply(coordinates.view(), parallelism))
}
