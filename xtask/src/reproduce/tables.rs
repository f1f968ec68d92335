//! `cargo xtask reproduce table`: the tables of the documents, made from the measured results in `docs/results`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use palimpsest::terminal::output;
use palimpsest_mlp::checkpoint::write_atomically;
use palimpsest_report::{ResultsTables, parse_results_table, write_results_tables};

/// Which documents would change, or are changed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct TableArgs {
    /// Rewrite the documents; without it those that would change are named.
    #[arg(long)]
    write: bool,
}

/// A document whose tables say something else than the results.
struct Stale {
    path: PathBuf,
    /// What it should say.
    text: String,
}

/// Names the documents of this checkout that differ from the results, or rewrites them.
pub(super) fn run(args: TableArgs) -> Result<()> {
    let root = root()?;
    let stale = stale(root)?;
    for Stale { path, text } in &stale {
        if args.write {
            write_atomically(path, text.as_bytes())?;
        }
        let verb = if args.write { "rewrote" } else { "would change" };
        output::line(&format!("{verb} {}", path.strip_prefix(root).unwrap_or(path).display()));
    }
    if stale.is_empty() {
        output::line("all tables say what the results say");
    }
    Ok(())
}

/// This checkout.
pub(super) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is a folder of the workspace")
}

/// The documents below `root` whose tables differ from `docs/results`.
fn stale(root: &Path) -> Result<Vec<Stale>> {
    let docs = root.join("docs");
    let tables = tables(&docs.join("results"))?;
    let mut found = Vec::new();
    for path in [vec![root.join("README.md")], files(&docs, "md")?].concat() {
        let before = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = write_results_tables(&before, &tables).with_context(|| path.display().to_string())?;
        if text != before {
            found.push(Stale { path, text });
        }
    }
    Ok(found)
}

/// The results in `folder`, each by the name of its file.
fn tables(folder: &Path) -> Result<ResultsTables> {
    let paths = files(folder, "json")?;
    ensure!(!paths.is_empty(), "{} holds no results, NAME.json", folder.display());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let table = parse_results_table(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a name that is no text")?;
        Ok((name.to_owned(), table))
    };
    paths.into_iter().map(read).collect()
}

/// All files below `folder` with this ending, in the order of their paths.
pub(super) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            // Links to folders are not followed: there is no way around in circles.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == ending) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        r#"{"title": "found", "columns": [{"heading": "seed", "fields": ["seed"]}], "rows": [{"seed": 7}]}"#;
    const OLD: &str = "Before.\n\n<!-- table:found:begin -->\n\n| seed |\n|---:|\n| 6 |\n\n<!-- table:found:end -->\nAfter.\n";

    #[test]
    fn only_documents_whose_tables_differ_are_stale() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        place("README.md", "No table.\n");
        place("docs/results/found.json", TABLE);
        place("docs/results/deep/old.md", OLD);
        let found = stale(root.path()).unwrap();
        let [Stale { path, text }] = &found[..] else { panic!("{} are stale", found.len()) };
        assert!(path.ends_with("docs/results/deep/old.md"));
        assert!(text.starts_with("Before.\n") && text.contains("| 7 |\n") && text.ends_with("After.\n"));
        fs::write(path, text).unwrap();
        assert!(stale(root.path()).unwrap().is_empty());
        place("docs/b.md", "<!-- table:lost:begin -->\n<!-- table:lost:end -->\n");
        let error = format!("{:#}", stale(root.path()).err().unwrap());
        assert!(error.contains("b.md") && error.contains("lost"), "{error}");
    }
}
