//! How well inputs explain the weights of a network, multipliers fitted to them.
//!
//! `cargo run -p palimpsest-kkt --example residual`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::error::Error;

use ndarray::Array2;
use palimpsest_kkt::certify;
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::{Activation, BiasPlacement, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

fn main() -> Result<(), Box<dyn Error>> {
    let network = Mlp::<f64>::initialise(&[5, 20, 1], BiasPlacement::FirstLayer, 0.5, Seed::new(1));
    // Any inputs, since these weights are random and come from none.
    let inputs = Array2::from_shape_fn((4, 5), |(i, j)| ((i * 5 + j) as f64).sin());
    let labels = [-1, -1, 1, 1];
    let scope = Scope::FirstLayer;
    let certificate =
        certify(&network, Activation::Relu, inputs.view(), &labels, scope, Parallelism::Sequential)?;
    println!("{:.3} of the weights' norm is not explained", certificate.relative_residual);
    Ok(())
}
