//! What a victim of any task learns: inputs as it sees them, and what its outputs should be.

use std::path::Path;

use anyhow::{Result, bail};
use ndarray::{Array1, Array2, ArrayView2};
use palimpsest_datasets::{
    BinarySet, Block, Counts, DataName, Dataset, DatasetError, InputShape, Label, LabelledSet, PixelMean,
    Task, ZScore,
};
use palimpsest_mlp::Mlp;
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;

use super::data::{HELD_OUT, check_counts, load_split};
use super::normalize::Normalize;
use super::task::VictimTask;
use crate::terminal::Misuse;

/// Training and held-out examples of a task.
pub(super) struct Learned {
    /// Training inputs as the network sees them, (n, d).
    pub(super) inputs: Array2<f32>,
    /// Held-out inputs by the same scaling, (k, d).
    pub(super) held_out_inputs: Array2<f32>,
    /// What the training examples are.
    pub(super) train: Goals,
    held_out: Goals,
    /// Labels of each class in the order of the outputs; none for regression.
    pub(super) sets: Vec<Vec<u8>>,
    /// Mean and deviation of the labels of the training examples, for regression.
    pub(super) label_scale: Option<(f64, f64)>,
    shape: InputShape,
}

/// What examples are.
pub(super) enum Goals {
    /// -1 or +1.
    Signs(Vec<i8>),
    /// Class numbers.
    Classes(Vec<usize>),
    /// One number each.
    Values(Vec<f64>),
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
}

/// Which examples are taken from a data set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) data: DataName,
    pub(super) data_dir: Option<&'a Path>,
    pub(super) block: Option<Block>,
    pub(super) counts: Option<&'a Counts>,
    pub(super) n: usize,
}

/// Examples that were selected.
struct Selected {
    dataset: Dataset,
    goals: Goals,
}

impl Learned {
    /// Loads and selects examples for `task`, and brings inputs to the network's units.
    pub(super) fn load(source: Source<'_>, task: &VictimTask, normalize: &Normalize) -> Result<Self> {
        check_counts(source.counts, source.n)?;
        let split = load_split(source.data, source.data_dir, source.block)?;
        let balanced = Counts::Balanced(source.n);
        let misuse = |error: DatasetError| Misuse(error.to_string());
        let select =
            |task: &Task| task.select(&split.train, source.counts.unwrap_or(&balanced)).map_err(misuse);
        let (mut sets, mut label_scale) = (Vec::new(), None);
        let (train, held_out) = match task {
            VictimTask::Labels(task) => {
                let (train, held_out) = (select(task)?, task.held_out_labelled(&split.test, HELD_OUT)?);
                // A label that only held-out examples have gets an output, too.
                sets = classes_of(task, train.label_count.max(held_out.label_count));
                (labelled(train), labelled(held_out))
            }
            VictimTask::Regression => {
                let all: Task = "classes".parse()?;
                let train = select(&all)?.dataset;
                let held_out = all.held_out_labelled(&split.test, HELD_OUT)?.dataset;
                let scale = scale_of(train.labels());
                label_scale = Some(scale);
                (numbers(train, scale), numbers(held_out, scale))
            }
        };
        let shape = train.dataset.shape();
        let (raw, raw_held_out) = (train.dataset.inputs(), held_out.dataset.inputs());
        let apply = scaling(normalize, raw, shape)?;
        Ok(Self {
            inputs: apply(raw),
            held_out_inputs: apply(raw_held_out),
            train: train.goals,
            held_out: held_out.goals,
            sets,
            label_scale,
            shape,
        })
    }

    /// Number of outputs of a network for this task and loss.
    pub(super) fn outputs(&self, loss: Loss) -> usize {
        match (&self.train, loss) {
            (Goals::Signs(_), Loss::Softmax { .. }) => 2,
            (Goals::Signs(_) | Goals::Values(_), _) => 1,
            (Goals::Classes(_), _) => self.sets.len(),
        }
    }

    /// Channels, height and width, if an input is an image.
    pub(super) fn image_shape(&self) -> Option<[usize; 3]> {
        match self.shape {
            InputShape::Image { channels, height, width } => Some([channels, height, width]),
            InputShape::Vector { .. } => None,
        }
    }

    /// Checksum of the training inputs as the network sees them and of their targets.
    pub(super) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for value in &self.inputs {
            hasher.update(&value.to_le_bytes());
        }
        let mut add = |value: f64| {
            hasher.update(&value.to_le_bytes());
        };
        match &self.train {
            Goals::Signs(signs) => signs.iter().for_each(|&sign| add(f64::from(sign))),
            Goals::Classes(classes) => classes.iter().for_each(|&class| add(class as f64)),
            Goals::Values(values) => values.iter().for_each(|&value| add(value)),
        }
        hasher.finalize().to_string()
    }

    /// Share of the held-out examples that `network` classifies right; for regression, to whose label its output is nearer
    /// than to the other labels.
    pub(super) fn accuracy(&self, network: &Mlp<f32>, loss: Loss, parallelism: Parallelism) -> f64 {
        let out = outputs(network, self.held_out_inputs.view(), parallelism);
        let targets = self.held_out.targets(loss);
        let right = match &self.held_out {
            Goals::Values(values) => {
                let nearest = |output: f64| {
                    let distance = |value: &&f64| (**value - output).abs();
                    values.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).copied()
                };
                let first = out.column(0);
                let told = first.iter().map(|&output| nearest(f64::from(output)));
                told.zip(values).filter(|(told, value)| *told == Some(**value)).count()
            }
            _ => out.rows().into_iter().zip(targets.iter()).filter(|(row, t)| !t.is_missed(*row)).count(),
        };
        right as f64 / targets.len().max(1) as f64
    }
}

/// Examples with signs where the task has two labels, else with class numbers.
fn labelled(set: LabelledSet) -> Selected {
    let classes: Vec<usize> = set.labels.iter().map(|&Label(label)| label).collect();
    let dataset = set.dataset.clone();
    let goals = match set.into_binary() {
        Some(BinarySet { signs, .. }) => {
            Goals::Signs(signs.iter().map(|&s| if s > 0.0 { 1 } else { -1 }).collect())
        }
        None => Goals::Classes(classes),
    };
    Selected { dataset, goals }
}

/// Examples whose labels are numbers, brought to the units of a mean and a deviation.
fn numbers(dataset: Dataset, (mean, deviation): (f64, f64)) -> Selected {
    let value = |&label: &u8| (f64::from(label) - mean) / deviation;
    Selected { goals: Goals::Values(dataset.labels().iter().map(value).collect()), dataset }
}

/// The classes of each of so many labels.
fn classes_of(task: &Task, labels: usize) -> Vec<Vec<u8>> {
    let of = |label| (0..=u8::MAX).filter(|&class| task.label(class) == Some(Label(label))).collect();
    (0..labels).map(of).collect()
}

/// Mean and deviation of labels; a deviation of 0 counts as 1.
fn scale_of(labels: &[u8]) -> (f64, f64) {
    let n = labels.len() as f64;
    let mean = labels.iter().map(|&label| f64::from(label)).sum::<f64>() / n;
    let variance = labels.iter().map(|&label| (f64::from(label) - mean).powi(2)).sum::<f64>() / n;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}

/// From raw inputs (any number, d) to what the network sees.
type Scaling = Box<dyn Fn(ArrayView2<'_, f32>) -> Array2<f32>>;

/// What is done to raw inputs (any number, d), fitted on those of the training examples.
fn scaling(normalize: &Normalize, train: ArrayView2<'_, f32>, shape: InputShape) -> Result<Scaling> {
    Ok(match (normalize, shape) {
        (Normalize::None, _) => Box::new(|raw| raw.to_owned()),
        (Normalize::MeanImage, InputShape::Image { .. }) => {
            let mean = PixelMean::fit(train);
            Box::new(move |raw| mean.center(raw).view().to_owned())
        }
        (Normalize::MeanImage, InputShape::Vector { .. }) => {
            let columns = ZScore::fit(train);
            Box::new(move |raw| columns.apply(raw))
        }
        (Normalize::Channels(given), shape) => {
            let (channels, area) = match shape {
                InputShape::Image { channels, height, width } => (channels, height * width),
                InputShape::Vector { len } => (1, len),
            };
            if given.len() != 1 && given.len() != channels {
                bail!(Misuse(format!(
                    "--normalize has {} means; one for all or {channels} are needed",
                    given.len()
                )));
            }
            let of = |pixel: usize| given[if given.len() == 1 { 0 } else { pixel / area }];
            let means: Array1<f32> = (0..train.ncols()).map(|pixel| of(pixel).0).collect();
            let deviations: Array1<f32> = (0..train.ncols()).map(|pixel| of(pixel).1).collect();
            Box::new(move |raw| (&raw - &means) / &deviations)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: usize) -> Source<'static> {
        Source { data: DataName::Mnist, data_dir: None, block: None, counts: None, n }
    }

    fn load(task: &str, n: usize, normalize: &str) -> Learned {
        let (task, normalize) = (task.parse().unwrap(), normalize.parse().unwrap());
        Learned::load(source(n), &task, &normalize).unwrap()
    }

    #[test]
    fn each_task_has_its_targets_and_outputs() {
        let softmax = Loss::Softmax { label_smoothing: 0.0 };
        let ten = load("classes", 50, "mean-image");
        assert_eq!((ten.outputs(softmax), ten.sets.len(), ten.inputs.dim()), (10, 10, (50, 784)));
        let two = load("odd-even", 10, "none");
        assert_eq!((two.outputs(Loss::Logistic), two.outputs(softmax)), (1, 2));
        let Targets::Classes(classes) = two.train.targets(softmax) else { panic!("not classes") };
        let Targets::Signs(signs) = two.train.targets(Loss::Logistic) else { panic!("not signs") };
        assert!(classes.iter().zip(&signs).all(|(&class, &sign)| (class == 1) == (sign == 1)));
        let numbers = load("regression", 20, "none");
        let Targets::Values(values) = numbers.train.targets(Loss::Squared) else { panic!("not values") };
        assert!(values.sum().abs() < 1e-9 && (values.mapv(|v| v * v).sum() / 20.0 - 1.0).abs() < 1e-9);
        assert_ne!(load("classes", 50, "none").digest(), ten.digest());
    }

    #[test]
    fn inputs_are_brought_to_the_units_asked_for() {
        let (raw, scaled) = (load("classes", 20, "none"), load("classes", 20, "0.1307,0.3081"));
        let expected = raw.inputs.mapv(|v| (v - 0.1307) / 0.3081);
        assert!((&scaled.inputs - &expected).iter().all(|e| e.abs() < 1e-5));
        let task = "classes".parse().unwrap();
        let wrong = "0.1,0.2,0.3,0.3,0.3,0.3".parse().unwrap();
        let Err(error) = Learned::load(source(20), &task, &wrong) else { panic!("it was taken") };
        assert!(error.to_string().contains("has 3 means"), "{error}");
    }
}
