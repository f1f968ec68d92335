//! What is done to raw inputs before a network sees them, as `--normalize` spells it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What is done to raw inputs before the network sees them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Normalize {
    /// The mean of the training inputs is taken off.
    MeanImage,
    /// Nothing.
    None,
    /// Mean and deviation of each channel, or of all.
    Channels(Vec<(f32, f32)>),
}

impl FromStr for Normalize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean-image" => return Ok(Self::MeanImage),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let numbers = text.split(',').map(|v| v.trim().parse::<f32>().ok().filter(|v| v.is_finite()));
        let numbers = numbers
            .collect::<Option<Vec<f32>>>()
            .filter(|n| n.len() % 2 == 0)
            .ok_or("it must be mean-image, none, or as many means as deviations, as in 0.5,0.5")?;
        let (means, deviations) = numbers.split_at(numbers.len() / 2);
        if deviations.iter().any(|&std| std <= 0.0) {
            return Err("deviations must be above 0".into());
        }
        Ok(Self::Channels(means.iter().copied().zip(deviations.iter().copied()).collect()))
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MeanImage => f.write_str("mean-image"),
            Self::None => f.write_str("none"),
            Self::Channels(channels) => {
                let list = |values: Vec<f32>| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
                let (means, deviations) = channels.iter().copied().unzip();
                write!(f, "{},{}", list(means), list(deviations))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisations_are_read_and_written() {
        for text in ["mean-image", "none", "0.5,0.25", "0.1,0.2,0.3,0.4,0.5,0.6"] {
            assert_eq!(text.parse::<Normalize>().unwrap().to_string(), text);
        }
        for wrong in ["", "0.5", "0.5,0", "0.5,-1", "a,b", "0.5,NaN"] {
            assert!(wrong.parse::<Normalize>().is_err(), "{wrong}");
        }
    }
}
