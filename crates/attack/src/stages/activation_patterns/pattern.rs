//! A first-layer delta with what its entries say of the gates of its input.

use ndarray::Array1;
use palimpsest_kkt::outputs::Label;

/// A first-layer delta that may be one of an input, and what it was found from.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Label whose backpropagated signals it was sought with.
    pub label: Label,
    /// First-layer delta (h), of an input with multiplier 1.
    pub delta: Array1<f64>,
    /// Activity of the other label's neuron, in [0, 1].
    pub share: f64,
}

/// A first-layer delta that was polished, with what its entries say.
#[derive(Clone, Debug)]
pub struct ActivationPattern {
    /// Label whose backpropagated signals it has.
    pub label: Label,
    /// Activity of the other label's neuron, in [0, 1].
    pub share: f64,
    /// First-layer delta (h) of an input with multiplier 1: gate times backpropagated signal.
    pub delta: Array1<f64>,
    /// Dual (k): `weight . dual = delta`; 1 / multiplier at its own input, 0 at every other.
    pub dual: Array1<f64>,
    /// First-layer delta over backpropagated signal, (h): 0 or 1, between on a ReLU breakpoint; 0 where the backpropagated signal says too little.
    pub gates: Array1<f64>,
    /// Neurons whose backpropagated signal is strong enough for `gates`.
    pub telling: Vec<bool>,
    /// What the gates look like.
    pub likeness: Likeness,
}

/// What the gates of a pattern look like, as shares of the neurons that tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Gates within [`NEAR`] of 0 or 1.
    pub binary: f64,
    /// Gates within [`NEAR`] of 1.
    pub on: f64,
    /// Gates below 0 by more than that.
    pub below: f64,
    /// Gates above 1 by more than twice that.
    pub above: f64,
}

/// Distance from 0 or 1 at which a gate counts as one of them.
pub const NEAR: f64 = 0.03;

/// Shares of the neurons that tell among `gates` (h).
pub fn likeness(gates: &Array1<f64>, telling: &[bool]) -> Likeness {
    let count = telling.iter().filter(|d| **d).count().max(1) as f64;
    let share = |holds: &dyn Fn(f64) -> bool| {
        gates.iter().zip(telling).filter(|&(&gate, &telling)| telling && holds(gate)).count() as f64 / count
    };
    Likeness {
        binary: share(&|g| g.abs() < NEAR || (g - 1.0).abs() < NEAR),
        on: share(&|g| (g - 1.0).abs() < NEAR),
        below: share(&|g| g < -NEAR),
        above: share(&|g| g > 1.0 + 2.0 * NEAR),
    }
}

impl ActivationPattern {
    /// The pattern as a draft to polish again.
    pub fn draft(&self) -> Draft {
        Draft { label: self.label, delta: self.delta.clone(), share: self.share }
    }
}
