//! The shape of an input as it is declared: channels first as in PyTorch, or last as in Keras, NumPy and PIL.

use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2, Axis};
use palimpsest_mlp::Mlp;
use palimpsest_runs::record::ChannelOrder;

#[cfg(feature = "cli")]
use crate::terminal::Misuse;

/// Channels, height and width of an input, and in which order its values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// Channels, height and width, each at least 1.
    pub sides: [usize; 3],
    /// Whether a network takes its inputs channel by channel or pixel by pixel.
    pub channels: ChannelOrder,
}

impl InputShape {
    /// Of inputs that come channel by channel.
    pub fn channels_first(sides: [usize; 3]) -> Self {
        Self { sides, channels: ChannelOrder::First }
    }

    /// Number of values of an input, if it can be counted.
    pub fn size(self) -> Option<usize> {
        self.sides.iter().try_fold(1_usize, |size, &side| size.checked_mul(side))
    }
}

/// Three sides, of which the smaller of the first and the last are the channels, as in 3x32x32 or 32x32x3; `:first` or `:last`
/// behind them says it where that is not meant, as in 12x40x10:first.
impl FromStr for InputShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected channels, height and width, as in 3x32x32, or with the channels last, as in 32x32x3; got {text}"
            )
        };
        let (sides, said) = match text.split_once(':') {
            None => (text, None),
            Some((sides, "first")) => (sides, Some(ChannelOrder::First)),
            Some((sides, "last")) => (sides, Some(ChannelOrder::Last)),
            Some(_) => return Err(wrong()),
        };
        let sides: Result<Vec<usize>, _> = sides.split('x').map(str::parse).collect();
        let &[a, b, c] = sides.as_deref().map_err(|_| wrong())? else { return Err(wrong()) };
        if [a, b, c].contains(&0) {
            return Err(wrong());
        }
        let channels = said.unwrap_or(if a <= c { ChannelOrder::First } else { ChannelOrder::Last });
        let sides = match channels {
            ChannelOrder::First => [a, b, c],
            ChannelOrder::Last => [c, a, b],
        };
        Ok(Self { sides, channels })
    }
}

/// What [`FromStr`] reads as the same.
impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [channels, height, width] = self.sides;
        match self.channels {
            ChannelOrder::First if channels > width => write!(f, "{channels}x{height}x{width}:first"),
            ChannelOrder::First => write!(f, "{channels}x{height}x{width}"),
            ChannelOrder::Last if height <= channels => write!(f, "{height}x{width}x{channels}:last"),
            ChannelOrder::Last => write!(f, "{height}x{width}x{channels}"),
        }
    }
}

/// Refuses a shape of other than the `inputs` values that a network takes.
#[cfg(feature = "cli")]
pub(crate) fn check_size(shape: InputShape, inputs: usize) -> std::result::Result<(), Misuse> {
    if shape.size() == Some(inputs) {
        return Ok(());
    }
    Err(Misuse(format!(
        "an input of shape {shape} has not the {inputs} values that the network takes; correct --input-shape"
    )))
}

/// `network` as if it took its inputs channel by channel; what is not of that size is left to be refused.
pub(crate) fn to_channels_first(network: &mut Mlp<f32>, shape: InputShape) {
    if shape.channels == ChannelOrder::Last && shape.size() == Some(network.inputs()) {
        let first = &mut network.layers_mut()[0].weight;
        *first = columns_first(first.view(), shape.sides);
    }
}

/// Rows (m, d) of values that stand pixel by pixel, channel by channel.
pub(crate) fn columns_first(rows: ArrayView2<'_, f32>, [channels, height, width]: [usize; 3]) -> Array2<f32> {
    let area = height * width;
    let from: Vec<usize> = (0..channels * area).map(|to| (to % area) * channels + to / area).collect();
    rows.select(Axis(1), &from)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_mlp::passes::outputs;
    use palimpsest_numerics::gemm::Parallelism;
    use palimpsest_numerics::seed::{Seed, random_noise};

    use super::*;

    #[test]
    fn the_smaller_of_the_outer_sides_are_the_channels_unless_it_is_said() {
        use ChannelOrder::{First, Last};
        for (text, sides, channels) in [
            ("3x32x32", [3, 32, 32], First),
            ("1x28x28", [1, 28, 28], First),
            ("32x32x3", [3, 32, 32], Last),
            ("28x28x1", [1, 28, 28], Last),
            ("24x40x4", [4, 24, 40], Last),
            ("2x24x40", [2, 24, 40], First),
            ("12x40x10:first", [12, 40, 10], First),
            ("3x5x9:last", [9, 3, 5], Last),
        ] {
            let shape: InputShape = text.parse().unwrap();
            assert_eq!(shape, InputShape { sides, channels }, "{text}");
            assert_eq!(shape.to_string(), text);
        }
        for wrong in ["", "3x32", "3x32x0", "0x1x1", "3x32x32x1", "3,32,32", "3x32x32:middle", "-3x32x32"] {
            assert!(wrong.parse::<InputShape>().unwrap_err().contains("32x32x3"), "{wrong}");
        }
    }

    #[test]
    fn a_network_brought_to_channels_first_answers_the_same() {
        // Two pixels of three channels.
        let last = array![[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]];
        let first = columns_first(last.view(), [3, 1, 2]);
        assert_eq!(first, array![[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]]);
        let shape: InputShape = "4x5x3".parse().unwrap();
        let network = Mlp::<f32>::initialise(&[60, 7, 2], BiasPlacement::Everywhere, 0.3, Seed::new(1));
        let mut turned = network.clone();
        to_channels_first(&mut turned, shape);
        let inputs = random_noise(3, 60, 1.0, &Seed::new(2));
        let answers = outputs(&network, inputs.view(), Parallelism::Sequential);
        let pictures = columns_first(inputs.view(), shape.sides);
        let same = outputs(&turned, pictures.view(), Parallelism::Sequential);
        assert!((&answers - &same).iter().all(|e| e.abs() < 1e-5));
        let mut other = network.clone();
        to_channels_first(&mut other, "4x4x3".parse().unwrap());
        assert_eq!(other.layers()[0].weight, network.layers()[0].weight);
    }
}
