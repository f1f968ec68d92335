//! Multipliers of records, all at once: how much of the weights each explains when all others may explain it, too.

use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::nnls::nnls;

use super::population::row_products;

/// Most records whose multipliers are solved for at once.
pub const MOST_RECORDS: usize = 3000;

/// Non-negative `l` that minimise `||W - sum_i l_i a_i x_i^T||` over all `records` x (m, d) with left factors a (m, h); nothing when
/// there are more than [`MOST_RECORDS`] or the system does not settle.
///
/// Only meaningful relative to each other, and only where most members are among the records: what others are there explain
/// what is missing.
///
/// # Panics
/// When shapes differ.
pub fn multipliers(
    weight: ArrayView2<'_, f64>,
    left: ArrayView2<'_, f64>,
    records: ArrayView2<'_, f64>,
    parallelism: Parallelism,
) -> Option<Array1<f64>> {
    if records.nrows() > MOST_RECORDS {
        return None;
    }
    // Unit factors: what is solved for is how much of the weights a record explains, whatever its own size.
    let (left, records) = (unit_rows(left), unit_rows(records));
    let mut gram = matmul(left.view(), left.t(), parallelism);
    gram *= &matmul(records.view(), records.t(), parallelism);
    gram.diag_mut().mapv_inplace(|value| value + 1e-9);
    let explained = row_products(matmul(left.view(), weight, parallelism).view(), records.view());
    nnls(gram.view(), explained.view()).ok().map(|solution| solution.x)
}

fn unit_rows(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut rows = rows.to_owned();
    for mut row in rows.rows_mut() {
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
    rows
}
