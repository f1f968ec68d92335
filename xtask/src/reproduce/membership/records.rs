//! Records that are asked about.

use anyhow::Result;
use ndarray::{Array1, Array2};

/// Records with what they are: members first.
pub(super) struct Records {
    pub(super) members: usize,
    /// As they are in the file, (m, d).
    pub(super) raw: Array2<f32>,
    /// Labels of the file, (m).
    pub(super) labels: Vec<u8>,
}

/// Rows of equal length as a matrix.
pub(super) fn stacked(rows: &[Array1<f64>]) -> Result<Array2<f64>> {
    let columns = rows.first().map_or(0, Array1::len);
    let flat: Vec<f64> = rows.iter().flatten().copied().collect();
    Ok(Array2::from_shape_vec((rows.len(), columns), flat)?)
}
