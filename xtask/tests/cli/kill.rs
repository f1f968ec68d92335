//! Long commands ended at any moment and taken up again: the same bytes as if nothing had happened.
//!
//! `PALIMPSEST_KILLS=50 cargo test -p xtask --test cli kill -- --nocapture` kills each command fifty times instead of a few.

use std::thread::sleep;
use std::time::{Duration, Instant};

use palimpsest_numerics::seed::Seed;
use rand::Rng;
use serde_json::Value;

use crate::desk::{Desk, finish};
use crate::signals::{assert_whole, signal};

/// Kills of each command, each of one that runs, unless the environment says otherwise.
const KILLS: usize = 4;
/// Signals sent for each kill at most: of four one is a request to stop, and some come when the command is done.
const TRIES: usize = 10;

fn kills() -> usize {
    std::env::var("PALIMPSEST_KILLS").map_or(KILLS, |text| text.parse().unwrap())
}

/// Files of `folder` and of the folders in it, by name, without what tells how long the command took and which folder it is.
fn contents(desk: &Desk, folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in desk.names(folder) {
        let path = format!("{folder}/{name}");
        if desk.path(&path).is_dir() {
            files.extend(
                contents(desk, &path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else if name.ends_with(".json") {
            let mut json = desk.json(&path);
            remove_clocks(&mut json);
            let root = folder.split('/').next().unwrap();
            files.push((name, json.to_string().replace(&format!("/{root}"), "/ROOT").into_bytes()));
        } else if name.ends_with(".html") || name.ends_with(".md") {
            let page = String::from_utf8(desk.read(&path)).unwrap();
            let timeless: Vec<&str> = page.lines().filter(|line| !is_clock(line)).collect();
            files.push((name, timeless.join("\n").into_bytes()));
        } else {
            files.push((name, desk.read(&path)));
        }
    }
    files
}

/// Removes the fields that hold seconds.
fn remove_clocks(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|name, _| !matches!(name.as_str(), "training_s" | "elapsed_s" | "stages"));
            fields.values_mut().for_each(remove_clocks);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_clocks),
        _ => {}
    }
}

/// Whether this line of a page says how many seconds a stage took.
fn is_clock(line: &str) -> bool {
    let ends = ["</dd></div>", "</strong></dd></div>", " |"];
    ends.iter().filter_map(|end| line.trim_end().strip_suffix(end)).any(|text| {
        let told = text.rsplit(['>', '|']).next().unwrap().trim();
        told.split_once(' ')
            .is_some_and(|(n, unit)| n.parse::<f64>().is_ok() && (unit == "s" || unit == "ms"))
    })
}

fn has_snapshot(desk: &Desk) -> bool {
    desk.names("out").iter().any(|name| name.starts_with("snapshot-"))
}

/// Runs `line` (with `--out out`) once to its end, and once with kills at random moments, each followed by `line` and
/// `again`, which goes on; until a run has gone on from where a note says `wanted`, too.
fn survives(desk: &Desk, line: &str, again: &str, wanted: impl Fn(&str) -> bool) {
    let start = Instant::now();
    desk.ok(&line.replace("--out out", "--out whole"));
    // Kills come within this time, which follows how busy the machine is.
    let mut within = start.elapsed();
    let whole = contents(desk, "whole");
    let line = format!("{line} --snapshot-every 0.02 {again}");
    let mut rng = Seed::new(7).named(&line).rng();
    let (mut killed, mut ended, mut gone_on) = (0, 0, Vec::new());
    let notes = |err: &str| -> Vec<String> {
        err.lines().filter(|line| line.contains("going on")).map(String::from).collect()
    };
    for round in 0..TRIES * kills() {
        if killed >= kills() && gone_on.iter().any(|note: &String| wanted(note)) {
            break;
        }
        let mut child = desk.start(desk.command(&line));
        // Every other one anywhere, the start included; the others when there is something to go on from.
        while round % 2 == 0 && !has_snapshot(desk) && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(within.mul_f64(rng.random::<f64>() * if round % 2 == 0 { 0.5 } else { 1.0 }));
        // A fast run may have ended, and been waited for above, before it could be hit.
        if child.try_wait().unwrap().is_none() {
            signal(&child, if round % 4 == 3 { "TERM" } else { "KILL" });
        }
        let ran = finish(child, &line);
        gone_on.extend(notes(&ran.err));
        if ran.code == Some(0) && !ran.err.contains("stopped early") {
            ended += 1;
            within = within.mul_f64(0.8);
            assert_same(&contents(desk, "out"), &whole, &format!("after {killed} kills, {line}"));
        } else {
            killed += usize::from(ran.code.is_none());
            within = within.mul_f64(1.1);
            assert_whole(desk, "out");
        }
    }
    gone_on.extend(notes(&desk.ok(&line).err));
    assert_same(&contents(desk, "out"), &whole, &format!("after {killed} kills, {line}"));
    assert!(killed >= kills(), "the command is too fast to be killed: {line}");
    assert!(
        gone_on.iter().any(|note| wanted(note)),
        "never gone on from where it matters: {line}\n{gone_on:?}"
    );
    println!(
        "{killed} kills met a running command, {} runs went on from a snapshot, {} came to their end: {line}",
        gone_on.len(),
        ended + 1
    );
}

#[track_caller]
fn assert_same(these: &[(String, Vec<u8>)], those: &[(String, Vec<u8>)], when: &str) {
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(these), names(those), "{when}");
    for ((name, this), (_, that)) in these.iter().zip(those) {
        if this != that {
            let (this, that) = (String::from_utf8_lossy(this), String::from_utf8_lossy(that));
            let other = this.lines().zip(that.lines()).find(|(this, that)| this != that);
            panic!("another {name} {when}\n{other:?}");
        }
    }
}

#[test]
fn training_killed_at_random_moments_ends_in_the_same_bytes() {
    let desk = Desk::new();
    for regime in ["--weight-decay 2e-3 --epochs 8000", "--until-log-loss -400 --epochs 8000"] {
        let line =
            format!("train --data fashion-mnist --task odd-even --n 20 --hidden 60,50 {regime} --out out");
        survives(&desk, &line, "--resume", |_| true);
        for folder in ["out", "whole"] {
            std::fs::remove_dir_all(desk.path(folder)).unwrap();
        }
    }
}

#[test]
fn attacks_killed_at_random_moments_end_in_the_same_bytes() {
    let desk = Desk::with_victim();
    for method in [
        "--method annealed --steps 400 --restarts 24",
        "--method alternating --steps 300 --restarts 100",
        // So few and so long that a kill falls inside a restart.
        "--method annealed --steps 8000 --restarts 2",
        "--method alternating --steps 30000 --restarts 1",
        "--method gradient --steps 3000 --restarts 2 --candidates 20",
    ] {
        let line = format!("reconstruct --model victim/model.palimpsest {method} --out out");
        survives(&desk, &line, "--resume", |note| !note.contains("inside 0 more"));
        for folder in ["out", "whole"] {
            std::fs::remove_dir_all(desk.path(folder)).unwrap();
        }
    }
}

/// A victim whose inputs are solved for exactly by a short attack.
const LEAKING: &str = "train --data fashion-mnist --task odd-even --n 12 --hidden 300,150 --weight-decay 4e-3 \
                       --epochs 3000 --out leaking";

#[test]
fn searches_for_gate_patterns_killed_at_random_moments_end_in_the_same_bytes() {
    let desk = Desk::new();
    desk.ok(LEAKING);
    let line = "reconstruct --model leaking/model.palimpsest --restarts 2 --steps 500 --out out";
    survives(&desk, line, "--resume", |note| note.contains("after 2 of 2 restarts"));
    let run = desk.json("whole/run.json");
    let exact = |group: &serde_json::Value| group["origin"] == "activation_pattern";
    assert!(run["origins"].as_array().unwrap().iter().any(exact), "nothing was solved for exactly");
}

#[test]
fn audits_killed_at_random_moments_end_in_the_same_bytes() {
    let desk = Desk::new();
    desk.ok(LEAKING);
    let line = "audit leaking/model.safetensors --input-shape 1x28x28 --restarts 2 --steps 500 \
                --truth fashion-mnist --task odd-even --n 12 --out out";
    survives(&desk, line, "", |note| note.contains("after 2 of 2 restarts"));
    let names: Vec<String> = contents(&desk, "out").into_iter().map(|(name, _)| name).collect();
    for name in ["report.html", "report.md", "report.json", "judge/report.html", "judge/score.json"] {
        assert!(names.iter().any(|there| there == name), "{name} is not among {names:?}");
    }
}

#[test]
fn an_interrupted_run_goes_on_and_only_when_told_to() {
    let desk = Desk::new();
    let line = "train --data fashion-mnist --task odd-even --n 10 --hidden 40,30 --weight-decay 2e-3 \
                --epochs 200000 --out out";
    let child = desk.start(desk.command(line));
    sleep(Duration::from_millis(800));
    signal(&child, "TERM");
    let ran = finish(child, line);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("--resume goes on"), "{}", ran.err);
    assert!(desk.names("out").contains(&"snapshot-1.bin".into()), "{:?}", desk.names("out"));
    desk.refused(line, 2, &["unfinished run", "--resume", "delete"]);
    let other = line.replace("2e-3", "1e-3");
    desk.refused(&format!("{other} --resume"), 2, &["another run", "weight_decay", "repeat its options"]);
    desk.write("out/snapshot-1.bin", "damaged");
    desk.refused(&format!("{line} --resume"), 1, &["no snapshot", "delete"]);
}
