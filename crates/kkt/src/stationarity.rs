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
use palimpsest_numerics::factor::{FactorError, orthonormal_rows};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul};
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

    /// The first layer's deltas at the last [`Self::evaluate`], (m, h): what each candidate gives its biases.
    pub fn first_deltas(&self) -> ArrayView2<'_, T> {
        self.passes.delta()[0].view()
    }

    /// The same without the gates of the first layer itself, (m, h): what the layers above ask of its neurons.
    pub fn drives(&self) -> ArrayView2<'_, T> {
        self.passes.upstream()[0].view()
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

    /// After [`Self::evaluate`] or [`Self::leave_out`]: multiplies the first layer's residual of neuron j by `neurons[j]` and
    /// that of its weight on input k by `inputs[k]`, too, so that [`Self::gradient`] is that of a sum of squares with these
    /// weights.
    ///
    /// # Panics
    /// When there is not one weight for each neuron and each input.
    #[track_caller]
    pub fn weigh_first_layer(&mut self, neurons: &[T], inputs: &[T]) {
        let first = &mut self.residual.layers_mut()[0];
        let (h, d) = first.weight.dim();
        assert_eq!((neurons.len(), inputs.len()), (h, d), "weigh_first_layer: neurons and inputs");
        for (mut row, &neuron) in first.weight.rows_mut().into_iter().zip(neurons) {
            for (value, &input) in row.iter_mut().zip(inputs) {
                *value *= neuron * input;
            }
        }
        if let Some(bias) = &mut first.bias {
            bias.iter_mut().zip(neurons).for_each(|(value, &neuron)| *value *= neuron);
        }
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

/// The first layer's equation when some of its signals are known: both sides without what these explain best.
#[derive(Clone, Debug)]
pub struct RemainingEquation<T = f32> {
    /// Left-hand side for the weights (h, q) and the bias (h), free of the known signals.
    pub weight: Array2<T>,
    /// See `weight`.
    pub bias: Array1<T>,
    /// Basis of the known signals, (h, K).
    pub known: Array2<T>,
    /// What gives the coefficients of a side along that basis, (K, h).
    coefficients: Array2<T>,
}

impl<T: Real> RemainingEquation<T> {
    /// The equation with the left-hand side `weight` (h, q) and `bias` (h) without the signals (K, h); their coefficients are those of
    /// least squares, in which the equation of a neuron has the weight `neurons` (h), all > 0 (all the same if not given).
    ///
    /// # Errors
    /// [`FactorError`] when the signals cannot be decomposed.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn without(
        mut weight: Array2<f64>,
        mut bias: Array1<f64>,
        mut signals: Array2<f64>,
        neurons: Option<&[f32]>,
        parallelism: Parallelism,
    ) -> Result<Self, FactorError> {
        assert_eq!((signals.ncols(), bias.len()), (weight.nrows(), weight.nrows()), "without: neurons");
        let scale = |rows: &mut Array2<f64>, power: f64| {
            for (mut column, &neuron) in rows.columns_mut().into_iter().zip(neurons.into_iter().flatten()) {
                column *= f64::from(neuron).powf(power);
            }
        };
        scale(&mut signals, 0.5);
        let mut coefficients = orthonormal_rows(signals.view(), parallelism)?;
        let mut known = coefficients.clone();
        scale(&mut coefficients, 0.5);
        scale(&mut known, -0.5);
        let mut bias_column = bias.view_mut().insert_axis(Axis(1));
        for part in [&mut weight.view_mut(), &mut bias_column] {
            let along = matmul(coefficients.view(), part.view(), parallelism);
            gemm(-1.0, known.t(), along.view(), 1.0, part.view_mut(), parallelism);
        }
        let narrow = |values: &Array2<f64>| values.mapv(T::of);
        Ok(Self {
            weight: narrow(&weight),
            bias: bias.mapv(T::of),
            known: narrow(&known.t().to_owned()),
            coefficients: narrow(&coefficients),
        })
    }

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
            gemm(T::one(), self.coefficients.view(), part.view(), T::zero(), along.view_mut(), parallelism);
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
mod tests;
