use ndarray::{Axis, s};
use palimpsest_autograd::{Tape, Var};
use palimpsest_mlp::{BiasPlacement, Dense};
use palimpsest_numerics::factor::orthonormal_rows;
use palimpsest_numerics::gemm::matmul;
use palimpsest_numerics::seed::Seed;
use proptest::prelude::*;

use super::*;
use crate::outputs::Label;

const SEQUENTIAL: Parallelism = Parallelism::Sequential;

/// A random network, which of its layers count, candidates with multipliers, and a kind of task.
#[derive(Debug)]
struct Problem {
    net: Mlp<f64>,
    scope: Scope,
    pull: OutputPull,
    terms: TermWeights,
    x: Array2<f64>,
    lambda: Array1<f64>,
    seed: Seed,
}

fn draw(rows: usize, cols: usize, seed: Seed) -> Array2<f64> {
    Mlp::initialise(&[cols, rows], BiasPlacement::Nowhere, 1.0, seed).layers()[0].weight.clone()
}

fn problems() -> impl Strategy<Value = Problem> {
    let placements = [BiasPlacement::FirstLayer, BiasPlacement::Everywhere, BiasPlacement::Nowhere];
    let sizes = (prop::collection::vec(1usize..=8, 2..=4), 1usize..=6, 2usize..=4);
    let scopes = prop::sample::select(vec![Scope::FirstLayer, Scope::AllLayers]);
    (sizes, prop::sample::select(placements.to_vec()), scopes, 0..4, any::<u64>()).prop_map(
        |((mut widths, m, classes), placement, scope, kind, seed)| {
            let seed = Seed::new(seed);
            widths.push(if kind >= 2 { classes } else { 1 });
            let net = Mlp::initialise(&widths, placement, 0.7, seed.named("network"));
            let pull = match kind {
                0 => OutputPull::Binary((0..m).map(|i| Label((i + 1) % 2)).collect()),
                1 => OutputPull::Regression(m),
                2 => OutputPull::Margin((0..m).map(|i| Label((i + 1) % classes)).collect()),
                _ => OutputPull::Softmax((0..m).map(|i| Label((i + 1) % classes)).collect()),
            };
            let column = |rows, name| draw(rows, 1, seed.named(name)).remove_axis(Axis(1));
            let positive = |rows, name| column(rows, name).mapv(f64::abs);
            let depth = net.depth();
            let terms = TermWeights {
                weights: positive(depth, "weight terms").to_vec(),
                biases: positive(depth, "bias terms").to_vec(),
            };
            let lambda = if kind == 1 { column(m, "multipliers") } else { positive(m, "multipliers") };
            Problem { x: draw(m, widths[0], seed.named("x")), net, scope, pull, terms, lambda, seed }
        },
    )
}

impl Problem {
    fn evaluate(
        &self,
        activation: Activation,
        x: &Array2<f64>,
        lambda: &Array1<f64>,
    ) -> StationarityResidual<f64> {
        let mut residual = StationarityResidual::new(&self.net, lambda.len(), self.scope);
        residual.evaluate(&self.net, activation, &self.pull, x.view(), lambda.view(), SEQUENTIAL);
        residual
    }

    fn objective(&self, activation: Activation, x: &Array2<f64>, lambda: &Array1<f64>) -> f64 {
        let mut residual = StationarityResidual::new(&self.net, lambda.len(), self.scope);
        residual
            .evaluate(&self.net, activation, &self.pull, x.view(), lambda.view(), SEQUENTIAL)
            .total(&self.terms)
    }

    fn gradient(&self, activation: Activation) -> (Array2<f64>, Array1<f64>) {
        let mut residual = self.evaluate(activation, &self.x, &self.lambda);
        let (mut dx, mut dlambda) =
            (Array2::from_elem(self.x.dim(), f64::NAN), Array1::from_elem(self.lambda.len(), f64::NAN));
        residual.gradient(
            &self.net,
            activation,
            &self.terms,
            self.x.view(),
            &mut dx,
            &mut dlambda,
            SEQUENTIAL,
        );
        (dx, dlambda)
    }

    /// Slope of the objective along a random direction of x and lambda, its half-width of difference, and size.
    fn differences(&self, activation: Activation, move_x: f64, step: f64) -> (f64, f64, f64) {
        let v = draw(self.x.nrows(), self.x.ncols(), self.seed.named("direction of x")) * move_x;
        let u = draw(self.x.nrows(), 1, self.seed.named("direction of lambda")).remove_axis(Axis(1));
        let (dx, dlambda) = self.gradient(activation);
        let slope = (&dx * &v).sum() + (&dlambda * &u).sum();
        let at = |t: f64| self.objective(activation, &(&self.x + &(&v * t)), &(&self.lambda + &(&u * t)));
        let size = (&dx * &v).mapv(f64::abs).sum() + (&dlambda * &u).mapv(f64::abs).sum();
        (slope, (at(step) - at(-step)) / (2.0 * step), size.max(at(0.0)))
    }
}

/// Each parameter as (rows, cols), with whether it is a bias and its layer.
fn parts(net: &Mlp<f64>) -> Vec<(bool, usize, Array2<f64>)> {
    let of_layer = |(l, dense): (usize, &Dense<f64>)| {
        let bias = dense.bias.clone().map(|b| (true, l, b.insert_axis(Axis(0))));
        [Some((false, l, dense.weight.clone())), bias].into_iter().flatten()
    };
    net.layers().iter().enumerate().flat_map(of_layer).collect()
}

/// What the sign of a task pulls on, from its definition.
fn direction(pull: &OutputPull, output: &[f64], i: usize) -> Vec<f64> {
    match pull {
        OutputPull::Binary(labels) => vec![labels[i].sign()],
        OutputPull::Regression(_) => vec![1.0],
        OutputPull::Softmax(labels) => {
            let Label(label) = labels[i];
            let others: f64 = (0..output.len()).filter(|&c| c != label).map(|c| output[c].exp()).sum();
            let pull = |c: usize| if c == label { 1.0 } else { -output[c].exp() / others };
            (0..output.len()).map(pull).collect()
        }
        OutputPull::Margin(labels) => {
            let Label(label) = labels[i];
            // Of equals, the first: dead candidates give the same output everywhere.
            let others = (0..output.len()).rev().filter(|&j| j != label);
            let strongest = others.max_by(|&a, &b| output[a].partial_cmp(&output[b]).unwrap()).unwrap();
            let sign = |j| f64::from(u8::from(j == label)) - f64::from(u8::from(j == strongest));
            (0..output.len()).map(sign).collect()
        }
    }
}

fn close(found: &Array2<f64>, expected: &Array2<f64>) -> bool {
    let size = expected.iter().fold(0.0_f64, |size, e| size.max(e.abs()));
    found.dim() == expected.dim() && (found - expected).iter().all(|e| e.abs() <= 1e-9 * size.max(1e-3))
}

#[test]
fn weighed_equations_have_the_gradient_of_their_weighed_squares() {
    // One hidden layer: its equation holds slopes only, so differences agree with their curvature.
    let net = Mlp::<f64>::initialise(&[3, 6, 1], BiasPlacement::FirstLayer, 0.7, Seed::new(1));
    let pull = OutputPull::Binary([1, 0, 1, 0].map(Label).to_vec());
    let (x, lambda) = (draw(4, 3, Seed::new(2)), Array1::from(vec![0.5, 1.0, 0.2, 0.7]));
    let (neurons, inputs) = ([3.0, 0.5, 1.0, 2.0, 0.1, 1.5], [0.2, 1.0, 4.0]);
    let activation = Activation::SigmoidGate { alpha: 2.0 };
    let at = |x: &Array2<f64>, lambda: &Array1<f64>| {
        let mut residual = StationarityResidual::new(&net, 4, Scope::FirstLayer);
        residual.evaluate(&net, activation, &pull, x.view(), lambda.view(), SEQUENTIAL);
        residual
    };
    let squares = |x: &Array2<f64>, lambda: &Array1<f64>| {
        let residual = at(x, lambda);
        let first = &residual.residual().layers()[0];
        let weights = first.weight.indexed_iter().map(|((j, k), r)| neurons[j] * inputs[k] * r * r);
        let biases = first.bias.iter().flatten().zip(neurons).map(|(r, neuron)| neuron * r * r);
        weights.chain(biases).sum::<f64>()
    };
    let mut residual = at(&x, &lambda);
    residual.weigh_first_layer(&neurons, &inputs);
    let (mut dx, mut dlambda) = (Array2::zeros((4, 3)), Array1::zeros(4));
    residual.gradient(
        &net,
        activation,
        &TermWeights::uniform(3),
        x.view(),
        &mut dx,
        &mut dlambda,
        SEQUENTIAL,
    );
    let (v, u) = (draw(4, 3, Seed::new(3)), draw(4, 1, Seed::new(4)).remove_axis(Axis(1)));
    let along = |t: f64| squares(&(&x + &(&v * t)), &(&lambda + &(&u * t)));
    let (slope, step) = ((&dx * &v).sum() + (&dlambda * &u).sum(), 1e-6);
    let difference = (along(step) - along(-step)) / (2.0 * step);
    assert!((slope - difference).abs() < 1e-6 * slope.abs().max(1.0), "{slope} {difference}");
}

proptest! {
    #[test]
    fn closed_form_agrees_with_the_tape(problem in problems(), alpha in 0.5..30.0_f64) {
        let Problem { net, scope, pull, terms, x, lambda, .. } = &problem;
        let activation = Activation::SigmoidGate { alpha };
        let tape = Tape::new();
        let theta: Vec<Var<'_, f64>> = parts(net).into_iter().map(|(.., p)| tape.var(p)).collect();
        let (x_var, c) = (tape.var(x.clone()), tape.var(lambda.clone().insert_axis(Axis(1))));
        let (mut rest, mut h) = (theta.iter(), x_var);
        for (l, layer) in net.layers().iter().enumerate() {
            let mut z = h.matmul(rest.next().unwrap().t());
            if layer.bias.is_some() {
                z = z + rest.next().unwrap().broadcast_to(z.shape());
            }
            h = if l + 1 < net.depth() { z.relu_gated(alpha) } else { z };
        }
        let outputs = h.value();
        let rows: Vec<f64> =
            (0..x.nrows()).flat_map(|i| direction(pull, &outputs.row(i).to_vec(), i)).collect();
        let directions = tape.var(Array2::from_shape_vec(outputs.dim(), rows).unwrap());
        let pulled = (h * directions).sum_rows().inner(c);
        let residuals: Vec<Var<'_, f64>> =
            theta.iter().zip(tape.grad(pulled, &theta)).map(|(&t, g)| t - g).collect();

        let mut found = StationarityResidual::new(net, x.nrows(), *scope);
        let squared =
            found.evaluate(net, activation, pull, x.view(), lambda.view(), SEQUENTIAL).clone();
        prop_assert!(close(&found.outputs().to_owned(), &outputs));
        let mut total = tape.scalar(0.0);
        for ((is_bias, l, found), residual) in parts(found.residual()).into_iter().zip(&residuals) {
            let (squared, weight) = if is_bias {
                (squared.biases[l], terms.biases[l])
            } else {
                (squared.weights[l], terms.weights[l])
            };
            if !scope.holds(l) {
                prop_assert!(squared == 0.0 && found.iter().all(|&v| v == 0.0), "layer {} is not asked for", l);
                continue;
            }
            let expected = residual.square_norm();
            prop_assert!(close(&found, &residual.value()), "residual of layer {}, bias: {}", l, is_bias);
            prop_assert!((squared - expected.item()).abs() <= 1e-9 * expected.item());
            total = total + expected.scale(weight);
        }
        prop_assert!((squared.total(terms) - total.item()).abs() <= 1e-9 * total.item());

        let expected = tape.grad(total, &[x_var, c]);
        let (dx, dlambda) = problem.gradient(activation);
        prop_assert!(close(&dx, &expected[0].value()), "by x: {dx}, tape {}", expected[0].value());
        prop_assert!(close(&dlambda.insert_axis(Axis(1)), &expected[1].value()), "by lambda");
    }

    #[test]
    fn slope_along_a_direction_agrees_with_differences(problem in problems(), sharpness in 0.5..4.0_f64) {
        // The strongest other output must stay the strongest within the step: the objective jumps where it changes.
        let smooth = Activation::Softplus { beta: sharpness };
        let outputs = problem.evaluate(smooth, &problem.x, &problem.lambda).outputs().to_owned();
        let apart = |row: ndarray::ArrayView1<'_, f64>| {
            row.iter().enumerate().all(|(i, a)| row.iter().skip(i + 1).all(|b| (a - b).abs() > 1e-3))
        };
        prop_assume!(outputs.rows().into_iter().all(apart));
        // The shares of the softmax are held in a step, as gates are: their slope is declared to be none.
        if !matches!(problem.pull, OutputPull::Softmax(_)) {
            let (slope, difference, size) = problem.differences(smooth, 1.0, 1e-5);
            prop_assert!((slope - difference).abs() <= 1e-6 * size, "{slope}, by differences {difference}");
        }
        // A gated slope is declared, not that of the value; but in lambda the objective is a plain parabola.
        let gated = Activation::SigmoidGate { alpha: sharpness };
        let (slope, difference, size) = problem.differences(gated, 0.0, 0.1);
        prop_assert!((slope - difference).abs() <= 1e-9 * size, "{slope}, by differences {difference}");
    }
}

#[test]
#[should_panic(expected = "directions: 1 outputs do not fit")]
fn classes_need_several_outputs() {
    OutputPull::Margin(vec![Label(0)])
        .directions(Array2::<f64>::zeros((1, 1)).view(), &mut Array2::zeros((1, 1)));
}

#[test]
fn what_is_left_out_of_an_equation_does_not_count_and_its_gradient_agrees_with_differences() {
    let seed = Seed::new(11);
    let net = Mlp::<f64>::initialise(&[4, 9, 3, 1], BiasPlacement::FirstLayer, 0.7, seed);
    let alike = [1.0_f32; 9];
    let unlike = [0.5, 2.0, 1.0, 0.1, 3.0, 1.5, 0.7, 1.0, 4.0];
    for (given, neurons) in [(None, alike), (Some(unlike.as_slice()), unlike)] {
        let deltas = draw(2, 9, seed.named("known"));
        let left = draw(9, 5, seed.named("left"));
        let (weight, bias) = (left.slice(s![.., ..4]).to_owned(), left.column(4).to_owned());
        let equation = RemainingEquation::without(weight, bias, deltas.clone(), given, SEQUENTIAL).unwrap();
        let (labels, activation) =
            (OutputPull::Binary([1, 0, 1].map(Label).to_vec()), Activation::Softplus { beta: 2.0 });
        let lambda = Array1::from(vec![0.3, 0.5, 0.2]);
        let terms = TermWeights::uniform(3);
        let mut residual = StationarityResidual::new(&net, 3, Scope::FirstLayer);
        let mut at = |x: &Array2<f64>, gradient: &mut Array2<f64>| {
            residual.evaluate(&net, activation, &labels, x.view(), lambda.view(), SEQUENTIAL);
            let first = &net.layers()[0];
            let sum = &first.weight - &residual.residual().layers()[0].weight;
            residual.leave_out(&net, &equation, SEQUENTIAL);
            let is_left = residual.residual().layers()[0].weight.clone();
            // Least squares: what is left is orthogonal to the known deltas, and what was taken is made of them.
            let weighted = &is_left * &Array1::from(neurons.map(f64::from).to_vec()).insert_axis(Axis(1));
            assert!(matmul(deltas.view(), weighted.view(), SEQUENTIAL).iter().all(|e| e.abs() < 1e-6));
            let taken = &left.slice(s![.., ..4]) - &sum - &is_left;
            let basis = orthonormal_rows(deltas.view(), SEQUENTIAL).unwrap();
            let outside = &taken
                - &matmul(basis.t(), matmul(basis.view(), taken.view(), SEQUENTIAL).view(), SEQUENTIAL);
            assert!(outside.iter().all(|e| e.abs() < 1e-6));
            let bias = residual.residual().layers()[0].bias.clone().unwrap();
            let squares = is_left.rows().into_iter().zip(&bias).zip(neurons);
            let value: f64 = squares
                .map(|((row, b), neuron)| f64::from(neuron) * (reduce::squared_norm(row) + b * b))
                .sum();
            residual.weigh_first_layer(&neurons.map(f64::from), &[1.0; 4]);
            let mut dlambda = Array1::zeros(3);
            residual.gradient(&net, activation, &terms, x.view(), gradient, &mut dlambda, SEQUENTIAL);
            value
        };
        let (x, step) = (draw(3, 4, seed.named("x")), 1e-5 * draw(3, 4, seed.named("direction")));
        let (mut gradient, mut unused) = (Array2::zeros((3, 4)), Array2::zeros((3, 4)));
        at(&x, &mut gradient);
        let difference = at(&(&x + &step), &mut unused) - at(&(&x - &step), &mut unused);
        let expected = 2.0 * (&gradient * &step).sum();
        assert!((difference - expected).abs() < 1e-5 * expected.abs().max(1e-9), "{difference} {expected}");
    }
}
