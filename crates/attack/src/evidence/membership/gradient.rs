//! Whether the weights hold a record's gradient: its left factor and the record itself, paired through the weights' inverse.
//!
//! Training adds left factors times inputs, `W = sum_i a_i x_i^T`. With as many directions as inputs, `x_i^T W^+ a_j` is 1 for
//! i = j and 0 else: a member's own first-layer delta is found where the weights expect it. What another record's delta
//! gives there is of either sign.

use ndarray::{Array1, Array2, ArrayView2, s};
use palimpsest_mlp::passes::{Passes, backward, forward};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, matmul};

use super::span::RowSpace;

/// What a network's outputs are, which says what pulls on them in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// One signed margin, or one logit a class: a member is pulled towards the class that the network gives it.
    Classes,
    /// Numbers: a member may be pulled either way.
    Values,
}

/// Floor of the start, as a multiple, below which a direction counts less and less.
const FLOOR: f64 = 0.5;

/// What a network says of records, their first-layer deltas with it.
pub struct FirstLayerDeltas {
    /// The left factors: what the outputs pull, backpropagated to the first layer, (m, h).
    pub left: Array2<f64>,
    /// Loss of each by the class that the network gives it, (m); 0 for numbers.
    pub own_loss: Array1<f64>,
    /// Distance of the outputs from a decision, (m): of the sign, or of the two strongest classes; the length for numbers.
    pub margin: Array1<f64>,
}

/// Passes `records` (m, d) through `network` forth and back.
///
/// # Panics
/// When they do not fit.
pub fn first_layer_deltas(
    network: &Mlp<f32>,
    outputs: Outputs,
    records: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> FirstLayerDeltas {
    let mut passes = Passes::new(network, records.nrows());
    forward(network, records, Activation::Relu, &mut passes, parallelism);
    let output = passes.output().mapv(f64::from);
    let mut pulls = Array2::<f64>::zeros(output.dim());
    let (mut own_loss, mut margin) = (Array1::zeros(output.nrows()), Array1::zeros(output.nrows()));
    for (i, (row, mut pull)) in output.rows().into_iter().zip(pulls.rows_mut()).enumerate() {
        match (outputs, row.len()) {
            (Outputs::Values, _) => {
                let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                pull.assign(&row.mapv(|v| if length > 0.0 { v / length } else { 1.0 }));
                margin[i] = length;
            }
            (Outputs::Classes, 1) => {
                // The pull's size is told by the weights; its sign is that of the output.
                pull[0] = if row[0] < 0.0 { -1.0 } else { 1.0 };
                margin[i] = row[0].abs();
                own_loss[i] = (-margin[i]).exp().ln_1p();
            }
            (Outputs::Classes, _) => {
                let (best, value) = strongest(row.iter().copied(), None);
                let (_, second) = strongest(row.iter().copied(), Some(best));
                let exponentials = row.mapv(|v| (v - value).exp());
                let sum = exponentials.sum();
                // Relative sizes of the pulls of a confident network underflow nothing in f64.
                let others = (sum - exponentials[best]).max(f64::MIN_POSITIVE);
                pull.assign(&exponentials.mapv(|e| -e / others));
                pull[best] = 1.0;
                margin[i] = value - second;
                own_loss[i] = (others / exponentials[best]).ln_1p();
            }
        }
    }
    let left = if network.depth() == 1 {
        pulls
    } else {
        backward(network, pulls.mapv(|v| v as f32).view(), &mut passes, parallelism);
        passes.delta()[0].mapv(f64::from)
    };
    FirstLayerDeltas { left, own_loss, margin }
}

/// Number and value of the largest entry, but for one.
fn strongest(row: impl Iterator<Item = f64>, but: Option<usize>) -> (usize, f64) {
    row.enumerate()
        .filter(|&(i, _)| Some(i) != but)
        .fold((0, f64::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best })
}

/// How well each record (m, d) and its left factor (m, h) are paired by the weights, (m): a cosine-like number, large and
/// positive for members. For [`Outputs::Values`] its size, since the sign of a pull is unknown.
pub fn pairing(
    space: &RowSpace,
    outputs: Outputs,
    left: ArrayView2<'_, f64>,
    records: ArrayView2<'_, f64>,
    parallelism: Parallelism,
) -> Array1<f64> {
    let used = space.singular_values.len();
    let floor = (FLOOR * space.floor()).powi(2);
    let a = matmul(left, space.left.slice(s![.., ..used]), parallelism);
    let b = matmul(records, space.directions.t(), parallelism);
    let weights: Vec<(f64, f64)> = space
        .singular_values
        .iter()
        .map(|&value| {
            let kept = value * value / (value * value + floor);
            (kept / value, kept / (value * value))
        })
        .collect();
    a.rows()
        .into_iter()
        .zip(b.rows())
        .map(|(a, b)| {
            let (mut pair, mut left, mut right) = (0.0, 0.0, 0.0);
            for ((&a, &b), &(first, second)) in a.iter().zip(b).zip(&weights) {
                pair += a * b * first;
                left += a * a * second;
                right += b * b * second;
            }
            let cosine = pair / (left * right).sqrt().max(f64::MIN_POSITIVE);
            match outputs {
                Outputs::Classes => cosine,
                Outputs::Values => cosine.abs(),
            }
        })
        .collect()
}
