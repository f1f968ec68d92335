//! What a network's outputs say: how many labels there are, and what each pulls on.

use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_mlp::{Dense, Mlp};
use serde::{Deserialize, Serialize};

use crate::error::AttackError;

/// What a network was trained to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Which of several classes an input is of, by the logistic or the softmax loss.
    #[default]
    Classification,
    /// A number, by the squared error.
    Regression,
}

/// What the outputs of an attacked network pull on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// One output, whose sign is the class.
    Sign,
    /// One output for each class, three or more.
    Classes(usize),
    /// One output, whose error may have either sign: the labels of candidates are those signs.
    Number,
}

impl Head {
    /// That of `network`, trained for `task`.
    ///
    /// # Errors
    /// [`AttackError::NotAttackable`] for a regression of several numbers.
    pub fn of(network: &Mlp<f32>, task: Task) -> Result<Self, AttackError> {
        match (task, network.outputs()) {
            (Task::Classification, 1) => Ok(Self::Sign),
            (Task::Classification, classes) => Ok(Self::Classes(classes)),
            (Task::Regression, 1) => Ok(Self::Number),
            (Task::Regression, outputs) => Err(AttackError::NotAttackable(format!(
                "it has {outputs} outputs, and the equation of a regression is solved for one; `peek` looks for images in its \
                 first layer all the same"
            ))),
        }
    }

    /// Labels that a candidate can have.
    pub fn labels(self) -> usize {
        match self {
            Self::Sign | Self::Number => 2,
            Self::Classes(classes) => classes,
        }
    }

    /// Labels of `m` candidates, as many of each as can be, those of a label one after the other.
    pub fn label_evenly(self, m: usize) -> Vec<Label> {
        (0..m).map(|i| Label(i * self.labels() / m)).collect()
    }

    /// What candidates with these labels pull on.
    pub fn pull(self, labels: Vec<Label>) -> OutputPull {
        match self {
            Self::Sign | Self::Number => OutputPull::Binary(labels),
            Self::Classes(_) => OutputPull::Softmax(labels),
        }
    }

    /// Labels that a training input may have for which the network answers with these `outputs` (C).
    pub fn labels_of_answer(self, outputs: &[f32]) -> Vec<Label> {
        match self {
            // A network that was trained far enough is right on its training inputs.
            Self::Sign | Self::Classes(_) => vec![Label::answered(outputs)],
            Self::Number => vec![Label::NEGATIVE, Label::POSITIVE],
        }
    }
}

/// `network` with its two outputs as one, their difference, on which alone the softmax of two depends; any other as it is.
pub fn with_one_of_two_outputs(network: &Mlp<f32>, task: Task) -> Mlp<f32> {
    if task != Task::Classification || network.outputs() != 2 {
        return network.clone();
    }
    let mut layers = network.layers().to_vec();
    let last = layers.pop().expect("a network has a layer");
    let difference = &last.weight.row(1) - &last.weight.row(0);
    let weight = difference.insert_axis(ndarray::Axis(0));
    let bias = last.bias.map(|bias| ndarray::arr1(&[bias[1] - bias[0]]));
    layers.push(Dense { weight, bias });
    Mlp::new(layers).expect("the layers fit as before")
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_mlp::passes::outputs;
    use palimpsest_numerics::gemm::Parallelism;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    #[test]
    fn two_outputs_are_their_difference() {
        let two = Mlp::<f32>::initialise(&[4, 7, 2], BiasPlacement::Everywhere, 0.5, Seed::new(1));
        let one = with_one_of_two_outputs(&two, Task::Classification);
        let x = Array2::from_shape_fn((5, 4), |(i, j)| (i as f32 - 2.0) * 0.3 + j as f32 * 0.1);
        let (both, difference) = (
            outputs(&two, x.view(), Parallelism::Sequential),
            outputs(&one, x.view(), Parallelism::Sequential),
        );
        for i in 0..5 {
            assert!((both[[i, 1]] - both[[i, 0]] - difference[[i, 0]]).abs() < 1e-5);
        }
        assert_eq!(with_one_of_two_outputs(&two, Task::Regression), two);
    }

    #[test]
    fn labels_are_shared_out_evenly_and_in_order() {
        assert_eq!(Head::Sign.label_evenly(4), [0, 0, 1, 1].map(Label));
        assert_eq!(Head::Classes(3).label_evenly(7), [0, 0, 0, 1, 1, 2, 2].map(Label));
        assert_eq!(Head::Number.labels_of_answer(&[3.0]), [Label(0), Label(1)]);
        assert_eq!(Head::Classes(3).labels_of_answer(&[3.0, 4.0, 0.0]), [Label(1)]);
    }
}
