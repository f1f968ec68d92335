//! The state in a snapshot, whose checksum is right, handed to training.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use ndarray::array;
use palimpsest_mlp::train::{Epoch, Schedule, TrainParams, TrainState, TrainingSpace, resume};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::seed::Seed;

fuzz_target!(|bytes: &[u8]| {
    let Ok(state) = postcard::from_bytes::<TrainState<f32>>(bytes) else { return };
    let network = Mlp::<f32>::initialise(&[3, 4, 1], BiasPlacement::FirstLayer, 0.5, Seed::new(1));
    let schedule = Schedule::WeightDecay { weight_decay: 1e-2, step_size: 0.05 };
    let params = TrainParams { space: TrainingSpace::Full, max_epochs: 10, ..TrainParams::new(schedule) };
    let (inputs, labels) = (array![[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]], array![1.0, -1.0]);
    let stop_after = state.epoch().saturating_add(2);
    let mut observe = |epoch: &Epoch<'_, f32>| {
        if epoch.index >= stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let _ = resume(network, inputs.view(), labels.view(), &params, state, &mut observe);
});
