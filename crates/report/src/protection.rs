//! What would have protected a network, as it was measured on others.

use serde::{Deserialize, Serialize};

/// What was measured of networks like the one that was attacked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protection {
    /// What was measured, and how near that is, as sentences.
    pub setting: Vec<String>,
    /// One line each, as measured.
    pub rows: Vec<ProtectionRow>,
}

/// One way of training, or of changing the weights, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProtectionRow {
    /// What it is.
    pub defence: String,
    /// Per cent of the held-out examples that the network answers right.
    pub test_accuracy: f64,
    /// Training inputs that an attack brought back nearly exactly.
    pub nearly_exact: usize,
    /// Of so many.
    pub of: usize,
    /// Per cent of the training inputs that are told to be members, at one wrong in a thousand.
    pub members: f64,
}
