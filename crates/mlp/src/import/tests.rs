//! Files of PyTorch and NumPy against the outputs PyTorch computed, then the same files damaged in every way.

use std::fs::File;

use ndarray::{Array2, ArrayView2};
use ndarray_rand::rand::Rng;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_numerics::zip::{Archive, Member};
use serde_json::Value;

use super::file::MAX_FILE_BYTES;
use super::*;
use crate::passes::outputs;

mod formats;
mod more;

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../fixtures/", $name)))),*]
    };
}

/// Networks, by `fixtures/README.md`.
const READ: &[(&str, &[u8])] = fixtures![
    "layers_bias_first_only.pth",
    "layers_bias_first_only.npz",
    "layers_bias_first_only.safetensors",
    "sequential_bias_everywhere.pth",
    "sequential_bias_everywhere.npz",
    "sequential_bias_everywhere.safetensors",
    "wrapped_float64.pth",
    "bfloat16.pth",
    "half.pth",
    "training_run.pth",
    "views.pth",
    "parameters_protocol_4.pth",
    "named_layers.pth",
    "yardstick.npz",
    "mixed_compressed.npz",
];

/// Files that are refused, and why.
const REFUSED: &[(&str, &[u8])] = fixtures![
    "convolution.pth",
    "batch_norm.pth",
    "whole_model.pth",
    "before_1_6.pth",
    "torchscript.pt",
    "objects.npz",
    "os_system.pth",
];

fn fixture(name: &str) -> &'static [u8] {
    READ.iter().chain(REFUSED).find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no fixture {name}")).1
}

fn refusal(bytes: &[u8]) -> String {
    read_network(bytes).expect_err("a refusal").to_string()
}

/// The outputs PyTorch noted for a fixture, (n, outputs).
fn expected(name: &str) -> Array2<f64> {
    let made: Value = serde_json::from_str(include_str!("../../fixtures/made.json")).unwrap();
    let given: Value = serde_json::from_str(include_str!("../../fixtures/checkpoints.json")).unwrap();
    let stem = name.split('.').next().unwrap();
    let of = match stem {
        "wrapped_float64" => &given["layers_bias_first_only"],
        _ if given.get(stem).is_some() => &given[stem],
        _ => &made["outputs"][name],
    };
    matrix(of)
}

fn matrix(rows: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone()).unwrap();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

/// A stored archive of members (name, bytes) with right checksums, so that damage inside reaches the readers.
fn zip_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let mut sum = flate2::Crc::new();
        sum.update(content);
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let common = [&[0; 8][..], &sum.sum().to_le_bytes(), &size, &size, &name_length, &[0; 2]].concat();
        let at = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        list.extend([b"PK\x01\x02\x14\x00\x14\x00", &common[..], &[0; 10], &at, name.as_bytes()].concat());
        bytes.extend([b"PK\x03\x04\x14\x00", &common[..], name.as_bytes(), content].concat());
    }
    let (count, at) = (u16::try_from(members.len()).unwrap().to_le_bytes(), bytes.len() as u32);
    let length = (list.len() as u32).to_le_bytes();
    bytes.extend(list);
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &length, &at.to_le_bytes(), &[0; 2]].concat());
    bytes
}

fn members_of(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let archive = Archive::open(bytes).unwrap();
    let content = |m: &Member<'_>| m.content(&mut (1 << 20)).unwrap().into_owned();
    archive.members().iter().map(|m| (m.name().to_owned(), content(m))).collect()
}

/// The archive with one member replaced, appended or, for `None`, left out.
fn with_member(bytes: &[u8], name: &str, content: Option<&[u8]>) -> Vec<u8> {
    let mut members = members_of(bytes);
    members.retain(|(n, _)| n != name);
    members.extend(content.map(|content| (name.to_owned(), content.to_vec())));
    zip_of(&members)
}

#[test]
fn every_file_computes_what_pytorch_computed() {
    let given: Value = serde_json::from_str(include_str!("../../fixtures/checkpoints.json")).unwrap();
    let inputs = matrix(&given["inputs"]);
    for (name, bytes) in READ {
        let network = read_network(bytes).unwrap_or_else(|e| panic!("{name}: {e}")).network;
        let got = outputs(&network, inputs.view(), Parallelism::Sequential);
        let want = expected(name);
        assert_close(name, got.view(), want.view());
    }
}

fn assert_close(name: &str, got: ArrayView2<'_, f64>, want: ArrayView2<'_, f64>) {
    assert_eq!(got.dim(), want.dim(), "{name}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-6 * want.abs(), "{name}: {got} and {want}");
    }
}

#[test]
fn what_was_found_is_told() {
    let run = read_network(fixture("training_run.pth")).unwrap();
    assert_eq!((run.format, run.dtype), (pth::FORMAT, Dtype::Float32));
    let prefix = "module.layers";
    let used =
        [".0.weight", ".0.bias", ".1.weight", ".2.weight"].map(|part| format!("{prefix}{part}")).to_vec();
    assert_eq!(run.used, used);
    assert_eq!(
        run.ignored,
        ["epoch", "optimizer", "scheduler", "loss", "history", "note", "best", "seed"],
        "in the order of the file"
    );
    assert!(run.assumed.iter().any(|a| a.contains("numbers in their names")), "{:?}", run.assumed);
    let named = read_network(fixture("named_layers.pth")).unwrap();
    assert_eq!(named.used, ["input.weight", "input.bias", "hidden.weight", "output.weight"]);
    assert!(named.assumed.iter().any(|a| a.contains("widths chain")), "{:?}", named.assumed);
    for (name, format, dtype) in [
        ("bfloat16.pth", pth::FORMAT, Dtype::Bfloat16),
        ("half.pth", pth::FORMAT, Dtype::Float16),
        ("wrapped_float64.pth", pth::FORMAT, Dtype::Float64),
        ("mixed_compressed.npz", npz::FORMAT, Dtype::Float16),
        ("sequential_bias_everywhere.safetensors", safetensors::FORMAT, Dtype::Float32),
    ] {
        let imported = read_network(fixture(name)).unwrap();
        assert_eq!((imported.format, imported.dtype), (format, dtype), "{name}");
    }
}

#[test]
fn refusals_say_why_and_what_to_do() {
    for (name, words) in [
        ("convolution.pth", "`0.weight` of shape [2, 1, 3, 3] looks like a convolution"),
        ("batch_norm.pth", "`0.weight` of shape [4] looks like a normalisation layer"),
        (
            "whole_model.pth",
            "torch.nn.modules.container.Sequential: refused, nothing was run; save the weights alone",
        ),
        ("before_1_6.pth", "save it again"),
        ("torchscript.pt", "TorchScript"),
        ("objects.npz", "`|O`"),
        ("os_system.pth", "asks to call posix.system: refused"),
    ] {
        let message = refusal(fixture(name));
        assert!(message.contains(words), "{name}: {message}");
    }
    assert!(!Path::new("/tmp/palimpsest_was_here").exists());
}

#[test]
fn altered_archives_are_refused_by_what_is_wrong() {
    let (pth, folder) = (fixture("wrapped_float64.pth"), "wrapped_float64");
    let record = |name: &str| format!("{folder}/{name}");
    let altered = |name: &str, content| refusal(&with_member(pth, &record(name), content));
    assert!(altered("byteorder", Some(&b"big"[..])).contains("byte order is `big`"));
    assert!(altered("data/2", None).contains("record `data/2` is missing"));
    assert!(
        altered("data/2", Some(&[0; 1272][..])).contains("announces 160 numbers of float64 but 1272 bytes")
    );
    assert!(altered("data.pkl", None).contains("no data.pkl"));
    assert!(altered("data.pkl", Some(&b"}."[..])).contains("its keys are []"));
    assert!(altered("data.pkl", Some(&b"]."[..])).contains("no dictionary"));
    assert!(altered("data.pkl", Some(&b"}q\x00K\x01h\x00s."[..])).contains("its keys are [`1`]"));
    let silent = read_network(&with_member(pth, &record("byteorder"), None)).unwrap();
    assert!(silent.assumed[0].contains("little-endian"), "{:?}", silent.assumed);
    let npz = fixture("layers_bias_first_only.npz");
    let gone = refusal(&with_member(npz, "layers.0.weight.npy", None));
    assert!(gone.contains("no weight"), "{gone}");
    let extra = members_of(npz)[0].1.clone();
    let stranger = refusal(&with_member(npz, "layers.0.alpha.npy", Some(&extra)));
    assert!(stranger.contains("layers.0.alpha"), "{stranger}");
    let beside = read_network(&with_member(npz, "X.npy", Some(b"anything"))).unwrap();
    assert_eq!(beside.ignored, ["X"]);
    for (bytes, words) in [
        (&b"PLMPSEST................"[..], ".palimpsest"),
        (b"\x89PNG\r\n\x1a\n        ", "does not begin like"),
        (b"\x89HDF\r\n\x1a\n        ", "beginning is damaged"),
        (b"", "does not begin like"),
        (b"PK", "no end record"),
        (b"\x80\x04}.", "bare pickle"),
    ] {
        let message = refusal(bytes);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn sets_of_weights_are_found_or_told_apart() {
    // The state dictionary of the fixture, wrapped anew: everything between the protocol and the end.
    let bytes = fixture("layers_bias_first_only.pth");
    let record = "layers_bias_first_only/data.pkl";
    let pickle = &members_of(bytes).into_iter().find(|(name, _)| name == record).unwrap().1;
    let inner = &pickle[2..pickle.len() - 1];
    let key = |name: &str| [b"X", &(name.len() as u32).to_le_bytes()[..], name.as_bytes()].concat();
    let read = |pickle: Vec<u8>| read_network(&with_member(bytes, record, Some(&pickle)));
    let nested = |levels: usize| {
        let mut program = b"\x80\x02".to_vec();
        (0..levels).for_each(|_| program.extend([b"}", &key("model")[..]].concat()));
        program.extend(inner);
        program.extend(b"s".repeat(levels));
        [program, b".".to_vec()].concat()
    };
    for levels in 0..=4 {
        assert!(read(nested(levels)).is_ok(), "{levels} levels");
    }
    assert!(read(nested(5)).unwrap_err().to_string().contains("4 levels deep"));
    let two = [b"\x80\x02}(", &key("model")[..], inner, &key("average"), inner, b"u."].concat();
    let message = read(two).unwrap_err().to_string();
    assert!(message.contains("several sets of weights, `model`, `average`"), "{message}");
    // One set referred to twice is one set.
    let twice =
        [b"\x80\x02}(", &key("model")[..], inner, b"r\x00\x10\x00\x00", &key("best"), b"j\x00\x10\x00\x00u."];
    assert_eq!(read(twice.concat()).unwrap().ignored, ["best"]);
}

#[test]
fn a_file_on_disk_is_read_by_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.bin");
    std::fs::write(&path, fixture("half.pth")).unwrap();
    assert_eq!(load_network(&path).unwrap().format, pth::FORMAT);
    File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    assert!(load_network(&path).unwrap_err().to_string().contains("larger than 1 GiB"));
    let message = load_network(folder.path()).unwrap_err().to_string();
    assert!(message.contains("not a regular file"), "{message}");
}

#[test]
fn tensors_by_hand_are_assembled_or_named() {
    let tensor =
        |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec(), vec![0.5; shape.iter().product()]);
    let net = network_from_tensors(vec![tensor("1.weight", &[1, 4]), tensor("0.weight", &[4, 3])]).unwrap();
    assert_eq!(net.dims(), [3, 4, 1]);
    for (tensors, word) in [
        (vec![tensor("conv1.weight", &[4, 3, 3, 3])], "convolution"),
        (vec![tensor("0.weight", &[4, 3]), tensor("1.weight", &[1, 5])], "do not chain"),
        (vec![tensor("0.weight", &[4, 3]), tensor("0.bias", &[5])], "a bias of 5"),
        (vec![tensor("0.weight", &[0, 3])], "empty shape"),
        (vec![("0.weight".into(), vec![2, 2], vec![1.0])], "2 x 2 values"),
        (vec![("0.weight".into(), vec![usize::MAX, 2], vec![1.0])], "2 values"),
        (vec![], "no layers"),
    ] {
        let error = network_from_tensors(tensors).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn no_truncation_is_read() {
    for (name, bytes) in READ {
        for end in 0..bytes.len() {
            assert!(read_network(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn no_flip_of_an_archive_changes_the_numbers_unnoticed() {
    for (name, bytes) in READ {
        let good = read_network(bytes).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 0x41;
            // A .safetensors file has no checksum: a flipped weight there is another weight.
            if let Ok(read) = read_network(&flipped) {
                assert!(
                    read.format == safetensors::FORMAT || read.network == good.network,
                    "{name} flipped at {at}"
                );
            }
        }
    }
}

/// Up to four bytes replaced by others.
fn mutated(bytes: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut mutated = bytes.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..bytes.len());
        mutated[at] = rng.random();
    }
    mutated
}

#[test]
fn ten_thousand_mutations_behind_the_checksums_do_not_panic() {
    for (name, bytes) in READ.iter().chain(REFUSED).filter(|(_, bytes)| bytes.starts_with(b"PK")) {
        let members = members_of(bytes);
        // Pickles and arrays, which checksums would protect from mutation of the file.
        let targets: Vec<usize> = (0..members.len())
            .filter(|&i| members[i].0.ends_with(".pkl") || members[i].0.ends_with(".npy"))
            .collect();
        let mut rng = Seed::new(2).named(name).rng();
        let mut read = 0;
        for round in 0..10_000 {
            let target = targets[round % targets.len()];
            let mut members = members.clone();
            members[target].1 = mutated(&members[target].1, &mut rng);
            read += usize::from(read_network(&zip_of(&members)).is_ok());
        }
        let refused_whole = REFUSED.iter().any(|(n, _)| n == name);
        assert!(refused_whole || read > 0, "{name}: no mutation got past the pickle");
    }
}
