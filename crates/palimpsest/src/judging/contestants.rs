//! The images that a judge compares: candidates, truth and nulls, each as it is compared and as it is shown.

use anyhow::{Result, ensure};
use ndarray::{Array2, ArrayView2};
use palimpsest_datasets::InputShape;
use palimpsest_metrics::judge::span::{Fit, fit_of_truth, project, shares_kept};
use palimpsest_metrics::{ImageShape, TargetImages};
use palimpsest_numerics::gemm::Parallelism;

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

/// The training images as far as the directions of an attack keep them.
pub(super) struct InSpan {
    pub(super) directions: usize,
    pub(super) centered: Array2<f32>,
    pub(super) restored: Array2<f32>,
    pub(super) fit: Fit,
}

impl InSpan {
    /// None for an attack on all inputs.
    pub(super) fn of(found: &Found, data: &VictimData, parallelism: Parallelism) -> Result<Option<Self>> {
        let Some(basis) = found.span(parallelism)? else { return Ok(None) };
        let mut centered = project(data.centered.view(), basis.view(), parallelism);
        let mut restored = data.scaling.restore(centered.view());
        if found.mean_image.is_some() {
            // An attack that knows raw images keeps them in the range of inputs.
            let raw = data.train.dataset.inputs();
            let (low, high) =
                raw.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
            restored.mapv_inplace(|v| v.clamp(low, high));
            centered = data.scaling.apply(restored.view());
        }
        let shares = |inputs: &Array2<f32>| shares_kept(inputs.view(), basis.view(), parallelism);
        let fit = fit_of_truth(&shares(&data.centered), &shares(&data.held_out_centered));
        Ok(Some(Self { directions: basis.nrows(), centered, restored, fit }))
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
