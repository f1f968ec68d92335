//! Trains ten classes on random data, by descent with weight decay and by Adam in batches, and asks of both how far
//! the pulls of the examples make up the weights.
//!
//! `cargo run --release -p palimpsest-mlp --example train_classes`

use std::ops::ControlFlow;

use ndarray::Array2;
use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::passes::{Passes, Scope, backward, forward, parameter_gradient, squared_norms};
use palimpsest_mlp::train::{
    BatchSchedule, Epoch, Moments, Optimizer, RateDecay, Schedule, TrainParams, train_on,
};
use palimpsest_mlp::{Activation, BiasPlacement, Mlp, MlpError};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

const EXAMPLES: usize = 50;
const WEIGHT_DECAY: f64 = 1e-2;

#[expect(clippy::print_stdout, reason = "an example shows what it computes")]
fn main() -> Result<(), MlpError> {
    let seed = Seed::new(1);
    let inputs: Array2<f32> =
        Array2::random_using((EXAMPLES, 64), StandardNormal, &mut seed.named("x").rng());
    let targets = Targets::Classes((0..EXAMPLES).map(|i| i % 10).collect());
    let start = Mlp::<f32>::initialise(&[64, 100, 10], BiasPlacement::Everywhere, 0.07, seed.named("start"));
    let loss = Loss::Softmax { label_smoothing: 0.0 };

    let descent = Schedule::WeightDecay { weight_decay: WEIGHT_DECAY, step_size: 0.1 };
    let adam = BatchSchedule {
        weight_decay: WEIGHT_DECAY,
        rate_decay: Some(RateDecay { every: 150, factor: 0.3 }),
        ..BatchSchedule::new(Optimizer::Adam(Moments::default()), 1e-3, 10, 1)
    };
    for (name, schedule, epochs) in
        [("descent with momentum", descent, 2_000), ("Adam in batches of 10", Schedule::Batches(adam), 600)]
    {
        let params = TrainParams { loss, max_epochs: epochs, ..TrainParams::new(schedule) };
        let mut go_on = |_: &Epoch<'_, f32>| ControlFlow::Continue(());
        let outcome = train_on(start.clone(), inputs.view(), &targets, &params, None, &mut go_on)?;
        println!(
            "{name}: {epochs} epochs, loss {:.3}, {} errors, {:.1} % of the weights' norm not made by pulls",
            outcome.log_loss.exp(),
            outcome.training_errors,
            100.0 * unexplained(&outcome.network, &inputs, loss, &targets),
        );
    }
    Ok(())
}

/// Norm of theta - sum_i sum_c pull_ic / (w n) grad Phi_c(x_i), over that of theta.
fn unexplained(network: &Mlp<f32>, inputs: &Array2<f32>, loss: Loss, targets: &Targets) -> f64 {
    let mut passes = Passes::new(network, EXAMPLES);
    forward(network, inputs.view(), Activation::Relu, &mut passes, Parallelism::Sequential);
    let pull = loss.pull(passes.output(), targets) / (WEIGHT_DECAY * EXAMPLES as f64) as f32;
    backward(network, pull.view(), &mut passes, Parallelism::Sequential);
    let (mut left, scope) = (network.clone(), Scope::AllLayers);
    parameter_gradient(inputs.view(), &passes, 1.0, -1.0, scope, &mut left, Parallelism::Sequential);
    let size = |network: &Mlp<f32>| {
        let (weights, biases) = squared_norms(network);
        weights.iter().chain(&biases).sum::<f64>().sqrt()
    };
    size(&left) / size(network)
}
