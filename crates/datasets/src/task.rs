//! Binary tasks: which classes are +1, which are -1, and which examples are taken.
//!
//! This is the only place of the workspace where class labels become signs.

use std::fmt;
use std::str::FromStr;

use ndarray::Array1;

use crate::{Dataset, DatasetError};

/// Two disjoint sets of classes; the first is +1, the second -1, all other classes are left out.
///
/// Written `odd-even` (odd = +1), `animals-vehicles` (CIFAR-10: 2..=7 against 0, 1, 8, 9) or as two class lists:
///
/// ```
/// use palimpsest_datasets::Task;
///
/// let task: Task = "0,1,2/3,4".parse()?;
/// assert_eq!((task.sign(2), task.sign(3), task.sign(9)), (Some(1.0), Some(-1.0), None));
/// assert_eq!(task.to_string(), "0,1,2/3,4");
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    name: String,
    /// Sign of each class, 0 for classes left out.
    signs: [i8; 256],
}

/// Examples of a task with their signs.
#[derive(Clone, Debug, PartialEq)]
pub struct BinarySet {
    /// The selected examples with their original labels, in file order.
    pub dataset: Dataset,
    /// +1 or -1 for each example (n).
    pub signs: Array1<f32>,
    /// Row of each example in the data set it was selected from, ascending.
    pub rows: Vec<usize>,
}

impl Task {
    /// +1 or -1 for a class of the task, `None` for any other.
    pub fn sign(&self, class: u8) -> Option<f32> {
        match self.signs[usize::from(class)] {
            0 => None,
            sign => Some(f32::from(sign)),
        }
    }

    /// The published selection: the first n/2 examples of each sign in file order, together in file order.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when `n` is zero or odd, or a sign has fewer than n/2 examples.
    ///
    /// # Source
    /// Haim et al., NeurIPS 2022 (arXiv 2206.07758): the balanced training sets of the experiments, as its released code
    /// takes them.
    ///
    /// ```
    /// use palimpsest_datasets::{DataName, Task, load};
    ///
    /// let split = load(DataName::FashionMnist, None)?;
    /// let train = "odd-even".parse::<Task>()?.balanced(&split.train, 100)?;
    /// assert_eq!(train.signs.iter().filter(|&&s| s > 0.0).count(), 50);
    /// # Ok::<(), palimpsest_datasets::DatasetError>(())
    /// ```
    pub fn balanced(&self, data: &Dataset, n: usize) -> Result<BinarySet, DatasetError> {
        let rows = self.balanced_rows(data.labels(), n)?;
        self.pick(data, rows)
    }

    /// Rows, ascending, that [`balanced`](Task::balanced) selects from examples with these labels.
    ///
    /// # Errors
    /// Those of [`balanced`](Task::balanced).
    pub fn balanced_rows(&self, labels: &[u8], n: usize) -> Result<Vec<usize>, DatasetError> {
        let available = |sign| labels.iter().filter(|&&class| self.sign(class) == Some(sign)).count();
        let (positive, negative) = (available(1.0), available(-1.0));
        let refuse = |problem: String| {
            let available = format!("{} ({positive} of +1, {negative} of -1)", labels.len());
            Err(DatasetError::Selection { task: self.name.clone(), requested: n, available, problem })
        };
        if n == 0 || n % 2 == 1 {
            return refuse("the number must be even and at least 2, half for each sign".into());
        }
        let most = 2 * positive.min(negative);
        if n > most {
            return refuse(format!(
                "at most {most} can be balanced; ask for fewer or pass larger data with --data-dir"
            ));
        }
        let first = |sign| {
            let of_sign =
                labels.iter().enumerate().filter(move |(_, class)| self.sign(**class) == Some(sign));
            of_sign.map(|(row, _)| row).take(n / 2)
        };
        let mut rows: Vec<usize> = first(1.0).chain(first(-1.0)).collect();
        rows.sort_unstable();
        Ok(rows)
    }

    /// The first k examples of the task in a *separate* test set, in file order; fewer when there are not k.
    ///
    /// Examples of classes outside the task are passed over and do not count.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when k is zero or no example belongs to the task.
    pub fn held_out(&self, test: &Dataset, k: usize) -> Result<BinarySet, DatasetError> {
        let of_task = test.labels().iter().enumerate().filter(|(_, class)| self.sign(**class).is_some());
        let rows: Vec<usize> = of_task.map(|(row, _)| row).take(k).collect();
        if rows.is_empty() {
            return Err(DatasetError::Selection {
                task: self.name.clone(),
                requested: k,
                available: test.count().to_string(),
                problem: "at least one held-out example of a class of the task is needed".into(),
            });
        }
        self.pick(test, rows)
    }

    fn pick(&self, data: &Dataset, rows: Vec<usize>) -> Result<BinarySet, DatasetError> {
        let dataset = data.select(&rows)?;
        let sign = |&class: &u8| self.sign(class).expect("only rows of the task were picked");
        let signs = dataset.labels().iter().map(sign).collect();
        Ok(BinarySet { dataset, signs, rows })
    }

    fn from_classes(name: String, classes: impl Iterator<Item = (u8, i8)>) -> Result<Task, String> {
        let mut signs = [0; 256];
        for (class, sign) in classes {
            if signs[usize::from(class)] != 0 {
                return Err(format!("class {class} is listed twice"));
            }
            signs[usize::from(class)] = sign;
        }
        Ok(Task { name, signs })
    }
}

/// Accepts what [`Display`](fmt::Display) writes; class lists may be in any order and hold spaces.
impl FromStr for Task {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Task, DatasetError> {
        parse(text).map_err(|problem| DatasetError::Task { got: text.to_owned(), problem })
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn parse(text: &str) -> Result<Task, String> {
    match text {
        "odd-even" => {
            Task::from_classes(text.into(), (0..=255).map(|c| (c, if c % 2 == 1 { 1 } else { -1 })))
        }
        "animals-vehicles" => {
            let sign = |c| if [0, 1, 8, 9].contains(&c) { -1 } else { 1 };
            Task::from_classes(text.into(), (0..10).map(|c| (c, sign(c))))
        }
        _ => {
            let (positive, negative) = text.split_once('/').ok_or("it is no known name and has no '/'")?;
            let (positive, negative) = (class_list(positive)?, class_list(negative)?);
            let join = |classes: &[u8]| classes.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
            let name = format!("{}/{}", join(&positive), join(&negative));
            let signed = positive.into_iter().map(|c| (c, 1)).chain(negative.into_iter().map(|c| (c, -1)));
            Task::from_classes(name, signed)
        }
    }
}

fn class_list(text: &str) -> Result<Vec<u8>, String> {
    let class =
        |c: &str| c.trim().parse().map_err(|_| format!("{:?} is not a class number 0..=255", c.trim()));
    let mut classes = text.split(',').map(class).collect::<Result<Vec<u8>, _>>()?;
    classes.sort_unstable();
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::InputShape;

    fn labelled(labels: &[u8]) -> Dataset {
        // The input of each example is its row, so that rows can be told apart.
        let inputs = Array2::from_shape_fn((labels.len(), 1), |(i, _)| i as f32);
        Dataset::new(inputs, labels.to_vec(), InputShape::Vector { len: 1 }, "rows").unwrap()
    }

    #[test]
    fn the_named_tasks_are_the_published_ones() {
        let signs = |task: &str| (0..10).map(|c| task.parse::<Task>().unwrap().sign(c)).collect::<Vec<_>>();
        for class in 0..10 {
            assert_eq!(signs("odd-even")[class], Some(if class % 2 == 1 { 1.0 } else { -1.0 }));
        }
        let vehicles = [0, 1, 8, 9];
        for class in 0..10 {
            assert_eq!(
                signs("animals-vehicles")[class],
                Some(if vehicles.contains(&class) { -1.0 } else { 1.0 })
            );
        }
    }

    #[test]
    fn a_task_written_and_read_again_is_the_same() {
        for text in ["odd-even", "animals-vehicles", "0,1,2/3,4", "255/0"] {
            let task: Task = text.parse().unwrap();
            assert_eq!(task.to_string(), text);
            assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
        }
        assert_eq!(" 2,0 , 1/4,3".parse::<Task>().unwrap().to_string(), "0,1,2/3,4");
    }

    #[test]
    fn wrong_tasks_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "has no '/'"),
            ("even-odd", "has no '/'"),
            ("/1", "\"\" is not"),
            ("0/", "\"\" is not"),
            ("0,/1", "\"\" is not"),
            ("0/1/2", "\"1/2\" is not"),
            ("256/1", "\"256\" is not"),
            ("-1/1", "\"-1\" is not"),
            ("0,1/1", "class 1 is listed twice"),
            ("0,0/1", "class 0 is listed twice"),
        ] {
            let message = text.parse::<Task>().unwrap_err().to_string();
            assert!(message.contains(reason), "{text:?}: {message}");
        }
    }

    #[test]
    fn balanced_takes_the_first_of_each_sign_in_file_order() {
        let set = "odd-even".parse::<Task>().unwrap().balanced(&labelled(&[2, 4, 6, 1, 8, 3, 5]), 4).unwrap();
        assert_eq!(set.rows, [0, 1, 3, 5]);
        assert_eq!(set.dataset.labels(), [2, 4, 1, 3]);
        assert_eq!(set.signs.to_vec(), [-1.0, -1.0, 1.0, 1.0]);
        assert_eq!(set.dataset.inputs().column(0).to_vec(), [0.0, 1.0, 3.0, 5.0]);
    }

    #[test]
    fn impossible_selections_are_refused_with_the_facts() {
        let task: Task = "1/0".parse().unwrap();
        let data = labelled(&[0, 0, 0, 1, 7]);
        for n in [0, 1, 3] {
            assert!(task.balanced(&data, n).unwrap_err().to_string().contains("even"), "{n}");
        }
        let message = task.balanced(&data, 4).unwrap_err().to_string();
        assert!(message.contains("1 of +1, 3 of -1") && message.contains("at most 2"), "{message}");
        assert!(task.balanced(&data, usize::MAX - 1).is_err());
        assert!(task.held_out(&data, 0).is_err());
        assert!("8/9".parse::<Task>().unwrap().held_out(&data, 5).is_err());
    }

    #[test]
    fn held_out_passes_over_other_classes() {
        let set = "1/0".parse::<Task>().unwrap().held_out(&labelled(&[7, 0, 7, 1, 1, 0]), 3).unwrap();
        assert_eq!((set.rows, set.signs.to_vec()), (vec![1, 3, 4], vec![-1.0, 1.0, 1.0]));
        assert_eq!("1/0".parse::<Task>().unwrap().held_out(&labelled(&[7, 0, 1]), 9).unwrap().rows, [1, 2]);
    }

    proptest! {
        #[test]
        fn balanced_agrees_with_a_naive_scan(labels in prop::collection::vec(0..12_u8, 1..80), half in 1..10_usize) {
            let task: Task = "0,1,2/3,4".parse().unwrap();
            let (mut positive, mut negative, mut rows) = (0, 0, Vec::new());
            for (row, &label) in labels.iter().enumerate() {
                if label <= 2 && positive < half {
                    positive += 1;
                    rows.push(row);
                } else if (label == 3 || label == 4) && negative < half {
                    negative += 1;
                    rows.push(row);
                }
            }
            match task.balanced_rows(&labels, 2 * half) {
                Ok(selected) => prop_assert_eq!(selected, rows),
                Err(_) => prop_assert!(positive < half || negative < half),
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[0-9,/ a-z-]{0,12}") {
            if let Ok(task) = text.parse::<Task>() {
                prop_assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
            }
        }
    }
}
