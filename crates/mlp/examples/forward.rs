//! A network with a bias in its first layer, and what it says of two inputs.
//!
//! `cargo run -p palimpsest-mlp --example forward`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use ndarray::array;
use palimpsest_mlp::passes::outputs;
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

fn main() {
    let network = Mlp::<f32>::initialise(&[3, 8, 1], BiasPlacement::FirstLayer, 0.5, Seed::new(1));
    let inputs = array![[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]];
    println!("{} parameters", network.parameters());
    println!("{:.4}", outputs(&network, inputs.view(), Parallelism::Sequential));
}
