//! The judge of every task that `train` teaches, and of data as people bring them.

use std::fs::File;

use ndarray::{Array1, Array2, Axis};
use ndarray_npy::NpzWriter;
use palimpsest_datasets::{DataName, Dataset, load};
use palimpsest_mlp::import::save_safetensors;
use palimpsest_mlp::{Checkpoint, Mlp};
use palimpsest_numerics::seed::{Seed, random_noise};
use serde_json::Value;

use crate::desk::Desk;

const QUICK: &str = "--candidates 20 --restarts 2 --steps 5";

fn text(desk: &Desk, name: &str) -> String {
    String::from_utf8(desk.read(name)).unwrap()
}

/// An archive of somebody's own.
fn archive<D: ndarray::Dimension>(
    desk: &Desk,
    name: &str,
    inputs: &ndarray::Array<f64, D>,
    labels: &Array1<i8>,
) {
    let mut own = NpzWriter::new(File::create(desk.path(name)).unwrap());
    own.add_array("inputs", inputs).unwrap();
    own.add_array("labels", labels).unwrap();
    own.finish().unwrap();
}

#[test]
fn ten_classes_are_judged_whole_with_their_names_and_the_networks_answers() {
    let desk = Desk::new();
    desk.ok("train --data mnist --task classes --n 50 --hidden 40,30 --weight-decay 2e-3 --biases everywhere --epochs 50 --out victim");
    let audit = format!("audit victim/model.safetensors --input-shape 1x28x28 {QUICK}");
    let ran = desk.ok(&format!("{audit} --truth mnist --task classes --n 50 --out audit"));
    assert!(ran.out.contains("of each label: 0: ") && ran.out.contains(" of 5; 9: "), "{}", ran.out);
    let score = desk.json("audit/judge/score.json");
    assert_eq!(score["matches"].as_array().unwrap().len(), 50);
    let classes = score["classes"].as_array().unwrap();
    assert!(classes.len() == 10 && classes.iter().all(|class| class["training"] == 5), "{classes:?}");
    let report = desk.json("audit/report.json");
    let listed: u64 =
        report["classes"].as_array().unwrap().iter().map(|class| class["listed"].as_u64().unwrap()).sum();
    assert_eq!(listed as usize, desk.json("audit/run.json")["ranking"].as_array().unwrap().len());
    assert!(report["candidates"][0]["answer"].as_str().unwrap().starts_with("class "));
    let page = text(&desk, "audit/report.html");
    assert!(page.contains("10 classes, as many candidates of each") && page.contains("The network answers"));
    let judged = desk.json("audit/judge/report.json");
    let label = judged["candidates"][0]["truth"]["label"].as_str().unwrap();
    assert!(label.parse::<usize>().unwrap() < 10, "{label}");
    assert_eq!(judged["judge"]["classes"], score["classes"]);
    assert!(text(&desk, "audit/judge/report.html").contains("Of each class"));
    // The same by the long way, in the words of three sets that the data are then judged by.
    desk.ok("evaluate --reconstruction audit --data mnist --task classes --n 50 --out long");
    assert_eq!(desk.json("long/score.json")["table"], score["table"]);
    desk.ok("report long");
    desk.ok("evaluate --reconstruction audit --data mnist --task 0,1/2,3/4,5 --counts 9/8/7 --out three");
    let names: Vec<String> = desk.json("three/score.json")["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| format!("{} {}", class["name"].as_str().unwrap(), class["training"]))
        .collect();
    assert_eq!(names, ["0, 1 9", "2, 3 8", "4, 5 7"]);
}

#[test]
fn odd_and_unbalanced_sets_and_numbers_are_judged_whole() {
    let desk = Desk::new();
    let task = "--data mnist --task odd-even --counts 19/18";
    desk.ok(&format!("train {task} --n 37 --hidden 40,30 --epochs 50 --out victim"));
    desk.ok(&format!("reconstruct --model victim/model.palimpsest {QUICK} --out attack"));
    desk.ok(&format!("evaluate --reconstruction attack {task} --out judged"));
    let score = desk.json("judged/score.json");
    assert_eq!((score["matches"].as_array().unwrap().len(), &score["data"]["n"]), (37, &37.into()));
    assert_eq!(
        (&score["classes"][0]["training"], &score["classes"][1]["training"]),
        (&18.into(), &19.into())
    );
    desk.ok("report judged");
    assert!(text(&desk, "judged/report.html").contains("+1 (1, 3, 5, 7, 9)"));

    desk.ok("train --data mnist --task regression --n 20 --hidden 40,30 --weight-decay 2e-3 --epochs 50 --out numbers");
    let audit = format!("audit numbers/model.safetensors --input-shape 1x28x28 --regression {QUICK}");
    desk.ok(&format!("{audit} --truth mnist --task regression --n 20 --out told"));
    let judged = desk.json("told/judge/report.json");
    assert!(judged["candidates"][0]["answer"].as_str().unwrap().parse::<f64>().is_ok());
    assert_eq!(desk.json("told/judge/score.json")["classes"].as_array().unwrap().len(), 10);
    assert!(desk.json("told/report.json")["classes"].is_null());
    assert!(text(&desk, "told/report.html").contains("errors of either sign"));
}

#[test]
fn rows_of_255_with_signs_are_the_pictures_of_the_declared_shape() {
    let desk = Desk::new();
    desk.ok("train --data digits --task odd-even --n 10 --hidden 40,30 --epochs 50 --out victim");
    let audit = format!("audit victim/model.safetensors --input-shape 1x8x8 {QUICK}");
    desk.ok(&format!("{audit} --truth digits --task odd-even --n 10 --out audit"));
    // The very training set as flat rows of 0 to 255 with labels -1 and +1: how many there are, the archive says.
    let digits = load(DataName::Digits, None).unwrap();
    let task: palimpsest_datasets::Task = "odd-even".parse().unwrap();
    let write = |name: &str, part: &Dataset| {
        let signs = part.labels().iter().map(|&digit| if digit % 2 == 1 { 1 } else { -1 }).collect();
        archive(&desk, name, &part.inputs().mapv(|v| 255.0 * f64::from(v)), &signs);
    };
    write("train.npz", &task.balanced(&digits.train, 10).unwrap().dataset);
    write("test.npz", &digits.test);
    let ran = desk.ok(&format!("{audit} --truth npz --data-dir . --task 1/0 --out own"));
    for words in ["flat rows are read as images", "divided by 255", "labels are -1 and +1"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let of = |out: &str| desk.json(&format!("{out}/judge/score.json"));
    let (rows, pictures) = (of("own"), of("audit"));
    assert_eq!((&rows["data"]["n"], &rows["data"]["input_shape"]), (&10.into(), &"1x8x8".into()));
    for (row, picture) in
        rows["matches"].as_array().unwrap().iter().zip(pictures["matches"].as_array().unwrap())
    {
        let apart = row["ncc"].as_f64().unwrap() - picture["ncc"].as_f64().unwrap();
        assert!(apart.abs() < 1e-4, "{row} {picture}");
    }
    // The shape that the attack was told is that of the data when they judge it later.
    desk.ok("evaluate --reconstruction own --data npz --data-dir . --task 1/0 --out later");
    assert_eq!(desk.json("later/score.json")["table"], rows["table"]);
}

/// `network` as it takes inputs (height, width, channels).
pub(crate) fn channels_last(network: &Mlp<f32>, [channels, height, width]: [usize; 3]) -> Mlp<f32> {
    let mut turned = network.clone();
    let area = height * width;
    let from: Vec<usize> = (0..channels * area).map(|to| (to % channels) * area + to / channels).collect();
    let first = &mut turned.layers_mut()[0].weight;
    *first = first.select(Axis(1), &from);
    turned
}

/// Every number to six decimals.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) => format!("{:.6}", number.as_f64().unwrap()).into(),
        Value::Array(values) => values.iter().map(rounded).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), rounded(value))).collect(),
        other => other.clone(),
    }
}

#[test]
fn channels_that_are_last_are_attacked_and_judged_like_those_that_are_first() {
    let desk = Desk::new();
    let (sides, n) = ([3, 5, 6], 12);
    let pixels = |n: usize, name: &str| -> Array2<f64> {
        random_noise(n, 90, 0.2, &Seed::new(3).named(name)).mapv(|v| f64::from((v + 0.5).clamp(0.0, 1.0)))
    };
    let labels = |n: usize| Array1::from_iter((0..n).map(|i| i8::from(i % 2 == 1)));
    for (name, n) in [("train", n), ("test", 40)] {
        let first = pixels(n, name).into_shape_with_order((n, 3, 5, 6)).unwrap();
        let last = first.clone().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        for folder in ["first", "last", "flat"] {
            std::fs::create_dir_all(desk.path(folder)).unwrap();
        }
        archive(&desk, &format!("first/{name}.npz"), &first, &labels(n));
        archive(
            &desk,
            &format!("flat/{name}.npz"),
            &last.clone().into_shape_with_order((n, 90)).unwrap(),
            &labels(n),
        );
        archive(&desk, &format!("last/{name}.npz"), &last, &labels(n));
    }
    desk.ok("train --data npz --data-dir first --task 1/0 --n 12 --hidden 40,30 --epochs 50 --out victim");
    let network = Checkpoint::load(&desk.path("victim/model.palimpsest")).unwrap().network;
    save_safetensors(&channels_last(&network, sides), &desk.path("last.safetensors")).unwrap();
    let audit = |model: &str, shape: &str, data: &str, out: &str| {
        desk.ok(&format!(
            "audit {model} --input-shape {shape} {QUICK} --truth npz --data-dir {data} --task 1/0 --out {out}"
        ))
    };
    audit("victim/model.safetensors", "3x5x6", "first", "a");
    for (data, out) in [("last", "b"), ("flat", "c"), ("first", "d")] {
        let ran = audit("last.safetensors", "5x6x3", data, out);
        assert!(ran.err.contains("all pictures are written channels first"), "{}", ran.err);
        assert_eq!(desk.read(&format!("{out}/candidates.npy")), desk.read("a/candidates.npy"), "{out}");
        // Sums in another order differ in their last digits.
        let table = |out: &str| rounded(&desk.json(&format!("{out}/judge/score.json"))["table"]);
        assert_eq!(table(out), table("a"), "{out}");
    }
    assert_eq!(desk.json("b/run.json")["channels"], "last");
    desk.ok("report b");
    desk.ok("evaluate --reconstruction b --data npz --data-dir flat --task 1/0 --out later");
    let [later, first] =
        ["later/score.json", "a/judge/score.json"].map(|path| rounded(&desk.json(path)["table"]));
    assert_eq!(later, first);
    desk.ok("report later");
}

#[test]
fn wrong_truth_is_told_before_the_attack_and_a_judge_that_fails_after_it_says_how_to_go_on() {
    let desk = Desk::with_victim();
    let audit = format!("audit victim/model.safetensors --input-shape 1x28x28 {QUICK} --out audit");
    for (wrong, words) in [
        ("--truth fashion-mnist --task odd-even --n 10000", vec!["10000", "odd-even"]),
        ("--truth fashion-mnist --task odd-even --n 9", vec!["even"]),
        ("--truth fashion-mnist --task odd-even", vec!["--n is needed", "500"]),
        ("--truth fashion-mnist --task classes --n 20", vec!["10 labels", "tells 2 apart"]),
        ("--truth fashion-mnist --task 77/78 --n 10", vec!["77/78"]),
        ("--truth digits --task odd-even --n 10", vec!["784 values", "64"]),
        ("--truth cifar10 --task animals-vehicles --n 10", vec!["--data-dir"]),
        ("--truth fashion-mnist --task odd-even --n 10 --subtract 0 --normalize none", vec!["exclude"]),
    ] {
        desk.refused(&format!("{audit} {wrong}"), 2, &words);
        assert!(!desk.path("audit/run.json").exists(), "{wrong}: it attacked first");
    }
    desk.refused(&format!("{audit} --truth npz --data-dir nowhere --task 1/0"), 1, &["nowhere"]);
    assert!(!desk.path("audit/run.json").exists());

    // A file stands where the judge's folder should be.
    std::fs::create_dir_all(desk.path("audit")).unwrap();
    desk.write("audit/judge", "");
    let truth = "--truth fashion-mnist --task odd-even --n 10";
    let again = ["palimpsest evaluate --reconstruction", "--data fashion-mnist --task odd-even --n 10"];
    desk.refused(&format!("{audit} {truth}"), 1, &again);
    for kept in ["run.json", "candidates.npy", "report.html"] {
        assert!(desk.path(&format!("audit/{kept}")).exists(), "{kept}");
    }
    desk.ok("evaluate --reconstruction audit --data fashion-mnist --task odd-even --n 10 --out judged");
}

#[test]
fn a_limit_that_cuts_the_first_restarts_says_so() {
    let desk = Desk::with_victim();
    let ran = desk.ok(
        "audit victim/model.safetensors --input-shape 1x28x28 --candidates 20 --restarts 4 --steps 1000000 --time-limit 5 \
         --truth fashion-mnist --task odd-even --n 10 --out audit",
    );
    for words in ["The time limit of 5 s was too short for an answer", "One restart takes about"] {
        assert!(ran.err.contains(words), "{}", ran.err);
        for page in ["audit/report.html", "audit/report.md", "audit/judge/report.html"] {
            assert!(text(&desk, page).contains(words), "{page}");
        }
    }
    assert_eq!(desk.json("audit/report.json")["warnings"].as_array().unwrap().len(), 1);
    // One that is long enough does not.
    desk.ok(&format!("audit victim/model.safetensors {QUICK} --time-limit 500 --out enough"));
    assert!(desk.json("enough/report.json")["warnings"].is_null());
}
