//! What can be done to weights after training.

use ndarray::Array2;
use palimpsest_mlp::Mlp;
use palimpsest_numerics::seed::{Seed, random_noise};

/// A change of the weights of every layer; biases stay as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Alteration {
    /// Normal noise, of this share of the deviation of a layer's weights.
    Noise { share: f64 },
    /// Each layer's weights to the nearest of 2^bits - 1 even steps between plus and minus its largest.
    Quantised { bits: u32 },
    /// The smallest weights of each layer to 0, so many of them.
    Pruned { share: f64 },
}

impl Alteration {
    /// Changes `network`; what is drawn comes from `seed`.
    pub(super) fn apply(self, network: &mut Mlp<f32>, seed: &Seed) {
        for (l, layer) in network.layers_mut().iter_mut().enumerate() {
            match self {
                Self::Noise { share } => {
                    let (rows, columns) = layer.weight.dim();
                    let deviation = share * deviation(&layer.weight);
                    layer.weight += &random_noise(rows, columns, deviation, &seed.indexed(l as u64));
                }
                Self::Quantised { bits } => quantise(&mut layer.weight, bits),
                Self::Pruned { share } => prune(&mut layer.weight, share),
            }
        }
    }
}

fn deviation(weight: &Array2<f32>) -> f64 {
    let count = weight.len() as f64;
    let mean = weight.iter().map(|&w| f64::from(w)).sum::<f64>() / count;
    (weight.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / count).sqrt()
}

fn quantise(weight: &mut Array2<f32>, bits: u32) {
    let largest = weight.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    if largest > 0.0 {
        let step = largest / (2_f32.powi(bits as i32 - 1) - 1.0);
        weight.mapv_inplace(|w| (w / step).round() * step);
    }
}

fn prune(weight: &mut Array2<f32>, share: f64) {
    let mut sizes: Vec<f32> = weight.iter().map(|w| w.abs()).collect();
    sizes.sort_unstable_by(f32::total_cmp);
    let pruned = (share * sizes.len() as f64).round() as usize;
    if let Some(&bar) = pruned.checked_sub(1).and_then(|last| sizes.get(last)) {
        weight.mapv_inplace(|w| if w.abs() <= bar { 0.0 } else { w });
    }
}

#[cfg(test)]
mod tests {
    use palimpsest_mlp::BiasPlacement;

    use super::*;

    fn altered(alteration: Alteration) -> (Array2<f32>, Array2<f32>) {
        let network = Mlp::<f32>::initialise(&[30, 40, 1], BiasPlacement::FirstLayer, 0.2, Seed::new(1));
        let mut other = network.clone();
        alteration.apply(&mut other, &Seed::new(2));
        (network.layers()[0].weight.clone(), other.layers()[0].weight.clone())
    }

    #[test]
    fn noise_has_its_share() {
        let (before, after) = altered(Alteration::Noise { share: 0.1 });
        let ratio = deviation(&(&after - &before)) / deviation(&before);
        assert!((ratio - 0.1).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn quantised_weights_have_few_values_and_are_near() {
        for bits in [4, 8] {
            let (before, after) = altered(Alteration::Quantised { bits });
            let mut values: Vec<i64> = after.iter().map(|&w| (f64::from(w) * 1e6).round() as i64).collect();
            values.sort_unstable();
            values.dedup();
            assert!(values.len() < 1 << bits, "{} values of {bits} bits", values.len());
            let largest = before.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
            let step = largest / (2_f32.powi(bits as i32 - 1) - 1.0);
            assert!((&after - &before).iter().all(|e| e.abs() <= 0.5001 * step));
        }
    }

    #[test]
    fn the_smallest_weights_are_pruned() {
        let (before, after) = altered(Alteration::Pruned { share: 0.9 });
        let kept: Vec<(f32, f32)> =
            before.iter().copied().zip(after.iter().copied()).filter(|(_, a)| *a != 0.0).collect();
        assert_eq!(kept.len(), 120);
        assert!(kept.iter().all(|(b, a)| a == b));
        let least = kept.iter().map(|(b, _)| b.abs()).fold(f32::INFINITY, f32::min);
        let larger = before.iter().filter(|b| b.abs() > least).count();
        assert_eq!(larger, 119);
    }
}
