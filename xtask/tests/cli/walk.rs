//! The ordinary way: train, reconstruct, evaluate, report.

use std::process::Stdio;

use ndarray::{Array1, Array2};
use ndarray_npy::ReadNpyExt;

use crate::desk::{ATTACK, Desk, JUDGE, TRAIN};

#[test]
fn every_help_shows_an_example() {
    let desk = Desk::new();
    for command in ["", "demo", "audit", "train", "reconstruct", "evaluate", "report", "ci"] {
        let help = desk.ok(&format!("{command} --help")).out;
        assert!(help.contains(&format!("cargo xtask {command}")), "{help}");
        assert!(help.contains("Examples:\n  cargo xtask "), "{help}");
    }
    assert_eq!(desk.run("").code, Some(2), "no command is a misuse");
}

#[test]
fn every_method_walks_from_training_to_report() {
    let desk = Desk::with_victim();
    assert_eq!(desk.names("victim"), ["model.palimpsest", "model.safetensors", "train.json"]);
    assert_eq!(desk.json("victim/train.json")["dims"], serde_json::json!([784, 40, 30, 1]));
    for method in ["annealed", "alternating", "gradient"] {
        let attack = format!("attack-{method}");
        desk.ok(&format!("{} --method {method}", ATTACK.replace("--out attack", &format!("--out {attack}"))));
        let mut files = vec![
            "agreement.npy",
            "bias_shares.npy",
            "candidates.npy",
            "confidence.npy",
            "labels.npy",
            "multipliers.npy",
            "reconstructions.npy",
            "run.json",
        ];
        if method == "annealed" {
            // Pictures on black: what was taken from all of them is told.
            files.extend(["appearance.npy", "mean_image.npy"]);
            files.sort_unstable();
        }
        assert_eq!(desk.names(&attack), files);
        let run = desk.json(&format!("{attack}/run.json"));
        let all = usize::try_from(run["candidates"].as_u64().unwrap()).unwrap();
        let bytes = |name: &str| desk.read(&format!("{attack}/{name}"));
        let candidates = Array2::<f32>::read_npy(bytes("candidates.npy").as_slice()).unwrap();
        assert_eq!(candidates.dim(), (all, 784));
        assert!(candidates.iter().all(|v| v.is_finite()));
        let multipliers = Array1::<f32>::read_npy(bytes("multipliers.npy").as_slice()).unwrap();
        let confidence = Array1::<f32>::read_npy(bytes("confidence.npy").as_slice()).unwrap();
        let labels = Array1::<i8>::read_npy(bytes("labels.npy").as_slice()).unwrap();
        assert_eq!([multipliers.len(), confidence.len(), labels.len()], [all; 3]);
        assert!(confidence.iter().all(|c| (0.0..=1.0).contains(c)));
        assert_eq!(labels.iter().map(|&l| i32::from(l)).sum::<i32>(), 0, "half of each label");
        assert_eq!(run["runs"].as_array().unwrap().len(), 2);
        assert_eq!(run["stopped_early"], false);

        let judged = format!("judged-{method}");
        let judge = JUDGE.replace("attack", &attack).replace("judged", &judged);
        let table = desk.ok(&judge).out;
        for row in
            ["candidates of the attack", "held-out images", "class means", "rows of W1", "random noise"]
        {
            assert!(table.contains(row), "{table}");
        }
        let score = desk.json(&format!("{judged}/score.json"));
        assert_eq!(score["matches"].as_array().unwrap().len(), 10);
        // An attack on all inputs has no directions that limit it.
        let limit = &score["limit"];
        assert_eq!(limit.is_null(), method == "gradient");
        if !limit.is_null() {
            let [at_most, found] =
                [limit, &score].map(|of| of["table"]["rows"][0]["ncc"]["mean_of_ten_best"].as_f64());
            assert!(at_most > found && table.contains("upper limit"), "{at_most:?} {found:?}");
        }
        for folder in [&judged, &attack] {
            desk.ok(&format!("report {folder}"));
            let html = desk.read(&format!("{folder}/report.html"));
            assert!(html.starts_with(b"<!doctype html>") && html.trim_ascii_end().ends_with(b"</html>"));
            assert!(desk.json(&format!("{folder}/report.json"))["answer"].is_object());
            assert!(desk.read(&format!("{folder}/report.md")).starts_with(b"# "));
            assert!(desk.read(&format!("{folder}/pairs.png")).starts_with(b"\x89PNG"));
        }
    }
}

#[test]
fn a_network_of_uncentred_pictures_is_judged_by_uncentred_ones() {
    let desk = Desk::new();
    desk.ok(&format!("{TRAIN} --subtract 0.5"));
    desk.ok(ATTACK);
    desk.ok(&format!("{JUDGE} --subtract 0.5"));
    desk.ok("report judged");
    assert_eq!(desk.json("judged/score.json")["data"]["subtract"], 0.5);
    let table = desk.json("judged/score.json")["table"].clone();
    desk.ok(JUDGE);
    assert_ne!(desk.json("judged/score.json")["table"], table, "other inputs are other truths");
}

#[test]
fn the_same_weights_in_another_format_give_the_same_candidates() {
    let desk = Desk::with_victim();
    desk.ok(ATTACK);
    desk.write("no-extension", desk.read("victim/model.palimpsest"));
    for model in ["victim/model.safetensors", "no-extension"] {
        let foreign = model.ends_with(".safetensors");
        // Ours says what an image is.
        let shape = if foreign { " --input-shape 1x28x28" } else { "" };
        let line = ATTACK.replace("victim/model.palimpsest", model).replace("--out attack", "--out other");
        let said = desk.ok(&format!("{line}{shape}")).err;
        assert_eq!(said.matches("is read as .safetensors").count(), usize::from(foreign), "{said}");
        assert_eq!(desk.read("attack/candidates.npy"), desk.read("other/candidates.npy"), "{model}");
    }
}

#[test]
fn files_of_pytorch_and_numpy_are_attacked_and_reported_on() {
    let desk = Desk::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/mlp/fixtures");
    desk.write("net", std::fs::read(format!("{fixtures}/wrapped_float64.pth")).unwrap());
    let said = desk.ok("reconstruct --model net --restarts 2 --steps 5 --out attack").err;
    assert!(said.contains("net is read as .pth") && said.contains("unread: epoch"), "{said}");
    let candidates = Array2::<f32>::read_npy(desk.read("attack/candidates.npy").as_slice()).unwrap();
    assert_eq!(candidates.ncols(), 12);
    let said = desk.ok("report attack").err;
    assert!(said.is_empty(), "what was assumed is said once: {said}");
}

#[test]
fn threads_change_no_bit_and_seeds_do() {
    let desk = Desk::with_victim();
    let attack = |options: &str| {
        desk.ok(&format!("{} {options}", ATTACK.replace("--restarts 2", "--restarts 3")));
        ["candidates.npy", "confidence.npy", "multipliers.npy"]
            .map(|name| desk.read(&format!("attack/{name}")))
    };
    for method in ["annealed", "alternating", "gradient"] {
        let one = attack(&format!("--method {method} --threads 1"));
        assert!(one == attack(&format!("--method {method} --threads 2")), "{method}");
        assert!(one == attack(&format!("--method {method} --threads 5")), "{method}");
        assert!(one != attack(&format!("--method {method} --seed 1")), "{method}");
    }
    let model = desk.read("victim/model.palimpsest");
    desk.ok(TRAIN);
    assert!(model == desk.read("victim/model.palimpsest"), "training again");
    desk.ok(&format!("{TRAIN} --seed 1"));
    assert!(model != desk.read("victim/model.palimpsest"), "training with another seed");
}

#[test]
fn only_the_judged_report_reads_the_certificate_at_the_truth() {
    let desk = Desk::with_judged();
    let reports = || {
        ["attack", "judged"].map(|folder| {
            desk.ok(&format!("report {folder}"));
            ["report.html", "report.md", "report.json"].map(|name| desk.read(&format!("{folder}/{name}")))
        })
    };
    let [unjudged, judged] = reports();
    std::fs::remove_file(desk.path("victim/train.json")).unwrap();
    let [unjudged_alone, judged_alone] = reports();
    assert!(unjudged == unjudged_alone, "the attacker's report knows what training recorded");
    assert!(judged != judged_alone, "the judge's report shows the certificate");
}

#[test]
fn a_reader_that_has_gone_is_no_reason_to_panic() {
    let desk = Desk::with_judged();
    let mut command = desk.command(JUDGE);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ran = crate::desk::finish(child, JUDGE);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn an_odd_number_of_candidates_is_shared_out_among_the_labels() {
    let desk = Desk::with_victim();
    for method in ["annealed", "gradient", "alternating"] {
        let attack = format!("attack-{method}");
        let line = ATTACK.replace("--out attack", &format!("--out {attack}"));
        desk.ok(&format!("{line} --method {method} --candidates 5"));
        assert_eq!(desk.json(&format!("{attack}/run.json"))["candidates_per_run"], 5);
        let labels = Array1::<i8>::read_npy(desk.read(&format!("{attack}/labels.npy")).as_slice()).unwrap();
        assert_eq!(
            labels.iter().take(10).collect::<Vec<_>>(),
            [&-1, &-1, &-1, &1, &1, &-1, &-1, &-1, &1, &1]
        );
        desk.ok(&JUDGE.replace("attack", &attack).replace("judged", &format!("judged-{method}")));
        desk.ok(&format!("report {attack}"));
    }
}

#[test]
fn a_pool_in_coordinates_is_judged_as_the_same_candidates() {
    let desk = Desk::with_victim();
    // This method refines no raw images, which are no sums of directions.
    let rows = ATTACK.replace("--out attack", "--method alternating --out");
    for (options, out) in [("", "inputs"), (" --keep-pool", "coordinates")] {
        desk.ok(&format!("{rows} {out}{options}"));
        desk.ok(&JUDGE.replace("attack", out).replace("judged", &format!("judged-{out}")));
        desk.ok(&format!("report {out}"));
    }
    assert!(!desk.path("coordinates/candidates.npy").exists());
    let read = |name: &str| Array2::<f32>::read_npy(desk.read(name).as_slice()).unwrap();
    let (z, basis) = (read("coordinates/pool_coordinates.npy"), read("coordinates/pool_basis.npy"));
    let candidates = read("inputs/candidates.npy");
    assert_eq!((z.nrows(), z.ncols(), basis.ncols()), (candidates.nrows(), basis.nrows(), 784));
    for of in ["matches", "table", "ranking"] {
        assert_eq!(desk.json("judged-inputs/score.json")[of], desk.json("judged-coordinates/score.json")[of]);
    }
    // One form replaces the other.
    desk.ok(&format!("{rows} coordinates --keep-pool inputs"));
    assert_eq!(read("coordinates/candidates.npy"), candidates);
    assert!(!desk.path("coordinates/pool_coordinates.npy").exists());
}
