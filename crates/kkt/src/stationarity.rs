//! The stationarity (KKT) equation of a trained network, its residual, and the residual's gradient.
//!
//! At a KKT point of the margin problem, or a stationary point with weight decay, the parameters are a weighted sum of
//! gradients at training inputs:
//!
//! `theta = sum_i grad_theta <g_i, Phi(x_i)>`, with `g_i = lambda_i * direction_i`.
//!
//! The direction says what the loss pulls on, see [`crate::outputs`]. **There is no 1/m anywhere**; the code published with Haim
//! et al. (2022) hides one, so its lambda is m times ours.
//!
//! With the residual `R = theta - sum_i ..` held fixed, `<R, grad_theta Phi(x_i)>` is the derivative of `Phi(x_i)`
//! along R. So the derivative by lambda is one tangent pass, and the derivative by x one reverse pass through it.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use palimpsest_mlp::passes::{self, Passes, Scope};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::{Real, reduce};

use crate::outputs::OutputPull;
use crate::remaining::RemainingEquation;

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
    /// Components along known first-layer deltas, for [`Self::leave_out`]; empty until it is first called.
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
        pull: &OutputPull,
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
        pull.directions(self.passes.output(), &mut self.directions);
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
    pub fn backpropagated_signals(&self) -> ArrayView2<'_, T> {
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
