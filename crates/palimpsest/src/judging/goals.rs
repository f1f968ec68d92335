//! What examples are: signs, classes or numbers, and what a network should answer to them.

use ndarray::{Array2, ArrayView2};
use palimpsest_datasets::{BinarySet, DataName, Dataset, Label, LabelledSet, Task};
use palimpsest_mlp::loss::{Loss, Targets};

/// What examples are.
#[derive(Clone, Debug, PartialEq)]
pub enum Goals {
    /// -1 or +1.
    Signs(Vec<i8>),
    /// Class numbers.
    Classes(Vec<usize>),
    /// One number each.
    Values(Vec<f64>),
}

/// Examples that were selected, and what they are.
pub struct Examples {
    /// The examples, in file order.
    pub dataset: Dataset,
    /// What each is.
    pub goals: Goals,
    /// What each is, as a class: of signs 0 and 1, of numbers the label of the file, of real ones 0.
    pub classes: Vec<usize>,
}

impl Goals {
    /// As targets of a loss; with the softmax loss, -1 and +1 are the classes 0 and 1.
    pub(super) fn targets(&self, loss: Loss) -> Targets {
        match (self, loss) {
            (Self::Signs(signs), Loss::Softmax { .. }) => {
                Targets::Classes(signs.iter().map(|&sign| usize::from(sign > 0)).collect())
            }
            (Self::Signs(signs), _) => Targets::Signs(signs.clone()),
            (Self::Classes(classes), _) => Targets::Classes(classes.clone()),
            (Self::Values(values), _) => {
                Targets::Values(Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i]))
            }
        }
    }

    /// Outputs of a network that tells `labels` of them apart by this loss.
    pub(super) fn outputs(&self, loss: Loss, labels: usize) -> usize {
        match (self, loss) {
            (Self::Signs(_), Loss::Softmax { .. }) => 2,
            (Self::Signs(_) | Self::Values(_), _) => 1,
            (Self::Classes(_), _) => labels,
        }
    }

    /// How many of the examples a network with these `outputs` (n, C) answers right; for numbers, to whose own its output is
    /// nearer than to the others.
    pub fn right(&self, outputs: ArrayView2<'_, f32>, loss: Loss) -> usize {
        let targets = self.targets(loss);
        match self {
            Self::Values(values) => {
                let nearest = |output: f64| {
                    let distance = |value: &&f64| (**value - output).abs();
                    values.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).copied()
                };
                let first = outputs.column(0);
                let told = first.iter().map(|&output| nearest(f64::from(output)));
                told.zip(values).filter(|(told, value)| *told == Some(**value)).count()
            }
            _ => outputs
                .rows()
                .into_iter()
                .zip(targets.iter())
                .filter(|(row, target)| !target.is_missed(*row))
                .count(),
        }
    }

    /// Adds them to a checksum.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        match self {
            // As binary victims have always been told apart.
            Self::Signs(signs) => signs.iter().for_each(|&sign| {
                hasher.update(&f32::from(sign).to_le_bytes());
            }),
            Self::Classes(classes) => classes.iter().for_each(|&class| {
                hasher.update(&(class as f64).to_le_bytes());
            }),
            Self::Values(values) => values.iter().for_each(|&value| {
                hasher.update(&value.to_le_bytes());
            }),
        }
    }
}

impl Examples {
    /// Number of examples.
    pub fn count(&self) -> usize {
        self.dataset.count()
    }

    /// With signs where the task has two labels, else with class numbers.
    pub(super) fn labelled(set: LabelledSet) -> Self {
        let classes: Vec<usize> = set.labels.iter().map(|&Label(label)| label).collect();
        let dataset = set.dataset.clone();
        let goals = match set.into_binary() {
            Some(BinarySet { signs, .. }) => {
                Goals::Signs(signs.iter().map(|&s| if s > 0.0 { 1 } else { -1 }).collect())
            }
            None => Goals::Classes(classes.clone()),
        };
        Self { dataset, goals, classes }
    }

    /// Of numbers, which are brought to the units of a mean and a deviation.
    pub(super) fn numbers(dataset: Dataset, (mean, deviation): (f64, f64)) -> Self {
        let scaled = |value: f64| (value - mean) / deviation;
        let goals = Goals::Values(match dataset.values() {
            Some(values) => values.iter().map(|&value| scaled(value.into())).collect(),
            None => dataset.labels().iter().map(|&label| scaled(label.into())).collect(),
        });
        let classes = dataset.labels().iter().map(|&label| usize::from(label)).collect();
        Self { dataset, goals, classes }
    }
}

/// The labels of the file behind each of so many labels of a task.
pub(super) fn sets_of(task: &Task, labels: usize) -> Vec<Vec<u8>> {
    let of = |label| (0..=u8::MAX).filter(|&class| task.label(class) == Some(Label(label))).collect();
    (0..labels).map(of).collect()
}

/// What each label of a task is called, by the labels of the file behind it that occur in the data; of two, -1 and +1 come first.
pub(super) fn names_of(data: DataName, sets: &[Vec<u8>], occurring: &[u8], signs: bool) -> Vec<String> {
    let words = data.class_names();
    let word = |class: &u8| {
        words.get(usize::from(*class)).map_or_else(|| class.to_string(), |word| (*word).to_owned())
    };
    let name = |(label, set): (usize, &Vec<u8>)| {
        let there: Vec<String> = set.iter().filter(|class| occurring.contains(class)).map(word).collect();
        let together = there.join(", ");
        match (signs, together.is_empty()) {
            (true, true) => sign(label).to_owned(),
            (true, false) => format!("{} ({together})", sign(label)),
            (false, true) => set.iter().map(word).collect::<Vec<_>>().join(", "),
            (false, false) => together,
        }
    };
    sets.iter().enumerate().map(name).collect()
}

fn sign(label: usize) -> &'static str {
    if label == 0 { "-1" } else { "+1" }
}

/// Mean and deviation of labels; a deviation of 0 counts as 1.
pub(super) fn scale_of(labels: &[u8]) -> (f64, f64) {
    let n = labels.len() as f64;
    let mean = labels.iter().map(|&label| f64::from(label)).sum::<f64>() / n;
    let variance = labels.iter().map(|&label| (f64::from(label) - mean).powi(2)).sum::<f64>() / n;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}
