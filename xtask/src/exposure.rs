//! Whether a network looks as if it could be attacked, told from its weights alone.

use palimpsest_kkt::spectrum::signal_rank;
use palimpsest_mlp::Mlp;
use palimpsest_report::{Attackability, Exposure, Sign};

/// Directions up to which a first layer counts as untouched: an untrained one has a few by chance.
const UNTOUCHED: usize = 3;
/// Share of all directions from which no floor is left to tell signal from.
const NO_FLOOR: f64 = 0.95;

/// What the spectrum of the first layer (singular values, descending) and the shape of `network` say.
pub(crate) fn exposure(network: &Mlp<f32>, spectrum: &[f32]) -> Attackability {
    let first = network.layers()[0].weight.dim();
    let (rank, all) = (signal_rank(spectrum, first), spectrum.len());
    let share = rank as f64 / all as f64;
    let (verdict, sentence) = if rank <= UNTOUCHED {
        let sentence = format!(
            "Only {rank} of {all} directions of the first layer stand out of its random start: training has written \
             next to nothing that this attack could read."
        );
        (Exposure::Unlikely, sentence)
    } else if share >= NO_FLOOR {
        let sentence = format!(
            "Training has written into {rank} of {all} directions of the first layer, so the number of examples cannot \
             be told: there are about as many as directions, or more."
        );
        (Exposure::Unclear, sentence)
    } else {
        let sentence = format!(
            "About {rank} directions of the first layer stand out of its random start: the mark of roughly that many \
             training examples, which this attack can take apart."
        );
        (Exposure::Exposed, sentence)
    };
    let mut signs = vec![Sign {
        name: "directions written by training".into(),
        value: format!("{rank} of {all}"),
        reading: "Gradient descent moves the first layer only along its training inputs; the rest keeps its random start."
            .into(),
    }];
    if let (Some(&last), Some(&floor)) = (spectrum.get(rank - 1), spectrum.get(rank))
        && floor > 0.0
    {
        signs.push(Sign {
            name: "weakest signal above the floor".into(),
            value: format!("{:.1} times", last / floor),
            reading: "The wider this gap, the surer the number of directions.".into(),
        });
    }
    signs.push(Sign {
        name: "neurons a direction".into(),
        value: format!("{:.1}", first.0 as f64 / rank as f64),
        reading:
            "Each neuron of the first layer is one more equation about the examples: more means more exposed."
                .into(),
    });
    let deep = network.layers()[1..].iter().any(|layer| layer.bias.is_some());
    signs.push(Sign {
        name: "biases".into(),
        value: match (network.layers()[0].bias.is_some(), deep) {
            (true, false) => "in the first layer only",
            (true, true) => "in every layer",
            (false, true) => "in later layers only",
            (false, false) => "none",
        }
        .into(),
        reading: if deep {
            "Biases in later layers break the exact theory a little; the attack reads the first layer.".into()
        } else {
            "The network is homogeneous, as the theory wants it.".into()
        },
    });
    Attackability { verdict, sentence, signs }
}

#[cfg(test)]
mod tests {
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_numerics::factor::svd;
    use palimpsest_numerics::gemm::Parallelism;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    #[test]
    fn an_untrained_network_is_not_called_exposed() {
        let network = Mlp::<f32>::initialise(&[60, 80, 20, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let spectrum = svd(network.layers()[0].weight.view(), Parallelism::Sequential).unwrap();
        let found = exposure(&network, spectrum.singular_values.as_slice().unwrap());
        assert_eq!(found.verdict, Exposure::Unlikely, "{}", found.sentence);
    }

    #[test]
    fn a_spectrum_with_a_floor_is_exposed_and_one_without_is_unclear() {
        let network = Mlp::<f32>::initialise(&[60, 80, 20, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let mut floor: Vec<f32> = vec![1.0; 60];
        floor[..20].fill(50.0);
        let found = exposure(&network, &floor);
        assert_eq!(found.verdict, Exposure::Exposed);
        assert!(found.sentence.contains("About 20 directions") && found.signs.len() == 4, "{found:?}");
        let steep: Vec<f32> = (0..60).map(|i| 0.7_f32.powi(i)).collect();
        assert_eq!(exposure(&network, &steep).verdict, Exposure::Unclear);
    }
}
