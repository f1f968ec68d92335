//! How the separations went.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// How the separations went.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct Diagnostics {
    /// Ranks of the truncations.
    pub ranks: Vec<usize>,
    /// Pictures that most operators agree on, of each truncation.
    pub confirmed: Vec<usize>,
    /// Those that no smaller truncation had confirmed, of each truncation.
    pub new: Vec<usize>,
    /// Whether an observer ended the separations before they had seen all.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ended_early: bool,
}
