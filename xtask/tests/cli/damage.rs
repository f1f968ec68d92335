//! Files that are cut, altered, foreign or meant to harm: exit code 1, a sentence, nothing half written.

use ndarray::{Array1, Array2};
use ndarray_npy::WriteNpyExt;
use palimpsest_mlp::Checkpoint;
use serde_json::{Value, json};

use crate::desk::{ATTACK, Desk, JUDGE, TRAIN};

/// A `.safetensors` file of `f32` tensors, written by hand because the library refuses to write bad ones.
fn safetensors(tensors: &[(&str, &[usize], f32)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for &(name, shape, scale) in tensors {
        let start = data.len();
        for i in 0..shape.iter().product::<usize>() {
            data.extend_from_slice(&(scale * (1.0 + i as f32).sin()).to_le_bytes());
        }
        header.insert(
            name.into(),
            json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }),
        );
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn npy<A: ndarray_npy::WritableElement, D: ndarray::Dimension>(array: &ndarray::Array<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

/// The bytes of an `.npy` file that announces `shape` and holds four values.
fn announcing(shape: &str) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).unwrap();
    [b"\x93NUMPY\x01\x00".as_slice(), &length.to_le_bytes(), header.as_bytes(), &[0; 16]].concat()
}

#[test]
fn files_that_are_no_attackable_network_are_refused() {
    let desk = Desk::with_victim();
    let ours = desk.read("victim/model.palimpsest");
    let theirs = desk.read("victim/model.safetensors");
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut nan = Checkpoint::from_bytes(&ours).unwrap();
    nan.network.layers_mut()[0].weight[[3, 5]] = f32::NAN;
    let (w1, w2): (&[usize], &[usize]) = (&[4, 3], &[1, 4]);
    let files: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty.palimpsest", Vec::new(), &["does not begin like"]),
        ("short.palimpsest", ours[..30].to_vec(), &["does not begin like"]),
        ("cut.palimpsest", ours[..ours.len() / 2].to_vec(), &["copy it again"]),
        ("cut-by-one.palimpsest", ours[..ours.len() - 1].to_vec(), &["copy it again"]),
        ("long.palimpsest", [ours.as_slice(), b"x"].concat(), &["copy it again"]),
        ("flipped.palimpsest", flipped(&ours, ours.len() / 2), &["checksum", "copy it again"]),
        ("lying.palimpsest", [&ours[..12], &u64::MAX.to_le_bytes(), &ours[20..]].concat(), &["announces"]),
        ("newer.palimpsest", [&ours[..8], &9_u32.to_le_bytes(), &ours[12..]].concat(), &["version 9"]),
        ("nan.palimpsest", nan.to_bytes(), &["NaN or infinite weights"]),
        ("renamed.palimpsest", theirs.clone(), &["does not begin like"]),
        ("cut.safetensors", theirs[..theirs.len() / 2].to_vec(), &["safetensors"]),
        ("flipped.safetensors", flipped(&theirs, 9), &["safetensors"]),
        ("lying.safetensors", [&(u64::MAX / 2).to_le_bytes(), &theirs[8..]].concat(), &["announces"]),
        (
            "image.safetensors",
            [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 500]].concat(),
            &["does not begin like"],
        ),
        ("image.png", [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 500]].concat(), &["does not begin like"]),
        ("cut.pth", b"PK\x03\x04 and no more".to_vec(), &[".pth"]),
        ("letter.txt", b"Dear attacker".to_vec(), &["does not begin like"]),
        ("nan.safetensors", safetensors(&[("0.weight", w1, f32::NAN), ("1.weight", w2, 1.0)]), &["NaN"]),
        ("broken.safetensors", safetensors(&[("0.weight", w1, 1.0), ("1.weight", &[1, 5], 1.0)]), &["chain"]),
        ("single.safetensors", safetensors(&[("0.weight", &[1, 3], 1.0)]), &["single layer"]),
        ("zero.safetensors", safetensors(&[("0.weight", w1, 0.0), ("1.weight", w2, 1.0)]), &["zero"]),
        ("huge.safetensors", safetensors(&[("0.weight", w1, 3e38), ("1.weight", w2, 1.0)]), &["first layer"]),
        ("dead.safetensors", safetensors(&[("0.weight", w1, 1.0), ("1.weight", w2, 0.0)]), &["NaN"]),
    ];
    for (name, bytes, words) in files {
        desk.write(name, bytes);
        desk.refused(&format!("reconstruct --model {name} --restarts 2 --steps 5 --out attack"), 1, words);
        assert!(desk.names("attack").is_empty(), "{name} left {:?}", desk.names("attack"));
    }
    for name in ["nothing.palimpsest", "nothing.safetensors", "nothing", "victim", "/dev/null"] {
        desk.refused(&format!("reconstruct --model {name} --out attack"), 1, &["cannot read", name]);
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let desk = Desk::with_victim();
    for folder in ["broken", "data", "out"] {
        std::fs::create_dir(desk.path(folder)).unwrap();
    }
    for pipe in ["pipe.palimpsest", "broken/run.json", "data/train-images-idx3-ubyte", "out/snapshot-1.bin"] {
        let made = std::process::Command::new("mkfifo").arg(desk.path(pipe)).status();
        assert!(made.unwrap().success(), "mkfifo is part of every Unix");
    }
    desk.refused("reconstruct --model pipe.palimpsest --out attack", 1, &["not a regular file"]);
    desk.refused(&JUDGE.replace("attack", "broken"), 1, &["not a regular file"]);
    desk.refused(
        "train --data mnist --data-dir data --task odd-even --n 10 --out x",
        1,
        &["not a regular file"],
    );
    let resumed = ATTACK.replace("--out attack", "--resume --out out");
    desk.refused(&resumed, 1, &["no snapshot in out can be used"]);
}

/// Damages to the folder that `reconstruct` wrote, each with words of the complaint.
fn damages(desk: &Desk) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (run, candidates) = (desk.read("attack/run.json"), desk.read("attack/candidates.npy"));
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut run = desk.json("attack/run.json");
        edit(&mut run);
        run.to_string().into_bytes()
    };
    let m = usize::try_from(desk.json("attack/run.json")["candidates"].as_u64().unwrap()).unwrap();
    let filled = |value: f32| npy(&Array2::from_elem((m, 784), value));
    vec![
        ("run.json", Vec::new(), "damaged"),
        ("run.json", run[..run.len() / 2].to_vec(), "damaged"),
        ("run.json", b"{}".to_vec(), "damaged"),
        ("run.json", "[".repeat(100_000).into_bytes(), "damaged"),
        ("run.json", vec![0xff; 100], "run.json"),
        ("run.json", edited(&|run| run["ranking"] = json!([999_999])), "ranking"),
        ("run.json", edited(&|run| run["ranking"] = json!([])), "ranking"),
        ("run.json", edited(&|run| run["ranking"] = json!([-1])), "damaged"),
        ("run.json", edited(&|run| run["candidates"] = json!(7)), "differ in length"),
        ("run.json", edited(&|run| run["dims"] = json!([])), "no longer the network"),
        ("run.json", edited(&|run| run["input_shape"] = json!([1, 2, 3])), "shape"),
        ("run.json", edited(&|run| run["input_shape"] = json!([u64::MAX, u64::MAX, 3])), "shape"),
        ("run.json", edited(&|run| run["runs"][0]["relative_residual"] = Value::Null), "damaged"),
        ("run.json", edited(&|run| run["model"] = json!("/nowhere/model.palimpsest")), "cannot read"),
        ("candidates.npy", Vec::new(), "candidates.npy"),
        ("appearance.npy", Vec::new(), "appearance.npy"),
        ("appearance.npy", candidates.clone(), "appearance.npy has another shape"),
        ("mean_image.npy", Vec::new(), "mean_image.npy"),
        ("mean_image.npy", candidates.clone(), "mean_image.npy has not the width"),
        ("candidates.npy", candidates[..candidates.len() / 2].to_vec(), "reading all data"),
        ("candidates.npy", [candidates.as_slice(), b"x"].concat(), "extra"),
        ("candidates.npy", announcing("(1099511627776, 784)"), "more values than it holds"),
        ("candidates.npy", announcing("(2305843009213693952, 784)"), "more values than it holds"),
        ("candidates.npy", announcing(&"(".repeat(60_000)), "header"),
        ("candidates.npy", npy(&Array2::<f64>::zeros((m, 784))), "candidates.npy"),
        ("candidates.npy", npy(&Array1::<f32>::zeros(m)), "candidates.npy"),
        ("candidates.npy", npy(&Array2::<f32>::zeros((0, 784))), "differ in length"),
        ("candidates.npy", npy(&Array2::<f32>::zeros((m, 783))), "shape"),
        ("candidates.npy", filled(f32::NAN), "not finite"),
        ("candidates.npy", filled(f32::MAX), "not finite"),
        ("confidence.npy", npy(&Array1::<f32>::zeros(5)), "differ in length"),
        ("confidence.npy", npy(&Array1::<f32>::from_elem(m, f32::NAN)), "[0, 1]"),
        ("confidence.npy", npy(&Array1::<f32>::from_elem(m, 10.0)), "[0, 1]"),
    ]
}

#[test]
fn a_damaged_reconstruction_is_neither_judged_nor_shown() {
    let desk = Desk::with_judged();
    for (name, bytes, words) in damages(&desk) {
        let name = format!("attack/{name}");
        let whole = desk.read(&name);
        desk.write(&name, bytes);
        desk.refused(&JUDGE.replace("judged", "again"), 1, &[words]);
        assert!(desk.names("again").is_empty(), "{words}: {:?}", desk.names("again"));
        desk.refused("report attack", 1, &[words]);
        desk.refused("report judged", 1, &[words]);
        assert!(!desk.path("attack/report.html").exists() && !desk.path("judged/report.html").exists());
        desk.write(&name, whole);
    }
    std::fs::remove_file(desk.path("attack/candidates.npy")).unwrap();
    desk.refused(JUDGE, 1, &["cannot read", "candidates.npy"]);
    desk.refused(
        "evaluate --reconstruction nowhere --data mnist --task odd-even --n 10 --out again",
        1,
        &["run.json"],
    );
}

#[test]
fn a_damaged_score_is_not_shown() {
    let desk = Desk::with_judged();
    let whole = desk.json("judged/score.json");
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut score = whole.clone();
        edit(&mut score);
        score.to_string()
    };
    for (score, words) in [
        (String::new(), "damaged"),
        ("[]".into(), "damaged"),
        (edited(&|s| s["matches"] = json!([])), "run evaluate again"),
        (edited(&|s| s["matches"][3]["candidate"] = json!(999_999)), "run evaluate again"),
        (edited(&|s| s["data"]["n"] = json!(12)), "run evaluate again"),
        (edited(&|s| s["data"]["data"] = json!("imagenet")), "imagenet"),
        (edited(&|s| s["data"]["task"] = json!("cats")), "cats"),
        (edited(&|s| s["table"]["rows"] = json!([])), "no row"),
        (edited(&|s| s["reconstruction"] = json!("/nowhere")), "cannot read"),
    ] {
        desk.write("judged/score.json", score);
        desk.refused("report judged", 1, &[words]);
        assert_eq!(desk.names("judged"), ["score.json"]);
    }
}

#[test]
fn candidates_that_do_not_fit_the_data_are_not_judged() {
    let desk = Desk::new();
    let tensors: [(&str, &[usize], f32); 2] = [("0.weight", &[8, 3], 1.0), ("1.weight", &[1, 8], 1.0)];
    desk.write("small.safetensors", safetensors(&tensors));
    desk.ok("reconstruct --model small.safetensors --restarts 2 --steps 5 --out attack");
    desk.refused(JUDGE, 1, &["3 values", "784", "name the data"]);
    assert!(desk.names("judged").is_empty());
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let desk = Desk::with_judged();
    desk.write("file", "in the way");
    for line in [TRAIN, ATTACK, JUDGE] {
        let (command, _) = line.rsplit_once(' ').unwrap();
        for out in ["file", "file/below", "/dev/null/below", "/proc/nothing"] {
            desk.refused(&format!("{command} {out}"), 1, &["cannot write", out, "--out"]);
        }
    }
    desk.refused("demo --out file/below", 1, &["cannot write", "file/below"]);
    assert_eq!(desk.read("file"), b"in the way");
    desk.refused("train --data mnist --data-dir nowhere --task odd-even --n 10 --out out", 1, &["nowhere"]);
    desk.refused("train --data mnist --data-dir file --task odd-even --n 10 --out out", 1, &["file"]);
}
