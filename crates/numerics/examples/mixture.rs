//! A mixture of rows of noise, and the median size of what comes out.
//!
//! `cargo run -p palimpsest-numerics --example mixture`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use ndarray::array;
use palimpsest_numerics::gemm::matvec;
use palimpsest_numerics::quantile::median;
use palimpsest_numerics::seed::{Seed, random_noise};

fn main() {
    let parts = random_noise(6, 3, 1.0, &Seed::new(1));
    let mixture = matvec(parts.view(), array![0.5_f32, 0.0, 2.0].view());
    let sizes: Vec<f64> = mixture.iter().map(|&v| f64::from(v.abs())).collect();
    println!("mixture {mixture:.3}, of median size {:.3}", median(&sizes));
}
