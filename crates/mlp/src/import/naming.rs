//! Names from a file, as they may be printed.

/// Most keys listed for one file.
pub(super) const MAX_LISTED: usize = 50;
/// Most characters shown of a name.
const MAX_SHOWN: usize = 80;

/// A name from a file as it may be printed: escaped and cut.
pub(super) fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("..");
    }
    shown
}
