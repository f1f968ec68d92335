//! From patterns to inputs: linear equations, most of them exact.
//!
//! An input is orthogonal to the duals of all others, has pre-activation 0 where its pattern has a ReLU breakpoint, and the sign of its
//! gate elsewhere. Some of these equations are wrong (a false pattern, a ReLU breakpoint that is none), by far more than the others; so each counts
//! as one of a Cauchy density, whose width for breakpoints falls from round to round. Where the equations say too little the rest is what the nearest
//! picture shows, or what inputs usually look like: how much of them the candidates of another attack have along each direction. Of the
//! two solutions the one counts that lies on more breakpoints.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
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
    /// is partly the picture that it was found near.
    pub determination: f64,
}

impl PatternInput {
    /// Whether its equations say all of it; else it is partly the picture that it was found near.
    pub fn is_determined(&self) -> bool {
        self.determination >= DETERMINED
    }
}

/// Rounds of reweighting, and those for a solution that a part of the neurons is left out of.
const ROUNDS: usize = 40;
const ROUNDS_OF_PARTS: usize = 12;
/// Deviation of the equation of a dual, in units of what it is at its own input.
const DUAL_DEVIATION: f64 = 5e-4;
/// Of a pre-activation, in units of the root mean square where the gate is on; the first and the last, and the first where a solution is near.
const BREAKPOINT_DEVIATION: (f64, f64) = (0.3, 1e-4);
const NEAR_DEVIATION: f64 = 1e-2;
/// Shortfall of a pre-activation from its side beyond which it is a deviation like any other.
const SIDE_DEVIATION: f64 = 5e-3;
/// Distance of a gate from 0 and 1 at which it is a ReLU breakpoint's.
const BREAKPOINT: f64 = 0.03;
/// Gates this far outside of 0 or 1 say nothing.
const OUTSIDE: (f64, f64) = (-0.1, 1.2);
/// Parts of the neurons of which each is left out once.
const PARTS: usize = 4;
/// Share of the squared norm of a picture that is wrong, as it is expected.
const PICTURE_ERROR: f64 = 0.1;
/// Sign agreement below which an input does not solve its equations.
const LEAST_AGREEMENT: f64 = 0.998;
/// Determination from which on an input is known from its equations.
const DETERMINED: f64 = 1.0;
/// Below it an input is the picture that it began with: share of the decided gates that the picture has to meet, and cosine that has to be left.
const PICTURE_AGREEMENT: f64 = 0.97;
const LEAST_COSINE: f64 = 0.9;
/// Shortfall of a pre-activation that still counts as the right sign, and its size that still counts as 0, in the same units.
const FORGIVEN: f64 = 5e-3;
const MET: f64 = 1e-3;

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
/// `shares` (k) are the [`usual_shares`]; `starts` (m, k) are pictures and candidates with a 1 appended, of which some show the inputs.
pub fn inputs(
    layer: &GatedLayer,
    patterns: &[ActivationPattern],
    shares: &Array1<f64>,
    starts: ArrayView2<'_, f64>,
) -> Vec<Option<PatternInput>> {
    let along = |rows: ArrayView2<'_, f64>| matmul(rows, layer.vt.t(), Parallelism::Sequential);
    let mut duals = Array2::zeros((patterns.len(), layer.coordinates()));
    for (mut row, pattern) in duals.rows_mut().into_iter().zip(patterns) {
        row.assign(&pattern.dual);
    }
    let known = Known {
        duals: along(duals.view()),
        principal: &layer.deltas * &layer.singular_values,
        last: layer.vt.column(layer.coordinates() - 1).to_owned(),
        shares,
        pre_activations: matmul(starts, layer.weight.t(), Parallelism::Sequential),
        starts: along(starts),
    };
    (0..patterns.len())
        .into_par_iter()
        .with_max_len(1)
        .map(|i| Equations::new(&patterns[i], i, &known).input(layer))
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

/// What is known of all inputs, in coordinates along the right singular vectors.
struct Known<'a> {
    /// (K, k).
    duals: Array2<f64>,
    /// Pre-activations are this times an input, (h, k).
    principal: Array2<f64>,
    /// The last coordinate of an input, which is 1, is this times it, (k).
    last: Array1<f64>,
    shares: &'a Array1<f64>,
    /// Pictures and candidates (m, k), and their pre-activations (m, h).
    starts: Array2<f64>,
    pre_activations: Array2<f64>,
}

/// The equations of one input.
struct Equations<'a> {
    label: Label,
    /// Which of the duals is its own.
    index: usize,
    own: Array1<f64>,
    sides: Vec<Side>,
    known: &'a Known<'a>,
    equations: WeightedEquations,
}

/// What an input is where its equations do not say: nothing, with a scale at which its own dual is 1, or like a picture, whose last
/// coordinate is 1.
#[derive(Clone, Copy)]
enum Otherwise<'a> {
    Nothing,
    Picture(&'a Array1<f64>),
}

/// A solution of the equations, its own dual 1.
struct Solution {
    input: Array1<f64>,
    /// Breakpoints that it lies on.
    met: usize,
}

impl<'a> Equations<'a> {
    fn new(pattern: &ActivationPattern, index: usize, known: &'a Known<'a>) -> Self {
        let duals = known.duals.nrows();
        let mut equations = Array2::zeros((known.principal.ncols(), duals + known.principal.nrows()));
        equations.slice_mut(s![.., ..duals]).assign(&known.duals.t());
        equations.slice_mut(s![.., duals..]).assign(&known.principal.t());
        let sides = pattern.gates.iter().zip(&pattern.telling);
        Self {
            label: pattern.label,
            index,
            own: known.duals.row(index).to_owned(),
            sides: sides.map(|(&g, &telling)| side(g, telling)).collect(),
            known,
            equations: WeightedEquations::new(equations),
        }
    }

    /// The input, if there is one and its equations say enough of it.
    fn input(mut self, layer: &GatedLayer) -> Option<PatternInput> {
        let sides = self.sides.clone();
        let nearest = self.nearest_start();
        let alone = self.solve(&sides, Otherwise::Nothing, None);
        let by_picture =
            nearest.as_ref().and_then(|(picture, _)| self.solve(&sides, Otherwise::Picture(picture), None));
        let determination = |solution: &Solution| {
            (self.known.duals.nrows() - 1 + solution.met) as f64 / self.own.len() as f64
        };
        let alone = alone.filter(|alone| {
            determination(alone) >= DETERMINED
                && by_picture.as_ref().is_none_or(|other| alone.met > other.met)
        });
        let otherwise = match (&alone, &nearest) {
            (None, Some((picture, _))) => Otherwise::Picture(picture),
            _ => Otherwise::Nothing,
        };
        let solution = alone.or(by_picture)?;
        let determination = determination(&solution);
        let input = solution.input;
        let (decided, agreeing) = self.decided(&self.pre_activations(&input)?, |_| true);
        let sign_agreement = agreeing as f64 / decided.max(1) as f64;
        let is_picture = nearest.as_ref().is_some_and(|(picture, agreement)| {
            *agreement >= PICTURE_AGREEMENT && cosine(picture, &input) >= LEAST_COSINE
        });
        if sign_agreement < LEAST_AGREEMENT || (determination < DETERMINED && !is_picture) {
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
        let (held_out_agreement, stability) = self.without_parts(&input, otherwise)?;
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

    /// The start that meets most of the decided gates, and which share of them.
    fn nearest_start(&self) -> Option<(Array1<f64>, f64)> {
        let agreement = |z: ArrayView1<'_, f64>| {
            let (mut decided, mut hold) = (0_usize, 0_usize);
            for (&z, side) in z.iter().zip(&self.sides) {
                match side {
                    Side::On => (decided, hold) = (decided + 1, hold + usize::from(z > 0.0)),
                    Side::Off => (decided, hold) = (decided + 1, hold + usize::from(z < 0.0)),
                    Side::Breakpoint | Side::Unknown => (),
                }
            }
            hold as f64 / decided.max(1) as f64
        };
        let agreements = self.known.pre_activations.rows().into_iter().map(agreement).enumerate();
        let (best, agreement) = agreements.reduce(|best, this| if this.1 > best.1 { this } else { best })?;
        Some((self.known.starts.row(best).to_owned(), agreement))
    }

    /// Share of the decided gates that hold when their part of the neurons was left out, and the smallest cosine between `input`
    /// and what is solved for then.
    fn without_parts(&mut self, input: &Array1<f64>, otherwise: Otherwise<'_>) -> Option<(f64, f64)> {
        let sides = self.sides.clone();
        let (mut decided, mut agreeing, mut stability) = (0_usize, 0_usize, 1.0_f64);
        for part in 0..PARTS {
            let left_out = |j: usize| j % PARTS == part;
            let masked: Vec<Side> =
                (0..sides.len()).map(|j| if left_out(j) { Side::Unknown } else { sides[j] }).collect();
            let other = self.solve(&masked, otherwise, Some(input))?.input;
            let (of_part, hold) = self.decided(&self.pre_activations(&other)?, left_out);
            (decided, agreeing) = (decided + of_part, agreeing + hold);
            stability = stability.min(cosine(input, &other));
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
        let z = matvec(self.known.principal.view(), input.view());
        let unit = 1.0 / root_mean_square_on(&z, &self.sides)?;
        Some(z * unit)
    }

    /// Solves the equations that `sides` leave, from a solution that is `near` if there is one.
    fn solve(
        &mut self,
        sides: &[Side],
        otherwise: Otherwise<'_>,
        near: Option<&Array1<f64>>,
    ) -> Option<Solution> {
        let known = self.known;
        let (fixed, picture) = match otherwise {
            Otherwise::Nothing => (&self.own, None),
            Otherwise::Picture(picture) => (&known.last, Some(picture)),
        };
        let start = near.or(picture).cloned().unwrap_or_else(|| known.shares * &self.own);
        let mut input = scaled(start, fixed)?;
        let (first, last) = BREAKPOINT_DEVIATION;
        let (first, rounds) =
            if near.is_some() { (NEAR_DEVIATION, ROUNDS_OF_PARTS) } else { (first, ROUNDS) };
        for round in 0..rounds {
            let deviation = first * (last / first).powf(round as f64 / (rounds - 1) as f64);
            let weights = self.weights(sides, &input, deviation)?;
            // The expected square of what is wrong along each direction: a share of a picture, or all of an input.
            let unknown = picture.map_or(reduce::squared_norm(input.view()), |picture| {
                PICTURE_ERROR * reduce::squared_norm(picture.view())
            });
            let precision = known.shares.mapv(|share| 1.0 / (share * unknown));
            let mean = picture.map(|picture| &precision * picture);
            let [along_fixed, along_mean] =
                self.equations.solve_both(&weights, &precision, fixed, mean.as_ref())?;
            // Of all that is nearest to the mean, that for which the fixed product is 1.
            let missing = (1.0 - inner(fixed, &along_mean)) / inner(fixed, &along_fixed);
            input = along_mean + along_fixed * missing;
            if !input.iter().all(|v| v.is_finite()) {
                return None;
            }
        }
        let input = scaled(input, &self.own)?;
        let z = matvec(known.principal.view(), input.view());
        let unit = 1.0 / root_mean_square_on(&z, sides)?;
        let lies_on = |(&z, &side): (&f64, &Side)| side == Side::Breakpoint && (unit * z).abs() < MET;
        let met = z.iter().zip(sides).filter(|pair| lies_on(*pair)).count();
        Some(Solution { input, met })
    }

    /// What each equation counts at `input`: of the duals, then of the neurons.
    fn weights(&self, sides: &[Side], input: &Array1<f64>, deviation: f64) -> Option<Array1<f64>> {
        let duals = self.known.duals.nrows();
        let mut weights = Array1::zeros(duals + sides.len());
        let z = matvec(self.known.principal.view(), input.view());
        let unit = 1.0 / root_mean_square_on(&z, sides)?;
        let at_own = inner(&self.own, input).abs().max(f64::MIN_POSITIVE);
        let (mut of_duals, mut of_neurons) = weights.view_mut().split_at(Axis(0), duals);
        let at_duals = matvec(self.known.duals.view(), input.view()) / at_own;
        for (i, (weight, &at)) in of_duals.iter_mut().zip(&at_duals).enumerate() {
            let counts = if i == self.index { 0.0 } else { 1.0 };
            *weight = counts / (at * at + DUAL_DEVIATION * DUAL_DEVIATION) / (at_own * at_own);
        }
        let beyond = deviation.max(SIDE_DEVIATION);
        for (weight, (&z, &side)) in of_neurons.iter_mut().zip(z.iter().zip(sides)) {
            let z = unit * z;
            let shortfall = match side {
                Side::On => (-z).max(0.0),
                Side::Off => z.max(0.0),
                Side::Breakpoint | Side::Unknown => 0.0,
            };
            *weight = if side == Side::Breakpoint {
                unit * unit / (z * z + deviation * deviation)
            } else if shortfall > 0.0 {
                unit * unit / (beyond * shortfall.max(beyond))
            } else {
                0.0
            };
        }
        Some(weights)
    }
}

impl Side {
    /// Whether a pre-activation, in units of the root mean square where gates are on, is on this side.
    fn holds(self, z: f64) -> bool {
        match self {
            Self::On => z > -FORGIVEN,
            Self::Off => z < FORGIVEN,
            Self::Breakpoint | Self::Unknown => false,
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

fn root_mean_square_on(z: &Array1<f64>, sides: &[Side]) -> Option<f64> {
    let on = z.iter().zip(sides).filter(|(_, side)| **side == Side::On).map(|(z, _)| z * z);
    let (count, sum) = on.fold((0_usize, 0.0), |(count, sum), square| (count + 1, sum + square));
    (sum > 0.0).then(|| (sum / count as f64).sqrt())
}

/// `input` scaled so that its product with `fixed` is 1.
fn scaled(input: Array1<f64>, fixed: &Array1<f64>) -> Option<Array1<f64>> {
    let at = inner(&input, fixed);
    (at != 0.0 && at.is_finite()).then(|| input / at)
}

fn inner(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &Array1<f64>, b: &Array1<f64>) -> f64 {
    inner(a, b) / (reduce::norm(a.view()) * reduce::norm(b.view())).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
    use palimpsest_numerics::seed::Seed;

    use super::*;

    const COORDINATES: usize = 40;
    const NEURONS: usize = 200;

    /// An input of which `duals` others are known and `breakpoints` neurons lie on it, where every fourth breakpoint is a false one; with a
    /// picture of it.
    fn problem(
        duals: usize,
        breakpoints: usize,
        shares: &Array1<f64>,
    ) -> (Known<'_>, Vec<Side>, Array1<f64>) {
        let draw = |rows: usize, name: &str| {
            Array2::random_using((rows, COORDINATES), StandardNormal, &mut Seed::new(1).named(name).rng())
        };
        let truth: Array1<f64> = draw(1, "input").row(0).to_owned();
        let square = reduce::squared_norm(truth.view());
        let without = |rows: &mut Array2<f64>, which: &dyn Fn(usize) -> bool| {
            for (i, mut row) in rows.rows_mut().into_iter().enumerate().filter(|(i, _)| which(*i)) {
                let along = row.iter().zip(&truth).map(|(a, b)| a * b).sum::<f64>() / square;
                row.scaled_add(-along + 1e-5 * (i % 7) as f64, &truth);
            }
        };
        let (mut of_others, mut principal) = (draw(duals, "duals"), draw(NEURONS, "neurons"));
        without(&mut of_others, &|i| i > 0);
        without(&mut principal, &|j| j < breakpoints && j % 4 != 0);
        let side = |(j, z): (usize, f64)| match (j < breakpoints, z > 0.0) {
            (true, _) => Side::Breakpoint,
            (false, true) => Side::On,
            (false, false) => Side::Off,
        };
        let z = matvec(principal.view(), truth.view());
        let sides = z.into_iter().enumerate().map(side).collect();
        let picture = &truth + &(draw(1, "error").row(0).to_owned() * 0.3);
        let known = Known {
            duals: of_others,
            principal,
            last: Array1::from_elem(COORDINATES, truth.sum().recip()),
            shares,
            pre_activations: Array2::zeros((0, NEURONS)),
            starts: picture.insert_axis(Axis(0)),
        };
        (known, sides, truth)
    }

    /// Cosine of the solution with the input.
    fn solved(known: &Known<'_>, sides: &[Side], truth: &Array1<f64>, by_picture: bool) -> f64 {
        let mut equations = Array2::zeros((COORDINATES, known.duals.nrows() + NEURONS));
        equations.slice_mut(s![.., ..known.duals.nrows()]).assign(&known.duals.t());
        equations.slice_mut(s![.., known.duals.nrows()..]).assign(&known.principal.t());
        let mut equations = Equations {
            label: Label::POSITIVE,
            index: 0,
            own: known.duals.row(0).to_owned(),
            sides: sides.to_vec(),
            known,
            equations: WeightedEquations::new(equations),
        };
        let picture = known.starts.row(0).to_owned();
        let otherwise = if by_picture { Otherwise::Picture(&picture) } else { Otherwise::Nothing };
        cosine(&equations.solve(sides, otherwise, None).unwrap().input, truth).abs()
    }

    #[test]
    fn false_breakpoints_do_not_move_an_input_that_its_equations_determine() {
        let shares = Array1::from_elem(COORDINATES, 1.0 / COORDINATES as f64);
        let (known, sides, truth) = problem(25, 40, &shares);
        let (alone, by_picture) =
            (solved(&known, &sides, &truth, false), solved(&known, &sides, &truth, true));
        assert!(by_picture > 0.9999, "{alone} {by_picture}");
    }

    #[test]
    fn where_equations_say_too_little_the_picture_says_the_rest() {
        let shares = Array1::from_elem(COORDINATES, 1.0 / COORDINATES as f64);
        let (known, sides, truth) = problem(20, 8, &shares);
        let picture = cosine(&known.starts.row(0).to_owned(), &truth);
        let (alone, by_picture) =
            (solved(&known, &sides, &truth, false), solved(&known, &sides, &truth, true));
        assert!(by_picture > picture && by_picture > alone, "{alone} {picture} {by_picture}");
    }
}
