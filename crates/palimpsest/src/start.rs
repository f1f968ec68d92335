//! What training begins with: widths, the memory it takes, the first weights.

use anyhow::{Result, bail};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::Real;
use palimpsest_numerics::seed::Seed;

use crate::terminal::{Misuse, memory};

/// Most weights of a victim: 1 GiB in `f64`, and as many as can be read back.
const MAX_WEIGHTS: usize = 1 << 27;

/// Widths of all layers, from the inputs to the output.
pub fn widths(inputs: usize, hidden: &[usize]) -> Result<Vec<usize>> {
    widths_to(inputs, hidden, 1)
}

/// Widths of all layers, from the inputs to so many outputs.
pub(crate) fn widths_to(inputs: usize, hidden: &[usize], outputs: usize) -> Result<Vec<usize>> {
    if hidden.is_empty() || hidden.contains(&0) {
        bail!(Misuse("--hidden needs at least one width, each at least 1, as in 1000,1000".into()));
    }
    let dims: Vec<usize> = [inputs].into_iter().chain(hidden.iter().copied()).chain([outputs]).collect();
    let weights = dims.windows(2).try_fold(0_usize, |sum, w| sum.checked_add(w[0].checked_mul(w[1])?));
    if weights.is_none_or(|weights| weights > MAX_WEIGHTS) {
        bail!(Misuse(format!("--hidden makes more than {MAX_WEIGHTS} weights; choose smaller widths")));
    }
    Ok(dims)
}

/// Memory of training on inputs (n, d) and of its certificates, from above.
pub(crate) fn training_bytes((n, d): (usize, usize), dims: &[usize]) -> Option<u64> {
    let hidden: usize =
        dims[1..dims.len() - 1].iter().try_fold(0_usize, |sum, &width| sum.checked_add(width))?;
    let weights = dims.windows(2).map(|pair| memory::numbers(6, pair, size_of::<f64>()));
    let passes = memory::numbers(8, &[n, hidden], size_of::<f64>());
    // Inputs in both precisions, and what their decomposition takes.
    let inputs = memory::numbers(5, &[n, d], size_of::<f64>());
    // The Gram matrix of the certificate and its factor.
    let gram = memory::numbers(2, &[n, n], size_of::<f64>());
    memory::total(weights.chain([passes, inputs, gram]))
}

/// How large the first layer of a network is at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLayer {
    /// As usual: of the deviation of numbers even in +-1/sqrt(fan in). Weight decay forgets its start.
    Ordinary,
    /// 1e-4, as published, so that training leaves no trace of the start.
    Small,
}

impl FirstLayer {
    /// What suits full-batch descent with this weight decay, or without.
    pub fn suiting(weight_decay: Option<f64>) -> Self {
        if weight_decay.is_some() { Self::Ordinary } else { Self::Small }
    }
}

/// The network that training begins with.
pub fn initial<T: Real>(dims: &[usize], biases: BiasPlacement, first_layer: FirstLayer, seed: u64) -> Mlp<T> {
    let first_layer_std = match first_layer {
        FirstLayer::Ordinary => (3.0 * dims[0] as f64).sqrt().recip(),
        FirstLayer::Small => 1e-4,
    };
    Mlp::initialise(dims, biases, first_layer_std, Seed::new(seed).named("initialisation"))
}
