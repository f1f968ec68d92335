//! Reading imports from source text.

use std::collections::BTreeSet;

/// Something that a file names.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    /// From the root of the target, the thing itself last; of `a::*`, the path to `a`.
    pub(super) path: Vec<String>,
    /// What it is called from now on; `*` for all that is in the path.
    pub(super) name: String,
    /// Whether it is a `pub use`, which only points the way.
    pub(super) public: bool,
}

/// The code of a file without comments, the contents of strings and test modules, and the names of modules in files of
/// their own that only tests have.
pub(super) fn without_tests(text: &str) -> (String, Vec<String>) {
    let tokens = tokens(text);
    let (mut kept, mut files) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if !starts_with(rest, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(tokens[at].as_str());
            at += 1;
            continue;
        }
        // The item that follows: to its semicolon, or to the end of its braces.
        let item = item_length(&rest[7..]);
        let words = &rest[7..7 + item];
        if let Some(name) =
            words.iter().position(|word| word == "mod").and_then(|mod_at| words.get(mod_at + 1))
            && words.last().is_some_and(|last| last == ";")
        {
            files.push(name.clone());
        }
        at += 7 + item;
    }
    (kept.join(" "), files)
}

/// Everything that `code` (of [`without_tests`]), the text of the module `here`, names inside its own target.
pub(super) fn imports(code: &str, here: &[String], children: &[&str]) -> Vec<Import> {
    let tokens: Vec<&str> = code.split_whitespace().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let after_path = at > 0 && tokens[at - 1] == "::";
        if tokens[at] == "use" && !after_path {
            let public = at > 0 && (tokens[at - 1] == "pub" || is_limited_pub(&tokens[..at]));
            let mut leaves = Vec::new();
            at = leaves_of(&tokens, at + 1, &[], &mut leaves);
            for (path, name) in leaves {
                if let Some(path) = resolved(&path, here, children) {
                    found.push(Import { path, name, public });
                }
            }
        } else if !after_path && tokens.get(at + 1) == Some(&"::") && is_word(tokens[at]) {
            let mut path = vec![tokens[at].to_owned()];
            while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|token| is_word(token))
            {
                path.push(tokens[at + 2].to_owned());
                at += 2;
            }
            let name = path[path.len() - 1].clone();
            found.extend(resolved(&path, here, children).map(|path| Import { path, name, public: false }));
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Names of what `code` defines.
pub(super) fn items(code: &str) -> BTreeSet<String> {
    let kinds = ["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod"];
    let tokens: Vec<&str> = code.split_whitespace().collect();
    tokens.windows(2).filter(|pair| kinds.contains(&pair[0])).map(|pair| pair[1].to_owned()).collect()
}

/// Whether the tokens end in `pub(crate)` or the like.
fn is_limited_pub(tokens: &[&str]) -> bool {
    let open = tokens.iter().rposition(|token| *token == "(");
    tokens.last() == Some(&")") && open.is_some_and(|open| open > 0 && tokens[open - 1] == "pub")
}

/// Collects the leaves of the tree of a `use` from `at` on, with the names they get; returns where it ends.
fn leaves_of(
    tokens: &[&str],
    mut at: usize,
    before: &[String],
    leaves: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let mut path = before.to_vec();
    while at < tokens.len() {
        match tokens[at] {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = leaves_of(tokens, at, &path, leaves);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            "*" => {
                leaves.push((path, "*".to_owned()));
                return at + 1;
            }
            word if is_word(word) && word != "as" => {
                // `a::{self}` names a.
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                at += 1;
            }
            "as" => {
                leaves.push((path, tokens.get(at + 1).copied().unwrap_or("_").to_owned()));
                return at + 2;
            }
            _ => break,
        }
    }
    if let Some(name) = path.last().cloned() {
        leaves.push((path, name));
    }
    at
}

/// A path as it is written in the module `here`, from the root of the target; none for what is outside.
fn resolved(path: &[String], here: &[String], children: &[&str]) -> Option<Vec<String>> {
    match path[0].as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([here, &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|word| *word == "super").count();
            Some([here.get(..here.len().checked_sub(up)?)?, &path[up..]].concat())
        }
        first if children.contains(&first) => Some([here, path].concat()),
        _ => None,
    }
}

fn starts_with(tokens: &[String], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token == word)
}

/// Tokens of the first item: to its semicolon, or to the end of its braces.
fn item_length(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            ";" if depth == 0 => return at + 1,
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token == "}" {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single signs, without comments; strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest[0] {
            c if c.is_whitespace() => 1,
            '/' if rest.get(1) == Some(&'/') => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            '/' if rest.get(1) == Some(&'*') => comment_length(rest),
            '"' => string_length(rest),
            'r' if raw_string_length(rest).is_some() => raw_string_length(rest).unwrap_or(1),
            'b' if rest.get(1) == Some(&'"') => 1 + string_length(&rest[1..]),
            'b' if rest.get(1) == Some(&'r') && raw_string_length(&rest[1..]).is_some() => {
                1 + raw_string_length(&rest[1..]).unwrap_or(0)
            }
            '\'' => quote_length(rest),
            ':' if rest.get(1) == Some(&':') => {
                found.push("::".to_owned());
                2
            }
            c if c.is_alphanumeric() || c == '_' => {
                let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                let length = word.chars().count();
                found.push(word);
                length
            }
            c => {
                found.push(c.to_string());
                1
            }
        };
    }
    found
}

fn comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn string_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a raw string that begins here with its `r`.
fn raw_string_length(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &rest[2 + hashes..];
    let at = body.windows(end.len()).position(|window| window == end)?;
    Some(2 + hashes + at + end.len())
}

/// A character, or the sign of a lifetime.
fn quote_length(rest: &[char]) -> usize {
    match rest {
        [_, '\\', _, tail @ ..] => 3 + tail.iter().position(|c| *c == '\'').map_or(0, |end| end + 1),
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}
