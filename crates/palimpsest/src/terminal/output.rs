//! Printing.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Serialize;

/// Who reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A person: results as text on standard output, notes and progress on standard error.
    Person,
    /// A program: one JSON object a line on standard output, each with an `event`.
    Machine,
    /// Nobody: errors only.
    Quiet,
}

/// Columns of characters that a picture may take: what every terminal has.
const COLUMNS: usize = 80;

static MODE: OnceLock<Mode> = OnceLock::new();

/// Sets who reads; called once, first thing.
pub fn set_mode(mode: Mode) {
    // A second call would be a mistake in this program, and the first stays in force.
    let _ = MODE.set(mode);
}

/// Who reads: a person unless told otherwise.
pub fn mode() -> Mode {
    MODE.get().copied().unwrap_or(Mode::Person)
}

/// Prints a line of results for a person; a program gets them by [`event`].
pub fn line(text: &str) {
    if mode() == Mode::Person {
        // Not `println!`, which panics when a reader such as `head` has gone; the files are written all the same.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Writes bytes to standard output as they are, whoever reads: the whole of what a command was asked for.
pub fn bytes(bytes: &[u8]) {
    // As with [`line`], a reader that has gone is no reason to panic.
    let _ = std::io::stdout().write_all(bytes);
}

/// Prints a line that is not a result: what is being done, what to know.
pub fn note(text: &str) {
    match mode() {
        Mode::Person => {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        Mode::Machine => event("note", &serde_json::json!({ "text": text })),
        Mode::Quiet => {}
    }
}

/// Shows a picture to a person at a terminal, made for so many columns; nothing where standard error is none.
pub fn picture(made: impl FnOnce(usize) -> String) {
    if mode() == Mode::Person && std::io::stderr().is_terminal() {
        let _ = std::io::stderr().write_all(made(COLUMNS).as_bytes());
    }
}

/// Prints an event for a program: the fields of `value`, an object, and `event`.
pub fn event(name: &str, value: &impl Serialize) {
    if mode() != Mode::Machine {
        return;
    }
    #[derive(Serialize)]
    struct Event<'a, T> {
        event: &'a str,
        #[serde(flatten)]
        value: &'a T,
    }
    if let Ok(text) = serde_json::to_string(&Event { event: name, value }) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Prints an error, to whoever reads.
pub fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    event("error", &serde_json::json!({ "text": text }));
}

/// `path` made absolute for a message, without touching the disk beyond the current folder's name.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
