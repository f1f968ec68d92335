//! Range checks of options.

use crate::MlpError;

/// The error of an option out of range.
pub(super) fn bad(name: &'static str, allowed: &'static str, got: &str) -> Result<(), MlpError> {
    Err(MlpError::BadOption { name, allowed, got: got.into() })
}

/// Whether a number is finite and above 0.
pub(super) fn positive(name: &'static str, value: f64) -> Result<(), MlpError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        bad(name, "a finite number above 0", &value.to_string())
    }
}
