//! What a victim may be asked to learn.

use std::fmt;
use std::str::FromStr;

use palimpsest_datasets::{DatasetError, Task};

/// What a victim learns.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a command")]
pub enum VictimTask {
    /// Sets of labels: two are +1 and -1, others are classes.
    Labels(Task),
    /// The label as a number: whole ones brought to mean 0 and deviation 1, real ones as they are.
    Regression,
}

impl VictimTask {
    /// Whether it is one with signs.
    pub(super) fn is_binary(&self) -> bool {
        matches!(self, Self::Labels(task) if task.label_count() == Some(2))
    }
}

/// Reads what [`Task`] reads, `regression`, and three or more sets as in 0,1/2,3/4, which is `classes:0+1,2+3,4`.
impl FromStr for VictimTask {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let slashes = text.matches('/').count();
        match text {
            "regression" => Ok(Self::Regression),
            sets if slashes > 1 => {
                let classes = format!("classes:{}", sets.replace(',', "+").replace('/', ","));
                // What is refused is spelt as it was given.
                let refused = |error| match error {
                    DatasetError::Task { problem, .. } => {
                        DatasetError::Task { got: text.to_owned(), problem }
                    }
                    error => error,
                };
                classes.parse().map(Self::Labels).map_err(refused)
            }
            _ => text.parse().map(Self::Labels),
        }
    }
}

impl fmt::Display for VictimTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labels(task) => task.fmt(f),
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
        for text in ["odd-even", "0,1/2", "classes:4,7"] {
            assert!(read(text).is_binary(), "{text}");
        }
        for text in ["classes", "0/1/2", "regression"] {
            assert!(!read(text).is_binary(), "{text}");
        }
        assert_eq!(read("0,1/2,3/4"), read("classes:0+1,2+3,4"));
        for text in ["regression", "classes", "classes:0+1,2+3,4", "odd-even", "0/1"] {
            assert_eq!(read(text).to_string(), text);
            assert_eq!(read(&read(text).to_string()), read(text));
        }
        for wrong in ["nothing", "0/1/1", "0//1", "0/1/256"] {
            let error = wrong.parse::<VictimTask>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
