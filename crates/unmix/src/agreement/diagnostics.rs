//! How the separations went.

use serde::{Deserialize, Serialize};

/// How the separations went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnostics {
    /// Ranks of the truncations.
    pub ranks: Vec<usize>,
    /// Pictures that most operators agree on, of each truncation.
    pub confirmed: Vec<usize>,
    /// Those that no smaller truncation had confirmed, of each truncation.
    pub new: Vec<usize>,
}
