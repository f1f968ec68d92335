//! Which patterns are those of real inputs, told without the truth.
//!
//! A true first-layer delta stays between 0 and the backpropagated signals on *every* neuron, most of its gates are 0 or 1, and a hyperplane through
//! the inputs' space separates the neurons that are on from those that are off. A sum or difference of first-layer deltas can have
//! many gates at 0 and 1 too, but some fall outside.

use ndarray::{Array1, Array2, Axis};
use palimpsest_numerics::gemm::matvec;

use crate::stages::activation_patterns::layer::GatedLayer;
use crate::stages::activation_patterns::pattern::{ActivationPattern, Likeness};
use crate::stages::activation_patterns::weighted::WeightedEquations;

/// Set by hand on CIFAR-10 n = 100, seed 0, where no false pattern kept these bounds. On Fashion-MNIST false ones do, which is
/// why the search asks for clearance and coverage besides (decision 0007).
const LEAST_BINARY: f64 = 0.45;
const LEAST_ON: f64 = 0.1;
const MOST_BELOW: f64 = 0.006;
const MOST_ABOVE: f64 = 0.1;
const LEAST_SEPARABLE: f64 = 0.99;

/// Whether `pattern` looks like that of a real input.
pub fn is_certified(layer: &GatedLayer, pattern: &ActivationPattern) -> bool {
    let Likeness { binary, on, below, above } = pattern.likeness;
    binary > LEAST_BINARY
        && on > LEAST_ON
        && below < MOST_BELOW
        && above < MOST_ABOVE
        && separable_share(layer, pattern) > LEAST_SEPARABLE
}

/// Margin asked of every neuron, and the shortfall that is forgiven, in units of the mean.
const MARGIN: f64 = 0.3;
const FORGIVEN: f64 = 0.05;
/// Rounds of fitting a separating direction.
const ROUNDS: usize = 40;
/// Gates that count as on or off here.
const DECIDED: f64 = 0.1;

/// Share of the neurons with a decided gate that one direction puts on their side, in [0, 1].
///
/// The direction is found by damped least squares on the neurons that lack margin.
fn separable_share(layer: &GatedLayer, pattern: &ActivationPattern) -> f64 {
    let decided: Vec<(usize, f64)> = (0..layer.neurons())
        .filter(|&j| pattern.telling[j])
        .filter_map(|j| match pattern.gates[j] {
            g if g.abs() < DECIDED => Some((j, -1.0)),
            g if (g - 1.0).abs() < DECIDED => Some((j, 1.0)),
            _ => None,
        })
        .collect();
    let k = layer.coordinates();
    let mut sided = Array2::zeros((k, decided.len()));
    for (mut column, &(j, side)) in sided.columns_mut().into_iter().zip(&decided) {
        column.assign(&layer.deltas.row(j));
        column *= side;
    }
    let count = decided.len().max(1) as f64;
    let margins = |direction: &Array1<f64>| matvec(sided.t(), direction.view());
    let scaled = |direction: Array1<f64>| {
        let mean = margins(&direction).iter().map(|m| m.abs()).sum::<f64>() / count;
        direction / mean.max(f64::MIN_POSITIVE)
    };
    let mut equations = WeightedEquations::new(sided.clone());
    let diagonal = Array1::from_elem(k, 1e-6);
    let mut direction = scaled(sided.sum_axis(Axis(1)));
    for _ in 0..ROUNDS {
        let lacking = margins(&direction).mapv(|m| if m < MARGIN { 1.0 } else { 0.0 });
        if lacking.sum() < 3.0 {
            break;
        }
        let right = MARGIN * matvec(sided.view(), lacking.view());
        let Some(step) = equations.solve(&lacking, Some(&diagonal), &right, 0.0) else { break };
        direction = scaled(0.5 * (direction + step));
    }
    let right = margins(&direction).iter().filter(|&&m| m > -FORGIVEN).count();
    right as f64 / count
}
