//! Files of Keras, ONNX, Flax and scikit-learn, and of PyTorch and NumPy as people save them; then damaged.

use super::*;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../fixtures/", $name)))),*]
    };
}

/// Networks, all with the weights of `sequential_bias_everywhere.pth`.
const READ: &[(&str, &[u8])] = files![
    "namespace.pth",
    "numpy_scalar.pth",
    "pos_weight.pth",
    "buffers.pth",
    "lower_case.pth",
    "underscores.pth",
    "flax.safetensors",
    "coefs.npz",
    "in_out.npz",
    "bias_rows.npz",
    "numbered.npz",
    "flax.npz",
    "keras_names.npz",
    "mlp.skops",
    "pipeline.skops",
    "model.keras",
    "weights_only.weights.h5",
    "legacy.h5",
    "gemm.onnx",
    "matmul_add.onnx",
    "leaky.onnx",
];

/// Files of which a chain must be chosen.
const CHOSEN: &[(&str, &[u8])] =
    files!["two_sets.pth", "ensemble.pth", "autoencoder.pth", "conv_head.pth", "conv.keras", "conv.onnx",];

/// Files that are refused whatever is chosen.
const REFUSED: &[(&str, &[u8])] = files![
    "batch_norm_between.pth",
    "quantised.pth",
    "lora.safetensors",
    "lora_beside_base.safetensors",
    "unknown_names.npz",
    "sklearn.pkl",
    "sklearn_packed.joblib",
    "scaler.skops",
    "external.onnx",
];

fn file(name: &str) -> &'static [u8] {
    let all = READ.iter().chain(CHOSEN).chain(REFUSED);
    all.clone().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no fixture {name}")).1
}

fn read(name: &str) -> Imported {
    read_network(file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What a ReLU network computes is what PyTorch computed for these weights, (n, 3).
fn assert_computes(name: &str, network: &Mlp<f64>) {
    let given: Value = serde_json::from_str(include_str!("../../../fixtures/checkpoints.json")).unwrap();
    let got = outputs(network, matrix(&given["inputs"]).view(), Parallelism::Sequential);
    assert_close(name, got.view(), matrix(&given["sequential_bias_everywhere"]).view());
}

#[test]
fn every_format_computes_what_pytorch_computed() {
    for (name, _) in READ {
        assert_computes(name, &read(name).network);
    }
}

#[test]
fn formats_are_told_by_their_bytes() {
    for (name, format) in [
        ("coefs.npz", ".npz"),
        ("mlp.skops", ".skops"),
        ("model.keras", ".keras"),
        ("legacy.h5", "Keras .h5"),
        ("gemm.onnx", ".onnx"),
        ("flax.safetensors", ".safetensors"),
        ("namespace.pth", ".pth"),
    ] {
        assert_eq!(Format::of(file(name)).map(Format::name), Some(format), "{name}");
    }
    let names: std::collections::BTreeSet<_> = Format::all().iter().map(|format| format.name()).collect();
    assert_eq!(names.len(), Format::all().len(), "formats are told apart by name");
}

#[test]
fn layouts_are_recognised_and_said_aloud() {
    let said = |name: &str, words: &str| read(name).assumed.iter().any(|sentence| sentence.contains(words));
    for name in ["in_out.npz", "numbered.npz"] {
        assert!(said(name, "stored as (in, out)"), "{name}: {:?}", read(name).assumed);
    }
    for name in ["bias_rows.npz", "lower_case.pth", "underscores.pth"] {
        assert!(!said(name, "(in, out)"), "{name}");
    }
}

#[test]
fn buffers_that_belong_to_no_layer_are_named_and_left() {
    assert_eq!(read("buffers.pth").ignored, ["normalize.mean", "normalize.std", "steps", "ema.decay"]);
    assert!(read("pos_weight.pth").ignored.contains(&"loss.pos_weight".to_owned()));
}

#[test]
fn what_a_file_says_beside_weights_is_found() {
    for (name, finding, value) in [
        ("namespace.pth", "n", "81 to 100"),
        ("namespace.pth", "args.seed", "7"),
        ("namespace.pth", "epoch", "10"),
        ("namespace.pth", "optimizer.param_groups.0.weight_decay", "0.002"),
        ("numpy_scalar.pth", "epoch", "3"),
        ("numpy_scalar.pth", "when.seed", "1"),
        ("pos_weight.pth", "n", "81 to 100"),
        ("pos_weight.pth", "loss.pos_weight", "3"),
        ("buffers.pth", "normalize.mean", "0.4914, 0.4914, 0.4914"),
        ("buffers.pth", "steps", "1200"),
        ("coefs.npz", "n", "450"),
        ("coefs.npz", "alpha", "0.0001"),
        (
            "coefs.npz",
            "feature_names_in_",
            "pixel0, pixel1, pixel2, pixel3, pixel4, pixel5, pixel6, pixel7 and 4 more",
        ),
        ("flax.safetensors", "seed", "11"),
        ("mlp.skops", "n", "30"),
        ("mlp.skops", "MLPClassifier.random_state", "5"),
        ("pipeline.skops", "n", "30"),
        ("legacy.h5", "optimizer.learning_rate", "0.001"),
        ("legacy.h5", "training.loss", "sparse_categorical_crossentropy"),
        ("legacy.h5", "output activation", "softmax"),
        ("matmul_add.onnx", "output activation", "softmax"),
        ("leaky.onnx", "output activation", "sigmoid"),
    ] {
        let findings = read(name).findings;
        let found = findings.iter().find(|f| f.name == finding);
        assert_eq!(found.map(|f| f.value.as_str()), Some(value), "{name}: {findings:#?}");
    }
    let scaled = read("pipeline.skops").findings;
    assert!(scaled.iter().any(|f| f.name.ends_with("mean_") && f.numbers.len() == 12), "{scaled:#?}");
}

#[test]
fn activations_are_read_where_they_are_written() {
    for (name, hidden, output) in [
        ("mlp.skops", Some(StoredActivation::Relu), Some("softmax")),
        ("model.keras", Some(StoredActivation::Relu), Some("softmax")),
        ("legacy.h5", Some(StoredActivation::Relu), Some("softmax")),
        ("weights_only.weights.h5", None, None),
        ("gemm.onnx", Some(StoredActivation::Relu), Some("linear")),
        ("matmul_add.onnx", Some(StoredActivation::Relu), Some("softmax")),
        ("leaky.onnx", Some(StoredActivation::LeakyRelu { slope: 0.2 }), Some("sigmoid")),
        ("coefs.npz", None, None),
    ] {
        let imported = read(name);
        assert_eq!(imported.hidden_activation, hidden, "{name}");
        assert_eq!(imported.output_activation.as_deref(), output, "{name}");
    }
}

#[test]
fn several_chains_are_listed_and_one_is_chosen() {
    for (name, words, choice) in [
        ("two_sets.pth", "several sets of weights, `model`, `ema`", "model"),
        ("ensemble.pth", "`nets.0` (12-16-10-3), `nets.1` (12-16-10-3)", "nets.0"),
        ("autoencoder.pth", "`decoder` (3-16-12), `encoder` (12-16-10-3)", "encoder"),
        ("conv_head.pth", "`conv1.weight` of shape [2, 1, 3, 3] looks like a convolution", "fc"),
        ("conv.keras", "of kind Conv2D", "dense"),
        ("conv.onnx", "an operator Conv", "layers.0.weight"),
    ] {
        let message = refusal(file(name));
        assert!(message.contains(words) && message.contains("--chain "), "{name}: {message}");
        let chosen = read_network_with(file(name), &ReadOptions::of_chain(choice));
        let chosen = chosen.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(chosen.chain, choice);
        assert!(!chosen.chains.is_empty());
        assert_computes(name, &chosen.network);
        let wrong = read_network_with(file(name), &ReadOptions::of_chain("trunk")).unwrap_err().to_string();
        assert!(
            wrong.contains("no chain of dense layers `trunk`") && wrong.contains("choose one"),
            "{name}: {wrong}"
        );
    }
    assert_eq!(read_network(fixture("named_layers.pth")).unwrap().chain, "input+hidden+output");
    let both = read_network_with(file("autoencoder.pth"), &ReadOptions::of_chain("encoder+decoder")).unwrap();
    assert_eq!(both.network.dims(), [12, 16, 10, 3, 16, 12]);
    let head = read_network_with(file("conv_head.pth"), &ReadOptions::of_chain("fc")).unwrap();
    assert!(head.assumed.iter().any(|sentence| sentence.contains("features")), "{:?}", head.assumed);
    assert!(head.ignored.iter().any(|name| name == "bn.running_mean"), "{:?}", head.ignored);
}

#[test]
fn refusals_of_other_formats_say_what_to_do() {
    for (name, words) in [
        ("batch_norm_between.pth", "`1.weight` of shape [16] looks like a normalisation layer"),
        ("quantised.pth", "`0.weight` is a quantised tensor; convert it"),
        ("lora.safetensors", "is part of an adapter: merge it into its base model first"),
        ("lora_beside_base.safetensors", "is part of an adapter: merge it into its base model first"),
        ("unknown_names.npz", "names that are read: NAME.weight"),
        ("sklearn.pkl", "numpy.savez(\"model.npz\""),
        ("sklearn_packed.joblib", "joblib.load"),
        ("scaler.skops", "no MLPClassifier or MLPRegressor"),
        ("external.onnx", "are in another file"),
    ] {
        let message = refusal(file(name));
        assert!(message.contains(words), "{name}: {message}");
        assert!(
            read_network_with(file(name), &ReadOptions::of_chain("0")).is_err() || name.starts_with("batch")
        );
    }
}

#[test]
fn no_truncation_of_a_format_is_read_as_another_network() {
    for (name, bytes) in READ.iter().chain(CHOSEN).chain(REFUSED) {
        let whole = read_network(bytes).ok().map(|imported| imported.network);
        for end in 0..bytes.len() {
            // An ONNX model ends where its last field ends; what was cut off then said nothing of the network.
            if let Ok(cut) = read_network(&bytes[..end]) {
                assert!(
                    name.ends_with(".onnx") && Some(&cut.network) == whole.as_ref(),
                    "{name} cut at {end}"
                );
            }
        }
    }
}

#[test]
fn no_flip_of_a_format_panics_or_passes_a_checksum() {
    for (name, bytes) in READ.iter().chain(CHOSEN) {
        let whole = read_network(bytes).ok().map(|imported| imported.network);
        // Every byte of small files, every few of the larger ones.
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 8192) {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x41;
            if let (Ok(read), true) = (read_network(&flipped), bytes.starts_with(b"PK")) {
                assert_eq!(Some(&read.network), whole.as_ref(), "{name} flipped at {at}");
            }
        }
    }
}

#[test]
fn mutations_inside_the_archives_of_others_do_not_panic() {
    for (name, bytes) in
        READ.iter().chain(CHOSEN).filter(|(name, _)| [".skops", ".keras"].iter().any(|e| name.ends_with(e)))
    {
        let members = members_of(bytes);
        let mut rng = Seed::new(4).named(name).rng();
        for round in 0..10_000 {
            let mut members = members.clone();
            let target = round % members.len();
            members[target].1 = mutated(&members[target].1, &mut rng);
            let _ = read_network(&zip_of(&members));
        }
    }
}
