//! Examples of a task with their labels.

use ndarray::Array1;
use palimpsest_numerics::seed::Seed;
use rand::seq::SliceRandom as _;

use crate::{Dataset, DatasetError, Label};

/// Examples of a binary task with their signs.
#[derive(Clone, Debug, PartialEq)]
pub struct BinarySet {
    /// The selected examples with their original labels, in file order.
    pub dataset: Dataset,
    /// +1 or -1 for each example (n).
    pub signs: Array1<f32>,
    /// Row of each example in the data set it was selected from, ascending.
    pub rows: Vec<usize>,
}

/// Examples of a task with any number of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledSet {
    /// The selected examples with their original classes, in file order.
    pub dataset: Dataset,
    /// Label of each example (n), below [`label_count`](LabelledSet::label_count).
    pub labels: Vec<Label>,
    /// Row of each example in the data set it was selected from, ascending.
    pub rows: Vec<usize>,
    /// Number of labels of the task C; of `classes`, the highest class of the data plus 1.
    pub label_count: usize,
    binary: bool,
}

impl LabelledSet {
    /// Number of examples of each label (C).
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.label_count];
        self.labels.iter().for_each(|label| counts[label.0] += 1);
        counts
    }

    /// The same with signs, label 1 being +1; `None` when the task has other than two labels.
    pub fn into_binary(self) -> Option<BinarySet> {
        let signs = self.labels.iter().map(|label| if label.0 == 1 { 1.0 } else { -1.0 }).collect();
        self.binary.then_some(BinarySet { dataset: self.dataset, signs, rows: self.rows })
    }

    /// The same examples with their labels at random: as many of each label, dealt out anew.
    ///
    /// A network that is trained on them has learned the examples, but nothing about what they are.
    #[must_use]
    pub fn with_shuffled_labels(mut self, seed: &Seed) -> Self {
        self.labels.shuffle(&mut seed.named("labels").rng());
        self
    }
}

impl BinarySet {
    /// The same examples with their signs at random: as many of each, dealt out anew.
    #[must_use]
    pub fn with_shuffled_signs(mut self, seed: &Seed) -> Self {
        let mut signs = self.signs.to_vec();
        signs.shuffle(&mut seed.named("labels").rng());
        self.signs = signs.into();
        self
    }
}

/// Rows, ascending, of the first examples of each label, as many as `wanted` says; `label` tells those of the task.
pub(crate) fn first_of(
    classes: &[u8],
    label: impl Fn(u8) -> Option<Label>,
    wanted: impl Fn(Label) -> usize,
) -> Vec<usize> {
    let mut taken = [0; 256];
    let takes = |&row: &usize| {
        label(classes[row]).is_some_and(|label| {
            taken[label.0] += 1;
            taken[label.0] <= wanted(label)
        })
    };
    (0..classes.len()).filter(takes).collect()
}

/// Rows of a data set, all of classes of the task, with their labels; `label_count` is that of the task, if the data do not
/// tell it.
pub(crate) fn pick(
    data: &Dataset,
    rows: Vec<usize>,
    label: impl Fn(u8) -> Option<Label>,
    label_count: Option<usize>,
) -> Result<LabelledSet, DatasetError> {
    let dataset = data.select(&rows)?;
    let known = |&class: &u8| label(class).expect("only rows of the task were picked");
    let labels = dataset.labels().iter().map(known).collect();
    let highest = data.labels().iter().max().map_or(0, |&class| usize::from(class) + 1);
    let binary = label_count == Some(2);
    Ok(LabelledSet { dataset, labels, rows, label_count: label_count.unwrap_or(highest), binary })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::{Counts, InputShape, Task};

    fn of_classes(classes: &[u8]) -> Dataset {
        let inputs = Array2::from_shape_fn((classes.len(), 1), |(i, _)| i as f32);
        Dataset::new(inputs, classes.to_vec(), InputShape::Vector { len: 1 }, "rows").unwrap()
    }

    fn select(task: &str, classes: &[u8], counts: &str) -> Result<LabelledSet, String> {
        let (task, counts): (Task, Counts) = (task.parse().unwrap(), counts.parse().unwrap());
        task.select(&of_classes(classes), &counts).map_err(|e| e.to_string())
    }

    #[test]
    fn declared_numbers_are_taken_plus_one_first() {
        let set = select("1/0", &[1, 0, 1, 1, 7, 0, 1], "3/1").unwrap();
        assert_eq!((set.rows.as_slice(), set.counts()), (&[0, 1, 2, 3][..], vec![1, 3]));
        assert_eq!(set.into_binary().unwrap().signs.to_vec(), [1.0, -1.0, 1.0, 1.0]);
        let three = select("classes:4,1,7", &[1, 7, 4, 4, 4, 7], "2/1/1").unwrap();
        assert_eq!((three.rows.as_slice(), three.counts()), (&[0, 1, 2, 3][..], vec![2, 1, 1]));
        assert_eq!(three.labels, [1, 2, 0, 0].map(Label));
        assert!(three.into_binary().is_none());
    }

    #[test]
    fn classes_are_those_of_the_data_and_keep_their_numbers() {
        let set = select("classes", &[5, 2, 2, 5, 8, 8], "3").unwrap();
        assert_eq!((set.rows.as_slice(), set.label_count), (&[0, 1, 4][..], 9));
        assert_eq!(set.counts(), [0, 0, 1, 0, 0, 1, 0, 0, 1]);
        // An example of a class that the selection lacks still makes an output of the network.
        assert_eq!(select("classes", &[0, 1, 9], "first:2").unwrap().label_count, 10);
        assert!(select("classes", &[5, 2, 2, 5, 8, 8], "4").unwrap_err().contains("a multiple of 3"));
    }

    #[test]
    fn two_classes_that_are_counted_have_signs_too() {
        let set = select("classes:3,4", &[3, 4, 4, 3], "4").unwrap().into_binary().unwrap();
        assert_eq!(set.signs.to_vec(), [-1.0, 1.0, 1.0, -1.0]);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_with_the_facts() {
        let classes = [1, 0, 1, 1, 7, 0, 1];
        let message = |counts: &str| select("1/0", &classes, counts).unwrap_err();
        assert!(message("3/3").contains("there are 2 of -1, fewer than 3"), "{}", message("3/3"));
        assert!(message("3/3").contains("in rows"), "{}", message("3/3"));
        assert!(message("1/1/1").contains("3 numbers are given and the task has 2 labels"));
        assert!(message("first:7").contains("there are 6"));
        for alone in ["2/0", "first:1", "first:0", "0/0"] {
            assert!(message(alone).contains("at least two labels"), "{}", message(alone));
        }
        assert!(message("3").contains("even") && message("3").contains("70/30"));
        let many: Task = "classes:0,1,7".parse().unwrap();
        assert!(many.balanced(&of_classes(&classes), 3).unwrap_err().to_string().contains("two labels"));
        assert!(many.held_out(&of_classes(&classes), 3).unwrap_err().to_string().contains("two labels"));
        assert_eq!(many.held_out_labelled(&of_classes(&classes), 9).unwrap().counts(), [2, 4, 1]);
    }

    #[test]
    fn shuffled_labels_are_as_many_of_each_and_a_function_of_the_seed() {
        let classes: Vec<u8> = (0..60).map(|i| i % 3).collect();
        let set = select("classes", &classes, "60").unwrap();
        let shuffled = |seed| set.clone().with_shuffled_labels(&Seed::new(seed));
        assert_eq!((shuffled(1).counts(), &shuffled(1).dataset), (set.counts(), &set.dataset));
        assert_ne!(shuffled(1).labels, set.labels);
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1).labels, shuffled(2).labels);
        let binary = select("1/0", &classes, "40").unwrap().into_binary().unwrap();
        let dealt = binary.clone().with_shuffled_signs(&Seed::new(1));
        assert_eq!((dealt.signs.sum(), dealt.dataset), (0.0, binary.dataset));
        assert_ne!(dealt.signs, binary.signs);
    }

    proptest! {
        #[test]
        fn every_selection_agrees_with_a_naive_scan(
            classes in prop::collection::vec(0..6_u8, 1..60), wanted in prop::collection::vec(0..6_usize, 3),
        ) {
            let task: Task = "classes:0,2+3,5".parse().unwrap();
            let (mut left, mut rows) = (wanted.clone(), Vec::new());
            for (row, class) in classes.iter().enumerate() {
                let label = match class { 0 => 0, 2 | 3 => 1, 5 => 2, _ => continue };
                if left[label] > 0 {
                    left[label] -= 1;
                    rows.push(row);
                }
            }
            let kinds = wanted.iter().filter(|&&n| n > 0).count();
            match task.select(&of_classes(&classes), &Counts::Declared(wanted.clone())) {
                Ok(set) => {
                    prop_assert_eq!(&set.rows, &rows);
                    prop_assert_eq!(set.counts(), wanted);
                }
                Err(_) => prop_assert!(left.iter().any(|&n| n > 0) || kinds < 2),
            }
        }

        #[test]
        fn the_first_in_file_order_are_those(classes in prop::collection::vec(0..4_u8, 2..40), n in 0..40_usize) {
            let task: Task = "classes:1,2".parse().unwrap();
            let rows: Vec<usize> = (0..classes.len()).filter(|&i| matches!(classes[i], 1 | 2)).take(n).collect();
            let both = [1, 2].iter().all(|class| rows.iter().any(|&row| classes[row] == *class));
            match task.select(&of_classes(&classes), &Counts::FileOrder(n)) {
                Ok(set) => prop_assert!(set.rows == rows && both && rows.len() == n),
                Err(_) => prop_assert!(rows.len() < n || !both),
            }
        }

        #[test]
        fn arbitrary_lists_of_classes_never_panic(text in "classes:?[0-9,+/ ]{0,12}") {
            if let Ok(task) = text.parse::<Task>() {
                prop_assert_eq!(task.to_string().parse::<Task>().unwrap(), task);
            }
        }
    }
}
