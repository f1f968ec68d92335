//! Layers as names and shapes show them, and chains of these.

use std::fmt;

use crate::import::naming::shown;

/// How a weight lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// (out, in), PyTorch's.
    OutIn,
    /// (in, out), that of Keras, Flax and scikit-learn.
    InOut,
}

/// Indices of the tensors that make one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) weight: usize,
    pub(crate) bias: Option<usize>,
    pub(crate) layout: Layout,
}

/// A tensor as far as it says where it belongs.
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: &'a [usize],
    /// Whether it holds whole numbers, which are no weights.
    pub(crate) counts: bool,
}

/// A chain of dense layers that a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainSummary {
    /// The name by which it is chosen.
    pub name: String,
    /// Its widths, inputs first.
    pub widths: Vec<usize>,
}

impl fmt::Display for ChainSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<String> = self.widths.iter().map(usize::to_string).collect();
        write!(f, "`{}` ({})", shown(&self.name), widths.join("-"))
    }
}

/// A layer as names and shapes show it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) group: String,
    pub(super) numbers: Vec<u64>,
    pub(super) module: String,
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
    pub(super) shape: [usize; 2],
    pub(super) bias_len: Option<usize>,
    /// The layout, where the name says it.
    pub(super) known: Option<Layout>,
}

impl Unit {
    pub(super) fn layout(&self, guess: Layout) -> Layout {
        self.known.unwrap_or(guess)
    }

    pub(super) fn outputs(&self, guess: Layout) -> usize {
        self.shape[usize::from(self.layout(guess) == Layout::InOut)]
    }

    pub(super) fn inputs(&self, guess: Layout) -> usize {
        self.shape[usize::from(self.layout(guess) == Layout::OutIn)]
    }

    pub(super) fn bias_fits(&self, guess: Layout) -> bool {
        self.bias_len.is_none_or(|len| len == self.outputs(guess))
    }

    pub(super) fn layer(&self, guess: Layout) -> Layer {
        Layer { weight: self.weight, bias: self.bias, layout: self.layout(guess) }
    }
}

/// Whether a module is the one of that name or inside it.
pub(super) fn is_inside(module: &str, name: &str) -> bool {
    module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
