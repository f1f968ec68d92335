//! An attack split among machines and merged again: the same bytes as one machine alone, and sentences for what does not fit.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::desk::{Desk, finish};

/// A victim whose inputs are solved for exactly by a short attack, so that the stages after the restarts find something.
const LEAKING: &str = "train --data mnist --task odd-even --n 20 --hidden 300,100 --weight-decay 4e-3 \
                       --epochs 2500 --out victim";
const ATTACK: &str = "reconstruct --model victim/model.palimpsest --steps 500 --seed 3";

/// The files of a merged or a single run, without what tells how long it took.
fn contents(desk: &Desk, folder: &str) -> Vec<(String, Vec<u8>)> {
    let file = |name: String| {
        let path = format!("{folder}/{name}");
        if name != "run.json" {
            return (name, desk.read(&path));
        }
        let mut run = desk.json(&path);
        run.as_object_mut().unwrap().remove("elapsed_s");
        (name, run.to_string().into_bytes())
    };
    desk.names(folder).into_iter().map(file).collect()
}

#[track_caller]
fn assert_same(desk: &Desk, merged: &str, whole: &str) {
    let (merged, whole) = (contents(desk, merged), contents(desk, whole));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&merged), names(&whole));
    for (this, that) in merged.iter().zip(&whole) {
        assert!(this == that, "{} differs", this.0);
    }
}

#[test]
fn a_run_split_one_two_and_four_ways_merges_to_the_same_bytes() {
    let desk = Desk::new();
    desk.ok(LEAKING);
    desk.ok(&format!("{ATTACK} --restarts 4 --out whole"));
    let exact = |group: &Value| group["origin"] == "activation_pattern";
    let origins = desk.json("whole/run.json")["origins"].clone();
    assert!(origins.as_array().unwrap().iter().any(exact), "the stage after the restarts has nothing to do");
    for ways in [1, 2, 4] {
        let parts: Vec<String> = (0..ways).map(|i| format!("part-{ways}-{i}")).collect();
        for (i, part) in parts.iter().enumerate() {
            let each = 4 / ways;
            desk.ok(&format!(
                "{ATTACK} --restarts {}..{} --threads 1 --out {part}",
                i * each,
                (i + 1) * each
            ));
            assert_eq!(desk.names(part), ["part.json", "restarts.bin"]);
        }
        desk.ok(&format!("merge {} --out merged-{ways}", parts.join(" ")));
        assert_same(&desk, &format!("merged-{ways}"), "whole");
    }
    // Merged once more into the same folder, of parts that overlap and come in another order.
    desk.ok("merge part-2-1 part-4-1 part-1-0 --out merged-4");
    assert_same(&desk, "merged-4", "whole");
    desk.ok("evaluate --reconstruction merged-4 --data mnist --task odd-even --n 20 --out judged");
}

#[test]
fn a_killed_part_is_named_with_its_command_and_made_again_alone() {
    let desk = Desk::with_victim();
    let line = |restarts: &str, out: &str| {
        format!("reconstruct --model victim/model.palimpsest --steps 4000 --restarts {restarts} --out {out}")
    };
    desk.ok(&line("4", "whole"));
    desk.ok(&line("0..2", "part-0"));
    let cut = format!("{} --snapshot-every 0.02", line("2..4", "part-1"));
    let mut child = desk.start(desk.command(&cut));
    while !desk.names("part-1").iter().any(|name| name.starts_with("snapshot")) {
        assert!(child.try_wait().unwrap().is_none(), "the part is too fast to be killed");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert_eq!(finish(child, &cut).code, None);
    desk.refused(
        "merge part-0 part-1 --out merged",
        1,
        &["part-1 is not finished", "--steps 4000", "--restarts 2..4 --out part-1 --resume"],
    );
    assert!(desk.names("merged").is_empty(), "a refused merge leaves nothing");
    desk.refused(&line("2..4", "part-1"), 2, &["unfinished run", "--resume"]);
    desk.refused(&format!("{} --resume", line("2..5", "part-1")), 2, &["another run", "restarts"]);
    desk.ok(&format!("{cut} --resume"));
    let again = desk.ok(&format!("{cut} --resume"));
    assert!(again.err.contains("done already"), "{}", again.err);
    desk.ok("merge part-0 part-1 --out merged");
    assert_same(&desk, "merged", "whole");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let desk = Desk::with_victim();
    desk.ok("train --data mnist --task odd-even --n 10 --hidden 40,30 --epochs 50 --out other");
    let part = |model: &str, options: &str, out: &str| {
        desk.ok(&format!("reconstruct --model {model}/model.palimpsest --steps 3 {options} --out {out}"));
    };
    part("victim", "--restarts 0..2", "a");
    part("victim", "--restarts 2..4", "b");
    part("victim", "--restarts 2..4 --seed 1", "seeded");
    part("other", "--restarts 2..4", "foreign");
    part("victim", "--restarts 2..4 --rank 5", "ranked");
    part("victim", "--restarts 2", "whole");
    for (line, code, words) in [
        ("merge a seeded --out m", 2, &["seeded is of another run than a", "seed was 0 and is 1"][..]),
        ("merge a foreign --out m", 2, &["another run", "network was"]),
        ("merge a ranked --out m", 2, &["another run", "rank was"]),
        ("merge b --out m", 1, &["0..2 are in no part", "--restarts 0..2 --out part-0-2"]),
        ("merge a b --restarts 6 --out m", 1, &["4..6 are in no part"]),
        ("merge a whole --out m", 2, &["whole is no part of a run"]),
        ("merge a b --restarts 0 --out m", 2, &["--restarts", "between 1 and"]),
        ("merge a b --model other/model.palimpsest --out m", 1, &["is not the network", "--model"]),
        ("merge a b --threads 0 --out m", 2, &["--threads"]),
        ("evaluate --reconstruction a --data mnist --task odd-even --n 10 --out m", 1, &["run.json"]),
    ] {
        desk.refused(line, code, words);
    }
    let line = "reconstruct --model victim/model.palimpsest --steps 3";
    desk.refused(&format!("{line} --restarts 3..3 --out m"), 2, &["--restarts", "0..64"]);
    desk.refused(&format!("{line} --restarts 0..99999 --out m"), 2, &["--restarts", "at most"]);
    desk.refused(&format!("{line} --restarts 4 --known a --out m"), 2, &["--known belongs to"]);
    desk.refused(
        &format!("{line} --restarts 4..6 --known seeded --out m"),
        2,
        &["--known seeded", "seed was"],
    );
    desk.ok(&format!("{line} --restarts 4..6 --known a --out c"));
    let mut bytes = desk.read("b/restarts.bin");
    bytes.truncate(bytes.len() - 1);
    desk.write("b/restarts.bin", bytes);
    desk.refused("merge a b --out m", 1, &["b cannot be used", "--restarts 2..4 --out b --resume"]);
}

/// What stands in for Slurm: tasks one after the other, the second one told to end before its time.
#[cfg(unix)]
const SBATCH: &str = r#"#!/usr/bin/env bash
array=
while [[ "$1" == --* ]]; do case "$1" in --array=*) array=${1#--array=0-} ;; esac; shift; done
export SLURM_CPUS_PER_TASK=1 SCRIPT=$1
if [ -z "$array" ]; then bash "$@" >&2; echo 8; exit; fi
export SLURM_ARRAY_JOB_ID=7
for ((i = 0; i <= array; i++)); do
    export SLURM_ARRAY_TASK_ID=$i
    if [ "$i" = 1 ]; then timeout -s TERM 0.5 bash "$1" >&2; else bash "$1" >&2; fi
done
echo 7
"#;
#[cfg(unix)]
const SCONTROL: &str = r#"#!/usr/bin/env bash
[ "$1 $2" = "requeue 7_1" ] && echo "requeued by the stand-in" && exec bash "$SCRIPT"
"#;

#[cfg(unix)]
#[test]
fn the_slurm_script_makes_parts_takes_up_what_was_ended_and_merges() {
    use std::os::unix::fs::PermissionsExt;

    let desk = Desk::with_victim();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cluster/slurm-array.sh");
    std::fs::copy(script, desk.path("slurm-array.sh")).unwrap();
    std::fs::create_dir(desk.path("bin")).unwrap();
    for (name, text) in [("sbatch", SBATCH), ("scontrol", SCONTROL)] {
        desk.write(&format!("bin/{name}"), text);
        let path = desk.path(&format!("bin/{name}"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let attack = "--model victim/model.palimpsest --steps 12000 --snapshot-every 0.1";
    let mut command = std::process::Command::new("bash");
    let old = std::env::var("PATH").unwrap();
    command
        .arg("slurm-array.sh")
        .current_dir(desk.path(""))
        .env("PATH", format!("{}:{old}", desk.path("bin").display()))
        .env("PALIMPSEST", env!("CARGO_BIN_EXE_xtask"))
        .envs([("ATTACK", attack), ("RESTARTS", "5"), ("EACH", "2"), ("OUT", "attack")]);
    let ran = finish(desk.start(command), "slurm-array.sh");
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains("requeued by the stand-in"), "the task was too fast to be ended\n{}", ran.err);
    assert!(ran.out.contains("array job 7 with 3 tasks"), "{}", ran.out);
    desk.ok("reconstruct --model victim/model.palimpsest --steps 12000 --restarts 5 --threads 1 --out whole");
    assert_same(&desk, "attack", "whole");
}
