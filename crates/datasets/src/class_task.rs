//! Tasks of any number of classes: which labels are one class, and which examples are taken.

use std::fmt;
use std::str::FromStr;

use crate::{Dataset, DatasetError};

/// Which labels of a data set are which class of a network.
///
/// Written `classes` (each label that occurs is a class of its own, in ascending order) or as two or more lists of labels:
///
/// ```
/// use palimpsest_datasets::ClassTask;
///
/// let task: ClassTask = "0,1/2,3/4".parse()?;
/// assert_eq!(task.sets(&[0, 1, 2, 3, 4, 5]), [vec![0, 1], vec![2, 3], vec![4]]);
/// assert_eq!("classes".parse::<ClassTask>()?.sets(&[7, 3, 7]), [[3], [7]]);
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassTask {
    /// `None` where each label is a class.
    sets: Option<Vec<Vec<u8>>>,
}

/// Examples of a task with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassSet {
    /// The selected examples with their original labels, in file order.
    pub dataset: Dataset,
    /// Class of each example (n), counted from 0.
    pub classes: Vec<usize>,
    /// Row of each example in the data set it was selected from, ascending.
    pub rows: Vec<usize>,
}

impl ClassTask {
    /// The labels of each class; where each label is a class, those that occur in `labels`.
    pub fn sets(&self, labels: &[u8]) -> Vec<Vec<u8>> {
        self.sets.clone().unwrap_or_else(|| {
            let mut present = labels.to_vec();
            present.sort_unstable();
            present.dedup();
            present.into_iter().map(|label| vec![label]).collect()
        })
    }

    /// The first n/C examples of each of the C classes in file order, together in file order.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when there are fewer than two classes, n is no multiple of their number, or a class has
    /// fewer examples.
    pub fn balanced(&self, data: &Dataset, n: usize) -> Result<ClassSet, DatasetError> {
        let sets = self.sets(data.labels());
        let refuse = |problem: String| Err(self.refused(data, n, problem));
        if sets.len() < 2 {
            return refuse("two classes are needed, and one label occurs".into());
        }
        if n == 0 || n % sets.len() != 0 {
            return refuse(format!(
                "the number must be a multiple of {}, equally many of each class",
                sets.len()
            ));
        }
        let each = n / sets.len();
        let mut rows = Vec::with_capacity(n);
        for set in &sets {
            let of_set = data.labels().iter().enumerate().filter(|(_, label)| set.contains(label));
            let before = rows.len();
            rows.extend(of_set.map(|(row, _)| row).take(each));
            if rows.len() - before < each {
                return refuse(format!("labels {set:?} have {} examples, not {each}", rows.len() - before));
            }
        }
        rows.sort_unstable();
        pick(data, rows, &sets)
    }

    /// The first k examples of these classes in a *separate* test set, in file order; fewer when there are not k. `sets` are
    /// those of the training examples.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when there is none.
    pub fn held_out(&self, test: &Dataset, sets: &[Vec<u8>], k: usize) -> Result<ClassSet, DatasetError> {
        let known = |label: &u8| sets.iter().any(|set| set.contains(label));
        let of_task = test.labels().iter().enumerate().filter(|(_, label)| known(label));
        let rows: Vec<usize> = of_task.map(|(row, _)| row).take(k).collect();
        if rows.is_empty() {
            return Err(self.refused(
                test,
                k,
                "at least one held-out example of a class of the task is needed".into(),
            ));
        }
        pick(test, rows, sets)
    }

    fn refused(&self, data: &Dataset, requested: usize, problem: String) -> DatasetError {
        DatasetError::Selection {
            task: self.to_string(),
            requested,
            available: data.count().to_string(),
            problem,
        }
    }
}

fn pick(data: &Dataset, rows: Vec<usize>, sets: &[Vec<u8>]) -> Result<ClassSet, DatasetError> {
    let dataset = data.select(&rows)?;
    let class = |label: &u8| {
        sets.iter().position(|set| set.contains(label)).expect("only rows of the task were picked")
    };
    let classes = dataset.labels().iter().map(class).collect();
    Ok(ClassSet { dataset, classes, rows })
}

impl FromStr for ClassTask {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let refuse = |problem: String| Err(DatasetError::Task { got: text.to_owned(), problem });
        if text == "classes" {
            return Ok(Self { sets: None });
        }
        let label = |label: &str| {
            label
                .trim()
                .parse::<u8>()
                .map_err(|_| format!("{:?} is not a class number 0..=255", label.trim()))
        };
        let list = |list: &str| list.split(',').map(label).collect::<Result<Vec<u8>, String>>();
        let sets = match text.split('/').map(list).collect::<Result<Vec<_>, String>>() {
            Ok(sets) => sets,
            Err(problem) => return refuse(problem),
        };
        let mut all: Vec<u8> = sets.iter().flatten().copied().collect();
        all.sort_unstable();
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse(format!("class {} is listed twice", pair[0]));
        }
        if sets.len() < 2 {
            return refuse("it is no known name and has no '/'".into());
        }
        Ok(Self { sets: Some(sets) })
    }
}

impl fmt::Display for ClassTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(sets) = &self.sets else { return f.write_str("classes") };
        let list = |set: &Vec<u8>| set.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        f.write_str(&sets.iter().map(list).collect::<Vec<_>>().join("/"))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::InputShape;

    fn labelled(labels: &[u8]) -> Dataset {
        let inputs = Array2::from_shape_fn((labels.len(), 1), |(i, _)| i as f32);
        Dataset::new(inputs, labels.to_vec(), InputShape::Vector { len: 1 }, "rows").unwrap()
    }

    #[test]
    fn equally_many_of_each_class_in_file_order() {
        let data = labelled(&[2, 5, 5, 9, 2, 9, 5, 2]);
        let task: ClassTask = "classes".parse().unwrap();
        let set = task.balanced(&data, 6).unwrap();
        assert_eq!((set.rows, set.classes), (vec![0, 1, 2, 3, 4, 5], vec![0, 1, 1, 2, 0, 2]));
        let sets: ClassTask = "9/5,2".parse().unwrap();
        let set = sets.balanced(&data, 4).unwrap();
        assert_eq!((set.rows, set.classes), (vec![0, 1, 3, 5], vec![1, 1, 0, 0]));
        let held_out = sets.held_out(&labelled(&[1, 5, 9]), &sets.sets(data.labels()), 10).unwrap();
        assert_eq!((held_out.rows, held_out.classes), (vec![1, 2], vec![1, 0]));
    }

    #[test]
    fn what_cannot_be_taken_is_named() {
        let data = labelled(&[2, 5, 5, 9]);
        let refused = |task: &str, n: usize| {
            task.parse::<ClassTask>().unwrap().balanced(&data, n).unwrap_err().to_string()
        };
        assert!(refused("classes", 4).contains("multiple of 3"));
        assert!(refused("classes", 6).contains("have 1 examples, not 2"));
        assert!(refused("2/7", 2).contains("[7] have 0 examples, not 1"));
    }

    #[test]
    fn a_task_written_and_read_again_is_the_same() {
        for text in ["classes", "0,1/2/3,9"] {
            assert_eq!(text.parse::<ClassTask>().unwrap().to_string(), text);
        }
        for (wrong, told) in
            [("0,1", "no '/'"), ("0/0", "listed twice"), ("0/x", "not a class number"), ("", "")]
        {
            assert!(wrong.parse::<ClassTask>().unwrap_err().to_string().contains(told));
        }
    }
}
