//! Tasks: which classes of a data set are told apart, and which examples are taken.
//!
//! This is the only place of the workspace where class labels of files become labels of a task, and signs.

use std::fmt;
use std::str::FromStr;

use crate::selection::{BinarySet, LabelledSet, first_of, pick};
use crate::{Counts, Dataset, DatasetError, Label};

/// Disjoint sets of classes, each a label; all other classes are left out.
///
/// With two sets the task is binary: the first is +1 and has the label 1, the second is -1 and has the label 0. Written
/// `odd-even` (odd = +1), `animals-vehicles` (CIFAR-10: 2..=7 against 0, 1, 8, 9) or as two class lists:
///
/// ```
/// use palimpsest_datasets::{Label, Task};
///
/// let task: Task = "0,1,2/3,4".parse()?;
/// assert_eq!((task.sign(2), task.sign(3), task.sign(9)), (Some(1.0), Some(-1.0), None));
/// assert_eq!((task.label(2), task.label(3)), (Some(Label(1)), Some(Label(0))));
/// assert_eq!(task.to_string(), "0,1,2/3,4");
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
///
/// With any number of sets, labels count them in the order written. Written `classes` (each class of the data for itself,
/// its number being its label) or as a list, in which `+` joins classes:
///
/// ```
/// use palimpsest_datasets::{Label, Task};
///
/// let task: Task = "classes:0,2+3,5".parse()?;
/// assert_eq!((task.label(0), task.label(3), task.label(5), task.label(1)), (Some(Label(0)), Some(Label(1)), Some(Label(2)), None));
/// assert_eq!("classes".parse::<Task>()?.label(7), Some(Label(7)));
/// # Ok::<(), palimpsest_datasets::DatasetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    name: String,
    sets: Sets,
    /// Label of each class; none for classes left out.
    labels: [Option<u8>; 256],
}

/// How many labels there are, and in which order they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sets {
    /// Two: first the label 1, then 0.
    Signed,
    /// So many, from 0 on.
    Numbered(usize),
    /// As many as the data have.
    OfData,
}

impl Task {
    /// Label of a class of the task, `None` for any other.
    pub fn label(&self, class: u8) -> Option<Label> {
        self.labels[usize::from(class)].map(|label| Label(usize::from(label)))
    }

    /// +1 or -1 for a class of a task with two labels (label 1 and label 0), `None` for any other class or task.
    pub fn sign(&self, class: u8) -> Option<f32> {
        match (self.sets, self.label(class)?) {
            (Sets::Signed | Sets::Numbered(2), Label(label)) => Some(if label == 1 { 1.0 } else { -1.0 }),
            _ => None,
        }
    }

    /// Number of labels; `None` for `classes`, where the data tell it.
    pub fn label_count(&self) -> Option<usize> {
        match self.sets {
            Sets::Signed => Some(2),
            Sets::Numbered(count) => Some(count),
            Sets::OfData => None,
        }
    }

    /// The first examples of each label in file order, as many as `counts` says, together in file order.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when the numbers do not fit the labels, there are not enough examples of a label, fewer than
    /// two labels would have any, or the examples have values instead of classes.
    ///
    /// ```
    /// use palimpsest_datasets::{Counts, DataName, Task, load};
    ///
    /// let train = load(DataName::Mnist, None)?.train;
    /// let select = |task: &str, counts: &str| task.parse::<Task>()?.select(&train, &counts.parse()?);
    /// assert_eq!(select("odd-even", "70/30")?.counts(), [30, 70]); // labels 0 (-1) and 1 (+1)
    /// assert_eq!(select("classes", "100")?.counts(), [10; 10]);
    /// assert_eq!(select("classes", "first:37")?.counts().iter().sum::<usize>(), 37);
    /// # Ok::<(), palimpsest_datasets::DatasetError>(())
    /// ```
    pub fn select(&self, data: &Dataset, counts: &Counts) -> Result<LabelledSet, DatasetError> {
        self.check_classes(data, counts.total())?;
        let rows = self.select_rows(data.labels(), counts).map_err(|e| e.of_data(data.name()))?;
        pick(data, rows, |class| self.label(class), self.label_count())
    }

    /// Rows, ascending, that [`select`](Task::select) takes from examples with these classes.
    ///
    /// # Errors
    /// Those of [`select`](Task::select).
    pub fn select_rows(&self, classes: &[u8], counts: &Counts) -> Result<Vec<usize>, DatasetError> {
        let order = self.labels_named(classes);
        let wanted = self.wanted(classes, &order, counts)?;
        let selected = match wanted {
            Some(wanted) => {
                let wanted =
                    |label| order.iter().position(|&named| named == label).map_or(0, |at| wanted[at]);
                first_of(classes, |class| self.label(class), wanted)
            }
            None => {
                let of_task = (0..classes.len()).filter(|&row| self.label(classes[row]).is_some());
                of_task.take(counts.total()).collect()
            }
        };
        let first = selected.first().map(|&row| self.label(classes[row]));
        if selected.iter().all(|&row| Some(self.label(classes[row])) == first) {
            let problem = "examples of at least two labels are needed".into();
            return Err(self.refuse(classes, counts.total(), problem));
        }
        Ok(selected)
    }

    /// The published selection: the first n/2 examples of each sign in file order, together in file order.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when `n` is zero or odd, a sign has fewer than n/2 examples, or the task has other than
    /// two labels.
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
        self.check_binary(data.labels(), n)?;
        let set = self.select(data, &Counts::Balanced(n))?;
        Ok(set.into_binary().expect("a task with two labels has signs"))
    }

    /// Rows, ascending, that [`balanced`](Task::balanced) selects from examples with these labels.
    ///
    /// # Errors
    /// Those of [`balanced`](Task::balanced).
    pub fn balanced_rows(&self, labels: &[u8], n: usize) -> Result<Vec<usize>, DatasetError> {
        self.check_binary(labels, n)?;
        self.select_rows(labels, &Counts::Balanced(n))
    }

    /// The first k examples of the task in a *separate* test set, in file order; fewer when there are not k.
    ///
    /// Examples of classes outside the task are passed over and do not count.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when k is zero, no example belongs to the task, or the task has other than two labels.
    pub fn held_out(&self, test: &Dataset, k: usize) -> Result<BinarySet, DatasetError> {
        self.check_binary(test.labels(), k)?;
        let set = self.held_out_labelled(test, k)?;
        Ok(set.into_binary().expect("a task with two labels has signs"))
    }

    /// The same for any number of labels.
    ///
    /// # Errors
    /// [`DatasetError::Selection`] when k is zero, no example belongs to the task, or the examples have values instead of classes.
    pub fn held_out_labelled(&self, test: &Dataset, k: usize) -> Result<LabelledSet, DatasetError> {
        self.check_classes(test, k)?;
        let of_task = test.labels().iter().enumerate().filter(|(_, class)| self.label(**class).is_some());
        let rows: Vec<usize> = of_task.map(|(row, _)| row).take(k).collect();
        if rows.is_empty() {
            return Err(DatasetError::Selection {
                task: self.name.clone(),
                requested: k,
                available: test.count().to_string(),
                problem: "at least one held-out example of a class of the task is needed".into(),
            });
        }
        pick(test, rows, |class| self.label(class), self.label_count())
    }

    /// The labels in the order in which the task names them; of `classes`, those that occur.
    fn labels_named(&self, classes: &[u8]) -> Vec<Label> {
        match self.sets {
            Sets::Signed => vec![Label(1), Label(0)],
            Sets::Numbered(count) => (0..count).map(Label).collect(),
            Sets::OfData => (0..256)
                .map(Label)
                .filter(|label| classes.iter().any(|&c| usize::from(c) == label.0))
                .collect(),
        }
    }

    /// How many examples of each label of `order` are wanted; none when it is the first ones of any label.
    fn wanted(
        &self,
        classes: &[u8],
        order: &[Label],
        counts: &Counts,
    ) -> Result<Option<Vec<usize>>, DatasetError> {
        let n = counts.total();
        let refuse = |problem: String| Err(self.refuse(classes, n, problem));
        let more = "ask for fewer or pass larger data with --data-dir";
        let available = |label| classes.iter().filter(|&&class| self.label(class) == Some(label)).count();
        let labels = order.len();
        match counts {
            Counts::Balanced(_) if n == 0 || n.checked_rem(labels) != Some(0) => {
                let unit = if labels == 2 { "even".into() } else { format!("a multiple of {labels}") };
                let each = if self.sets == Sets::Signed {
                    "half for each sign"
                } else {
                    "equally many of each label"
                };
                refuse(format!(
                    "the number must be {unit} and at least {labels}, {each}; other numbers are written as 70/30 or \
                     first:37"
                ))
            }
            Counts::Balanced(_) => {
                let most = labels * order.iter().map(|&label| available(label)).min().unwrap_or(0);
                if n > most {
                    return refuse(format!("at most {most} can be balanced; {more}"));
                }
                Ok(Some(vec![n / labels; labels]))
            }
            Counts::Declared(declared) if declared.len() != labels => {
                refuse(format!("{} numbers are given and the task has {labels} labels", declared.len()))
            }
            Counts::Declared(declared) => {
                match order.iter().zip(declared).find(|(label, wanted)| available(**label) < **wanted) {
                    Some((&label, wanted)) => refuse(format!(
                        "there are {} of {}, fewer than {wanted}; {more}",
                        available(label),
                        self.spell(label)
                    )),
                    None => Ok(Some(declared.clone())),
                }
            }
            Counts::FileOrder(_) => {
                let most: usize = order.iter().map(|&label| available(label)).sum();
                if n > most { refuse(format!("there are {most}; {more}")) } else { Ok(None) }
            }
        }
    }

    fn refuse(&self, classes: &[u8], requested: usize, problem: String) -> DatasetError {
        let of = |label| classes.iter().filter(|&&class| self.label(class) == Some(label)).count();
        let counts =
            self.labels_named(classes).into_iter().map(|l| format!("{} of {}", of(l), self.spell(l)));
        let counts: Vec<String> = counts.collect();
        let available = format!("{} ({})", classes.len(), counts.join(", "));
        DatasetError::Selection { task: self.name.clone(), requested, available, problem }
    }

    fn check_binary(&self, classes: &[u8], n: usize) -> Result<(), DatasetError> {
        match self.label_count() {
            Some(2) => Ok(()),
            _ => Err(self.refuse(classes, n, "only a task with two labels has signs".into())),
        }
    }

    fn check_classes(&self, data: &Dataset, n: usize) -> Result<(), DatasetError> {
        if data.values().is_none() {
            return Ok(());
        }
        let (task, available) = (self.name.clone(), data.count().to_string());
        let problem = "the examples have real numbers and no classes".into();
        Err(DatasetError::Selection { task, requested: n, available, problem })
    }

    fn spell(&self, Label(label): Label) -> String {
        match (self.sets, label) {
            (Sets::Signed, 1) => "+1".into(),
            (Sets::Signed, _) => "-1".into(),
            _ => format!("label {label}"),
        }
    }

    fn from_classes(
        name: String,
        sets: Sets,
        classes: impl Iterator<Item = (u8, u8)>,
    ) -> Result<Task, String> {
        let mut labels = [None; 256];
        for (class, label) in classes {
            if labels[usize::from(class)].replace(label).is_some() {
                return Err(format!("class {class} is listed twice"));
            }
        }
        Ok(Task { name, sets, labels })
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
        "odd-even" => Task::from_classes(text.into(), Sets::Signed, (0..=255).map(|c| (c, c % 2))),
        "animals-vehicles" => {
            let label = |c| u8::from(![0, 1, 8, 9].contains(&c));
            Task::from_classes(text.into(), Sets::Signed, (0..10).map(|c| (c, label(c))))
        }
        "classes" => Task::from_classes(text.into(), Sets::OfData, (0..=255).map(|c| (c, c))),
        _ => match text.strip_prefix("classes:") {
            Some(sets) => numbered(sets),
            None => {
                let (positive, negative) =
                    text.split_once('/').ok_or("it is no known name and has no '/'")?;
                let (positive, negative) = (class_list(positive, ',')?, class_list(negative, ',')?);
                let name = format!("{}/{}", join(&positive, ","), join(&negative, ","));
                let labelled =
                    positive.into_iter().map(|c| (c, 1)).chain(negative.into_iter().map(|c| (c, 0)));
                Task::from_classes(name, Sets::Signed, labelled)
            }
        },
    }
}

/// `0,2+3,5`: sets in order, each of one or more classes.
fn numbered(text: &str) -> Result<Task, String> {
    let sets = text.split(',').map(|set| class_list(set, '+')).collect::<Result<Vec<_>, _>>()?;
    if !(2..=256).contains(&sets.len()) {
        return Err(format!("it has {} labels, from 2 to 256 are possible", sets.len()));
    }
    let names: Vec<String> = sets.iter().map(|set| join(set, "+")).collect();
    let labelled =
        (0_u8..=255).zip(&sets).flat_map(|(label, set)| set.iter().map(move |&class| (class, label)));
    Task::from_classes(format!("classes:{}", names.join(",")), Sets::Numbered(sets.len()), labelled)
}

fn join(classes: &[u8], between: &str) -> String {
    classes.iter().map(u8::to_string).collect::<Vec<_>>().join(between)
}

fn class_list(text: &str, between: char) -> Result<Vec<u8>, String> {
    let class =
        |c: &str| c.trim().parse().map_err(|_| format!("{:?} is not a class number 0..=255", c.trim()));
    let mut classes = text.split(between).map(class).collect::<Result<Vec<u8>, _>>()?;
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
