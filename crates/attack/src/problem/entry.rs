//! Where an attack enters a network.
//!
//! The rows of the first dense layer lie in the span of the inputs that it was trained on. So that layer is decomposed before anything
//! else, without a decision on how many of its directions are signal. What lies before it, convolutions as a rule, is not part of the
//! network that is attacked: what comes back then are features.

use ndarray::{ArrayView2, s};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::factor::{Svd, svd};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::range::OutOfRange;

use crate::error::AttackError;
use crate::problem::head::{Head, with_one_of_two_outputs};
use crate::problem::prior::PriorKnowledge;

/// The first dense layer of a network, decomposed.
#[derive(Clone, Debug)]
pub struct EntryLayer {
    /// The network, of which two outputs are one.
    pub network: Mlp<f32>,
    /// What its outputs pull on.
    pub head: Head,
    /// Declared prior knowledge.
    pub prior: PriorKnowledge,
    pub(crate) svd: Svd<f32>,
}

/// Directions in which pictures are looked for: separation needs many more edges than directions.
const MOST_DIRECTIONS: usize = 600;
/// The same as a share of the values of an input: pictures with few edges that nobody trained on are in a larger span, too.
pub(crate) const MOST_OF_INPUTS: f64 = 0.25;
/// Directions in which separations say nothing of each other.
pub(crate) const LEAST_DIRECTIONS: usize = 20;

impl EntryLayer {
    /// That of `network`.
    ///
    /// # Errors
    /// [`AttackError`] when the prior is impossible, the network cannot be attacked, or the decomposition fails.
    pub fn of(
        network: &Mlp<f32>,
        prior: PriorKnowledge,
        parallelism: Parallelism,
    ) -> Result<Self, AttackError> {
        prior.check()?;
        let network = with_one_of_two_outputs(network, prior.task);
        let head = Head::of(&network, prior.task)?;
        if let Some(shape) = prior.image_shape
            && shape.iter().try_fold(1_usize, |size, &side| size.checked_mul(side)) != Some(network.inputs())
        {
            let allowed = "sides whose product is the number of inputs";
            let got = format!("{shape:?} for {} inputs", network.inputs());
            return Err(OutOfRange::new("image shape", allowed, got).into());
        }
        if network.depth() < 2 {
            return Err(AttackError::NotAttackable(
                "it has a single layer: every input gives the same gradient up to scale, so nothing separates them".into(),
            ));
        }
        let svd = svd(network.layers()[0].weight.view(), parallelism)?;
        if svd.singular_values.first().is_none_or(|&s| s <= 0.0) {
            return Err(AttackError::NotAttackable("its first layer is zero".into()));
        }
        Ok(Self { network, head, prior, svd })
    }

    /// All singular values, descending.
    pub fn spectrum(&self) -> &[f32] {
        self.svd.singular_values.as_slice().expect("owned arrays are contiguous")
    }

    /// Leading right singular vectors, more than an attack works in, (at most 600 and a quarter of d, d): nested truncations of them are separated without
    /// a rank being chosen.
    pub fn directions(&self) -> ArrayView2<'_, f32> {
        let share = (MOST_OF_INPUTS * self.svd.vt.ncols() as f64) as usize;
        let kept = self.svd.vt.nrows().min(MOST_DIRECTIONS).min(share);
        self.svd.vt.slice(s![..kept, ..])
    }
}
