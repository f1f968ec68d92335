//! Tests of derivatives, for this crate's rules and for functions built from them.
//!
//! Each check takes a function of several arrays, the point, and directions that the caller draws (a random
//! direction sees every entry of the derivative at once), and returns a relative error to compare with a
//! tolerance. In `f64` a step of 1e-5 leaves errors near 1e-9; in `f32` 1e-2 leaves about 1e-3. Functions with
//! breakpoints are smooth only as long as no breakpoint lies within the step.
//!
//! A NaN anywhere comes out as NaN, which no `error < tolerance` accepts.
//!
//! ```
//! use ndarray::array;
//! use palimpsest_autograd::check;
//!
//! let at = [array![[0.3, -0.8]]];
//! let direction = [array![[1.0, 0.5]]];
//! assert!(check::gradient(|x| x[0].sigmoid().sum(), &at, &direction, 1e-5) < 1e-8);
//! // The declared derivative of a gated ReLU is not that of its value, and the check says so.
//! assert!(check::gradient(|x| x[0].relu_gated(2.0).sum(), &at, &direction, 1e-5) > 0.1);
//! ```
//!
//! # Source
//! After `check_grads` of JAX: one random direction, central differences, forward against reverse.

use ndarray::Array2;
use palimpsest_numerics::{Real, reduce};

use crate::{Tape, Var};

/// Compares `<grad f, v>` with the central difference of `f` along `v`, where `f` gives a number (1, 1).
///
/// `direction` is v, in the shapes of `at`; `step` is the difference's half-width in units of v. Returns the
/// difference of the two over the larger of the central difference and `|grad f| |v|`. What the rounding of `f`
/// itself can explain, `8 epsilon |f| / step`, is not counted: no difference quotient can see below it.
///
/// # Panics
/// When `at` is empty, shapes of `at` and `direction` differ, or `f` does not give (1, 1).
#[track_caller]
pub fn gradient<T: Real, F>(f: F, at: &[Array2<T>], direction: &[Array2<T>], step: T) -> f64
where
    F: for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>,
{
    let tape = Tape::new();
    let (x, v) = (put(&tape, at), put(&tape, direction));
    let g = tape.grad(f(&x), &x);
    let slope = tape.inner(&g, &v).item().wide();

    let value_at = |distance: T| {
        let tape = Tape::new();
        let moved = at.iter().zip(direction).map(|(x, v)| tape.var(x + &v.mapv(|v| distance * v)));
        f(&moved.collect::<Vec<_>>()).item().wide()
    };
    let (ahead, behind) = (value_at(step), value_at(-step));
    let difference = (ahead - behind) / (2.0 * step.wide());
    let rounding = 8.0 * T::epsilon().wide() * ahead.abs().max(behind.abs()) / step.wide().abs();
    relative(slope, difference, (norm(&g) * norm(&v)).max(difference.abs()), rounding)
}

/// Compares `u' H v` from differentiating twice with the central difference of `<grad f, u>` along `v`.
///
/// `u` and `v` have the shapes of `at`; `f` gives a number (1, 1). Scale and step are those of [`gradient`].
///
/// # Panics
/// As [`gradient`].
#[track_caller]
pub fn gradient_of_gradient<T: Real, F>(
    f: F,
    at: &[Array2<T>],
    u: &[Array2<T>],
    v: &[Array2<T>],
    step: T,
) -> f64
where
    F: for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>,
{
    gradient(
        |x| {
            let tape = x[0].tape();
            tape.inner(&tape.grad(f(x), x), &put(tape, u))
        },
        at,
        v,
        step,
    )
}

/// Compares `<J v, w>` with `<v, J' w>`, where J is the Jacobian of `f`.
///
/// `v` has the shapes of `at`, `w` that of what `f` gives. No step: the two are equal up to rounding. Returns
/// their difference over the larger of `|J v| |w|` and `|v| |J' w|`.
///
/// # Panics
/// When `at` is empty or shapes differ.
#[track_caller]
pub fn transpose_identity<T: Real, F>(f: F, at: &[Array2<T>], v: &[Array2<T>], w: &Array2<T>) -> f64
where
    F: for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>,
{
    let tape = Tape::new();
    let (x, v, w) = (put(&tape, at), put(&tape, v), tape.var(w.clone()));
    let y = f(&x);
    let (pushed, pulled) = (tape.jvp(y, &x, &v), tape.vjp(y, w, &x));
    let scale = (norm(&[pushed]) * norm(&[w])).max(norm(&v) * norm(&pulled));
    relative(pushed.inner(w).item().wide(), tape.inner(&v, &pulled).item().wide(), scale, 0.0)
}

#[track_caller]
fn put<'t, T: Real>(tape: &'t Tape<T>, arrays: &[Array2<T>]) -> Vec<Var<'t, T>> {
    assert!(!arrays.is_empty(), "a function of no arrays has no derivative to check");
    arrays.iter().map(|a| tape.var(a.clone())).collect()
}

fn norm<T: Real>(arrays: &[Var<'_, T>]) -> f64 {
    arrays.iter().map(|a| a.with_value(reduce::squared_norm)).sum::<f64>().sqrt()
}

/// |a - b| / scale beyond the allowance; NaN and infinities are never allowed for.
fn relative(a: f64, b: f64, scale: f64, allowance: f64) -> f64 {
    let error = (a - b).abs();
    if error.is_finite() && error <= allowance { 0.0 } else { (error - allowance) / scale }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_wrong_gradient_is_caught() {
        let (at, v) = ([array![[0.4, -1.2, 0.9]]], [array![[1.0, -0.5, 0.3]]]);
        assert!(gradient(|x| x[0].relu_gated(1.0).sum(), &at, &v, 1e-5) > 0.05);
        assert!(gradient_of_gradient(|x| x[0].relu_gated(1.0).exp().sum(), &at, &v, &v, 1e-5) > 0.05);
    }

    #[test]
    fn nan_is_never_small() {
        let (at, v) = ([array![[-1.0]]], [array![[1.0]]]);
        assert!(gradient(|x| x[0].log(), &at, &v, 1e-5).is_nan());
        assert!(transpose_identity(|x| x[0].sqrt(), &at, &v, &array![[1.0]]).is_nan());
        // Finite behind, infinite ahead: the rounding of an infinity explains nothing.
        let edge = [array![[f64::MAX.ln()]]];
        let error = gradient(|x| x[0].exp(), &edge, &v, 1e-3);
        assert!(error.is_nan() || error > 1.0, "{error}");
    }

    #[test]
    fn a_derivative_below_the_rounding_of_the_function_is_not_blamed() {
        // 1 + sigmoid(-20): a slope of 2e-9 under differences that come in steps of 1e-11.
        let shifted = |x: Var<'_, f64>| (x.tape().scalar(1.0) + x.sigmoid()).item();
        let tape = Tape::new();
        let quotient =
            |h: f64| (shifted(tape.scalar(-20.0 + h)) - shifted(tape.scalar(-20.0 - h))) / (2.0 * h);
        let slope = tape.scalar(20.0_f64).sigmoid().item() * tape.scalar(-20.0).sigmoid().item();
        assert!((quotient(1e-5) / slope - 1.0).abs() > 1e-4, "the difference is too good for this test");

        let (at, v) = ([array![[-20.0]]], [array![[1.0]]]);
        assert_eq!(gradient(|x| x[0].tape().scalar(1.0) + x[0].sigmoid(), &at, &v, 1e-5), 0.0);
    }

    #[test]
    fn a_constant_agrees_with_itself() {
        let (at, v) = ([array![[2.0]]], [array![[1.0]]]);
        assert_eq!(gradient(|x| x[0].step(), &at, &v, 1e-5), 0.0);
        assert_eq!(gradient_of_gradient(|x| x[0].scale(3.0), &at, &v, &v, 1e-5), 0.0);
    }

    #[test]
    #[should_panic(expected = "left is (1, 1), right is (1, 2)")]
    fn a_direction_of_another_shape_is_refused() {
        gradient(|x| x[0], &[array![[1.0]]], &[array![[1.0, 2.0]]], 1e-5);
    }
}
