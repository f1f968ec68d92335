//! Losses: their value, its logarithm, and what they pull at each output.
//!
//! A [`Loss`] and the [`Targets`] say everything about an objective over n examples with C outputs each:
//!
//! * [`Loss::values`] (n), the loss of each example, and [`Loss::log_values`] (n), exact where the loss underflows;
//! * [`Loss::pull`] (n, C), minus the derivative of each example's loss with respect to its own outputs. At a stationary
//!   point of mean loss + (w/2) ||theta||^2, `w n theta = sum_i sum_c pull_ic grad_theta Phi_c(x_i)`.
//!
//! | loss | of one example | targets | pull |
//! |---|---|---|---|
//! | [`Loss::Logistic`] | log(1 + exp(-y Phi)) | signs | y sigmoid(-y Phi) |
//! | [`Loss::Softmax`] | -sum_c t_c log softmax(Phi)_c, t = (1 - e) one-hot + e / C | classes | t - softmax(Phi) |
//! | [`Loss::Squared`] | sum_c (Phi_c - t_c)^2 | any | 2 (t - Phi) |
//!
//! The mean is over examples, and the squared error is *summed* over outputs: PyTorch's `MSELoss()` is this divided by C,
//! scikit-learn's is half of it divided by C.
//!
//! ```
//! use ndarray::array;
//! use palimpsest_mlp::loss::{Loss, Targets};
//! let outputs = array![[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]];
//! let pull = Loss::Softmax { label_smoothing: 0.0 }.pull(outputs.view(), &Targets::Classes(vec![0, 2]));
//! assert!((pull[[1, 2]] - 2.0 / 3.0_f64).abs() < 1e-15 && pull.row(0).sum().abs() < 1e-15);
//! ```

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1};
use palimpsest_numerics::range::{OutOfRange, within};
use palimpsest_numerics::{Real, reduce};
use serde::{Deserialize, Serialize};

use crate::MlpError;

mod logistic;
mod softmax;
mod squared;
mod targets;
#[cfg(test)]
pub(crate) mod tests;

pub use logistic::{log_logistic, log_loss_gradient, log_mean_loss, log_slope};
pub use targets::{Target, Targets};

/// What training makes small; the mean over the examples is meant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Loss {
    /// Logistic loss of one output and labels -1 and +1.
    Logistic,
    /// Cross-entropy of the softmax of two or more outputs; two of them are the logistic loss of their difference.
    Softmax {
        /// Share e of each target that is spread evenly over all classes, in [0, 1).
        ///
        /// # Source
        /// Szegedy et al. (2016), section 7; as in PyTorch's `CrossEntropyLoss(label_smoothing=e)`.
        label_smoothing: f64,
    },
    /// Squared error, summed over the outputs. Signs and classes stand for -1, +1 and one-hot rows.
    Squared,
}

impl Loss {
    /// Loss of each row of `outputs` (n, C), (n).
    ///
    /// # Panics
    /// When the targets do not fit the outputs or this loss.
    #[track_caller]
    pub fn values<T: Real>(self, outputs: ArrayView2<'_, T>, targets: &Targets) -> Vec<f64> {
        self.expect_fit(outputs, targets);
        let value = |(row, target)| {
            let term = self.term(row, target);
            // log(1 + exp(-m)) without the overflow of its parts.
            if self.vanishes() { (-term).max(0.0) + (-term.abs()).exp().ln_1p() } else { term }
        };
        outputs.rows().into_iter().zip(targets.iter()).map(value).collect()
    }

    /// Logarithm of the loss of each row of `outputs` (n, C), (n): exact for the logistic and the softmax loss also where
    /// the loss underflows, `-inf` for a squared error of 0.
    ///
    /// # Panics
    /// As [`Loss::values`].
    #[track_caller]
    pub fn log_values<T: Real>(self, outputs: ArrayView2<'_, T>, targets: &Targets) -> Vec<f64> {
        self.expect_fit(outputs, targets);
        let value = |(row, target)| {
            let term = self.term(row, target);
            if self.vanishes() { log_logistic(term) } else { term.ln() }
        };
        outputs.rows().into_iter().zip(targets.iter()).map(value).collect()
    }

    /// The output pull (n, C): minus the derivative of each row's loss with respect to `outputs` (n, C).
    ///
    /// # Panics
    /// As [`Loss::values`].
    ///
    /// # Source
    /// Buzaglo et al. (2023), section 4, where the pull over w n is the multiplier.
    #[track_caller]
    pub fn pull<T: Real>(self, outputs: ArrayView2<'_, T>, targets: &Targets) -> Array2<T> {
        self.expect_fit(outputs, targets);
        let mut pull = Array2::zeros(outputs.dim());
        let scale = Scale { factor: -1.0, examples: -1.0, ..Scale::each() };
        for ((row, target), out) in outputs.rows().into_iter().zip(targets.iter()).zip(pull.rows_mut()) {
            self.derivative_into(row, target, self.term(row, target), scale, out);
        }
        pull
    }

    /// Whether the loss falls to 0 only with outputs growing without bound, so that its logarithm can be descended.
    pub fn vanishes(self) -> bool {
        match self {
            Self::Logistic => true,
            Self::Softmax { label_smoothing } => label_smoothing == 0.0,
            Self::Squared => false,
        }
    }

    /// Whether `targets` are of a kind this loss is made for, and `outputs` a number of outputs.
    ///
    /// # Errors
    /// [`MlpError::BadOption`] when not, or when the label smoothing is out of range.
    pub fn check(self, targets: &Targets, outputs: usize) -> Result<(), MlpError> {
        if let Self::Softmax { label_smoothing } = self {
            within("label_smoothing", label_smoothing, 0.0..1.0, "at least 0 and below 1")?;
        }
        let bad = |allowed| {
            let got = format!("{} at {outputs} outputs", targets.kind());
            Err(OutOfRange::new("targets", allowed, got).into())
        };
        match (self, targets) {
            (Self::Logistic, Targets::Signs(_)) if outputs == 1 => Ok(()),
            (Self::Logistic, _) => bad("signs at one output, for the logistic loss"),
            (Self::Softmax { .. }, Targets::Classes(_)) if outputs >= 2 => Ok(()),
            (Self::Softmax { .. }, _) => bad("classes at two or more outputs, for the softmax loss"),
            (Self::Squared, _) => Ok(()),
        }
    }

    /// What the loss of one example and its derivative are made from: the margin where the loss vanishes, which keeps its
    /// logarithm exact, else the loss itself.
    pub(crate) fn term<T: Real>(self, outputs: ArrayView1<'_, T>, target: Target<'_>) -> f64 {
        match (self, target) {
            (Self::Logistic, Target::Sign(sign)) => (T::of(f64::from(sign)) * outputs[0]).wide(),
            (Self::Softmax { label_smoothing: 0.0 }, Target::Class(class)) => softmax::margin(outputs, class),
            (Self::Softmax { label_smoothing }, Target::Class(class)) => {
                softmax::smoothed(outputs, class, label_smoothing)
            }
            (Self::Squared, target) => squared::value(outputs, target),
            _ => unreachable!("targets are checked on entry"),
        }
    }

    /// Logarithm of the mean loss, from the terms of all examples; NaN or infinite when one of them is.
    pub(crate) fn log_mean(self, terms: &[f64]) -> f64 {
        if self.vanishes() { log_mean_loss(terms) } else { (reduce::sum(terms) / terms.len() as f64).ln() }
    }

    /// Derivative by the `outputs` (C) of one example, whose term is `term`, written into `out` (C).
    pub(crate) fn derivative_into<T: Real>(
        self,
        outputs: ArrayView1<'_, T>,
        target: Target<'_>,
        term: f64,
        scale: Scale,
        out: ArrayViewMut1<'_, T>,
    ) {
        match (self, target) {
            (Self::Logistic, Target::Sign(sign)) => {
                let mut out = out;
                out[0] = T::of(scale.slope(term)) * T::of(f64::from(sign));
            }
            (Self::Softmax { label_smoothing: 0.0 }, Target::Class(class)) => {
                softmax::margin_derivative_into(outputs, class, scale.slope(term), out);
            }
            (Self::Softmax { label_smoothing }, Target::Class(class)) => {
                softmax::smoothed_derivative_into(outputs, class, label_smoothing, scale.examples, out);
            }
            (Self::Squared, target) => squared::derivative_into(outputs, target, scale.examples, out),
            _ => unreachable!("targets are checked on entry"),
        }
    }

    #[track_caller]
    fn expect_fit<T: Real>(self, outputs: ArrayView2<'_, T>, targets: &Targets) {
        targets.expect_shape(outputs.dim());
        if let Err(error) = self.check(targets, outputs.ncols()) {
            panic!("{self:?}: {error}");
        }
    }
}

/// What derivatives are taken of: the mean loss, or its logarithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Where the loss vanishes, the slope by a margin is -exp(log_slope - log_total) factor.
    log_total: f64,
    factor: f64,
    /// Else derivatives are divided by this.
    examples: f64,
}

impl Scale {
    /// The mean over `n` examples whose log mean loss is `log_mean`.
    pub(crate) fn mean(log_mean: f64, n: usize) -> Self {
        Self { factor: log_mean.exp(), ..Self::log_of_mean(log_mean, n) }
    }

    /// The logarithm of that mean, for a loss that vanishes.
    pub(crate) fn log_of_mean(log_mean: f64, n: usize) -> Self {
        Self { log_total: log_mean + (n as f64).ln(), factor: 1.0, examples: n as f64 }
    }

    /// Each example's own loss.
    pub(crate) fn each() -> Self {
        Self { log_total: 0.0, factor: 1.0, examples: 1.0 }
    }

    fn slope(self, margin: f64) -> f64 {
        -(log_slope(margin) - self.log_total).exp() * self.factor
    }
}
