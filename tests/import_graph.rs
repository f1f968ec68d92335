//! No circles and no upward imports: which file of a crate uses which, computed from the source text alone.
//!
//! A file uses another when it names something in it by `crate::`, `super::`, `self::` or a child's name. A `pub use` is a
//! signpost, not a use: whoever follows it uses the file it leads to. Test modules may use what they like.
//!
//! Everything but the last part is a pure function of text, so that it can be shown bad examples and be seen to complain.

use std::collections::{BTreeMap, BTreeSet};

use crate::firewall::workspace;

mod bad_examples;
mod text;

use text::{Import, imports, items, without_tests};

/// Folders or files at the top of a crate, in order: each uses nothing to its right. What is not named here is free.
const ORDERS: [(&str, &[&str]); 2] = [
    ("crates/attack", &["problem", "search", "evidence", "stages", "pipeline"]),
    ("crates/palimpsest", &["terminal", "attacking", "judging", "installed", "cli"]),
];

/// A file that is not only for tests: its place in the crate, and what it names.
#[derive(Debug, Default)]
struct Module {
    file: String,
    uses: Vec<Vec<String>>,
    /// What it makes known under its own name: the last word, and the path it leads to.
    signposts: BTreeMap<String, Vec<String>>,
    /// Modules all of whose names it makes known under its own.
    open: Vec<Vec<String>>,
    /// What is defined in it.
    items: BTreeSet<String>,
}

/// The modules of one target, by their path in it.
type Target = BTreeMap<Vec<String>, Module>;

/// The targets of the crate in `folder`: the library or the program, and each further program.
fn targets(folder: &str, files: &[(String, String)]) -> Vec<Target> {
    let mut texts: BTreeMap<String, BTreeMap<Vec<String>, (&str, &str)>> = BTreeMap::new();
    for (file, text) in files {
        let Some(inner) = file.strip_prefix(folder).and_then(|rest| rest.strip_prefix("/src/")) else {
            continue;
        };
        let Some(inner) = inner.strip_suffix(".rs") else { continue };
        let mut path: Vec<String> = inner.split('/').map(str::to_owned).collect();
        let mut target = "library".to_owned();
        if path[0] == "bin" {
            target = path.drain(..2).collect::<Vec<_>>().join("/");
        } else if inner == "main" && files.iter().any(|(other, _)| *other == format!("{folder}/src/lib.rs")) {
            target = "main".to_owned();
        }
        if path
            .last()
            .is_some_and(|last| matches!(last.as_str(), "mod" | "main") || (last == "lib" && path.len() == 1))
        {
            path.pop();
        }
        texts.entry(target).or_default().insert(path, (file, text));
    }
    texts.values().map(modules).collect()
}

/// Reads the files of one target, without those that only tests have.
fn modules(texts: &BTreeMap<Vec<String>, (&str, &str)>) -> Target {
    let mut read = Target::new();
    let mut of_tests: BTreeSet<Vec<String>> = BTreeSet::new();
    for (path, (file, text)) in texts {
        let (code, tests) = without_tests(text);
        of_tests.extend(tests.into_iter().map(|name| [path.clone(), vec![name]].concat()));
        let children: Vec<&str> = texts
            .keys()
            .filter(|other| other.len() == path.len() + 1 && other.starts_with(path))
            .map(|other| other[path.len()].as_str())
            .collect();
        let mut module = Module { file: (*file).to_owned(), items: items(&code), ..Module::default() };
        for Import { path: to, name, public } in imports(&code, path, &children) {
            match (public, name.as_str()) {
                (false, _) => module.uses.push(to),
                (true, "*") => module.open.push(to),
                (true, _) => drop(module.signposts.insert(name, to)),
            }
        }
        read.insert(path.clone(), module);
    }
    read.retain(|path, _| !(1..=path.len()).any(|n| of_tests.contains(&path[..n])));
    read
}

/// Most signposts in a row.
const MAX_SIGNPOSTS: usize = 16;

/// The module that the thing at `path` is in, signposts followed.
fn home(target: &Target, path: &[String], depth: usize) -> Option<Vec<String>> {
    let at = (0..=path.len()).rev().find(|&n| target.contains_key(&path[..n]))?;
    let module = &target[&path[..at]];
    if let Some(name) = path.get(at).filter(|_| depth < MAX_SIGNPOSTS) {
        let rest = &path[at + 1..];
        let named = module.signposts.get(name).map(|to| [to, rest].concat());
        if let Some(to) = named.filter(|to| to[..] != *path) {
            return home(target, &to, depth + 1);
        }
        for open in &module.open {
            let to = [&open[..], &path[at..]].concat();
            let known = |module: &Module| module.signposts.contains_key(name) || module.items.contains(name);
            let leads_on = !module.items.contains(name) && target.get(open).is_some_and(known);
            if leads_on || target.contains_key(&[&open[..], std::slice::from_ref(name)].concat()) {
                return home(target, &to, depth + 1);
            }
        }
    }
    Some(path[..at].to_vec())
}

/// Which module uses which others.
fn graph(target: &Target) -> BTreeMap<&[String], BTreeSet<Vec<String>>> {
    let used = |path: &Vec<String>, module: &Module| {
        module.uses.iter().filter_map(|to| home(target, to, 0)).filter(|to| to != path).collect()
    };
    target.iter().map(|(path, module)| (path.as_slice(), used(path, module))).collect()
}

/// Complaints about files that use each other, by a way of files for each.
fn circles(target: &Target) -> Vec<String> {
    let graph = graph(target);
    let mut seen: BTreeSet<&[String]> = BTreeSet::new();
    let mut complaints = Vec::new();
    for &start in graph.keys() {
        if seen.contains(start) {
            continue;
        }
        if let Some(way) = way_back(&graph, start) {
            seen.extend(way.iter().copied());
            let files: Vec<&str> =
                way.iter().chain([&start]).map(|path| target[*path].file.as_str()).collect();
            complaints.push(format!("a circle: {}", files.join(" uses ")));
        }
    }
    complaints
}

/// The shortest way of uses from `start` back to it.
fn way_back<'a>(
    graph: &'a BTreeMap<&'a [String], BTreeSet<Vec<String>>>,
    start: &'a [String],
) -> Option<Vec<&'a [String]>> {
    let mut ways: Vec<Vec<&[String]>> = vec![vec![start]];
    let mut reached: BTreeSet<&[String]> = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in &graph[way[way.len() - 1]] {
                if next.as_slice() == start {
                    return Some(way);
                }
                if reached.insert(next) {
                    longer.push([&way[..], &[next.as_slice()]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// Complaints about uses from left to right in `order`.
fn upward(target: &Target, order: &[&str]) -> Vec<String> {
    let place = |path: &[String]| order.iter().position(|top| path.first().is_some_and(|first| first == top));
    let mut complaints = Vec::new();
    for (path, used) in graph(target) {
        for to in used {
            if let (Some(from), Some(up)) = (place(path), place(&to))
                && up > from
            {
                let (file, other) = (&target[path].file, &target[&to].file);
                complaints
                    .push(format!("{file} uses {other}, but {} stands before {}", order[from], order[up]));
            }
        }
    }
    complaints
}

/// Complaints about one crate.
fn complaints(folder: &str, files: &[(String, String)]) -> Vec<String> {
    let order = ORDERS.iter().find(|(name, _)| *name == folder).map_or(&[][..], |(_, order)| order);
    let of = |target: &Target| [circles(target), upward(target, order)].concat();
    targets(folder, files).iter().flat_map(of).collect()
}

#[test]
fn no_file_uses_one_above_it_and_none_a_circle() {
    let files = workspace();
    let folders: BTreeSet<&str> =
        files.iter().filter_map(|(path, _)| Some(path.split_once("/src/")?.0)).collect();
    assert!(
        folders.contains("crates/numerics") && folders.contains("xtask"),
        "crates are missing: {folders:?}"
    );
    let found: Vec<String> = folders.into_iter().flat_map(|folder| complaints(folder, &files)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn uses_are_seen_in_the_workspace() {
    let files = workspace();
    let uses = |folder: &str, from: &str, to: &str| {
        let target = &targets(folder, &files)[0];
        let split = |path: &str| -> Vec<String> { path.split("::").map(str::to_owned).collect() };
        graph(target)[split(from).as_slice()].contains(&split(to))
    };
    assert!(uses("crates/numerics", "nnls", "factor"));
    assert!(uses("crates/palimpsest", "judging::report", "attacking::pages"));
    assert!(uses("crates/palimpsest", "attacking::reconstruct", "terminal::folder"), "through a signpost");
    assert!(!uses("crates/palimpsest", "attacking::pages", "judging::report"));
}
