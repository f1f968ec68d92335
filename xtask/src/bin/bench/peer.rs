//! PyTorch in a process of its own, asked for one piece of work at a time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// The running script.
pub(super) struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Name and version.
    pub(super) version: String,
}

impl Peer {
    /// Starts the script under `python`, which must have torch.
    pub(super) fn start(python: &Path) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join("torch_peer.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("--peer: cannot start {}; name a Python with --python", python.display())
            })?;
        let input = process.stdin.take().context("the peer has no input")?;
        let output = BufReader::new(process.stdout.take().context("the peer has no output")?);
        let mut peer = Self { process, input, output, version: String::new() };
        let line = peer.answer();
        let Some(version) = line.as_deref().ok().and_then(|line| line.strip_prefix("ready ")) else {
            bail!(
                "--peer: {} cannot import torch; install it there, or name another with --python",
                python.display()
            );
        };
        peer.version = format!("PyTorch {version}");
        Ok(peer)
    }

    /// Seconds of one step of the work that `line` names, and seconds of CPU time.
    pub(super) fn time(&mut self, threads: usize, line: &str) -> Result<(f64, f64)> {
        writeln!(self.input, "{threads} {line}").context("the peer has ended")?;
        let answer = self.answer()?;
        let parsed = answer
            .split_once(' ')
            .and_then(|(seconds, cpu)| Some((seconds.parse().ok()?, cpu.parse().ok()?)));
        parsed.with_context(|| format!("the peer answered `{answer}` to `{line}`"))
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("the peer cannot be read")?;
        if line.is_empty() {
            bail!("the peer has ended; its error is above");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
