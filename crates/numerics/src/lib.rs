//! The arithmetic floor of Palimpsest: everything that multiplies, sums, factorises or draws numbers.
//!
//! Each of these things is done in exactly one place of the workspace, and that place is here:
//!
//! * [`gemm`]: the one door for matrix products of `f32` and `f64` array views, transposes included;
//! * [`display`]: the one scaling with which rows are shown as pictures;
//! * [`elementwise`]: activation passes, vectorised at run time, with a sigmoid that saturates;
//! * [`reduce`]: sums in fixed chunks and a fixed order, so that no thread count changes a bit;
//! * [`factor`]: SVD, orthonormal bases and Cholesky, each with its residual checked;
//! * [`nnls`](mod@nnls): non-negative least squares by an active set, checked against its KKT conditions;
//! * [`iterative`]: conjugate gradients, reweighted least squares, the leading directions of a wide matrix;
//! * [`mod@quantile`]: quantiles and medians of a list;
//! * [`range`]: whether an option is in its range, and the sentence that says it is not;
//! * [`whitening`]: directions in which second moments are the identity;
//! * [`zip`]: members of ZIP archives of numbers, within a limit;
//! * [`seed`]: named streams of random numbers that split from one seed.
//!
//! ```
//! use ndarray::array;
//! use palimpsest_numerics::{gemm::{matmul, Parallelism}, seed::Seed};
//!
//! let a = array![[1.0, 2.0], [3.0, 4.0]];
//! let gram = matmul(a.view(), a.t(), Parallelism::Sequential);
//! assert_eq!(gram, array![[5.0, 11.0], [11.0, 25.0]]);
//!
//! let seed = Seed::new(7);
//! assert_ne!(seed.named("weights"), seed.named("candidates"));
//! ```

pub mod display;
pub mod elementwise;
pub mod factor;
pub mod gemm;
pub mod iterative;
mod kernels;
pub mod nnls;
pub mod quantile;
pub mod range;
mod real;
pub mod reduce;
pub mod seed;
pub mod whitening;
pub mod zip;

pub use real::Real;
