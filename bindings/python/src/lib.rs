//! The Rust half of the Python package: arrays in and out, the interpreter free while work goes on, mistakes as exceptions.
//!
//! What a user sees is `python/palimpsest/__init__.py`, which reads models and hands this module a file and numbers.

use pyo3::prelude::*;

mod attack;
mod failure;
mod measures;
mod members;
mod watch;

/// Compiled part of palimpsest.
#[pymodule]
fn _rust(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<attack::Audit>()?;
    module.add_function(wrap_pyfunction!(attack::audit, module)?)?;
    module.add_function(wrap_pyfunction!(attack::peek, module)?)?;
    module.add_function(wrap_pyfunction!(members::members, module)?)?;
    module.add_function(wrap_pyfunction!(measures::ssim, module)?)?;
    module.add_function(wrap_pyfunction!(measures::ncc, module)?)?;
    module.add_function(wrap_pyfunction!(measures::certificate, module)?)?;
    module.add_function(wrap_pyfunction!(measures::sample, module)?)?;
    module.add_function(wrap_pyfunction!(measures::train, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
