//! Interrupts, kills and full disks: what is under a final name is whole.

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ndarray::{Array1, Array2};
use ndarray_npy::ReadNpyExt;
use palimpsest_mlp::Checkpoint;
use palimpsest_mlp::import::load_network;

use crate::desk::{ATTACK, Desk, JUDGE, TRAIN, finish};

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

/// Longer than separation takes on the small victim, so that restarts have begun.
const SEPARATION: Duration = Duration::from_secs(2);

/// Waits until the running command has made its folder, and then a little.
fn wait_for(desk: &Desk, folder: &str) {
    let start = Instant::now();
    while !desk.path(folder).exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "{folder} does not appear");
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(700));
}

#[test]
fn an_interrupted_attack_keeps_the_restarts_that_are_done() {
    let desk = Desk::with_victim();
    let line = "reconstruct --model victim/model.palimpsest --restarts 10000 --steps 300 --out attack";
    for name in ["INT", "TERM"] {
        let child = desk.start(desk.command(line));
        wait_for(&desk, "attack");
        sleep(SEPARATION);
        signal(&child, name);
        let sent = Instant::now();
        let ran = finish(child, line);
        assert!(sent.elapsed() < Duration::from_secs(20), "took {:?} to stop", sent.elapsed());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(ran.err.contains("stopping"), "{}", ran.err);
        let run = desk.json("attack/run.json");
        assert_eq!(run["stopped_early"], true);
        let done = run["runs"].as_array().unwrap().len();
        assert!((1..10_000).contains(&done), "{done} restarts");
        let candidates = Array2::<f32>::read_npy(desk.read("attack/candidates.npy").as_slice()).unwrap();
        assert_eq!(
            candidates.nrows() as u64,
            done as u64 * run["candidates_per_run"].as_u64().unwrap(),
            "all candidates of all finished restarts"
        );
        desk.ok(JUDGE);
        fs::remove_dir_all(desk.path("attack")).unwrap();
    }
}

#[test]
fn an_interrupted_single_restart_keeps_what_it_has() {
    let desk = Desk::with_victim();
    let line = "reconstruct --model victim/model.palimpsest --restarts 1 --steps 1000000000 --out attack";
    let child = desk.start(desk.command(line));
    wait_for(&desk, "attack");
    sleep(SEPARATION);
    signal(&child, "INT");
    let ran = finish(child, line);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("--resume goes on from here"), "{}", ran.err);
    let run = desk.json("attack/run.json");
    assert_eq!((&run["stopped_early"], &run["runs"][0]["termination"]), (&true.into(), &"TimeLimit".into()));
    desk.ok(JUDGE);
}

#[test]
fn interrupted_training_keeps_the_network() {
    let desk = Desk::new();
    let line = TRAIN.replace("--epochs 50", "--epochs 1000000000 --weight-decay 2e-3");
    let child = desk.start(desk.command(&line));
    wait_for(&desk, "victim");
    signal(&child, "INT");
    let ran = finish(child, &line);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(
        desk.names("victim"),
        ["model.palimpsest", "model.safetensors", "snapshot-1.bin", "train.json"]
    );
    assert_eq!(desk.json("victim/train.json")["stop"], "Observer");
    desk.ok(ATTACK);
}

#[test]
fn an_interrupted_benchmark_goes_on_inside_the_victim() {
    let desk = Desk::new();
    let line = "reproduce victims --only mnist-100-deep-500x500x500 --seeds 1 --out benchmark";
    let victim = "benchmark/mnist-100-deep-500x500x500-seed1/victim";
    let interrupted = || {
        let child = desk.start(desk.command(line));
        wait_for(&desk, &format!("{victim}/.palimpsest-lock"));
        signal(&child, "INT");
        let ran = finish(child, line);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(ran.err.contains("error: interrupted; what was done is in benchmark"), "{}", ran.err);
        assert!(!ran.err.contains("--resume"), "it has no such option: {}", ran.err);
        (desk.json(&format!("{victim}/train.json"))["provenance"]["epochs"].as_u64().unwrap(), ran.err)
    };
    let (before, _) = interrupted();
    // A victim that is trained in part is not taken for a whole one.
    let (after, said) = interrupted();
    assert!(said.contains(&format!("going on at epoch {before}")), "{said}");
    assert!(after > before, "{after} after {before}");
}

/// Every file under a final name can be read to its end.
pub(crate) fn assert_whole(desk: &Desk, folder: &str) {
    for name in desk.names(folder) {
        let path = desk.path(&format!("{folder}/{name}"));
        let bytes = || fs::read(&path).unwrap();
        match name.as_str() {
            // The rename did not come to pass, or the lock's name outlived its holder.
            hidden if hidden.starts_with(".palimpsest-") => {}
            "model.palimpsest" => drop(Checkpoint::load(&path).unwrap()),
            "model.safetensors" => drop(load_network(&path).unwrap()),
            "candidates.npy" | "reconstructions.npy" | "appearance.npy" | "mean_image.npy" => {
                drop(Array2::<f32>::read_npy(bytes().as_slice()).unwrap())
            }
            "multipliers.npy" | "confidence.npy" | "agreement.npy" | "bias_shares.npy" => {
                drop(Array1::<f32>::read_npy(bytes().as_slice()).unwrap());
            }
            "labels.npy" => drop(Array1::<i8>::read_npy(bytes().as_slice()).unwrap()),
            json if json.ends_with(".json") => {
                drop(serde_json::from_slice::<serde_json::Value>(&bytes()).unwrap());
            }
            "report.html" => assert!(bytes().trim_ascii_end().ends_with(b"</html>")),
            "report.md" => assert!(bytes().starts_with(b"# ")),
            "pairs.png" => assert!(bytes().ends_with(b"IEND\xae\x42\x60\x82"), "half a picture"),
            "judge" => assert_whole(desk, &format!("{folder}/judge")),
            "snapshot-1.bin" | "snapshot-2.bin" => assert!(bytes().starts_with(b"PLMPSNAP")),
            other => panic!("{other} has no business in {folder}"),
        }
    }
}

#[test]
fn a_killed_command_leaves_no_half_file() {
    let desk = Desk::with_victim();
    for (line, out) in [(TRAIN, "victim"), (ATTACK, "attack")] {
        let line = line.replace(&format!("--out {out}"), "--out killed");
        for delay_ms in (0..60).step_by(4) {
            let mut child = desk.start(desk.command(&line));
            sleep(Duration::from_millis(delay_ms));
            // It may have ended by itself.
            let _ = child.kill();
            finish(child, &line);
            assert_whole(&desk, "killed");
        }
        let _ = fs::remove_dir_all(desk.path("killed"));
    }
}

#[test]
fn a_full_disk_is_a_sentence_and_no_half_file() {
    let desk = Desk::with_victim();
    desk.ok(ATTACK);
    for (line, out) in [(TRAIN, "victim"), (ATTACK, "attack")] {
        let line = line.replace(&format!("--out {out}"), "--out full");
        // Files may not grow beyond about 50 kB, which neither the network nor the candidates fit in.
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; ulimit -f 100; exec "$0" "$@""#, env!("CARGO_BIN_EXE_xtask")]);
        command.args(line.split_whitespace()).current_dir(desk.path(""));
        let ran = finish(desk.start(command), &line);
        assert_eq!(ran.code, Some(1), "{line}\n{}", ran.err);
        assert!(ran.err.contains("error: cannot write full/"), "{}", ran.err);
        assert!(desk.names("full").is_empty(), "{:?}", desk.names("full"));
    }
}
