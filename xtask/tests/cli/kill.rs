//! Long commands ended at any moment and taken up again: the same bytes as if nothing had happened.
//!
//! `PALIMPSEST_KILLS=50 cargo test -p xtask --test cli kill` kills each command fifty times instead of a few.

use std::thread::sleep;
use std::time::{Duration, Instant};

use palimpsest_numerics::seed::Seed;
use rand::Rng;

use crate::desk::{Desk, finish};
use crate::signals::{assert_whole, signal};

/// Kills of each command unless the environment says otherwise.
const KILLS: usize = 6;

fn kills() -> usize {
    std::env::var("PALIMPSEST_KILLS").map_or(KILLS, |text| text.parse().unwrap())
}

/// Files of `folder` by name, without the named fields of their JSON that tell how long it took.
fn contents(desk: &Desk, folder: &str, clocks: &[&str]) -> Vec<(String, Vec<u8>)> {
    let names = desk.names(folder).into_iter();
    names
        .map(|name| {
            let path = format!("{folder}/{name}");
            let bytes = if name.ends_with(".json") {
                let mut json = desk.json(&path);
                clocks
                    .iter()
                    .for_each(|&clock| assert!(json.as_object_mut().unwrap().remove(clock).is_some()));
                json.to_string().into_bytes()
            } else {
                desk.read(&path)
            };
            (name, bytes)
        })
        .collect()
}

fn has_snapshot(desk: &Desk) -> bool {
    desk.names("out").iter().any(|name| name.starts_with("snapshot-"))
}

/// Runs `line` (with `--out out`) once to its end, and once with kills at random moments, each taken up again; the notes
/// of how they went on.
fn survives(desk: &Desk, line: &str, clocks: &[&str]) -> String {
    let start = Instant::now();
    desk.ok(&line.replace("--out out", "--out whole"));
    let took = start.elapsed();
    let whole = contents(desk, "whole", clocks);
    let line = format!("{line} --snapshot-every 0.02 --resume");
    let mut rng = Seed::new(7).named(&line).rng();
    let (mut killed, mut gone_on) = (0, String::new());
    let mut note = |err: &str| {
        err.lines().filter(|line| line.contains("going on")).for_each(|line| gone_on += &format!("{line}\n"))
    };
    for round in 0..kills() {
        let mut child = desk.start(desk.command(&line));
        // Every other one anywhere, the start included; the others when there is something to go on from.
        while round % 2 == 0 && !has_snapshot(desk) && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(took.mul_f64(rng.random::<f64>() / 2.0));
        // A fast run may have ended, and been waited for above, before it could be hit.
        if child.try_wait().unwrap().is_none() {
            signal(&child, if round % 4 == 3 { "TERM" } else { "KILL" });
        }
        let ran = finish(child, &line);
        note(&ran.err);
        if ran.code == Some(0) && !ran.err.contains("stopped early") {
            assert!(contents(desk, "out", clocks) == whole, "other files: {:?}", desk.names("out"));
        } else {
            killed += 1;
            assert_whole(desk, "out");
        }
    }
    note(&desk.ok(&line).err);
    assert!(
        contents(desk, "out", clocks) == whole,
        "after {killed} kills other files: {:?}",
        desk.names("out")
    );
    assert!(killed > 0 && !gone_on.is_empty(), "{killed} killed: nothing was tested");
    println!(
        "{killed} of {} kills met a running command, {} went on from a snapshot: {line}",
        kills(),
        gone_on.lines().count()
    );
    gone_on
}

#[test]
fn training_killed_at_random_moments_ends_in_the_same_bytes() {
    let desk = Desk::new();
    for regime in ["--weight-decay 2e-3 --epochs 8000", "--until-log-loss -400 --epochs 8000"] {
        let line =
            format!("train --data fashion-mnist --task odd-even --n 20 --hidden 60,50 {regime} --out out");
        survives(&desk, &line, &["training_s"]);
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
        let gone_on = survives(&desk, &line, &["elapsed_s"]);
        assert!(gone_on.lines().any(|note| !note.contains("inside 0 more")), "{gone_on}");
        for folder in ["out", "whole"] {
            std::fs::remove_dir_all(desk.path(folder)).unwrap();
        }
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
