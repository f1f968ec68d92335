//! Networks that tell classes by several outputs, by two, or a number, trained here on small inputs.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use ndarray::{Array2, ArrayView1, Axis, concatenate};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_attack::search::annealed::DescentParams;
use palimpsest_attack::{AttackError, AttackParams, Head, Method, Reconstruction, Task, reconstruct};
use palimpsest_mlp::loss::{Loss, Targets};
use palimpsest_mlp::train::{Schedule, TrainParams, train_on};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::seed::Seed;

const EXAMPLES: usize = 20;
const INPUTS: usize = 60;

/// Centred Gaussian inputs of unequal variance.
fn inputs() -> Array2<f32> {
    let mut rng = Seed::new(8).named("inputs").rng();
    let mut inputs: Array2<f32> = Array2::random_using((EXAMPLES, INPUTS), StandardNormal, &mut rng);
    for (j, mut column) in inputs.columns_mut().into_iter().enumerate() {
        column *= 1.0 / (1.0 + 0.1 * j as f32).sqrt();
    }
    inputs -= &inputs.mean_axis(Axis(0)).expect("there are inputs");
    inputs
}

/// A network with this many outputs, trained with weight decay, biases in every layer.
fn trained(outputs: usize, loss: Loss, targets: &Targets) -> Mlp<f32> {
    let start = Mlp::initialise(
        &[INPUTS, 400, outputs],
        BiasPlacement::Everywhere,
        0.05,
        Seed::new(3).named("weights"),
    );
    let schedule = Schedule::WeightDecay { weight_decay: 4e-3, step_size: 0.1 };
    let params = TrainParams { max_epochs: 3000, loss, ..TrainParams::new(schedule) };
    let go_on = &mut |_: &palimpsest_mlp::train::Epoch<'_, f32>| ControlFlow::Continue(());
    train_on(start, inputs().view(), targets, &params, None, go_on).expect("the options are in range").network
}

fn params(task: Task) -> AttackParams {
    let norm = (0..INPUTS).map(|j| 1.0 / (1.0 + 0.1 * j as f64)).sum::<f64>().sqrt();
    let mut params =
        AttackParams::of(Method::Annealed(DescentParams { steps: 500, ..Default::default() }), 3);
    params.prior.input_range = (-1.0, 1.0);
    params.prior.input_norm = Some(norm);
    params.prior.task = task;
    params
}

fn attacked(network: &Mlp<f32>, task: Task) -> Reconstruction {
    reconstruct(network, &params(task), Seed::new(5), &|_| ControlFlow::Continue(()))
        .expect("it can be attacked")
}

/// Inputs with a candidate at a cosine above 0.9 among all, each with the label of that candidate.
fn found_inputs(found: &Reconstruction) -> Vec<(usize, usize)> {
    let norm = |v: ArrayView1<'_, f32>| v.iter().map(|v| v * v).sum::<f32>().sqrt();
    let (truth, candidates) = (inputs(), found.candidates.view());
    let best = |input: ArrayView1<'_, f32>| {
        let cosines =
            candidates.rows().into_iter().map(|row| (&row * &input).sum() / norm(row) / norm(input));
        cosines.enumerate().fold((0, -1.0), |best, this| if this.1 > best.1 { this } else { best })
    };
    let near = truth.rows().into_iter().enumerate().map(|(i, input)| (i, best(input)));
    near.filter(|(_, (_, cosine))| *cosine > 0.9).map(|(i, (row, _))| (i, found.labels[row].0)).collect()
}

#[test]
fn inputs_of_four_classes_come_back_with_their_class() {
    let classes: Vec<usize> = (0..EXAMPLES).map(|i| i % 4).collect();
    let softmax = Loss::Softmax { label_smoothing: 0.0 };
    let found = attacked(&trained(4, softmax, &Targets::Classes(classes.clone())), Task::Classification);
    assert_eq!(found.head, Head::Classes(4));
    let near = found_inputs(&found);
    assert!(near.len() >= 12, "{} of {EXAMPLES} came back", near.len());
    let right = near.iter().filter(|(input, label)| classes[*input] == *label).count();
    assert!(right + 1 >= near.len(), "{right} of {} with their class", near.len());
    assert_eq!(found.labels.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn two_outputs_are_attacked_as_their_difference() {
    let classes: Vec<usize> = (0..EXAMPLES).map(|i| i % 2).collect();
    let softmax = Loss::Softmax { label_smoothing: 0.0 };
    let two = trained(2, softmax, &Targets::Classes(classes));
    let mut layers = two.layers().to_vec();
    let last = layers.last_mut().expect("a network has layers");
    last.weight = (&last.weight.row(1) - &last.weight.row(0)).insert_axis(Axis(0));
    last.bias = last.bias.as_ref().map(|bias| ndarray::arr1(&[bias[1] - bias[0]]));
    let one = Mlp::new(layers).expect("the layers fit");
    let [of_two, of_one] = [two, one].map(|network| attacked(&network, Task::Classification));
    assert_eq!(of_two.candidates, of_one.candidates);
    assert_eq!(of_two.head, Head::Sign);
    assert!(found_inputs(&of_two).len() >= 12, "{} came back", found_inputs(&of_two).len());
}

#[test]
fn a_regression_gives_back_inputs_by_the_signs_of_its_errors() {
    let values = Array2::from_shape_fn((EXAMPLES, 1), |(i, _)| if i % 2 == 0 { 1.0 } else { -1.0 });
    let network = trained(1, Loss::Squared, &Targets::Values(values));
    let found = attacked(&network, Task::Regression);
    assert_eq!(found.head, Head::Number);
    assert!(found_inputs(&found).len() >= 8, "{} came back", found_inputs(&found).len());
}

#[test]
fn a_regression_of_several_numbers_is_refused_with_a_way_out() {
    let network = Mlp::initialise(&[INPUTS, 40, 3], BiasPlacement::Everywhere, 0.05, Seed::new(1));
    let refused =
        reconstruct(&network, &params(Task::Regression), Seed::new(1), &|_| ControlFlow::Continue(()));
    let Err(AttackError::NotAttackable(why)) = refused else { panic!("it was attacked") };
    assert!(why.contains("3 outputs") && why.contains("peek"), "{why}");
}

#[test]
fn random_weights_of_several_outputs_give_nothing_sure() {
    let network = Mlp::initialise(&[INPUTS, 400, 4], BiasPlacement::Everywhere, 0.05, Seed::new(4));
    let found = attacked(&network, Task::Classification);
    assert!(found.confidence.iter().all(|&confidence| confidence < 0.95));
    let all = concatenate![Axis(0), found.candidates.view()];
    assert!(all.iter().all(|v| v.is_finite()));
}
