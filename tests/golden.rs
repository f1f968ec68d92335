//! Numbers that PyTorch computed, in float64 where it matters; `fixtures/README.md` says how.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Axis};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_kkt::stationarity::{StationarityResidual, TermWeights};
use palimpsest_mlp::import::load_safetensors;
use palimpsest_mlp::passes::{self, Passes, Scope};
use palimpsest_mlp::train::{Schedule, TrainParams, TrainingSpace, train};
use palimpsest_mlp::{Activation, Dense, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use serde_json::Value;

const SEQUENTIAL: Parallelism = Parallelism::Sequential;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn vector(value: &Value) -> Array1<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Array1<f64>> = value.as_array().unwrap().iter().map(vector).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

/// A network with a bias in the first layer only.
fn network(weights: &Value, first_bias: &Value) -> Mlp<f64> {
    let dense = |(l, weight)| Dense { weight: matrix(weight), bias: (l == 0).then(|| vector(first_bias)) };
    Mlp::new(weights.as_array().unwrap().iter().enumerate().map(dense).collect()).unwrap()
}

fn first_bias(network: &Mlp<f64>) -> &Array1<f64> {
    network.layers()[0].bias.as_ref().unwrap()
}

/// Asserts that each number is within `tolerance`, relative to its recorded value.
#[track_caller]
fn assert_close<'a>(
    what: &str,
    found: impl IntoIterator<Item = &'a f64>,
    recorded: impl IntoIterator<Item = &'a f64>,
    tolerance: f64,
) {
    let (mut found, mut recorded) = (found.into_iter(), recorded.into_iter());
    for index in 0.. {
        match (found.next(), recorded.next()) {
            (None, None) => {
                assert!(index > 0, "{what}: nothing to compare");
                return;
            }
            (Some(f), Some(r)) => {
                let error = (f - r).abs() / r.abs();
                assert!(
                    f == r || error <= tolerance,
                    "{what}, number {index}: {f}, recorded {r}, off by {error:e}"
                );
            }
            _ => panic!("{what}: numbers of different lengths"),
        }
    }
}

#[test]
fn stationarity_and_both_gradients() {
    let file = json("stationarity.json");
    let mut kinds = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let kind = case["kind"].as_str().unwrap();
        let what = |part: &str| format!("{kind} {} alpha {}: {part}", case["dims"], case["alpha"]);
        let net = network(&case["weights"], &case["bias_first_layer"]);
        let activation = Activation::SigmoidGate { alpha: case["alpha"].as_f64().unwrap() };
        let (x, lambda) = (matrix(&case["x"]), vector(&case["lam"]));
        let pull = match kind {
            "binary" => OutputPull::Binary(vector(&case["y"]).iter().map(|&y| Label::of_sign(y)).collect()),
            "regression" => OutputPull::Regression(lambda.len()),
            "multiclass" => {
                OutputPull::Margin(vector(&case["y"]).iter().map(|&y| Label(y as usize)).collect())
            }
            other => panic!("unknown kind {other}"),
        };
        let mut residual = StationarityResidual::new(&net, lambda.len(), Scope::AllLayers);
        let squared = residual.evaluate(&net, activation, &pull, x.view(), lambda.view(), SEQUENTIAL).clone();

        assert_close(&what("outputs"), residual.outputs(), &matrix(&case["outputs"]), 1e-10);
        let recorded = vector(&case["stationarity_terms"]);
        assert_close(&what("terms"), squared.weights.iter().chain(&squared.biases[..1]), &recorded, 1e-10);
        assert!(squared.biases[1..].iter().all(|&b| b == 0.0), "{}", what("biases that are not there"));
        let terms = TermWeights::uniform(net.depth());
        assert_close(
            &what("total"),
            [&squared.total(&terms)],
            [&case["stationarity"].as_f64().unwrap()],
            1e-10,
        );

        // The residual hides small gradients behind the weights: they are computed on their own.
        let mut memory = Passes::new(&net, lambda.len());
        passes::forward(&net, x.view(), activation, &mut memory, SEQUENTIAL);
        let mut g = Array2::zeros((lambda.len(), net.outputs()));
        pull.directions(memory.output(), &mut g);
        g *= &lambda.view().insert_axis(Axis(1));
        passes::backward(&net, g.view(), &mut memory, SEQUENTIAL);
        let mut explained = net.zeros_like();
        passes::parameter_gradient(x.view(), &memory, 1.0, 0.0, Scope::AllLayers, &mut explained, SEQUENTIAL);
        let (bias, weights) = case["param_grad"].as_array().unwrap().split_last().unwrap();
        for (found, recorded) in explained.layers().iter().zip(weights) {
            assert_close(&what("weight gradient"), &found.weight, &matrix(recorded), 1e-10);
        }
        assert_close(&what("bias gradient"), first_bias(&explained), &vector(bias), 1e-10);

        let (mut dx, mut dlambda) = (Array2::zeros(x.dim()), Array1::zeros(lambda.len()));
        residual.gradient(&net, activation, &terms, x.view(), &mut dx, &mut dlambda, SEQUENTIAL);
        assert_close(&what("by x"), &dx, &matrix(&case["d_stationarity_dx"]), 1e-10);
        assert_close(&what("by lambda"), &dlambda, &vector(&case["d_stationarity_dlam"]), 1e-10);
        kinds.push(kind);
    }
    assert_eq!(kinds, ["binary", "binary", "binary", "binary", "regression", "multiclass"]);
}

#[test]
fn thirty_steps_of_gradient_descent() {
    let file = json("gradient_descent.json");
    let start = network(&file["weights"], &file["bias_first_layer"]);
    let (x, y, recorded) = (matrix(&file["x"]), vector(&file["y"]), vector(&file["losses"]));
    let params = TrainParams {
        max_epochs: recorded.len(),
        space: TrainingSpace::Full,
        ..TrainParams::new(Schedule::GradientDescent { step_size: 0.05 })
    };
    let mut losses = Vec::new();
    let outcome = train(start, x.view(), y.view(), &params, &mut |epoch| {
        losses.push(epoch.log_loss.exp());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(outcome.epochs, 30);
    // The observer also sees the end of the last step, which the file does not record.
    assert_close("losses", &losses[..30], &recorded, 1e-12);
    let last = network(&file["final_weights"], &file["final_bias"]);
    for (found, recorded) in outcome.network.layers().iter().zip(last.layers()) {
        assert_close("final weights", &found.weight, &recorded.weight, 1e-10);
    }
    assert_close("final bias", first_bias(&outcome.network), first_bias(&last), 1e-10);
}

#[test]
fn imported_networks_compute_what_pytorch_computed() {
    let file = json("checkpoints.json");
    let inputs = matrix(&file["inputs"]);
    for (name, dims, biases) in [
        ("layers_bias_first_only", vec![12, 16, 10, 1], [true, false, false]),
        ("sequential_bias_everywhere", vec![12, 16, 10, 3], [true, true, true]),
    ] {
        let net = load_safetensors(&fixture(&format!("{name}.safetensors"))).unwrap();
        assert_eq!(net.dims(), dims, "{name}");
        assert_eq!(net.layers().iter().map(|l| l.bias.is_some()).collect::<Vec<_>>(), biases, "{name}");
        let recorded = matrix(&file[name]);
        assert_close(name, &passes::outputs(&net, inputs.view(), SEQUENTIAL), &recorded, 1e-6);
    }
}
