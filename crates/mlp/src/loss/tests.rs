use ndarray::{Axis, array};
use palimpsest_autograd::{Tape, Var};
use proptest::prelude::*;

use super::*;

/// The sum over the examples of `loss` at outputs (n, C) on a tape: the slow twin.
pub(crate) fn on_tape<'t>(loss: Loss, outputs: Var<'t, f64>, targets: &Targets) -> Var<'t, f64> {
    let (n, classes) = outputs.shape();
    let goals = Array2::from_shape_fn((n, classes), |(i, c)| targets.at(i).value(c));
    let goals = |smoothing: f64| {
        outputs.tape().var(goals.mapv(|goal| goal * (1.0 - smoothing) + smoothing / classes as f64))
    };
    match loss {
        Loss::Logistic => (goals(0.0) * outputs).scale(-1.0).softplus(1.0).sum(),
        Loss::Softmax { label_smoothing } => {
            outputs.log_sum_exp_rows().sum() - goals(label_smoothing).inner(outputs)
        }
        Loss::Squared => (outputs - goals(0.0)).square_norm(),
    }
}

/// Every loss with targets that fit it, n of them at `classes` outputs where it takes so many.
pub(crate) fn any_loss(classes: usize, n: usize) -> impl Strategy<Value = (Loss, Targets)> {
    let signs = || prop::collection::vec(prop::sample::select(vec![-1, 1]), n).prop_map(Targets::Signs);
    let labels = move || prop::collection::vec(0..classes, n).prop_map(Targets::Classes);
    let values = prop::collection::vec(-2.0..2.0_f64, n * classes)
        .prop_map(move |v| Targets::Values(Array2::from_shape_vec((n, classes), v).unwrap()));
    if classes == 1 {
        prop_oneof![
            signs().prop_map(|t| (Loss::Logistic, t)),
            signs().prop_map(|t| (Loss::Squared, t)),
            values.prop_map(|t| (Loss::Squared, t)),
        ]
        .boxed()
    } else {
        prop_oneof![
            labels().prop_map(|t| (Loss::Softmax { label_smoothing: 0.0 }, t)),
            (labels(), 0.01..0.9_f64).prop_map(|(t, e)| (Loss::Softmax { label_smoothing: e }, t)),
            labels().prop_map(|t| (Loss::Squared, t)),
            values.prop_map(|t| (Loss::Squared, t)),
        ]
        .boxed()
    }
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-11 * expected.abs().max(1.0)
}

proptest! {
    #[test]
    fn values_and_pulls_agree_with_the_tape(
        ((loss, targets), outputs) in (1_usize..6, 1_usize..5).prop_flat_map(|(classes, n)| {
            let outputs = prop::collection::vec(-20.0..20.0_f64, n * classes);
            (any_loss(classes, n), outputs.prop_map(move |o| Array2::from_shape_vec((n, classes), o).unwrap()))
        }),
    ) {
        let tape = Tape::new();
        let on = tape.var(outputs.clone());
        let total = super::tests::on_tape(loss, on, &targets);
        let values = loss.values(outputs.view(), &targets);
        prop_assert!(close(values.iter().sum(), total.item()), "{:?}: {:?}", loss, values);
        let pull = loss.pull(outputs.view(), &targets);
        let gradient = tape.grad(total, &[on])[0].value();
        prop_assert!(pull.iter().zip(&gradient).all(|(&p, &g)| close(p, -g)), "{:?}", loss);
        for (log, value) in loss.log_values(outputs.view(), &targets).iter().zip(&values) {
            prop_assert!(close(log.exp(), *value));
        }
        let terms: Vec<f64> =
            outputs.rows().into_iter().zip(targets.iter()).map(|(row, t)| loss.term(row, t)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        prop_assert!(close(loss.log_mean(&terms).exp(), mean));
        // The gradient of the mean loss, and of its logarithm where there is one to descend.
        let log_mean = loss.log_mean(&terms);
        let mut scales = vec![(Scale::mean(log_mean, terms.len()), 1.0 / terms.len() as f64)];
        if loss.vanishes() {
            scales.push((Scale::log_of_mean(log_mean, terms.len()), 1.0 / terms.len() as f64 / mean));
        }
        for (scale, factor) in scales {
            let mut out = Array2::zeros(outputs.dim());
            for (i, row) in outputs.rows().into_iter().enumerate() {
                loss.derivative_into(row, targets.at(i), terms[i], scale, out.row_mut(i));
            }
            // Where the loss is tiny, the tape's gradient has absolute precision only.
            prop_assert!(out.iter().zip(&gradient).all(|(&o, &g)| close(o / factor, g)), "{:?}", loss);
        }
    }

    #[test]
    fn two_logits_are_one_output(a in -30.0..30.0_f64, b in -30.0..30.0_f64, first in any::<bool>()) {
        let (class, sign) = if first { (0, -1) } else { (1, 1) };
        let (two, one) = (array![[a, b]], array![[b - a]]);
        let (softmax, logistic) = (Loss::Softmax { label_smoothing: 0.0 }, Loss::Logistic);
        let (classes, signs) = (Targets::Classes(vec![class]), Targets::Signs(vec![sign]));
        let value = |loss: Loss, outputs: &Array2<f64>, targets| loss.log_values(outputs.view(), targets)[0];
        prop_assert!(close(value(softmax, &two, &classes), value(logistic, &one, &signs)));
        let pull = softmax.pull(two.view(), &classes);
        prop_assert!(close(pull[[0, 1]], logistic.pull(one.view(), &signs)[[0, 0]]));
        prop_assert!(close(pull[[0, 0]], -pull[[0, 1]]));
    }
}

#[test]
fn a_loss_that_underflows_keeps_its_logarithm_and_its_direction() {
    let loss = Loss::Softmax { label_smoothing: 0.0 };
    let (outputs, targets) = (array![[0.0, 1000.0, 1.0], [999.0, 0.0, 0.0]], Targets::Classes(vec![1, 0]));
    assert_eq!(loss.values(outputs.view(), &targets), [0.0, 0.0]);
    let logs = loss.log_values(outputs.view(), &targets);
    assert!(close(logs[0], -1000.0 + (1.0 + 1_f64.exp()).ln()) && close(logs[1], -999.0 + 2_f64.ln()));
    let terms: Vec<f64> = (0..2).map(|i| loss.term(outputs.row(i), targets.at(i))).collect();
    let scale = Scale::log_of_mean(loss.log_mean(&terms), 2);
    let mut out = Array2::<f64>::zeros((2, 3));
    for i in 0..2 {
        loss.derivative_into(outputs.row(i), targets.at(i), terms[i], scale, out.row_mut(i));
    }
    assert!(close(-out[[0, 1]] - out[[1, 0]], 1.0), "the shares sum to one: {out}");
    assert!(out.sum_axis(Axis(1)).iter().all(|&sum| close(sum, 0.0)), "{out}");
    assert!(close(out[[0, 2]] / out[[0, 0]], 1_f64.exp()), "{out}");
}

#[test]
fn a_nan_output_is_not_hidden() {
    for (loss, outputs, targets) in [
        (Loss::Logistic, array![[f64::NAN]], Targets::Signs(vec![1])),
        (Loss::Softmax { label_smoothing: 0.0 }, array![[0.0, f64::NAN]], Targets::Classes(vec![0])),
        (Loss::Softmax { label_smoothing: 0.1 }, array![[f64::NAN, 0.0]], Targets::Classes(vec![1])),
        (Loss::Softmax { label_smoothing: 0.0 }, array![[0.0, f64::INFINITY]], Targets::Classes(vec![0])),
        (Loss::Squared, array![[f64::NAN, 0.0]], Targets::Values(array![[0.0, 0.0]])),
    ] {
        let term = loss.term(outputs.row(0), targets.at(0));
        let log_mean = loss.log_mean(&[term]);
        // Minus infinity is the log of a loss of 0, which only a loss that can be 0 may have.
        assert!(!log_mean.is_finite(), "{loss:?}: {log_mean}");
        assert!(loss.vanishes() || log_mean != f64::NEG_INFINITY, "{loss:?}: {log_mean}");
    }
}

#[test]
fn ties_are_misses() {
    let missed = |outputs: Array2<f64>, target: Target<'_>| target.is_missed(outputs.row(0));
    assert!(missed(array![[0.0]], Target::Sign(1)) && missed(array![[0.0]], Target::Sign(-1)));
    assert!(!missed(array![[-0.1]], Target::Sign(-1)) && missed(array![[-0.1]], Target::Sign(1)));
    assert!(
        missed(array![[1.0, 1.0, 0.0]], Target::Class(1)) && !missed(array![[1.0, 1.5]], Target::Class(1))
    );
}

#[test]
fn targets_of_another_kind_are_named() {
    let classes = Targets::Classes(vec![0, 1]);
    let error = Loss::Logistic.check(&classes, 2).unwrap_err().to_string();
    assert!(error.contains("signs at one output") && error.contains("got classes at 2 outputs"), "{error}");
    let error = Loss::Softmax { label_smoothing: 0.0 }.check(&classes, 1).unwrap_err().to_string();
    assert!(error.contains("two or more outputs"), "{error}");
    for label_smoothing in [-0.1, 1.0, f64::NAN] {
        let error = Loss::Softmax { label_smoothing }.check(&classes, 2).unwrap_err().to_string();
        assert!(error.contains("label_smoothing must be at least 0 and below 1"), "{error}");
    }
    assert!(Loss::Squared.check(&classes, 2).is_ok());
}

#[test]
#[should_panic(expected = "class 2 with 2 outputs")]
fn a_class_without_an_output_is_refused() {
    Loss::Squared.values(array![[0.0, 1.0]].view(), &Targets::Classes(vec![2]));
}
