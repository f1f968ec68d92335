//! One file from one address into a partial file, which the next try goes on with.
//!
//! The network is read on a thread of its own, so that silence is noticed, and an interrupt too. What was received is
//! trusted by nobody: it is checked when it is unpacked.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{StatusCode, header};

use crate::terminal::transfer::Received;
use crate::terminal::{clock, interrupt};

/// Why a transfer did not come to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// The mirror does not have it, or does not answer: another may.
    Mirror(String),
    /// It broke off after some bytes that were new: a further try goes on from there.
    BrokeOff(String),
    /// The user has asked to stop.
    Interrupted,
    /// The partial file cannot be written.
    Disk(std::io::Error),
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until a connection stands, and until an answer begins.
    pub(super) answer: Duration,
    /// Without a byte.
    pub(super) silence: Duration,
}

/// Largest file that is received.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;
/// How often an interrupt is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Receives `url` into the file `partial`, after the bytes that it holds.
pub(super) fn receive(
    agent: &Agent,
    url: &str,
    partial: &Path,
    patience: Patience,
    received: &Received,
) -> Result<(), Broken> {
    let had = fs::metadata(partial).map_or(0, |metadata| metadata.len());
    let answer = ask(agent, url, had).map_err(Broken::Mirror)?;
    let Answer { from, length, body } = match answer {
        Some(answer) => answer,
        // All there is was received before; whether it is right is found out when it is unpacked.
        None => return Ok(()),
    };
    if let Some(length) = length.filter(|&length| length > MAX_BYTES) {
        return Err(Broken::Mirror(format!(
            "it would send {length} bytes, more than the {MAX_BYTES} it may"
        )));
    }
    let mut file = File::options().create(true).append(true).open(partial).map_err(Broken::Disk)?;
    if from == 0 && had > 0 {
        file.set_len(0).map_err(Broken::Disk)?;
    }
    let (sender, chunks) = sync_channel(4);
    std::thread::spawn(move || read(body, &sender));
    let limit = length.unwrap_or(MAX_BYTES);
    received.begin(from, length);
    let mut done = from;
    loop {
        match next(&chunks, patience.silence)? {
            Some(Ok(chunk)) if done + chunk.len() as u64 > limit => {
                return Err(Broken::Mirror(format!("it sends more than the {limit} bytes it may")));
            }
            Some(Ok(chunk)) => {
                file.write_all(&chunk).map_err(Broken::Disk)?;
                done += chunk.len() as u64;
                received.tell(done);
            }
            Some(Err(problem)) => return Err(broke_off(done > from, problem)),
            None if length.is_some_and(|length| done < length) => {
                return Err(broke_off(done > from, format!("it broke off after {done} bytes")));
            }
            None => return Ok(()),
        }
    }
}

fn broke_off(has_new: bool, problem: String) -> Broken {
    if has_new { Broken::BrokeOff(problem) } else { Broken::Mirror(problem) }
}

/// What a mirror answers.
struct Answer {
    /// First byte that it sends.
    from: u64,
    /// Bytes of the whole file, if it says.
    length: Option<u64>,
    body: ureq::Body,
}

/// Asks for what is after the first `had` bytes; nothing when that is nothing.
fn ask(agent: &Agent, url: &str, had: u64) -> Result<Option<Answer>, String> {
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if had > 0 {
        request = request.header(header::RANGE, format!("bytes={had}-"));
    }
    let response = request.call().map_err(|error| error.to_string())?;
    let status = response.status();
    let told = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (sends, range) =
        (told(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()), told(header::CONTENT_RANGE));
    match status {
        StatusCode::OK => Ok(Some(Answer { from: 0, length: sends, body: response.into_body() })),
        StatusCode::PARTIAL_CONTENT if had > 0 => {
            let range = range.unwrap_or_default();
            if !range.starts_with(&format!("bytes {had}-")) {
                return Err(format!("it was asked for the bytes from {had} on and sends {range:?}"));
            }
            let length = sends.and_then(|sends: u64| sends.checked_add(had));
            Ok(Some(Answer { from: had, length, body: response.into_body() }))
        }
        StatusCode::RANGE_NOT_SATISFIABLE if had > 0 => Ok(None),
        status => Err(format!("it answers {status}")),
    }
}

type Chunk = Result<Vec<u8>, String>;

/// Reads a body to its end, for as long as somebody takes the chunks.
fn read(body: ureq::Body, sender: &SyncSender<Chunk>) {
    let mut reader = body.into_reader();
    loop {
        let mut chunk = vec![0; CHUNK];
        let sent = match reader.read(&mut chunk) {
            Ok(0) => return,
            Ok(n) => {
                chunk.truncate(n);
                sender.send(Ok(chunk))
            }
            Err(error) => {
                // Whoever has gone does not want to know.
                let _ = sender.send(Err(error.to_string()));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The next chunk; nothing at the end.
fn next(chunks: &Receiver<Chunk>, silence: Duration) -> Result<Option<Chunk>, Broken> {
    let start = clock::now();
    loop {
        match chunks.recv_timeout(LOOK.min(silence)) {
            Ok(chunk) => return Ok(Some(chunk)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if interrupt::requested() => return Err(Broken::Interrupted),
            Err(RecvTimeoutError::Timeout) if clock::now().saturating_sub(start) >= silence => {
                return Ok(Some(Err(format!("it is silent for {:.1} s", silence.as_secs_f64()))));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
