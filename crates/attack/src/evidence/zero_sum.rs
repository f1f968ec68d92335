//! The sign of pictures, by the sum of all inputs.
//!
//! Whoever takes the mean of the training inputs from each of them, as the published recipe does, leaves inputs that sum to zero. So the sum of all
//! other inputs is the negative of an input, and where most are found, with most signs right, each picture is told by all others which sign it
//! has, and whether it is an input at all. Images are compared by their edges, in which different ones are nearly orthogonal; how long each is remains
//! unknown. Whether inputs sum to zero is told by the pictures, too: see [`SPEAKS`]. `docs/decisions/0037-zero-sum.md` has what that brings.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::reduce::unit_rows;

/// What is known of a picture before its sum with others is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Probability in (0, 1) that it is an input or the negative of one.
    pub(crate) found: f64,
    /// Log odds that it is an input and not the negative of one.
    pub(crate) sign: f64,
}

/// Least deviation of the length of inputs, in units of their mean length, with which the iteration begins, and the largest.
const LENGTHS: (f64, f64) = (0.45, 0.6);
/// Deviation from which on the lengths are not those of images: 0.3 to 0.7 on most networks whose inputs sum to zero, 0.8 and more where they do not.
const NO_LENGTHS: f64 = 0.75;
/// The same of what is no input: about this much of it is one, by chance.
const OF_OTHERS: f64 = 0.15;
/// Probability that a picture is a blend of many inputs, and the deviation of how much of their sum it has: such a one would take up the sum of all,
/// and leave nothing for the others to tell.
const BLEND: (f64, f64) = (0.02, 4.0);
/// Part of a picture's square that is not the input's.
const ERROR: f64 = 0.3;
/// Sweeps over all pictures, and how far each goes.
const SWEEPS: usize = 60;
const STEP: f64 = 0.5;
/// Deviations by which the sum of the pictures, as far as their signs are known, must be shorter than that of unrelated ones: where lengths are
/// those of images, and whatever they are.
const SPEAKS: (f64, f64) = (-1.0, -3.0);
/// Log odds beyond which a sign is not surer.
const SUREST: f64 = 5.0;
/// Share of the squares of a normal variable below which half of them are.
const MEDIAN_SQUARE: f64 = 0.455;

/// Log odds (k) that all other pictures give the sign of each of `pictures` (k, s), in coordinates in which different ones are nearly orthogonal,
/// by what is `known` of them (k), when there are `inputs` in all. Nothing where the pictures do not look as if the inputs sum to zero.
///
/// Each picture has a length of unknown size and sign, or is none; the posteriors of all are iterated together.
pub(crate) fn log_odds_of_signs(
    pictures: ArrayView2<'_, f32>,
    known: &[Known],
    inputs: usize,
    parallelism: Parallelism,
) -> Option<Array1<f64>> {
    let unit = unit_rows(pictures);
    let cosines = matmul(unit.view(), unit.t(), parallelism).mapv(f64::from);
    let alike = median_square(&cosines)? / MEDIAN_SQUARE;
    let mut sum = Sum::of(&cosines, known, inputs, alike);
    let deviations = sum.deviations();
    if deviations > SPEAKS.0 {
        return None;
    }
    let (mut log_odds, mut deviation) = (Array1::zeros(known.len()), LENGTHS.0);
    for _ in 0..SWEEPS {
        let mut lengths = Lengths::default();
        for (j, log_odds) in log_odds.iter_mut().enumerate() {
            *log_odds = sum.update(j, &mut lengths);
        }
        deviation = lengths.deviation();
        sum.length = deviation.clamp(LENGTHS.0, LENGTHS.1);
    }
    (deviation < NO_LENGTHS || deviations < SPEAKS.1).then_some(log_odds)
}

/// Median square of the cosines of different pictures; nothing where there are none, or all are orthogonal.
fn median_square(cosines: &Array2<f64>) -> Option<f64> {
    let mut squares: Vec<f64> =
        cosines.indexed_iter().filter(|((i, j), _)| i < j).map(|(_, cosine)| cosine * cosine).collect();
    let middle = squares.len() / 2;
    (!squares.is_empty())
        .then(|| *squares.select_nth_unstable_by(middle, f64::total_cmp).1)
        .filter(|&m| m > 0.0)
}

/// The sum of pictures, each times a length that has a mean and a variance.
struct Sum<'a> {
    /// (k, k)
    cosines: &'a Array2<f64>,
    known: Vec<Known>,
    means: Array1<f64>,
    variances: Array1<f64>,
    /// Product of each picture with the sum of all, (k).
    products: Array1<f64>,
    /// Mean square of the cosine of different pictures.
    alike: f64,
    /// How many inputs were not found.
    rest: f64,
    /// Deviation of the length of an input.
    length: f64,
}

/// Squared deviations of the lengths of inputs from their mean, as far as these are inputs.
#[derive(Default)]
struct Lengths {
    squares: f64,
    inputs: f64,
}

impl Lengths {
    fn deviation(&self) -> f64 {
        (self.squares / self.inputs.max(f64::MIN_POSITIVE)).sqrt()
    }
}

impl<'a> Sum<'a> {
    fn of(cosines: &'a Array2<f64>, known: &[Known], inputs: usize, alike: f64) -> Self {
        let known: Vec<Known> = known
            .iter()
            .map(|of| Known { found: of.found.clamp(0.02, 0.98), sign: of.sign.clamp(-SUREST, SUREST) })
            .collect();
        let means: Array1<f64> = known.iter().map(|of| of.found * (of.sign / 2.0).tanh()).collect();
        let length = LENGTHS.0;
        let squares = known.iter().map(|of| of.found * (1.0 + length * length));
        let variances = squares.zip(&means).map(|(square, mean)| square - mean * mean).collect();
        let found: f64 = known.iter().map(|of| of.found).sum();
        let rest = (inputs as f64 - found).max(0.0);
        let products = cosines.rows().into_iter().map(|row| product(row, &means)).collect();
        Self { cosines, known, means, variances, products, alike, rest, length }
    }

    /// How much longer the sum is than that of unrelated pictures, in deviations of the latter.
    fn deviations(&self) -> f64 {
        let squares = self.means.mapv(|mean| mean * mean);
        let (sum, fourth) = (squares.sum(), squares.iter().map(|square| square * square).sum::<f64>());
        let crossed = self.products.iter().zip(&self.means).map(|(p, m)| p * m).sum::<f64>() - sum;
        crossed / (2.0 * self.alike * (sum * sum - fourth)).sqrt().max(f64::MIN_POSITIVE)
    }

    /// Posterior of the length of picture `j` by all others; returns the log odds that they give its sign.
    fn update(&mut self, j: usize, lengths: &mut Lengths) -> f64 {
        let Known { found, sign } = self.known[j];
        let product = self.means[j] - self.products[j];
        // What is known of the others has only its share of their sum, and what is not known of them is noise.
        let known = squared(&self.means) - self.means[j] * self.means[j];
        let rest = self.rest * (1.0 + self.length * self.length);
        let unknown = self.variances.sum() - self.variances[j] + rest;
        let share = known / (known + unknown).max(f64::MIN_POSITIVE);
        let noise = self.alike * (unknown + ERROR * (known + unknown - rest));
        let logistic = |log_odds: f64| 1.0 / (1.0 + (-log_odds).exp());
        // An input, its negative, neither, and a blend, of which nothing counts.
        let of = [
            (found * logistic(sign), 1.0, self.length),
            (found * logistic(-sign), -1.0, self.length),
            (1.0 - found, 0.0, OF_OTHERS),
            (BLEND.0, 0.0, BLEND.1),
        ];
        let fits = of.map(|(prior, mean, deviation)| {
            let variance = (share * deviation).powi(2) + noise;
            prior.ln() - (product - share * mean).powi(2) / (2.0 * variance) - variance.ln() / 2.0
        });
        let best = fits.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = fits.iter().map(|fit| (fit - best).exp()).sum();
        let (mut mean, mut square) = (0.0, 0.0);
        for (fit, (_, centre, deviation)) in fits.into_iter().zip(of).take(3) {
            let (weight, variance) = ((fit - best).exp() / total, deviation * deviation);
            let gain = share * variance / (share * share * variance + noise);
            let posterior = centre + gain * (product - share * centre);
            let left = variance * (1.0 - gain * share);
            mean += weight * posterior;
            square += weight * (left + posterior * posterior);
            if centre != 0.0 {
                lengths.squares += weight * (left + (posterior - centre).powi(2));
                lengths.inputs += weight;
            }
        }
        let moved = STEP * (mean - self.means[j]);
        self.variances[j] = square - mean * mean;
        self.means[j] += moved;
        self.products.scaled_add(moved, &self.cosines.column(j));
        2.0 * share * product / ((share * self.length).powi(2) + noise)
    }
}

fn squared(a: &Array1<f64>) -> f64 {
    a.iter().map(|a| a * a).sum()
}

fn product(a: ArrayView1<'_, f64>, b: &Array1<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, s};
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    const INPUTS: usize = 60;

    /// Pictures of all inputs but the last ten, and ten of something else; their mean is taken from inputs that are `centred`.
    fn pictures(centred: bool) -> Array2<f32> {
        let mut inputs: Array2<f32> =
            Array2::random_using((INPUTS + 10, 500), StandardNormal, &mut Seed::new(3).named("inputs").rng());
        if centred {
            let mean = inputs.slice(s![..INPUTS, ..]).mean_axis(Axis(0)).unwrap();
            inputs
                .slice_mut(s![..INPUTS, ..])
                .zip_mut_with(&mean.broadcast((INPUTS, 500)).unwrap(), |x, m| *x -= m);
        }
        let others = inputs.slice(s![INPUTS.., ..]).to_owned();
        inputs.slice_mut(s![INPUTS - 10..INPUTS, ..]).assign(&others);
        inputs.slice(s![..INPUTS, ..]).to_owned()
    }

    fn of(pictures: &Array2<f32>, known: &[Known]) -> Option<Array1<f64>> {
        log_odds_of_signs(pictures.view(), known, INPUTS, Parallelism::Sequential)
    }

    #[test]
    fn all_others_tell_the_sign_of_each_and_what_is_no_input() {
        let mut pictures = pictures(true);
        // Every sixth is turned, and taken for what it is not.
        pictures.slice_mut(s![..INPUTS - 10; 6, ..]).mapv_inplace(|v| -v);
        let known = [Known { found: 0.8, sign: 1.0 }; INPUTS];
        let log_odds = of(&pictures, &known).unwrap();
        for (i, &log_odds) in log_odds.iter().enumerate() {
            match i {
                _ if i >= INPUTS - 10 => assert!(log_odds.abs() < 4.0, "{i}: {log_odds}"),
                _ if i % 6 == 0 => assert!(log_odds < -2.0, "{i}: {log_odds}"),
                _ => assert!(log_odds > 2.0, "{i}: {log_odds}"),
            }
        }
    }

    #[test]
    fn a_blend_of_many_inputs_takes_nothing_from_the_others() {
        let mut pictures = pictures(true);
        let blend = pictures.slice(s![..INPUTS - 15, ..]).sum_axis(Axis(0));
        pictures.row_mut(INPUTS - 1).assign(&blend);
        let known = [Known { found: 0.8, sign: 1.0 }; INPUTS];
        let log_odds = of(&pictures, &known).unwrap();
        let told = log_odds.iter().take(INPUTS - 10).filter(|log_odds| **log_odds > 2.0).count();
        assert!(told > INPUTS - 15, "{told}: {log_odds}");
    }

    #[test]
    fn where_nothing_was_taken_from_inputs_the_sum_says_nothing() {
        let known = [Known { found: 0.8, sign: 1.0 }; INPUTS];
        assert!(of(&pictures(false), &known).is_none());
        // Nor where nothing is known of any sign, or there is but one picture.
        assert!(of(&pictures(true), &[Known { found: 0.8, sign: 0.0 }; INPUTS]).is_none());
        assert!(of(&pictures(true).slice(s![..1, ..]).to_owned(), &known[..1]).is_none());
    }
}
