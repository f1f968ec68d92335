//! `cargo xtask reproduce defences`: the same networks with and without what is said to protect, attacked alike, in one table.

mod altered;
mod case;
mod claims;
mod listed;
mod measure;
mod network;
mod page;
mod row;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use palimpsest::terminal::{Misuse, interrupt, lock_folder, output};
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_runs::files;

pub(super) use self::case::{Case, cases};
pub(super) use self::listed::{Training, named};
pub(super) use self::measure::true_positives;
pub(super) use self::network::{Network, trained, trained_on};
use self::row::{Row, results};
use super::asked::DefencesArgs;
use super::unfinished::broken_off;
use super::victims::ReproduceArgs;

/// Makes and measures what is asked for, and writes table, picture and page after each row.
pub(super) fn run(args: &ReproduceArgs, what: &DefencesArgs) -> Result<()> {
    ensure!(what.networks.n > 0 && what.restarts > 0, Misuse("--n and --restarts must be at least 1".into()));
    let mut cases = cases(args, &what.networks);
    cases.retain(|case| !what.done || measure::is_done(args, case));
    ensure!(!cases.is_empty(), Misuse("no defence is left; check --only".into()));
    let _lock = lock_folder(&args.out)?;
    let mut rows = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        if interrupt::requested() {
            bail!(broken_off(args));
        }
        output::note(&format!("{} of {}: {case}", number + 1, cases.len()));
        rows.push(measure::row(args, what, case)?);
        write(&args.out, &rows, what)?;
    }
    output::line(&format!("{} rows in {}", rows.len(), args.out.display()));
    Ok(())
}

/// Writes what is known so far.
fn write(out: &Path, rows: &[Row], what: &DefencesArgs) -> Result<()> {
    let picture = page::picture(rows);
    if !what.write {
        files::write_json(&out.join("defences.json"), &results(rows))?;
        write_atomically(&out.join("defences.svg"), picture.as_bytes())?;
        return Ok(write_atomically(&out.join("defences.md"), page::page(rows)?.as_bytes())?);
    }
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is a folder of the workspace")?;
    let docs = root.join("docs");
    files::write_json(&docs.join("results").join("defences.json"), &results(rows))?;
    write_atomically(&docs.join("results").join("defences.svg"), picture.as_bytes())?;
    Ok(write_atomically(&docs.join("defences.md"), page::page(rows)?.as_bytes())?)
}
