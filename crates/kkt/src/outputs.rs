//! What the loss pulls on: the sign conventions of the stationarity equation live here.
//!
//! Each example's gradients enter the equation by its *pull*, a vector with a number for each output: minus the slope of its loss by
//! the outputs, over the strength of the weight decay. It is a multiplier times a direction that its label and the network's own
//! outputs fix:
//!
//! | loss | direction | multiplier |
//! |---|---|---|
//! | logistic, label y | y, as -1 or +1 | >= 0 |
//! | softmax, class y | `e_y - sum_{c != y} q_c e_c`, q the softmax of the other outputs | >= 0 |
//! | margin limit, class y | `e_y - e_j`, j the strongest other output | >= 0 |
//! | squared, one output | 1, or the sign of the residual | either sign, or >= 0 |
//!
//! # Source
//! Haim et al. (2022), section 3; Buzaglo et al. (2023), section 4, for classes and regression. That of the softmax is
//! `e_y - softmax(Phi)` over the probability of a mistake.

use ndarray::{Array2, ArrayView2};
use palimpsest_numerics::Real;
use serde::{Deserialize, Serialize};

/// A class, counted from 0; of two classes at one output, 0 pulls it down and 1 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label(pub usize);

impl Label {
    /// The lower of two classes, at which the one output is negative.
    pub const NEGATIVE: Self = Self(0);
    /// The upper of two classes, at which the one output is positive.
    pub const POSITIVE: Self = Self(1);

    /// The class of two that one output, whose sign is the answer, stands for.
    pub fn of_sign(positive: impl Into<f64>) -> Self {
        if positive.into() > 0.0 { Self::POSITIVE } else { Self::NEGATIVE }
    }

    /// The class that the outputs (C) of a network answer with: by the sign of a single one, else the strongest.
    pub fn answered(outputs: &[f32]) -> Self {
        match outputs {
            [one] => Self::of_sign(*one),
            several => {
                let strongest =
                    several.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (c, &output)| {
                        if output > best.1 { (c, output) } else { best }
                    });
                Self(strongest.0)
            }
        }
    }

    /// -1 for class 0, else +1.
    pub fn sign(self) -> f64 {
        if self == Self::NEGATIVE { -1.0 } else { 1.0 }
    }
}

/// The direction of each candidate's pull.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputPull {
    /// One output, pulled down by class 0 and up by class 1; multipliers >= 0. Of a regression, the classes are the signs of the residuals.
    Binary(Vec<Label>),
    /// One output, multipliers of either sign, for this many candidates.
    Regression(usize),
    /// Several outputs under the softmax loss; multipliers >= 0.
    Softmax(Vec<Label>),
    /// Several outputs in the margin limit, where only the strongest other output counts; multipliers >= 0.
    Margin(Vec<Label>),
}

impl OutputPull {
    /// Number of candidates, m.
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(labels) | Self::Softmax(labels) | Self::Margin(labels) => labels.len(),
            Self::Regression(m) => *m,
        }
    }

    /// Whether there is no candidate.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of the candidates, if multipliers have one.
    pub fn labels(&self) -> Option<&[Label]> {
        match self {
            Self::Binary(labels) | Self::Softmax(labels) | Self::Margin(labels) => Some(labels),
            Self::Regression(_) => None,
        }
    }

    /// Fills `directions` (m, outputs) with the direction of each candidate, given its `outputs` (m, outputs).
    ///
    /// # Panics
    /// When the shapes do not fit, or a class is not below the number of outputs.
    #[track_caller]
    pub fn directions<T: Real>(&self, outputs: ArrayView2<'_, T>, directions: &mut Array2<T>) {
        assert_eq!(directions.dim(), outputs.dim(), "directions: shapes differ");
        assert_eq!(self.len(), outputs.nrows(), "directions: one label a candidate");
        let one_output = matches!(self, Self::Binary(_) | Self::Regression(_));
        assert_eq!(one_output, outputs.ncols() == 1, "directions: {} outputs do not fit", outputs.ncols());
        match self {
            Self::Binary(labels) => {
                for (d, label) in directions.iter_mut().zip(labels) {
                    *d = T::of(label.sign());
                }
            }
            Self::Regression(_) => directions.fill(T::one()),
            Self::Softmax(labels) => softmax_directions(labels, outputs, directions),
            Self::Margin(labels) => margin_directions(labels, outputs, directions),
        }
    }
}

/// `e_y - sum_{c != y} q_c e_c`, with q the softmax of the outputs but that of the label.
fn softmax_directions<T: Real>(labels: &[Label], outputs: ArrayView2<'_, T>, directions: &mut Array2<T>) {
    for ((mut d, output), &Label(label)) in directions.rows_mut().into_iter().zip(outputs.rows()).zip(labels)
    {
        let others = || output.iter().enumerate().filter(|(c, _)| *c != label);
        let largest = others().fold(T::neg_infinity(), |largest, (_, &output)| largest.max(output));
        let sum: T = others().map(|(_, &output)| (output - largest).exp()).sum();
        for (c, (d, &output)) in d.iter_mut().zip(output).enumerate() {
            *d = if c == label { T::one() } else { -(output - largest).exp() / sum };
        }
    }
}

/// `e_y - e_j`, with j the strongest output but that of the label.
fn margin_directions<T: Real>(labels: &[Label], outputs: ArrayView2<'_, T>, directions: &mut Array2<T>) {
    directions.fill(T::zero());
    for ((mut d, output), &Label(label)) in directions.rows_mut().into_iter().zip(outputs.rows()).zip(labels)
    {
        let mut strongest = usize::from(label == 0);
        for j in 0..output.len() {
            if j != label && output[j] > output[strongest] {
                strongest = j;
            }
        }
        d[label] = T::one();
        d[strongest] = -T::one();
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_softmax_pulls_as_its_loss_does() {
        let outputs = array![[1.0_f64, -0.5, 2.0], [0.0, 3.0, -800.0]];
        let mut directions = Array2::zeros((2, 3));
        OutputPull::Softmax(vec![Label(2), Label(0)]).directions(outputs.view(), &mut directions);
        for (i, label) in [2, 0].into_iter().enumerate() {
            let exp: Vec<f64> = outputs.row(i).iter().map(|output| output.exp()).collect();
            let total: f64 = exp.iter().sum();
            let mistake = 1.0 - exp[label] / total;
            for c in 0..3 {
                let pull = f64::from(u8::from(c == label)) - exp[c] / total;
                assert!((mistake * directions[[i, c]] - pull).abs() < 1e-12, "{i}, {c}");
            }
        }
    }

    #[test]
    fn two_outputs_pull_alike_by_softmax_and_margin() {
        let outputs = array![[1.0_f32, -0.5], [0.0, 3.0]];
        let (mut softmax, mut margin) = (Array2::zeros((2, 2)), Array2::zeros((2, 2)));
        let labels = vec![Label(1), Label(0)];
        OutputPull::Softmax(labels.clone()).directions(outputs.view(), &mut softmax);
        OutputPull::Margin(labels).directions(outputs.view(), &mut margin);
        assert_eq!(softmax, margin);
        assert_eq!(softmax, array![[-1.0, 1.0], [1.0, -1.0]]);
    }

    #[test]
    fn answers_and_signs() {
        assert_eq!(Label::answered(&[-2.0]), Label::NEGATIVE);
        assert_eq!(Label::answered(&[0.5]), Label::POSITIVE);
        assert_eq!(Label::answered(&[0.5, 0.7, -1.0]), Label(1));
        assert_eq!((Label(0).sign(), Label(1).sign()), (-1.0, 1.0));
    }
}
