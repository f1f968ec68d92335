//! The documents as a whole: links lead somewhere, every page is in the book, every decision begins with its verdict, and
//! tables say what the measured results say.
//!
//! Each check is a pure function from texts to complaints, so that it can be shown bad examples, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use palimpsest_report::{ResultsTables, parse_results_table, results_markdown, write_results_tables};

/// Pages at the root that belong to the book's readers, too.
const ROOT_PAGES: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// How each decision begins, a line each.
const VERDICT: [&str; 3] = ["* **Question.** ", "* **Answer.** ", "* **By how much.** "];

/// Words that this project no longer uses for a thing, and the field's words for it.
const OLD_WORDS: [(&str, &str); 12] = [
    ("gate pattern", "activation pattern"),
    ("the drive", "backpropagated signal"),
    ("drives", "backpropagated signals"),
    ("kink", "ReLU breakpoint"),
    ("edge energy", "smoothness prior"),
    ("equation weights", "generalised least-squares weights"),
    ("mirror image", "negative, sign ambiguity"),
    ("told from", "estimated from"),
    ("the offset", "mean image"),
    ("attackability", "exposure"),
    ("outlook", "exposure"),
    ("known signal", "known first-layer delta"),
];

const README_LINES: usize = 150;
const README_TABLE_ROWS: usize = 12;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

/// All files below `folder` with this ending, in the order of their paths.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

/// Pages of the book and those at the root, as (path from the root, text).
fn pages() -> Vec<(String, String)> {
    let paths = ROOT_PAGES.map(|name| root().join(name)).into_iter().chain(files(&root().join("docs"), "md"));
    let page = |path: PathBuf| (name_of(&path), fs::read_to_string(&path).unwrap());
    paths.map(page).collect()
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Lines of a page outside of fenced code, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            found.push((at + 1, line));
        }
    }
    found
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Targets of the links and pictures of a page, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in prose(text) {
        let line = without_code(line);
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let end = after.find(')').unwrap_or(after.len());
            found.push((at, after[..end].to_owned()));
            rest = &after[end..];
        }
    }
    found
}

/// Names by which headings of a page can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |(_, line): (usize, &str)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len() && title.starts_with(' ')).then(|| {
            let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            title.trim().to_lowercase().chars().filter(|&c| kept(c)).collect::<String>().replace(' ', "-")
        })
    };
    prose(text).into_iter().filter_map(heading).collect()
}

/// Complaints about links of a page to files or headings that are not there.
fn dead_links(
    name: &str,
    text: &str,
    exists: impl Fn(&Path) -> bool,
    read: impl Fn(&Path) -> String,
) -> Vec<String> {
    let folder = Path::new(name).parent().unwrap();
    let mut complaints = Vec::new();
    for (line, target) in links(text) {
        if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let path = folder.join(file);
        let here = file.is_empty();
        if target.starts_with('/') || !(here || exists(&path)) {
            complaints.push(format!("{name}:{line}: {target} is not there"));
        } else if !anchor.is_empty() {
            let linked = if here { text.to_owned() } else { read(&path) };
            if !anchors(&linked).contains(anchor) {
                complaints.push(format!("{name}:{line}: {target} has no such heading"));
            }
        }
    }
    complaints
}

/// Complaints about pages that the summary leaves out, and entries that are no page.
fn wrong_summary(summary: &str, pages: &BTreeSet<String>) -> Vec<String> {
    let mut entries = BTreeSet::new();
    let mut complaints = Vec::new();
    for (line, target) in links(summary) {
        if !pages.contains(&target) {
            complaints.push(format!("SUMMARY.md:{line}: {target} is no page"));
        }
        if !entries.insert(target.clone()) {
            complaints.push(format!("SUMMARY.md:{line}: {target} stands there twice"));
        }
    }
    complaints.extend(pages.difference(&entries).map(|page| format!("{page} is not in SUMMARY.md")));
    complaints
}

/// Complaints about a decision that does not begin with its number, its question and its verdict.
fn no_verdict(name: &str, text: &str) -> Vec<String> {
    let number = name.rsplit('/').next().unwrap().split('-').next().unwrap();
    let mut lines = text.lines();
    let title = lines.next().unwrap_or("");
    let mut complaints = Vec::new();
    if !(title.starts_with(&format!("# {number}: ")) && title.ends_with('?')) {
        complaints.push(format!("{name}: the title must be `# {number}: a question?`, got `{title}`"));
    }
    let mut lines = lines.skip_while(|line| line.is_empty());
    for start in VERDICT {
        let line = lines.next().unwrap_or("");
        if line.strip_prefix(start).is_none_or(|said| said.len() < 10) {
            complaints.push(format!("{name}: expected a line `{start}..`, got `{line}`"));
        }
    }
    if lines.next().is_some_and(|line| !line.is_empty()) {
        complaints.push(format!("{name}: the verdict must be three lines and an empty one"));
    }
    complaints
}

/// The row of a decision in the table of all of them.
fn index_row(name: &str, text: &str) -> String {
    let file = name.rsplit('/').next().unwrap();
    let said = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or("");
    format!("| [{}]({file}) | {} | {} |\n", &file[..4], said(VERDICT[0]), said(VERDICT[1]))
}

/// Complaints about words of before, outside of code and of the targets of links.
fn old_words(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in prose(text) {
        let mut line = without_code(line).to_lowercase();
        for (_, target) in links(&line.clone()) {
            line = line.replace(&target, "");
        }
        for (old, new) in OLD_WORDS.iter().filter(|(old, _)| line.contains(old)) {
            complaints.push(format!("{name}:{at}: `{old}` is now: {new}"));
        }
    }
    complaints
}

fn tables() -> ResultsTables {
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let table = parse_results_table(&fs::read_to_string(&path).unwrap());
        (name, table.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    files(&root().join("docs/results"), "json").into_iter().map(read).collect()
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() > 30 && pages.iter().any(|(_, text)| !links(text).is_empty()), "pages are missing");
    let exists = |path: &Path| root().join(path).exists();
    let read = |path: &Path| fs::read_to_string(root().join(path)).unwrap();
    let complaints = pages.iter().flat_map(|(name, text)| dead_links(name, text, exists, read));
    assert_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn every_page_is_in_the_book() {
    let docs = root().join("docs");
    let pages: BTreeSet<String> = files(&docs, "md")
        .iter()
        .map(|path| path.strip_prefix(&docs).unwrap().to_str().unwrap().replace('\\', "/"))
        .filter(|name| name != "SUMMARY.md")
        .collect();
    assert_none(&wrong_summary(&page("docs/SUMMARY.md"), &pages));
    assert!(page("docs/book.toml").contains("src = \".\""), "the pages are beside book.toml");
}

#[test]
fn every_decision_begins_with_its_verdict() {
    let decisions: Vec<_> =
        pages().into_iter().filter(|(name, _)| name.starts_with("docs/decisions/0")).collect();
    assert!(decisions.len() >= 23, "decisions are missing");
    assert_none(&decisions.iter().flat_map(|(name, text)| no_verdict(name, text)).collect::<Vec<_>>());
    let index = page("docs/decisions/README.md");
    let rows = decisions.iter().map(|(name, text)| index_row(name, text));
    assert_none(&rows.filter(|row| !index.contains(row)).collect::<Vec<_>>());
}

#[test]
fn tables_say_what_the_results_say() {
    let tables = tables();
    let mut shown: BTreeMap<&str, usize> = tables.keys().map(|name| (name.as_str(), 0)).collect();
    for (name, text) in pages() {
        let written = write_results_tables(&text, &tables).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text == written, "{name}: a table differs from docs/results; write it anew from there");
        for (table, times) in &mut shown {
            *times += text.matches(&format!("<!-- table:{table}:begin -->")).count();
        }
    }
    assert!(shown.values().all(|&times| times > 0), "a table that no page shows: {shown:?}");
}

#[test]
fn every_measured_line_names_its_machine_day_and_command() {
    for (name, table) in tables() {
        for (at, row) in table.rows.iter().enumerate() {
            for field in ["victim", "machine", "date", "command"] {
                let said =
                    row.get(field).and_then(|value| value.as_str()).is_some_and(|text| !text.is_empty());
                assert!(said, "{name}, row {}: {field} is missing", at + 1);
            }
            assert!(row["seed"].is_u64(), "{name}, row {}: seed is missing", at + 1);
        }
    }
}

#[test]
fn the_readme_is_short_and_names_the_test_command() {
    let readme = page("README.md");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines, at most {README_LINES} are read");
    assert!(readme.contains("\n```\ncargo test --workspace\n```\n"), "the test command is gone");
    let rows = results_markdown("headline", &tables()).unwrap().lines().count() - 2;
    assert!((1..=README_TABLE_ROWS).contains(&rows), "the README's table has {rows} rows");
}

#[test]
fn the_words_are_those_of_the_field() {
    let pages = pages();
    let book = pages.iter().filter(|(name, _)| name.starts_with("docs/") || name == "README.md");
    assert_none(&book.flat_map(|(name, text)| old_words(name, text)).collect::<Vec<_>>());
}

#[test]
fn bad_documents_are_seen() {
    let there = |path: &Path| path == Path::new("docs/a/b.md");
    let read = |_: &Path| "# A heading: with marks!\n".to_owned();
    let dead = |text: &str| dead_links("docs/a/page.md", text, there, read).len();
    assert_eq!(dead("[x](b.md) and ![y](b.md#a-heading-with-marks) [z](https://example.org/c.md)"), 0);
    assert_eq!(dead("[x](c.md) [x](b.md#another) [x](/docs/a/b.md)\n[x](#nowhere)"), 4);
    assert_eq!(dead("# Somewhere\n[x](#somewhere) `[x](c.md)`\n```\n[x](c.md)\n```\n"), 0);

    let pages = BTreeSet::from(["a.md".to_owned(), "b.md".to_owned()]);
    assert_eq!(wrong_summary("[A](a.md)\n[B](b.md)", &pages).len(), 0);
    assert_eq!(wrong_summary("[A](a.md)\n[A](a.md)\n[C](c.md)", &pages).len(), 3);

    let good = "# 0001: Which?\n\n* **Question.** Which one is it?\n* **Answer.** The first one.\n* **By how much.** Three of ten.\n\nMore.";
    assert_eq!(no_verdict("docs/decisions/0001-a.md", good).len(), 0);
    assert_eq!(no_verdict("docs/decisions/0002-a.md", good).len(), 1);
    assert_eq!(
        no_verdict("docs/decisions/0001-a.md", &good.replace("* **Answer.**", "**Answer.**")).len(),
        1
    );
    assert_eq!(no_verdict("docs/decisions/0001-a.md", &good.replace("\n\nMore", "\nMore")).len(), 1);
    assert_eq!(no_verdict("docs/decisions/0001-a.md", &good.replace("Three of ten.", "-")).len(), 1);

    assert_eq!(old_words("a.md", "A gate pattern, `gate pattern`, [x](0007-gate-patterns.md)").len(), 1);
}
