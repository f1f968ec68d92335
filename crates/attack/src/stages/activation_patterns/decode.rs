//! From approximate inputs to first-layer deltas: a linear program for each, solved by Douglas-Rachford splitting.
//!
//! A true input x has pre-activations z whose signs are its gates. So among all vectors between 0 and the backpropagated signals its first-layer delta
//! is the one with the largest `sum_j z_j b_j / t_j`; neurons on a ReLU breakpoint, where z is 0, are free. From an approximate input
//! the same maximum, over the vectors of the column space of `[W b]` only, is often exactly the true first-layer delta: gates that are
//! wrong in z are overruled by those that are right.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use palimpsest_kkt::outputs::Label;
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
use palimpsest_numerics::reduce;
use rayon::prelude::*;

use crate::stages::activation_patterns::layer::GatedLayer;
use crate::stages::activation_patterns::pattern::Draft;

/// How strongly a pre-activation pulls its neuron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// In proportion to it.
    Proportional,
    /// In proportion up to its root mean square, four times as strongly.
    Saturated,
}

impl Pull {
    /// Of a pre-activation in units of the root mean square, in units of the typical backpropagated signal.
    fn of(self, z: f32) -> f32 {
        match self {
            Self::Proportional => 0.05 * z,
            Self::Saturated => 0.2 * z.clamp(-1.0, 1.0),
        }
    }
}

/// Iterations of a linear program.
const ITERATIONS: usize = 400;
/// Iterations after which the share is fitted again.
const SHARE_EVERY: usize = 20;
/// Candidates that are worked on together.
const BATCH: usize = 32;

/// One draft for each of `inputs` (m, k), coordinates with a 1 appended, all of the same `label`.
///
/// Batches run on the current rayon pool; the result is the same bits for any number of threads.
///
/// # Panics
/// When inputs have another number of coordinates than the layer.
#[track_caller]
pub fn decode(layer: &GatedLayer, inputs: ArrayView2<'_, f64>, label: Label, pull: Pull) -> Vec<Draft> {
    assert_eq!(inputs.ncols(), layer.coordinates(), "decode: coordinates of inputs and layer");
    let (own, other) = layer.backpropagated_signals(label);
    let (own, other) = (own.mapv(|v| v as f32), other.mapv(|v| v as f32));
    let own = own.broadcast((inputs.nrows(), own.len())).expect("a row repeats");
    let (deltas, shares) =
        decode_deltas((layer.weight.view(), layer.deltas.view()), inputs, own, &other, pull);
    let rows = deltas.rows().into_iter().zip(shares);
    rows.map(|(row, share)| Draft { label, delta: row.mapv(f64::from), share: f64::from(share) }).collect()
}

/// First-layer deltas (m, h) of `inputs` (m, k), coordinates with a 1 appended, and the shares (m) of `other` (h) in what reaches their neurons from the output
/// besides the rows of `own` (m, h). The layer is `weight` (h, k), and `basis` (h, k) an orthonormal one of all first-layer deltas.
///
/// Batches run on the current rayon pool; the result is the same bits for any number of threads.
pub(crate) fn decode_deltas(
    (weight, basis): (ArrayView2<'_, f64>, ArrayView2<'_, f64>),
    inputs: ArrayView2<'_, f64>,
    own: ArrayView2<'_, f32>,
    other: &Array1<f32>,
    pull: Pull,
) -> (Array2<f32>, Vec<f32>) {
    let basis = basis.mapv(|v| v as f32);
    let mut found = Array2::zeros(own.raw_dim());
    let batches = inputs.axis_chunks_iter(Axis(0), BATCH).into_par_iter();
    let batches = batches.zip(own.axis_chunks_iter(Axis(0), BATCH));
    let shares: Vec<Vec<f32>> = batches
        .zip(found.axis_chunks_iter_mut(Axis(0), BATCH))
        .map(|((inputs, own), mut found)| {
            let z = matmul(inputs, weight.t(), Parallelism::Sequential).mapv(|v| v as f32);
            let (deltas, shares) = Program { own, other, basis: basis.view() }.solve(z, pull);
            found.assign(&deltas);
            shares
        })
        .collect();
    (found, shares.concat())
}

/// The programs of some inputs.
struct Program<'a> {
    /// (m, h).
    own: ArrayView2<'a, f32>,
    other: &'a Array1<f32>,
    /// Orthonormal basis (h, k).
    basis: ArrayView2<'a, f32>,
}

impl Program<'_> {
    /// First-layer deltas (m, h) and shares (m) from pre-activations `z` (m, h).
    fn solve(&self, mut z: Array2<f32>, pull: Pull) -> (Array2<f32>, Vec<f32>) {
        let (m, h) = z.dim();
        let mut point = Array2::<f32>::zeros((m, h));
        let signals: Vec<BackpropagatedSignals<'_>> =
            self.own.rows().into_iter().map(|own| BackpropagatedSignals::of(own, self.other)).collect();
        let mut shares = Vec::with_capacity(m);
        for ((mut z, mut point), signals) in z.rows_mut().into_iter().zip(point.rows_mut()).zip(&signals) {
            let share = signals.share_at(z.as_slice().expect("rows are contiguous"));
            for (j, p) in point.iter_mut().enumerate() {
                *p = if z[j] > 0.0 { signals.own[j] - share * signals.other[j] } else { 0.0 };
            }
            shares.push(share);
            let mean_square = z.iter().map(|v| v * v).sum::<f32>() / h as f32;
            let unit = 1.0 / mean_square.sqrt().max(f32::MIN_POSITIVE);
            z.mapv_inplace(|v| signals.typical * pull.of(unit * v));
        }
        let mut boxed = Array2::<f32>::zeros((m, h));
        let mut reflected = Array2::<f32>::zeros((m, h));
        let mut inside = Array2::<f32>::zeros((m, self.basis.ncols()));
        let sequential = Parallelism::Sequential;
        for iteration in 1..=ITERATIONS {
            for (i, signals) in signals.iter().enumerate() {
                signals.pull_into_box(
                    shares[i],
                    z.slice(s![i, ..]).to_slice().expect("rows are contiguous"),
                    point.slice(s![i, ..]).to_slice().expect("rows are contiguous"),
                    boxed.slice_mut(s![i, ..]).into_slice().expect("rows are contiguous"),
                    reflected.slice_mut(s![i, ..]).into_slice().expect("rows are contiguous"),
                );
            }
            // point <- point + P reflected - boxed
            gemm(1.0, reflected.view(), self.basis, 0.0, inside.view_mut(), sequential);
            point -= &boxed;
            gemm(1.0, inside.view(), self.basis.t(), 1.0, point.view_mut(), sequential);
            if iteration % SHARE_EVERY == 0 {
                for ((share, signals), boxed) in shares.iter_mut().zip(&signals).zip(boxed.rows()) {
                    *share = signals.fit_share(*share, boxed.to_slice().expect("rows are contiguous"));
                }
            }
        }
        gemm(1.0, boxed.view(), self.basis, 0.0, inside.view_mut(), sequential);
        (matmul(inside.view(), self.basis.t(), sequential), shares)
    }
}

/// What reaches the neurons of one input, each (h).
struct BackpropagatedSignals<'a> {
    own: &'a [f32],
    other: &'a [f32],
    /// Root mean square of the own backpropagated signals.
    typical: f32,
}

impl<'a> BackpropagatedSignals<'a> {
    fn of(own: ArrayView1<'a, f32>, other: &'a Array1<f32>) -> Self {
        let own = own.to_slice().expect("rows are contiguous");
        let typical = (reduce::sum_squares(own) / own.len() as f64).sqrt() as f32;
        Self { own, other: other.as_slice().expect("owned arrays are contiguous"), typical }
    }

    /// `boxed`, the nearest vector between 0 and the backpropagated signals to `point` pulled along, and `reflected = 2 boxed - point`.
    fn pull_into_box(
        &self,
        share: f32,
        pull: &[f32],
        point: &[f32],
        boxed: &mut [f32],
        reflected: &mut [f32],
    ) {
        vectorised(|| {
            let signals = self.own.iter().zip(self.other);
            let to = boxed.iter_mut().zip(reflected);
            for (((&own, &other), (boxed, reflected)), (&pull, &point)) in
                signals.zip(to).zip(pull.iter().zip(point))
            {
                let signal = own - share * other;
                let pulled = point + if signal < 0.0 { -pull } else { pull };
                *boxed = pulled.max(signal.min(0.0)).min(signal.max(0.0));
                *reflected = 2.0 * *boxed - point;
            }
        });
    }

    /// How active the other label's neuron looks at pre-activations `z` (h): sure one way only when far from its ReLU breakpoint.
    fn share_at(&self, z: &[f32]) -> f32 {
        let signal = |t: &[f32]| z.iter().zip(t).map(|(&z, &t)| z.max(0.0) * t).sum::<f32>();
        let own = signal(self.own).abs().max(f32::MIN_POSITIVE);
        (0.5 + 3.0 * signal(self.other) / own).clamp(0.0, 1.0)
    }

    /// The share moved towards the one that explains the neurons nearer to their backpropagated signal than to 0.
    fn fit_share(&self, share: f32, delta: &[f32]) -> f32 {
        let (mut product, mut square) = (0.0_f32, 1e-12 * self.typical * self.typical);
        for ((&own, &other), &b) in self.own.iter().zip(self.other).zip(delta) {
            let signal = own - share * other;
            if b * signal > 0.5 * signal * signal {
                product += (own - b) * other;
                square += other * other;
            }
        }
        (0.7 * share + 0.3 * product / square).clamp(0.0, 1.0)
    }
}
