//! Networks and truths as people bring them: what they expect, from the file to the judge.

use std::fs::File;

use ndarray::{Array, Array1, Array2, Array4, Axis, Dimension, s};
use ndarray_npy::{NpzWriter, WritableElement, WriteNpyExt};
use palimpsest_datasets::{DataName, load};
use palimpsest_mlp::Checkpoint;
use palimpsest_mlp::import::save_safetensors;
use palimpsest_numerics::seed::{Seed, random_noise};
use serde_json::Value;

use crate::desk::{Desk, Ran};
use crate::judge::channels_last;

const QUICK: &str = "--candidates 20 --restarts 2 --steps 5";

fn text(desk: &Desk, name: &str) -> String {
    String::from_utf8(desk.read(name)).unwrap()
}

/// An archive with these arrays.
fn archive<A, B, D, E>(desk: &Desk, name: &str, inputs: &Array<A, D>, labels: &Array<B, E>)
where
    A: WritableElement + Clone,
    B: WritableElement + Clone,
    D: Dimension,
    E: Dimension,
{
    let mut own = NpzWriter::new(File::create(desk.path(name)).unwrap());
    own.add_array("inputs", &inputs.as_standard_layout()).unwrap();
    own.add_array("labels", &labels.as_standard_layout()).unwrap();
    own.finish().unwrap();
}

/// `FOLDER/train.npz` with these arrays, and `FOLDER/test.npz` with the same backwards.
fn truth<A, B, D, E>(desk: &Desk, folder: &str, inputs: &Array<A, D>, labels: &Array<B, E>)
where
    A: WritableElement + Clone,
    B: WritableElement + Clone,
    D: Dimension,
    E: Dimension,
{
    std::fs::create_dir_all(desk.path(folder)).unwrap();
    let (mut back, mut labels_back) = (inputs.clone(), labels.clone());
    back.invert_axis(Axis(0));
    labels_back.invert_axis(Axis(0));
    archive(desk, &format!("{folder}/train.npz"), inputs, labels);
    archive(desk, &format!("{folder}/test.npz"), &back, &labels_back);
}

fn npy<A: WritableElement, D: Dimension>(array: &Array<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

/// `n` pictures of 8x8 digits, (n, 64), and their labels.
fn digits(n: usize) -> (Array2<f32>, Vec<u8>) {
    let train = load(DataName::Digits, None).unwrap().train;
    let rows: Vec<usize> = (0..n).collect();
    (train.inputs().select(Axis(0), &rows), train.labels()[..n].to_vec())
}

fn judged(desk: &Desk, model: &str, options: &str, data: &str, out: &str) -> (Ran, Value) {
    let audit = format!("audit {model}/model.safetensors {options} {QUICK}");
    let ran = desk.ok(&format!("{audit} --truth npz --data-dir {data} --out {out}"));
    (ran, desk.json(&format!("{out}/judge/score.json")))
}

#[test]
fn two_logits_and_the_network_of_every_tutorial_are_attacked_and_judged() {
    let desk = Desk::new();
    let net = "--data digits --n 20 --hidden 40 --biases everywhere --epochs 20";
    desk.ok(&format!("train {net} --task odd-even --loss softmax --optimizer adamw --out two"));
    desk.ok(&format!(
        "train {net} --task classes --optimizer adam --batch-size 8 --normalize 0.1307,0.3081 --out tutorial"
    ));
    let audit = |model: &str, rest: &str| {
        desk.ok(&format!(
            "audit {model}/model.safetensors --input-shape 1x8x8 {QUICK} --truth digits --n 20 {rest} --out {model}-audit"
        ))
    };
    let ran = audit("two", "--task odd-even");
    assert!(
        ran.err.contains("64 to 40 to 2") && ran.out.contains("The judge, with the training data"),
        "{}",
        ran.err
    );
    assert!(text(&desk, "two-audit/report.html").contains("as many of each"));
    let ran = audit("tutorial", "--task classes --normalize 0.1307,0.3081 --input-range -0.5,3");
    assert!(ran.err.contains("64 to 40 to 10"), "{}", ran.err);
    assert_eq!(desk.json("tutorial-audit/judge/score.json")["classes"].as_array().unwrap().len(), 10);
}

#[test]
fn real_numbers_are_learned_judged_and_refused_as_classes() {
    let desk = Desk::new();
    let (rows, labels) = digits(12);
    let values: Array1<f64> = labels.iter().map(|&label| f64::from(label) / 3.0 - 1.25).collect();
    truth(&desk, "own", &rows, &values.clone().insert_axis(Axis(1)));
    let net = "--hidden 40 --weight-decay 2e-3 --epochs 50";
    desk.ok(&format!(
        "train --data npz --data-dir own --task regression --n 12 {net} --input-shape 1x8x8 --out victim"
    ));
    assert_eq!(desk.json("victim/train.json")["label_scale"], serde_json::json!([0.0, 1.0]));
    let (ran, score) =
        judged(&desk, "victim", "--input-shape 1x8x8 --regression", "own --task regression", "audit");
    assert!(ran.err.contains("labels are real numbers: taken as they are"), "{}", ran.err);
    assert_eq!((&score["data"]["n"], score["classes"].as_array().map(Vec::len)), (&12.into(), Some(0)));
    let shown = desk.json("audit/judge/report.json");
    let candidate = &shown["candidates"][0];
    let label: f64 = candidate["truth"]["label"].as_str().unwrap().parse().unwrap();
    assert!(values.iter().any(|value| (value - label).abs() < 1e-6), "{label}");
    assert!(candidate["answer"].as_str().unwrap().parse::<f64>().is_ok());
    let audit =
        format!("audit victim/model.safetensors --input-shape 1x8x8 {QUICK} --truth npz --data-dir own");
    desk.refused(&format!("{audit} --task 1/0 --out no"), 1, &["0..=255"]);
    desk.refused(
        &format!("{audit} --regression --task regression --counts 6/6 --out no"),
        2,
        &["real numbers", "first:N"],
    );
    desk.refused(&format!("{audit} --regression --task regression --n 13 --out no"), 2, &["12 examples"]);
}

#[test]
fn truths_of_every_kind_of_array_are_the_same_truth() {
    let desk = Desk::new();
    let (rows, labels) = digits(12);
    let signs: Vec<u8> = labels.iter().map(|label| label % 2).collect();
    let column = |labels: &[u8]| Array2::from_shape_vec((12, 1), labels.to_vec()).unwrap();
    truth(&desk, "plain", &rows, &Array1::from(signs.clone()));
    desk.ok("train --data npz --data-dir plain --task 1/0 --n 12 --counts first:12 --hidden 40 --epochs 30 --out victim");
    let shape = "--input-shape 1x8x8";
    let table = |data: &str| {
        judged(&desk, "victim", shape, &format!("{data} --task 1/0"), "audit").1["table"].clone()
    };
    let expected = table("plain");
    truth(&desk, "column", &rows.mapv(f64::from), &column(&signs).mapv(|sign| 2.0 * f64::from(sign) - 1.0));
    let last: Array4<f64> = rows.mapv(f64::from).into_shape_with_order((12, 8, 8, 1)).unwrap();
    let one_hot =
        Array2::from_shape_fn((12, 2), |(i, class)| f32::from(u8::from(usize::from(signs[i]) == class)));
    truth(&desk, "last", &last, &one_hot);
    truth(&desk, "flags", &rows.t().to_owned().reversed_axes(), &column(&signs).mapv(|sign| sign == 1));
    for data in ["column", "last", "flags"] {
        assert_eq!(table(data), expected, "{data}");
    }
}

#[test]
fn a_truth_that_lies_outside_the_weights_is_warned_of() {
    let desk = Desk::new();
    desk.ok("train --data digits --task odd-even --n 20 --hidden 60 --weight-decay 5e-3 --epochs 800 --out victim");
    desk.ok(&format!(
        "reconstruct --model victim/model.palimpsest --no-separation --rank 12 {QUICK} --out attack"
    ));
    let right = desk.ok("evaluate --reconstruction attack --data digits --task odd-even --n 20 --out right");
    assert!(!right.err.contains("another set"), "{}", right.err);
    // Other pictures of the same kind.
    let (rows, labels) = digits(500);
    let parity: Array1<u8> = labels.iter().map(|label| label % 2).collect();
    let part = |from, to| (rows.slice(s![from..to, ..]).to_owned(), parity.slice(s![from..to]).to_owned());
    for (name, (inputs, labels)) in [("train", part(200, 240)), ("test", part(240, 500))] {
        archive(&desk, &format!("{name}.npz"), &inputs, &labels);
    }
    let wrong = desk.ok("evaluate --reconstruction attack --data npz --data-dir . --task 1/0 --out wrong");
    assert!(wrong.err.contains("this is probably another set than the network's"), "{}", wrong.err);
}

#[test]
fn members_with_their_channels_last_are_those_with_them_first() {
    let desk = Desk::new();
    let first = random_noise(120, 90, 0.2, &Seed::new(3)).mapv(|v| (v + 0.5).clamp(0.0, 1.0));
    let images = first.clone().into_shape_with_order((120, 3, 5, 6)).unwrap();
    let last = images.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
    let trained = first.slice(s![..12, ..]).to_owned();
    truth(&desk, "own", &trained, &Array1::from_iter((0..12_u8).map(|i| i % 2)));
    desk.ok("train --data npz --data-dir own --task 1/0 --n 12 --hidden 40 --epochs 50 --input-shape 3x5x6 --out victim");
    let network = Checkpoint::load(&desk.path("victim/model.palimpsest")).unwrap().network;
    save_safetensors(&channels_last(&network, [3, 5, 6]), &desk.path("last.safetensors")).unwrap();
    let mean = trained.mean_axis(Axis(0)).unwrap();
    let last_mean = mean.clone().into_shape_with_order((3, 5, 6)).unwrap().permuted_axes([1, 2, 0]);
    let last_mean: Array1<f32> = last_mean.iter().copied().collect();
    for (name, records, mean) in
        [("first", first.clone().into_dyn(), mean), ("last", last.clone().into_dyn(), last_mean)]
    {
        desk.write(&format!("{name}.npy"), npy(&records));
        desk.write(&format!("{name}_mean.npy"), npy(&mean));
    }
    desk.write("rows.npy", npy(&last.into_shape_with_order((120, 90)).unwrap()));
    let members = |model: &str, shape: &str, records: &str, mean: &str, out: &str| {
        desk.ok(&format!(
            "members {model} --records {records}.npy --mean {mean}_mean.npy --input-shape {shape} --out {out}"
        ));
        text(&desk, &format!("{out}/members.csv"))
    };
    let expected = members("victim/model.safetensors", "3x5x6", "first", "first", "a");
    for records in ["last", "rows"] {
        assert_eq!(members("last.safetensors", "5x6x3", records, "last", "b"), expected, "{records}");
    }
    desk.refused(
        "members last.safetensors --records rows.npy --input-shape 5x7x3 --out b",
        2,
        &["90", "3x5x7"],
    );
}
