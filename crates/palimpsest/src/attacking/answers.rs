//! What the network answers when it is shown what was found, and how the page counts that.

use ndarray::ArrayView2;
use palimpsest_attack::{Label, Task};
use palimpsest_mlp::passes::outputs;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::ClassAnswers;

use super::found::Found;

/// What the network answers to rows (m, d).
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// The class of each, (m); of two at one output, 1 is +1.
    Classes(Vec<usize>),
    /// The number of each, (m), in the units of the output.
    Numbers(Vec<f64>),
}

impl Answers {
    /// To `rows` (m, d), as the network sees inputs.
    pub fn of(found: &Found, rows: ArrayView2<'_, f32>) -> Self {
        let out = outputs(&found.network, rows, Parallelism::of_threads(rayon::current_num_threads()));
        match found.run.params.prior.task {
            Task::Regression => Self::Numbers(out.column(0).iter().map(|&v| f64::from(v)).collect()),
            Task::Classification => {
                let answered = |row: ndarray::ArrayView1<'_, f32>| Label::answered(&row.to_vec()).0;
                Self::Classes(out.rows().into_iter().map(answered).collect())
            }
        }
    }

    /// The answer to row `i` in words: the name of its class, or the number in the units of (mean, deviation).
    pub fn words(&self, i: usize, names: &[String], (mean, deviation): (f64, f64)) -> String {
        match self {
            Self::Classes(classes) => {
                let class = classes[i];
                names.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
            }
            Self::Numbers(numbers) => format!("{:.2}", mean + deviation * numbers[i]),
        }
    }
}

/// What the classes are called by whoever has nothing but the network; none for a regression.
pub fn class_names(found: &Found) -> Vec<String> {
    match (found.run.params.prior.task, found.network.outputs()) {
        (Task::Regression, _) => Vec::new(),
        (Task::Classification, 1) => vec!["-1".into(), "+1".into()],
        (Task::Classification, classes) => (0..classes).map(|class| format!("class {class}")).collect(),
    }
}

/// Most classes of which those are listed, too, that no answer names.
const ALL_LISTED: usize = 20;

/// How many of the `answers`, and of those that are `sure`, name each class.
pub(super) fn of_each_class(found: &Found, answers: &Answers, sure: &[bool]) -> Vec<ClassAnswers> {
    let Answers::Classes(classes) = answers else { return Vec::new() };
    let names = class_names(found);
    let of = |(class, name): (usize, &String)| ClassAnswers {
        name: name.clone(),
        listed: classes.iter().filter(|&&answered| answered == class).count(),
        sure: classes.iter().zip(sure).filter(|&(&answered, &sure)| sure && answered == class).count(),
    };
    let counted = names.iter().enumerate().map(of);
    counted.filter(|class| names.len() <= ALL_LISTED || class.listed > 0).collect()
}

/// What was declared of the labels of candidates.
pub(super) fn labels_declared(found: &Found) -> String {
    match (found.run.params.prior.task, found.network.outputs()) {
        (Task::Regression, _) => "errors of either sign, as many of each".into(),
        (Task::Classification, 1 | 2) => "as many of each".into(),
        (Task::Classification, classes) => format!("{classes} classes, as many candidates of each"),
    }
}
