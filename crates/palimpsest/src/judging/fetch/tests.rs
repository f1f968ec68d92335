//! Mirrors that truncate, stall, lie and redirect, on a server of our own; and a process that is killed.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;

use flate2::Compression;
use flate2::write::GzEncoder;
use palimpsest_numerics::seed::Seed;
use tempfile::TempDir;

use super::sources::Pinned;
use super::*;

/// What a server does with a request.
#[derive(Clone, Debug)]
enum Deed {
    /// Sends what was asked for.
    Serve,
    /// Says how much it is, and closes after so many bytes.
    Truncate(usize),
    /// Sends so many bytes and then nothing, with the connection open.
    Stall(usize),
    /// Another file.
    Lie,
    /// Ranges that are not those that were asked for.
    LieAboutRange,
    /// The whole file, whatever was asked for.
    IgnoreRange,
    /// Bytes without end.
    Endless,
    /// Somewhere else.
    Redirect(String),
    /// This status.
    Status(&'static str),
    /// Serves, a little at a time.
    Slowly,
}

/// A server that does one deed after the other, and the last one for ever.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of(body: Vec<u8>, deeds: Vec<Deed>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, deeds) = (requests.clone(), Mutex::new(VecDeque::from(deeds)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = head(&stream);
                seen.lock().unwrap().push(request.clone());
                let deed = {
                    let mut deeds = deeds.lock().unwrap();
                    if deeds.len() > 1 { deeds.pop_front().unwrap() } else { deeds[0].clone() }
                };
                let body = body.clone();
                // One that stalls must not keep others waiting. A client that has gone is none of our business.
                std::thread::spawn(move || drop(answer(stream, &request, &body, &deed)));
            }
        });
        Self { address, requests }
    }

    fn mirror(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn answer(mut stream: TcpStream, request: &str, body: &[u8], deed: &Deed) -> std::io::Result<()> {
    let asked = request.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let start = value.strip_prefix("bytes=")?.strip_suffix('-')?;
        name.eq_ignore_ascii_case("range").then(|| start.parse::<usize>().unwrap())
    });
    let from = asked.filter(|_| !matches!(deed, Deed::IgnoreRange)).unwrap_or(0);
    if from >= body.len() && from > 0 {
        return write!(stream, "HTTP/1.1 416 Too far\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let (all, shift) = (body.len(), usize::from(matches!(deed, Deed::LieAboutRange)));
    let range = format!("Content-Range: bytes {}-{}/{all}\r\n", from + shift, all.saturating_sub(1));
    let (status, range) = if from > 0 { ("206 Partial", range) } else { ("200 OK", String::new()) };
    let rest = &body[from..];
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{range}Connection: close\r\n\r\n", rest.len());
    match deed {
        Deed::Serve | Deed::IgnoreRange | Deed::LieAboutRange => {
            stream.write_all(&[head.as_bytes(), rest].concat())
        }
        Deed::Truncate(n) => stream.write_all(&[head.as_bytes(), &rest[..*n.min(&rest.len())]].concat()),
        Deed::Stall(n) => {
            stream.write_all(&[head.as_bytes(), &rest[..*n]].concat())?;
            sleep(Duration::from_secs(20));
            Ok(())
        }
        Deed::Lie => {
            let other = gzipped(b"something else");
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                other.len()
            )?;
            stream.write_all(&other)
        }
        Deed::Endless => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                10_u64 << 40
            )?;
            (0..10_000).try_for_each(|_| stream.write_all(&[7; 1 << 16]))
        }
        Deed::Redirect(to) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        }
        Deed::Status(status) => {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Deed::Slowly => {
            stream.write_all(head.as_bytes())?;
            rest.chunks(1 << 12).try_for_each(|chunk| {
                sleep(Duration::from_millis(2));
                stream.write_all(chunk)
            })
        }
    }
}

/// A file that does not pack well.
fn plain() -> Vec<u8> {
    use rand::RngCore;
    let mut bytes = vec![0; 400_000];
    Seed::new(5).rng().fill_bytes(&mut bytes);
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn source(mirrors: Vec<String>) -> Source {
    let pinned = Pinned { name: "images".into(), sha256: sha256(&plain()) };
    Source { mirrors, downloads: vec![Download::gzipped(pinned)], licence: "ours", citation: "nobody" }
}

const PATIENCE: Patience = Patience { answer: Duration::from_secs(5), silence: Duration::from_millis(400) };

fn fetched(mirrors: &[&Server]) -> (TempDir, Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let mirrors = mirrors.iter().map(|server| server.mirror()).collect();
    let got = fetch(&source(mirrors), folder.path(), PATIENCE);
    (folder, got)
}

/// The file is there and whole, and nothing else.
#[track_caller]
fn assert_there(folder: &Path) {
    assert!(fs::read(folder.join("images")).unwrap() == plain());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
}

#[track_caller]
fn assert_not_there(folder: &Path, got: Result<()>, words: &[&str]) {
    let message = format!("{:#}", got.unwrap_err());
    for word in words {
        assert!(message.contains(word), "{message}\ndoes not say {word:?}");
    }
    assert!(!folder.join("images").exists());
}

#[test]
fn a_file_is_fetched_verified_and_fetched_once() {
    let server = Server::of(gzipped(&plain()), vec![Deed::Serve]);
    let (folder, got) = fetched(&[&server]);
    got.unwrap();
    assert_there(folder.path());
    fetch(&source(vec![server.mirror()]), folder.path(), PATIENCE).unwrap();
    assert_eq!(server.requests().len(), 1, "what is there is not fetched again");
    // A damaged file is; and one that was brought as a packed file is not.
    fs::write(folder.path().join("images"), "damaged").unwrap();
    fetch(&source(vec![server.mirror()]), folder.path(), PATIENCE).unwrap();
    assert_there(folder.path());
    fs::remove_file(folder.path().join("images")).unwrap();
    fs::write(folder.path().join("images.gz"), gzipped(&plain())).unwrap();
    fetch(&source(vec![server.mirror()]), folder.path(), PATIENCE).unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_mirror_that_truncates_is_gone_on_with() {
    let server =
        Server::of(gzipped(&plain()), vec![Deed::Truncate(100_000), Deed::Truncate(100_000), Deed::Serve]);
    let (folder, got) = fetched(&[&server]);
    got.unwrap();
    assert_there(folder.path());
    let ranges: Vec<bool> =
        server.requests().iter().map(|request| request.to_lowercase().contains("range: bytes=")).collect();
    assert_eq!(ranges, [false, true, true]);
}

#[test]
fn a_mirror_that_stalls_is_gone_on_with_and_given_up_when_it_says_nothing_new() {
    let whole = Server::of(gzipped(&plain()), vec![Deed::Serve]);
    let once = Server::of(gzipped(&plain()), vec![Deed::Stall(50_000), Deed::Serve]);
    let (folder, got) = fetched(&[&once]);
    got.unwrap();
    assert_there(folder.path());
    let silent = Server::of(gzipped(&plain()), vec![Deed::Stall(0)]);
    let (folder, got) = fetched(&[&silent, &whole]);
    got.unwrap();
    assert_there(folder.path());
    let (folder, got) = fetched(&[&silent]);
    assert_not_there(folder.path(), got, &["silent for", "no mirror has images.gz", "bring images"]);
}

#[test]
fn mirrors_that_lie_are_passed_over() {
    let whole = Server::of(gzipped(&plain()), vec![Deed::Serve]);
    let cut = Deed::Truncate(100_000);
    for deeds in [
        vec![Deed::Lie],
        vec![cut.clone(), Deed::Lie],
        vec![cut.clone(), Deed::LieAboutRange],
        vec![Deed::Status("404 Not Found")],
        vec![Deed::Status("503 Busy")],
        vec![Deed::Endless],
    ] {
        let liar = Server::of(gzipped(&plain()), deeds.clone());
        let (folder, got) = fetched(&[&liar, &whole]);
        got.unwrap_or_else(|error| panic!("{deeds:?}: {error:#}"));
        assert_there(folder.path());
        // Again from its first deed.
        let liar = Server::of(gzipped(&plain()), deeds);
        let (folder, got) = fetched(&[&liar]);
        assert_not_there(folder.path(), got, &["no mirror has images.gz", &liar.mirror()]);
    }
    let wrong = Server::of(gzipped(b"another file"), vec![Deed::Serve]);
    let (folder, got) = fetched(&[&wrong]);
    assert_not_there(folder.path(), got, &["SHA-256", &sha256(&plain())]);
    let rough = Server::of(plain(), vec![Deed::Serve]);
    let (folder, got) = fetched(&[&rough]);
    assert_not_there(folder.path(), got, &["cannot be unpacked"]);
}

#[test]
fn a_mirror_without_ranges_sends_all_of_it_again() {
    let server = Server::of(gzipped(&plain()), vec![Deed::Truncate(100_000), Deed::IgnoreRange]);
    let (folder, got) = fetched(&[&server]);
    got.unwrap();
    assert_there(folder.path());
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let whole = Server::of(gzipped(&plain()), vec![Deed::Serve]);
    let away = Server::of(Vec::new(), vec![Deed::Redirect(format!("{}elsewhere", whole.mirror()))]);
    let (folder, got) = fetched(&[&away]);
    got.unwrap();
    assert_there(folder.path());
    let round = Server::of(Vec::new(), vec![Deed::Redirect("/images.gz".into())]);
    let (folder, got) = fetched(&[&round]);
    assert_not_there(folder.path(), got, &["redirect"]);
    assert!(round.requests().len() < 30);
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let got = fetch(&source(vec![format!("http://{gone}/")]), folder.path(), PATIENCE);
    assert_not_there(folder.path(), got, &["prox", "another machine", "images"]);
}

#[test]
fn what_an_earlier_command_has_begun_with_another_file_is_thrown_away() {
    let server = Server::of(gzipped(&plain()), vec![Deed::Serve]);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}images.gz", server.mirror());
    for begun in [vec![1; 1000], vec![1; 600_000]] {
        fs::write(partial(folder.path(), &url), begun).unwrap();
        fetch(&source(vec![server.mirror()]), folder.path(), PATIENCE).unwrap();
        assert_there(folder.path());
        fs::remove_file(folder.path().join("images")).unwrap();
    }
}

#[test]
fn an_archive_gives_its_files_and_nothing_outside_of_the_folder() {
    let pinned = |name: &str, bytes: &[u8]| Pinned { name: name.into(), sha256: sha256(bytes) };
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in
        [("in/._a.bin", "fork"), ("in/readme", "read"), ("in/a.bin", "first"), ("in/b.bin", "second")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes.as_bytes()).unwrap();
    }
    let body = archive.into_inner().unwrap().finish().unwrap();
    let download = |files| Download { name: "set.tar.gz".into(), packing: sources::Packing::TarGz, files };
    let server = Server::of(body, vec![Deed::Serve]);
    let of = |files| Source { downloads: vec![download(files)], ..source(vec![server.mirror()]) };
    let folder = tempfile::tempdir().unwrap();
    fetch(&of(vec![pinned("b.bin", b"second"), pinned("a.bin", b"first")]), folder.path(), PATIENCE).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert_eq!(fs::read(folder.path().join("a.bin")).unwrap(), b"first");
    let error = fetch(&of(vec![pinned("c.bin", b"third")]), folder.path(), PATIENCE).unwrap_err();
    assert!(format!("{error:#}").contains("does not hold c.bin"), "{error:#}");
    let error = fetch(&of(vec![pinned("a.bin", b"other")]), folder.path(), PATIENCE).unwrap_err();
    assert!(format!("{error:#}").contains("SHA-256"), "{error:#}");
}

/// In the folder in which the process to be killed is started: from where, and to where it fetches.
const ORDERS: &str = "fetch-from-and-to.txt";

/// What the process to be killed does: nothing unless it is told where.
#[test]
fn fetches_in_a_process_of_its_own() {
    let Ok(orders) = fs::read_to_string(ORDERS) else { return };
    let (mirror, folder) = orders.split_once('\n').unwrap();
    let folder = Path::new(folder);
    let _lock = lock_folder(folder).unwrap();
    fetch(&source(vec![mirror.into()]), folder, PATIENCE).unwrap();
}

/// Kills of [`killed_at_random_moments_there_is_a_whole_file_or_none`].
const KILLS: usize = 50;

#[test]
fn killed_at_random_moments_there_is_a_whole_file_or_none() {
    use rand::Rng;
    let server = Server::of(gzipped(&plain()), vec![Deed::Slowly]);
    let folder = tempfile::tempdir().unwrap();
    let orders = tempfile::tempdir().unwrap();
    let told = format!("{}\n{}", server.mirror(), folder.path().display());
    fs::write(orders.path().join(ORDERS), told).unwrap();
    let there = folder.path().join("images");
    let mut rng = Seed::new(9).rng();
    let (mut killed, mut done) = (0, 0);
    while killed < KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "judging::fetch::tests::fetches_in_a_process_of_its_own"])
            .current_dir(orders.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(rng.random_range(1..300)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        if there.exists() {
            done += 1;
            assert!(fs::read(&there).unwrap() == plain(), "a file that is there is whole");
            fs::remove_file(&there).unwrap();
        }
        assert!(done <= 20 * KILLS, "it is too fast to be killed");
    }
    fetch(&source(vec![server.mirror()]), folder.path(), PATIENCE).unwrap();
    assert!(fs::read(&there).unwrap() == plain());
    let resumed =
        server.requests().iter().filter(|request| request.to_lowercase().contains("range: ")).count();
    assert!(resumed > 0, "never gone on with");
    println!("{killed} kills, {done} whole files, {resumed} requests went on from where one was broken off");
}
