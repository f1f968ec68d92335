//! What is usual for a record with such a measurement in the strong directions: simple pictures have less than usual in all of them.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use palimpsest_numerics::factor::FactorError;

use super::standard::Standard;

/// Correlation from which on two measurements are one, so that nothing is left of one beside the other.
const SAME: f64 = 0.995;

/// A regression of a measurement on covariates and, where it is another one, the same measurement in the strong directions alone.
pub struct Relative {
    /// The regression, with the scores of the references.
    pub standard: Standard,
    beside: Beside,
}

/// What the regression is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Covariates,
    CovariatesAndStrong,
}

/// A measurement (m) by all directions, and by the strong ones.
#[derive(Clone, Copy)]
pub struct Measurement<'a> {
    /// By all.
    pub all: ArrayView1<'a, f64>,
    /// By the strong ones.
    pub strong: ArrayView1<'a, f64>,
}

impl Relative {
    /// Over references with `covariates` (n, c).
    ///
    /// # Errors
    /// [`FactorError`] when a number is not finite.
    ///
    /// # Panics
    /// As [`Standard::of`] with one covariate more.
    pub fn of(measured: Measurement<'_>, covariates: ArrayView2<'_, f64>) -> Result<Self, FactorError> {
        let alone = Standard::of(measured.all, covariates)?;
        let strong = Standard::of(measured.strong, covariates)?;
        if correlation(alone.references.view(), strong.references.view()).abs() > SAME {
            return Ok(Self { standard: alone, beside: Beside::Covariates });
        }
        let standard = Standard::of(measured.all, beside(measured.strong, covariates).view())?;
        Ok(Self { standard, beside: Beside::CovariatesAndStrong })
    }

    /// Scores (m) of others with `covariates` (m, c).
    ///
    /// # Panics
    /// When shapes differ.
    pub fn apply(&self, measured: Measurement<'_>, covariates: ArrayView2<'_, f64>) -> Array1<f64> {
        match self.beside {
            Beside::Covariates => self.standard.apply(measured.all, covariates),
            Beside::CovariatesAndStrong => {
                self.standard.apply(measured.all, beside(measured.strong, covariates).view())
            }
        }
    }
}

/// The covariates with one more, (m, c + 1).
fn beside(strong: ArrayView1<'_, f64>, covariates: ArrayView2<'_, f64>) -> Array2<f64> {
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

    #[test]
    fn what_the_strong_directions_tell_is_taken_away() {
        let n = 500;
        let covariates = normal(n, 1).insert_axis(Axis(1));
        let (common, own) = (normal(n, 2), normal(n, 3));
        let all = &common + &(&own * 0.3);
        let strong = &common + &(normal(n, 4) * 0.1);
        let measured = Measurement { all: all.view(), strong: strong.view() };
        let found = Relative::of(measured, covariates.view()).unwrap();
        assert_eq!(found.beside, Beside::CovariatesAndStrong);
        // Three tenths of a unit more than the strong ones make expect are about one deviation.
        let more = Array1::from_elem(1, 2.0 + 0.9);
        let usual = Array1::from_elem(1, 2.0);
        let measured = Measurement { all: more.view(), strong: usual.view() };
        let score = found.apply(measured, Array2::zeros((1, 1)).view())[0];
        assert!((2.2..3.6).contains(&score), "{score}");
        // The covariates alone see 2.9 / 1.04 of it, whether the strong ones have it or not.
        let measured = Measurement { all: more.view(), strong: more.view() };
        let shared = found.apply(measured, Array2::zeros((1, 1)).view())[0];
        assert!(shared.abs() < 1.0, "{shared}");
    }

    #[test]
    fn where_both_are_one_the_covariates_stand_alone() {
        let n = 300;
        let covariates = normal(n, 5).insert_axis(Axis(1));
        let all = normal(n, 6);
        let measured = Measurement { all: all.view(), strong: all.view() };
        let found = Relative::of(measured, covariates.view()).unwrap();
        assert_eq!(found.beside, Beside::Covariates);
        let alone = Standard::of(all.view(), covariates.view()).unwrap();
        assert_eq!(found.standard.references, alone.references);
    }
}
