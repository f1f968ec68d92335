//! What differential privacy a training by clipped and noised gradients has: the sampled Gaussian mechanism in Rényi's divergence.
//!
//! A step takes each example with probability q, clips its gradient to a norm, sums, and adds Gaussian noise of z times that
//! norm to every parameter. Two training sets are neighbours when one has one example more.
//!
//! # Source
//! Mironov, Talwar and Zhang (2019), theorems 4 and 5: the divergence of order a is log(A)/(a - 1) with
//! A = E ((1 - q) + q exp((2 x - 1)/(2 z^2)))^a over x of the normal distribution of deviation z. To an epsilon by Canonne, Kamath
//! and Steinke (2020), proposition 12, as in Opacus and dp-accounting.

use std::ops::Bound;

use palimpsest_numerics::range::{OutOfRange, at_least_one, positive, within};
use serde::{Deserialize, Serialize};

use crate::MlpError;

/// Clipping and noise of a private training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Privacy {
    /// Largest norm of one example's gradient by all parameters, > 0; a longer one is scaled down to it.
    pub clip: f64,
    /// Deviation of the noise on the sum of clipped gradients, in units of `clip`, > 0.
    pub noise_multiplier: f64,
}

impl Privacy {
    pub(super) fn check(&self) -> Result<(), MlpError> {
        positive("clip", self.clip)?;
        Ok(positive("noise_multiplier", self.noise_multiplier)?)
    }
}

/// So many steps of the sampled Gaussian mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledGaussian {
    /// Deviation of the noise in units of the clipping norm, > 0.
    pub noise_multiplier: f64,
    /// Probability q of each example to be in a step, in (0, 1].
    pub sampling_rate: f64,
    /// Steps.
    pub steps: u64,
}

/// Least noise multiplier that [`SampledGaussian::for_epsilon`] tries: less hides nothing.
const LEAST_NOISE: f64 = 0.2;
/// Largest noise multiplier that [`SampledGaussian::for_epsilon`] tries.
const MOST_NOISE: f64 = 1e6;

impl SampledGaussian {
    /// The smallest noise of at least 0.2, to one part in ten thousand and rounded up, with which so many steps have at most this
    /// epsilon.
    ///
    /// ```
    /// use palimpsest_mlp::train::SampledGaussian;
    /// let found = SampledGaussian::for_epsilon(4.0, 1e-3, 0.2, 500)?;
    /// assert!(found.epsilon(1e-3) <= 4.0 && found.epsilon(1e-3) > 3.99);
    /// # Ok::<(), palimpsest_mlp::MlpError>(())
    /// ```
    ///
    /// # Errors
    /// [`MlpError::BadOption`] for an epsilon that is not above 0, a delta or a sampling rate outside of (0, 1), no steps, or
    /// an epsilon that no noise up to a million reaches.
    pub fn for_epsilon(epsilon: f64, delta: f64, sampling_rate: f64, steps: u64) -> Result<Self, MlpError> {
        positive("epsilon", epsilon)?;
        let below_one = (Bound::Excluded(0.0), Bound::Excluded(1.0));
        within("delta", delta, below_one, "above 0 and below 1")?;
        let up_to_one = (Bound::Excluded(0.0), Bound::Included(1.0));
        within("sampling_rate", sampling_rate, up_to_one, "above 0 and at most 1")?;
        at_least_one("steps", usize::try_from(steps).unwrap_or(usize::MAX))?;
        let with = |noise_multiplier| Self { noise_multiplier, sampling_rate, steps };
        let enough = |noise| with(noise).epsilon(delta) <= epsilon;
        let mut most = 0.5;
        while !enough(most) {
            most *= 2.0;
            if most > MOST_NOISE {
                let allowed = "large enough that noise of a million times the clipping norm reaches it";
                return Err(OutOfRange::new("epsilon", allowed, epsilon).into());
            }
        }
        let mut least = if most > 0.5 { most / 2.0 } else { LEAST_NOISE };
        if enough(least) {
            return Ok(with(least));
        }
        while most / least > 1.0001 {
            let middle = (most * least).sqrt();
            if enough(middle) { most = middle } else { least = middle }
        }
        Ok(with(most))
    }

    /// Epsilon of the whole training at this delta, in (0, 1); at least 0, and an upper limit.
    ///
    /// The smallest over the orders that Opacus tries: 1.1 to 10.9 by tenths, and 12 to 63.
    pub fn epsilon(&self, delta: f64) -> f64 {
        let tenths = (1..100).map(|tenth| 1.0 + f64::from(tenth) / 10.0);
        let of_order = |order: f64| {
            let divergence = self.renyi(order);
            divergence - (delta.ln() + order.ln()) / (order - 1.0) + (-1.0 / order).ln_1p()
        };
        let least = tenths.chain((12..64).map(f64::from)).map(of_order).fold(f64::INFINITY, f64::min);
        least.max(0.0)
    }

    /// Rényi divergence of order `order`, above 1, of the whole training.
    ///
    /// # Panics
    /// When the order is not above 1.
    #[track_caller]
    pub fn renyi(&self, order: f64) -> f64 {
        assert!(order > 1.0, "renyi: the order must be above 1, got {order}");
        self.steps as f64 * self.log_moment(order) / (order - 1.0)
    }

    /// The logarithm of A of one step, by the trapezoid rule: its error falls exponentially with the number of points, for an
    /// integrand that is analytic this far from the real line and falls off as a Gaussian.
    fn log_moment(&self, order: f64) -> f64 {
        let (z, q) = (self.noise_multiplier, self.sampling_rate);
        // The integrand has its weight around 0 and around the order; beyond 14 deviations nothing is left.
        let (start, end) = (-14.0 * z, order + 14.0 * z);
        let points = ((end - start) / (z.min(z * z) / 4.0)).ceil().min(1e7);
        let width = (end - start) / points;
        let log_term = |i: u64| {
            let x = start + i as f64 * width;
            let ratio = log_add((1.0 - q).ln(), q.ln() + (2.0 * x - 1.0) / (2.0 * z * z));
            order * ratio - x * x / (2.0 * z * z)
        };
        let last = points as u64;
        let largest = (0..=last).map(log_term).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..=last).map(|i| (log_term(i) - largest).exp()).sum();
        let density = width / (z * (2.0 * std::f64::consts::PI).sqrt());
        // A divergence is not negative; rounding may be.
        (largest + (sum * density).ln()).max(0.0)
    }
}

/// log(exp(a) + exp(b)).
fn log_add(a: f64, b: f64) -> f64 {
    let (most, least) = (a.max(b), a.min(b));
    most + (least - most).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(sampling_rate: f64, noise_multiplier: f64, steps: u64) -> SampledGaussian {
        SampledGaussian { noise_multiplier, sampling_rate, steps }
    }

    /// `mpmath.quad` of the integral with 40 digits; `compute_rdp` of Opacus 1.6.0 says the same to 1e-8.
    #[test]
    fn divergences_are_those_of_mpmath_and_opacus() {
        for (q, z, order, expected) in [
            (0.1, 1.0, 1.5, 0.0117345921966852),
            (0.1, 1.0, 2.0, 0.0170368632361766),
            (0.1, 1.0, 7.3, 1.00347872421743),
            (0.1, 1.0, 32.0, 13.6231379685226),
            (0.01, 0.6, 1.1, 0.000642873371663342),
            (0.01, 0.6, 10.9, 10.0685499973697),
            (0.01, 0.6, 40.0, 50.8323040827473),
            (0.5, 3.0, 2.5, 0.0367161885681922),
            (1.0, 2.0, 5.0, 0.625),
        ] {
            let found = steps(q, z, 1).renyi(order);
            assert!((found - expected).abs() < 1e-12 * expected.max(1.0), "{q} {z} {order}: {found}");
        }
    }

    /// `compute_rdp` and `get_privacy_spent` of Opacus 1.6.0 (`opacus/accountants/analysis/rdp.py`) with its default orders.
    /// dp-accounting 0.6.0 with the same orders gives 7.1837, 5.6320, 5.6013 and 0.6064 on the fourth, second, sixth and last line;
    /// on the others it leaves out the best orders, where its series does not converge, and gives more.
    #[test]
    fn epsilons_are_those_of_opacus() {
        for (q, z, count, delta, expected) in [
            (0.2, 1.0, 500, 1e-3, 33.75986889056051),
            (0.01, 1.1, 10_000, 1e-5, 5.63199236854841),
            (0.1, 0.5, 100, 1e-3, 26.498677021148897),
            (1.0, 4.0, 50, 1e-3, 7.183679750227182),
            (0.5, 0.7, 400, 1e-3, 192.90654062083135),
            (0.004, 0.8, 20_000, 1e-5, 5.6011311386800084),
            (0.2, 20.0, 500, 1e-3, 0.6063685213720735),
        ] {
            let found = steps(q, z, count).epsilon(delta);
            assert!((found - expected).abs() < 1e-6 * expected, "{q} {z} {count}: {found} for {expected}");
        }
    }

    /// At a whole order A is a sum over binomial coefficients (Mironov et al., section 3.3).
    #[test]
    fn whole_orders_agree_with_the_binomial_sum() {
        for (q, z) in [(0.3_f64, 0.8_f64), (0.001, 1.5), (0.9, 5.0)] {
            for order in [2_i32, 3, 10, 25] {
                let mut coefficient = 1.0;
                let mut moment = 0.0;
                for k in 0..=order {
                    let weight = (1.0 - q).powi(order - k) * q.powi(k);
                    let k = f64::from(k);
                    moment += coefficient * weight * ((k * k - k) / (2.0 * z * z)).exp();
                    coefficient *= (f64::from(order) - k) / (k + 1.0);
                }
                let expected = moment.ln() / f64::from(order - 1);
                let found = steps(q, z, 1).renyi(f64::from(order));
                assert!(
                    (found - expected).abs() < 1e-12 + 1e-10 * expected,
                    "{q} {z} {order}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_noise_for_an_epsilon_has_it_and_less_noise_does_not() {
        for (epsilon, q, count) in [(1.0, 0.2, 500), (4.0, 0.2, 500), (64.0, 0.2, 500), (2.0, 1.0, 30)] {
            let found = SampledGaussian::for_epsilon(epsilon, 1e-3, q, count).unwrap();
            assert!(found.epsilon(1e-3) <= epsilon);
            let less = steps(q, found.noise_multiplier / 1.001, count);
            assert!(less.epsilon(1e-3) > epsilon, "{epsilon}");
        }
        // So little that even the least noise is more than enough.
        assert_eq!(SampledGaussian::for_epsilon(1e9, 1e-3, 0.1, 1).unwrap().noise_multiplier, LEAST_NOISE);
        for (epsilon, delta, q, count, told) in [
            (0.0, 1e-3, 0.1, 1, "epsilon must be"),
            (1.0, 1.0, 0.1, 1, "delta must be above 0 and below 1"),
            (1.0, 1e-3, 0.0, 1, "sampling_rate must be"),
            (1.0, 1e-3, 1.5, 1, "sampling_rate must be"),
            (1.0, 1e-3, 0.1, 0, "steps must be"),
            (1e-12, 1e-3, 1.0, u64::MAX, "epsilon must be large enough"),
        ] {
            let error = SampledGaussian::for_epsilon(epsilon, delta, q, count).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
