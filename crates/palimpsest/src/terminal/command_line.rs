//! The words that this program was called with, to be typed again.

/// The command that this process was called with, for a shell, without these options: `valued` ones with their value, and `flags`.
pub fn without(valued: &[&str], flags: &[&str]) -> String {
    shell(std::env::args_os().map(|word| word.to_string_lossy().into_owned()), valued, flags)
}

fn shell(words: impl Iterator<Item = String>, valued: &[&str], flags: &[&str]) -> String {
    let mut kept = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let is_valued = |name: &&str| word.strip_prefix(*name).is_some_and(|rest| rest.starts_with('='));
        if valued.contains(&word.as_str()) {
            words.next();
        } else if !flags.contains(&word.as_str()) && !valued.iter().any(is_valued) {
            kept.push(quoted(&word));
        }
    }
    kept.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_left_out_with_their_values() {
        let words = "palimpsest reconstruct --restarts 0..4 --model net --out=part-0 --resume --outer 3";
        let told = shell(words.split(' ').map(String::from), &["--restarts", "--out"], &["--resume"]);
        assert_eq!(told, "palimpsest reconstruct --model net --outer 3");
    }

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        let words = ["p", "my net.pth", "it's", "", "$HOME"].map(String::from);
        assert_eq!(shell(words.into_iter(), &[], &[]), r"p 'my net.pth' 'it'\''s' '' '$HOME'");
    }
}
