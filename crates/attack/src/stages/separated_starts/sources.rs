//! Restarts of annealed descent that begin with separated sources, see [`palimpsest_unmix::separation`].

use std::ops::ControlFlow;

use ndarray::{Axis, stack};
use palimpsest_kkt::stationarity::OutputWeighting;
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::mean_image::Offset;
use palimpsest_unmix::raw::{Appearance, Background, RawImages};
use palimpsest_unmix::separation::{SEPARATED, SeparationParams, WhitenedEdges, separate};

use crate::error::AttackError;
use crate::evidence::confidence::{ConfidenceModel, Evidence};
use crate::problem::prepared::AttackProblem;
use crate::problem::start::random_start;
use crate::search::annealed::{DescentParams, start_with};
use crate::search::state::Start;

/// Directions, as a share of the inputs, above which pictures with few edges that nobody trained on are in their span, too.
pub(crate) const MOST_DIRECTIONS: f64 = 0.25;
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
    /// What is known where something was taken from all inputs, the edges then being those of a span with one more direction, or where
    /// nothing was.
    raw: Option<RawImages>,
    params: SeparationParams,
}

impl<'a> Sources<'a> {
    /// Looks for the sources of `problem`, whose inputs are images of `shape`, once: nothing where too few are found for the weights'
    /// row space to be the span of few images.
    ///
    /// # Errors
    /// [`AttackError::Factor`].
    pub(crate) fn look(
        problem: &'a AttackProblem,
        shape: [usize; 3],
        params: SeparationParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Self>, AttackError> {
        let basis = problem.subspace.basis();
        let edges = WhitenedEdges::of(basis, shape, parallelism)?;
        let plain = separate(&edges, &params, seed.named("separation"), parallelism, observe)?;
        if (plain.contrasts.len() as f64) < SEPARATED * problem.rank() as f64 {
            return Ok(None);
        }
        let offset = Offset::find(basis, shape, &plain, &params, seed.named("offset"), parallelism, observe)?;
        // Where edges are as few without one.
        let background = || Background::of(basis, &plain, parallelism);
        let range = problem.prior.input_range;
        let offset = match offset.as_ref().map_or_else(background, |_| Background::Other) {
            Background::Black => {
                let raw =
                    RawImages::of(basis, shape, range, None, plain.coordinates.view(), &likely, parallelism);
                return Ok(Some(Self { problem, edges, raw, params }));
            }
            Background::Constant => Offset::uniform(basis, parallelism),
            Background::Other => offset,
        };
        let Some(offset) = offset else { return Ok(Some(Self { problem, edges, raw: None, params })) };
        let wider = WhitenedEdges::of(offset.widen(basis).view(), shape, parallelism)?;
        let found = separate(&wider, &params, seed.named("raw"), parallelism, observe)?;
        let raw =
            RawImages::of(basis, shape, range, Some(&offset), found.coordinates.view(), &likely, parallelism);
        let edges = if raw.is_some() { wider } else { edges };
        Ok(Some(Self { problem, edges, raw, params }))
    }

    /// What is known of raw images.
    pub(crate) fn raw(&self) -> Option<&RawImages> {
        self.raw.as_ref()
    }

    /// Where annealed descent with the options of [`refinement`] begins: each source and its mirror image, of the prior norm, or, where
    /// the offset tells its sign and its length, just the source; with the label that the network gives it. Where a label has more
    /// candidates than these, the others are random.
    pub(crate) fn start(
        &self,
        weighting: &OutputWeighting,
        params: &DescentParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Start {
        let OutputWeighting::Binary(labels) = weighting else { return Start::Random(seed) };
        let separation = separate(&self.edges, &self.params, seed.named("separation"), parallelism, observe);
        let Ok(separation) = separation else { return Start::Random(seed) };
        let (problem, rank) = (self.problem, self.problem.rank());
        let norm = problem.input_norm;
        let sources = separation.coordinates;
        let images = match &self.raw {
            Some(raw) => raw.centred_sources(sources.view()),
            None => {
                // A source and its mirror image, one after the other.
                let both = stack![Axis(1), &sources * norm as f32, &sources * -norm as f32];
                both.to_shape((2 * sources.nrows(), rank)).expect("as many values").into_owned()
            }
        };
        let answers = outputs(&problem.network, images.view(), parallelism);
        let mut candidates =
            random_start(&problem.spectrum[..rank], labels.len(), params.initial_norm * norm, seed);
        for label in [-1, 1] {
            let places = (0..labels.len()).filter(|&place| labels[place] == label);
            let sided = (0..images.nrows()).filter(|&i| (answers[[i, 0]] > 0.0) == (label > 0));
            for (place, i) in places.zip(sided) {
                candidates.row_mut(place).assign(&images.row(i));
            }
        }
        Start::State(start_with(problem, weighting, params, candidates, parallelism))
    }
}

/// How likely a source that looks like this is an image, as if all restarts agreed on it.
fn likely(look: &Appearance) -> f32 {
    let evidence =
        Evidence { agreement: 1.0, distinct_share: 1.0, bias_share: None, appearance: Some(*look) };
    ConfidenceModel::default().probability(&evidence, 0.0, usize::MAX)
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
