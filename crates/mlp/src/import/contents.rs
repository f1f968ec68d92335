//! What a reader hands over.

use super::finding::Fact;
use super::sequence::Step;
use super::tensor::Tensor;

/// What a reader found in a file.
#[derive(Default)]
pub(super) struct Contents<'a> {
    pub(super) tensors: Vec<Tensor<'a>>,
    /// What is applied in which order, by formats that say so; else names and shapes tell.
    pub(super) steps: Option<Vec<Step>>,
    /// Names of what was left unread.
    pub(super) ignored: Vec<String>,
    pub(super) assumed: Vec<String>,
    /// What the file says beside weights, by name.
    pub(super) facts: Vec<(String, Fact)>,
}
