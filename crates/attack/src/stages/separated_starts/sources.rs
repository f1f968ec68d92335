//! Restarts of annealed descent that begin with separated sources, see [`palimpsest_unmix::separation`].

use std::ops::ControlFlow;

use ndarray::{Array2, Axis};
use palimpsest_kkt::outputs::OutputPull;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::mean_image::MeanImage;
use palimpsest_unmix::raw::{Appearance, Background, RawImages};
use palimpsest_unmix::separation::{SEPARATED, Separation, SeparationParams, WhitenedEdges, separate};

use crate::error::AttackError;
use crate::evidence::confidence::{ConfidenceModel, Evidence};
use crate::problem::prepared::AttackProblem;
use crate::search::annealed::DescentParams;
use crate::search::state::Start;
use crate::stages::starts::{of_both_signs, start_at_images};

/// The sources of a problem, found anew for each restart.
pub(crate) struct Sources<'a> {
    problem: &'a AttackProblem,
    edges: WhitenedEdges,
    /// What is known where something was taken from all inputs, the edges then being those of a span with one more direction, or where
    /// nothing was.
    raw: Option<RawImages>,
    /// What the look found where raw images are known, fewest edges first, (k, directions of the edges).
    found: Array2<f32>,
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
        let mean_image =
            MeanImage::find(basis, shape, &plain, &params, seed.named("offset"), parallelism, observe)?;
        // Where edges are as few without one.
        let background = || Background::of(basis, &plain, parallelism);
        let range = problem.prior.input_range;
        let mean_image = match mean_image.as_ref().map_or_else(background, |_| Background::Other) {
            Background::Black => {
                let raw =
                    RawImages::of(basis, shape, range, None, plain.coordinates.view(), &likely, parallelism);
                return Ok(Some(Self { problem, edges, raw, found: clearest_first(&plain), params }));
            }
            Background::Constant => MeanImage::uniform(basis, parallelism),
            Background::Other => mean_image,
        };
        let Some(mean_image) = mean_image else {
            return Ok(Some(Self { problem, edges, raw: None, found: clearest_first(&plain), params }));
        };
        let wider = WhitenedEdges::of(mean_image.widen(basis).view(), shape, parallelism)?;
        let found = separate(&wider, &params, seed.named("raw"), parallelism, observe)?;
        let raw = RawImages::of(
            basis,
            shape,
            range,
            Some(&mean_image),
            found.coordinates.view(),
            &likely,
            parallelism,
        );
        let edges = if raw.is_some() { wider } else { edges };
        Ok(Some(Self { problem, edges, raw, found: clearest_first(&found), params }))
    }

    /// What is known of raw images.
    pub(crate) fn raw(&self) -> Option<&RawImages> {
        self.raw.as_ref()
    }

    /// The raw images that the look found, in the coordinates of the attack, (k, r); none where raw images are not known, as signs are not
    /// told then.
    pub(crate) fn images(&self) -> Option<Array2<f32>> {
        Some(self.raw.as_ref()?.centred_sources(self.found.view()))
    }

    /// Where annealed descent with the options of [`refinement`](crate::stages::starts::refinement) begins: each source and its
    /// negative, of the prior norm, or, where the mean image tells its sign and its length, just the source.
    pub(crate) fn start(
        &self,
        pull: &OutputPull,
        params: &DescentParams,
        seed: Seed,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Start {
        let separation = separate(&self.edges, &self.params, seed.named("separation"), parallelism, observe);
        let Ok(separation) = separation else { return Start::Random(seed) };
        let sources = separation.coordinates;
        let images = match &self.raw {
            Some(raw) => raw.centred_sources(sources.view()),
            None => of_both_signs(sources.view(), self.problem.input_norm),
        };
        start_at_images(self.problem, images.view(), pull, params, seed, parallelism)
    }
}

/// The sources of a separation, those of fewest edges first.
fn clearest_first(separation: &Separation) -> Array2<f32> {
    let mut order: Vec<usize> = (0..separation.contrasts.len()).collect();
    order.sort_by(|&a, &b| separation.contrasts[a].total_cmp(&separation.contrasts[b]));
    separation.coordinates.select(Axis(0), &order)
}

/// How likely a source that looks like this is an image, as if all restarts agreed on it.
fn likely(look: &Appearance) -> f32 {
    let evidence =
        Evidence { agreement: 1.0, distinct_share: 1.0, bias_share: None, appearance: Some(*look) };
    ConfidenceModel::default().probability(&evidence, 0.0, usize::MAX)
}
