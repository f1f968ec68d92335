//! From somebody's file to a report in one command, and what a program or a silent terminal gets to read.

use std::fs::File;

use ndarray::Array1;
use ndarray_npy::NpzWriter;
use palimpsest_datasets::{DataName, load};
use serde_json::Value;

use crate::desk::Desk;

const AUDIT: &str = "audit victim/model.safetensors --input-shape 1x28x28 --restarts 2 --steps 5 --out audit";
const TRUTH: &str = "--truth fashion-mnist --task odd-even --n 10";

fn text(desk: &Desk, name: &str) -> String {
    String::from_utf8(desk.read(name)).unwrap()
}

#[test]
fn a_foreign_file_becomes_a_report_that_knows_no_truth() {
    let desk = Desk::with_victim();
    let ran = desk.ok(AUDIT);
    assert!(ran.err.contains("format: .safetensors") && ran.err.contains("ReLU"), "{}", ran.err);
    assert!(
        ran.out.contains("nothing was compared with training data") && ran.out.contains("report: "),
        "{}",
        ran.out
    );
    let page = text(&desk, "audit/report.html");
    for words in [
        "Does this network look exposed?",
        "What to do about it",
        "Differential privacy",
        "Agreement is the mean cosine",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("SSIM") && !page.contains("judge/report.html"));
    let report = desk.json("audit/report.json");
    assert_eq!(report["answer"]["kind"], "unjudged");
    assert_eq!(report["answer"]["confidence"], "probability");
    // The page can be made again from the folder alone.
    desk.ok("report audit");
    assert_eq!(text(&desk, "audit/report.html"), page);
}

#[test]
fn truth_goes_into_a_page_of_its_own_and_changes_nothing_else() {
    let desk = Desk::with_victim();
    desk.ok(AUDIT);
    let alone = desk.read("audit/candidates.npy");
    let ran = desk.ok(&format!("{AUDIT} {TRUTH}"));
    assert!(ran.out.contains("The judge, with the training data: "), "{}", ran.out);
    assert_eq!(desk.read("audit/candidates.npy"), alone, "the attack saw no truth");
    let page = text(&desk, "audit/report.html");
    assert!(page.contains("judge&#x2f;report.html") && !page.contains("SSIM"));
    assert!(text(&desk, "audit/judge/report.html").contains("held-out images"));
    assert_eq!(desk.json("audit/judge/report.json")["answer"]["kind"], "judged");
    // The same counts as by the long way, from the file of ours that holds the same weights.
    desk.ok("reconstruct --model victim/model.palimpsest --restarts 2 --steps 5 --out long");
    desk.ok("evaluate --reconstruction long --data fashion-mnist --task odd-even --n 10 --out long-judged");
    assert_eq!(desk.json("audit/judge/score.json")["table"], desk.json("long-judged/score.json")["table"]);
    // An audit without truth in the same folder leaves no judge behind.
    desk.ok(AUDIT);
    assert!(!text(&desk, "audit/report.html").contains("judge&#x2f;report.html"));
}

#[test]
fn a_table_is_reported_as_rows() {
    let desk = Desk::new();
    desk.ok("train --data breast-cancer --task 0/1 --n 20 --hidden 40,30 --epochs 50 --out victim");
    desk.ok("audit victim/model.safetensors --candidates 20 --restarts 2 --steps 5 --truth breast-cancer --task 0/1 --n 20 --out audit");
    let page = text(&desk, "audit/report.html");
    let answer = desk.json("audit/report.json")["answer"].clone();
    assert_eq!(answer["confidence"], "agreement", "probabilities were calibrated on images");
    assert_eq!(answer["expected_precision"], Value::Null);
    assert!(page.contains("reconstructed rows") && page.contains("value 30") && !page.contains("<img"));
    let judged = text(&desk, "audit/judge/report.html");
    for words in ["worst fractal dimension", "scaled distance", "held-out rows", "Training "] {
        assert!(judged.contains(words), "{words}");
    }
    let score = desk.json("audit/judge/score.json");
    assert_eq!(score["distances"]["nearest"].as_array().unwrap().len(), 20);
    assert_eq!(
        desk.json("audit/judge/report.json")["candidates"][0]["truth"]["values"].as_array().unwrap().len(),
        30
    );
}

#[test]
fn digits_are_reported_as_pictures_and_data_of_ones_own_are_judged_alike() {
    let desk = Desk::new();
    desk.ok("train --data digits --task odd-even --n 10 --hidden 40,30 --epochs 50 --out victim");
    let audit = "audit victim/model.safetensors --input-shape 1x8x8 --candidates 20 --restarts 2 --steps 5";
    let (task, table) = ("--task odd-even --n 10", |out: &str| desk.json(&format!("{out}/judge/score.json")));
    desk.ok(&format!("{audit} --truth digits {task} --out audit"));
    let report = desk.json("audit/report.json");
    assert_eq!(
        (&report["answer"]["inputs"], &report["answer"]["kind"]),
        (&"image".into(), &"unjudged".into())
    );
    for page in ["audit/report.html", "audit/judge/report.html"] {
        assert!(text(&desk, page).contains("<img"), "{page}");
    }
    assert!(text(&desk, "audit/judge/report.html").contains("SSIM"));

    // The same pictures in files of somebody's own.
    let digits = load(DataName::Digits, None).unwrap();
    for (name, part) in [("train.npz", &digits.train), ("test.npz", &digits.test)] {
        let mut own = NpzWriter::new(File::create(desk.path(name)).unwrap());
        let inputs = part.inputs().mapv(f64::from).into_shape_with_order((part.count(), 8, 8)).unwrap();
        own.add_array("inputs", &inputs).unwrap();
        own.add_array("labels", &Array1::from(part.labels().to_vec())).unwrap();
        own.finish().unwrap();
    }
    let ran = desk.ok(&format!("{audit} --truth npz --data-dir . {task} --out own"));
    assert!(ran.out.contains("The judge, with the training data: "), "{}", ran.out);
    assert_eq!(table("own")["table"], table("audit")["table"]);
    assert_eq!(desk.read("own/candidates.npy"), desk.read("audit/candidates.npy"));

    for (wrong, code, words) in [
        ("--truth npz --task odd-even --n 10", 2, ["--data-dir", "npz"]),
        ("--truth npz --data-dir nowhere --task odd-even --n 10", 1, ["nowhere", "train.npz"]),
        ("--truth npz --data-dir . --task odd-even --n 10000", 2, ["10000", "odd-even"]),
    ] {
        desk.refused(&format!("{audit} {wrong} --out other"), code, &words);
    }
}

#[test]
fn a_mean_is_shown_and_a_wrong_one_refused() {
    let desk = Desk::with_victim();
    let npy = |values: usize| {
        let mut bytes = Vec::new();
        ndarray_npy::WriteNpyExt::write_npy(&ndarray::Array1::from_elem(values, 0.5_f64), &mut bytes)
            .unwrap();
        bytes
    };
    desk.write("mean.npy", npy(784));
    desk.ok(&format!("{AUDIT} --mean mean.npy"));
    assert!(text(&desk, "audit/report.html").contains("plus the given mean"));
    desk.write("mean.npy", npy(783));
    desk.refused(&format!("{AUDIT} --mean mean.npy"), 2, &["784", "783"]);
    let half_said = desk.run(&format!("{AUDIT} --truth fashion-mnist"));
    assert!(half_said.code == Some(2) && half_said.err.contains("--task"), "{}", half_said.err);
}

#[test]
fn a_program_reads_json_lines_and_quiet_says_nothing() {
    let desk = Desk::with_victim();
    let ran = desk.ok(&format!("--json {AUDIT} {TRUTH}"));
    let events: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let named = |name: &str| events.iter().find(|event| event["event"] == name);
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["command"]), (&Value::from("result"), &Value::from("audit")));
    assert!(last["judge"].is_string() && last["answer"]["candidates"].is_u64(), "{last}");
    assert_eq!(named("stage_end").unwrap()["stage"], "attack");
    assert!(named("exposure").unwrap()["sentence"].is_string());
    assert_eq!(ran.err, "", "notes are events, too");

    let quiet = desk.ok(&format!("{AUDIT} --quiet"));
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    let refused = desk.run("audit nothing.pth --out audit --quiet");
    assert!(refused.code == Some(1) && refused.err.starts_with("error: "), "{}", refused.err);
    // Standard error is no terminal here: a person gets notes, but no line that is drawn over.
    assert!(!desk.ok(AUDIT).err.contains('\r'));
}
