//! Passes through a network, in memory that is handed in.
//!
//! For a batch of m inputs x_i with output weights g_i (one per output), every quantity below belongs to the scalar
//! `F(theta, x) = sum_i <g_i, Phi(x_i)>`:
//!
//! 1. [`forward`] computes hidden values, slopes and outputs;
//! 2. [`backward`] computes the deltas `D_l = dF/dz_l`;
//! 3. [`parameter_gradient`] computes `grad_theta F = (D_l^T h_l, column sums of D_l)`;
//! 4. [`tangent`] computes the derivative of every `Phi(x_i)` along a direction E in parameter space;
//! 5. [`tangent_input_gradient`] computes the gradient of `sum_i <g_i, tangent_i>` with respect to the inputs.
//!
//! 4 and 5 give the gradient of `||theta - grad_theta F||^2` without a second-order tape: with the residual held
//! fixed, its inner product with `grad_theta Phi(x_i)` *is* the tangent of `Phi(x_i)` along the residual.
//!
//! Nothing here allocates, apart from [`Passes::new`].

use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use palimpsest_numerics::elementwise::{self, vectorised};
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::{Real, reduce};
use serde::{Deserialize, Serialize};

use crate::{Activation, Mlp};

#[cfg(test)]
pub(crate) mod tests;

/// Which parameters an equation is about; the others are left out of products, not only of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The first layer alone, weights and bias: the one that sees the inputs.
    FirstLayer,
    /// All parameters.
    AllLayers,
}

impl Scope {
    /// Whether layer number `layer` is meant.
    pub fn holds(self, layer: usize) -> bool {
        self == Self::AllLayers || layer == 0
    }
}

/// Memory of the passes for one network shape and one batch size.
#[derive(Clone, Debug)]
pub struct Passes<T> {
    /// h_1 .. h_{L-1}, each (m, width).
    hidden: Vec<Array2<T>>,
    /// Slopes at the same places.
    slopes: Vec<Array2<T>>,
    /// Curvatures at the same places, or none: see [`Passes::with_curvature`].
    curvatures: Vec<Array2<T>>,
    /// Phi, (m, outputs).
    output: Array2<T>,
    /// dF/dh_l before the slope is applied.
    upstream: Vec<Array2<T>>,
    /// dF/dz_l for the hidden layers.
    delta: Vec<Array2<T>>,
    /// dF/dPhi: the output weights of the last [`backward`], (m, outputs).
    output_delta: Array2<T>,
    /// Tangents of the pre-activations.
    tangent_z: Vec<Array2<T>>,
    /// Tangents of the hidden values.
    tangent_h: Vec<Array2<T>>,
    /// Tangents of the outputs, (m, outputs).
    output_tangent: Array2<T>,
    /// Adjoints of the pre-activations in [`tangent_input_gradient`].
    adjoint: Vec<Array2<T>>,
}

impl<T: Real> Passes<T> {
    /// Memory for batches of `batch` inputs through networks shaped like `network`.
    pub fn new(network: &Mlp<T>, batch: usize) -> Self {
        let hidden_layers = || {
            network.layers()[..network.depth() - 1]
                .iter()
                .map(|l| Array2::zeros((batch, l.weight.nrows())))
                .collect::<Vec<_>>()
        };
        let output = || Array2::zeros((batch, network.outputs()));
        Self {
            hidden: hidden_layers(),
            slopes: hidden_layers(),
            curvatures: Vec::new(),
            output: output(),
            upstream: hidden_layers(),
            delta: hidden_layers(),
            output_delta: output(),
            tangent_z: hidden_layers(),
            tangent_h: hidden_layers(),
            output_tangent: output(),
            adjoint: hidden_layers(),
        }
    }

    /// [`Passes::new`] with room for curvatures, which [`tangent_input_gradient`] needs with an activation that
    /// [has its own](Activation::has_own_curvature).
    pub fn with_curvature(network: &Mlp<T>, batch: usize) -> Self {
        let passes = Self::new(network, batch);
        Self { curvatures: passes.slopes.clone(), ..passes }
    }

    /// Phi(x) of the last [`forward`], (m, outputs).
    pub fn output(&self) -> ArrayView2<'_, T> {
        self.output.view()
    }

    /// Hidden values h_1 .. h_{L-1} of the last [`forward`], each (m, width).
    pub fn hidden(&self) -> &[Array2<T>] {
        &self.hidden
    }

    /// Slopes of the activation at the last [`forward`], each (m, width).
    pub fn slopes(&self) -> &[Array2<T>] {
        &self.slopes
    }

    /// What reaches the hidden layers from above at the last [`backward`], dF/dh, each (m, width): deltas are this times the
    /// slopes.
    pub fn upstream(&self) -> &[Array2<T>] {
        &self.upstream
    }

    /// Deltas dF/dz of the hidden layers at the last [`backward`], each (m, width).
    pub fn delta(&self) -> &[Array2<T>] {
        &self.delta
    }

    /// Derivative of Phi(x) along the direction of the last [`tangent`], (m, outputs).
    pub fn output_tangent(&self) -> ArrayView2<'_, T> {
        self.output_tangent.view()
    }

    fn h<'a>(&'a self, layer: usize, x: ArrayView2<'a, T>) -> ArrayView2<'a, T> {
        if layer == 0 { x } else { self.hidden[layer - 1].view() }
    }

    fn d(&self, layer: usize) -> ArrayView2<'_, T> {
        self.delta.get(layer).map_or(self.output_delta.view(), |d| d.view())
    }
}

/// Forward pass of `x` (m, d): fills hidden values, slopes and outputs.
///
/// # Panics
/// When `x` or the memory does not fit the network.
#[track_caller]
pub fn forward<T: Real>(
    network: &Mlp<T>,
    x: ArrayView2<'_, T>,
    activation: Activation,
    passes: &mut Passes<T>,
    parallelism: Parallelism,
) {
    forward_masked(network, x, activation, &[], passes, parallelism);
}

/// [`forward`] with hidden values and slopes multiplied by `masks`, one (m, width) a hidden layer, or none at all:
/// dropout. [`backward`] and [`parameter_gradient`] after it are those of the masked network.
///
/// # Panics
/// As [`forward`], and when a mask does not fit.
#[track_caller]
pub fn forward_masked<T: Real>(
    network: &Mlp<T>,
    x: ArrayView2<'_, T>,
    activation: Activation,
    masks: &[Array2<T>],
    passes: &mut Passes<T>,
    parallelism: Parallelism,
) {
    let last = network.depth() - 1;
    assert!(masks.is_empty() || masks.len() == last, "forward_masked: {} masks", masks.len());
    for (l, layer) in network.layers().iter().enumerate() {
        let (before, rest) = passes.hidden.split_at_mut(l);
        let h = before.last().map_or(x, |h| h.view());
        let z = if l < last { &mut rest[0] } else { &mut passes.output };
        gemm(T::one(), h, layer.weight.t(), T::zero(), z.view_mut(), parallelism);
        let bias = layer.bias.as_ref().map(|b| b.as_slice().expect("a bias is contiguous"));
        if l < last {
            let (width, slopes) = (z.ncols(), rows_mut(&mut passes.slopes[l]));
            if let Some(curvature) = passes.curvatures.get_mut(l).filter(|_| activation.has_own_curvature()) {
                curvature.assign(z);
                let curvature = curvature.as_slice_mut().expect("workspace arrays are contiguous");
                for (z, s) in curvature.chunks_exact_mut(width).zip(slopes.chunks_exact_mut(width)) {
                    activation.curvature_slope(z, bias, s);
                }
            }
            activate(activation, bias, width, rows_mut(z), slopes, parallelism);
            if let Some(mask) = masks.get(l) {
                elementwise::multiply_assign(rows_mut(z), rows(mask));
                elementwise::multiply_assign(rows_mut(&mut passes.slopes[l]), rows(mask));
            }
        } else if let Some(bias) = &layer.bias {
            *z += bias;
        }
    }
}

/// Backward pass for output weights `g` (m, outputs), after [`forward`]: fills the deltas.
///
/// # Panics
/// When `g` does not fit.
#[track_caller]
pub fn backward<T: Real>(
    network: &Mlp<T>,
    g: ArrayView2<'_, T>,
    passes: &mut Passes<T>,
    parallelism: Parallelism,
) {
    passes.output_delta.assign(&g);
    for l in (0..network.depth() - 1).rev() {
        let (delta, above) = passes.delta.split_at_mut(l + 1);
        let above = above.first().unwrap_or(&passes.output_delta);
        let weight = network.layers()[l + 1].weight.view();
        gemm(T::one(), above.view(), weight, T::zero(), passes.upstream[l].view_mut(), parallelism);
        let inputs = [rows(&passes.upstream[l]), rows(&passes.slopes[l])];
        for_pieces(rows_mut(&mut delta[l]), inputs, parallelism, |d, [u, s]| {
            for ((d, &u), &s) in d.iter_mut().zip(u).zip(s) {
                *d = u * s;
            }
        });
    }
}

/// `out <- alpha grad_theta F + beta out` for the layers in `scope`, after [`backward`] on the same `x` (m, d).
///
/// # Panics
/// When `out` has another shape than the network.
#[track_caller]
pub fn parameter_gradient<T: Real>(
    x: ArrayView2<'_, T>,
    passes: &Passes<T>,
    alpha: T,
    beta: T,
    scope: Scope,
    out: &mut Mlp<T>,
    parallelism: Parallelism,
) {
    for (l, layer) in out.layers_mut().iter_mut().enumerate().filter(|(l, _)| scope.holds(*l)) {
        gemm(alpha, passes.d(l).t(), passes.h(l, x), beta, layer.weight.view_mut(), parallelism);
        if let Some(bias) = &mut layer.bias {
            // Rows in index order: the order of this sum is fixed.
            let scale = beta;
            bias.mapv_inplace(|b| if scale == T::zero() { T::zero() } else { b * scale });
            for row in passes.d(l).rows() {
                bias.scaled_add(alpha, &row);
            }
        }
    }
}

/// Squared norm of each example's own `grad_theta <g_i, Phi(x_i)>` by all parameters, written into `out` (m), after [`backward`] on
/// the same `x` (m, d). No gradient is made for that: a layer's is the outer product of a delta and what the layer sees.
///
/// # Panics
/// When `x`, the memory or `out` do not fit the network.
///
/// # Source
/// Goodfellow (2015), "Efficient per-example gradient computations".
#[track_caller]
pub fn squared_gradient_norms<T: Real>(
    network: &Mlp<T>,
    x: ArrayView2<'_, T>,
    passes: &Passes<T>,
    out: &mut [f64],
) {
    assert_eq!(x.nrows(), out.len(), "squared_gradient_norms: {} inputs, {} norms", x.nrows(), out.len());
    out.fill(0.0);
    for (l, layer) in network.layers().iter().enumerate() {
        let bias = if layer.bias.is_some() { 1.0 } else { 0.0 };
        let (deltas, seen) = (passes.d(l), passes.h(l, x));
        for ((norm, delta), seen) in out.iter_mut().zip(deltas.rows()).zip(seen.rows()) {
            *norm += reduce::squared_norm(delta) * (reduce::squared_norm(seen) + bias);
        }
    }
}

/// Derivative of Phi(x_i) along `direction` in parameter space, after [`forward`]; slopes as declared. Layers of
/// `direction` outside `scope` count as zero.
///
/// # Panics
/// When `direction` has another shape than the network.
#[track_caller]
pub fn tangent<T: Real>(
    network: &Mlp<T>,
    direction: &Mlp<T>,
    scope: Scope,
    x: ArrayView2<'_, T>,
    passes: &mut Passes<T>,
    parallelism: Parallelism,
) {
    let last = network.depth() - 1;
    for l in 0..=last {
        let h = if l == 0 { x } else { passes.hidden[l - 1].view() };
        let out = if l < last { &mut passes.tangent_z[l] } else { &mut passes.output_tangent };
        let along = &direction.layers()[l];
        let mut written = T::zero();
        if scope.holds(l) {
            gemm(T::one(), h, along.weight.t(), T::zero(), out.view_mut(), parallelism);
            if let Some(bias) = &along.bias {
                *out += bias;
            }
            written = T::one();
        }
        if l > 0 {
            let weight = network.layers()[l].weight.t();
            gemm(T::one(), passes.tangent_h[l - 1].view(), weight, written, out.view_mut(), parallelism);
        }
        if l < last {
            let inputs = [rows(&passes.tangent_z[l]), rows(&passes.slopes[l])];
            for_pieces(rows_mut(&mut passes.tangent_h[l]), inputs, parallelism, |dh, [dz, s]| {
                for ((dh, &dz), &s) in dh.iter_mut().zip(dz).zip(s) {
                    *dh = dz * s;
                }
            });
        }
    }
}

/// `out <- scale * d/dx sum_i <g_i, tangent_i>` (m, d), after [`backward`] and [`tangent`] along `direction` in the
/// same `scope`.
///
/// # Panics
/// When the shapes differ, or when the activation has a curvature of its own and the memory no room for it.
#[track_caller]
pub fn tangent_input_gradient<T: Real>(
    network: &Mlp<T>,
    direction: &Mlp<T>,
    scope: Scope,
    activation: Activation,
    scale: T,
    passes: &mut Passes<T>,
    mut out: ArrayViewMut2<'_, T>,
    parallelism: Parallelism,
) {
    let sharpness = T::of(activation.sharpness());
    for l in (0..network.depth() - 1).rev() {
        // Adjoint of h_{l+1}: through the direction's product above, and through z_{l+1} above.
        let (below, above) = passes.adjoint.split_at_mut(l + 1);
        let adjoint = &mut below[l];
        let delta_above = passes.delta.get(l + 1).unwrap_or(&passes.output_delta);
        let along = direction.layers()[l + 1].weight.view();
        let mut written = T::zero();
        if scope.holds(l + 1) {
            gemm(T::one(), delta_above.view(), along, T::zero(), adjoint.view_mut(), parallelism);
            written = T::one();
        }
        match above.first() {
            Some(adjoint_above) => {
                let weight = network.layers()[l + 1].weight.view();
                gemm(T::one(), adjoint_above.view(), weight, written, adjoint.view_mut(), parallelism);
            }
            None if written == T::zero() => adjoint.fill(T::zero()),
            None => {}
        }
        // Adjoint of z_l: through the value (slope) and through the slope itself (curvature).
        let inputs = [&passes.slopes[l], &passes.upstream[l], &passes.tangent_z[l]].map(rows);
        for_pieces(rows_mut(adjoint), inputs, parallelism, |a, [s, u, dz]| {
            for (((a, &s), &u), &dz) in a.iter_mut().zip(s).zip(u).zip(dz) {
                *a = *a * s + u * dz * sharpness * s * (T::one() - s);
            }
        });
        if activation.has_own_curvature() {
            let curvature = passes.curvatures.get(l).expect("memory was taken with room for curvatures");
            let inputs = [curvature, &passes.upstream[l], &passes.tangent_z[l]].map(rows);
            for_pieces(rows_mut(adjoint), inputs, parallelism, |a, [c, u, dz]| {
                for (((a, &c), &u), &dz) in a.iter_mut().zip(c).zip(u).zip(dz) {
                    *a += u * dz * c;
                }
            });
        }
    }
    let (first, along) = (&network.layers()[0], &direction.layers()[0]);
    gemm(scale, passes.d(0), along.weight.view(), T::zero(), out.view_mut(), parallelism);
    if let Some(adjoint) = passes.adjoint.first() {
        gemm(scale, adjoint.view(), first.weight.view(), T::one(), out, parallelism);
    }
}

/// Outputs of `network` for `x` (m, d) with plain ReLU, (m, outputs); allocates its memory.
pub fn outputs<T: Real>(network: &Mlp<T>, x: ArrayView2<'_, T>, parallelism: Parallelism) -> Array2<T> {
    let mut passes = Passes::new(network, x.nrows());
    forward(network, x, Activation::Relu, &mut passes, parallelism);
    passes.output
}

/// Squared Euclidean norm of each layer's parameters: weights, then biases (0 where there are none), in layer order.
pub fn squared_norms<T: Real>(net: &Mlp<T>) -> (Vec<f64>, Vec<f64>) {
    let (mut weights, mut biases) = (vec![0.0; net.depth()], vec![0.0; net.depth()]);
    squared_norms_into(net, &mut weights, &mut biases);
    (weights, biases)
}

/// [`squared_norms`] in memory that is handed in, one number a layer.
///
/// # Panics
/// When there is less memory than layers.
#[track_caller]
pub fn squared_norms_into<T: Real>(net: &Mlp<T>, weights: &mut [f64], biases: &mut [f64]) {
    for (l, layer) in net.layers().iter().enumerate() {
        weights[l] = reduce::squared_norm(layer.weight.view());
        biases[l] = layer.bias.as_ref().map_or(0.0, |b| reduce::squared_norm(b.view()));
    }
}

fn rows<T>(array: &Array2<T>) -> &[T] {
    array.as_slice().expect("workspace arrays are contiguous")
}

fn rows_mut<T>(array: &mut Array2<T>) -> &mut [T] {
    array.as_slice_mut().expect("workspace arrays are contiguous")
}

/// Elements below which a pass stays on one thread.
const PIECE: usize = 1 << 16;

/// Calls `pass` on pieces of `out` and the same pieces of `inputs`. Elementwise: how it is cut changes no bit.
fn for_pieces<T: Real, const N: usize>(
    out: &mut [T],
    inputs: [&[T]; N],
    parallelism: Parallelism,
    pass: impl Fn(&mut [T], [&[T]; N]) + Copy + Sync,
) {
    if parallelism == Parallelism::Sequential || out.len() < 2 * PIECE {
        return vectorised(|| pass(out, inputs));
    }
    let half = out.len() / 2;
    let (left, right) = out.split_at_mut(half);
    rayon::join(
        || for_pieces(left, inputs.map(|i| &i[..half]), parallelism, pass),
        || for_pieces(right, inputs.map(|i| &i[half..]), parallelism, pass),
    );
}

/// Bias, value and slope for rows of `width` pre-activations.
fn activate<T: Real>(
    activation: Activation,
    bias: Option<&[T]>,
    width: usize,
    z: &mut [T],
    slope: &mut [T],
    parallelism: Parallelism,
) {
    let rows = z.len() / width;
    if parallelism == Parallelism::Sequential || rows < 2 || z.len() < 2 * PIECE {
        let rows = z.chunks_exact_mut(width).zip(slope.chunks_exact_mut(width));
        return rows.for_each(|(z, slope)| activation.apply(z, bias, slope));
    }
    let (z_left, z_right) = z.split_at_mut(rows / 2 * width);
    let (slope_left, slope_right) = slope.split_at_mut(rows / 2 * width);
    rayon::join(
        || activate(activation, bias, width, z_left, slope_left, parallelism),
        || activate(activation, bias, width, z_right, slope_right, parallelism),
    );
}
