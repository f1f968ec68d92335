//! Elementwise passes beside copying: how near they are to what memory allows.

use std::hint::black_box;

use palimpsest_mlp::Activation;
use palimpsest_numerics::elementwise::multiply_assign;
use palimpsest_numerics::reduce;

use super::work::{Amount, Work, draw, repeated};

/// Hidden values of 500 inputs at width 1000.
const ELEMENTS: usize = 500_000;
/// Walks that are timed together.
const WALKS: usize = 200;

/// Name of the pass that the others are compared with.
pub(super) const COPY: &str = "copy";

pub(super) fn works() -> Vec<Work> {
    let mut target = numbers("z");
    let source = numbers("z");
    let (mut z_step, mut z_gate, mut slope) = (numbers("z"), numbers("z"), numbers("slope"));
    let mut gate = slope.clone();
    // Without a bias the values stay those of the first walk.
    let bias = vec![0.0_f32; ELEMENTS];
    let bias_of_gate = bias.clone();
    let (mut product, factor) = (numbers("z"), vec![1.0_f32; ELEMENTS]);
    let squared = numbers("z");
    vec![
        pass(COPY, move || black_box(&mut target).copy_from_slice(black_box(&source))),
        pass("bias, ReLU and step in one pass", move || {
            Activation::Relu.apply(black_box(&mut z_step), Some(&bias), &mut slope);
        }),
        pass("bias, ReLU and sigmoid slope in one pass", move || {
            let activation = Activation::SigmoidGate { alpha: black_box(20.0) };
            activation.apply(black_box(&mut z_gate), Some(&bias_of_gate), &mut gate);
        }),
        pass("product", move || multiply_assign(black_box(&mut product), black_box(&factor))),
        pass("sum of squares", move || {
            black_box(reduce::sum_squares(black_box(&squared)));
        }),
    ]
}

fn numbers(name: &str) -> Vec<f32> {
    draw(1, ELEMENTS, name).into_iter().collect()
}

fn pass(name: &str, mut walk: impl FnMut() + Send + 'static) -> Work {
    Work {
        group: "Elementwise",
        name: name.to_owned(),
        threads: 1,
        amount: Amount::Elements(ELEMENTS),
        peer: None,
        run: Box::new(move || Ok(repeated(WALKS, &mut walk))),
    }
}
