//! Rounds of annealed descent between which what was found is taken out of the equation.
//!
//! Where there are many more inputs than descent can tell apart, the few that count most drown the others: whatever is wrong
//! with them is more than all that the others give. So restarts come in rounds. Images on which the restarts of a round
//! agree are taken for known; what each gives the first layer's neurons, its delta, is decoded from the weights
//! ([`crate::stages::activation_patterns::decode`]) and projected out of both sides of the equation; the next round descends on what is left,
//! from random starts. A first-layer delta that is projected out need not be known with its multiplier or its input, and a false one
//! costs one direction of many.
//!
//! It takes a prior that makes images nearly exact, the smoothness prior in place of the norm, and backpropagated signals that were the same for
//! long, as under weight decay. `docs/decisions/0023-deflation.md` has the measurement.
//!
//! # Source
//! Deflation, as of sources in blind separation and of eigenvectors, with activation patterns for what is taken out.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use palimpsest_kkt::bias_share::shares_of_restart;
use palimpsest_kkt::generalised_weights::GeneralisedWeights;
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_kkt::remaining::RemainingEquation;
use palimpsest_kkt::stationarity::StationarityResidual;
use palimpsest_mlp::Activation;
use palimpsest_mlp::passes::Scope;
use palimpsest_numerics::factor::svd;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::quantile::upper_median;
use palimpsest_numerics::range::{share, within};
use palimpsest_numerics::reduce::unit_rows;
use palimpsest_unmix::smoothness::SmoothnessPrior;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::evidence::consensus::{consensus, ranking};
use crate::problem::prepared::AttackProblem;
use crate::search::annealed::{DescentParams, Landscape, anneal_on};
use crate::search::restart::{Restart, TerminationReason};
use crate::search::state::Start;
use crate::search::step::Step;
use crate::stages::activation_patterns::decode::{Pull, decode_deltas};

/// Options of a deflation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeflationParams {
    /// Restarts of a round, >= 4: fewer agree too easily.
    pub restarts: usize,
    /// Cosine of edges with the nearest candidate of the other restarts of a round, on average, in [0, 1], from which a candidate is taken
    /// for an image: as long as none is known, and afterwards.
    pub agreement: (f32, f32),
    /// Mean bias share (see [`crate::evidence::confidence::Evidence`]) below which it is not: its negative may be one.
    pub bias_share: f32,
}

impl Default for DeflationParams {
    fn default() -> Self {
        Self { restarts: 4, agreement: (0.7, 0.5), bias_share: 0.35 }
    }
}

impl DeflationParams {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] that names the option, its range and what was given.
    pub fn check(&self) -> Result<(), AttackError> {
        within("restarts of a deflation round", self.restarts, LEAST_RESTARTS.., "at least 4")?;
        share("agreement of a deflation", self.agreement.0)?;
        share("agreement of a deflation", self.agreement.1)?;
        let any = f32::NEG_INFINITY..=f32::INFINITY;
        within("bias share of a deflation", self.bias_share, any, "a number")?;
        Ok(())
    }
}

/// An image on which the restarts of a round agreed.
#[derive(Clone, Debug)]
pub(crate) struct AgreedImage {
    /// Mean over the restarts, (r).
    pub(crate) coordinates: Array1<f32>,
    /// Mean of what the candidates of a restart that stand for it sum to.
    pub(crate) multiplier: f32,
    pub(crate) label: Label,
    /// Mean cosine of edges with the nearest candidates of the other restarts.
    pub(crate) agreement: f32,
    /// Mean bias share of the candidates that stand for it, see [`crate::evidence::confidence::Evidence`].
    pub(crate) bias_share: f32,
}

/// Restarts of a round whose agreement is more than chance.
const LEAST_RESTARTS: usize = 4;
/// Cosine of edges above which candidates stand for the same image.
const SAME: f32 = 0.6;
/// Directions for each neuron above which first-layer deltas fill too much of their space to be told apart.
pub(crate) const MOST_DIRECTIONS: f64 = 0.5;
/// Share of the directions at which no more are taken out: what rounds still agree on is real less and less often.
const MOST_KNOWN: f64 = 0.75;

/// The rounds so far.
pub(crate) struct Deflation<'a> {
    problem: &'a AttackProblem,
    labels: &'a [Label],
    params: DeflationParams,
    descent: DescentParams,
    /// First layer with its bias as last column, (h, k).
    weight: Array2<f64>,
    /// Orthonormal basis of the column space of `weight`, (h, k).
    basis: Array2<f64>,
    prior: &'a SmoothnessPrior,
    /// Weight of each neuron's equation, (h).
    neurons: Vec<f32>,
    images: Vec<AgreedImage>,
    /// What is taken out, the first-layer deltas of these and of what came back, rows of length one, (deltas, h).
    deltas: Array2<f32>,
    /// The equation without them, once there are some.
    remaining: Option<RemainingEquation>,
    first_residual: Option<f64>,
}

impl<'a> Deflation<'a> {
    /// Of `problem`, whose candidates have `labels` (m): nothing where its inputs are no smooth images.
    ///
    /// # Errors
    /// [`AttackError::Factor`].
    pub(crate) fn of(
        problem: &'a AttackProblem,
        labels: &'a [Label],
        params: DeflationParams,
        descent: DescentParams,
        parallelism: Parallelism,
    ) -> Result<Option<Self>, AttackError> {
        let weight = problem.first_layer_target().mapv(f64::from);
        let Some(prior) = problem.image_prior.as_ref().and_then(|prior| prior.smoothness.as_ref()) else {
            return Ok(None);
        };
        // In long runs of rounds the sparse-edge prior finds fewer (`docs/decisions/0031-sparse-edges.md`).
        let descent = DescentParams { edge_sparsity: 0.0, ..descent };
        let basis = svd(weight.view(), parallelism)?.u;
        let spectrum = &problem.spectrum[..problem.rank()];
        let powers = (descent.coordinate_error_power, descent.neuron_error_power);
        let weights = GeneralisedWeights::of(&problem.network, spectrum, problem.input_norm, powers);
        Ok(Some(Self {
            problem,
            labels,
            params,
            descent,
            weight,
            basis,
            prior,
            neurons: weights.neurons,
            images: Vec::new(),
            deltas: Array2::zeros((0, problem.network.layers()[0].weight.nrows())),
            remaining: None,
            first_residual: None,
        }))
    }

    /// Restarts of a round.
    pub(crate) fn restarts(&self) -> usize {
        self.params.restarts
    }

    /// Whether another round would take nothing out.
    pub(crate) fn is_complete(&self) -> bool {
        self.deltas.nrows() >= self.most_known()
    }

    fn most_known(&self) -> usize {
        (MOST_KNOWN * self.weight.ncols() as f64) as usize
    }

    /// Images found so far.
    pub(crate) fn images(&self) -> &[AgreedImage] {
        &self.images
    }

    /// Median relative residual of the restarts of the first round, 1 before its end.
    pub(crate) fn first_residual(&self) -> f64 {
        self.first_residual.unwrap_or(1.0)
    }

    /// A restart of the round that has begun.
    pub(crate) fn anneal(
        &self,
        pull: &OutputPull,
        start: Start,
        parallelism: Parallelism,
        observe: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Restart {
        let landscape = Landscape { remaining: self.remaining.as_ref(), ..Landscape::of(self.problem) };
        anneal_on(&landscape, pull, &self.descent, start, parallelism, observe)
    }

    /// Ends a round: takes what its `restarts` agree on out of the equation. What cannot be decomposed stays in.
    pub(crate) fn learn(&mut self, restarts: &[Option<Restart>], parallelism: Parallelism) {
        let finished: Option<Vec<&Restart>> = restarts.iter().map(Option::as_ref).collect();
        let finished = finished.filter(|restarts| {
            let all = restarts.len() == self.params.restarts;
            all && restarts.iter().all(|restart| restart.termination == TerminationReason::MaxSteps)
        });
        let Some(restarts) = finished else { return };
        self.first_residual.get_or_insert_with(|| {
            let mut residuals: Vec<f64> = restarts.iter().map(|restart| restart.relative_residual).collect();
            upper_median(&mut residuals).expect("a round has restarts")
        });
        let mut images = self.agreed(&restarts, parallelism);
        images.truncate(self.most_known().saturating_sub(self.deltas.nrows()));
        if images.is_empty() {
            return;
        }
        let deltas = unit_rows(self.deltas_of(&images, parallelism).view());
        self.deltas.append(Axis(0), deltas.view()).expect("deltas have an entry for each neuron");
        self.add_new(images, parallelism);
        let (weight, bias) = self.weight.view().split_at(Axis(1), self.problem.rank());
        let (weight, bias) = (weight.to_owned(), bias.column(0).to_owned());
        let (deltas, neurons) = (self.deltas.mapv(f64::from), Some(self.neurons.as_slice()));
        if let Ok(left) = RemainingEquation::without(weight, bias, deltas, neurons, parallelism) {
            self.remaining = Some(left);
        }
    }

    /// Adds those of `images` that are not known: what was wrong with the first-layer delta of an image can bring it back.
    fn add_new(&mut self, images: Vec<AgreedImage>, parallelism: Parallelism) {
        let edges = |images: &[AgreedImage]| {
            let coordinates = coordinates(images, self.problem.rank());
            unit_rows(matmul(coordinates.view(), self.prior.root.view(), parallelism).view())
        };
        let cosines = matmul(edges(&images).view(), edges(&self.images).t(), parallelism);
        let is_new = cosines.rows().into_iter().map(|row| row.iter().all(|&cosine| cosine <= SAME));
        let new: Vec<AgreedImage> =
            images.into_iter().zip(is_new).filter_map(|(image, is_new)| is_new.then_some(image)).collect();
        self.images.extend(new);
    }

    /// What `restarts` agree on, surest first.
    fn agreed(&self, restarts: &[&Restart], parallelism: Parallelism) -> Vec<AgreedImage> {
        let m = self.labels.len();
        let compared: Vec<Array2<f32>> = restarts
            .iter()
            .map(|restart| {
                unit_rows(matmul(restart.coordinates.view(), self.prior.root.view(), parallelism).view())
            })
            .collect();
        let views: Vec<ArrayView2<'_, f32>> = compared.iter().map(|restart| restart.view()).collect();
        let consensus = consensus(&views, self.labels, &self.bias_shares(restarts, parallelism));
        let joined = |parts: &[Array1<f32>]| {
            let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
            concatenate(Axis(0), &parts).expect("vectors always join")
        };
        let (scores, shares) = (joined(&consensus.scores), joined(&consensus.told));
        let all = concatenate(Axis(0), &views).expect("restarts have the same number of columns");
        let ranked = ranking(all.view(), &vec![Label(0); all.nrows()], scores.view()).into_iter();
        let (first, later) = self.params.agreement;
        let least = if self.images.is_empty() { first } else { later };
        let ranked = ranked.take_while(|&i| scores[i] >= least);
        let ranked: Vec<usize> = ranked.filter(|&i| shares[i] >= self.params.bias_share).collect();
        let mut images: Vec<AgreedImage> = ranked
            .iter()
            .map(|&i| AgreedImage {
                coordinates: Array1::zeros(self.problem.rank()),
                multiplier: 0.0,
                label: self.labels[i % m],
                agreement: scores[i],
                bias_share: shares[i],
            })
            .collect();
        let directions = all.select(Axis(0), &ranked);
        let mut supporters = vec![0.0_f32; images.len()];
        for (restart, compared) in restarts.iter().zip(&compared) {
            let cosines = matmul(directions.view(), compared.t(), parallelism);
            for ((image, cosines), supporters) in images.iter_mut().zip(cosines.rows()).zip(&mut supporters) {
                *supporters += f32::from(u8::from(self.add_support(image, restart, cosines)));
            }
        }
        for (image, supporters) in images.iter_mut().zip(supporters) {
            image.coordinates /= supporters.max(1.0);
            image.multiplier /= supporters.max(1.0);
        }
        images
    }

    /// Adds to `image` what the candidates of `restart` that stand for it are together, if there are some; `cosines` (m) are those of edges.
    fn add_support(&self, image: &mut AgreedImage, restart: &Restart, cosines: ArrayView1<'_, f32>) -> bool {
        let (mut sum, mut total) = (Array1::<f32>::zeros(image.coordinates.len()), 0.0);
        let of_image = (0..cosines.len()).filter(|&i| cosines[i] > SAME && self.labels[i] == image.label);
        for i in of_image {
            sum.scaled_add(restart.multipliers[i], &restart.coordinates.row(i));
            total += restart.multipliers[i];
        }
        if total > 0.0 {
            image.coordinates.scaled_add(1.0 / total, &sum);
            image.multiplier += total;
        }
        total > 0.0
    }

    /// Bias shares of the candidates of each of `restarts` in what is left of the biases.
    fn bias_shares(&self, restarts: &[&Restart], parallelism: Parallelism) -> Vec<Array1<f32>> {
        let network = &self.problem.network;
        let pull = self.problem.head.pull(self.labels.to_vec());
        let mut residual = StationarityResidual::new(network, self.labels.len(), Scope::FirstLayer);
        let known = self.remaining.as_ref().map(|equation| equation.known.view());
        let at = |restart: &&Restart| {
            let at = (restart.coordinates.view(), restart.multipliers.view());
            shares_of_restart(network, &mut residual, &pull, at, known, parallelism)
        };
        restarts.iter().map(at).collect()
    }

    /// What each of `images` gives the neurons, (images, h), up to its multiplier.
    fn deltas_of(&self, images: &[AgreedImage], parallelism: Parallelism) -> Array2<f32> {
        let network = &self.problem.network;
        let coordinates = coordinates(images, self.problem.rank());
        let inputs = concatenate![Axis(1), coordinates, Array2::ones((images.len(), 1))].mapv(f64::from);
        let pull = self.problem.head.pull(images.iter().map(|image| image.label).collect());
        let mut residual = StationarityResidual::new(network, images.len(), Scope::FirstLayer);
        let ones = Array1::ones(images.len());
        residual.evaluate(network, Activation::Relu, &pull, coordinates.view(), ones.view(), parallelism);
        let nothing = Array1::zeros(self.weight.nrows());
        let space = (self.weight.view(), self.basis.view());
        decode_deltas(space, inputs.view(), residual.backpropagated_signals(), &nothing, Pull::Saturated).0
    }
}

/// Those of `images`, (images, rank).
fn coordinates(images: &[AgreedImage], rank: usize) -> Array2<f32> {
    let mut rows = Array2::zeros((images.len(), rank));
    for (mut row, image) in rows.rows_mut().into_iter().zip(images) {
        row.assign(&image.coordinates);
    }
    rows
}
