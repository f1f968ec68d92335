//! Measures of images, certificates and training: arrays in, numbers out.

use std::ops::ControlFlow;

use ndarray::Array1;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use palimpsest::terminal::memory;
use palimpsest::{TrainOptions, train_observed};
use palimpsest_datasets::{DataName, InputShape, load};
use palimpsest_kkt::certificate::certify;
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::ncc::ncc_matrix;
use palimpsest_metrics::ssim::{Padding, SsimParams, ssim_pairs};
use palimpsest_mlp::import::load_network;
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::{Activation, Checkpoint, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure;
use crate::watch::{Interrupted, Watch, aside, watched};

/// The shape of images (n, d) of these sides.
fn shape_of([channels, height, width]: [usize; 3], rows: [(usize, usize); 2]) -> PyResult<ImageShape> {
    let size =
        channels.checked_mul(height).and_then(|plane| plane.checked_mul(width)).filter(|&size| size > 0);
    match size {
        Some(size) if rows.iter().all(|rows| rows.1 == size) => Ok(ImageShape { channels, height, width }),
        _ => Err(failure::misuse(format!(
            "images of shape {channels} x {height} x {width} cannot be rows of {} and {} values",
            rows[0].1, rows[1].1
        ))),
    }
}

/// SSIM of the pairs of rows of `a` and `b` (n, d), (n).
#[pyfunction]
pub fn ssim<'py>(
    py: Python<'py>,
    a: PyReadonlyArray2<'py, f32>,
    b: PyReadonlyArray2<'py, f32>,
    shape: [usize; 3],
    window: usize,
    sigma: f64,
    data_range: f64,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (a, b) = (a.as_array(), b.as_array());
    if a.dim() != b.dim() {
        let (a, b) = (a.dim(), b.dim());
        return Err(failure::misuse(format!("SSIM compares pairs: {a:?} and {b:?} are not the same shape")));
    }
    let shape = shape_of(shape, [a.dim(), b.dim()])?;
    let params = SsimParams { window, sigma, data_range, padding: Padding::Reflect };
    let compared = aside(py, || ssim_pairs(a, b, shape, &params))?;
    Ok(Array1::from(compared.map_err(failure::misuse)?).into_pyarray(py))
}

/// Normalised cross-correlation of every row of `a` (n, d) with every row of `b` (m, d), (n, m).
#[pyfunction]
pub fn ncc<'py>(
    py: Python<'py>,
    a: PyReadonlyArray2<'py, f32>,
    b: PyReadonlyArray2<'py, f32>,
    shape: [usize; 3],
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let (a, b) = (a.as_array(), b.as_array());
    let shape = shape_of(shape, [a.dim(), b.dim()])?;
    let bytes = memory::total([
        memory::numbers(2, &[a.nrows(), b.nrows()], size_of::<f32>()),
        memory::numbers(2, &[a.nrows(), a.ncols()], size_of::<f32>()),
        memory::numbers(2, &[b.nrows(), b.ncols()], size_of::<f32>()),
    ]);
    memory::fits("ncc", bytes, "compare fewer pictures at a time").map_err(failure::misuse)?;
    let compared = aside(py, || ncc_matrix(a, b, shape, Parallelism::Sequential))?;
    Ok(compared.map_err(failure::misuse)?.into_pyarray(py))
}

/// How well inputs (n, d) with labels (n) in {-1, +1} explain the weights in the file `path`.
#[pyfunction]
pub fn certificate<'py>(
    py: Python<'py>,
    path: std::path::PathBuf,
    inputs: PyReadonlyArray2<'py, f64>,
    labels: Vec<i8>,
    scope: &str,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let x = inputs.as_array();
    let network: Mlp<f64> = if path.extension().is_some_and(|e| e == "palimpsest") {
        Checkpoint::load(&path).map_err(failure::misuse)?.network.cast()
    } else {
        load_network(&path).map_err(failure::misuse)?.network.cast()
    };
    if network.outputs() != 1
        || network.inputs() != x.ncols()
        || labels.len() != x.nrows()
        || labels.is_empty()
    {
        return Err(failure::misuse(format!(
            "a certificate needs a network of one output, an input of its {} values a row and a label a row; got {} outputs, inputs {:?} and {} \
             labels",
            network.inputs(),
            network.outputs(),
            x.dim(),
            labels.len()
        )));
    }
    if !x.iter().all(|value| value.is_finite()) || !labels.iter().all(|label| label.abs() == 1) {
        return Err(failure::misuse("inputs must be finite and labels -1 or +1"));
    }
    let scope = match scope {
        "first_layer" => Scope::FirstLayer,
        "all_layers" => Scope::AllLayers,
        other => {
            return Err(failure::misuse(format!(
                "scope must be \"first_layer\" or \"all_layers\", got {other:?}"
            )));
        }
    };
    let work = |_: &Watch| {
        let parallelism = Parallelism::of_threads(rayon::current_num_threads());
        certify(&network, Activation::Relu, x, &labels, scope, parallelism)
    };
    let made =
        watched(py, threads, None, None, Interrupted::Raises, work)?.result.map_err(failure::misuse)?;
    let told = PyDict::new(py);
    told.set_item("relative_residual", made.relative_residual)?;
    told.set_item("layers", made.layers)?;
    told.set_item("support", made.support)?;
    told.set_item("multipliers", Array1::from(made.multipliers).into_pyarray(py))?;
    Ok(told)
}

/// Training images (n, d) in [0, 1] of the embedded sample of a data set, with their class numbers (n) and (channels, height, width).
#[pyfunction]
pub fn sample<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDict>> {
    let name: DataName = name.parse().map_err(failure::misuse)?;
    let train = aside(py, || load(name, None))?.map_err(failure::misuse)?.train;
    let told = PyDict::new(py);
    let labels: Vec<i64> = train.labels().iter().map(|&label| label.into()).collect();
    told.set_item("images", train.inputs().to_owned().into_pyarray(py))?;
    told.set_item("labels", Array1::from(labels).into_pyarray(py))?;
    if let InputShape::Image { channels, height, width } = train.shape() {
        told.set_item("shape", (channels, height, width))?;
    }
    Ok(told)
}

/// Trains a binary classifier on inputs (n, d) with labels (n) in {-1, +1}; its weights by name.
#[pyfunction]
pub fn train<'py>(
    py: Python<'py>,
    inputs: PyReadonlyArray2<'py, f32>,
    labels: PyReadonlyArray1<'py, f32>,
    hidden: Vec<usize>,
    weight_decay: f64,
    epochs: usize,
    seed: u64,
    threads: Option<usize>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (x, y) = (inputs.as_array(), labels.as_array());
    if x.nrows() != y.len() || x.is_empty() {
        return Err(failure::misuse(format!("inputs {:?} need a label a row, got {}", x.dim(), y.len())));
    }
    if !x.iter().all(|value| value.is_finite()) || !y.iter().all(|label| label.abs() == 1.0) {
        return Err(failure::misuse("inputs must be finite and labels -1 or +1"));
    }
    let mut options = TrainOptions::default();
    (options.hidden, options.weight_decay, options.epochs, options.seed) =
        (hidden, weight_decay, epochs, seed);
    let work = |watch: &Watch| {
        let mut observe = |done: usize| {
            let stop = watch.pass("training", done as u64, epochs as u64);
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        train_observed(x, y, &options, &mut observe)
    };
    let trained = watched(py, threads, None, on_progress, Interrupted::Raises, work)?;
    let network = trained.result.map_err(failure::of)?;
    let told = PyDict::new(py);
    for (layer, number) in network.layers().iter().zip(1..) {
        told.set_item(format!("layers.{number}.weight"), layer.weight.clone().into_pyarray(py))?;
        if let Some(bias) = &layer.bias {
            told.set_item(format!("layers.{number}.bias"), bias.clone().into_pyarray(py))?;
        }
    }
    Ok(told)
}
