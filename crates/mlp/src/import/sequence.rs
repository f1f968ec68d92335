//! Networks whose file says what is applied in which order: ONNX, Keras, scikit-learn.

use super::chain::{Chain, ChainSummary, Layer, Layout, MAX_LAYERS, listed};
use super::naming::shown;
use super::stored_activation::StoredActivation;
use super::tensor::Tensor;
use crate::MlpError;

/// One step of a network.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// A dense layer, by the places of its tensors.
    Dense { name: String, weight: usize, bias: Option<usize>, layout: Layout },
    /// A function of each number.
    Activation(StoredActivation),
    /// Known and of no effect on the chain, such as dropout; or told in a sentence.
    Passed(Option<String>),
    /// A layer of another kind.
    Other(String),
}

/// A chain and the functions that stand in it.
pub(super) struct Told {
    pub(super) chain: Chain,
    pub(super) hidden_activation: Option<StoredActivation>,
    pub(super) output_activation: Option<String>,
}

impl Told {
    /// A chain of which nothing else is known.
    pub(super) fn of(chain: Chain) -> Self {
        Self { chain, hidden_activation: None, output_activation: None }
    }
}

/// Dense layers without a layer of another kind between them.
struct Run<'s> {
    name: &'s str,
    layers: Vec<Layer>,
    widths: Vec<usize>,
    hidden: Vec<&'s StoredActivation>,
    last: Vec<&'s StoredActivation>,
    notes: Vec<String>,
    /// What stands before it.
    behind: Option<&'s str>,
    /// What stands after it.
    before: Option<&'s str>,
}

/// Takes the only run of dense layers, or the one of that name.
///
/// # Errors
/// [`MlpError::NotANetwork`] that names the layer of another kind, or the runs to choose from.
pub(super) fn arrange(
    steps: &[Step],
    tensors: &[Tensor<'_>],
    choice: Option<&str>,
) -> Result<Told, MlpError> {
    let runs = runs(steps, tensors).map_err(MlpError::NotANetwork)?;
    let chains: Vec<ChainSummary> = runs.iter().map(Run::summary).collect();
    let choose = match chains.first() {
        Some(first) => format!(
            "; chains of dense layers in it: {}; choose one, as in --chain {}",
            listed(&chains),
            shown(&first.name)
        ),
        None => String::new(),
    };
    let refused = |problem: String| Err(MlpError::NotANetwork(problem + &choose));
    let run = match (choice, runs.as_slice()) {
        (Some(choice), _) => match runs.iter().find(|run| run.name == choice) {
            Some(run) => run,
            None => return refused(format!("it has no chain of dense layers `{}`", shown(choice))),
        },
        (None, [run]) if run.behind.is_none() && run.before.is_none() => run,
        (None, _) => {
            let other = steps.iter().find_map(|step| match step {
                Step::Other(what) => Some(what.as_str()),
                _ => None,
            });
            return refused(match other {
                Some(what) => format!("it has {}; only chains of dense layers are read", shown(what)),
                None => "it has no dense layers".into(),
            });
        }
    };
    let mut notes = run.notes.clone();
    notes.dedup();
    notes.push("layers are applied in the order that the file says".into());
    if let Some(what) = run.behind {
        notes.push(format!(
            "of all that is in the file the chain `{}` is read; its inputs are the features that {} gives",
            shown(run.name),
            shown(what)
        ));
    }
    let used =
        |index: usize| run.layers.iter().any(|layer| layer.weight == index || layer.bias == Some(index));
    let chain = Chain {
        layers: run.layers.clone(),
        notes,
        apart: (0..tensors.len()).filter(|&index| !used(index)).collect(),
        name: run.name.to_owned(),
        chains,
    };
    Ok(Told { chain, hidden_activation: run.hidden_activation(), output_activation: run.output_activation() })
}

fn runs<'s>(steps: &'s [Step], tensors: &[Tensor<'_>]) -> Result<Vec<Run<'s>>, String> {
    let mut runs: Vec<Run<'s>> = Vec::new();
    let mut behind = None;
    let mut open = false;
    let mut notes = Vec::new();
    for step in steps {
        match step {
            Step::Dense { name, weight, bias, layout } => {
                let Some(&[rows, columns]) = tensors.get(*weight).map(|t| t.shape.as_slice()) else {
                    return Err(format!("the weight of `{}` is no matrix", shown(name)));
                };
                let (out, input) = if *layout == Layout::OutIn { (rows, columns) } else { (columns, rows) };
                if !open {
                    runs.push(Run {
                        name,
                        layers: Vec::new(),
                        widths: vec![input],
                        hidden: Vec::new(),
                        last: Vec::new(),
                        notes: std::mem::take(&mut notes),
                        behind,
                        before: None,
                    });
                    open = true;
                }
                let run = runs.last_mut().expect("one is open");
                if run.layers.len() == MAX_LAYERS {
                    return Err(format!("it has more than {MAX_LAYERS} layers"));
                }
                let last = std::mem::take(&mut run.last);
                run.hidden.extend(last);
                run.layers.push(Layer { weight: *weight, bias: *bias, layout: *layout });
                run.widths.push(out);
            }
            Step::Activation(activation) => {
                if let Some(run) = runs.last_mut().filter(|_| open) {
                    run.last.push(activation);
                }
            }
            Step::Passed(note) => match runs.last_mut().filter(|_| open) {
                Some(run) => run.notes.extend(note.clone()),
                None => notes.extend(note.clone()),
            },
            Step::Other(what) => {
                if let Some(run) = runs.last_mut().filter(|_| open) {
                    run.before = Some(what);
                }
                (behind, open) = (Some(what.as_str()), false);
            }
        }
    }
    Ok(runs)
}

impl Run<'_> {
    fn summary(&self) -> ChainSummary {
        ChainSummary { name: self.name.to_owned(), widths: self.widths.clone() }
    }

    /// What stands between all layers; nothing at all is the identity.
    fn hidden_activation(&self) -> Option<StoredActivation> {
        let between = self.layers.len() - 1;
        let first = self.hidden.first()?;
        if self.hidden.len() == between && self.hidden.iter().all(|a| a == first) {
            return Some((*first).clone());
        }
        let all: Vec<String> = self.hidden.iter().map(|a| a.to_string()).collect();
        Some(StoredActivation::Named(format!("{} for {between} places", all.join(", "))))
    }

    fn output_activation(&self) -> Option<String> {
        Some(match self.last.as_slice() {
            [] => "linear".to_owned(),
            several => several.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}
