//! A small reverse-mode tape, closed under differentiation.
//!
//! A [`Tape`] records what is computed; a [`Var`] is a number on it: an array of shape (rows, cols), scalars
//! being (1, 1). The rule of every operation is written in the tape's own operations, so what
//! [`Tape::grad`] returns is again a `Var`, and can be used and differentiated like any other.
//!
//! # One page
//!
//! Put arrays on a tape, compute, ask for gradients, read values:
//!
//! ```
//! use ndarray::array;
//! use palimpsest_autograd::Tape;
//!
//! let tape = Tape::new();
//! let x = tape.var(array![[1.0, 2.0, 3.0]]);
//! let y = (x * x * x).sum();
//! let first = tape.grad(y, &[x])[0];
//! assert_eq!(first.value(), array![[3.0, 12.0, 27.0]]); // 3 x^2
//! let second = tape.grad(first.sum(), &[x])[0];
//! assert_eq!(second.value(), array![[6.0, 12.0, 18.0]]); // 6 x
//! ```
//!
//! Gradients are ingredients: an objective may contain one. This is a stationarity residual, the squared
//! distance of `theta` from `c` times the gradient of a tiny network at `x`, and its own gradient in `x`:
//!
//! ```
//! use ndarray::array;
//! use palimpsest_autograd::Tape;
//!
//! let tape = Tape::new();
//! let theta = tape.var(array![[0.5, -1.0], [1.5, 0.25]]); // (width, inputs)
//! let x = tape.var(array![[1.0, -2.0]]); // (examples, inputs)
//! let phi = x.matmul(theta.t()).relu_gated(3.0).sum();
//! let residual = theta - tape.grad(phi, &[theta])[0].scale(0.7);
//! let dx = tape.grad(residual.square_norm(), &[x])[0];
//! assert_eq!(dx.shape(), x.shape());
//! ```
//!
//! What to know:
//!
//! * Shapes never adjust themselves: stretch with [`Var::broadcast_to`]; `+`, `-` and `*` (element by element)
//!   want equal shapes. A mismatch panics at the caller's line with both shapes.
//! * Transposes share the buffer they transpose, so `a.t().matmul(b)` copies nothing.
//! * [`Var::relu`] differentiates to a step, [`Var::step`] to zero. [`Var::relu_gated`] has the *value* of a ReLU
//!   and the *derivative* `sigmoid(alpha z)`: it is on purpose not the derivative of its value.
//! * [`Tape::vjp`] pulls a cotangent back, [`Tape::jvp`] pushes a tangent forward.
//! * [`check`] compares all of this with finite differences, for your own functions too.
//!
//! # Limits
//!
//! A tape only grows: use one per evaluation and drop it. It belongs to one thread at a time, and its products
//! run on that thread. Not a training engine; an oracle whose rules can be read in a minute.

pub mod check;
mod op;
mod tape;
mod var;
mod vjp;

pub use tape::Tape;
pub use var::Var;
