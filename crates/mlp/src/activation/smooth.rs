//! Value, slope and curvature of activations that are not gates.

use palimpsest_numerics::Real;

/// Value and slope of a leaky ReLU.
#[inline(always)]
pub(super) fn leaky<T: Real>(z: T, below: T) -> (T, T) {
    if z > T::zero() {
        (z, T::one())
    } else if z <= T::zero() {
        (below * z, below)
    } else {
        (z, z)
    }
}

/// Hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh<T: Real>(z: T) -> [T; 3] {
    let two = T::of(2.0);
    // 2 sigmoid(2 z) - 1 loses the relative precision of small values, which `h` as such needs only absolutely.
    let value = two * (two * z).saturating_sigmoid() - T::one();
    let slope = (T::one() - value) * (T::one() + value);
    [value, slope, -two * value * slope]
}

/// `z sigmoid(z)`.
#[inline(always)]
pub(super) fn silu<T: Real>(z: T) -> [T; 3] {
    gated(z, z, T::one(), T::zero())
}

/// `z sigmoid(u(z))` with u = 2 sqrt(2 / pi) (z + 0.044715 z^3).
///
/// # Source
/// Hendrycks and Gimpel (2016), section 2; `tanh(x) = 2 sigmoid(2 x) - 1` put in.
#[inline(always)]
pub(super) fn gelu<T: Real>(z: T) -> [T; 3] {
    let scale = T::of(2.0 * (2.0 / std::f64::consts::PI).sqrt());
    let cubic = T::of(0.044_715) * scale;
    let three = T::of(3.0);
    gated(z, scale * z + cubic * z * z * z, scale + three * cubic * z * z, T::of(6.0) * cubic * z)
}

/// Value, slope and curvature of `z sigmoid(u)` for u with the derivatives `u1` and `u2` by z.
#[inline(always)]
fn gated<T: Real>(z: T, u: T, u1: T, u2: T) -> [T; 3] {
    let gate = u.saturating_sigmoid();
    let gate1 = gate * (T::one() - gate);
    let gate2 = gate1 * (T::one() - T::of(2.0) * gate);
    let slope = gate + z * gate1 * u1;
    let curvature = T::of(2.0) * gate1 * u1 + z * (gate2 * u1 * u1 + gate1 * u2);
    [z * gate, slope, curvature]
}

/// Value and slope of the three.
#[inline(always)]
pub(super) fn first_two<T>([value, slope, _]: [T; 3]) -> (T, T) {
    (value, slope)
}

/// Curvature and slope of the three.
#[inline(always)]
pub(super) fn last_two<T>([_, slope, curvature]: [T; 3]) -> (T, T) {
    (curvature, slope)
}
