//! Annealed descent: the first-layer stationarity residual, minimised from a random start while the gates sharpen.
//!
//! Adam moves the coordinates of all candidates and the logarithms of their multipliers at once; the gate slope alpha
//! rises geometrically, so that early steps see which side of a neuron an input is on only softly and late steps see
//! the ReLU breakpoint nearly as it is. All lengths are measured in units estimated from the weights, so one setting serves networks of
//! any scale: steps in the typical coordinate of an input, alpha in the typical pre-activation, multipliers by the norm
//! of the first layer.
//!
//! Only the first layer's equation is used, each of its equations weighed by how wrong it is expected to be
//! (`docs/decisions/0011-equation-weights.md`). The other layers' cost twice the products and found no more images; without
//! weight decay they mostly hold their initialisation (`docs/decisions/0001-annealed-descent.md`).

mod params;

use std::ops::ControlFlow;

use ndarray::{Array, Array1, Array2, ArrayView2, Dimension, Zip};
use palimpsest_kkt::bias_share::shares_at;
use palimpsest_kkt::generalised_weights::GeneralisedWeights;
use palimpsest_kkt::outputs::OutputPull;
use palimpsest_kkt::remaining::RemainingEquation;
use palimpsest_kkt::stationarity::{StationarityResidual, TermWeights, first_layer_norm};
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::reduce;
use palimpsest_unmix::sparsity::{SparseEdges, Workspace};

pub use self::params::DescentParams;
use crate::problem::prepared::AttackProblem;
use crate::problem::start::random_start;
use crate::search::adam::{Adam, MOMENTS};
use crate::search::restart::{Restart, TerminationReason};
use crate::search::state::{Point, RunShape, RunState, Start};
use crate::search::step::Step;

/// Searches once, from a random start or from where another search was.
///
/// `observe` sees every step and may end the restart. The result holds coordinates, not inputs.
///
/// # Panics
/// When the task has multipliers of either sign, whose logarithms do not exist, or a state is of another run.
#[track_caller]
pub fn anneal(
    problem: &AttackProblem,
    pull: &OutputPull,
    params: &DescentParams,
    start: impl Into<Start>,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Restart {
    anneal_on(&Landscape::of(problem), pull, params, start.into(), parallelism, observe)
}

/// What [`anneal`] descends on.
pub(crate) struct Landscape<'a> {
    /// The network on r coordinates.
    pub(crate) network: &'a Mlp<f32>,
    /// Singular values of its first layer that belong to the coordinates, (r).
    pub(crate) spectrum: &'a [f32],
    /// Prior norm of a centred input.
    pub(crate) input_norm: f64,
    /// Squared error that the true inputs are expected to leave, relative to the equation.
    pub(crate) expected_error: f64,
    /// The same as the priors of images see it, which need not make up for inputs that are missing.
    pub(crate) error_at_images: f64,
    /// The equation without what is known already, if something is.
    pub(crate) remaining: Option<&'a RemainingEquation>,
    /// What takes the place of the squared norm in the penalty, if inputs are smooth images, (r, r).
    pub(crate) smoothness: Option<&'a Array2<f32>>,
    /// What tells images from blends of images, if inputs are images.
    pub(crate) sparse_edges: Option<&'a SparseEdges>,
}

/// Expected squared errors of an equation that looks exact, and of others (`docs/decisions/0013-norms-and-mirrors.md`).
const EXACT: f64 = 0.05;
const INEXACT: f64 = 0.15;

impl<'a> Landscape<'a> {
    pub(crate) fn of(problem: &'a AttackProblem) -> Self {
        let images = problem.image_prior.as_ref();
        Self {
            network: &problem.network,
            spectrum: &problem.spectrum[..problem.rank()],
            input_norm: problem.input_norm,
            expected_error: if problem.is_exact() { EXACT } else { INEXACT },
            error_at_images: if problem.is_decayed() { EXACT } else { INEXACT },
            remaining: None,
            smoothness: images.and_then(|prior| prior.smoothness.as_ref()).map(|prior| &prior.matrix),
            sparse_edges: images.and_then(|prior| prior.sparse_edges.as_ref()),
        }
    }

    /// What candidates have to explain of the weights, (h, r).
    fn equation(&self) -> ArrayView2<'_, f32> {
        self.remaining.map_or(self.network.layers()[0].weight.view(), |equation| equation.weight.view())
    }

    /// Norm of what candidates have to explain.
    fn equation_norm(&self) -> f64 {
        self.remaining.map_or_else(|| first_layer_norm(self.network), RemainingEquation::norm)
    }
}

/// [`anneal`] on any landscape.
#[track_caller]
pub(crate) fn anneal_on(
    landscape: &Landscape<'_>,
    pull: &OutputPull,
    params: &DescentParams,
    start: Start,
    parallelism: Parallelism,
    observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
) -> Restart {
    assert!(pull.labels().is_some(), "anneal: multipliers must be >= 0");
    let (m, r) = (pull.len(), landscape.spectrum.len());
    let mut residual = StationarityResidual::new(landscape.network, m, Scope::FirstLayer);
    let expected = RunShape { point: (m, r), moments: MOMENTS, steps: params.steps };
    let mut state = start.state(&expected, |seed| {
        let x = random_start(landscape.spectrum, m, params.initial_norm * landscape.input_norm, seed);
        start_at(landscape, pull, params, &mut residual, x, parallelism)
    });
    let mut descent = Descent::of(landscape, pull, params, residual, &state, parallelism);
    let sign_check = (params.sign_check * params.steps as f64).ceil() as usize;
    let mut termination = TerminationReason::MaxSteps;
    for index in state.index..params.steps {
        state.index = index;
        let squared = descent.evaluate(&state);
        if !squared.is_finite() {
            termination = TerminationReason::NonFinite { step: index };
            break;
        }
        let relative_residual = squared.sqrt() / descent.units.equation_norm;
        state.record(params.steps, || relative_residual);
        if observe(&Step { index, steps: params.steps, relative_residual, state: &state }).is_break() {
            termination = TerminationReason::TimeLimit;
            break;
        }
        descent.step(&mut state);
        if index + 1 == sign_check && sign_check < params.steps {
            descent.turn_negatives(&mut state);
        }
    }
    state.end(descent.lambda, termination)
}

/// What a descent has beside its state: what it descends on, in which units, and memory.
struct Descent<'a> {
    landscape: &'a Landscape<'a>,
    pull: &'a OutputPull,
    params: &'a DescentParams,
    parallelism: Parallelism,
    units: Units,
    weights: GeneralisedWeights,
    /// Weight of the squared norms, or of the smoothness prior, beside the squared residual.
    prior_weight: f64,
    /// The smoothness prior, where it counts, (r, r).
    smoothness: Option<&'a Array2<f32>>,
    /// The sparse-edge prior, where it counts.
    sparsity: Option<Sparsity<'a>>,
    /// Relative step of each coordinate, (r).
    column_steps: Vec<f32>,
    terms: TermWeights,
    residual: StationarityResidual<f32>,
    /// Multipliers, (m), whose logarithms are in the state.
    lambda: Array1<f32>,
    dx: Array2<f32>,
    dlambda: Array1<f32>,
}

/// The sparse-edge prior in a descent.
struct Sparsity<'a> {
    edges: &'a SparseEdges,
    weight: f32,
    workspace: Workspace,
}

impl<'a> Descent<'a> {
    /// From a `state`; `residual` is memory.
    fn of(
        landscape: &'a Landscape<'a>,
        pull: &'a OutputPull,
        params: &'a DescentParams,
        residual: StationarityResidual<f32>,
        state: &RunState,
        parallelism: Parallelism,
    ) -> Self {
        let (network, (m, r)) = (landscape.network, state.at.coordinates.dim());
        let powers = (params.coordinate_error_power, params.neuron_error_power);
        let weights = GeneralisedWeights::of(network, landscape.spectrum, landscape.input_norm, powers);
        // The prior variance of a coordinate is input_norm^2 / r, the error of one of the h r equations this share of their sum.
        let equations =
            weights.squared_norm(landscape.equation()) / network.layers()[0].weight.nrows() as f64;
        let smoothness = landscape.smoothness.filter(|_| params.smoothness > 0.0);
        let strength = if smoothness.is_some() { params.smoothness } else { 1.0 };
        let penalty = strength * params.norm_penalty.unwrap_or(landscape.expected_error);
        let of_equation = 2.0 * landscape.error_at_images * equations / r as f64;
        let sparse_edges = landscape.sparse_edges.filter(|_| params.edge_sparsity > 0.0);
        Self {
            landscape,
            pull,
            params,
            parallelism,
            units: Units::of(landscape),
            weights,
            prior_weight: 2.0 * penalty * equations / landscape.input_norm.powi(2),
            smoothness,
            sparsity: sparse_edges.map(|edges| Sparsity {
                edges,
                weight: (params.edge_sparsity * of_equation * edges.log_density_weight()) as f32,
                workspace: edges.workspace(m),
            }),
            column_steps: relative_powers(landscape.spectrum, params.step_power),
            terms: TermWeights::uniform(network.depth()),
            residual,
            lambda: state.at.multipliers.mapv(f32::exp),
            dx: Array2::zeros((m, r)),
            dlambda: Array1::zeros(m),
        }
    }

    /// Share of the steps before step `index`, in [0, 1).
    fn progress(&self, index: usize) -> f64 {
        index as f64 / self.params.steps as f64
    }

    /// The gates at step `index`: their slope rises geometrically.
    fn gates(&self, index: usize) -> Activation {
        let (first, last) = self.params.alpha;
        Activation::SigmoidGate {
            alpha: self.units.alpha * first * (last / first).powf(self.progress(index)),
        }
    }

    /// The squared residual at `state`.
    fn evaluate(&mut self, state: &RunState) -> f64 {
        let (network, x) = (self.landscape.network, state.at.coordinates.view());
        let (gates, parallelism) = (self.gates(state.index), self.parallelism);
        self.residual.evaluate(network, gates, self.pull, x, self.lambda.view(), parallelism);
        if let Some(equation) = self.landscape.remaining {
            self.residual.leave_out(network, equation, parallelism);
        }
        self.residual.squared().total(&self.terms)
    }

    /// A step from where the residual was evaluated.
    fn step(&mut self, state: &mut RunState) {
        let (index, parallelism) = (state.index, self.parallelism);
        let (gates, progress) = (self.gates(index), self.progress(index));
        let RunState { at: Point { coordinates: x, multipliers: log_lambda }, moments, .. } = state;
        let (dx, dlambda) = (&mut self.dx, &mut self.dlambda);
        self.residual.weigh_first_layer(&self.weights.neurons, &self.weights.coordinates);
        let network = self.landscape.network;
        self.residual.gradient(network, gates, &self.terms, x.view(), dx, dlambda, parallelism);
        let prior_weight = self.prior_weight as f32;
        match self.smoothness {
            Some(prior) => gemm(prior_weight, x.view(), prior.view(), 1.0, dx.view_mut(), parallelism),
            None => dx.scaled_add(prior_weight, x),
        }
        if let Some(Sparsity { edges, weight, workspace }) = &mut self.sparsity
            && progress >= self.params.edge_sparsity_after
        {
            edges.add_gradient(index, *weight, x.view(), workspace, dx.view_mut(), parallelism);
        }
        *dlambda *= &self.lambda;
        let fall = 0.51 + 0.49 * (std::f64::consts::PI * progress).cos();
        let [first, second] = moments.as_mut_slice() else { unreachable!("a state has its moments") };
        let step_size = fall * self.params.step_size * self.units.coordinate;
        let adam = Adam { first: slice(&mut first.coordinates), second: slice(&mut second.coordinates) };
        adam.step(index, slice(x), slice(dx), step_size, &self.column_steps);
        let step_size = fall * self.params.multiplier_step_size;
        let adam = Adam { first: slice(&mut first.multipliers), second: slice(&mut second.multipliers) };
        adam.step(index, slice(log_lambda), slice(dlambda), step_size, &[1.0]);
        Zip::from(&mut self.lambda).and(&*log_lambda).for_each(|l, &log| *l = log.exp());
    }

    /// Turns candidates round that the biases say are negatives of inputs.
    fn turn_negatives(&mut self, state: &mut RunState) {
        let (network, gates) = (self.landscape.network, self.gates(state.index));
        let (x, velocity) = (&mut state.at.coordinates, &mut state.moments[0].coordinates);
        let (lambda, parallelism) = (self.lambda.view(), self.parallelism);
        self.residual.evaluate(network, gates, self.pull, x.view(), lambda, parallelism);
        let known = self.landscape.remaining.map(|equation| equation.known.view());
        let shares = shares_at(network, &self.residual, self.pull, known, parallelism);
        for (i, _) in shares.iter().flatten().enumerate().filter(|(_, share)| **share < 0.0) {
            x.row_mut(i).mapv_inplace(|v| -v);
            velocity.row_mut(i).mapv_inplace(|v| -v);
        }
    }
}

/// Lengths estimated from the weights and the prior.
struct Units {
    /// Typical coordinate of an input of the prior norm.
    coordinate: f64,
    /// One over the typical pre-activation of a first-layer neuron at such an input.
    alpha: f64,
    equation_norm: f64,
}

impl Units {
    fn of(landscape: &Landscape<'_>) -> Self {
        let weight = landscape.network.layers()[0].weight.view();
        let coordinate = landscape.input_norm / (landscape.spectrum.len() as f64).sqrt();
        let typical_row = reduce::norm(weight) / (weight.nrows() as f64).sqrt();
        Self {
            coordinate,
            alpha: 1.0 / (typical_row * coordinate).max(f64::MIN_POSITIVE),
            equation_norm: landscape.equation_norm(),
        }
    }
}

/// Where [`anneal`] begins with the candidates `x` (m, r).
pub(crate) fn start_with(
    problem: &AttackProblem,
    pull: &OutputPull,
    params: &DescentParams,
    x: Array2<f32>,
    parallelism: Parallelism,
) -> RunState {
    let mut residual = StationarityResidual::new(&problem.network, pull.len(), Scope::FirstLayer);
    start_at(&Landscape::of(problem), pull, params, &mut residual, x, parallelism)
}

/// The state before the first step from `x` (m, r): all candidates have the same multiplier, a share of that at which their
/// gradients, had they the prior norm and were they orthogonal to each other, would sum to the norm of the first layer.
fn start_at(
    landscape: &Landscape<'_>,
    pull: &OutputPull,
    params: &DescentParams,
    residual: &mut StationarityResidual<f32>,
    x: Array2<f32>,
    parallelism: Parallelism,
) -> RunState {
    let first_gates = Activation::SigmoidGate { alpha: params.alpha.0 * Units::of(landscape).alpha };
    let ones = Array1::ones(pull.len());
    residual.evaluate(landscape.network, first_gates, pull, x.view(), ones.view(), parallelism);
    let deltas = residual.squared_deltas().sqrt();
    let typical = landscape.equation_norm() / (landscape.input_norm * deltas).max(f64::MIN_POSITIVE);
    let log_lambda = Array1::from_elem(pull.len(), (params.initial_multiplier * typical).ln() as f32);
    RunState::start(x, log_lambda, MOMENTS)
}

/// `spectrum^power`, divided by the root mean square of it.
fn relative_powers(spectrum: &[f32], power: f64) -> Vec<f32> {
    let powers: Vec<f64> = spectrum.iter().map(|&s| f64::from(s).max(1e-30).powf(power)).collect();
    let mean = (powers.iter().map(|p| p * p).sum::<f64>() / powers.len() as f64).sqrt();
    powers.iter().map(|p| (p / mean) as f32).collect()
}

fn slice<D: Dimension>(array: &mut Array<f32, D>) -> &mut [f32] {
    array.as_slice_mut().expect("owned arrays are contiguous")
}

#[cfg(test)]
mod tests {
    use palimpsest_kkt::outputs::Label;
    use palimpsest_mlp::{BiasPlacement, Mlp};

    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::problem::prior::PriorKnowledge;

    #[test]
    fn the_penalty_keeps_norms_small_and_the_check_turns_some_round() {
        let network = Mlp::<f32>::initialise(&[30, 80, 60, 1], BiasPlacement::FirstLayer, 0.2, Seed::new(1));
        let problem =
            AttackProblem::prepare(&network, PriorKnowledge::default(), Some(20), Parallelism::Sequential)
                .unwrap();
        let pull = OutputPull::Binary((0..24).map(|i| Label(i / 12)).collect());
        // The coordinates of the candidates at one step.
        let at = |params: DescentParams, index: usize| {
            let mut seen = Array2::zeros((0, 0));
            let mut observe = |step: &Step<'_>| {
                if step.index == index {
                    seen = step.state.at.coordinates.clone();
                }
                ControlFlow::Continue(())
            };
            anneal(&problem, &pull, &params, Seed::new(2), Parallelism::Sequential, &mut observe);
            seen
        };
        let plain =
            DescentParams { steps: 101, norm_penalty: Some(0.0), sign_check: 1.0, ..Default::default() };
        let free = reduce::norm(at(plain, 100).view());
        let held = reduce::norm(at(DescentParams { norm_penalty: Some(1.0), ..plain }, 100).view());
        assert!(held < 0.8 * free, "{held} {free}");

        let checked = DescentParams { sign_check: 0.5, ..plain };
        assert_eq!(at(plain, 50), at(checked, 50));
        let (before, after) = (at(plain, 51), at(checked, 51));
        let turned =
            before.rows().into_iter().zip(after.rows()).filter(|(a, b)| *a == b.mapv(|v| -v)).count();
        let same = before.rows().into_iter().zip(after.rows()).filter(|(a, b)| a == b).count();
        assert!(turned > 0 && turned + same == 24, "{turned} turned, {same} not");
    }

    #[test]
    fn the_residual_falls_and_scale_does_not_matter() {
        let network = Mlp::<f32>::initialise(&[30, 80, 60, 1], BiasPlacement::FirstLayer, 0.2, Seed::new(1));
        let mut large = network.clone();
        // Homogeneous: the same first layer, eight times as large (a power of two keeps bits).
        large.layers_mut()[0].weight *= 8.0;
        large.layers_mut()[0].bias.as_mut().unwrap().mapv_inplace(|b| b * 8.0);
        let run = |network: &Mlp<f32>, steps| {
            let problem =
                AttackProblem::prepare(network, PriorKnowledge::default(), Some(20), Parallelism::Sequential)
                    .unwrap();
            let pull = OutputPull::Binary((0..24).map(|i| Label(i / 12)).collect());
            let params = DescentParams { steps, ..DescentParams::default() };
            let mut observe = |_: &Step<'_>| ControlFlow::Continue(());
            anneal(&problem, &pull, &params, Seed::new(2), Parallelism::Sequential, &mut observe)
        };
        let long = run(&network, 400);
        let (first, last) = (long.curve[0].1, long.relative_residual);
        assert!(last < 0.9 * first, "{first} -> {last}");
        // A short search: rounding grows along a long one.
        let (small, large) = (run(&network, 40), run(&large, 40));
        assert!((&small.coordinates - &large.coordinates).iter().all(|e| e.abs() < 1e-2));
    }
}
