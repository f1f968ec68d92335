//! A folder to work in, and the program run there.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A victim that trains in a moment.
pub(crate) const TRAIN: &str =
    "train --data fashion-mnist --task odd-even --n 10 --hidden 40,30 --epochs 50 --out victim";
/// An attack that takes a moment.
pub(crate) const ATTACK: &str =
    "reconstruct --model victim/model.palimpsest --restarts 2 --steps 5 --out attack";
/// The judge of [`ATTACK`].
pub(crate) const JUDGE: &str =
    "evaluate --reconstruction attack --data fashion-mnist --task odd-even --n 10 --out judged";

/// No command of these tests may take longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command did.
pub(crate) struct Ran {
    /// Exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder that is gone when the test ends; commands run in it, so that paths in them are short.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A desk with the folder `victim`.
    pub(crate) fn with_victim() -> Self {
        let desk = Self::new();
        desk.ok(TRAIN);
        desk
    }

    /// A desk with the folders `victim`, `attack` and `judged`.
    pub(crate) fn with_judged() -> Self {
        let desk = Self::with_victim();
        desk.ok(ATTACK);
        desk.ok(JUDGE);
        desk
    }

    /// The program on the words of `line`, not started.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command
    }

    /// Starts `command` with its output caught.
    pub(crate) fn start(&self, mut command: Command) -> Child {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the words of `line` to their end. Whatever they are, the program does not panic.
    pub(crate) fn run(&self, line: &str) -> Ran {
        finish(self.start(self.command(line)), line)
    }

    /// Runs what must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(0), "{line}\n{}", ran.err);
        ran
    }

    /// Runs what must be refused with the exit code `code` and a sentence that has all of `words`.
    #[track_caller]
    pub(crate) fn refused(&self, line: &str, code: i32, words: &[&str]) {
        let ran = self.run(line);
        assert_eq!(ran.code, Some(code), "{line}\n{}", ran.err);
        let errors: Vec<&str> = ran.err.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one sentence says what is wrong: {line}\n{}", ran.err);
        for word in words {
            assert!(errors[0].contains(word), "{line}\n{}\ndoes not say {word:?}", errors[0]);
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Names in a folder in alphabetic order, hidden ones included; none when there is no such folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Waits for a child's end and reads what it said.
#[track_caller]
pub(crate) fn finish(mut child: Child, line: &str) -> Ran {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("`{line}` does not come to an end");
        }
        sleep(Duration::from_millis(5));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let ran = Ran {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into(),
        err: String::from_utf8_lossy(&stderr).into(),
    };
    assert!(!ran.err.contains("panicked"), "{line}\n{}", ran.err);
    assert!(ran.code != Some(101) && ran.code != Some(134), "{line}\n{}", ran.err);
    ran
}
