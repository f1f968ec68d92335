//! Which of given records a network was trained on.

use std::path::PathBuf;

use ndarray::Array1;
use numpy::{IntoPyArray, PyReadonlyArray2};
use palimpsest::MembersOptions;
use palimpsest_attack::evidence::membership::{
    Compared, Outputs, RecordEvidence, discoveries, member_probability,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure;
use crate::watch::{Interrupted, watched};

/// Rate of false ones among the records that are called members, at most; as on the command line.
const FALSE_DISCOVERIES: f64 = 0.05;

/// What speaks for each of `records` (m, d), compared with `references` (n, d): a dictionary of vectors (m).
#[pyfunction]
pub fn members<'py>(
    py: Python<'py>,
    path: PathBuf,
    records: PyReadonlyArray2<'py, f32>,
    references: Option<PyReadonlyArray2<'py, f32>>,
    layer: Option<String>,
    chain: Option<String>,
    outputs: &str,
    prior: Option<f64>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    if prior.is_some_and(|prior| !(prior > 0.0 && prior < 1.0)) {
        let prior = prior.unwrap_or(f64::NAN);
        return Err(failure::misuse(format!("prior must be above 0 and below 1, got {prior}")));
    }
    let mut options = MembersOptions::default();
    (options.layer, options.chain) = (layer, chain);
    options.outputs = match outputs {
        "classes" => Outputs::Classes,
        "values" => Outputs::Values,
        other => {
            return Err(failure::misuse(format!("outputs must be \"classes\" or \"values\", got {other:?}")));
        }
    };
    let (records, references) = (records.as_array(), references.as_ref().map(|rows| rows.as_array()));
    let work = |_: &_| palimpsest::members(&path, records, references, &options);
    let found = watched(py, threads, None, None, Interrupted::Raises, work)?.result.map_err(failure::of)?;

    let told = columns(py, &found.records, prior)?;
    let used = match found.compared {
        Compared::References { used } => Some(used),
        Compared::Themselves => None,
    };
    told.set_item("references", used)?;
    told.set_item("rank", found.rank)?;
    told.set_item("floor", found.floor)?;
    Ok(told)
}

/// One vector a quantity, or None where it is not known.
fn columns<'py>(
    py: Python<'py>,
    records: &[RecordEvidence],
    prior: Option<f64>,
) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    let column = |value: &dyn Fn(&RecordEvidence) -> Option<f64>| {
        let values: Option<Vec<f64>> = records.iter().map(value).collect();
        values.map(|values| Array1::from(values).into_pyarray(py))
    };
    let p_values: Option<Vec<f64>> = records.iter().map(|record| record.log_p.map(f64::exp)).collect();
    told.set_item("called_members", p_values.map(|values| discoveries(&values, FALSE_DISCOVERIES)))?;
    let mut ranking: Vec<usize> = (0..records.len()).collect();
    ranking.sort_by(|&a, &b| records[b].score.total_cmp(&records[a].score));
    let ranking = Array1::from_iter(ranking.into_iter().map(|record| record as i64));
    told.set_item("ranking", ranking.into_pyarray(py))?;
    told.set_item("p_value", column(&|record| record.log_p.map(f64::exp)))?;
    told.set_item("log10_p", column(&|record| record.log_p.map(|log| log / std::f64::consts::LN_10)))?;
    let probability = |record: &RecordEvidence| Some(member_probability(record.log_p?, prior?));
    told.set_item("probability", column(&probability))?;
    told.set_item("score", column(&|record| Some(record.score)))?;
    told.set_item("span_share", column(&|record| Some(record.span_share)))?;
    told.set_item("span_score", column(&|record| Some(record.span_score)))?;
    told.set_item("gradient_score", column(&|record| record.gradient_score))?;
    told.set_item("multiplier", column(&|record| record.multiplier))?;
    told.set_item("own_loss", column(&|record| record.own_loss))?;
    told.set_item("margin", column(&|record| record.margin))?;
    told.set_item("strangeness", column(&|record| Some(record.strangeness)))?;
    let same = records.iter().map(|record| record.same_reference.map_or(-1, |row| row as i64));
    told.set_item("same_reference", Array1::from_iter(same).into_pyarray(py))?;
    Ok(told)
}
