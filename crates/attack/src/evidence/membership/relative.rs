//! What is usual for a record of its size and roughness, and with such a measurement in the strong directions: two readings of one measurement.
//!
//! Simple pictures have less than usual outside any span. Those are told by what they have in the strong directions, beside which the second
//! reading is made; of what is strong itself it says less than the first.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use palimpsest_numerics::factor::FactorError;

use super::standard::Standard;
use super::tail::Tail;

/// Correlation from which on two measurements are one, so that nothing is left of one beside the other.
const SAME: f64 = 0.995;

/// The readings of a measurement, and their laws.
pub struct Relative {
    plain: Reading,
    beside: Option<Both>,
}

/// A regression, and the law of its scores.
struct Reading {
    standard: Standard,
    tail: Tail,
}

/// The reading beside the strong directions, and the law of the smaller of two p-values.
struct Both {
    reading: Reading,
    smaller: Tail,
}

/// What the sample is that a regression is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// References, none of which was trained on.
    References,
    /// Records among which members may be. These have less outside of strong directions and of all, so that one would explain the other.
    Records,
}

/// A measurement (m) by all directions, and, where there is a second reading, by the strong ones.
#[derive(Clone, Copy)]
pub struct Measurement<'a> {
    /// By all.
    pub all: ArrayView1<'a, f64>,
    /// By the strong ones.
    pub strong: Option<ArrayView1<'a, f64>>,
}

/// What the readings say together.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Deviations by the reading that says more, (m).
    pub deviations: Array1<f64>,
    /// Logarithm of the p-value of both, (m).
    pub log_p: Array1<f64>,
}

impl Relative {
    /// Over a `sample` with `covariates` (n, c), and what it says of the sample itself, each as if left out. Over records there is one reading,
    /// and where both would be the same.
    ///
    /// # Errors
    /// [`FactorError`] when a number is not finite.
    ///
    /// # Panics
    /// As [`Standard::of`] with one covariate more.
    pub fn of(
        sample: Sample,
        measured: Measurement<'_>,
        covariates: ArrayView2<'_, f64>,
    ) -> Result<(Self, Scores), FactorError> {
        let plain = Reading::of(measured.all, covariates)?;
        let own = plain.standard.references.clone();
        let beside = match measured.strong.filter(|_| sample == Sample::References) {
            Some(strong) => {
                let standard = Standard::of(strong, covariates)?;
                let same = correlation(own.view(), standard.references.view()).abs() > SAME;
                (!same).then_some(strong)
            }
            None => None,
        };
        let Some(strong) = beside else {
            let log_p = plain.tail.log_ps(&own);
            return Ok((Self { plain, beside: None }, Scores { deviations: own, log_p }));
        };
        let reading = Reading::of(measured.all, with(strong, covariates).view())?;
        let other = reading.standard.references.clone();
        let smaller = smaller(&plain.tail.log_ps(&own), &reading.tail.log_ps(&other));
        let law = Tail::of(smaller.as_slice().expect("scores are contiguous"));
        let scores = Scores { deviations: larger(&own, &other), log_p: law.log_ps(&smaller) };
        Ok((Self { plain, beside: Some(Both { reading, smaller: law }) }, scores))
    }

    /// What it says of others (m) with `covariates` (m, c).
    ///
    /// # Panics
    /// When shapes differ, or the strong directions are missing.
    pub fn apply(&self, measured: Measurement<'_>, covariates: ArrayView2<'_, f64>) -> Scores {
        let own = self.plain.standard.apply(measured.all, covariates);
        let log_p = self.plain.tail.log_ps(&own);
        let Some(Both { reading, smaller: law }) = &self.beside else {
            return Scores { deviations: own, log_p };
        };
        let strong = measured.strong.expect("others are measured as the sample was");
        let other = reading.standard.apply(measured.all, with(strong, covariates).view());
        let smaller = smaller(&log_p, &reading.tail.log_ps(&other));
        Scores { deviations: larger(&own, &other), log_p: law.log_ps(&smaller) }
    }
}

impl Reading {
    fn of(values: ArrayView1<'_, f64>, covariates: ArrayView2<'_, f64>) -> Result<Self, FactorError> {
        let standard = Standard::of(values, covariates)?;
        let tail = Tail::of(standard.references.as_slice().expect("scores are contiguous"));
        Ok(Self { standard, tail })
    }
}

/// Minus the smaller of two logarithms of p-values.
///
/// # Source
/// Tippett (1931); its law is estimated from the sample, so the two need not be independent.
fn smaller(a: &Array1<f64>, b: &Array1<f64>) -> Array1<f64> {
    a.iter().zip(b).map(|(&a, &b)| -a.min(b)).collect()
}

fn larger(a: &Array1<f64>, b: &Array1<f64>) -> Array1<f64> {
    a.iter().zip(b).map(|(&a, &b)| a.max(b)).collect()
}

/// The covariates with one more, (m, c + 1).
fn with(strong: ArrayView1<'_, f64>, covariates: ArrayView2<'_, f64>) -> Array2<f64> {
    concatenate(Axis(1), &[covariates, strong.insert_axis(Axis(1))]).expect("each has an entry a record")
}

/// Of two measurements of mean nearly 0; 1 where one does not vary.
fn correlation(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    let sum =
        |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (sum(a, a) * sum(b, b)).sqrt();
    if lengths > 0.0 { sum(a, b) / lengths } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    fn normal(n: usize, seed: u64) -> Array1<f64> {
        Array1::random_using(n, StandardNormal, &mut Seed::new(seed).rng())
    }

    /// Scores of one record with these measurements.
    fn one(relative: &Relative, all: f64, strong: f64) -> (f64, f64) {
        let (all, strong) = (Array1::from_elem(1, all), Array1::from_elem(1, strong));
        let measured = Measurement { all: all.view(), strong: Some(strong.view()) };
        let found = relative.apply(measured, Array2::zeros((1, 1)).view());
        (found.deviations[0], found.log_p[0])
    }

    #[test]
    fn what_the_strong_directions_do_not_tell_stands_out() {
        let n = 1000;
        let covariates = normal(n, 1).insert_axis(Axis(1));
        let common = normal(n, 2);
        let (all, strong) = (&common + &(normal(n, 3) * 0.3), &common + &(normal(n, 4) * 0.1));
        let measured = Measurement { all: all.view(), strong: Some(strong.view()) };
        let (found, own) = Relative::of(Sample::References, measured, covariates.view()).unwrap();
        // By 1.3 units more than the strong ones make expect, about four deviations of what they leave; alone it is one and a half.
        let (deviations, log_p) = one(&found, 1.5, 0.2);
        assert!((3.2..5.0).contains(&deviations) && log_p < 1e-3_f64.ln(), "{deviations} {log_p}");
        // What the strong ones have, too, is as large as it is alone.
        let (deviations, log_p) = one(&found, 1.5, 1.5);
        assert!((1.2..1.8).contains(&deviations) && log_p > 0.05_f64.ln(), "{deviations} {log_p}");
        // A large one that is all strong is told by the plain reading, which pays for the other by a factor of two at most.
        let (deviations, log_p) = one(&found, 6.0, 6.0);
        assert!((5.0..7.0).contains(&deviations) && log_p < 1e-3_f64.ln(), "{deviations} {log_p}");
        let below = own.log_p.iter().filter(|&&log_p| log_p < 0.1_f64.ln()).count();
        assert!((80..=120).contains(&below), "{below} of {n} below a tenth");
        let (mixed, _) = Relative::of(Sample::Records, measured, covariates.view()).unwrap();
        assert!(mixed.beside.is_none());
        assert!(one(&mixed, 1.5, 0.2).0 < 1.8);
    }

    #[test]
    fn where_both_are_one_there_is_one_reading() {
        let n = 300;
        let covariates = normal(n, 5).insert_axis(Axis(1));
        let all = normal(n, 6);
        let measured = Measurement { all: all.view(), strong: Some(all.view()) };
        let (found, own) = Relative::of(Sample::References, measured, covariates.view()).unwrap();
        assert!(found.beside.is_none());
        let alone = Standard::of(all.view(), covariates.view()).unwrap();
        assert_eq!(own.deviations, alone.references);
        assert_eq!(own.log_p, found.plain.tail.log_ps(&alone.references));
    }
}
