//! The tape: a growing list of values and of the operations that made them.

use std::cell::RefCell;

use ndarray::ArcArray2;
use palimpsest_numerics::Real;

use crate::op::Op;

/// A record of a computation, from which gradients are derived.
///
/// Inputs of an operation always stand before it, so index order is an order of evaluation.
#[derive(Debug, Default)]
pub struct Tape<T: Real> {
    nodes: RefCell<Vec<Node<T>>>,
}

/// One value and its origin; a clone shares the value.
#[derive(Clone, Debug)]
pub(crate) struct Node<T> {
    pub(crate) op: Op<T>,
    pub(crate) value: ArcArray2<T>,
}

impl<T: Real> Tape<T> {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of values on the tape.
    pub fn len(&self) -> usize {
        self.nodes.borrow().len()
    }

    /// Whether nothing has been put on the tape yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a value on the tape; returns its place.
    pub(crate) fn push(&self, op: Op<T>, value: ArcArray2<T>) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { op, value });
        nodes.len() - 1
    }

    pub(crate) fn node(&self, index: usize) -> Node<T> {
        self.nodes.borrow()[index].clone()
    }

    pub(crate) fn op(&self, index: usize) -> Op<T> {
        self.nodes.borrow()[index].op
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn values_are_shared_not_copied() {
        let tape = Tape::new();
        let shared = array![[1.0_f32, 2.0], [3.0, 4.0]].into_shared();
        let x = tape.var(shared.clone());
        x.with_value(|v| assert_eq!(v.as_ptr(), shared.as_ptr()));
        x.t().with_value(|v| {
            assert_eq!(v, array![[1.0, 3.0], [2.0, 4.0]]);
            assert_eq!(v.as_ptr(), shared.as_ptr());
        });
    }

    #[test]
    fn the_tape_can_be_used_while_a_value_is_read() {
        let tape = Tape::new();
        assert!(tape.is_empty());
        let x = tape.scalar(3.0_f64);
        let y = x.with_value(|v| tape.scalar(v[[0, 0]] + 1.0));
        assert_eq!((y.item(), tape.len()), (4.0, 2));
    }

    #[test]
    fn a_tape_may_move_to_another_thread() {
        fn is_send<S: Send>() {}
        is_send::<Tape<f32>>();
    }
}
