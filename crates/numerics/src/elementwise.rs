//! Activation passes over slices, vectorised for the machine at run time.
//!
//! Each pass does all it can while the data are in registers: bias, value and slope in one walk.
//! [`vectorised`] is the door for further loops of this kind in other crates.

use crate::Real;

/// Runs `body` compiled for the widest vector instructions of this machine.
///
/// `body` must be a plain loop over slices whose calls are all inlined; nothing is promised beyond speed. A body of more than a few lines
/// needs `#[inline(always)]` itself: the compiler makes a function of it otherwise, for the narrowest instructions there are.
#[inline]
pub fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Adds `bias` to `z` element by element (`bias` has `z`'s length, or is absent), then applies `value_slope`,
/// which maps a pre-activation to (value, slope): `z` becomes the value, `slope` the slope.
///
/// # Panics
/// When the lengths differ.
#[inline]
#[track_caller]
pub fn bias_value_slope<T: Real>(
    z: &mut [T],
    bias: Option<&[T]>,
    slope: &mut [T],
    value_slope: impl Fn(T) -> (T, T),
) {
    assert_eq!(z.len(), slope.len(), "bias_value_slope: {} values, {} slopes", z.len(), slope.len());
    // What `value_slope` knows must be the loop's own: behind a reference it could change with every number written, and
    // the loop would stay scalar.
    if let Some(bias) = bias {
        assert_eq!(z.len(), bias.len(), "bias_value_slope: {} values, {} biases", z.len(), bias.len());
        vectorised(move || {
            for ((z, s), &b) in z.iter_mut().zip(slope.iter_mut()).zip(bias) {
                (*z, *s) = value_slope(*z + b);
            }
        });
    } else {
        vectorised(move || {
            for (z, s) in z.iter_mut().zip(slope.iter_mut()) {
                (*z, *s) = value_slope(*z);
            }
        });
    }
}

/// ReLU and its step: `(max(z, 0), 1 if z > 0 else 0)`.
#[inline(always)]
pub fn relu_step<T: Real>(z: T) -> (T, T) {
    // `max` would turn a NaN into 0 and hide a broken run.
    if z > T::zero() {
        (z, T::one())
    } else if z <= T::zero() {
        (T::zero(), T::zero())
    } else {
        (z, z)
    }
}

/// ReLU with a soft gate: `(max(z, 0), sigmoid(sharpness * z))`.
#[inline(always)]
pub fn relu_gate<T: Real>(z: T, sharpness: T) -> (T, T) {
    (relu_step(z).0, (sharpness * z).saturating_sigmoid())
}

/// Softplus and its slope: `(log(1 + exp(sharpness z)) / sharpness, sigmoid(sharpness z))`.
#[inline(always)]
pub fn softplus_slope<T: Real>(z: T, sharpness: T) -> (T, T) {
    let scaled = sharpness * z;
    let positive = relu_step(scaled).0;
    ((positive + (-scaled.abs()).exp().ln_1p()) / sharpness, scaled.saturating_sigmoid())
}

/// `a <- a * b`, element by element.
///
/// # Panics
/// When the lengths differ.
#[inline]
#[track_caller]
pub fn multiply_assign<T: Real>(a: &mut [T], b: &[T]) {
    assert_eq!(a.len(), b.len(), "multiply_assign: {} and {} elements", a.len(), b.len());
    vectorised(|| {
        for (a, &b) in a.iter_mut().zip(b) {
            *a *= b;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_agree_with_their_definitions() {
        let start: Vec<f64> = (0..97).map(|i| f64::from(i) * 0.1 - 4.0).collect();
        let bias: Vec<f64> = (0..97).map(|i| f64::from(i % 5) * 0.3).collect();
        let mut slope = vec![0.0; 97];
        let mut z = start.clone();
        bias_value_slope(&mut z, Some(&bias), &mut slope, |z| relu_gate(z, 7.0));
        for i in 0..97 {
            let pre = start[i] + bias[i];
            assert_eq!(z[i], pre.max(0.0));
            assert!((slope[i] - 1.0 / (1.0 + (-7.0 * pre).exp())).abs() < 1e-14);
        }
        let mut z = start.clone();
        bias_value_slope(&mut z, None, &mut slope, |z| softplus_slope(z, 3.0));
        for i in 0..97 {
            assert!((z[i] - (3.0 * start[i]).exp().ln_1p() / 3.0).abs() < 1e-12);
        }
    }

    #[test]
    fn nan_is_not_swallowed() {
        assert!(relu_step(f32::NAN).0.is_nan());
        assert!(relu_step(f64::NAN).1.is_nan());
        assert!(relu_gate(f64::NAN, 3.0).1.is_nan());
        assert!(softplus_slope(f64::NAN, 3.0).0.is_nan());
        assert!(softplus_slope(800.0_f64, 3.0).0 == 800.0);
    }
}
