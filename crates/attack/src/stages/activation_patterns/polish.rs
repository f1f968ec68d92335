//! A draft made exact: iteratively reweighted least squares in the column space of `[W b]`.

use ndarray::{Array1, Array2, Zip, s};
use palimpsest_numerics::gemm::matvec;

use crate::stages::activation_patterns::layer::GatedLayer;
use crate::stages::activation_patterns::pattern::{ActivationPattern, Draft, likeness};
use crate::stages::activation_patterns::weighted::WeightedEquations;

/// Rounds of polishing.
const ROUNDS: i32 = 30;
/// Rounds of settling.
const SETTLING_ROUNDS: i32 = 40;
/// How much heavier a gate outside [0, 1] weighs than one inside: inside it can be a ReLU breakpoint, outside nothing.
const OUTSIDE: f64 = 3.0;
/// Distance from 0 and 1, in gates, beyond which a neuron is taken for a ReLU breakpoint.
const BREAKPOINT: f64 = 0.15;
/// Weight of such a neuron, as a share.
const BREAKPOINT_WEIGHT: f64 = 0.1;
/// Added to the normal equations, as a share of their mean diagonal.
const RIDGE: f64 = 1e-10;

/// Factor by which a tolerance shrinks every round.
const SHRINK: f64 = 0.8;
/// Last tolerance of polishing, in gates.
const LAST_TOLERANCE: f64 = 3e-3;
/// First tolerance of settling, and the last for active and inactive neurons: gains make the active ones less exact.
const SETTLING: (f64, f64, f64) = (0.03, 3e-3, 2e-4);

/// The pattern nearest to `draft` whose gates are mostly 0 or 1: absolute deviations, reweighted, with a tolerance in gates
/// that shrinks from the given one. Nothing when the equations have no solution.
pub fn polish(layer: &GatedLayer, draft: &Draft, first_tolerance: f64) -> Option<ActivationPattern> {
    let typical = layer.typical_signal(draft.label);
    refit(layer, draft, ROUNDS, |b, signal, round| {
        let tolerance = (first_tolerance * SHRINK.powi(round)).max(LAST_TOLERANCE);
        let size = signal.abs().max(0.05 * typical);
        let (gate, top) = (b * signal.signum() / size, signal.abs() / size);
        let on = gate > 0.5 * top;
        let beyond = if on { gate - top } else { -gate };
        let trust = if beyond > 0.0 {
            OUTSIDE
        } else if beyond > -BREAKPOINT {
            1.0
        } else {
            BREAKPOINT_WEIGHT
        };
        (on, trust / (beyond.abs() + tolerance) / size)
    })
}

/// `pattern` with the neurons that do not fit left out altogether, which makes its dual exact.
pub fn settle(layer: &GatedLayer, pattern: &ActivationPattern) -> Option<ActivationPattern> {
    let typical = layer.typical_signal(pattern.label);
    let (first, last_on, last_off) = SETTLING;
    refit(layer, &pattern.draft(), SETTLING_ROUNDS, |b, signal, round| {
        let tolerance = first * SHRINK.powi(round);
        let size = signal.abs().max(0.1 * typical);
        if b * signal > 0.5 * signal * signal {
            let (deviation, tolerance) = ((b - signal) / size, tolerance.max(last_on));
            (true, 1.0 / (deviation * deviation + tolerance * tolerance) / (size * size))
        } else {
            let (deviation, tolerance) = (b / typical, tolerance.max(last_off));
            (false, 1.0 / (deviation * deviation + tolerance * tolerance) / (typical * typical))
        }
    })
}

/// Fits first-layer delta and share to the nearest of 0 and the backpropagated signal, `rounds` times. `weigh(entry, signal, round)` says whether a
/// neuron is active and what it weighs.
fn refit(
    layer: &GatedLayer,
    draft: &Draft,
    rounds: i32,
    weigh: impl Fn(f64, f64, i32) -> (bool, f64),
) -> Option<ActivationPattern> {
    let (own, other) = layer.backpropagated_signals(draft.label);
    let (h, k) = layer.deltas.dim();
    let mut equations = Array2::zeros((k + 1, h));
    equations.slice_mut(s![..k, ..]).assign(&layer.deltas.t());
    let mut equations = WeightedEquations::new(equations);
    let (mut delta, mut share) = (draft.delta.clone(), draft.share);
    let (mut weights, mut wanted) = (Array1::<f64>::zeros(h), Array1::<f64>::zeros(h));
    let mut coefficients = Array1::<f64>::zeros(k);
    let mut right = Array1::<f64>::zeros(k + 1);
    for round in 0..rounds {
        let mut others = equations.unknown_mut(k);
        for j in 0..h {
            let (on, weight) = weigh(delta[j], own[j] - share * other[j], round);
            weights[j] = weight;
            others[j] = if on { other[j] } else { 0.0 };
            wanted[j] = if on { weight * own[j] } else { 0.0 };
        }
        right.slice_mut(s![..k]).assign(&matvec(layer.deltas.t(), wanted.view()));
        right[k] = wanted.iter().zip(&others).map(|(w, o)| w * o).sum();
        let solution = equations.solve(&weights, None, &right, RIDGE)?;
        coefficients.assign(&solution.slice(s![..k]));
        share = solution[k].clamp(0.0, 1.0);
        delta = layer.delta(&coefficients);
    }
    let typical = layer.typical_signal(draft.label);
    let mut gates = Array1::zeros(h);
    let mut telling = vec![false; h];
    Zip::from(&mut gates).and(&mut telling[..]).and(&delta).and(&own).and(&other).for_each(
        |gate, telling, &b, &own, &other| {
            let signal = own - share * other;
            *telling = signal.abs() > TELLING * typical;
            if *telling {
                *gate = b / signal;
            }
        },
    );
    let likeness = likeness(&gates, &telling);
    let dual = layer.dual(&coefficients);
    Some(ActivationPattern { label: draft.label, share, delta, dual, gates, telling, likeness })
}

/// Backpropagated signal, as a share of the typical one, from which a gate is told.
const TELLING: f64 = 0.15;
