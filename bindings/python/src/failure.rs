//! Our sentences as Python's exceptions: `ValueError` for what the caller can correct, `RuntimeError` for the rest.

use std::any::Any;
use std::fmt::Display;

use palimpsest::Error;
use palimpsest_attack::AttackError;
use pyo3::PyErr;
use pyo3::exceptions::{PyRuntimeError, PyValueError};

/// A mistake of the caller.
pub fn misuse(sentence: impl Display) -> PyErr {
    PyValueError::new_err(sentence.to_string())
}

/// An error of the library.
pub fn of(error: Error) -> PyErr {
    let sentence = error.to_string();
    match error {
        Error::Model { .. } | Error::Option(_) | Error::Attack(AttackError::BadOption { .. }) => {
            PyValueError::new_err(sentence)
        }
        Error::Train(_) | Error::Attack(AttackError::NotAttackable(_)) => PyValueError::new_err(sentence),
        _ => PyRuntimeError::new_err(sentence),
    }
}

/// A panic, which is a mistake of ours or an array of the wrong shape.
pub fn panicked(payload: &(dyn Any + Send)) -> PyErr {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no more is known");
    PyRuntimeError::new_err(format!("palimpsest failed: {text}; please report this"))
}
