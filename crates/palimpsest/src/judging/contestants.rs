//! The images that a judge compares: candidates, truth and nulls, each as it is compared and as it is shown.

use anyhow::{Result, ensure};
use ndarray::{Array2, ArrayView2};
use palimpsest_datasets::InputShape;
use palimpsest_metrics::judge::span::{Fit, fit_of_truth, project, shares_kept};
use palimpsest_metrics::null_model::{class_means, random_noise, typical_norm, weight_rows};
use palimpsest_metrics::{CandidateImages, ImageShape, TargetImages};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;

use super::data::VictimData;
use crate::attacking::found::Found;

/// Candidates (m, d) of an attack in the units of the raw inputs: with the mean image that the attack tells, or else with what the judge
/// knows was taken from them.
pub(super) fn shown(found: &Found, data: &VictimData, candidates: ArrayView2<'_, f32>) -> Array2<f32> {
    match &found.mean_image {
        Some(mean) => &candidates + mean,
        None => data.scaling.restore(candidates),
    }
}

/// The training and the held-out images.
pub(super) fn targets(data: &VictimData) -> Result<(TargetImages<'_>, TargetImages<'_>)> {
    let shape = image_shape(data.shape);
    Ok((
        TargetImages::new(data.centered.view(), data.train.dataset.inputs(), shape)?,
        TargetImages::new(data.held_out_centered.view(), data.held_out.dataset.inputs(), shape)?,
    ))
}

/// The same images twice: as they are compared, their mean removed, and as they are shown.
pub(super) struct Twofold {
    compared: Array2<f32>,
    shown: Array2<f32>,
}

impl Twofold {
    /// Candidates (m, d) as [`shown`].
    pub(super) fn of_attack(found: &Found, data: &VictimData, candidates: Array2<f32>) -> Self {
        Self { shown: shown(found, data, candidates.view()), compared: candidates }
    }

    /// Images (m, d) as the data say, whatever an attack tells of the mean.
    pub(super) fn restored(data: &VictimData, compared: Array2<f32>) -> Self {
        Self { shown: data.scaling.restore(compared.view()), compared }
    }

    /// For the judge.
    pub(super) fn images(&self, shape: ImageShape) -> Result<CandidateImages<'_>> {
        Ok(CandidateImages::new(self.compared.view(), self.shown.view(), shape)?)
    }
}

/// What offers itself in the place of an attack and knows nothing of the training images.
pub(super) struct Nulls {
    pub(super) class_means: Twofold,
    pub(super) weight_rows: Twofold,
    pub(super) noise: Twofold,
}

impl Nulls {
    /// Nulls as large as the candidates that were found.
    pub(super) fn of(found: &Found, data: &VictimData, seed: &Seed) -> Result<Self> {
        let Found { candidates, network, .. } = found;
        let deviation = (reduce::squared_norm(candidates.view()) / candidates.len() as f64).sqrt();
        let (m, d) = candidates.dim();
        Ok(Self {
            class_means: Twofold::restored(data, class_means(data.centered.view(), &data.train.classes)?),
            weight_rows: Twofold::restored(
                data,
                weight_rows(network.layers()[0].weight.view(), typical_norm(candidates.view())),
            ),
            noise: Twofold::restored(data, random_noise(m, d, deviation, &seed.named("noise"))),
        })
    }
}

/// The training images as far as the directions of an attack keep them.
pub(super) struct InSpan {
    pub(super) directions: usize,
    pub(super) images: Twofold,
    pub(super) fit: Fit,
}

impl InSpan {
    /// None for an attack on all inputs.
    pub(super) fn of(found: &Found, data: &VictimData, parallelism: Parallelism) -> Result<Option<Self>> {
        let Some(basis) = found.span(parallelism)? else { return Ok(None) };
        let mut compared = project(data.centered.view(), basis.view(), parallelism);
        let mut shown = data.scaling.restore(compared.view());
        if found.mean_image.is_some() {
            // An attack that knows raw images keeps them in the range of inputs.
            let raw = data.train.dataset.inputs();
            let (low, high) =
                raw.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
            shown.mapv_inplace(|v| v.clamp(low, high));
            compared = data.scaling.apply(shown.view());
        }
        let shares = |inputs: &Array2<f32>| shares_kept(inputs.view(), basis.view(), parallelism);
        let fit = fit_of_truth(&shares(&data.centered), &shares(&data.held_out_centered));
        Ok(Some(Self { directions: basis.nrows(), images: Twofold { compared, shown }, fit }))
    }
}

/// Checks that candidates fit the data.
pub(super) fn check_width(candidates: &Array2<f32>, data: &VictimData) -> Result<()> {
    let (got, expected) = (candidates.ncols(), data.centered.ncols());
    ensure!(
        got == expected,
        "the candidates have {got} values each and the data {expected}: name the data the victim was trained on"
    );
    Ok(())
}

/// The judge's view of an input's shape.
pub(super) fn image_shape(shape: InputShape) -> ImageShape {
    match shape {
        InputShape::Image { channels, height, width } => ImageShape { channels, height, width },
        InputShape::Vector { len } => ImageShape::vector(len),
    }
}
