//! Data options shared by the commands that may see the truth.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use ndarray::Array2;
use palimpsest_datasets::{
    Block, Counts, DataName, Dataset, DatasetError, Declared, FlatOrder, InputShape as DataShape, LabelKind,
    LoadParams, Split, Task, load_with,
};
use palimpsest_kkt::certify_pulls;
use palimpsest_mlp::loss::Loss;
use palimpsest_mlp::passes::{Scope, outputs};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::InputKind;
use palimpsest_runs::record::ChannelOrder;

use super::goals::{Examples, Goals, names_of, scale_of, sets_of};
use super::normalize::Normalize;
use super::scaling::Scaling;
use super::task::VictimTask;
use crate::attacking::input_shape::InputShape;
use crate::terminal::{Misuse, output};

/// Held-out images that every count is compared with.
pub const HELD_OUT: usize = 1000;

/// Which training set: the same options train a victim and judge its reconstruction.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// Data set: fashion-mnist, mnist, digits, breast-cancer (all embedded), cifar10 or npz (both need --data-dir).
    #[arg(long, value_name = "NAME")]
    pub data: DataName,
    /// Folder with the full data set in its official files; for npz, with train.npz and test.npz (inputs, labels).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Task: odd-even, animals-vehicles, or two sets as in 0,1,2/3,4 (the first is +1); classes for all labels, three and
    /// more sets as in 0,1/2,3/4; regression for the label as a number: whole ones are brought to mean 0 and deviation 1, real
    /// ones are taken as they are.
    #[arg(long, value_name = "TASK")]
    pub task: VictimTask,
    /// Training examples: equally many of each label, the first ones in file order [default: what --counts says, or all that
    /// train.npz holds].
    #[arg(long, value_name = "N")]
    pub n: Option<usize>,
    /// Other numbers of each label: 70/30 (the first set of the task has 70) or first:37 (in file order).
    #[arg(long, value_name = "COUNTS")]
    pub counts: Option<Counts>,
    /// Training images of one block only, so that what is tuned on and what is reported share none: dev, calibrate or report, or positions in the published file as
    /// in 2000..3000, the last left out.
    #[arg(long, value_name = "BLOCK")]
    pub block: Option<Block>,
    /// Take VALUE from every raw input before the network sees it, instead of the training mean; 0 leaves them as they are.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    pub subtract: Option<f32>,
    /// What else was done to inputs: mean-image, none, or one MEAN,STD for all channels or one for each [default: mean-image;
    /// columns of a table to mean 0 and deviation 1].
    #[arg(long, value_name = "HOW")]
    pub normalize: Option<Normalize>,
    /// Shape of an input in train.npz and test.npz of one's own, as the network takes it: 1x28x28, or 32x32x3 with the channels
    /// last; rows are read as such images [default: what the arrays, or the attack that is judged, say].
    #[arg(long, value_name = "CxHxW")]
    pub input_shape: Option<InputShape>,
}

impl DataArgs {
    /// The first `n` of a data set that is embedded, equally many of each label, without their mean.
    pub fn balanced(data: DataName, task: VictimTask, n: usize) -> Self {
        Self {
            data,
            data_dir: None,
            task,
            n: Some(n),
            counts: None,
            block: None,
            subtract: None,
            normalize: None,
            input_shape: None,
        }
    }

    /// The options as they are typed.
    pub(super) fn options(&self) -> String {
        let given = [
            ("data-dir", self.data_dir.as_ref().map(|dir| output::absolute(dir).display().to_string())),
            ("task", Some(self.task.to_string())),
            ("n", self.n.map(|n| n.to_string())),
            ("counts", self.counts.as_ref().map(ToString::to_string)),
            ("block", self.block.map(|block| block.to_string())),
            ("subtract", self.subtract.map(|value| value.to_string())),
            ("normalize", self.normalize.as_ref().map(ToString::to_string)),
            ("input-shape", self.input_shape.map(|shape| shape.to_string())),
        ];
        let typed = |(name, value): (&str, Option<String>)| Some(format!(" --{name} {}", quoted(&value?)));
        format!("--data {}{}", self.data, given.into_iter().filter_map(typed).collect::<String>())
    }

    /// What is done to inputs, by either of the two options for it.
    ///
    /// # Errors
    /// [`Misuse`] when both are given, or a number that is not finite.
    pub(super) fn normalize(&self) -> Result<Normalize, Misuse> {
        match (&self.normalize, self.subtract) {
            (Some(_), Some(_)) => Err(Misuse(
                "--subtract and --normalize exclude each other; --normalize none is --subtract 0".into(),
            )),
            (Some(normalize), None) => Ok(normalize.clone()),
            (None, None) => Ok(Normalize::MeanImage),
            (None, Some(value)) if value.is_finite() => Ok(Normalize::Channels(vec![(value, 1.0)])),
            (None, Some(value)) => {
                Err(Misuse(format!("--subtract must be a finite number, as 0 or 0.5, got {value}")))
            }
        }
    }
}

/// A value as a shell takes it.
pub(super) fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:+=".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A victim's training set, its held-out images and what is done to them.
pub struct VictimData {
    /// The training examples.
    pub train: Examples,
    /// Examples the network never saw.
    pub held_out: Examples,
    /// Labels of the file behind each label of the task, in the order of the outputs; none for a regression.
    pub sets: Vec<Vec<u8>>,
    /// What each label of the task is called; none for a regression.
    pub names: Vec<String>,
    /// Mean and deviation of the labels of the training examples, for a regression; 0 and 1 of real numbers, which are taken as
    /// they are.
    pub label_scale: Option<(f64, f64)>,
    /// What is done to raw inputs.
    pub scaling: Scaling,
    /// The data set.
    pub name: DataName,
    /// Training inputs as the network sees them, (n, d).
    pub centered: Array2<f32>,
    /// Held-out inputs by the same scaling, (k, d).
    pub held_out_centered: Array2<f32>,
    /// What an input is.
    pub shape: DataShape,
}

/// How many examples of each label `args` name, of those that are there.
fn counts(args: &DataArgs, task: &Task, train: &Dataset) -> Result<Counts, Misuse> {
    let of_task = train.labels().iter().filter(|&&class| task.label(class).is_some()).count();
    // An archive of one's own may hold the training set and nothing else, in whatever numbers.
    let own = args.data == DataName::Npz;
    match (&args.counts, args.n) {
        (Some(counts), Some(n)) if counts.total() != n => {
            Err(Misuse(format!("--counts {counts} is {} examples and --n {n}", counts.total())))
        }
        (Some(counts), _) => Ok(counts.clone()),
        (None, None) if own => Ok(Counts::FileOrder(of_task)),
        (None, Some(n)) if own && n == of_task => Ok(Counts::FileOrder(n)),
        (None, Some(n)) => Ok(Counts::Balanced(n)),
        (None, None) => Err(Misuse(format!(
            "--n is needed: {} holds {of_task} examples of task {task}, and does not say how many the network was trained on",
            train.name()
        ))),
    }
}

/// Loads a data set, or one block of it, and says how its files were read.
fn load_split(args: &DataArgs) -> Result<Split> {
    let shape = args.input_shape.map(|InputShape { sides: [channels, height, width], .. }| {
        DataShape::Image { channels, height, width }
    });
    let flat = match args.input_shape.map(|shape| shape.channels) {
        Some(ChannelOrder::Last) => FlatOrder::ChannelsLast,
        Some(ChannelOrder::First) | None => FlatOrder::ChannelsFirst,
    };
    let labels = match args.task {
        VictimTask::Regression => LabelKind::Numbers,
        VictimTask::Labels(_) => LabelKind::Classes,
    };
    let declared = Declared { shape, flat, labels };
    let params = LoadParams { data_dir: args.data_dir.as_deref(), block: args.block, declared };
    let split = load_with(args.data, &params).map_err(|error| match error {
        DatasetError::NotEmbedded | DatasetError::NoFolder | DatasetError::Block { .. } => {
            anyhow::Error::new(Misuse(error.to_string()))
        }
        error => error.into(),
    })?;
    split.readings.iter().for_each(|reading| output::note(&reading.to_string()));
    Ok(split)
}

/// What `args` select, and what it is.
struct Selected {
    train: Examples,
    held_out: Examples,
    sets: Vec<Vec<u8>>,
    names: Vec<String>,
    label_scale: Option<(f64, f64)>,
}

/// Selects the examples that `args` name.
fn select(args: &DataArgs, split: &Split) -> Result<Selected> {
    let misuse = |error: DatasetError| Misuse(error.to_string());
    if split.train.values().is_some() || split.test.values().is_some() {
        return select_values(args, split);
    }
    let numbers: Task;
    let task = match &args.task {
        VictimTask::Labels(task) => task,
        VictimTask::Regression => {
            numbers = "classes".parse()?;
            &numbers
        }
    };
    let train = task.select(&split.train, &counts(args, task, &split.train)?).map_err(misuse)?;
    let held_out = task.held_out_labelled(&split.test, HELD_OUT)?;
    if args.task == VictimTask::Regression {
        let scale = scale_of(train.dataset.labels());
        return Ok(Selected {
            train: Examples::numbers(train.dataset, scale),
            held_out: Examples::numbers(held_out.dataset, scale),
            sets: Vec::new(),
            names: Vec::new(),
            label_scale: Some(scale),
        });
    }
    // A label that only held-out examples have gets an output, too.
    let sets = sets_of(task, train.label_count.max(held_out.label_count));
    let (train, held_out) = (Examples::labelled(train), Examples::labelled(held_out));
    let occurring = [train.dataset.labels(), held_out.dataset.labels()].concat();
    let names = names_of(args.data, &sets, &occurring, matches!(train.goals, Goals::Signs(_)));
    Ok(Selected { train, held_out, sets, names, label_scale: None })
}

/// Selects the first examples, which have real numbers: these are taken as they are.
fn select_values(args: &DataArgs, split: &Split) -> Result<Selected> {
    let there = split.train.count();
    let n = match (&args.counts, args.n) {
        (Some(Counts::FileOrder(first)), None) => *first,
        (Some(Counts::FileOrder(first)), Some(n)) if *first == n => n,
        (Some(counts), _) => bail!(Misuse(format!(
            "--counts {counts} does not fit labels that are real numbers: write first:N, or --n N"
        ))),
        (None, n) => n.unwrap_or(there),
    };
    if !(1..=there).contains(&n) {
        bail!(Misuse(format!(
            "--n must be from 1 to the {there} examples that {} holds, got {n}",
            split.train.name()
        )));
    }
    let first = |set: &Dataset, n: usize| set.select(&(0..n.min(set.count())).collect::<Vec<_>>());
    let as_they_are = (0.0, 1.0);
    Ok(Selected {
        train: Examples::numbers(first(&split.train, n)?, as_they_are),
        held_out: Examples::numbers(first(&split.test, HELD_OUT)?, as_they_are),
        sets: Vec::new(),
        names: Vec::new(),
        label_scale: Some(as_they_are),
    })
}

impl VictimData {
    /// Loads and selects what `args` say.
    ///
    /// # Errors
    /// Files that cannot be read; [`Misuse`] for examples that are not there.
    pub fn load(args: &DataArgs) -> Result<Self> {
        let normalize = args.normalize()?;
        let split = load_split(args)?;
        let Selected { train, held_out, sets, names, label_scale } = select(args, &split)?;
        let shape = train.dataset.shape();
        let scaling = Scaling::fit(&normalize, train.dataset.inputs(), shape)?;
        let centered = scaling.apply(train.dataset.inputs());
        let held_out_centered = scaling.apply(held_out.dataset.inputs());
        Ok(Self {
            train,
            held_out,
            sets,
            names,
            label_scale,
            scaling,
            name: args.data,
            centered,
            held_out_centered,
            shape,
        })
    }

    /// What training example `i` is, in words: its label, or the value it has instead.
    pub(super) fn truth_name(&self, i: usize) -> String {
        match self.train.dataset.values() {
            Some(values) => values[i].to_string(),
            None => self.label_name(self.train.classes[i]),
        }
    }

    /// What a label of [`Examples::classes`] is called.
    pub fn label_name(&self, label: usize) -> String {
        self.names.get(label).cloned().unwrap_or_else(|| label.to_string())
    }

    /// What an input is.
    pub fn input_kind(&self) -> InputKind {
        match self.shape {
            DataShape::Image { .. } => InputKind::Image,
            DataShape::Vector { .. } => InputKind::Row,
        }
    }

    /// Channels, height and width, if an input is an image.
    pub fn image_shape(&self) -> Option<[usize; 3]> {
        match self.shape {
            DataShape::Image { channels, height, width } => Some([channels, height, width]),
            DataShape::Vector { .. } => None,
        }
    }

    /// Checksum of the training inputs as the network sees them and of what they are.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for value in &self.centered {
            hasher.update(&value.to_le_bytes());
        }
        self.train.goals.hash(&mut hasher);
        hasher.finalize().to_string()
    }

    /// Share of the held-out examples that `network` answers right, and how many these are; for a regression, to whose label its
    /// output is nearer than to the other labels.
    pub fn accuracy(&self, network: &Mlp<f32>, loss: Loss, parallelism: Parallelism) -> (f64, usize) {
        let out = outputs(network, self.held_out_centered.view(), parallelism);
        let all = self.held_out.count();
        (self.held_out.goals.right(out.view(), loss) as f64 / all.max(1) as f64, all)
    }

    /// What the part of the first layer's weights that no training example explains is, as a share of their norm: 0 at a stationary
    /// point of `loss` with weight decay. At the slope of the gates that fits best.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn unexplained(&self, network: &Mlp<f32>, loss: Loss, parallelism: Parallelism) -> Result<f64> {
        let (network, x) = (network.cast::<f64>(), self.centered.mapv(f64::from));
        let mut pulls =
            loss.pull(outputs(&network, x.view(), parallelism).view(), &self.train.goals.targets(loss));
        for mut pull in pulls.rows_mut() {
            let norm = pull.iter().map(|v| v * v).sum::<f64>().sqrt();
            if norm > 0.0 {
                pull.mapv_inplace(|v| v / norm);
            }
        }
        let mut best = f64::INFINITY;
        for activation in [Activation::Relu, Activation::SigmoidGate { alpha: 100.0 }] {
            let scope = Scope::FirstLayer;
            let found = certify_pulls(&network, activation, x.view(), pulls.view(), scope, parallelism)?;
            best = best.min(found.relative_residual);
        }
        Ok(best)
    }

    /// Labels of the training examples in {-1, +1}.
    ///
    /// # Errors
    /// [`Misuse`] for a task with other than two labels.
    pub fn signs(&self) -> Result<&[i8], Misuse> {
        match &self.train.goals {
            Goals::Signs(signs) => Ok(signs),
            _ => Err(Misuse("a task with two labels is needed, as odd-even or 0,1/2,3".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use palimpsest_mlp::loss::Targets;

    use super::*;

    fn args(data: &str, task: &str, n: usize) -> DataArgs {
        DataArgs::balanced(data.parse().unwrap(), task.parse().unwrap(), n)
    }

    fn message(args: &DataArgs) -> String {
        VictimData::load(args).err().unwrap().to_string()
    }

    #[test]
    fn inputs_lose_their_mean_or_the_constant_that_is_named() {
        let load = |data: &str, task: &str, subtract| {
            VictimData::load(&DataArgs { subtract, ..args(data, task, 10) }).unwrap()
        };
        for (data, task) in [("mnist", "odd-even"), ("breast-cancer", "0/1")] {
            let centred = load(data, task, None);
            let means = centred.centered.mean_axis(ndarray::Axis(0)).unwrap();
            assert!(means.iter().all(|m| m.abs() < 1e-5), "{means}");
            for value in [0.0, 0.5] {
                let constant = load(data, task, Some(value));
                let raw = constant.train.dataset.inputs();
                assert_eq!(constant.centered, &raw - value);
                assert_eq!(constant.scaling.restore(constant.centered.view()), &(&raw - value) + value);
                assert_ne!(constant.digest(), centred.digest());
            }
        }
    }

    #[test]
    fn other_numbers_of_each_label_and_other_blocks_can_be_asked_for() {
        let with = |n, counts: Option<&str>, block: Option<&str>| DataArgs {
            n,
            counts: counts.map(|counts| counts.parse().unwrap()),
            block: block.map(|block| block.parse().unwrap()),
            ..args("mnist", "odd-even", 10)
        };
        let load = |n, counts, block| VictimData::load(&with(Some(n), counts, block)).unwrap();
        let of_plus_one =
            |data: &VictimData| data.signs().unwrap().iter().filter(|&&label| label == 1).count();
        let (plain, dev) = (load(10, None, None), load(10, None, Some("dev")));
        assert_eq!(plain.digest(), dev.digest());
        assert_ne!(plain.digest(), load(10, None, Some("report")).digest());
        assert_eq!(of_plus_one(&load(10, Some("7/3"), None)), 7);
        assert_eq!(load(37, Some("19/18"), Some("report")).centered.nrows(), 37);
        assert_eq!(load(7, Some("first:7"), None).centered.nrows(), 7);
        // Where the counts say it, the number need not be said again.
        assert_eq!(VictimData::load(&with(None, Some("7/3"), None)).unwrap().centered.nrows(), 10);
        let refused = |n, counts, block| message(&with(n, counts, block));
        assert!(refused(Some(10), Some("7/4"), None).contains("is 11 examples and --n 10"));
        assert!(refused(Some(10), None, Some("calibrate")).contains("holds dev and report"));
        assert!(refused(Some(502), None, Some("report")).contains("block report"));
        assert!(refused(None, None, None).contains("--n is needed"));
    }

    #[test]
    fn binary_digests_are_those_of_earlier_victims() {
        let data = VictimData::load(&args("mnist", "odd-even", 10)).unwrap();
        let mut hasher = blake3::Hasher::new();
        let signs = data.train.dataset.labels().iter().map(|&digit| if digit % 2 == 1 { 1.0 } else { -1.0 });
        for value in data.centered.iter().copied().chain(signs) {
            hasher.update(&f32::to_le_bytes(value));
        }
        assert_eq!(data.digest(), hasher.finalize().to_string());
    }

    #[test]
    fn each_task_has_its_targets_names_and_outputs() {
        let softmax = Loss::Softmax { label_smoothing: 0.0 };
        let load = |task: &str, n| VictimData::load(&args("mnist", task, n)).unwrap();
        let ten = load("classes", 50);
        assert_eq!((ten.train.goals.outputs(softmax, ten.sets.len()), ten.centered.dim()), (10, (50, 784)));
        assert_eq!((ten.names.len(), &*ten.names[3]), (10, "3"));
        let sets = load("0,1/2,3/4", 30);
        assert_eq!(sets.names, ["0, 1", "2, 3", "4"]);
        let two = load("odd-even", 10);
        let outputs = |loss| two.train.goals.outputs(loss, two.sets.len());
        assert_eq!((outputs(Loss::Logistic), outputs(softmax)), (1, 2));
        assert_eq!(two.names, ["-1 (0, 2, 4, 6, 8)", "+1 (1, 3, 5, 7, 9)"]);
        let Targets::Classes(classes) = two.train.goals.targets(softmax) else { panic!("not classes") };
        assert!(classes.iter().zip(two.signs().unwrap()).all(|(&class, &sign)| (class == 1) == (sign == 1)));
        let numbers = load("regression", 20);
        let Goals::Values(values) = &numbers.train.goals else { panic!("not values") };
        let squares: f64 = values.iter().map(|v| v * v).sum();
        assert!(values.iter().sum::<f64>().abs() < 1e-9 && (squares / 20.0 - 1.0).abs() < 1e-9);
        assert!(numbers.signs().is_err() && ten.signs().is_err());
        let fashion = VictimData::load(&args("fashion-mnist", "classes:0,8+9", 4)).unwrap();
        assert_eq!(fashion.names[1], "+1 (bag, ankle boot)");
    }

    #[test]
    fn inputs_are_brought_to_the_units_asked_for() {
        let load = |normalize: &str| {
            let normalize = Some(normalize.parse().unwrap());
            VictimData::load(&DataArgs { normalize, ..args("mnist", "classes", 20) })
        };
        let (raw, scaled) = (load("none").unwrap(), load("0.1307,0.3081").unwrap());
        let expected = raw.centered.mapv(|v| (v - 0.1307) / 0.3081);
        assert!((&scaled.centered - &expected).iter().all(|e| e.abs() < 1e-5));
        let back = scaled.scaling.restore(scaled.centered.view());
        assert!((&back - &raw.centered).iter().all(|e| e.abs() < 1e-5));
        let error = load("0.1,0.2,0.3,0.3,0.3,0.3").err().unwrap().to_string();
        assert!(error.contains("has 3 means"), "{error}");
        let both = DataArgs {
            subtract: Some(0.0),
            normalize: Some(Normalize::None),
            ..args("mnist", "classes", 20)
        };
        assert!(message(&both).contains("exclude each other"));
    }
}
