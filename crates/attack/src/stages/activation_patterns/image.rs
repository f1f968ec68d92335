//! From patterns to inputs: linear equations, most of them exact.
//!
//! An input is orthogonal to the duals of all others, has pre-activation 0 where its pattern has a ReLU breakpoint, and the sign of its
//! gate elsewhere. Each equation may be wrong (a false pattern, a ReLU breakpoint that is none), so absolute deviations are minimised.
//! Where few duals are known the rest is filled in by what inputs usually look like: how much of them the candidates of
//! another attack have along each direction.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_numerics::gemm::{Parallelism, matmul, matvec};
use palimpsest_numerics::reduce;
use rayon::prelude::*;

use crate::stages::activation_patterns::layer::GatedLayer;
use crate::stages::activation_patterns::pattern::ActivationPattern;
use crate::stages::activation_patterns::weighted::WeightedEquations;

/// An input found from its pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternInput {
    /// Coordinates of the attack, (r).
    pub coordinates: Array1<f32>,
    /// Multiplier, > 0.
    pub multiplier: f64,
    /// Its label.
    pub label: Label,
    /// Share of the neurons with a decided gate on whose side the input lies, in [0, 1]. Where most duals are
    /// known, only an input that is right agrees with nearly all of them.
    pub sign_agreement: f64,
    /// The same for neurons that were left out of the equations, each in its turn: what the solution predicts, where
    /// `sign_agreement` is what it was fitted to.
    pub held_out_agreement: f64,
    /// Smallest cosine between the input and those solved for without a part of the neurons, in [-1, 1].
    pub stability: f64,
    /// Equations for each unknown, >= 0: known duals and ReLU breakpoints that the input lies on. Above 1 the input is determined, below it
    /// is partly what inputs usually look like.
    pub determination: f64,
}

/// Rounds of reweighting.
const ROUNDS: usize = 40;
/// Deviation of an exact equation: of a dual, in units of what it is at its own input.
const DUAL_TOLERANCE: f64 = 3e-5;
/// Of a pre-activation, in units of the root mean square where the gate is on; the first and the last.
const KINK_TOLERANCE: (f64, f64) = (0.3, 5e-3);
const SHRINK: f64 = 0.7;
/// Distance of a gate from 0 and 1 at which it is a ReLU breakpoint's.
const BREAKPOINT: f64 = 0.03;
/// Gates this far outside of 0 or 1 say nothing.
const OUTSIDE: (f64, f64) = (-0.1, 1.2);
/// Parts of the neurons of which each is left out once.
const PARTS: usize = 4;
/// Sign agreement below which an input does not solve its equations: what is left to know of it is too much.
const LEAST_AGREEMENT: f64 = 0.96;
/// Determination below which too much of an input is what inputs usually look like.
const LEAST_DETERMINATION: f64 = 0.85;
/// Shortfall of a pre-activation that still counts as the right sign, in the same units.
const FORGIVEN: f64 = 0.02;

/// Share of an input's squared norm along each right singular vector of the layer, (k), as `candidates` (m, k) have it on
/// average; the last coordinate of a candidate is 1.
pub fn usual_shares(layer: &GatedLayer, candidates: ArrayView2<'_, f64>) -> Array1<f64> {
    let along = matmul(candidates, layer.vt.t(), Parallelism::Sequential);
    let mut shares = Array1::<f64>::zeros(along.ncols());
    for row in along.rows() {
        let square = reduce::squared_norm(row).max(f64::MIN_POSITIVE);
        shares.zip_mut_with(&row, |share, v| *share += v * v / square);
    }
    let sum = shares.sum().max(f64::MIN_POSITIVE);
    // No direction is impossible.
    shares.mapv(|share| (share / sum).max(1e-9))
}

/// The input of each of `patterns`, or nothing for one whose equations have no solution that can be an input.
///
/// `shares` (k) are the [`usual_shares`].
pub fn inputs(
    layer: &GatedLayer,
    patterns: &[ActivationPattern],
    shares: &Array1<f64>,
) -> Vec<Option<PatternInput>> {
    let k = layer.coordinates();
    let mut duals = Array2::zeros((patterns.len(), k));
    for (mut row, pattern) in duals.rows_mut().into_iter().zip(patterns) {
        row.assign(&matvec(layer.vt.view(), pattern.dual.view()));
    }
    let principal = &layer.deltas * &layer.singular_values;
    (0..patterns.len())
        .into_par_iter()
        .with_max_len(1)
        .map(|i| Equations::new(&patterns[i], i, &duals, &principal, shares).input(layer))
        .collect()
}

/// Which side of its neuron a gate puts an input on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    On,
    Off,
    Breakpoint,
    Unknown,
}

/// The equations of one input, in coordinates along the right singular vectors, in which pre-activations are `principal`
/// times the input.
struct Equations<'a> {
    label: Label,
    /// Which of `duals` is its own.
    index: usize,
    own: Array1<f64>,
    sides: Vec<Side>,
    duals: &'a Array2<f64>,
    principal: &'a Array2<f64>,
    shares: &'a Array1<f64>,
    equations: WeightedEquations,
}

impl<'a> Equations<'a> {
    fn new(
        pattern: &ActivationPattern,
        index: usize,
        duals: &'a Array2<f64>,
        principal: &'a Array2<f64>,
        shares: &'a Array1<f64>,
    ) -> Self {
        let known = duals.nrows();
        let mut equations = Array2::zeros((principal.ncols(), known + principal.nrows()));
        equations.slice_mut(s![.., ..known]).assign(&duals.t());
        equations.slice_mut(s![.., known..]).assign(&principal.t());
        Self {
            label: pattern.label,
            index,
            own: duals.row(index).to_owned(),
            sides: pattern
                .gates
                .iter()
                .zip(&pattern.telling)
                .map(|(&g, &telling)| side(g, telling))
                .collect(),
            duals,
            principal,
            shares,
            equations: WeightedEquations::new(equations),
        }
    }

    /// The input, if there is one and its equations say enough of it.
    fn input(mut self, layer: &GatedLayer) -> Option<PatternInput> {
        let sides = self.sides.clone();
        let input = self.solve(&sides)?;
        let z = self.pre_activations(&input)?;
        let (decided, agreeing) = self.decided(&z, |_| true);
        let kinks_met =
            z.iter().zip(&sides).filter(|(z, side)| **side == Side::Breakpoint && side.holds(**z)).count();
        let sign_agreement = agreeing as f64 / decided.max(1) as f64;
        let determination = (self.duals.nrows() + kinks_met) as f64 / self.principal.ncols() as f64;
        if sign_agreement < LEAST_AGREEMENT || determination < LEAST_DETERMINATION {
            return None;
        }
        let extended = matvec(layer.vt.t(), input.view());
        // The dual at its own input is 1 / multiplier, and the input's last coordinate is 1: a negative one is no input.
        let multiplier = extended[extended.len() - 1];
        if multiplier <= 0.0 {
            return None;
        }
        let coordinates: Array1<f32> =
            extended.iter().take(extended.len() - 1).map(|&v| (v / multiplier) as f32).collect();
        let (held_out_agreement, stability) = self.without_parts(&input)?;
        coordinates.iter().all(|v| v.is_finite()).then_some(PatternInput {
            coordinates,
            multiplier,
            label: self.label,
            sign_agreement,
            held_out_agreement,
            stability,
            determination,
        })
    }

    /// Share of the decided gates that hold when their part of the neurons was left out, and the smallest cosine between `input`
    /// and what is solved for then.
    fn without_parts(&mut self, input: &Array1<f64>) -> Option<(f64, f64)> {
        let sides = self.sides.clone();
        let (mut decided, mut agreeing, mut stability) = (0_usize, 0_usize, 1.0_f64);
        for part in 0..PARTS {
            let left_out = |j: usize| j % PARTS == part;
            let masked: Vec<Side> =
                (0..sides.len()).map(|j| if left_out(j) { Side::Unknown } else { sides[j] }).collect();
            let other = self.solve(&masked)?;
            let z = self.pre_activations(&other)?;
            let (of_part, hold) = self.decided(&z, left_out);
            (decided, agreeing) = (decided + of_part, agreeing + hold);
            let norms = reduce::norm(input.view()) * reduce::norm(other.view());
            stability = stability.min((input * &other).sum() / norms.max(f64::MIN_POSITIVE));
        }
        Some((agreeing as f64 / decided.max(1) as f64, stability))
    }

    /// How many of the neurons that are `counted` have a decided gate, and for how many of these it holds at `z`.
    fn decided(&self, z: &Array1<f64>, counted: impl Fn(usize) -> bool) -> (usize, usize) {
        let gates = z.iter().zip(&self.sides).enumerate();
        let decided = gates.filter(|(j, (_, side))| counted(*j) && matches!(side, Side::On | Side::Off));
        decided.fold((0, 0), |(all, hold), (_, (z, side))| (all + 1, hold + usize::from(side.holds(*z))))
    }

    /// Pre-activations of `input`, in units of the root mean square where its gates are on.
    fn pre_activations(&self, input: &Array1<f64>) -> Option<Array1<f64>> {
        let z = matvec(self.principal.view(), input.view());
        let unit = 1.0 / root_mean_square_on(&z, &self.sides)?;
        Some(z * unit)
    }

    /// Solves the equations that `sides` leave.
    fn solve(&mut self, sides: &[Side]) -> Option<Array1<f64>> {
        let known = self.duals.nrows();
        let mut weights = Array1::zeros(known + sides.len());
        let mut input = normalised(self.shares * &self.own, &self.own)?;
        let (mut tolerance, last) = KINK_TOLERANCE;
        for _ in 0..ROUNDS {
            let z = matvec(self.principal.view(), input.view());
            let unit = 1.0 / root_mean_square_on(&z, sides)?;
            let (mut of_duals, mut of_neurons) = weights.view_mut().split_at(Axis(0), known);
            let at_duals = matvec(self.duals.view(), input.view());
            for (i, (weight, at)) in of_duals.iter_mut().zip(&at_duals).enumerate() {
                *weight = if i == self.index { 0.0 } else { absolute_weight(at.abs(), DUAL_TOLERANCE) };
            }
            for (weight, (&z, &side)) in of_neurons.iter_mut().zip(z.iter().zip(sides)) {
                let counts = match side {
                    Side::Breakpoint => true,
                    Side::On => z < 0.0,
                    Side::Off => z > 0.0,
                    Side::Unknown => false,
                };
                *weight = if counts { unit * unit * absolute_weight(unit * z.abs(), tolerance) } else { 0.0 };
            }
            let square = reduce::squared_norm(input.view());
            let diagonal = self.shares.mapv(|share| 1.0 / (share * square));
            let solution = self.equations.solve(&weights, Some(&diagonal), &self.own, 0.0)?;
            input = normalised(solution, &self.own)?;
            tolerance = (SHRINK * tolerance).max(last);
        }
        Some(input)
    }
}

impl Side {
    /// Whether a pre-activation, in units of the root mean square where gates are on, is on this side.
    fn holds(self, z: f64) -> bool {
        match self {
            Self::On => z > -FORGIVEN,
            Self::Off => z < FORGIVEN,
            Self::Breakpoint => z.abs() < FORGIVEN,
            Self::Unknown => false,
        }
    }
}

fn side(gate: f64, telling: bool) -> Side {
    let (lowest, highest) = OUTSIDE;
    if !telling || !(lowest..highest).contains(&gate) {
        Side::Unknown
    } else if gate >= 1.0 - BREAKPOINT {
        Side::On
    } else if gate <= BREAKPOINT {
        Side::Off
    } else {
        Side::Breakpoint
    }
}

/// Weight by which a least-squares equation stands for an absolute deviation beyond `tolerance`.
fn absolute_weight(deviation: f64, tolerance: f64) -> f64 {
    1.0 / (tolerance * deviation.max(tolerance))
}

fn root_mean_square_on(z: &Array1<f64>, sides: &[Side]) -> Option<f64> {
    let on = z.iter().zip(sides).filter(|(_, side)| **side == Side::On).map(|(z, _)| z * z);
    let (count, sum) = on.fold((0_usize, 0.0), |(count, sum), square| (count + 1, sum + square));
    (sum > 0.0).then(|| (sum / count as f64).sqrt())
}

/// `input` scaled so that its own dual is 1 there.
fn normalised(input: Array1<f64>, own: &Array1<f64>) -> Option<Array1<f64>> {
    let at = (&input * own).sum_axis(Axis(0)).into_scalar();
    (at != 0.0 && at.is_finite()).then(|| input / at)
}
