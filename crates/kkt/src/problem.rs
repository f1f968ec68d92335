//! What an attack is given: a network, declared prior knowledge, and nothing else.

use ndarray::{Array2, ArrayView2, s};
use palimpsest_mlp::{InputSubspace, Mlp};
use palimpsest_numerics::factor::svd;
use palimpsest_numerics::gemm::Parallelism;
use serde::{Deserialize, Serialize};

use crate::KktError;
use crate::later_layers::{LaterLayer, probes, reduce_later_layers};
use crate::spectrum::signal_rank;

/// What the attacker declares to know besides the weights. Everything here is written into the run's record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PriorKnowledge {
    /// Smallest and largest raw input value, before the mean was removed: (0, 1) for images.
    pub input_range: (f64, f64),
    /// Typical Euclidean norm of a centred input, if known; otherwise a generic value is derived from the range.
    pub input_norm: Option<f64>,
    /// Channels, height and width of an input, if inputs are images: what [`crate::separation`] needs.
    pub image_shape: Option<[usize; 3]>,
}

impl Default for PriorKnowledge {
    /// Inputs between 0 and 1, norm and shape unknown.
    fn default() -> Self {
        Self { input_range: (0.0, 1.0), input_norm: None, image_shape: None }
    }
}

impl PriorKnowledge {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`KktError::BadOption`].
    pub fn check(&self) -> Result<(), KktError> {
        let (low, high) = self.input_range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(KktError::BadOption {
                name: "input range",
                allowed: "two finite numbers, the smaller first",
                got: format!("{low},{high}"),
            });
        }
        if let Some(norm) = self.input_norm
            && !(norm.is_finite() && norm > 0.0)
        {
            return Err(KktError::BadOption {
                name: "input norm",
                allowed: "a finite number above 0",
                got: norm.to_string(),
            });
        }
        Ok(())
    }

    /// The declared norm of a centred input, or that of a typical natural image of `inputs` values: a quarter of the
    /// range in every value.
    pub fn norm(&self, inputs: usize) -> f64 {
        let (low, high) = self.input_range;
        self.input_norm.unwrap_or(0.25 * (high - low) * (inputs as f64).sqrt())
    }
}

/// Neurons for each coordinate below which a signal is not told from chance, or only after a very long search.
const LEAST_NEURONS: usize = 4;
/// How far the last direction of the weights must stand above the first of the floor of their initialisation: below it there
/// would be more directions of inputs, and signals are made of all of them.
const LEAST_CLEARANCE: f32 = 2.0;

/// A network prepared for attack: its first layer in its own leading singular subspace.
#[derive(Clone, Debug)]
pub struct AttackProblem {
    /// The network on r coordinates, its later layers reduced to what training has written.
    pub network: Mlp<f32>,
    /// From coordinates to inputs and back.
    pub subspace: InputSubspace<f32>,
    /// All singular values of the first layer, descending.
    pub spectrum: Vec<f32>,
    /// Declared prior knowledge.
    pub prior: PriorKnowledge,
    /// Number of inputs, d.
    pub inputs: usize,
    /// The hidden layers after the first, as they were found.
    pub later_layers: Vec<LaterLayer>,
}

impl AttackProblem {
    /// Prepares `network`; `rank` is the number of coordinates, or [`signal_rank`] of the spectrum if not given.
    ///
    /// # Errors
    /// [`KktError`] when the prior or rank is impossible, the network cannot be attacked, or the SVD fails.
    pub fn prepare(
        network: &Mlp<f32>,
        prior: PriorKnowledge,
        rank: Option<usize>,
        parallelism: Parallelism,
    ) -> Result<Self, KktError> {
        prior.check()?;
        if let Some(shape) = prior.image_shape
            && shape.iter().try_fold(1_usize, |size, &side| size.checked_mul(side)) != Some(network.inputs())
        {
            return Err(KktError::BadOption {
                name: "image shape",
                allowed: "sides whose product is the number of inputs",
                got: format!("{shape:?} for {} inputs", network.inputs()),
            });
        }
        if network.depth() < 2 {
            return Err(KktError::NotAttackable(
                "it has a single layer: every input gives the same gradient up to scale, so nothing separates them".into(),
            ));
        }
        let first = network.layers()[0].weight.view();
        let svd = svd(first, parallelism)?;
        let spectrum = svd.singular_values.to_vec();
        if spectrum.first().is_none_or(|&s| s <= 0.0) {
            return Err(KktError::NotAttackable("its first layer is zero".into()));
        }
        let largest = spectrum.len();
        let rank = rank.unwrap_or_else(|| signal_rank(&spectrum, first.dim()));
        if rank == 0 || rank > largest {
            return Err(KktError::BadOption {
                name: "rank",
                allowed: "between 1 and the smaller side of the first layer",
                got: format!("{rank} (side {largest})"),
            });
        }
        let subspace = InputSubspace::leading(&svd, rank);
        let inputs = network.inputs();
        let projected = subspace.project_network(network, parallelism);
        let probes = probes(&spectrum[..rank], prior.norm(inputs));
        let (network, later_layers) = reduce_later_layers(&projected, probes.view(), parallelism);
        Ok(Self { network, subspace, spectrum, prior, inputs, later_layers })
    }

    /// Coordinates, r.
    pub fn rank(&self) -> usize {
        self.subspace.rank()
    }

    /// Whether the first layer's equation looks exact: weight decay made the network forget its initialisation, and there are few
    /// directions for the neurons.
    pub(crate) fn is_exact(&self) -> bool {
        let first = &self.network.layers()[0];
        let (last, floor) = (self.spectrum[self.rank() - 1], self.spectrum.get(self.rank()));
        let clear = floor.is_none_or(|floor| last >= LEAST_CLEARANCE * floor);
        let decayed = self.later_layers.iter().all(LaterLayer::is_forgotten);
        let few = LEAST_NEURONS * (self.rank() + 1) <= first.weight.nrows();
        first.bias.is_some() && clear && decayed && few
    }

    /// Inputs (m, d) with the coordinates `z` (m, r).
    pub fn lift(&self, z: ArrayView2<'_, f32>, parallelism: Parallelism) -> Array2<f32> {
        self.subspace.lift(z, parallelism)
    }

    /// First layer on coordinates with its bias as last column, (h, r + 1); without a bias, (h, r).
    pub(crate) fn first_layer_target(&self) -> Array2<f32> {
        let first = &self.network.layers()[0];
        let (h, r) = first.weight.dim();
        let mut target = Array2::zeros((h, r + usize::from(first.bias.is_some())));
        target.slice_mut(s![.., ..r]).assign(&first.weight);
        if let Some(bias) = &first.bias {
            target.column_mut(r).assign(bias);
        }
        target
    }
}
