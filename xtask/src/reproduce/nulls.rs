//! Networks that do not hold the images they are judged by, or not as the attack expects: all that may be called sure of them is what
//! they were trained on.

use std::fmt;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use palimpsest::judging::data::{DataArgs, HELD_OUT, VictimData};
use palimpsest_datasets::{Block, DataName, Dataset, InputShape};
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::null_model::{permuted_neurons, random_noise};
use palimpsest_metrics::pink_noise::pink_noise;
use palimpsest_mlp::Mlp;
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_numerics::seed::Seed;
use rand::seq::SliceRandom;

/// Where a network comes from that does not hold the images, or not as the attack expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Null {
    /// Weights as training begins with them.
    Random,
    /// The weights of a trained network, in each layer in another order, biases likewise.
    Shuffled,
    /// A trained network whose first layer's neurons have changed places, the later layers kept: its rows still span the images, its
    /// equation does not hold.
    Neurons,
    /// A network trained like the others, on images of noise whose labels say nothing.
    Noise,
    /// The same on noise whose spectrum is that of photographs.
    PinkNoise,
    /// A network trained on other images of the same kind, those of another block.
    OtherImages,
    /// A network trained on these images, with labels at random.
    RandomLabels,
}

impl Null {
    pub(super) const ALL: [Self; 7] = [
        Self::Random,
        Self::Shuffled,
        Self::Neurons,
        Self::Noise,
        Self::PinkNoise,
        Self::OtherImages,
        Self::RandomLabels,
    ];

    /// What the network was trained on in the place of `real`, where that is something else; its files are in `folder`.
    pub(super) fn trained_on(self, real: &DataArgs, folder: &Path) -> Result<Option<DataArgs>> {
        Ok(match self {
            Self::Random | Self::Shuffled | Self::Neurons => None,
            Self::Noise | Self::PinkNoise | Self::RandomLabels => Some(archived(real, folder)?),
            Self::OtherImages => Some(DataArgs { block: Some(other_block(real)?), ..real.clone() }),
        })
    }

    /// What it is, for the table.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Random => "weights as training begins with them",
            Self::Shuffled => "trained weights in another order",
            Self::Neurons => "neurons of the first layer exchanged",
            Self::Noise => "trained on noise",
            Self::PinkNoise => "trained on 1/f noise",
            Self::OtherImages => "trained on other images",
            Self::RandomLabels => "trained on these images with labels at random",
        }
    }

    /// Whether the images are in its rows all the same.
    pub(super) fn holds_the_images(self) -> bool {
        matches!(self, Self::Neurons | Self::RandomLabels)
    }

    /// Writes what it is trained on into `folder`, where that is no data set: as many images as `real` has, and others to hold out.
    pub(super) fn write(self, real: &DataArgs, folder: &Path, seed: &Seed) -> Result<()> {
        let data = VictimData::load(real)?;
        let n = data.train.count();
        for (name, count, images) in [("train.npz", n, &data.train), ("test.npz", HELD_OUT, &data.held_out)] {
            let seed = seed.named(name);
            let pixels = match (self, data.shape) {
                (Self::Noise, shape) => {
                    random_noise(count, shape.size(), 0.25, &seed).mapv(|v| (v + 0.5).clamp(0.0, 1.0))
                }
                (Self::PinkNoise, InputShape::Image { channels, height, width }) => {
                    pink_noise(count, ImageShape { channels, height, width }, &seed)
                }
                (Self::RandomLabels, _) => images.dataset.inputs().to_owned(),
                _ => return Ok(()),
            };
            let mut labels: Vec<u8> = (0..pixels.nrows()).map(|i| u8::from(i % 2 == 1)).collect();
            if self == Self::RandomLabels {
                labels.shuffle(&mut seed.named("labels").rng());
            }
            let path = folder.join(name);
            let bytes = archive(pixels, data.shape, &Array1::from(labels))
                .with_context(|| format!("cannot encode {}", path.display()))?;
            write_atomically(&path, &bytes)?;
        }
        Ok(())
    }
}

/// A block that shares no image with that of `real`.
fn other_block(real: &DataArgs) -> Result<Block> {
    let positions = |block: Block| block.positions(real.data);
    let is_apart = |other: &Block| match real.block {
        // The first examples of the file.
        None => *other == Block::Report,
        Some(block) => positions(block)
            .zip(positions(*other))
            .is_none_or(|(own, other)| own.end <= other.start || other.end <= own.start),
    };
    let others = [Block::Report, Block::Dev, Block::Calibrate];
    others.into_iter().find(is_apart).context("the block holds images of every other one; name a smaller one")
}

impl fmt::Display for Null {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random => "random",
            Self::Shuffled => "shuffled",
            Self::Neurons => "neurons",
            Self::Noise => "noise",
            Self::PinkNoise => "pink-noise",
            Self::OtherImages => "other-images",
            Self::RandomLabels => "random-labels",
        })
    }
}

/// Gives the neurons of the first layer other places, the later layers stay.
pub(super) fn exchange_neurons(network: &mut Mlp<f32>, seed: &Seed) {
    let first = &mut network.layers_mut()[0];
    let bias = first.bias.as_ref().map(|bias| bias.view());
    let (weight, bias) = permuted_neurons(first.weight.view(), bias, seed);
    (first.weight, first.bias) = (weight, bias);
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

/// The archives in `folder`, in the place of the images that `real` names.
fn archived(real: &DataArgs, folder: &Path) -> Result<DataArgs> {
    let (data_dir, task) = (Some(folder.to_path_buf()), "1/0".parse()?);
    Ok(DataArgs { data: DataName::Npz, data_dir, task, counts: None, block: None, ..real.clone() })
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
    fn exchanged_neurons_keep_their_rows_and_lose_their_places() {
        let network = Mlp::<f32>::initialise(&[6, 5, 4, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let mut exchanged = network.clone();
        exchange_neurons(&mut exchanged, &Seed::new(2));
        let (before, after) = (&network.layers()[0], &exchanged.layers()[0]);
        assert_ne!(before.weight, after.weight);
        for (row, bias) in after.weight.rows().into_iter().zip(after.bias.as_ref().unwrap()) {
            let same = |i: &usize| before.weight.row(*i) == row && before.bias.as_ref().unwrap()[*i] == *bias;
            assert_eq!((0..5).filter(same).count(), 1);
        }
        assert_eq!(network.layers()[1].weight, exchanged.layers()[1].weight);
    }

    #[test]
    fn what_is_written_is_read_back_as_images_of_the_shape_and_number_of_the_real_ones() {
        let (data, task) = ("mnist".parse().unwrap(), "odd-even".parse().unwrap());
        let real = DataArgs::balanced(data, task, 10);
        let original = VictimData::load(&real).unwrap();
        for null in [Null::Noise, Null::PinkNoise, Null::RandomLabels] {
            let folder = tempfile::tempdir().unwrap();
            null.write(&real, folder.path(), &Seed::new(3)).unwrap();
            let written = null.trained_on(&real, folder.path()).unwrap().unwrap();
            let written = VictimData::load(&written).unwrap();
            assert_eq!((written.shape, written.centered.dim()), (original.shape, (10, 784)));
            assert_eq!(written.held_out.count(), HELD_OUT);
            assert_eq!(written.signs().unwrap().iter().map(|&sign| i32::from(sign)).sum::<i32>(), 0);
            let pixels = written.train.dataset.inputs();
            assert!(pixels.iter().all(|v| (0.0..=1.0).contains(v)), "{null}");
        }
    }

    #[test]
    fn other_images_are_of_another_block() {
        let real = DataArgs::balanced("mnist".parse().unwrap(), "odd-even".parse().unwrap(), 10);
        for block in [None, Some(Block::Dev), Some(Block::Report)] {
            let real = DataArgs { block, ..real.clone() };
            let other = Null::OtherImages.trained_on(&real, Path::new("unused")).unwrap().unwrap();
            assert_ne!(other.block, block);
            assert!(other.block.is_some());
        }
        let of = |first, end| {
            let real = DataArgs { block: Some(Block::Range { first, end }), ..real.clone() };
            Null::OtherImages
                .trained_on(&real, Path::new("unused"))
                .map(|other| other.unwrap().block.unwrap())
        };
        assert_eq!(of(20_000, 21_000).unwrap(), Block::Report);
        assert_eq!(of(9_000, 21_000).unwrap(), Block::Dev, "the range begins inside of report");
        assert!(of(0, 21_000).is_err());
    }
}
