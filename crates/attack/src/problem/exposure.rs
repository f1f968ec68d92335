//! What the weights say before any attack: whether there is something to find, and how much.

use palimpsest_mlp::Mlp;
use serde::{Deserialize, Serialize};

use crate::problem::later_layers::LaterLayer;
use crate::problem::prepared::AttackProblem;

/// How promising an attack is, estimated from the weights alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExposureLevel {
    /// The first layer holds far fewer directions than it has neurons: inputs can be told apart.
    Promising,
    /// So many directions that a layer of this width separates them badly: some inputs at best.
    Crowded,
    /// Hardly a direction stands out of the initialisation: there is nothing to find.
    NothingLearned,
}

/// What the weights of a network say about an attack on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// The short answer.
    #[serde(rename = "outlook")]
    pub level: ExposureLevel,
    /// Directions of the first layer that stand out of the floor of its initialisation.
    pub rank: usize,
    /// Training examples that the rank suggests: centred inputs span one direction less than they are; a lower bound
    /// where inputs are alike or the floor is high.
    pub examples_suggested: usize,
    /// Neurons of the first layer.
    pub width: usize,
    /// Whether the function is homogeneous in its parameters (no bias after the first layer), as the theory of KKT
    /// points asks.
    pub homogeneous: bool,
    /// The hidden layers after the first. One whose initialisation is forgotten is the mark of weight decay, under which
    /// the stationarity equation is exact and leaks most.
    pub later_layers: Vec<LaterLayer>,
}

/// Below this rank nothing was learned that an attack could separate.
const LEAST_RANK: usize = 3;
/// Share of the width above which directions crowd: twice as many candidates then have more unknowns than equations.
const CROWDED_SHARE: f64 = 0.5;

impl Exposure {
    /// Reads `network` and the problem that was prepared from it.
    pub fn of(network: &Mlp<f32>, problem: &AttackProblem) -> Self {
        let (rank, width) = (problem.rank(), network.layers()[0].weight.nrows());
        let level = if rank < LEAST_RANK {
            ExposureLevel::NothingLearned
        } else if rank as f64 > CROWDED_SHARE * width as f64 {
            ExposureLevel::Crowded
        } else {
            ExposureLevel::Promising
        };
        Self {
            level,
            rank,
            examples_suggested: rank + 1,
            width,
            homogeneous: network.layers()[1..].iter().all(|layer| layer.bias.is_none()),
            later_layers: problem.later_layers.clone(),
        }
    }

    /// Whether a later hidden layer has forgotten its initialisation.
    pub fn decayed(&self) -> bool {
        self.later_layers.iter().any(LaterLayer::is_forgotten)
    }

    /// The findings in a few sentences.
    pub fn sentences(&self) -> String {
        let first = match self.level {
            ExposureLevel::Promising => format!(
                "{} directions of the first layer stand out, few against its {} neurons: an attack has good prospects, on \
                 about {} training examples or more.",
                self.rank, self.width, self.examples_suggested
            ),
            ExposureLevel::Crowded => format!(
                "{} directions of the first layer stand out, many against its {} neurons: the examples crowd, and only \
                 some can be told apart.",
                self.rank, self.width
            ),
            ExposureLevel::NothingLearned => {
                "Hardly a direction of the first layer stands out: it looks untrained, and there is nothing to find."
                    .to_owned()
            }
        };
        let decay = if self.decayed() {
            " Later layers have forgotten their initialisation, the mark of weight decay, under which weights leak most."
        } else {
            ""
        };
        let theory = if self.homogeneous {
            ""
        } else {
            " Layers after the first have a bias, which the theory behind the attack does not cover."
        };
        format!("{first}{decay}{theory}")
    }
}

#[cfg(test)]
mod tests {
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_numerics::gemm::Parallelism;
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::problem::prior::PriorKnowledge;

    fn told(network: &Mlp<f32>, rank: Option<usize>) -> Exposure {
        let problem =
            AttackProblem::prepare(network, PriorKnowledge::default(), rank, Parallelism::Sequential)
                .unwrap();
        Exposure::of(network, &problem)
    }

    #[test]
    fn random_weights_hold_nothing_and_a_few_strong_directions_promise() {
        let random = Mlp::initialise(&[60, 80, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let nothing = told(&random, None);
        assert_eq!(
            (nothing.level, nothing.later_layers[0].merged, nothing.later_layers[0].directions),
            (ExposureLevel::NothingLearned, 40, 0)
        );
        assert!(nothing.homogeneous && !nothing.decayed());
        assert_eq!(told(&random, Some(10)).level, ExposureLevel::Promising);
        assert_eq!(told(&random, Some(50)).level, ExposureLevel::Crowded);
        let biased = Mlp::initialise(&[60, 80, 40, 1], BiasPlacement::Everywhere, 0.1, Seed::new(1));
        assert!(!told(&biased, None).homogeneous);
        assert!(told(&biased, None).sentences().contains("does not cover"));
    }

    #[test]
    fn a_collapsed_layer_is_seen() {
        let mut network = Mlp::initialise(&[60, 80, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let row = network.layers()[1].weight.row(0).to_owned();
        for (k, mut other) in network.layers_mut()[1].weight.rows_mut().into_iter().enumerate() {
            other.assign(&(&row * (1.0 + k as f32)));
        }
        let told = told(&network, Some(10));
        let [layer] = told.later_layers[..] else { panic!("{told:?}") };
        assert_eq!((layer.neurons, layer.merged, layer.directions), (40, 1, 1));
        assert!(told.sentences().contains("weight decay"));
    }
}
