//! A few steps of each optimiser on each loss, as PyTorch makes them; `fixtures/training.py` made the numbers.

use std::ops::ControlFlow;
use std::path::Path;

use ndarray::Array2;
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::passes::{Passes, forward};
use palimpsest_mlp::train::{
    BatchOrder, BatchSchedule, Moments, Optimizer, RateDecay, Schedule, TrainParams, TrainingSpace, train_on,
};
use palimpsest_mlp::{Activation, Dense, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use serde_json::Value;

const SEQUENTIAL: Parallelism = Parallelism::Sequential;

fn vector(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(vector).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn network(layers: &Value) -> Mlp<f64> {
    let dense = |layer: &Value| Dense {
        weight: matrix(&layer["weight"]),
        bias: layer["bias"].as_array().map(|_| vector(&layer["bias"]).into()),
    };
    Mlp::new(layers.as_array().unwrap().iter().map(dense).collect()).unwrap()
}

/// Largest difference.
fn off<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    let mut largest = 0.0_f64;
    loop {
        match (a.next(), b.next()) {
            (None, None) => return largest,
            (Some(a), Some(b)) if a.is_finite() && b.is_finite() => largest = largest.max((a - b).abs()),
            _ => return f64::INFINITY,
        }
    }
}

fn loss_and_targets(case: &Value) -> (Loss, Targets) {
    let numbers = || vector(&case["targets"]);
    let classes = || Targets::Classes(numbers().iter().map(|&class| class as usize).collect());
    match case["loss"].as_str().unwrap() {
        "logistic" => (Loss::Logistic, Targets::Signs(numbers().iter().map(|&sign| sign as i8).collect())),
        "softmax" => (Loss::Softmax { label_smoothing: 0.0 }, classes()),
        "smoothed" => (Loss::Softmax { label_smoothing: 0.1 }, classes()),
        "squared" => (Loss::Squared, Targets::Values(matrix(&case["targets"]))),
        other => panic!("unknown loss {other}"),
    }
}

fn schedule(case: &Value, n: usize) -> Schedule {
    let batch_size = case["batch"].as_u64().unwrap() as usize;
    let (optimizer, learning_rate, weight_decay) = match case["optimizer"].as_str().unwrap() {
        "gd" => {
            assert_eq!(batch_size, n);
            return Schedule::GradientDescent { step_size: 0.1 };
        }
        "sgd" => (Optimizer::Sgd { momentum: 0.9 }, 0.05, 0.01),
        "adam" => (Optimizer::Adam(Moments::default()), 0.01, 0.01),
        "adamw" => (Optimizer::AdamW(Moments::default()), 0.01, 0.1),
        other => panic!("unknown optimiser {other}"),
    };
    let step_lr = case["step_lr"].as_array().map(|_| vector(&case["step_lr"]));
    Schedule::Batches(BatchSchedule {
        order: BatchOrder::AsGiven,
        weight_decay,
        rate_decay: step_lr.map(|step| RateDecay { every: step[0] as usize, factor: step[1] }),
        ..BatchSchedule::new(optimizer, learning_rate, batch_size, 0)
    })
}

fn activation(case: &Value) -> Activation {
    match case["activation"].as_str().unwrap() {
        "relu" => Activation::Relu,
        "leaky_relu" => Activation::LeakyRelu { slope: 0.1 },
        "tanh" => Activation::Tanh,
        "silu" => Activation::Silu,
        "gelu" => Activation::GeluTanh,
        other => panic!("unknown activation {other}"),
    }
}

#[test]
fn each_optimiser_on_each_loss() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/training.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 4 * 4 + 4);
    for case in cases {
        let what = format!("{} by {} with {}", case["loss"], case["optimizer"], case["activation"]);
        let (x, start, end) = (matrix(&case["x"]), network(&case["start"]), network(&case["end"]));
        let (loss, targets) = loss_and_targets(case);
        let activation = activation(case);
        let recorded = vector(&case["losses"]);

        let mut passes = Passes::new(&start, x.nrows());
        forward(&start, x.view(), activation, &mut passes, SEQUENTIAL);
        let pull = loss.pull(passes.output(), &targets);
        assert!(off(&pull, &matrix(&case["pull"])) < 1e-13, "{what}: pull");

        let params = TrainParams {
            loss,
            activation,
            max_epochs: recorded.len(),
            space: TrainingSpace::Full,
            ..TrainParams::new(schedule(case, x.nrows()))
        };
        let mut losses = Vec::new();
        let outcome = train_on(start.clone(), x.view(), &targets, &params, None, &mut |epoch| {
            losses.push(epoch.log_loss.exp());
            ControlFlow::Continue(())
        })
        .unwrap();
        // The observer also sees the end of the last step, which the file does not record.
        assert!(
            off(&losses[..recorded.len()], &recorded) < 1e-11,
            "{what}: {losses:?}, recorded {recorded:?}"
        );
        for ((found, recorded), start) in
            outcome.network.layers().iter().zip(end.layers()).zip(start.layers())
        {
            assert!(off(&found.weight, &recorded.weight) < 1e-10, "{what}: weights");
            assert!(off(&start.weight, &recorded.weight) > 1e-4, "{what}: the weights did not move");
            let (found, recorded) = (found.bias.iter().flatten(), recorded.bias.iter().flatten());
            assert!(off(found, recorded) < 1e-10, "{what}: biases");
        }
    }
}
