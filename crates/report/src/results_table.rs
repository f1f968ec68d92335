//! Tables of measured results: rows of JSON set into Markdown, between two markers of a document.
//!
//! A number is written down once, in a JSON file, and every table that shows it is made from there:
//!
//! ```text
//! <!-- table:photographs:begin -->
//! (whatever stands here is replaced)
//! <!-- table:photographs:end -->
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{ReportError, Result};
use crate::number;

/// Tables by the name that stands in their markers.
pub type ResultsTables = BTreeMap<String, ResultsTable>;

/// One file of results: columns, and rows of its own or rows taken from other tables.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsTable {
    /// What the table shows, in one line.
    pub title: String,
    /// Columns from left to right.
    pub columns: Vec<Column>,
    /// One measured line each: a field is a number, a text, a [`Tally`] or null.
    #[serde(default)]
    pub rows: Vec<Map<String, Value>>,
    /// Rows of other tables, shown before the own ones.
    #[serde(default)]
    pub rows_from: Option<RowsFrom>,
}

/// How a column is made from the fields of a row.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Head of the column.
    pub heading: String,
    /// Fields of a row, joined by a comma.
    pub fields: Vec<String>,
    /// Side to which cells are set.
    #[serde(default)]
    pub align: Align,
    /// Decimals of numbers that are not whole; without it at most four significant digits.
    #[serde(default)]
    pub decimals: Option<usize>,
}

/// Side to which the cells of a column are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Align {
    /// Texts.
    Left,
    /// Numbers.
    #[default]
    Right,
}

/// Which rows of which tables are taken.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowsFrom {
    /// Names of the tables, in the order in which their rows are shown.
    pub tables: Vec<String>,
    /// Fields and the values that a row must have.
    pub equal: Map<String, Value>,
}

/// A count with its total and, where it was computed, its interval: `{"count": 99, "of": 100, "low": 97, "high": 100}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Training inputs found.
    pub count: u64,
    /// Training inputs there are.
    pub of: u64,
    /// Lower end of the 95 % interval.
    pub low: Option<u64>,
    /// Upper end of the 95 % interval.
    pub high: Option<u64>,
}

/// Reads one file of results.
///
/// # Errors
/// [`ReportError::Json`] when the text is not such a file.
pub fn parse_results_table(text: &str) -> Result<ResultsTable> {
    Ok(serde_json::from_str(text)?)
}

/// Replaces what stands between the markers of `text` by the tables of these names; everything else stays as it is.
///
/// ```
/// use palimpsest_report::{ResultsTables, parse_results_table, write_results_tables};
/// let table = parse_results_table(
///     r#"{"title": "found", "columns": [{"heading": "seed", "fields": ["seed"]}], "rows": [{"seed": 7}]}"#,
/// )?;
/// let tables = ResultsTables::from([("found".to_owned(), table)]);
/// let text = "Seeds:\n\n<!-- table:found:begin -->\n<!-- table:found:end -->\n";
/// let written = write_results_tables(text, &tables)?;
/// assert!(written.contains("| seed |\n|---:|\n| 7 |\n"));
/// assert_eq!(write_results_tables(&written, &tables)?, written);
/// # Ok::<(), palimpsest_report::ReportError>(())
/// ```
///
/// # Errors
/// [`ReportError::TableMarker`] for a marker without its partner, [`ReportError::UnknownTable`] for a name that is not in
/// `tables`, and those of [`results_markdown`].
pub fn write_results_tables(text: &str, tables: &ResultsTables) -> Result<String> {
    let mut written = String::with_capacity(text.len());
    let mut open: Option<&str> = None;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let complaint = |expected: String| ReportError::TableMarker {
            line: at + 1,
            got: line.trim().to_owned(),
            expected,
        };
        match (marker(line), open) {
            (None, None) => written.push_str(line),
            (None, Some(_)) => {}
            (Some((name, Edge::Begin)), None) => {
                let table = results_markdown(name, tables)?;
                written.push_str(&format!("{}\n\n{table}\n", line.trim_end()));
                open = Some(name);
            }
            (Some((name, Edge::End)), Some(begun)) if begun == name => {
                written.push_str(line);
                open = None;
            }
            (Some(_), Some(begun)) => return Err(complaint(format!("the end of table {begun}"))),
            (Some(_), None) => return Err(complaint("the begin of a table".to_owned())),
        }
    }
    match open {
        None => Ok(written),
        Some(begun) => Err(ReportError::TableMarker {
            line: text.lines().count(),
            got: "the end of the text".to_owned(),
            expected: format!("the end of table {begun}"),
        }),
    }
}

/// One table as Markdown, a line a row.
///
/// # Errors
/// [`ReportError::UnknownTable`] for this name, or one that the table takes rows from; [`ReportError::TableField`] when a
/// row lacks a field of a column, or holds there what cannot be written.
pub fn results_markdown(name: &str, tables: &ResultsTables) -> Result<String> {
    let table = find(name, tables)?;
    let rule = |column: &Column| if column.align == Align::Left { "---" } else { "---:" };
    let mut text = line(table.columns.iter().map(|column| column.heading.replace('|', "\\|")));
    text.push_str(&format!("|{}|\n", table.columns.iter().map(rule).collect::<Vec<_>>().join("|")));
    for (at, row) in rows(table, tables)?.into_iter().enumerate() {
        let cells: Result<Vec<String>> =
            table.columns.iter().map(|column| cell(name, at, row, column)).collect();
        text.push_str(&line(cells?.into_iter()));
    }
    Ok(text)
}

fn find<'a>(name: &str, tables: &'a ResultsTables) -> Result<&'a ResultsTable> {
    tables.get(name).ok_or_else(|| ReportError::UnknownTable {
        name: name.to_owned(),
        known: tables.keys().cloned().collect::<Vec<_>>().join(", "),
    })
}

/// Rows that are taken from other tables, then the own ones. Only own rows are taken, so there is no circle.
fn rows<'a>(table: &'a ResultsTable, tables: &'a ResultsTables) -> Result<Vec<&'a Map<String, Value>>> {
    let mut found = Vec::new();
    if let Some(from) = &table.rows_from {
        let wanted =
            |row: &&Map<String, Value>| from.equal.iter().all(|(field, value)| row.get(field) == Some(value));
        for name in &from.tables {
            found.extend(find(name, tables)?.rows.iter().filter(wanted));
        }
    }
    found.extend(&table.rows);
    Ok(found)
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cell(table: &str, row_at: usize, row: &Map<String, Value>, column: &Column) -> Result<String> {
    let part = |field: &String| {
        row.get(field).and_then(|value| written(value, column.decimals)).ok_or_else(|| {
            ReportError::TableField {
                table: table.to_owned(),
                row: row_at + 1,
                field: field.clone(),
                got: row.get(field).map_or("nothing".to_owned(), Value::to_string),
            }
        })
    };
    Ok(column.fields.iter().map(part).collect::<Result<Vec<_>>>()?.join(", "))
}

/// A value as it stands in a cell; nothing where it is no number, text, tally or null.
fn written(value: &Value, decimals: Option<usize>) -> Option<String> {
    match value {
        Value::Null => Some(number::ABSENT.to_owned()),
        Value::String(text) => Some(text.replace('|', "\\|").replace(['\n', '\r'], " ")),
        Value::Number(number) => Some(match (number.as_u64(), decimals) {
            (Some(whole), None) => number::grouped(whole),
            (_, Some(decimals)) => number::fixed(number.as_f64(), decimals),
            (None, None) => number::short(number.as_f64()),
        }),
        Value::Object(_) => {
            let Tally { count, of, low, high } = serde_json::from_value(value.clone()).ok()?;
            Some(match (low, high) {
                (Some(low), Some(high)) => format!("{count} ({low} to {high}) of {of}"),
                _ => format!("{count} of {of}"),
            })
        }
        Value::Bool(_) | Value::Array(_) => None,
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Begin,
    End,
}

/// Name and edge of a line that is a marker and nothing else.
fn marker(line: &str) -> Option<(&str, Edge)> {
    let (name, edge) = line.trim().strip_prefix("<!-- table:")?.strip_suffix(" -->")?.rsplit_once(':')?;
    match edge {
        "begin" => Some((name, Edge::Begin)),
        "end" => Some((name, Edge::End)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTOGRAPHS: &str = r#"{
        "title": "photographs",
        "columns": [
            {"heading": "victim", "fields": ["victim"], "align": "left"},
            {"heading": "restarts, seconds", "fields": ["restarts", "seconds"]},
            {"heading": "found", "fields": ["found"]},
            {"heading": "ten best", "fields": ["ten_best"], "decimals": 3}
        ],
        "rows": [
            {"victim": "a|b", "seed": 1, "restarts": 8, "seconds": 1051, "ten_best": 0.9,
             "found": {"count": 99, "of": 100, "low": 97, "high": 100}},
            {"victim": "c", "seed": 7, "restarts": 41, "seconds": null, "ten_best": 0.9876,
             "found": {"count": 3, "of": 100}}
        ]
    }"#;

    const SEED_7: &str = r#"{
        "title": "one seed",
        "columns": [{"heading": "victim", "fields": ["victim"], "align": "left"}],
        "rows_from": {"tables": ["photographs"], "equal": {"seed": 7}}
    }"#;

    fn tables() -> ResultsTables {
        [("photographs", PHOTOGRAPHS), ("seed-7", SEED_7)]
            .map(|(name, text)| (name.to_owned(), parse_results_table(text).unwrap()))
            .into()
    }

    #[test]
    fn cells_read_as_a_person_writes_them() {
        let expected = "| victim | restarts, seconds | found | ten best |\n\
                        |---|---:|---:|---:|\n\
                        | a\\|b | 8, 1,051 | 99 (97 to 100) of 100 | 0.900 |\n\
                        | c | 41, \u{2014} | 3 of 100 | 0.988 |\n";
        assert_eq!(results_markdown("photographs", &tables()).unwrap(), expected);
    }

    #[test]
    fn rows_are_taken_from_another_table_by_their_fields() {
        assert_eq!(results_markdown("seed-7", &tables()).unwrap(), "| victim |\n|---|\n| c |\n");
    }

    #[test]
    fn only_what_is_between_markers_changes_and_once_is_enough() {
        let text =
            "before\n<!-- table:seed-7:begin -->\nold\nlines\n<!-- table:seed-7:end -->\nafter, no newline";
        let once = write_results_tables(text, &tables()).unwrap();
        let expected = "before\n<!-- table:seed-7:begin -->\n\n| victim |\n|---|\n| c |\n\n\
                        <!-- table:seed-7:end -->\nafter, no newline";
        assert_eq!(once, expected);
        assert_eq!(write_results_tables(&once, &tables()).unwrap(), once);
        assert_eq!(write_results_tables("no table\n", &tables()).unwrap(), "no table\n");
    }

    #[test]
    fn wrong_markers_are_errors_that_name_the_line() {
        let begin = "<!-- table:photographs:begin -->\n";
        let end = "<!-- table:photographs:end -->\n";
        let other = "<!-- table:seed-7:end -->\n";
        for (text, said) in [
            (format!("{begin}old\n"), "the end of table photographs"),
            (format!("{begin}{other}"), "line 2"),
            (format!("{begin}{begin}{end}"), "line 2"),
            (format!("a\n\n{end}"), "line 3"),
            ("<!-- table:nobody:begin -->\n<!-- table:nobody:end -->\n".into(), "photographs, seed-7"),
        ] {
            let error = write_results_tables(&text, &tables()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_field_that_is_missing_or_no_number_is_an_error_that_names_it() {
        for (value, said) in
            [("", "nothing"), (r#", "ten_best": [1]"#, "[1]"), (r#", "ten_best": true"#, "true")]
        {
            let text = format!(
                r#"{{"title": "", "columns": [{{"heading": "h", "fields": ["ten_best"]}}], "rows": [{{"victim": "a"{value}}}]}}"#
            );
            let tables = [("t".to_owned(), parse_results_table(&text).unwrap())].into();
            let error = results_markdown("t", &tables).unwrap_err().to_string();
            assert!(error.contains("ten_best") && error.contains("row 1") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_misspelt_key_of_a_file_is_an_error() {
        assert!(parse_results_table(&PHOTOGRAPHS.replace("\"title\"", "\"titel\"")).is_err());
        assert!(parse_results_table(&PHOTOGRAPHS.replace("\"decimals\"", "\"decimal\"")).is_err());
    }
}
