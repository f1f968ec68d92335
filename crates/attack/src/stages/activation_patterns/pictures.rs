//! Pictures in what is left: once some first-layer deltas are known, the layer freed of them mixes fewer images, which separate better.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::factor::{Svd, orthonormal_rows, svd};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::agreement::{AgreementParams, separate_by_agreement};

use crate::problem::prepared::AttackProblem;
use crate::stages::activation_patterns::layer::{GatedLayer, with_ones};
use crate::stages::activation_patterns::pattern::ActivationPattern;

const SEQUENTIAL: Parallelism = Parallelism::Sequential;
/// Directions below which what is left is not worth a separation.
const LEAST_LEFT: usize = 4;

/// Pictures that separations agree on in what the `known` patterns leave of `layer`, of length one in the coordinates of the attack, (p, r);
/// none where inputs are no images, or a decomposition fails.
pub(super) fn pictures_left(
    problem: &AttackProblem,
    layer: &GatedLayer,
    known: &[ActivationPattern],
    params: &AgreementParams,
    seed: Seed,
) -> Array2<f32> {
    separated(problem, layer, known, params, seed).unwrap_or_else(|| Array2::zeros((0, problem.rank())))
}

fn separated(
    problem: &AttackProblem,
    layer: &GatedLayer,
    known: &[ActivationPattern],
    params: &AgreementParams,
    seed: Seed,
) -> Option<Array2<f32>> {
    let shape = problem.prior.image_shape?;
    let rank = problem.rank();
    let left = rank.saturating_sub(known.len());
    if left < LEAST_LEFT {
        return None;
    }
    let mut weight = layer.weight.slice(s![.., ..rank]).to_owned();
    for (mut row, &gain) in weight.rows_mut().into_iter().zip(layer.gains()) {
        row /= gain;
    }
    let mut deltas = Array2::zeros((known.len(), layer.neurons()));
    for (mut row, pattern) in deltas.rows_mut().into_iter().zip(known) {
        let delta = &pattern.delta / &layer.gains();
        row.assign(&(&delta / reduce::norm(delta.view()).max(f64::MIN_POSITIVE)));
    }
    let deltas = orthonormal_rows(deltas.view(), SEQUENTIAL).ok()?;
    let along = matmul(deltas.view(), weight.view(), SEQUENTIAL);
    gemm(-1.0, deltas.t(), along.view(), 1.0, weight.view_mut(), SEQUENTIAL);
    let Svd { singular_values, vt, .. } = svd(weight.view(), SEQUENTIAL).ok()?;
    let directions = vt.slice(s![..left, ..]).mapv(|v| v as f32);
    let values: Array1<f64> = singular_values.slice(s![..left]).to_owned();
    let basis = matmul(directions.view(), problem.subspace.basis(), SEQUENTIAL);
    let mut tell = |_| ControlFlow::Continue(());
    let found =
        separate_by_agreement(basis.view(), values.view(), shape, params, seed, SEQUENTIAL, &mut tell)
            .ok()?;
    let to_coordinates = directions.slice(s![..found.pictures.ncols(), ..]);
    Some(matmul(found.pictures.view(), to_coordinates, SEQUENTIAL))
}

/// The `pictures` (p, r) and their negatives as inputs of the prior norm with a 1 appended, (m, k), each with a label that the network's
/// answer allows.
pub(super) fn as_inputs(problem: &AttackProblem, pictures: ArrayView2<'_, f32>) -> (Array2<f64>, Vec<Label>) {
    let norm = problem.input_norm as f32;
    let rows = concatenate![Axis(0), &pictures * norm, &pictures * -norm];
    let answers = outputs(&problem.network, rows.view(), SEQUENTIAL);
    let label = |answer: ndarray::ArrayView1<'_, f32>| {
        problem.head.labels_of_answer(answer.to_slice().expect("rows are contiguous"))[0]
    };
    let labels = answers.rows().into_iter().map(label).collect();
    (with_ones(rows.view()), labels)
}

#[cfg(test)]
mod tests {
    use ndarray_rand::rand_distr::StandardNormal;
    use ndarray_rand::{RandomExt, rand::Rng};
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::reduce::unit_rows;

    use super::*;
    use crate::problem::prior::PriorKnowledge;
    use crate::stages::activation_patterns::pattern::Likeness;

    const SIDE: usize = 16;
    const IMAGES: usize = 40;
    const KNOWN: usize = 20;

    /// Images of a few rectangles each.
    fn images() -> Array2<f32> {
        let mut rng = Seed::new(3).named("images").rng();
        let mut images = Array2::zeros((IMAGES, SIDE * SIDE));
        for mut image in images.rows_mut() {
            for _ in 0..3 {
                let mut ends = || {
                    let first = rng.random_range(0..SIDE - 4);
                    (first, rng.random_range(first + 3..SIDE))
                };
                let ((top, bottom), (left, right)) = (ends(), ends());
                let value = rng.random_range(-1.0..1.0_f32);
                for i in 0..SIDE * SIDE {
                    let (y, x) = (i / SIDE, i % SIDE);
                    image[i] +=
                        if (top..bottom).contains(&y) && (left..right).contains(&x) { value } else { 0.0 };
                }
            }
        }
        unit_rows(images.view())
    }

    #[test]
    fn what_known_patterns_leave_is_made_of_the_other_images() {
        let (images, seed) = (images(), Seed::new(4));
        let neurons = 4 * (IMAGES + 1);
        let deltas =
            Array2::<f32>::random_using((neurons, IMAGES), StandardNormal, &mut seed.named("deltas").rng());
        let mut network =
            Mlp::<f32>::initialise(&[SIDE * SIDE, neurons, 1], BiasPlacement::FirstLayer, 0.1, seed);
        network.layers_mut()[0].weight = matmul(deltas.view(), images.view(), SEQUENTIAL);
        // No sum of the deltas alone, as where the mean was taken from all inputs.
        let more = Array2::<f32>::random_using((neurons, 1), StandardNormal, &mut seed.named("more").rng());
        network.layers_mut()[0].bias =
            Some((deltas.sum_axis(Axis(1)).insert_axis(Axis(1)) + more).remove_axis(Axis(1)));
        let prior = PriorKnowledge { image_shape: Some([1, SIDE, SIDE]), ..PriorKnowledge::default() };
        let problem = AttackProblem::prepare(&network, prior, Some(IMAGES), SEQUENTIAL).unwrap();
        let layer = GatedLayer::of(&problem).unwrap().unwrap();
        let pattern = |delta: ndarray::ArrayView1<'_, f32>| ActivationPattern {
            label: Label::POSITIVE,
            share: 0.0,
            delta: delta.mapv(f64::from),
            dual: Array1::zeros(layer.coordinates()),
            gates: Array1::zeros(neurons),
            telling: vec![false; neurons],
            likeness: Likeness { binary: 1.0, on: 0.5, below: 0.0, above: 0.0 },
        };
        let known: Vec<ActivationPattern> = deltas.columns().into_iter().take(KNOWN).map(pattern).collect();
        let params = AgreementParams::default();
        let pictures = pictures_left(&problem, &layer, &known, &params, seed);
        let lifted = unit_rows(problem.lift(pictures.view(), SEQUENTIAL).view());
        let centred = |rows: &Array2<f32>| {
            let means = rows.mean_axis(Axis(1)).unwrap().insert_axis(Axis(1));
            unit_rows((rows - &means).view())
        };
        let cosines = matmul(centred(&lifted).view(), centred(&images).t(), SEQUENTIAL);
        let found = |image: usize| cosines.column(image).iter().any(|cosine| cosine.abs() > 0.95);
        let (of_known, of_others) =
            ((0..KNOWN).filter(|&i| found(i)).count(), (KNOWN..IMAGES).filter(|&i| found(i)).count());
        assert!(of_known == 0 && of_others >= 10, "{of_known} known, {of_others} others");
        let (inputs, labels) = as_inputs(&problem, pictures.view());
        assert_eq!(inputs.dim(), (2 * pictures.nrows(), layer.coordinates()));
        assert!(labels.len() == inputs.nrows() && inputs.column(IMAGES).iter().all(|&one| one == 1.0));
    }
}
