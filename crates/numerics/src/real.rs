//! The two floating-point types of the workspace behind one trait.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use crate::kernels::Kernels;

/// `f32` or `f64`: what every numeric crate here is generic over.
///
/// Sealed: the products and factorisations behind it exist for these two types only.
pub trait Real:
    Kernels
    + num_traits::Float
    + num_traits::NumAssign
    + num_traits::FromPrimitive
    + ndarray::LinalgScalar
    + ndarray::ScalarOperand
    + Sum
    + Debug
    + Display
    + Default
    + Send
    + Sync
    + 'static
{
    /// Rounds an `f64` to this type.
    fn of(value: f64) -> Self;

    /// Widens to `f64`, exactly.
    fn wide(self) -> f64;

    /// `1 / (1 + exp(-x))`, branch-free, exactly 0 or 1 far out, NaN for NaN.
    ///
    /// Relative error at most 1e-6 (`f32`) and 1e-14 (`f64`) where the result is normal.
    fn saturating_sigmoid(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn saturating_sigmoid(self) -> Self {
        // exp(-|x|) never overflows; the clamp keeps 2^k a normal number (and drops a NaN, put back below).
        let magnitude = self.abs().min(87.0);
        const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
        let k = (magnitude * -std::f32::consts::LOG2_E) + SHIFT;
        let power = f32::from_bits((k.to_bits().wrapping_add(127)) << 23);
        let k = k - SHIFT;
        // ln 2 in two parts, so that the reduced argument is exact.
        let r = (-magnitude) - k * 0.693_359_4 + k * 2.121_944_4e-4;
        // exp(r) on |r| <= ln2/2, Taylor to degree 6: error below 1.3e-7 relative.
        let p = 1.0 / 720.0;
        let p = p * r + 1.0 / 120.0;
        let p = p * r + 1.0 / 24.0;
        let p = p * r + 1.0 / 6.0;
        let p = p * r + 0.5;
        let p = p * r + 1.0;
        let p = p * r + 1.0;
        let e = if magnitude < 87.0 { p * power } else { 0.0 };
        let upper = if self < 0.0 { e } else { 1.0 };
        if self.is_nan() { self } else { upper / (1.0 + e) }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn saturating_sigmoid(self) -> Self {
        let magnitude = self.abs().min(708.0);
        const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
        let k = (magnitude * -std::f64::consts::LOG2_E) + SHIFT;
        let power = f64::from_bits((k.to_bits().wrapping_add(1023)) << 52);
        let k = k - SHIFT;
        let r = (-magnitude) - k * 6.931_471_803_691_238e-1 - k * 1.908_214_929_270_587_7e-10;
        // Taylor to degree 13: error below 5e-18 on |r| <= ln2/2.
        let mut p = 1.0 / 6_227_020_800.0;
        for c in [
            1.0 / 479_001_600.0,
            1.0 / 39_916_800.0,
            1.0 / 3_628_800.0,
            1.0 / 362_880.0,
            1.0 / 40_320.0,
            1.0 / 5_040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            p = p * r + c;
        }
        let e = if magnitude < 708.0 { p * power } else { 0.0 };
        let upper = if self < 0.0 { e } else { 1.0 };
        if self.is_nan() { self } else { upper / (1.0 + e) }
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn sigmoid_agrees_with_the_standard_library() {
        for i in -20_000..20_000 {
            let x = f64::from(i) * 0.005;
            let exact = 1.0 / (1.0 + (-x).exp());
            assert!((x.saturating_sigmoid() / exact - 1.0).abs() < 1e-14, "f64 at {x}");
            if x > -86.0 {
                let single = f64::from((x as f32).saturating_sigmoid());
                let exact = 1.0 / (1.0 + (-f64::from(x as f32)).exp());
                assert!((single / exact - 1.0).abs() < 1e-6, "f32 at {x}: {single} against {exact}");
            }
        }
    }

    #[test]
    fn sigmoid_saturates_and_keeps_nan() {
        assert_eq!(1e4_f32.saturating_sigmoid(), 1.0);
        assert_eq!((-1e4_f32).saturating_sigmoid(), 0.0);
        assert_eq!(1e300_f64.saturating_sigmoid(), 1.0);
        assert_eq!((-1e300_f64).saturating_sigmoid(), 0.0);
        assert!(f32::NAN.saturating_sigmoid().is_nan());
        assert!(f64::NAN.saturating_sigmoid().is_nan());
        assert_eq!(0.0_f32.saturating_sigmoid(), 0.5);
    }
}
