//! The walls of the house: who may use whom, and what is done in one place only.
//!
//! Each check is a pure function from text to a list of complaints, so that it can also be shown bad examples and be
//! seen to complain. The workspace itself must give none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

mod bad_examples;

/// Each crate, the siblings it may use, and those it may use in its tests besides.
///
/// `numerics, autograd | mlp, datasets, metrics, unmix | kkt | attack | report, runs | palimpsest`, read from left to right,
/// each using only what is to its left. The attack never sees the truth, so `kkt`, `unmix`, `attack` and `runs` have neither
/// `datasets` nor `metrics`; `report` draws what it is handed and knows no sibling; the tape of `autograd` is an oracle, for
/// tests alone. `xtask` and `tests` stand outside and may use everything.
const ARROWS: [(&str, &[&str], &[&str]); 11] = [
    ("numerics", &[], &[]),
    ("autograd", &["numerics"], &[]),
    ("mlp", &["numerics"], &["autograd"]),
    ("datasets", &["numerics"], &[]),
    ("metrics", &["numerics"], &[]),
    ("kkt", &["numerics", "mlp"], &["autograd"]),
    ("unmix", &["numerics"], &[]),
    ("attack", &["numerics", "mlp", "unmix", "kkt"], &["autograd"]),
    ("report", &[], &[]),
    ("runs", &["numerics", "mlp", "kkt", "attack"], &[]),
    (
        "palimpsest",
        &["numerics", "mlp", "datasets", "metrics", "unmix", "kkt", "attack", "report", "runs"],
        &[],
    ),
];

/// Crates that must not reach the truth by any way.
const ATTACKING: [&str; 4] = ["kkt", "unmix", "attack", "runs"];

/// What the attack must not reach.
const TRUTH: [&str; 3] = ["datasets", "metrics", "report"];

const PREFIX: &str = "palimpsest-";
/// The crate that is called like the project.
const FRONT: &str = "palimpsest";

/// Name and siblings of a package, without the common prefix.
#[derive(Debug, Default, PartialEq)]
struct Manifest {
    name: String,
    uses: Vec<String>,
    uses_in_tests: Vec<String>,
}

/// Reads a crate's manifest; refuses every dependency that is not one line `NAME.workspace = true` or
/// `NAME = { workspace = true, .. }`, so that nothing comes in by a path, another name or another table.
fn manifest(text: &str) -> Result<Manifest, String> {
    let mut found = Manifest::default();
    let mut section = "";
    for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            let plain = ["dependencies", "build-dependencies", "dev-dependencies"];
            if section.contains("dependencies") && !plain.contains(&section) {
                return Err(format!(
                    "section [{section}]: write each dependency as one line of a plain section"
                ));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            if line.is_empty() || !section.ends_with("dependencies") {
                continue;
            }
            return Err(format!("`{line}` in [{section}]: write each dependency as one line"));
        };
        if section == "package" && key == "name" {
            found.name = value.trim_matches('"').trim_start_matches(PREFIX).to_owned();
        }
        let list = match section {
            "dependencies" | "build-dependencies" => &mut found.uses,
            "dev-dependencies" => &mut found.uses_in_tests,
            _ => continue,
        };
        let (name, from_workspace) = match key.split_once('.') {
            Some((name, "workspace")) => (name, value == "true"),
            Some(_) => (key, false),
            None => (key, value.contains("workspace = true") && !value.contains("path")),
        };
        if !from_workspace {
            return Err(format!("`{line}`: take `{name}` from the table of the workspace"));
        }
        let name = name.trim_matches('"');
        list.extend(name.strip_prefix(PREFIX).or((name == FRONT).then_some(FRONT)).map(str::to_owned));
    }
    Ok(found)
}

/// Complaints about arrows that are not in [`ARROWS`], crates it does not know, and crates that are not there.
fn wrong_arrows(manifests: &[Manifest]) -> Vec<String> {
    let mut complaints = Vec::new();
    for Manifest { name, uses, uses_in_tests } in manifests {
        let Some((_, allowed, in_tests)) = ARROWS.iter().find(|(known, ..)| known == name) else {
            complaints.push(format!("{name} has no place in the table of arrows"));
            continue;
        };
        for used in uses.iter().filter(|used| !allowed.contains(&used.as_str())) {
            complaints.push(format!("{name} must not use {used}"));
        }
        for used in uses_in_tests.iter().map(String::as_str) {
            if !allowed.contains(&used) && !in_tests.contains(&used) {
                complaints.push(format!("{name} must not use {used}, not even in its tests"));
            }
        }
    }
    for (known, ..) in ARROWS {
        if !manifests.iter().any(|m| m.name == known) {
            complaints.push(format!("{known} is missing"));
        }
    }
    complaints
}

/// Everything that `name` uses, its tests and the tests of what it uses included.
fn reached<'a>(manifests: &'a [Manifest], name: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(name) = waiting.pop() {
        for manifest in manifests.iter().filter(|m| m.name == name) {
            let used = manifest.uses.iter().chain(&manifest.uses_in_tests).map(String::as_str);
            waiting.extend(used.filter(|&used| found.insert(used)));
        }
    }
    found
}

/// Complaints about the root manifest: a path leads to the crate of that name inside `crates/`, and nothing else does.
fn strange_sources(root: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut section = "";
    for line in root.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if section.starts_with("patch") || section == "replace" || section.contains("dependencies.") {
                complaints.push(format!("[{section}] changes where code comes from"));
            }
        }
        let from_elsewhere = ["path", "git", "package", "registry"]
            .iter()
            .any(|key| line.contains(&format!("{key} =")) || line.contains(&format!("{key}=")));
        if section == "workspace.dependencies" && from_elsewhere {
            let key = line.split(['=', ' ']).next().unwrap_or("");
            let name = key.trim_start_matches(PREFIX);
            let key = if name == FRONT { FRONT.to_owned() } else { format!("{PREFIX}{name}") };
            let expected = format!("{key} = {{ path = \"crates/{name}\", version = ");
            if !line.starts_with(&expected) {
                complaints.push(format!("`{line}` does not lead to a crate of this workspace"));
            }
        }
    }
    complaints
}

/// Words that must not be written in some files, and why.
struct Rule {
    words: &'static [&'static str],
    /// Whether a file, by its path from the root, is looked at.
    within: fn(&str) -> bool,
    why: &'static str,
}

fn is_code(path: &str) -> bool {
    // These tests have to spell out what they forbid.
    (path.ends_with(".rs") || path.ends_with(".toml")) && !path.starts_with("tests/firewall")
}

fn is_code_outside_numerics(path: &str) -> bool {
    is_code(path) && !path.starts_with("crates/numerics/")
}

/// Tests that compare with complete data when a folder beside the work tree has it, and say so when it does not.
const TESTS_WITH_MORE_DATA: [&str; 2] = ["crates/metrics/src/ssim.rs", "crates/datasets/src/loading.rs"];

const RULES: [Rule; 6] = [
    Rule {
        words: &[
            "unsafe {",
            "unsafe{",
            "unsafe fn",
            "unsafe impl",
            "unsafe trait",
            "unsafe extern",
            "#[unsafe",
            "unsafe_code",
        ],
        within: |path| is_code(path) && path != "crates/numerics/src/gemm.rs",
        why: "unsafe code lives in numerics::gemm alone",
    },
    Rule {
        words: &[
            "StdRng",
            "SmallRng",
            "thread_rng",
            "ThreadRng",
            "OsRng",
            "rand::rng(",
            "from_os_rng",
            "from_entropy",
        ],
        within: is_code_outside_numerics,
        why: "generators are made by numerics::seed",
    },
    Rule {
        words: &[".dot(", "::dot(", "general_mat_mul", "general_mat_vec_mul"],
        within: is_code_outside_numerics,
        why: "matrix products go through numerics::gemm",
    },
    Rule {
        words: &["palimpsest_datasets", "palimpsest_metrics"],
        within: |path| {
            ATTACKING.iter().any(|name| path.starts_with(&format!("crates/{name}/")))
                || path.starts_with("crates/palimpsest/src/attacking/")
        },
        why: "the attack never sees the truth",
    },
    Rule {
        words: &["/work/", "shared/", "/shared"],
        within: |path| is_code(path) && !TESTS_WITH_MORE_DATA.contains(&path),
        why: "the project must not lean on what is outside it",
    },
    Rule {
        words: &["Instant::now", "SystemTime::now", "env::var", "env::args", "ThreadPoolBuilder"],
        within: |path| {
            path.starts_with("crates/")
                && path.contains("/src/")
                && !path.starts_with("crates/palimpsest/src/terminal/")
        },
        why: "libraries read neither clock nor environment and start no threads; commands do by palimpsest's terminal",
    },
];

/// Complaints about (path, text) files that hold a forbidden word, with the line.
fn forbidden_words(files: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in files {
        for rule in RULES.iter().filter(|rule| (rule.within)(path)) {
            for (at, line) in text.lines().enumerate() {
                for word in rule.words.iter().filter(|&&word| line.contains(word)) {
                    complaints.push(format!("{path}:{}: `{word}`, but {}", at + 1, rule.why));
                }
            }
        }
    }
    complaints
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

/// All text files below `folder`, as (path from the root, text), in the order of their paths.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                found.extend(texts(&path));
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"), text));
        }
    }
    found
}

pub(crate) fn workspace() -> Vec<(String, String)> {
    ["crates", "xtask", "tests"].iter().flat_map(|folder| texts(&root().join(folder))).collect()
}

fn manifests() -> Vec<Manifest> {
    let is_manifest = |path: &str| path.starts_with("crates/") && path.ends_with("/Cargo.toml");
    let files = workspace().into_iter().filter(|(path, _)| is_manifest(path));
    files.map(|(path, text)| manifest(&text).unwrap_or_else(|e| panic!("{path}: {e}"))).collect()
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn crates_use_only_what_is_to_their_left() {
    assert_none(&wrong_arrows(&manifests()));
}

#[test]
fn the_attack_never_reaches_the_truth() {
    let manifests = manifests();
    for name in ATTACKING {
        let reached = reached(&manifests, name);
        assert!(reached.contains("numerics"), "nothing was read of {name}: {reached:?}");
        assert!(TRUTH.iter().all(|truth| !reached.contains(truth)), "{name} reaches {reached:?}");
    }
}

#[test]
fn all_code_is_in_the_workspace_or_from_the_registry() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        ARROWS.iter().all(|(name, ..)| text.contains(&format!("crates/{name}\""))),
        "not the root manifest"
    );
    assert_none(&strange_sources(&text));
    for package in ["xtask", "tests"] {
        let text = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        manifest(&text).unwrap_or_else(|e| panic!("{package}: {e}"));
    }
}

#[test]
fn each_thing_is_done_in_its_place() {
    let files = workspace();
    let gemm = files.iter().find(|(path, _)| path == "crates/numerics/src/gemm.rs").unwrap();
    assert!(gemm.1.contains("unsafe {"), "the one place of unsafe code has moved: tell the rule");
    assert!(files.iter().filter(|(path, _)| path.ends_with(".rs")).count() > 60, "files are missing");
    assert_none(&forbidden_words(&files));
}
