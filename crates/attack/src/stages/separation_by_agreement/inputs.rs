//! From pictures to inputs: sign, length, label and multiplier.
//!
//! A picture that separation finds has neither sign nor length. So it and its negative, both of the prior norm and with each label that
//! the network's answer allows, are where annealed descent begins; the rest of the candidates are random. Descent says how long each is
//! and how much of the weights it explains; the picture stays what separation made of it. Of a picture and its negative the one that explains more, multiplier times norm, is kept, and
//! how much more says how sure the sign is. Where an observer ends the descent, least squares say it, see [`explained`](super::explained).

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

use crate::problem::prepared::AttackProblem;
use crate::problem::start::random_start;
use crate::search::annealed::{DescentParams, anneal, start_with};
use crate::search::restart::TerminationReason;
use crate::search::state::Start;
use crate::search::step::Step;
use crate::stages::separation_by_agreement::explained::multipliers;
use crate::stages::starts::refinement;

/// A picture as an input of the network.
#[derive(Clone, Debug)]
pub(crate) struct PictureInput {
    /// The picture, with its sign and length, in the coordinates of the attack, (r).
    pub(crate) coordinates: Array1<f32>,
    pub(crate) label: Label,
    pub(crate) multiplier: f32,
    /// Cosine of the input that descent made of the picture with the picture, in [-1, 1].
    pub(crate) unmoved: f32,
}

/// Steps of the descent: it begins near its end.
const STEPS: usize = 300;

/// Inputs of `pictures` (k, r), coordinates of length one, in their order; nothing where the descent met a NaN. Where an observer
/// ends it they are the pictures at the prior norm, of the signs that explain most of the weights without one.
pub(crate) fn inputs_of(
    problem: &AttackProblem,
    pictures: ArrayView2<'_, f32>,
    candidates: usize,
    options: &DescentParams,
    seed: Seed,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Option<Vec<PictureInput>> {
    let rank = pictures.ncols();
    let options = DescentParams { steps: STEPS, ..refinement(options) };
    let hypotheses = Hypothesis::of(problem, pictures, parallelism);
    let fill = candidates.saturating_sub(hypotheses.len());
    let others =
        random_start(&problem.spectrum[..rank], fill, options.initial_norm * problem.input_norm, seed);
    let starts = concatenate![Axis(0), starts_of(problem, pictures, &hypotheses), others];
    let mut labels: Vec<Label> = hypotheses.iter().map(|hypothesis| hypothesis.label).collect();
    labels.extend(labels_by_turns(problem, others.view(), parallelism));
    let pull = problem.head.pull(labels);
    let start = start_with(problem, &pull, &options, starts.clone(), parallelism);
    let restart = anneal(problem, &pull, &options, Start::State(start), parallelism, observe);
    let (explained, inputs) = match restart.termination {
        TerminationReason::MaxSteps => (restart.multipliers, restart.coordinates),
        TerminationReason::TimeLimit => {
            let known = starts.slice_move(s![..hypotheses.len(), ..]);
            let pull = problem.head.pull(hypotheses.iter().map(|hypothesis| hypothesis.label).collect());
            (multipliers(problem, &pull, known.view(), parallelism).ok()?, known)
        }
        TerminationReason::NonFinite { .. } => return None,
    };
    Some(strongest(&hypotheses, pictures, explained.view(), inputs.view()))
}

/// A label for each of `rows` (m, r) that the network's answer allows; where it allows several, they take turns.
fn labels_by_turns(
    problem: &AttackProblem,
    rows: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Vec<Label> {
    let answers = outputs(&problem.network, rows, parallelism);
    let label = |(i, answer): (usize, ArrayView1<'_, f32>)| {
        let possible = problem.head.labels_of_answer(answer.to_slice().expect("rows are contiguous"));
        possible[i % possible.len()]
    };
    answers.rows().into_iter().enumerate().map(label).collect()
}

/// Of the `hypotheses` of each of `pictures` (k, r), whose candidates have become `inputs` (hypotheses or more, r) with these `multipliers`,
/// the one that explains most.
fn strongest(
    hypotheses: &[Hypothesis],
    pictures: ArrayView2<'_, f32>,
    multipliers: ArrayView1<'_, f32>,
    inputs: ArrayView2<'_, f32>,
) -> Vec<PictureInput> {
    let strengths: Vec<f32> =
        (0..hypotheses.len()).map(|i| multipliers[i] * reduce::norm(inputs.row(i)) as f32).collect();
    let mut best: Vec<Option<usize>> = vec![None; pictures.nrows()];
    for (i, (hypothesis, &strength)) in hypotheses.iter().zip(&strengths).enumerate() {
        let best = &mut best[hypothesis.picture];
        *best = best.filter(|&best| strengths[best] >= strength).or(Some(i));
    }
    let input = |kept: Option<usize>| {
        let kept = kept.expect("every picture has a hypothesis");
        let hypothesis = &hypotheses[kept];
        let descended = inputs.row(kept);
        let direction = pictures.row(hypothesis.picture);
        let product: f64 = descended.iter().zip(direction).map(|(&a, &b)| f64::from(a * b)).sum();
        let length = reduce::norm(descended).max(f64::MIN_POSITIVE);
        PictureInput {
            label: hypothesis.label,
            multiplier: multipliers[kept],
            unmoved: (f64::from(hypothesis.sign) * product / length) as f32,
            coordinates: &direction * (hypothesis.sign * length as f32),
        }
    };
    best.into_iter().map(input).collect()
}

/// What a picture may be.
struct Hypothesis {
    /// Index of the picture.
    picture: usize,
    /// 1 for the picture, -1 for its negative.
    sign: f32,
    label: Label,
}

impl Hypothesis {
    /// All that the network's answers to `pictures` (k, r) and to their negatives allow.
    fn of(problem: &AttackProblem, pictures: ArrayView2<'_, f32>, parallelism: Parallelism) -> Vec<Self> {
        let mut all = Vec::new();
        for sign in [1.0, -1.0] {
            let inputs = &pictures * (sign * problem.input_norm as f32);
            let answers = outputs(&problem.network, inputs.view(), parallelism);
            for (picture, answer) in answers.rows().into_iter().enumerate() {
                let possible = problem.head.labels_of_answer(answer.to_slice().expect("rows are contiguous"));
                all.extend(possible.into_iter().map(|label| Self { picture, sign, label }));
            }
        }
        all
    }
}

/// Where descent begins for each of the `hypotheses`, (hypotheses, r).
fn starts_of(
    problem: &AttackProblem,
    pictures: ArrayView2<'_, f32>,
    hypotheses: &[Hypothesis],
) -> Array2<f32> {
    let norm = problem.input_norm as f32;
    let mut starts = Array2::zeros((hypotheses.len(), pictures.ncols()));
    for (mut row, hypothesis) in starts.rows_mut().into_iter().zip(hypotheses) {
        row.assign(&(&pictures.row(hypothesis.picture) * (hypothesis.sign * norm)));
    }
    starts
}
