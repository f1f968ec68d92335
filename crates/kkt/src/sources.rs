//! Restarts of annealed descent that begin with separated sources, see [`crate::separation`].

use std::ops::ControlFlow;

use ndarray::{Array2, Axis, concatenate};
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

use crate::descent::{DescentParams, random_start, start_with};
use crate::separation::{SEPARATED, SeparationParams, WhitenedEdges, separate};
use crate::state::Start;
use crate::stationarity::OutputWeighting;
use crate::{AttackProblem, KktError};

/// First gate slope: sources look sharp from the beginning.
const FIRST_SLOPE: f64 = 2.0;
/// Largest step of a coordinate.
const STEP_SIZE: f64 = 0.003;
/// Largest step of the logarithm of a multiplier.
const MULTIPLIER_STEP_SIZE: f64 = 0.05;

/// The sources of a problem, found anew for each restart.
pub(crate) struct Sources<'a> {
    problem: &'a AttackProblem,
    edges: WhitenedEdges,
    params: SeparationParams,
}

impl<'a> Sources<'a> {
    /// Looks for the sources of `problem` once: nothing where inputs are not declared to be images, or too few sources are found for
    /// the weights' row space to be the span of few images.
    ///
    /// # Errors
    /// [`KktError::Factor`].
    pub(crate) fn look(
        problem: &'a AttackProblem,
        params: SeparationParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Self>, KktError> {
        let Some(shape) = problem.prior.image_shape else { return Ok(None) };
        let edges = WhitenedEdges::of(problem.subspace.basis(), shape, parallelism)?;
        let sources = Self { problem, edges, params };
        let found = sources.find(seed, parallelism, observe)?.nrows();
        Ok((found as f64 >= SEPARATED * problem.rank() as f64).then_some(sources))
    }

    /// Coordinates of sources up to sign, (k, r) of length one.
    fn find(
        &self,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Array2<f32>, KktError> {
        Ok(separate(&self.edges, &self.params, seed.named("separation"), parallelism, observe)?)
    }

    /// Where annealed descent with the options of [`refinement`] begins: each source and its mirror image, of the prior norm, with
    /// the label that the network gives it. Where a label has more candidates than these, the others are random.
    pub(crate) fn start(
        &self,
        weighting: &OutputWeighting,
        params: &DescentParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Start {
        let OutputWeighting::Binary(labels) = weighting else { return Start::Random(seed) };
        let Ok(sources) = self.find(seed, parallelism, observe) else { return Start::Random(seed) };
        let (problem, rank) = (self.problem, self.problem.rank());
        let norm = problem.prior.norm(problem.inputs);
        let both = concatenate![Axis(0), &sources * norm as f32, &sources * -norm as f32];
        let answers = outputs(&problem.network, both.view(), parallelism);
        let mut candidates =
            random_start(&problem.spectrum[..rank], labels.len(), params.initial_norm * norm, seed);
        for label in [-1, 1] {
            let places = (0..labels.len()).filter(|&place| labels[place] == label);
            let sided = (0..sources.nrows())
                .flat_map(|source| [source, source + sources.nrows()])
                .filter(|&i| (answers[[i, 0]] > 0.0) == (label > 0));
            for (place, i) in places.zip(sided) {
                candidates.row_mut(place).assign(&both.row(i));
            }
        }
        Start::State(start_with(problem, weighting, params, candidates, parallelism))
    }
}

/// Options of annealed descent from sources: they are near the inputs, so they move little, and multipliers are what is to be found.
pub(crate) fn refinement(params: &DescentParams) -> DescentParams {
    DescentParams {
        alpha: (FIRST_SLOPE, params.alpha.1.max(FIRST_SLOPE)),
        step_size: STEP_SIZE,
        multiplier_step_size: MULTIPLIER_STEP_SIZE,
        mirror_check: 1.0,
        ..*params
    }
}
