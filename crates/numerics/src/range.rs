//! Ranges of options: one check, one sentence.

use std::ops::{Bound, RangeBounds};

use crate::Real;

/// An option outside of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {allowed}, got {got}")]
pub struct OutOfRange {
    /// Name of the option.
    pub name: &'static str,
    /// The range allowed, in words.
    pub allowed: &'static str,
    /// What was given.
    pub got: String,
}

impl OutOfRange {
    /// The error of an option that ranges cannot describe.
    pub fn new(name: &'static str, allowed: &'static str, got: impl ToString) -> Self {
        Self { name, allowed, got: got.to_string() }
    }
}

/// Whether `value` is in `range`, which `allowed` says in words; a NaN is in none.
///
/// # Errors
/// [`OutOfRange`] that names the option, its range and what was given.
///
/// ```
/// use palimpsest_numerics::range::within;
///
/// assert!(within("momentum", 0.9, 0.0..1.0, "at least 0 and below 1").is_ok());
/// let error = within("momentum", 1.0, 0.0..1.0, "at least 0 and below 1").unwrap_err();
/// assert_eq!(error.to_string(), "momentum must be at least 0 and below 1, got 1");
/// ```
pub fn within<T: PartialOrd + ToString>(
    name: &'static str,
    value: T,
    range: impl RangeBounds<T>,
    allowed: &'static str,
) -> Result<(), OutOfRange> {
    if range.contains(&value) { Ok(()) } else { Err(OutOfRange::new(name, allowed, value)) }
}

/// Whether a count is at least 1.
///
/// # Errors
/// As [`within`].
pub fn at_least_one(name: &'static str, value: usize) -> Result<(), OutOfRange> {
    within(name, value, 1.., "at least 1")
}

/// Whether a number is finite and above 0.
///
/// # Errors
/// As [`within`].
pub fn positive<T: Real>(name: &'static str, value: T) -> Result<(), OutOfRange> {
    within(name, value, above(T::zero()), "a finite number above 0")
}

/// Whether a number is finite and at least 0.
///
/// # Errors
/// As [`within`].
pub fn not_negative<T: Real>(name: &'static str, value: T) -> Result<(), OutOfRange> {
    within(name, value, T::zero()..T::infinity(), "a finite number of at least 0")
}

/// Whether a number is a share of something.
///
/// # Errors
/// As [`within`].
pub fn share<T: Real>(name: &'static str, value: T) -> Result<(), OutOfRange> {
    within(name, value, T::zero()..=T::one(), "between 0 and 1")
}

/// Whether a number is finite.
///
/// # Errors
/// As [`within`].
pub fn finite<T: Real>(name: &'static str, value: T) -> Result<(), OutOfRange> {
    within(name, value, above(T::neg_infinity()), "a finite number")
}

/// The finite numbers above `least`.
pub fn above<T: Real>(least: T) -> (Bound<T>, Bound<T>) {
    (Bound::Excluded(least), Bound::Excluded(T::infinity()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_what_is_no_number() {
        assert!(positive("rate", f64::MIN_POSITIVE).is_ok() && positive("rate", f64::MAX).is_ok());
        for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let error = positive("rate", bad).unwrap_err();
            assert_eq!(error.to_string(), format!("rate must be a finite number above 0, got {bad}"));
        }
        assert!(finite("loss", f64::MIN).is_ok() && finite("loss", f64::NEG_INFINITY).is_err());
        assert!(finite("loss", f64::NAN).is_err());
        assert!(at_least_one("rounds", 1).is_ok());
        assert_eq!(at_least_one("rounds", 0), Err(OutOfRange::new("rounds", "at least 1", 0)));
        assert!(within("growth", 1.0, above(1.0), "a finite number above 1").is_err());
    }
}
