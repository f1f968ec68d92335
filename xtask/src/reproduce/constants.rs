//! `cargo xtask reproduce constants`: every number that somebody chose in the crates of the attack, in one table.
//!
//! Constants and defaults are read from the sources, with what their comments say. What is known of a choice beyond that, on what it was made and
//! what half and double do, is in `constants.json` beside this file. A test holds the page to both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use palimpsest::terminal::output;
use palimpsest_mlp::checkpoint::write_atomically;
use serde::Deserialize;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Fields, ImplItem, Item, Lit, Meta, Type};

use crate::reproduce::tables::{files, root};

/// Crates whose numbers are listed.
const CRATES: [&str; 3] = ["unmix", "kkt", "attack"];
const PAGE: &str = "docs/constants.md";
const MEASURED: &str = include_str!("constants.json");

/// What to do with the page.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ConstantsArgs {
    /// Write docs/constants.md; without it the table is printed.
    #[arg(long)]
    write: bool,
}

/// What was measured of a choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    /// On what it was chosen.
    chosen_on: String,
    /// What half of it does, and double, or other values.
    otherwise: String,
}

/// A number in the sources.
#[derive(Debug)]
struct Chosen {
    /// Crate and module, then its name: `attack::pipeline::shown::AS_GOOD`, `attack::search::annealed::params::DescentParams::steps`.
    name: String,
    value: String,
    /// First paragraph of its comment.
    words: String,
    /// Decisions that its file names.
    decisions: Vec<String>,
}

pub(super) fn run(args: ConstantsArgs) -> Result<()> {
    let root = root()?;
    let text = page(root)?;
    if !args.write {
        output::line(text.trim_end());
        return Ok(());
    }
    write_atomically(&root.join(PAGE), text.as_bytes())?;
    output::line(&format!("wrote {PAGE}"));
    Ok(())
}

/// The page, from the sources below `root`.
fn page(root: &Path) -> Result<String> {
    let measured: BTreeMap<String, Measured> =
        serde_json::from_str(MEASURED).context("cannot read constants.json")?;
    let decisions: Vec<String> = files(&root.join("docs/decisions"), "md")?
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    let mut all = Vec::new();
    for name in CRATES {
        let source = root.join("crates").join(name).join("src");
        for file in files(&source, "rs")? {
            all.extend(of_file(name, &source, &file, &decisions)?);
        }
    }
    for name in measured.keys() {
        ensure!(all.iter().any(|chosen| &chosen.name == name), "constants.json: there is no constant {name}");
    }
    let of_choice = |chosen: &Chosen| measured.get(&chosen.name);
    let mut text = format!(
        "# Constants\n\nEvery number in the sources of `unmix`, `kkt` and `attack`: constants and default options, as they are in the code. \
         {} of {} have a record of what half and double, or other values, do; the others were not varied one by one, or nobody wrote it down.\n\n\
         Written by `cargo xtask reproduce constants --write`, from the sources and from `xtask/src/reproduce/constants.json`. A decision is one that the file of \
         the constant names: it says on what the number was chosen.\n",
        all.iter().filter(|chosen| of_choice(chosen).is_some()).count(),
        all.len()
    );
    let mut of_crate = "";
    for chosen in &all {
        let name = chosen.name.split("::").next().unwrap_or_default();
        if name != of_crate {
            of_crate = name;
            write!(
                text,
                "\n## {name}\n\n| constant | value | what it is | chosen on; otherwise | decisions |\n|---|---|---|---|---|\n"
            )?;
        }
        let known = of_choice(chosen)
            .map_or_else(String::new, |known| format!("{}; {}", known.chosen_on, known.otherwise));
        let decisions: Vec<String> = chosen.decisions.iter().map(|file| link(file)).collect();
        writeln!(
            text,
            "| `{}` | `{}` | {} | {} | {} |",
            chosen.name.split_once("::").map_or("", |(_, rest)| rest),
            chosen.value,
            cell(&chosen.words),
            cell(&known),
            decisions.join(", ")
        )?;
    }
    Ok(text)
}

/// A link to a decision by the name of its file.
fn link(file: &str) -> String {
    format!("[{}](decisions/{file})", file.get(..4).unwrap_or(file))
}

/// Text for a cell of a table in Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// The numbers in a `file` of the crate with this `name`; `decisions` are the files of all.
fn of_file(name: &str, source: &Path, file: &Path, decisions: &[String]) -> Result<Vec<Chosen>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let items = syn::parse_file(&text).with_context(|| format!("cannot read {}", file.display()))?.items;
    let module: Vec<&str> = file
        .strip_prefix(source)?
        .iter()
        .filter_map(|part| part.to_str())
        .map(|part| part.trim_end_matches(".rs"))
        .filter(|part| !["mod", "lib"].contains(part))
        .collect();
    if module.contains(&"tests") {
        return Ok(Vec::new());
    }
    let path = [&[name], module.as_slice()].concat().join("::");
    let decisions = named(&text, decisions);
    let fields = comments_of_fields(&items);
    let mut found = Vec::new();
    let mut add = |name: &str, value: &Expr, words: String| {
        let value = value.span().source_text().unwrap_or_default();
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        found.push(Chosen { name: format!("{path}::{name}"), value, words, decisions: decisions.clone() });
    };
    for item in &items {
        match item {
            Item::Const(item) if is_number(&item.ty) && has_digit(&item.expr) => {
                add(&item.ident.to_string(), &item.expr, comment(&item.attrs));
            }
            Item::Impl(item) => {
                let Type::Path(of) = &*item.self_ty else { continue };
                let of = of.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
                for (field, value) in defaults(&item.items) {
                    let words = fields.get(&(of.clone(), field.clone())).cloned().unwrap_or_default();
                    add(&format!("{of}::{field}"), value, words);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Whether a type is a number, a pair or an array of such.
fn is_number(of: &Type) -> bool {
    match of {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            ["f32", "f64", "usize", "u32", "u64", "i32"].iter().any(|name| last.ident == name)
        }),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_number),
        Type::Array(array) => is_number(&array.elem),
        _ => false,
    }
}

/// Whether somebody wrote a number there.
fn has_digit(value: &Expr) -> bool {
    value.span().source_text().is_some_and(|text| text.contains(|c: char| c.is_ascii_digit()))
}

/// Fields with a number that the function `default` among `items` sets.
fn defaults(items: &[ImplItem]) -> Vec<(String, &Expr)> {
    let default = items.iter().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == "default" => Some(function),
        _ => None,
    });
    let Some(syn::Stmt::Expr(Expr::Struct(made), None)) = default.and_then(|it| it.block.stmts.last()) else {
        return Vec::new();
    };
    let named = made.fields.iter().filter_map(|field| match &field.member {
        syn::Member::Named(name) => Some((name.to_string(), &field.expr)),
        syn::Member::Unnamed(_) => None,
    });
    named.filter(|(_, value)| has_digit(value)).collect()
}

/// What is said of each field of each structure.
fn comments_of_fields(items: &[Item]) -> BTreeMap<(String, String), String> {
    let structures = items.iter().filter_map(|item| match item {
        Item::Struct(structure) => Some(structure),
        _ => None,
    });
    let fields = structures.flat_map(|structure| {
        let named = match &structure.fields {
            Fields::Named(fields) => fields.named.iter().collect(),
            _ => Vec::new(),
        };
        named.into_iter().filter_map(|field| {
            Some(((structure.ident.to_string(), field.ident.as_ref()?.to_string()), comment(&field.attrs)))
        })
    });
    fields.collect()
}

/// First paragraph of a comment.
fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(line) if line.path.is_ident("doc") => match &line.value {
            Expr::Lit(text) => match &text.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let paragraph: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    paragraph.join(" ").replace("`docs/decisions/", "`")
}

/// Which of these files of `decisions` a `text` names, by their path or their number.
fn named(text: &str, decisions: &[String]) -> Vec<String> {
    let is_named = |file: &&String| {
        let number = file.get(..4).unwrap_or(file);
        text.contains(&format!("decisions/{file}")) || text.contains(&format!("decision {number}"))
    };
    decisions.iter().filter(is_named).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_sources_say() {
        let root = root().unwrap();
        let written = fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(written == page(root).unwrap(), "run cargo xtask reproduce constants --write");
        assert!(written.contains("`pipeline::shown::AS_GOOD` | `0.2`"), "a constant");
        assert!(written.contains("DescentParams::steps"), "a default");
    }

    #[test]
    fn numbers_are_told_from_what_is_none_and_comments_end_with_their_paragraph() {
        let file = tempfile::tempdir().unwrap();
        let text = "//! See `docs/decisions/0001-a.md` (and decision 0002).\n/// How far. Or\n/// near.\n///\n/// More.\nconst FAR: (f32, f64) = (0.5, 2.0);\n\
                    const NAME: &str = \"8\";\nconst SAME: f64 = FAR;\n/// Options.\nstruct P {\n/// Steps.\nsteps: usize, name: String }\n\
                    impl Default for P { fn default() -> Self { Self { steps: 7, name: String::new() } } }\n";
        fs::write(file.path().join("one.rs"), text).unwrap();
        let decisions = ["0001-a.md", "0002-b.md", "0003-c.md"].map(String::from);
        let found = of_file("unmix", file.path(), &file.path().join("one.rs"), &decisions).unwrap();
        let said: Vec<_> =
            found.iter().map(|c| (c.name.as_str(), c.value.as_str(), c.words.as_str())).collect();
        assert_eq!(
            said,
            [("unmix::one::FAR", "(0.5, 2.0)", "How far. Or near."), ("unmix::one::P::steps", "7", "Steps.")]
        );
        assert_eq!(found[0].decisions, ["0001-a.md", "0002-b.md"]);
    }
}
