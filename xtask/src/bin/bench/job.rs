//! Whole commands in processes of their own: train a victim, attack it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use palimpsest::terminal::memory;
use palimpsest_runs::record::MODEL_FILE;

use super::limit;
use super::work::{Amount, Sample, Work};

/// How often the memory of a command is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The walk of the demo: the same victim, the default attack. The second command needs the first one's model.
pub(super) fn works(threads: usize, program: &Path) -> Vec<Work> {
    let folder = std::env::temp_dir().join(format!("palimpsest-bench-{}", std::process::id()));
    let (victim, attack) = (folder.join("victim"), folder.join("attack"));
    let model = victim.join(MODEL_FILE);
    let train = "train --data fashion-mnist --task odd-even --n 100 --weight-decay 2e-3 --out";
    let reconstruct = "reconstruct --model";
    let with = |line: &str, paths: &[&PathBuf]| -> Vec<String> {
        let words = line.split(' ').map(str::to_owned);
        words.chain(paths.iter().map(|path| path.display().to_string())).collect()
    };
    let mut attack_words = with(reconstruct, &[&model]);
    attack_words.extend(["--out".to_owned(), attack.display().to_string()]);
    vec![
        command(
            program,
            "train: Fashion-MNIST, n = 100, weight decay, 4000 epochs",
            with(train, &[&victim]),
            None,
            threads,
        ),
        command(program, "reconstruct: that network, 8 restarts", attack_words, Some(folder), threads),
    ]
}

/// `remove` is deleted after the command has run.
fn command(program: &Path, name: &str, words: Vec<String>, remove: Option<PathBuf>, threads: usize) -> Work {
    let program = program.to_owned();
    Work {
        group: "Whole commands",
        name: name.to_owned(),
        threads,
        amount: Amount::Commands,
        peer: None,
        run: Box::new(move || {
            let sample = watched(&program, &words);
            if let Some(folder) = &remove {
                // What is left in the folder for temporary files harms nobody.
                let _ = fs::remove_dir_all(folder);
            }
            sample
        }),
    }
}

/// Runs `program` with `words`, and looks at it from outside until it ends.
fn watched(program: &Path, words: &[String]) -> Result<Sample> {
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(words)
        .arg("--quiet")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let (mut cpu_seconds, mut peak_bytes) = (0.0, None);
    loop {
        if let Some(status) = child.try_wait().context("cannot watch a command")? {
            let seconds = start.elapsed().as_secs_f64();
            if !status.success() {
                bail!("`{}` failed", words.join(" "));
            }
            return Ok(Sample { seconds, cpu_seconds, allocations: f64::NAN, peak_bytes });
        }
        // Both only rise, and are gone with the process: the last look counts.
        cpu_seconds = f64::max(cpu_seconds, used(&child));
        peak_bytes = memory::peak(&child.id().to_string()).or(peak_bytes);
        sleep(LOOK_EVERY);
    }
}

fn used(child: &Child) -> f64 {
    limit::cpu_seconds_of(child.id())
}
