//! The first layer of an attacked network, as first-layer deltas of its inputs see it.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_mlp::Mlp;
use palimpsest_numerics::factor::{FactorError, Svd, svd};
use palimpsest_numerics::gemm::{Parallelism, matvec};
use palimpsest_numerics::reduce;

use crate::problem::prepared::AttackProblem;
use crate::stages::activation_patterns::pattern::ActivationPattern;

/// First layer with its bias as last column, its decomposition, and what an active neuron contributes.
#[derive(Clone, Debug)]
pub struct GatedLayer {
    /// `[W b]` on the coordinates of the attack, (h, k).
    pub weight: Array2<f64>,
    /// Left singular vectors of `weight`, (h, k): an orthonormal basis of all first-layer deltas.
    pub deltas: Array2<f64>,
    /// Singular values, (k), descending.
    pub singular_values: Array1<f64>,
    /// Right singular vectors as rows, (k, k).
    pub vt: Array2<f64>,
    /// Own and other backpropagated signal, each (h), of an input of the negative label, then of one of the positive.
    signals: [(Array1<f64>, Array1<f64>); 2],
    /// What is left of a neuron's backpropagated signal in its weights: 1 at its stationary point, (h).
    gains: Array1<f64>,
}

/// Smallest share of the largest singular value that counts as a direction.
const LEAST_DIRECTION: f64 = 1e-7;

impl GatedLayer {
    /// Reads the layer of `problem`. Nothing when its later layers have not been shrunk to one neuron a label or its first has
    /// no bias, so that backpropagated signals are not known from the weights; when it has few neurons for its coordinates; or when its
    /// coordinates do not stand clear of the floor of its initialisation.
    ///
    /// # Errors
    /// [`FactorError`] when the layer cannot be decomposed.
    pub fn of(problem: &AttackProblem) -> Result<Option<Self>, FactorError> {
        let Some(signals) = backpropagated_signals(&problem.network).filter(|_| problem.has_patterns())
        else {
            return Ok(None);
        };
        let weight = problem.first_layer_target().mapv(f64::from);
        let h = weight.nrows();
        let Svd { u, singular_values, vt } = svd(weight.view(), Parallelism::Sequential)?;
        let usable = singular_values.iter().all(|&s| s > LEAST_DIRECTION * singular_values[0]);
        if !usable {
            return Ok(None);
        }
        Ok(Some(Self { weight, deltas: u, singular_values, vt, signals, gains: Array1::ones(h) }))
    }

    /// Neurons, h.
    pub fn neurons(&self) -> usize {
        self.weight.nrows()
    }

    /// Coordinates with the one for the bias, k.
    pub fn coordinates(&self) -> usize {
        self.weight.ncols()
    }

    /// Gains of the neurons, (h).
    pub fn gains(&self) -> ArrayView1<'_, f64> {
        self.gains.view()
    }

    /// Backpropagated signals `(own, other)`, each (h), of an input with this label: an active neuron holds `own - s other`.
    pub fn backpropagated_signals(&self, label: Label) -> (Array1<f64>, Array1<f64>) {
        let (own, other) = &self.signals[label.0];
        (own * &self.gains, other * &self.gains)
    }

    /// Norm of an own backpropagated signal divided by the root of the number of neurons.
    pub fn typical_signal(&self, label: Label) -> f64 {
        let (own, _) = self.backpropagated_signals(label);
        (reduce::squared_norm(own.view()) / own.len() as f64).sqrt()
    }

    /// The first-layer delta (h) with these coefficients (k) in the basis of all first-layer deltas.
    pub(super) fn delta(&self, coefficients: &Array1<f64>) -> Array1<f64> {
        matvec(self.deltas.view(), coefficients.view())
    }

    /// The dual (k) of the first-layer delta with these coefficients (k).
    pub(super) fn dual(&self, coefficients: &Array1<f64>) -> Array1<f64> {
        matvec(self.vt.t(), (coefficients / &self.singular_values).view())
    }

    /// Sets the gains to the medians of what `patterns` say of each neuron that is active in at least three of them; others
    /// keep 1.
    pub fn learn_gains(&mut self, patterns: &[ActivationPattern]) {
        self.gains.fill(1.0);
        let bare: Vec<_> = [Label::NEGATIVE, Label::POSITIVE]
            .map(|label| (self.backpropagated_signals(label), self.typical_signal(label)))
            .into();
        let mut ratios = Vec::with_capacity(patterns.len());
        for j in 0..self.neurons() {
            ratios.clear();
            for pattern in patterns {
                let ((own, other), typical) = &bare[pattern.label.0];
                let signal = own[j] - pattern.share * other[j];
                let ratio = pattern.delta[j] / signal;
                if signal.abs() > TELLING * typical && (LEAST_GAIN..LARGEST_GAIN).contains(&ratio) {
                    ratios.push(ratio);
                }
            }
            if ratios.len() >= ENOUGH {
                ratios.sort_by(f64::total_cmp);
                self.gains[j] = 0.5 * (ratios[(ratios.len() - 1) / 2] + ratios[ratios.len() / 2]);
            }
        }
    }
}

/// `rows` (m, r) with a 1 appended to each, (m, r + 1).
pub(super) fn with_ones(rows: ArrayView2<'_, f32>) -> Array2<f64> {
    let mut extended = Array2::ones((rows.nrows(), rows.ncols() + 1));
    extended.slice_mut(s![.., ..rows.ncols()]).assign(&rows.mapv(f64::from));
    extended
}

/// Backpropagated signal, as a share of the typical one, from which a neuron says something about its gain.
const TELLING: f64 = 0.1;
/// Range in which the value of an active neuron is taken for its gain.
const LEAST_GAIN: f64 = 0.7;
const LARGEST_GAIN: f64 = 1.5;
/// Patterns from which a gain is told.
const ENOUGH: usize = 3;

/// What reaches the first layer's neurons from the output, `(own, other)`, each (h): of the negative label, then of the positive.
fn backpropagated_signals(network: &Mlp<f32>) -> Option<[(Array1<f64>, Array1<f64>); 2]> {
    if network.outputs() != 1 {
        return None;
    }
    match network.layers() {
        // One hidden layer: every input sees the output's weights, with the sign of its label.
        [_, output] => {
            let own = output.weight.row(0).mapv(f64::from);
            let none = Array1::zeros(own.len());
            Some([(-&own, none.clone()), (own, none)])
        }
        // A neuron for each label, of which that of the other label may be active, too.
        [_, hidden, output] if hidden.weight.nrows() == 2 => {
            let signal = |k: usize| {
                hidden.weight.row(k).mapv(|w| f64::from(output.weight[[0, k]].abs()) * f64::from(w))
            };
            let (a, b) = (output.weight[[0, 0]], output.weight[[0, 1]]);
            let (negative, positive) = if a < 0.0 && b > 0.0 {
                (signal(0), signal(1))
            } else if a > 0.0 && b < 0.0 {
                (signal(1), signal(0))
            } else {
                return None;
            };
            Some([(negative.clone(), positive.clone()), (positive, negative)])
        }
        _ => None,
    }
}
