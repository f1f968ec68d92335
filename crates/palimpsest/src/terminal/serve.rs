//! The folder of a run, shown to a browser on the same machine while a command works.
//!
//! Only this machine can ask (loopback), only for files that are there, and only to read them. A page of another site cannot ask either: the
//! name it would have to ask by is refused.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// Longest question that is read.
const MOST_ASKED: u64 = 8 << 10;
/// Time that whoever asks has for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Seconds after which a page asks again.
const AGAIN_S: u32 = 3;
/// What a browser is shown when nothing else is named.
const FIRST_PAGE: &str = "report.html";
/// What it is shown before that page is there.
const NOTHING_YET: &str = "Nothing has been found yet. This page looks again every three seconds.";

/// Shows a folder until it is dropped.
#[derive(Debug)]
pub struct Serving {
    address: String,
    over: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Serving {
    /// Begins to show `folder` at this port, or at any free one for 0.
    ///
    /// # Errors
    /// When the folder is not there, or the port is taken.
    pub fn begin(folder: &Path, port: u16) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot show {}", folder.display()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("cannot show the folder at port {port}; choose another one, or 0 for any")
        })?;
        let address = format!("http://{}/", listener.local_addr()?);
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let server = thread::Builder::new().name("watch".into()).spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // One at a time: a browser that has gone or stalls costs two seconds.
                if let Ok(stream) = stream {
                    let _ = answer(stream, &folder);
                }
            }
        })?;
        Ok(Self { address, over, server: Some(server) })
    }

    /// Where a browser finds it.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes it up.
        let address = self.address.trim_start_matches("http://").trim_end_matches('/');
        let woken = TcpStream::connect(address).is_ok();
        if let Some(server) = self.server.take().filter(|_| woken) {
            let _ = server.join();
        }
    }
}

/// Answers one question.
fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let port = stream.local_addr()?.port();
    let mut lines = BufReader::new(Read::by_ref(&mut stream).take(MOST_ASKED)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut host = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            host = Some(value.trim().to_owned());
        }
    }
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if host.is_none_or(|host| !ours.contains(&host)) {
        return refuse(&mut stream, "403 Forbidden", "403 Forbidden");
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !matches!(method, "GET" | "HEAD") {
        return refuse(&mut stream, "405 Method Not Allowed", "405 Method Not Allowed");
    }
    let Some((path, mut file)) =
        found(folder, target).and_then(|path| Some((path.clone(), fs::File::open(path).ok()?)))
    else {
        let told = if target == "/" { NOTHING_YET } else { "404 Not Found" };
        return refuse(&mut stream, "404 Not Found", told);
    };
    let (length, kind) = (file.metadata()?.len(), kind(&path));
    let again = if kind.starts_with("text/html") { format!("Refresh: {AGAIN_S}\r\n") } else { String::new() };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{again}Connection: close\r\n\r\n"
    )?;
    if method == "GET" {
        std::io::copy(&mut Read::by_ref(&mut file).take(length), &mut stream)?;
    }
    stream.flush()
}

fn refuse(stream: &mut TcpStream, status: &str, told: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nRefresh: {AGAIN_S}\r\nConnection: close\r\n\r\n{told}",
        told.len()
    )
}

/// The file that `target` names, if there is one below `folder` and no name in it is hidden.
fn found(folder: &Path, target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = Path::new(if path.is_empty() { FIRST_PAGE } else { path });
    let plain = |part: Component<'_>| matches!(part, Component::Normal(name) if name.to_str().is_some_and(|name| !name.starts_with('.')));
    if !path.components().all(plain) {
        return None;
    }
    // A link must not lead out of the folder.
    let path = folder.join(path).canonicalize().ok()?;
    (path.starts_with(folder) && path.is_file()).then_some(path)
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("md" | "csv") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(serving: &Serving, question: &str) -> String {
        let address = serving.address().trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(question.replace("HOST", address).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_browser_of_this_machine_reads_the_folder_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("run");
        fs::create_dir_all(folder.join("judge")).unwrap();
        fs::write(folder.join("report.html"), "<p>so far</p>").unwrap();
        fs::write(folder.join("judge/score.json"), "{}").unwrap();
        fs::write(folder.join(".lock"), "hidden").unwrap();
        fs::write(place.path().join("secret"), "secret").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(place.path().join("secret"), folder.join("link")).unwrap();
        let serving = Serving::begin(&folder, 0).unwrap();
        let page = ask(&serving, "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("Refresh: 3"), "{page}");
        assert!(page.ends_with("<p>so far</p>"), "{page}");
        assert!(ask(&serving, "GET /judge/score.json HTTP/1.1\r\nhost: HOST\r\n\r\n").ends_with("{}"));
        let head = ask(&serving, "HEAD /report.html HTTP/1.1\r\nHost: HOST\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        for target in
            ["/../secret", "/judge/../../secret", "//etc/passwd", "/link", "/.lock", "/absent", "", "/judge"]
        {
            let answer = ask(&serving, &format!("GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("secret"), "{target}: {answer}");
        }
        assert!(ask(&serving, "PUT /report.html HTTP/1.1\r\nHost: HOST\r\n\r\n").starts_with("HTTP/1.1 405"));
        for host in ["Host: evil.example", "X: y"] {
            let answer = ask(&serving, &format!("GET / HTTP/1.1\r\n{host}\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        }
        assert!(ask(&serving, "\r\n\r\n").starts_with("HTTP/1.1 4"));
    }

    #[test]
    fn before_there_is_a_page_it_says_so_and_it_is_closed_with_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let serving = Serving::begin(folder.path(), 0).unwrap();
        let early = ask(&serving, "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
        assert!(early.contains("Refresh: 3") && early.ends_with(NOTHING_YET), "{early}");
        let address = serving.address().trim_start_matches("http://").trim_end_matches('/').to_owned();
        drop(serving);
        assert!(TcpStream::connect(address).is_err());
    }
}
