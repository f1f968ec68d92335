//! Activations as files name them.

use std::fmt;

use super::naming::shown;

/// The activation between layers, in files that name it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StoredActivation {
    /// `max(z, 0)`.
    Relu,
    /// `z` where positive, else `slope z`.
    LeakyRelu {
        /// Slope where negative.
        slope: f64,
    },
    /// Another, or several, as the file calls it.
    Named(String),
}

impl fmt::Display for StoredActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relu => f.write_str("ReLU"),
            Self::LeakyRelu { slope } => write!(f, "leaky ReLU of slope {slope}"),
            Self::Named(name) => f.write_str(&shown(name)),
        }
    }
}
