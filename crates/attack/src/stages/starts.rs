//! Restarts of annealed descent that begin with given images.

use ndarray::{Array2, ArrayView2, Axis, stack};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

use crate::problem::prepared::AttackProblem;
use crate::problem::start::random_start;
use crate::search::annealed::{DescentParams, start_with};
use crate::search::state::Start;

/// First gate slope: images look sharp from the beginning.
const FIRST_SLOPE: f64 = 2.0;
/// Largest step of a coordinate.
const STEP_SIZE: f64 = 0.003;
/// Largest step of the logarithm of a multiplier.
const MULTIPLIER_STEP_SIZE: f64 = 0.05;

/// Options of annealed descent from images: they are near the inputs, so they move little, and multipliers are what is to be found.
pub(crate) fn refinement(params: &DescentParams) -> DescentParams {
    DescentParams {
        alpha: (FIRST_SLOPE, params.alpha.1.max(FIRST_SLOPE)),
        step_size: STEP_SIZE,
        multiplier_step_size: MULTIPLIER_STEP_SIZE,
        edge_sparsity_after: 0.0,
        sign_check: 1.0,
        ..*params
    }
}

/// `pictures` (k, r) of length one with their negatives, one after the other, of length `norm`, (2 k, r).
pub(crate) fn of_both_signs(pictures: ArrayView2<'_, f32>, norm: f64) -> Array2<f32> {
    let both = stack![Axis(1), &pictures * norm as f32, &pictures * -norm as f32];
    both.to_shape((2 * pictures.nrows(), pictures.ncols())).expect("as many values").into_owned()
}

/// Where annealed descent with the options of [`refinement`] begins: at `images` (k, r), each with the labels that the network's answer
/// allows. Where a label has more candidates than these, the others are random; where it has fewer, the last are left out.
pub(crate) fn start_at_images(
    problem: &AttackProblem,
    images: ArrayView2<'_, f32>,
    pull: &OutputPull,
    params: &DescentParams,
    seed: Seed,
    parallelism: Parallelism,
) -> Start {
    let Some(labels) = pull.labels() else { return Start::Random(seed) };
    let (rank, norm) = (problem.rank(), problem.input_norm);
    let answers = outputs(&problem.network, images, parallelism);
    let mut candidates =
        random_start(&problem.spectrum[..rank], labels.len(), params.initial_norm * norm, seed);
    let possible: Vec<Vec<Label>> = answers
        .rows()
        .into_iter()
        .map(|row| problem.head.labels_of_answer(row.to_slice().expect("rows are contiguous")))
        .collect();
    for label in (0..problem.head.labels()).map(Label) {
        let places = (0..labels.len()).filter(|&place| labels[place] == label);
        let sided = (0..images.nrows()).filter(|&i| possible[i].contains(&label));
        for (place, i) in places.zip(sided) {
            candidates.row_mut(place).assign(&images.row(i));
        }
    }
    Start::State(start_with(problem, pull, params, candidates, parallelism))
}
