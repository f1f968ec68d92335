//! The stationarity (KKT) equation of a trained network, its residual, and the residual's gradient.
//!
//! At a KKT point of the margin problem, or a stationary point with weight decay, the parameters are a weighted sum of
//! gradients at training inputs:
//!
//! `theta = sum_i grad_theta <g_i, Phi(x_i)>`, with `g_i = lambda_i * direction_i`.
//!
//! The direction says what the loss pulls on: `y_i` for a binary task, `1` for regression, and
//! `e_y - e_j` (label against the strongest other output) for several classes. **There is no 1/m anywhere**; the code
//! published with Haim et al. (2022) hides one, so its lambda is m times ours.
//!
//! With the residual `R = theta - sum_i ..` held fixed, `<R, grad_theta Phi(x_i)>` is the derivative of `Phi(x_i)`
//! along R. So the derivative by lambda is one tangent pass, and the derivative by x one reverse pass through it.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, s};
use palimpsest_mlp::passes::{self, Passes, Scope};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::{Real, reduce};

/// What each candidate's multiplier pulls on: the sign conventions of the stationarity equation live here.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputWeighting {
    /// One output, label y_i in {-1, +1}: `g_i = lambda_i y_i`, lambda_i >= 0.
    Binary(Vec<i8>),
    /// One output, `g_i = lambda_i` of either sign, for this many candidates.
    Regression(usize),
    /// Several outputs, label in 0..outputs: `g_i = lambda_i (e_label - e_j)` with j the strongest other output.
    Multiclass(Vec<usize>),
}

impl OutputWeighting {
    /// Number of candidates, m.
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(labels) => labels.len(),
            Self::Regression(m) => *m,
            Self::Multiclass(labels) => labels.len(),
        }
    }

    /// Whether there is no candidate.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether multipliers must be >= 0.
    pub fn signed_by_label(&self) -> bool {
        !matches!(self, Self::Regression(_))
    }

    /// Fills `directions` (m, outputs) with the direction of each candidate, given its `outputs` (m, outputs).
    ///
    /// # Panics
    /// When the shapes do not fit, or a class label is not below the number of outputs.
    #[track_caller]
    pub fn directions<T: Real>(&self, outputs: ArrayView2<'_, T>, directions: &mut Array2<T>) {
        assert_eq!(directions.dim(), outputs.dim(), "directions: shapes differ");
        assert_eq!(self.len(), outputs.nrows(), "directions: one label a candidate");
        let one_output = !matches!(self, Self::Multiclass(_));
        assert_eq!(one_output, outputs.ncols() == 1, "directions: {} outputs do not fit", outputs.ncols());
        match self {
            Self::Binary(labels) => {
                for (d, &y) in directions.iter_mut().zip(labels) {
                    *d = T::of(f64::from(y));
                }
            }
            Self::Regression(_) => directions.fill(T::one()),
            Self::Multiclass(labels) => {
                directions.fill(T::zero());
                for ((mut d, output), &label) in
                    directions.rows_mut().into_iter().zip(outputs.rows()).zip(labels)
                {
                    let mut strongest = usize::from(label == 0);
                    for j in 0..output.len() {
                        if j != label && output[j] > output[strongest] {
                            strongest = j;
                        }
                    }
                    d[label] = T::one();
                    d[strongest] = -T::one();
                }
            }
        }
    }
}

/// Weight of each term of the objective: one per weight matrix and one per bias, all >= 0.
#[derive(Clone, Debug, PartialEq)]
pub struct TermWeights {
    /// One per layer's weight matrix.
    pub weights: Vec<f64>,
    /// One per layer's bias (ignored where there is none).
    pub biases: Vec<f64>,
}

impl TermWeights {
    /// Every term counts alike: the published objective.
    pub fn uniform(depth: usize) -> Self {
        Self { weights: vec![1.0; depth], biases: vec![1.0; depth] }
    }
}

/// Memory and results of the stationarity residual for m candidates of one network.
#[derive(Clone, Debug)]
pub struct StationarityResidual<T> {
    scope: Scope,
    passes: Passes<T>,
    directions: Array2<T>,
    output_weights: Array2<T>,
    /// `theta - sum_i grad_theta <g_i, Phi(x_i)>`, later scaled by the term weights.
    residual: Mlp<T>,
    squared: SquaredResidual,
    /// Components along known signals, for [`Self::leave_out`]; empty until it is first called.
    along: Array2<T>,
}

impl<T: Real> StationarityResidual<T> {
    /// Memory for `candidates` inputs of `network`; the equation of the layers in `scope`.
    pub fn new(network: &Mlp<T>, candidates: usize, scope: Scope) -> Self {
        Self {
            scope,
            passes: Passes::new(network, candidates),
            directions: Array2::zeros((candidates, network.outputs())),
            output_weights: Array2::zeros((candidates, network.outputs())),
            residual: network.zeros_like(),
            squared: SquaredResidual {
                weights: vec![0.0; network.depth()],
                biases: vec![0.0; network.depth()],
            },
            along: Array2::zeros((0, 0)),
        }
    }

    /// Evaluates the residual at candidates `x` (m, d) with multipliers `lambda` (m); returns its squared norm per term
    /// (0 outside the scope).
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn evaluate(
        &mut self,
        network: &Mlp<T>,
        activation: Activation,
        weighting: &OutputWeighting,
        x: ArrayView2<'_, T>,
        lambda: ArrayView1<'_, T>,
        parallelism: Parallelism,
    ) -> &SquaredResidual {
        assert_eq!(
            lambda.len(),
            x.nrows(),
            "evaluate: {} candidates, {} multipliers",
            x.nrows(),
            lambda.len()
        );
        passes::forward(network, x, activation, &mut self.passes, parallelism);
        weighting.directions(self.passes.output(), &mut self.directions);
        self.output_weights.assign(&self.directions);
        for (mut row, &lambda) in self.output_weights.rows_mut().into_iter().zip(lambda) {
            row.mapv_inplace(|d| d * lambda);
        }
        passes::backward(network, self.output_weights.view(), &mut self.passes, parallelism);
        let scope = self.scope;
        for (l, (to, from)) in self.residual.layers_mut().iter_mut().zip(network.layers()).enumerate() {
            if scope.holds(l) {
                to.weight.assign(&from.weight);
                if let (Some(to), Some(from)) = (&mut to.bias, &from.bias) {
                    to.assign(from);
                }
            }
        }
        passes::parameter_gradient(
            x,
            &self.passes,
            -T::one(),
            T::one(),
            scope,
            &mut self.residual,
            parallelism,
        );
        // Layers outside the scope were never written: they are zero.
        let SquaredResidual { weights, biases } = &mut self.squared;
        passes::squared_norms_into(&self.residual, weights, biases);
        &self.squared
    }

    /// After [`Self::evaluate`]: the residual of the first layer's equation without what is known already, instead of that of
    /// the whole. `network` is the one of the evaluation.
    ///
    /// # Panics
    /// When the shapes do not fit, or the first layer has no bias.
    #[track_caller]
    pub fn leave_out(&mut self, network: &Mlp<T>, equation: &RemainingEquation<T>, parallelism: Parallelism) {
        let (first, whole) = (&mut self.residual.layers_mut()[0], &network.layers()[0]);
        let (bias, whole_bias) = (first.bias.as_mut(), whole.bias.as_ref());
        let (bias, whole_bias) = bias.zip(whole_bias).expect("leave_out: the first layer has a bias");
        first.weight -= &whole.weight;
        *bias -= whole_bias;
        equation.complete(first.weight.view_mut(), bias.view_mut(), &mut self.along, parallelism);
        let SquaredResidual { weights, biases } = &mut self.squared;
        passes::squared_norms_into(&self.residual, weights, biases);
    }

    /// Squared norm per term at the last [`Self::evaluate`] or [`Self::leave_out`].
    pub fn squared(&self) -> &SquaredResidual {
        &self.squared
    }

    /// Squared norms of the first layer's deltas at the last [`Self::evaluate`], summed over the candidates.
    pub fn squared_deltas(&self) -> f64 {
        self.passes.delta().first().map_or(0.0, |delta| reduce::squared_norm(delta.view()))
    }

    /// The residual of the last [`Self::evaluate`], in the shape of the network.
    pub fn residual(&self) -> &Mlp<T> {
        &self.residual
    }

    /// Network outputs at the last [`Self::evaluate`], (m, outputs).
    pub fn outputs(&self) -> ArrayView2<'_, T> {
        self.passes.output()
    }

    /// Gradient of `sum_terms weight * ||residual||^2` after [`Self::evaluate`] at the same point: writes it by x into
    /// `dx` (m, d) and by lambda into `dlambda` (m). The residual is scaled by the term weights in place.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn gradient(
        &mut self,
        network: &Mlp<T>,
        activation: Activation,
        terms: &TermWeights,
        x: ArrayView2<'_, T>,
        dx: &mut Array2<T>,
        dlambda: &mut Array1<T>,
        parallelism: Parallelism,
    ) {
        for (l, layer) in self.residual.layers_mut().iter_mut().enumerate() {
            let (weight, bias) = (terms.weights[l], terms.biases[l]);
            if weight != 1.0 {
                layer.weight.mapv_inplace(|v| v * T::of(weight));
            }
            if let Some(values) = &mut layer.bias
                && bias != 1.0
            {
                values.mapv_inplace(|v| v * T::of(bias));
            }
        }
        passes::tangent(network, &self.residual, self.scope, x, &mut self.passes, parallelism);
        let minus_two = T::of(-2.0);
        for ((dlambda, tangent), direction) in
            dlambda.iter_mut().zip(self.passes.output_tangent().rows()).zip(self.directions.rows())
        {
            *dlambda = minus_two * tangent.iter().zip(direction).map(|(&t, &d)| t * d).sum::<T>();
        }
        passes::tangent_input_gradient(
            network,
            &self.residual,
            self.scope,
            activation,
            minus_two,
            &mut self.passes,
            dx.view_mut(),
            parallelism,
        );
    }
}

/// The first layer's equation when some of its signals are known: both sides without their component along these.
#[derive(Clone, Debug)]
pub struct RemainingEquation<T = f32> {
    /// Left-hand side for the weights (h, q) and the bias (h), free of the known signals.
    pub weight: Array2<T>,
    /// See `weight`.
    pub bias: Array1<T>,
    /// Orthonormal basis of the known signals, (h, K).
    pub known: Array2<T>,
}

impl<T: Real> RemainingEquation<T> {
    /// Norm of the left-hand side.
    pub fn norm(&self) -> f64 {
        (reduce::squared_norm(self.weight.view()) + reduce::squared_norm(self.bias.view())).sqrt()
    }

    /// From minus the sum over the candidates, in `weight` (h, q) and `bias` (h), to the residual.
    fn complete(
        &self,
        mut weight: ArrayViewMut2<'_, T>,
        bias: ArrayViewMut1<'_, T>,
        along: &mut Array2<T>,
        parallelism: Parallelism,
    ) {
        let shape = (self.known.ncols(), weight.ncols().max(1));
        if along.dim() != shape {
            *along = Array2::zeros(shape);
        }
        let mut bias = bias.insert_axis(Axis(1));
        for mut part in [weight.view_mut(), bias.view_mut()] {
            let mut along = along.slice_mut(s![.., ..part.ncols()]);
            gemm(T::one(), self.known.t(), part.view(), T::zero(), along.view_mut(), parallelism);
            gemm(-T::one(), self.known.view(), along.view(), T::one(), part.view_mut(), parallelism);
        }
        weight += &self.weight;
        bias += &self.bias.view().insert_axis(Axis(1));
    }
}

/// Squared residual of each term of the stationarity equation.
#[derive(Clone, Debug, PartialEq)]
pub struct SquaredResidual {
    /// One per layer's weight matrix.
    pub weights: Vec<f64>,
    /// One per layer's bias; 0 where there is none.
    pub biases: Vec<f64>,
}

impl SquaredResidual {
    /// `sum_terms weight * ||residual||^2`.
    pub fn total(&self, terms: &TermWeights) -> f64 {
        let weighted =
            |values: &[f64], weights: &[f64]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>();
        weighted(&self.weights, &terms.weights) + weighted(&self.biases, &terms.biases)
    }
}

/// Norm of a network's first layer, weights and bias together: what its residual is compared with.
pub fn first_layer_norm<T: Real>(network: &Mlp<T>) -> f64 {
    let first = &network.layers()[0];
    let bias = first.bias.as_ref().map_or(0.0, |b| reduce::squared_norm(b.view()));
    (reduce::squared_norm(first.weight.view()) + bias).sqrt()
}

#[cfg(test)]
mod tests {
    use palimpsest_autograd::{Tape, Var};
    use palimpsest_mlp::{BiasPlacement, Dense};
    use palimpsest_numerics::seed::Seed;
    use proptest::prelude::*;

    use super::*;

    const SEQUENTIAL: Parallelism = Parallelism::Sequential;

    /// A random network, which of its layers count, candidates with multipliers, and a kind of task.
    #[derive(Debug)]
    struct Problem {
        net: Mlp<f64>,
        scope: Scope,
        weighting: OutputWeighting,
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
        (sizes, prop::sample::select(placements.to_vec()), scopes, 0..3, any::<u64>()).prop_map(
            |((mut widths, m, classes), placement, scope, kind, seed)| {
                let seed = Seed::new(seed);
                widths.push(if kind == 2 { classes } else { 1 });
                let net = Mlp::initialise(&widths, placement, 0.7, seed.named("network"));
                let weighting = match kind {
                    0 => OutputWeighting::Binary((0..m).map(|i| if i % 2 == 0 { 1 } else { -1 }).collect()),
                    1 => OutputWeighting::Regression(m),
                    _ => OutputWeighting::Multiclass((0..m).map(|i| (i + 1) % classes).collect()),
                };
                let column = |rows, name| draw(rows, 1, seed.named(name)).remove_axis(Axis(1));
                let positive = |rows, name| column(rows, name).mapv(f64::abs);
                let depth = net.depth();
                let terms = TermWeights {
                    weights: positive(depth, "weight terms").to_vec(),
                    biases: positive(depth, "bias terms").to_vec(),
                };
                let lambda = if kind == 1 { column(m, "multipliers") } else { positive(m, "multipliers") };
                Problem { x: draw(m, widths[0], seed.named("x")), net, scope, weighting, terms, lambda, seed }
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
            residual.evaluate(&self.net, activation, &self.weighting, x.view(), lambda.view(), SEQUENTIAL);
            residual
        }

        fn objective(&self, activation: Activation, x: &Array2<f64>, lambda: &Array1<f64>) -> f64 {
            let mut residual = StationarityResidual::new(&self.net, lambda.len(), self.scope);
            residual
                .evaluate(&self.net, activation, &self.weighting, x.view(), lambda.view(), SEQUENTIAL)
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
    fn direction(weighting: &OutputWeighting, output: &[f64], i: usize) -> Vec<f64> {
        match weighting {
            OutputWeighting::Binary(labels) => vec![f64::from(labels[i])],
            OutputWeighting::Regression(_) => vec![1.0],
            OutputWeighting::Multiclass(labels) => {
                // Of equals, the first: dead candidates give the same output everywhere.
                let others = (0..output.len()).rev().filter(|&j| j != labels[i]);
                let strongest = others.max_by(|&a, &b| output[a].partial_cmp(&output[b]).unwrap()).unwrap();
                let sign = |j| f64::from(u8::from(j == labels[i])) - f64::from(u8::from(j == strongest));
                (0..output.len()).map(sign).collect()
            }
        }
    }

    fn close(found: &Array2<f64>, expected: &Array2<f64>) -> bool {
        let size = expected.iter().fold(0.0_f64, |size, e| size.max(e.abs()));
        found.dim() == expected.dim() && (found - expected).iter().all(|e| e.abs() <= 1e-9 * size.max(1e-3))
    }

    proptest! {
        #[test]
        fn closed_form_agrees_with_the_tape(problem in problems(), alpha in 0.5..30.0_f64) {
            let Problem { net, scope, weighting, terms, x, lambda, .. } = &problem;
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
                (0..x.nrows()).flat_map(|i| direction(weighting, &outputs.row(i).to_vec(), i)).collect();
            let directions = tape.var(Array2::from_shape_vec(outputs.dim(), rows).unwrap());
            let pulled = (h * directions).sum_rows().inner(c);
            let residuals: Vec<Var<'_, f64>> =
                theta.iter().zip(tape.grad(pulled, &theta)).map(|(&t, g)| t - g).collect();

            let mut found = StationarityResidual::new(net, x.nrows(), *scope);
            let squared =
                found.evaluate(net, activation, weighting, x.view(), lambda.view(), SEQUENTIAL).clone();
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
            let (slope, difference, size) = problem.differences(smooth, 1.0, 1e-5);
            prop_assert!((slope - difference).abs() <= 1e-6 * size, "{slope}, by differences {difference}");
            // A gated slope is declared, not that of the value; but in lambda the objective is a plain parabola.
            let gated = Activation::SigmoidGate { alpha: sharpness };
            let (slope, difference, size) = problem.differences(gated, 0.0, 0.1);
            prop_assert!((slope - difference).abs() <= 1e-9 * size, "{slope}, by differences {difference}");
        }
    }

    #[test]
    #[should_panic(expected = "directions: 1 outputs do not fit")]
    fn classes_need_several_outputs() {
        OutputWeighting::Multiclass(vec![0])
            .directions(Array2::<f64>::zeros((1, 1)).view(), &mut Array2::zeros((1, 1)));
    }

    #[test]
    fn what_is_left_out_of_an_equation_does_not_count_and_its_gradient_agrees_with_differences() {
        let seed = Seed::new(11);
        let net = Mlp::<f64>::initialise(&[4, 9, 3, 1], BiasPlacement::FirstLayer, 0.7, seed);
        let known =
            palimpsest_numerics::factor::orthonormal_rows(draw(2, 9, seed.named("known")).view(), SEQUENTIAL)
                .unwrap()
                .reversed_axes()
                .as_standard_layout()
                .to_owned();
        let free = |part: Array2<f64>| {
            let mut free = part.clone();
            for signal in known.columns() {
                for (mut to, from) in free.columns_mut().into_iter().zip(part.columns()) {
                    to.scaled_add(-(&signal * &from).sum(), &signal);
                }
            }
            free
        };
        let left = free(draw(9, 5, seed.named("left")));
        let equation = RemainingEquation {
            weight: left.slice(s![.., ..4]).to_owned(),
            bias: left.column(4).to_owned(),
            known: known.clone(),
        };
        let (labels, activation) =
            (OutputWeighting::Binary(vec![1, -1, 1]), Activation::Softplus { beta: 2.0 });
        let lambda = Array1::from(vec![0.3, 0.5, 0.2]);
        let terms = TermWeights::uniform(3);
        let mut residual = StationarityResidual::new(&net, 3, Scope::FirstLayer);
        let mut at = |x: &Array2<f64>, gradient: &mut Array2<f64>| {
            residual.evaluate(&net, activation, &labels, x.view(), lambda.view(), SEQUENTIAL);
            let first = &net.layers()[0];
            let sum = &first.weight - &residual.residual().layers()[0].weight;
            residual.leave_out(&net, &equation, SEQUENTIAL);
            let slow = &equation.weight - &free(sum);
            let fast = residual.residual().layers()[0].weight.clone();
            assert!((&slow - &fast).iter().all(|e| e.abs() < 1e-12));
            let value = residual.squared().total(&terms);
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
