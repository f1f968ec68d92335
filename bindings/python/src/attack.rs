//! Audits and looks into layers.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyArray1, PyArray2};
use palimpsest::{AuditOptions, PeekOptions, audit_observed};
use palimpsest_attack::AttackStep;
use palimpsest_report::{ReportData, render_html, to_json};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure;
use crate::watch::{Interrupted, Watch, watched};

/// Most restarts unless told otherwise, as on the command line, for progress only.
const RESTARTS: usize = 48;
/// Steps of a restart unless told otherwise, for progress only.
const STEPS: u64 = 800;

/// What the weights of a network give away.
#[pyclass(frozen, module = "palimpsest._rust")]
pub struct Audit {
    audit: palimpsest::Audit,
    stopped_early: bool,
}

#[pymethods]
impl Audit {
    /// The distinct inputs found, (ranking, d), surest first, as the network saw them.
    #[getter]
    fn reconstructions<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        self.audit.inputs().into_pyarray(py)
    }

    /// The same as raw values, where the attack tells what was taken from all inputs; else None.
    #[getter]
    fn raw_reconstructions<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray2<f32>>> {
        self.audit.raw_inputs().map(|inputs| inputs.into_pyarray(py))
    }

    /// How sure the attack is of each, (ranking), in [0, 1].
    #[getter]
    fn confidence<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        Array1::from(self.audit.confidence()).into_pyarray(py)
    }

    /// Every candidate of every restart, (M, d).
    #[getter]
    fn candidates<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        self.audit.reconstruction.candidates.view().to_owned().into_pyarray(py)
    }

    /// Multipliers of the candidates, (M).
    #[getter]
    fn multipliers<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.audit.reconstruction.multipliers.clone().into_pyarray(py)
    }

    /// How sure the attack is of each candidate, (M), in [0, 1].
    #[getter]
    fn candidate_confidence<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.audit.reconstruction.confidence.clone().into_pyarray(py)
    }

    /// Candidates that stand for the inputs found, surest first, (ranking).
    #[getter]
    fn ranking(&self) -> Vec<usize> {
        self.audit.reconstruction.ranking.clone()
    }

    /// Whether a time limit, an interrupt or a callback ended it.
    #[getter]
    fn stopped_early(&self) -> bool {
        self.stopped_early
    }

    /// The answer in sentences.
    fn answer(&self) -> String {
        self.audit.answer()
    }

    /// The page.
    fn html(&self) -> PyResult<String> {
        render_html(&self.audit.report).map_err(|error| failure::misuse(&error))
    }

    /// The page as data, JSON.
    fn report_json(&self) -> PyResult<String> {
        to_json(&self.audit.report).map_err(|error| failure::misuse(&error))
    }

    /// The record of each stage, JSON.
    fn stages_json(&self) -> PyResult<String> {
        serde_json::to_string(&self.audit.reconstruction.stages).map_err(|error| failure::misuse(&error))
    }

    /// Writes the files that `palimpsest audit` writes into a folder that is there.
    fn write(&self, folder: PathBuf) -> PyResult<()> {
        self.audit.write(&folder).map_err(failure::of)
    }
}

/// Audits the network in the file `path`.
#[pyfunction]
#[pyo3(signature = (path, *, input_shape=None, input_range=(0.0, 1.0), input_norm=None, restarts=None, steps=None, candidates=None,
                    seed=0, chain=None, threads=None, time_limit=None, on_progress=None, in_memory=None))]
pub fn audit(
    py: Python<'_>,
    path: PathBuf,
    input_shape: Option<[usize; 3]>,
    input_range: (f64, f64),
    input_norm: Option<f64>,
    restarts: Option<usize>,
    steps: Option<usize>,
    candidates: Option<usize>,
    seed: u64,
    chain: Option<String>,
    threads: Option<usize>,
    time_limit: Option<f64>,
    on_progress: Option<Py<PyAny>>,
    in_memory: Option<&str>,
) -> PyResult<Audit> {
    let (low, high) = input_range;
    // NaN is neither.
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(failure::misuse(format!(
            "input_range must be two finite numbers, the smaller first, got {low}, {high}"
        )));
    }
    let mut options = AuditOptions::default();
    options.input_shape = input_shape;
    options.input_range = input_range;
    options.input_norm = input_norm;
    options.restarts = restarts;
    options.steps = steps;
    options.candidates = candidates;
    options.seed = seed;
    options.chain = chain;
    let all = (restarts.unwrap_or(RESTARTS) as u64).saturating_mul(steps.map_or(STEPS, |steps| steps as u64));
    let done = AtomicU64::new(0);
    let attack = |watch: &Watch| {
        let observe = |at: &AttackStep<'_>| {
            let stop = match at {
                AttackStep::Restart(_) => {
                    watch.pass("restarts", done.fetch_add(1, Ordering::Relaxed) + 1, all)
                }
                AttackStep::Separation(found) => watch.pass("separation", *found as u64, 0),
                AttackStep::Separated(images) => {
                    watch.pass("separation", images.coordinates.nrows() as u64, 0)
                }
                AttackStep::Agreed(images) => watch.pass("deflation", *images as u64, 0),
                AttackStep::Patterns(at) => watch.pass("activation patterns", at.certified as u64, 0),
            };
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        audit_observed(&path, &options, &observe)
    };
    let (mut audit, stopped_early) =
        watched(py, threads, time_limit, on_progress, Interrupted::Keeps, attack)?.kept()?;
    if let Some(kind) = in_memory {
        name_in_memory(&mut audit.report, &path, kind);
    }
    Ok(Audit { audit, stopped_early })
}

/// Has a page speak of a model of this `kind` that was in memory, and not of the file it was handed on in, which is gone.
fn name_in_memory(report: &mut ReportData, path: &Path, kind: &str) {
    if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
        report.subject = report.subject.replacen(name, kind, 1);
    }
    if let Some(file) = &mut report.file {
        file.found.retain(|fact| fact.name != "format");
        for fact in file.found.iter_mut().filter(|fact| fact.name == "file") {
            fact.value = format!("none: a {kind} in memory");
        }
    }
}

/// Looks for pictures in one layer of the network in the file `path`.
#[pyfunction]
#[pyo3(signature = (path, input_shape, *, layer=None, chain=None, seed=0, threads=None, time_limit=None, on_progress=None))]
pub fn peek<'py>(
    py: Python<'py>,
    path: PathBuf,
    input_shape: [usize; 3],
    layer: Option<String>,
    chain: Option<String>,
    seed: u64,
    threads: Option<usize>,
    time_limit: Option<f64>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut options = PeekOptions::of(input_shape);
    options.layer = layer;
    options.chain = chain;
    options.seed = seed;
    let look = |watch: &Watch| {
        let mut observe = |confirmed: usize| {
            let stop = watch.pass("separation", confirmed as u64, 0);
            if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        palimpsest::peek(&path, &options, &mut observe)
    };
    let (found, _) = watched(py, threads, time_limit, on_progress, Interrupted::Keeps, look)?.kept()?;
    let told = PyDict::new(py);
    let pixels = |rows: Array2<f32>| rows.into_pyarray(py);
    told.set_item("pictures", pixels(found.pictures))?;
    told.set_item("confidence", Array1::from(found.confidence).into_pyarray(py))?;
    told.set_item("shared_backgrounds", pixels(found.shared_backgrounds))?;
    told.set_item("layer", found.layer)?;
    told.set_item("stopped_early", found.stopped_early)?;
    Ok(told)
}
