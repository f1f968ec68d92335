//! A network prepared for attack.

use ndarray::{Array1, Array2, ArrayView2, s};
use palimpsest_mlp::{InputSubspace, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::OutOfRange;
use palimpsest_numerics::reduce;

use crate::error::AttackError;
use crate::problem::entry::EntryLayer;
use crate::problem::head::Head;
use crate::problem::image_prior::ImagePrior;
use crate::problem::later_layers::{LaterLayer, probes, reduce_later_layers};
use crate::problem::prior::PriorKnowledge;
use crate::problem::spectrum::spectral_rank;

/// How much longer inputs are than the signal of the first layer's weights is beside its biases. An input gives the weights its
/// length times what it gives the biases, where more cancels; set on rows, and 2 to 3.4 on networks trained on centred images
/// (`docs/decisions/0021-norms-of-rows.md`).
const LENGTHENING: f64 = 2.0;

/// Norm of an input estimated from the `spectrum` that stands out of the first layer's weights and from its `bias`; nothing where
/// that is missing or zero.
fn norm_told(spectrum: &[f32], bias: Option<&Array1<f32>>) -> Option<f64> {
    let bias = reduce::norm(bias?.view());
    let weights = spectrum.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>().sqrt();
    let norm = LENGTHENING * weights / bias;
    (norm.is_finite() && norm > 0.0).then_some(norm)
}

/// Neurons for each coordinate below which a first-layer delta cannot be distinguished from chance, or only after a very long search.
const LEAST_NEURONS: usize = 4;
/// How far the last direction of the weights must stand above the first of the floor of their initialisation: below it there
/// would be more directions of inputs, and first-layer deltas are made of all of them.
const LEAST_CLEARANCE: f32 = 2.0;
/// Directions that do not stand clear of it, as a share of all, up to which the others are worth a search for activation patterns: 0.02 and 0.03 on
/// photographs and garments, 0.14 on faces, of which 41 of 100 are below (`docs/decisions/0033-patterns-and-pictures.md`).
const MOST_NEAR_FLOOR: f64 = 0.05;

/// A network prepared for attack: its first layer in its own leading singular subspace.
#[derive(Clone, Debug)]
pub struct AttackProblem {
    /// The network on r coordinates, its later layers reduced to what training has written.
    pub network: Mlp<f32>,
    /// From coordinates to inputs and back.
    pub subspace: InputSubspace<f32>,
    /// All singular values of the first layer, descending.
    pub spectrum: Vec<f32>,
    /// What the outputs pull on.
    pub head: Head,
    /// Declared prior knowledge.
    pub prior: PriorKnowledge,
    /// Number of inputs, d.
    pub inputs: usize,
    /// Typical norm of an input as the network saw it: the declared one; if not declared, for images that of a natural image in the
    /// declared range, and for rows of plain numbers, whose units nobody knows, what the first layer's weights and biases tell (without biases, as
    /// for images).
    pub input_norm: f64,
    /// The hidden layers after the first, as they were found.
    pub later_layers: Vec<LaterLayer>,
    /// What is true of inputs if they are images.
    pub image_prior: Option<ImagePrior>,
}

impl AttackProblem {
    /// Prepares `network`; `rank` is the number of coordinates, or [`spectral_rank`] of the spectrum if not given.
    ///
    /// # Errors
    /// [`AttackError`] when the prior or rank is impossible, the network cannot be attacked, or the SVD fails.
    pub fn prepare(
        network: &Mlp<f32>,
        prior: PriorKnowledge,
        rank: Option<usize>,
        parallelism: Parallelism,
    ) -> Result<Self, AttackError> {
        Self::enter(&EntryLayer::of(network, prior, parallelism)?, rank, parallelism)
    }

    /// [`AttackProblem::prepare`] from a first layer that is decomposed.
    ///
    /// # Errors
    /// [`AttackError::BadOption`] when the rank is impossible, [`AttackError::Factor`] when the directions of images are not finite.
    pub fn enter(
        entry: &EntryLayer,
        rank: Option<usize>,
        parallelism: Parallelism,
    ) -> Result<Self, AttackError> {
        let EntryLayer { network, head, prior, svd } = entry;
        let (head, prior, spectrum) = (*head, *prior, entry.spectrum().to_vec());
        let largest = spectrum.len();
        let rank = rank.unwrap_or_else(|| spectral_rank(&spectrum, network.layers()[0].weight.dim()));
        if rank == 0 || rank > largest {
            let allowed = "between 1 and the smaller side of the first layer";
            return Err(OutOfRange::new("rank", allowed, format!("{rank} (side {largest})")).into());
        }
        let subspace = InputSubspace::leading(svd, rank);
        let inputs = network.inputs();
        let projected = subspace.project_network(network, parallelism);
        let input_norm = match (prior.input_norm, prior.image_shape) {
            (Some(declared), _) => declared,
            (None, Some(_)) => prior.norm_of_image(inputs),
            (None, None) => norm_told(&spectrum[..rank], network.layers()[0].bias.as_ref())
                .unwrap_or_else(|| prior.norm_of_image(inputs)),
        };
        let probes = probes(&spectrum[..rank], input_norm);
        let (network, later_layers) = reduce_later_layers(&projected, head, probes.view(), parallelism);
        let weight = network.layers()[0].weight.view();
        let image_prior =
            prior.image_shape.map(|shape| ImagePrior::of(&subspace, shape, weight, parallelism));
        let image_prior = image_prior.transpose()?;
        Ok(Self { network, subspace, spectrum, head, prior, inputs, input_norm, later_layers, image_prior })
    }

    /// Coordinates, r.
    pub fn rank(&self) -> usize {
        self.subspace.rank()
    }

    /// Whether the first layer's equation looks exact: weight decay made the network forget its initialisation, and there are few
    /// directions for the neurons.
    pub(crate) fn is_exact(&self) -> bool {
        let (last, floor) = (self.spectrum[self.rank() - 1], self.spectrum.get(self.rank()));
        self.has_patterns() && floor.is_none_or(|floor| last >= LEAST_CLEARANCE * floor)
    }

    /// Whether first-layer deltas differ from chance: weight decay made the later layers forget their initialisation, there are few
    /// directions for the neurons, and few of these are near the floor of the initialisation, so that about as few are below it.
    pub(crate) fn has_patterns(&self) -> bool {
        let first = &self.network.layers()[0];
        let few = LEAST_NEURONS * (self.rank() + 1) <= first.weight.nrows();
        let (spectrum, floor) = self.spectrum.split_at(self.rank());
        let near = |floor: f32| spectrum.iter().filter(|&&s| s < LEAST_CLEARANCE * floor).count();
        let near_floor = floor.first().map_or(0, |&floor| near(floor));
        let few_near = near_floor as f64 <= MOST_NEAR_FLOOR * self.rank() as f64;
        first.bias.is_some() && self.is_decayed() && few && few_near
    }

    /// Whether the later layers have forgotten their initialisation, as weight decay makes them.
    pub(crate) fn is_decayed(&self) -> bool {
        self.later_layers.iter().all(LaterLayer::is_forgotten)
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

#[cfg(test)]
mod tests {
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_numerics::factor::svd;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    #[test]
    fn the_norm_of_rows_is_told_from_the_weights_and_that_of_images_from_the_range() {
        let norm = |network: &Mlp<f32>, prior: PriorKnowledge| {
            AttackProblem::prepare(network, prior, Some(3), Parallelism::Sequential).unwrap().input_norm
        };
        let rows = PriorKnowledge::default();
        let mut network = Mlp::<f32>::initialise(&[4, 30, 1], BiasPlacement::FirstLayer, 0.2, Seed::new(1));
        network.layers_mut()[0].bias.as_mut().unwrap().fill(0.5);
        let told = norm(&network, rows);
        let spectrum =
            svd(network.layers()[0].weight.view(), Parallelism::Sequential).unwrap().singular_values;
        let signal = spectrum.iter().take(3).map(|&s| f64::from(s).powi(2)).sum::<f64>().sqrt();
        assert!((told - 2.0 * signal / (0.5 * 30_f64.sqrt())).abs() < 1e-6 * told, "{told}");

        let image = PriorKnowledge { image_shape: Some([1, 2, 2]), input_range: (-1.0, 1.0), ..rows };
        assert_eq!(norm(&network, image), 1.0, "a quarter of the range in each of four values");
        for prior in [rows, image] {
            assert_eq!(norm(&network, PriorKnowledge { input_norm: Some(7.0), ..prior }), 7.0);
        }
        // Biases that say nothing.
        network.layers_mut()[0].bias.as_mut().unwrap().fill(0.0);
        assert_eq!(norm(&network, rows), 0.5);
        network.layers_mut()[0].bias = None;
        assert_eq!(norm(&network, rows), 0.5);
    }
}
