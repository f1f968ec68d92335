//! From pictures to inputs: sign, length, label and multiplier.
//!
//! A picture that separation finds has neither sign nor length. So it and its negative, both of the prior norm and with the label that the
//! network gives them, are where annealed descent begins; the rest of the candidates are random. Descent says how long each is and how
//! much of the weights it explains. Of a picture and its negative the one that explains more, multiplier times norm, is kept, and how much
//! more says how sure the sign is.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_kkt::stationarity::OutputWeighting;
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

use crate::problem::prepared::AttackProblem;
use crate::problem::start::random_start;
use crate::search::annealed::{DescentParams, anneal, start_with};
use crate::search::run::TerminationReason;
use crate::search::state::Start;
use crate::search::step::Step;
use crate::stages::separated_starts::sources::refinement;

/// A picture as an input of the network.
#[derive(Clone, Debug)]
pub(crate) struct PictureInput {
    /// In the coordinates of the attack, (r).
    pub(crate) coordinates: Array1<f32>,
    pub(crate) label: i8,
    pub(crate) multiplier: f32,
    /// Share of the picture in what it and its negative explain together, in [0.5, 1].
    pub(crate) sign_share: f32,
    /// Cosine of the input that descent made of the picture with the picture, in [-1, 1].
    pub(crate) unmoved: f32,
}

/// Steps of the descent: it begins near its end.
const STEPS: usize = 300;

/// Inputs of `pictures` (k, r), coordinates of length one, in their order; nothing where an observer ended the descent, or it met a NaN.
pub(crate) fn inputs_of(
    problem: &AttackProblem,
    pictures: ArrayView2<'_, f32>,
    candidates: usize,
    options: &DescentParams,
    seed: Seed,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Option<Vec<PictureInput>> {
    let (count, rank) = pictures.dim();
    let norm = problem.input_norm as f32;
    let fill = candidates.saturating_sub(2 * count);
    let options = DescentParams { steps: STEPS, ..refinement(options) };
    let others =
        random_start(&problem.spectrum[..rank], fill, options.initial_norm * problem.input_norm, seed);
    let starts = concatenate![Axis(0), &pictures * norm, &pictures * -norm, others];
    let answers = outputs(&problem.network, starts.view(), parallelism);
    let labels: Vec<i8> = answers.column(0).iter().map(|&answer| if answer > 0.0 { 1 } else { -1 }).collect();
    let weighting = OutputWeighting::Binary(labels.clone());
    let start = start_with(problem, &weighting, &options, starts, parallelism);
    let run = anneal(problem, &weighting, &options, Start::State(start), parallelism, observe);
    if run.termination != TerminationReason::MaxSteps {
        return None;
    }
    let strength = |i: usize| run.multipliers[i] * reduce::norm(run.coordinates.row(i)) as f32;
    let of = |i: usize| {
        let (picture, negative) = (strength(i), strength(i + count));
        let (kept, sign, sum) = if picture >= negative {
            (i, 1.0, picture + negative)
        } else {
            (i + count, -1.0, picture + negative)
        };
        let coordinates = run.coordinates.row(kept).to_owned();
        let product: f64 = coordinates.iter().zip(pictures.row(i)).map(|(&a, &b)| f64::from(a * b)).sum();
        let length = reduce::norm(coordinates.view()).max(f64::MIN_POSITIVE);
        PictureInput {
            label: labels[kept],
            multiplier: run.multipliers[kept],
            sign_share: if sum > 0.0 { picture.max(negative) / sum } else { 0.5 },
            unmoved: (sign * product / length) as f32,
            coordinates,
        }
    };
    Some((0..count).map(of).collect())
}

/// `pictures` (k, w) in the first `rank` of their coordinates, of length one, (k, rank).
pub(crate) fn truncated(pictures: ArrayView2<'_, f32>, rank: usize) -> Array2<f32> {
    let shared = rank.min(pictures.ncols());
    let mut rows = Array2::zeros((pictures.nrows(), rank));
    rows.slice_mut(s![.., ..shared]).assign(&pictures.slice(s![.., ..shared]));
    palimpsest_numerics::reduce::unit_rows(rows.view())
}
