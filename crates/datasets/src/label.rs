//! Labels as class numbers, and how many examples of each are wanted.

use std::fmt;
use std::str::FromStr;

use crate::DatasetError;

/// Number of a class of a task, from 0. Of a task with two classes 1 is written +1 and 0 is written -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub usize);

/// How many examples of each label a training set has; always the first ones in file order.
///
/// Written `100` (equally many of each label), `70/30` (as many of each label, in the order in which the task names its
/// classes: of a task with two, +1 first) or `first:100` (the first of the task, whatever their labels).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counts {
    /// So many in all, equally many of each label.
    Balanced(usize),
    /// So many of each label, in the order in which the task names its classes.
    Declared(Vec<usize>),
    /// So many in all, of whatever labels.
    FileOrder(usize),
}

impl Counts {
    /// Number of examples in all; saturates instead of overflowing.
    ///
    /// ```
    /// use palimpsest_datasets::Counts;
    ///
    /// assert_eq!("70/30".parse::<Counts>()?.total(), 100);
    /// # Ok::<(), palimpsest_datasets::DatasetError>(())
    /// ```
    pub fn total(&self) -> usize {
        match self {
            Self::Balanced(n) | Self::FileOrder(n) => *n,
            Self::Declared(counts) => counts.iter().fold(0, |total: usize, &n| total.saturating_add(n)),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balanced(n) => write!(f, "{n}"),
            Self::FileOrder(n) => write!(f, "first:{n}"),
            Self::Declared(counts) => {
                let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
                f.write_str(&counts.join("/"))
            }
        }
    }
}

impl FromStr for Counts {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let wrong = || DatasetError::Counts { got: text.to_owned() };
        let number = |part: &str| part.trim().parse::<usize>().ok();
        if let Some(n) = text.strip_prefix("first:") {
            return number(n).map(Self::FileOrder).ok_or_else(wrong);
        }
        let counts: Option<Vec<usize>> = text.split('/').map(number).collect();
        match counts.ok_or_else(wrong)?.as_slice() {
            &[n] => Ok(Self::Balanced(n)),
            // A task has at most 256 classes.
            counts if counts.len() <= 256 => Ok(Self::Declared(counts.to_vec())),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_as_they_are_read() {
        for (text, counts) in [
            ("100", Counts::Balanced(100)),
            ("70/30", Counts::Declared(vec![70, 30])),
            ("19/18", Counts::Declared(vec![19, 18])),
            ("1/0/3", Counts::Declared(vec![1, 0, 3])),
            ("first:37", Counts::FileOrder(37)),
        ] {
            assert_eq!(text.parse::<Counts>().unwrap(), counts);
            assert_eq!(counts.to_string(), text);
        }
        for wrong in ["", "a", "1/", "/", "-1", "1.5", "first:", "first:1/2", "last:3", &["1"; 257].join("/")]
        {
            let message = wrong.parse::<Counts>().unwrap_err().to_string();
            assert!(message.contains("70/30"), "{wrong}: {message}");
        }
        assert_eq!(Counts::Declared(vec![usize::MAX, 2]).total(), usize::MAX);
    }
}
