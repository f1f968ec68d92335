//! A look into one layer: pictures that its weights hold, up to sign, whatever the rest of the network is.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail};
use ndarray::{Array2, Axis, s};
use palimpsest_mlp::import::{Matrix, MatrixChoice};
use palimpsest_numerics::factor::svd;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::seed::Seed;
use palimpsest_runs::record::ChannelOrder;
use palimpsest_unmix::agreement::{
    Agreement, AgreementParams, Diagnostics, Evidence, Progress, separate_by_agreement,
};

use super::input_shape::{InputShape, columns_first};
use super::model_file::load_layer;
use crate::terminal::Misuse;

/// Directions that are separated, at most.
pub(crate) const MOST_DIRECTIONS: usize = 700;

/// Pictures with what speaks for them, surest first.
pub(crate) struct Found {
    /// Of unit length, as the layer sees them, (k, d).
    pub(crate) pictures: Array2<f32>,
    /// What all images seem to have in common, (b, d).
    pub(crate) backgrounds: Array2<f32>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) directions: usize,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) stopped_early: bool,
}

/// Weights of the layer that is meant.
pub(crate) fn layer(
    model: &Path,
    shape: InputShape,
    chain: Option<&str>,
    layer: Option<&str>,
) -> Result<Matrix> {
    let [channels, height, width] = shape.sides;
    let inputs = channels.checked_mul(height).and_then(|plane| plane.checked_mul(width));
    let inputs = inputs.filter(|_| height >= 3 && width >= 3).ok_or_else(|| {
        Misuse(format!(
            "--input-shape {channels}x{height}x{width}: a picture must be at least 3 high and wide"
        ))
    })?;
    let choice = match (chain, layer) {
        (Some(chain), _) => MatrixChoice::OfChain(chain),
        (None, Some(layer)) => MatrixChoice::Named(layer),
        (None, None) => MatrixChoice::First,
    };
    load_layer(model, choice, inputs, "--input-shape, --layer or --chain")
}

/// Looks for pictures of this `shape` in the layer; `observe` may end it early.
pub(crate) fn look(
    layer: &Matrix,
    shape: InputShape,
    seed: u64,
    threads: usize,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Found> {
    let parallelism = Parallelism::of_threads(threads);
    let mut weight = layer.weight.mapv(|value| value as f32);
    if shape.channels == ChannelOrder::Last {
        weight = columns_first(weight.view(), shape.sides);
    }
    if !weight.iter().all(|value| value.is_finite()) {
        bail!("{} has weights above what f32 holds; scale them down", layer.name);
    }
    let decomposed = svd(weight.view(), parallelism).with_context(|| {
        format!("{} cannot be decomposed; check that its weights are of ordinary size", layer.name)
    })?;
    let most = decomposed.vt.nrows().min(MOST_DIRECTIONS);
    let basis = decomposed.vt.slice(s![..most, ..]);
    let values = decomposed.singular_values.slice(s![..most]).mapv(f64::from);
    let params = AgreementParams::default();
    let mut stopped_early = false;
    let mut observe = |at: Progress| {
        let flow = observe(at);
        stopped_early |= flow.is_break();
        flow
    };
    let seed = Seed::new(seed).named("peek");
    let found =
        separate_by_agreement(basis, values.view(), shape.sides, &params, seed, parallelism, &mut observe);
    Ok(Found::of(found?, basis.to_owned(), stopped_early, parallelism))
}

impl Found {
    fn of(found: Agreement, basis: Array2<f32>, stopped_early: bool, parallelism: Parallelism) -> Self {
        let probabilities = found.probabilities();
        let (mut shown, backgrounds): (Vec<usize>, Vec<usize>) =
            (0..probabilities.len()).partition(|&i| !found.evidence[i].is_shared_background());
        shown.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let span = basis.slice(s![..found.pictures.ncols(), ..]);
        let pixels =
            |chosen: &[usize]| matmul(found.pictures.select(Axis(0), chosen).view(), span, parallelism);
        Self {
            pictures: pixels(&shown),
            backgrounds: pixels(&backgrounds),
            evidence: shown.iter().map(|&i| found.evidence[i].clone()).collect(),
            directions: found.pictures.ncols(),
            diagnostics: found.diagnostics,
            stopped_early,
        }
    }
}
