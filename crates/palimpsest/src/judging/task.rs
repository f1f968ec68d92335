//! What a victim may be asked to learn.

use std::fmt;
use std::str::FromStr;

use palimpsest_datasets::{ClassTask, DatasetError, Task};

/// What a victim learns.
#[derive(Clone, Debug, PartialEq)]
pub enum VictimTask {
    /// Two sets of labels, +1 and -1.
    Binary(Task),
    /// Classes.
    Classes(ClassTask),
    /// The label as a number, brought to mean 0 and deviation 1.
    Regression,
}

impl FromStr for VictimTask {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        match text {
            "regression" => Ok(Self::Regression),
            "classes" => text.parse().map(Self::Classes),
            sets if sets.matches('/').count() > 1 => sets.parse().map(Self::Classes),
            _ => text.parse().map(Self::Binary),
        }
    }
}

impl fmt::Display for VictimTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(task) => task.fmt(f),
            Self::Classes(task) => task.fmt(f),
            Self::Regression => f.write_str("regression"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_told_apart_by_how_they_are_written() {
        let read = |text: &str| text.parse::<VictimTask>().unwrap();
        assert!(
            matches!(read("odd-even"), VictimTask::Binary(_))
                && matches!(read("0,1/2"), VictimTask::Binary(_))
        );
        assert!(
            matches!(read("classes"), VictimTask::Classes(_))
                && matches!(read("0/1/2"), VictimTask::Classes(_))
        );
        for text in ["regression", "classes", "0,1/2,3/4", "odd-even", "0/1"] {
            assert_eq!(read(text).to_string(), text);
        }
        assert!("nothing".parse::<VictimTask>().is_err());
    }
}
