//! Groups that training records belong to, as `--groups` names them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::terminal::Misuse;

/// Most bytes of a file of groups.
const MAX_BYTES: u64 = 1 << 28;
/// First line of a file that is its heading.
const HEADING: &str = "group";

/// The group of each of `records` training records: one name a line, in quotes or not, below a line `group` or none.
///
/// # Errors
/// A file that cannot be read; [`Misuse`] for another number of names, a line without one or with more than one column.
pub(super) fn read(path: &Path, records: usize) -> Result<Vec<String>> {
    let shown = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    if !size.is_file() || size.len() > MAX_BYTES {
        bail!(Misuse(format!(
            "--groups {shown} is no file of at most 256 MiB; it must have the name of a group a line"
        )));
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown} as text"))?;
    names(&text, records).map_err(|problem| Misuse(format!("--groups {shown} {problem}")).into())
}

fn names(text: &str, records: usize) -> Result<Vec<String>, String> {
    let text = text.trim_start_matches('\u{feff}').trim_end();
    let mut names = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let name = name(line).map_err(|problem| format!("line {}: {problem}", at + 1))?;
        if at > 0 || !name.eq_ignore_ascii_case(HEADING) {
            names.push(name);
        }
    }
    if names.len() != records {
        return Err(format!(
            "has {} names for {records} training records; one a line is needed, in the order of `record` in risk.csv, below a line \
             `{HEADING}` if there is a heading",
            names.len()
        ));
    }
    Ok(names)
}

/// The only field of a line, without its quotes.
fn name(line: &str) -> Result<String, String> {
    let line = line.trim();
    let inner = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let (name, more) = match inner {
        // A quote in a quoted field is written twice.
        Some(inner) => (inner.replace("\"\"", "\""), inner.replace("\"\"", "").contains('"')),
        None => (line.to_owned(), line.contains(',')),
    };
    match (name.trim(), more) {
        (_, true) => Err("there is more than one column; put a name with a comma in quotes".into()),
        ("", _) => Err("there is no name; write one for records of no group, too, such as unknown".into()),
        (name, _) => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_a_line_is_read_with_and_without_heading_and_quotes() {
        let plain = names("a\nb b\na\n", 3).unwrap();
        assert_eq!(plain, ["a", "b b", "a"]);
        assert_eq!(names("\u{feff}Group\r\n\"a\"\r\n\"b b\"\r\n a \r\n\r\n", 3).unwrap(), plain);
        assert_eq!(names("\"a, \"\"b\"\"\"\n", 1).unwrap(), ["a, \"b\""]);
        // Only the first line can be a heading.
        assert_eq!(names("a\ngroup\n", 2).unwrap(), ["a", "group"]);
    }

    #[test]
    fn what_is_no_name_a_record_is_refused() {
        for (text, records, word) in [
            ("a\nb\n", 3, "has 2 names for 3 training records"),
            ("record\na\nb\n", 2, "has 3 names"),
            ("", 1, "has 0 names"),
            ("a\n\nb\n", 3, "line 2: there is no name"),
            ("a\n\"\"\n", 2, "line 2: there is no name"),
            ("0,a\n1,b\n", 2, "line 1: there is more than one column"),
            ("\"a\",\"b\"\n", 1, "line 1: there is more than one column"),
        ] {
            let problem = names(text, records).unwrap_err();
            assert!(problem.contains(word), "{text:?}: {problem}");
        }
    }
}
