//! What the checks must complain about: a check that cannot fail is worth nothing.

use super::*;

fn crate_using(name: &str, uses: &[&str], uses_in_tests: &[&str]) -> Manifest {
    let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    Manifest { name: name.to_owned(), uses: owned(uses), uses_in_tests: owned(uses_in_tests) }
}

/// The workspace as it should be, with one crate replaced.
fn with(replaced: Manifest) -> Vec<Manifest> {
    let kept = ARROWS.iter().filter(|(name, ..)| *name != replaced.name);
    let mut all: Vec<_> = kept.map(|(name, uses, tests)| crate_using(name, uses, tests)).collect();
    all.push(replaced);
    all
}

#[test]
fn a_manifest_is_read_as_cargo_reads_it() {
    let text = "[package]\nname = \"palimpsest-kkt\"\nversion.workspace = true\n\n[dependencies] # these\n\
        # palimpsest-report.workspace = true\npalimpsest-mlp.workspace = true # a reason\nrayon.workspace = true\n\
        palimpsest-numerics = { workspace = true, features = [\"x\"] }\n\n[dev-dependencies]\n\
        palimpsest-autograd.workspace = true\n\n[features]\nx = [\"palimpsest-mlp/x\"]\n";
    let expected = crate_using("kkt", &["mlp", "numerics"], &["autograd"]);
    assert_eq!(manifest(text).unwrap(), expected);
}

#[test]
fn roundabout_dependencies_are_refused() {
    for text in [
        "[dependencies]\npalimpsest-metrics = { path = \"../metrics\" }",
        "[dependencies]\npalimpsest-metrics = { workspace = true, path = \"../metrics\" }",
        "[dependencies]\njudge = { package = \"palimpsest-metrics\", path = \"../metrics\" }",
        "[dependencies]\npalimpsest-metrics.path = \"../metrics\"",
        "[dependencies]\nrand = \"0.9\"",
        "[dev-dependencies]\nserde = {\n  version = \"1\"\n}",
        "[dev-dependencies]\nserde.workspace = false",
        "[dependencies.palimpsest-metrics]\nworkspace = true",
        "[target.'cfg(unix)'.dependencies]\npalimpsest-metrics.workspace = true",
        "[target.'cfg(unix)'.dev-dependencies]\npalimpsest-metrics.workspace = true",
        "[build-dependencies]\ncc = { git = \"https://example.invalid/cc\" }",
    ] {
        assert!(manifest(text).is_err(), "accepted:\n{text}");
    }
    let built = manifest("[build-dependencies]\npalimpsest-metrics.workspace = true").unwrap();
    assert_eq!(built.uses, ["metrics"]);
}

#[test]
fn arrows_that_turn_back_are_named() {
    assert_none(&wrong_arrows(&with(crate_using("report", &[], &[]))));
    for (name, uses, tests, complaint) in [
        ("kkt", &["numerics", "mlp", "metrics"][..], &[][..], "kkt must not use metrics"),
        ("kkt", &["numerics"], &["datasets"], "kkt must not use datasets, not even in its tests"),
        ("mlp", &["numerics", "autograd"], &[], "mlp must not use autograd"),
        ("mlp", &["kkt"], &[], "mlp must not use kkt"),
        ("metrics", &["numerics"], &["autograd"], "metrics must not use autograd, not even in its tests"),
        ("report", &["numerics"], &[], "report must not use numerics"),
        ("numerics", &[], &["autograd"], "numerics must not use autograd, not even in its tests"),
        ("unmix", &["mlp"], &[], "unmix must not use mlp"),
        ("kkt", &["attack"], &[], "kkt must not use attack"),
        ("attack", &["kkt", "runs"], &[], "attack must not use runs"),
        ("runs", &["kkt", "metrics"], &[], "runs must not use metrics"),
        ("report", &["palimpsest"], &[], "report must not use palimpsest"),
        ("utils", &[], &[], "utils has no place in the table of arrows"),
    ] {
        assert_eq!(wrong_arrows(&with(crate_using(name, uses, tests))), [complaint]);
    }
    let all_but_one = &with(crate_using("kkt", &[], &[]))[1..];
    assert_eq!(wrong_arrows(all_but_one), ["numerics is missing"]);
}

#[test]
fn the_truth_is_seen_behind_another_crate() {
    let direct = with(crate_using("kkt", &["mlp"], &["metrics"]));
    let behind_mlp = with(crate_using("mlp", &["datasets"], &[]));
    let behind_an_oracle = with(crate_using("autograd", &[], &["report"]));
    for (manifests, truth) in [(direct, "metrics"), (behind_mlp, "datasets"), (behind_an_oracle, "report")] {
        assert!(reached(&manifests, "kkt").contains(truth), "{truth} was not seen");
    }
    // A circle ends.
    assert!(reached(&with(crate_using("mlp", &["kkt"], &[])), "kkt").contains("kkt"));
}

#[test]
fn strange_sources_are_named() {
    for line in [
        "palimpsest-mlp = { path = \"../elsewhere/mlp\", version = \"0.1.0\" }",
        "palimpsest-mlp = { path = \"crates/metrics\", version = \"0.1.0\" }",
        "palimpsest-mlp = { package = \"palimpsest-metrics\", path = \"crates/metrics\" }",
        "judge = { path = \"crates/metrics\", version = \"0.1.0\" }",
        "ndarray = { git = \"https://example.invalid/ndarray\" }",
        "ndarray = {path=\"/opt/ndarray\"}",
    ] {
        let complaints = strange_sources(&format!("[workspace.dependencies]\n# why\n{line}\n"));
        assert_eq!(complaints.len(), 1, "{line}: {complaints:?}");
    }
    assert_eq!(strange_sources("[patch.crates-io]\nndarray = { path = \"../n\" }").len(), 1);
    let front =
        "[workspace.dependencies]\npalimpsest = { path = \"crates/palimpsest\", version = \"0.1.0\" }\n";
    assert_none(&strange_sources(front));
    assert_eq!(strange_sources(&front.replace("crates/palimpsest", "crates/metrics")).len(), 1);
    let fine = "[workspace.dependencies]\npalimpsest-mlp = { path = \"crates/mlp\", version = \"0.1.0\" }\nrand = \"0.9\"";
    assert_none(&strange_sources(fine));
}

#[test]
fn every_forbidden_word_is_found_where_it_is_forbidden() {
    let complaints = |path: &str, text: String| forbidden_words(&[(path.to_owned(), text)]).len();
    for rule in RULES {
        for word in rule.words {
            let text = format!("fn innocent() {{}}\n    x{word}y\n");
            assert!(complaints("crates/kkt/src/new.rs", text) > 0, "`{word}` was not found");
        }
    }
    for (path, text, expected) in [
        ("crates/numerics/src/gemm.rs", "unsafe { gemm() }", 0),
        ("crates/numerics/src/reduce.rs", "unsafe { gemm() }", 1),
        ("tests/cli.rs", "#[expect(unsafe_code)]\nunsafe impl Send for X {}", 2),
        ("crates/numerics/src/seed.rs", "StdRng::seed_from_u64(1)", 0),
        ("xtask/src/main.rs", "let c = a.dot(&b);", 1),
        ("crates/kkt/README.md", "use palimpsest_metrics::ncc;", 1),
        ("crates/report/src/lib.rs", "use palimpsest_metrics::ncc;", 0),
        ("crates/mlp/build.rs", "include!(\"/work/x.rs\")", 1),
        ("crates/mlp/README.md", "see shared/x", 0),
        ("xtask/src/main.rs", "Instant::now()", 0),
        ("crates/palimpsest/src/terminal/clock.rs", "Instant::now()", 0),
        ("crates/palimpsest/src/attacking/mod.rs", "Instant::now()", 1),
        ("crates/palimpsest/src/attacking/reconstruct/args.rs", "use palimpsest_datasets::Task;", 1),
        ("crates/palimpsest/src/judging/evaluate.rs", "use palimpsest_metrics::ncc;", 0),
        ("crates/attack/src/pipeline.rs", "use palimpsest_metrics::ncc;", 1),
        ("crates/unmix/tests/all.rs", "use palimpsest_datasets::load;", 1),
        ("crates/runs/src/kept.rs", "use palimpsest_metrics::ncc;", 1),
    ] {
        assert_eq!(complaints(path, text.to_owned()), expected, "{path}: {text}");
    }
}
