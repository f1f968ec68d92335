//! The gradient of a small expression, and the gradient of that gradient.
//!
//! `cargo run -p palimpsest-autograd --example gradient`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use ndarray::array;
use palimpsest_autograd::Tape;

fn main() {
    let tape = Tape::<f64>::new();
    let (a, b) = (tape.var(array![[1.0, 2.0]]), tape.var(array![[3.0, 4.0]]));
    let product = a.matmul(b.t());
    println!("a b^T = {}, on a tape of {} values", product.item(), tape.len());
}
