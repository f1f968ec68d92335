//! More files as people save them, against what the programs that wrote them answer; see `fixtures/README.md`.

use super::*;

macro_rules! more {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../fixtures/more/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = more![
    "compiled_parallel.pth",
    "averaged.pth",
    "average_beside.pth",
    "normalize_flatten.pth",
    "bias_missing.pth",
    "prelu.pth",
    "weight_norm.pth",
    "everything.pth",
    "from_one_float64.npz",
    "square_in_out.npz",
    "square.npz",
    "vector_out.npz",
    "one_hidden.skops",
    "regressor.skops",
    "functional.keras",
    "scaled_gemm.onnx",
];

fn file(name: &str) -> &'static [u8] {
    FILES.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no fixture {name}")).1
}

fn read(name: &str) -> Imported {
    read_network(file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The network answers as the program that wrote its file did, or as PyTorch did for the weights that most files hold.
fn assert_answers(name: &str, network: &Mlp<f64>) {
    let given: Value = serde_json::from_str(include_str!("../../../fixtures/checkpoints.json")).unwrap();
    let own: Value = serde_json::from_str(include_str!("../../../fixtures/more/answers.json")).unwrap();
    let expected = own.get(name).unwrap_or(&given["sequential_bias_everywhere"]);
    let got = outputs(network, matrix(&given["inputs"]).view(), Parallelism::Sequential);
    assert_close(name, got.view(), matrix(expected).view());
}

#[test]
fn what_training_leaves_around_weights_does_no_harm() {
    for (name, ignored) in [
        ("compiled_parallel.pth", vec!["epoch"]),
        ("averaged.pth", vec!["n_averaged"]),
        ("normalize_flatten.pth", vec!["0.mean", "0.std"]),
        ("bias_missing.pth", vec![]),
        (
            "everything.pth",
            vec![
                "optimizer_state_dict",
                "torch_rng",
                "numpy_rng",
                "python_rng",
                "scaler",
                "history",
                "window",
                "steps",
                "when",
                "kept_as",
                "kind",
                "folder",
                "seed",
            ],
        ),
    ] {
        let imported = read(name);
        assert_eq!(imported.ignored, ignored, "{name}");
        assert_answers(name, &imported.network);
    }
    assert!(read("bias_missing.pth").network.layers()[1].bias.is_none());
    let mean = read("normalize_flatten.pth").findings.into_iter().find(|found| found.name == "0.mean");
    assert_eq!(mean.unwrap().numbers, [0.25; 3]);
}

#[test]
fn an_average_beside_the_weights_is_asked_about() {
    let message = refusal(file("average_beside.pth"));
    assert!(message.contains("`ema.module` (12-16-10-3), `model` (12-16-10-3)"), "{message}");
    let chosen = read_network_with(file("average_beside.pth"), &ReadOptions::of_chain("model")).unwrap();
    assert_answers("average_beside.pth", &chosen.network);
}

#[test]
fn layouts_and_scales_of_every_writer_give_the_same_answers() {
    for (name, dtype, said) in [
        ("from_one_float64.npz", Dtype::Float64, "the order of the numbers"),
        ("square_in_out.npz", Dtype::Float32, "stored as (in, out): only so"),
        ("one_hidden.skops", Dtype::Float32, "(in, out), as scikit-learn does"),
        ("regressor.skops", Dtype::Float32, "(in, out), as scikit-learn does"),
        ("scaled_gemm.onnx", Dtype::Float32, "the file says"),
    ] {
        let imported = read(name);
        assert_eq!(imported.dtype, dtype, "{name}");
        assert!(imported.assumed.iter().any(|a| a.contains(said)), "{name}: {:?}", imported.assumed);
        assert_answers(name, &imported.network);
    }
    // What is read begins behind the layers that scale and flatten.
    let functional = read("functional.keras");
    assert_eq!(functional.hidden_activation, Some(StoredActivation::Relu));
    assert_answers("functional.keras", &functional.network);
    let square = read("square.npz").assumed;
    assert!(square.iter().any(|a| a.contains("would fit as (in, out), too")), "{square:?}");
    let loss = read("regressor.skops").findings.into_iter().find(|found| found.name.ends_with("loss"));
    assert_eq!(loss.unwrap().value, "squared_error");
}

#[test]
fn what_stands_in_the_way_is_called_by_its_name() {
    for (name, words) in [
        ("prelu.pth", "`1.weight` of shape [1] looks like the slope of a PReLU"),
        (
            "weight_norm.pth",
            "original0` of shape [16, 1] is a weight in parts (normalised or pruned); remove",
        ),
        ("vector_out.npz", "`W2` of shape [16] is a row, and weights are matrices"),
    ] {
        let message = refusal(file(name));
        assert!(message.contains(words), "{name}: {message}");
    }
}
