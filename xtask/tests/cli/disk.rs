//! Disks that are full or may not be written, made real: a small file system in memory, mounted for one command.

use std::fs;
use std::process::Command;

use crate::desk::{ATTACK, Desk, JUDGE, Ran, TRAIN, finish};
use crate::signals::assert_whole;

/// Runs a script with `disk` mounted as a file system of its own; `$X` is the program. What lies on the disk at the end
/// is copied to `kept`. `None` where the system does not let ordinary users mount, which is said.
fn on_a_disk(desk: &Desk, options: &str, script: &str) -> Option<Ran> {
    let mount = |after: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o {options} none disk && {{\n{after}\n}}");
        command.args(["--mount", "--map-root-user", "sh", "-c", &script]);
        command.current_dir(desk.path("")).env("X", env!("CARGO_BIN_EXE_xtask"));
        command
    };
    fs::create_dir_all(desk.path("disk")).unwrap();
    if !mount("true").output().is_ok_and(|tried| tried.status.success()) {
        println!("left out: no file system can be mounted here");
        return None;
    }
    Some(finish(desk.start(mount(&format!("{script}\ncp -a disk kept"))), script))
}

#[test]
fn a_full_disk_costs_nothing_that_was_done() {
    let desk = Desk::with_victim();
    let line = TRAIN.replace("--out victim", "--out disk/run --snapshot-every 0");
    // The weights take more than there is, the state of the run does not.
    let script = format!(
        "$X {line}; echo first $?; ls disk/run; mount -o remount,size=10m disk; $X {line} --resume; echo second $?"
    );
    let Some(ran) = on_a_disk(&desk, "size=100k", &script) else { return };
    assert!(ran.out.contains("first 1\nsnapshot-1.bin\nsnapshot-2.bin\n"), "{}", ran.out);
    assert!(
        ran.err.contains("error: cannot write disk/run/model") && ran.err.contains("No space"),
        "{}",
        ran.err
    );
    assert!(
        ran.out.contains("second 0") && ran.err.contains("going on at epoch"),
        "{}\n{}",
        ran.out,
        ran.err
    );
    assert_eq!(desk.names("kept/run"), ["model.palimpsest", "model.safetensors", "train.json"]);
    for name in ["model.palimpsest", "model.safetensors"] {
        assert!(desk.read(&format!("kept/run/{name}")) == desk.read(&format!("victim/{name}")), "{name}");
    }
}

#[test]
fn no_half_file_is_left_on_a_full_disk() {
    let desk = Desk::with_judged();
    for (line, out) in [(ATTACK, "attack"), (JUDGE, "judged")] {
        for size in ["8k", "40k"] {
            let line = line.replace(&format!("--out {out}"), "--out disk/run");
            let Some(ran) = on_a_disk(&desk, &format!("size={size}"), &format!("$X {line}; echo code $?"))
            else {
                return;
            };
            assert!(ran.out.contains("code 1") || ran.out.contains("code 0"), "{line}: {}", ran.err);
            assert_whole(&desk, "kept/run");
            fs::remove_dir_all(desk.path("kept")).unwrap();
        }
    }
}

#[test]
fn a_disk_that_may_not_be_written_is_named() {
    let desk = Desk::with_judged();
    let script = [(TRAIN, "victim"), (ATTACK, "attack"), (JUDGE, "judged")].map(|(line, out)| {
        format!("$X {}; echo code $?", line.replace(&format!("--out {out}"), "--out disk/run"))
    });
    let Some(ran) = on_a_disk(&desk, "size=1m,ro", &script.join("\n")) else { return };
    assert_eq!(ran.out.matches("code 1").count(), 3, "{}", ran.err);
    assert_eq!(
        ran.err.matches("error: cannot write into disk/run; choose another --out").count(),
        3,
        "{}",
        ran.err
    );
}
