//! Rows of the tables in `docs/results`, put there by the commands that measure them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use palimpsest::terminal::clock;
use palimpsest_runs::files;
use serde::Serialize;
use serde_json::{Map, Value};

/// The table `name`.json in `docs/results` of this checkout.
pub(super) fn table(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results").join(name).with_extension("json")
}

/// This machine, for a row.
pub(super) fn machine() -> String {
    format!("{} threads, {}", rayon::current_num_threads(), std::env::consts::ARCH)
}

/// Puts `row`, with this machine and date, into the table `file`: in place of the one that is alike in all fields `of_one`, whose other fields stay,
/// or as the last. Title and columns stay.
///
/// # Errors
/// When the file is no such table, or cannot be written.
pub(super) fn put(file: &Path, of_one: &[&str], row: &impl Serialize) -> Result<()> {
    let mut table: Value = files::read_json(file)?;
    let rows = table.get_mut("rows").and_then(Value::as_array_mut);
    let rows = rows.with_context(|| format!("{} has no rows", file.display()))?;
    let Value::Object(mut row) = serde_json::to_value(row)? else {
        anyhow::bail!("a row of {} has no fields", file.display())
    };
    row.insert("machine".into(), machine().into());
    row.insert("date".into(), clock::today().into());
    let same = |old: &Map<String, Value>| of_one.iter().all(|field| old.get(*field) == row.get(*field));
    match rows.iter_mut().filter_map(Value::as_object_mut).find(|old| same(old)) {
        Some(old) => old.extend(row),
        None => rows.push(row.into()),
    }
    Ok(files::write_json(file, &table)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_makes_way_for_one_of_the_same_network_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("found.json");
        let before = json!({ "title": "found", "columns": [], "rows": [
            { "victim": "a", "seed": 1, "legible": 3, "in_readme": "yes" },
            { "victim": "a", "seed": 2, "legible": 4 },
        ] });
        files::write_json(&file, &before).unwrap();
        let read = || files::read_json::<Value>(&file).unwrap();
        put(&file, &["victim", "seed"], &json!({ "victim": "a", "seed": 1, "legible": 5 })).unwrap();
        put(&file, &["victim", "seed"], &json!({ "victim": "b", "seed": 1, "legible": 6 })).unwrap();
        let after = read();
        assert_eq!((&after["title"], &after["rows"][1]), (&before["title"], &before["rows"][1]));
        let [first, last] = [&after["rows"][0], &after["rows"][2]];
        assert_eq!((&first["legible"], &first["in_readme"]), (&json!(5), &json!("yes")));
        assert!(first["machine"].is_string() && first["date"].is_string());
        assert_eq!((&last["victim"], after["rows"].as_array().unwrap().len()), (&json!("b"), 3));
        files::write_json(&file, &json!({ "title": "found" })).unwrap();
        assert!(put(&file, &["victim"], &json!({})).unwrap_err().to_string().contains("has no rows"));
    }
}
