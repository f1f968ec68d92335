//! Networks that hold none of the images they are judged by: all that may be called sure of them is the noise that one was
//! trained on.

use std::fmt;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use palimpsest::judging::data::{DataArgs, HELD_OUT};
use palimpsest_datasets::{DataName, Dataset, InputShape};
use palimpsest_metrics::null_model::random_noise;
use palimpsest_mlp::Mlp;
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_numerics::seed::Seed;
use rand::seq::SliceRandom;

/// Where a network without the images comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Null {
    /// Weights as training begins with them.
    Random,
    /// The weights of a trained network, in each layer in another order, biases likewise.
    Shuffled,
    /// A network trained like the others, on images of noise whose labels say nothing.
    Noise,
}

impl Null {
    pub(super) const ALL: [Self; 3] = [Self::Random, Self::Shuffled, Self::Noise];
}

impl fmt::Display for Null {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Shuffled => "shuffled",
            Self::Noise => "noise",
        })
    }
}

/// Reorders the values of every weight matrix, and those of every bias.
pub(super) fn shuffle(network: &mut Mlp<f32>, seed: &Seed) {
    for (l, layer) in network.layers_mut().iter_mut().enumerate() {
        let mut rng = seed.indexed(l as u64).rng();
        for values in [layer.weight.as_slice_mut(), layer.bias.as_mut().and_then(|bias| bias.as_slice_mut())]
        {
            values.into_iter().for_each(|values| values.shuffle(&mut rng));
        }
    }
}

/// Where the noise in `folder` is, in the place of the images that `real` names.
pub(super) fn noise_data(real: &DataArgs, folder: &Path) -> Result<DataArgs> {
    let (data_dir, task) = (Some(folder.to_path_buf()), "1/0".parse()?);
    Ok(DataArgs { data: DataName::Npz, data_dir, task, counts: None, block: None, ..real.clone() })
}

/// Writes n images of noise to train on, and others to hold out: pixels are normal around 0.5 with a deviation of 0.25, cut to [0, 1],
/// labels 0 and 1 in turn.
pub(super) fn write_noise(n: usize, shape: InputShape, folder: &Path, seed: &Seed) -> Result<()> {
    for (name, count) in [("train.npz", n), ("test.npz", HELD_OUT)] {
        let pixels = random_noise(count, shape.size(), 0.25, &seed.named(name));
        let labels = Array1::from_iter((0..count).map(|i| u8::from(i % 2 == 1)));
        let path = folder.join(name);
        let bytes = archive(pixels.mapv(|v| (v + 0.5).clamp(0.0, 1.0)), shape, &labels)
            .with_context(|| format!("cannot encode {}", path.display()))?;
        write_atomically(&path, &bytes)?;
    }
    Ok(())
}

/// Writes `examples` to train on, and the first of them again where held-out ones are expected.
pub(super) fn write_examples(examples: &Dataset, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for name in ["train.npz", "test.npz"] {
        let labels = Array1::from(examples.labels().to_vec());
        let bytes = archive(examples.inputs().to_owned(), examples.shape(), &labels)?;
        write_atomically(&folder.join(name), &bytes)?;
    }
    Ok(())
}

fn archive(inputs: Array2<f32>, shape: InputShape, labels: &Array1<u8>) -> Result<Vec<u8>> {
    let mut sides = vec![inputs.nrows()];
    match shape {
        InputShape::Image { channels, height, width } => sides.extend([channels, height, width]),
        InputShape::Vector { len } => sides.push(len),
    }
    let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
    writer.add_array("inputs", &inputs.into_shape_with_order(sides)?)?;
    writer.add_array("labels", labels)?;
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use palimpsest::judging::data::VictimData;
    use palimpsest_mlp::BiasPlacement;

    use super::*;

    #[test]
    fn shuffled_weights_are_the_same_in_another_order() {
        let network = Mlp::<f32>::initialise(&[6, 5, 4, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let mut shuffled = network.clone();
        shuffle(&mut shuffled, &Seed::new(2));
        let sorted = |values: Vec<f32>| {
            let mut values = values;
            values.sort_by(f32::total_cmp);
            values
        };
        for (before, after) in network.layers().iter().zip(shuffled.layers()) {
            assert_ne!(before.weight, after.weight);
            let weights = [before, after].map(|layer| sorted(layer.weight.iter().copied().collect()));
            assert_eq!(weights[0], weights[1]);
        }
        let biases = [&network, &shuffled].map(|n| n.layers()[0].bias.clone().unwrap().to_vec());
        assert_ne!(biases[0], biases[1]);
        assert_eq!(sorted(biases[0].clone()), sorted(biases[1].clone()));
    }

    #[test]
    fn noise_is_read_back_as_images_of_the_shape_and_number_of_the_real_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (data, task) = ("mnist".parse().unwrap(), "odd-even".parse().unwrap());
        let real = DataArgs::balanced(data, task, 10);
        let shape = VictimData::load(&real).unwrap().shape;
        write_noise(10, shape, folder.path(), &Seed::new(3)).unwrap();
        let noise = VictimData::load(&noise_data(&real, folder.path()).unwrap()).unwrap();
        assert_eq!((noise.shape, noise.centered.dim()), (shape, (10, 784)));
        assert_eq!(noise.held_out.count(), HELD_OUT);
        assert_eq!(noise.signs().unwrap().iter().map(|&sign| i32::from(sign)).sum::<i32>(), 0);
        let pixels = noise.train.dataset.inputs();
        let mean = pixels.mean().unwrap();
        assert!(pixels.iter().all(|v| (0.0..=1.0).contains(v)) && (mean - 0.5).abs() < 0.02, "{mean}");
    }
}
