//! What the checks must complain about, and what they must leave alone.

use super::*;

/// Complaints about a crate of these (file inside `src`, text).
fn about(files: &[(&str, &str)]) -> Vec<String> {
    in_folder("crates/x", files)
}

fn in_folder(folder: &str, files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<(String, String)> =
        files.iter().map(|(file, text)| (format!("{folder}/src/{file}"), (*text).to_owned())).collect();
    complaints(folder, &files)
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let b = ("b.rs", "pub struct B; use crate::a::A;");
    for uses_b in [
        "use crate::b::B;",
        "use super::b::B;",
        "use super::b;",
        "use crate::{b::{self, B}, c};",
        "use {std::fmt, crate::{c::C, b::{B as Other}}};",
        "use crate::b::*;",
        "use crate::B;",
        "use crate::all::B;",
        "use crate::glob::B;",
        "use crate::c::D;",
        "fn f(b: &crate::b::B) {}",
        "fn f() -> super::b::B { todo() }",
        "mod inner { } const X: &str = \"\\\"\"; const Y: char = '\"'; use crate::b::B; // \"",
        "const R: &str = r#\"\"\"#; use crate::b::B;",
        "fn f<'a>(x: &'a str) -> &'a crate::b::B { x }",
        "#[cfg(test)] mod tests { fn g() { let x = [1; 2]; } } use crate::b::B;",
        "#[cfg(test)] const N: [u8; 2] = [1; 2]; use crate::b::B;",
        "/* /* */ */ use crate::b::B;",
    ] {
        let found = about(&[
            ("lib.rs", "mod a; mod all; mod b; mod c; mod glob; pub use b::B;"),
            ("a.rs", uses_b),
            ("all.rs", "pub(crate) use crate::b::{B};"),
            ("glob.rs", "pub use super::b::*; "),
            b,
            ("c.rs", "pub struct C; use crate::b::B; pub struct D;"),
        ]);
        assert!(!found.is_empty(), "{uses_b}");
        assert!(found[0].contains("a.rs uses ") && found[0].contains("b.rs uses "), "{uses_b}: {found:?}");
    }
}

#[test]
fn circles_through_folders_parents_and_programs_are_found() {
    let through_a_parent = [
        ("lib.rs", "pub mod a;"),
        ("a/mod.rs", "mod b; pub struct A; fn f() { b::f() }"),
        ("a/b.rs", "use super::A; pub(super) fn f() {}"),
    ];
    assert_eq!(about(&through_a_parent).len(), 1);
    let beside_its_folder = [
        ("lib.rs", "pub mod a;"),
        ("a.rs", "mod b; use self::b::f; pub struct A;"),
        ("a/b.rs", "use crate::a::A; pub(super) fn f() {}"),
    ];
    assert_eq!(about(&beside_its_folder).len(), 1);
    let in_a_program = [
        ("main.rs", "fn main() {}"),
        ("bin/p/main.rs", "mod q; fn f() {} fn main() { q::q() }"),
        ("bin/p/q.rs", "pub fn q() { super::f() }"),
    ];
    assert_eq!(
        about(&in_a_program),
        ["a circle: crates/x/src/bin/p/main.rs uses crates/x/src/bin/p/q.rs uses crates/x/src/bin/p/main.rs"]
    );
    let of_three = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::A; pub struct C;"),
    ];
    assert_eq!(about(&of_three).len(), 1, "one circle is told once");
}

#[test]
fn what_is_no_circle_is_left_alone() {
    for [a, b] in [
        ["use crate::b::B;", "pub struct B;"],
        // Signposts are no uses.
        ["pub use crate::b::B; pub struct A;", "use crate::a::A; pub struct B;"],
        // Tests may use what they like.
        ["use crate::b::B;", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"],
        ["use crate::b::B;", "pub struct B; #[cfg(test)] #[cfg(unix)] mod of_tests;"],
        ["use crate::b::B;", "pub struct B; #[cfg(test)] use crate::a::A;"],
        // Nor does it count what is only said.
        ["use crate::b::B;", "pub struct B; // use crate::a::A;\nconst S: &str = \"crate::a::A\";"],
        ["use crate::b::B;", "pub struct B; /// See [`crate::a::A`].\npub struct C;"],
        ["use crate::b::B;", "pub struct B; use other::crate_of::a::A; use a_crate::a;"],
    ] {
        let of_tests = ("b/of_tests.rs", "use crate::a::A;");
        let found = about(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", a),
            ("b.rs", b),
            of_tests,
        ]);
        assert!(found.is_empty(), "{a} {b}: {found:?}");
    }
}

#[test]
fn the_order_of_folders_is_kept() {
    let files = |judging: &'static str, attacking: &'static str| {
        let found = in_folder(
            "crates/palimpsest",
            &[
                ("lib.rs", "pub mod attacking; pub mod judging; pub mod terminal;"),
                ("terminal/mod.rs", "pub struct T;"),
                ("attacking/mod.rs", "pub mod pages;"),
                ("attacking/pages.rs", attacking),
                ("judging/mod.rs", "mod score; pub use score::S;"),
                ("judging/score.rs", judging),
            ],
        );
        (found.len(), found.join("\n"))
    };
    assert_eq!(
        files("use crate::attacking::pages::P; pub struct S;", "use crate::terminal::T; pub struct P;").0,
        0
    );
    for upward in
        ["use crate::judging::S;", "use super::super::judging::{S};", "fn f(s: crate::judging::score::S) {}"]
    {
        let (count, said) = files("pub struct S;", upward);
        assert_eq!(count, 1, "{upward}: {said}");
        assert!(said.contains("attacking stands before judging") && said.contains("pages.rs"), "{said}");
    }
}
