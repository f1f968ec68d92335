//! `palimpsest fetch`: a published data set from public mirrors, verified to the last byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use palimpsest_datasets::DataName;
use ureq::{Agent, Proxy};

use self::sources::{Download, Source};
use self::transfer::{Broken, Patience, receive};
use self::unpack::{Unfit, is_there, sha256, unpack};
use crate::terminal::transfer::Received;
use crate::terminal::{Misuse, lock_folder, output};

mod sources;
#[cfg(test)]
mod tests;
mod transfer;
mod unpack;

/// Fetch a published data set from public mirrors and verify it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  palimpsest fetch cifar10
  palimpsest fetch mnist --to /data/mnist
  palimpsest fetch mnist --mirror https://mirror.example.org/mnist/
  HTTPS_PROXY=http://proxy.example.org:3128 palimpsest fetch fashion-mnist

Several mirrors are tried in turn; what was received goes on where it broke off, also after Ctrl-C or a kill. A file appears when its
SHA-256 is the one that is pinned in this program, and never before. Files that are there and right are left as they are.
Proxies are taken from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY. Small samples of mnist and fashion-mnist need no fetching:
they are part of the program.")]
pub struct FetchArgs {
    /// The data set.
    #[arg(value_enum)]
    pub name: Fetched,
    /// Folder for its files [default: data/NAME].
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// A mirror of one's own, tried first: the address of the folder that holds the packed files.
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
    /// Seconds of silence after which another mirror is tried.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub patience: f64,
}

/// A data set that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fetched {
    /// Animals and vehicles, 32 x 32 colour, 170 MB.
    Cifar10,
    /// Handwritten digits, 28 x 28 grey, 11 MB.
    Mnist,
    /// Articles of clothing, 28 x 28 grey, 30 MB.
    FashionMnist,
}

impl Fetched {
    fn name(self) -> DataName {
        match self {
            Self::Cifar10 => DataName::Cifar10,
            Self::Mnist => DataName::Mnist,
            Self::FashionMnist => DataName::FashionMnist,
        }
    }
}

/// Tries of one mirror, each of which has brought something new.
const TRIES: usize = 5;

/// Carries out `palimpsest fetch`.
///
/// # Errors
/// When no mirror has a file as it should be, or it cannot be written; [`Misuse`] for options that cannot work.
pub fn run(args: &FetchArgs) -> Result<()> {
    let name = args.name.name();
    let mut source = Source::of(name).ok_or_else(|| anyhow!("{name} is not fetched"))?;
    let silence = Duration::try_from_secs_f64(args.patience).ok().filter(|silence| !silence.is_zero());
    let Some(silence) = silence else {
        bail!(Misuse(format!("--patience must be a number of seconds above 0, got {}", args.patience)));
    };
    for mirror in &args.mirror {
        if !(mirror.starts_with("http://") || mirror.starts_with("https://")) {
            bail!(Misuse(format!("--mirror must begin with http:// or https://, got {mirror}")));
        }
    }
    let own = args.mirror.iter().map(|mirror| format!("{}/", mirror.trim_end_matches('/')));
    source.mirrors.splice(0..0, own);
    let to = args.to.clone().unwrap_or_else(|| Path::new("data").join(name.to_string()));
    let _lock = lock_folder(&to)?;
    output::note(&format!("licence of {name}: {}", source.licence));
    output::note(&format!("cite {}", source.citation));
    let patience = Patience { answer: silence, silence };
    fetch(&source, &to, patience)?;
    let to = output::absolute(&to);
    output::line(&format!(
        "{name} is in {0}, every file verified: --data {name} --data-dir {0}",
        to.display()
    ));
    output::event(
        "result",
        &serde_json::json!({
            "command": "fetch", "data": name.to_string(), "to": to, "licence": source.licence, "citation": source.citation,
        }),
    );
    Ok(())
}

/// Brings every file of `source` into the folder `to`, which the caller has locked.
fn fetch(source: &Source, to: &Path, patience: Patience) -> Result<()> {
    let agent = agent(patience);
    for download in &source.downloads {
        if download.files.iter().all(|file| is_there(file, to)) {
            output::note(&format!("{} is there already", download.name));
            continue;
        }
        let received = Received::of(&download.name);
        let brought = bring(&agent, download, &source.mirrors, to, patience, &received);
        received.finish();
        brought?;
        // What other mirrors have begun is of no use any more.
        for mirror in &source.mirrors {
            let _ = fs::remove_file(partial(to, &address(mirror, download)));
        }
    }
    Ok(())
}

fn agent(patience: Patience) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(patience.answer))
        .timeout_connect(Some(patience.answer))
        .timeout_recv_response(Some(patience.answer))
        .user_agent(palimpsest_runs::MADE_BY.replace(' ', "/"))
        .build();
    Agent::new_with_config(config)
}

/// Brings the files of one download from the first mirror that has them as they should be.
fn bring(
    agent: &Agent,
    download: &Download,
    mirrors: &[String],
    to: &Path,
    patience: Patience,
    received: &Received,
) -> Result<()> {
    let mut problems = Vec::new();
    for mirror in mirrors {
        let url = address(mirror, download);
        match from_mirror(agent, download, &url, to, patience, received)? {
            Ok(()) => return Ok(()),
            Err(problem) => {
                output::note(&format!("{url}: {problem}"));
                problems.push(format!("{url}: {problem}"));
            }
        }
    }
    let names: Vec<&str> = download.files.iter().map(|file| &file.name[..]).collect();
    bail!(
        "no mirror has {} as it should be ({}); {}; the same command goes on with what was received; or bring {} from another machine into \
         {} and run it again, which verifies",
        download.name,
        problems.join("; "),
        proxies(),
        names.join(", "),
        to.display()
    )
}

/// Brings the files from one mirror; the inner error says why it cannot serve.
fn from_mirror(
    agent: &Agent,
    download: &Download,
    url: &str,
    to: &Path,
    patience: Patience,
    received: &Received,
) -> Result<Result<(), String>> {
    let partial = partial(to, url);
    let cannot =
        |error: std::io::Error| anyhow!(error).context(format!("cannot write {}", partial.display()));
    let mut afresh = fs::metadata(&partial).is_err();
    for _ in 0..TRIES {
        match receive(agent, url, &partial, patience, received) {
            Ok(()) => {}
            Err(Broken::BrokeOff(problem)) => {
                output::note(&format!("{url}: {problem}; going on from there"));
                afresh = false;
                continue;
            }
            Err(Broken::Mirror(problem)) => return Ok(Err(problem)),
            Err(Broken::Interrupted) => bail!("stopped; the same command goes on from here"),
            Err(Broken::Disk(error)) => return Err(cannot(error)),
        }
        let packed = File::open(&partial).map_err(cannot)?;
        let unfit = match unpack(packed, download, to) {
            Ok(()) => return Ok(Ok(())),
            Err(Unfit::Disk(error)) => return Err(error),
            Err(Unfit::Wrong(problem)) => problem,
        };
        fs::remove_file(&partial).map_err(cannot)?;
        // What an earlier try had begun may have been of another file; what came in one piece is as the mirror has it.
        if std::mem::replace(&mut afresh, true) {
            return Ok(Err(unfit));
        }
    }
    Ok(Err(format!("it broke off {TRIES} times")))
}

fn address(mirror: &str, download: &Download) -> String {
    format!("{mirror}{}", download.name)
}

/// Where what was received of `url` waits for the rest.
fn partial(to: &Path, url: &str) -> PathBuf {
    to.join(format!(".fetch-{}.partial", &sha256(url.as_bytes())[..16]))
}

/// What is known of proxies, and what to do about them; no password is told.
fn proxies() -> String {
    match Proxy::try_from_env() {
        Some(proxy) => format!("the proxy {}:{} of the environment was used", proxy.host(), proxy.port()),
        None => {
            "no proxy is set: if this machine reaches the network only by one, set HTTPS_PROXY and HTTP_PROXY; if it is offline, nothing can be \
             fetched"
                .into()
        }
    }
}
