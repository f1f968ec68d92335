//! The network: a chain of dense layers.

use ndarray::{Array1, Array2};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::{StandardNormal, Uniform};
use palimpsest_numerics::Real;
use palimpsest_numerics::seed::Seed;
use serde::{Deserialize, Serialize, Serializer};

use crate::MlpError;

/// One dense layer: `z = weight h + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Clone + Serialize", deserialize = "T: Deserialize<'de>"))]
pub struct Dense<T> {
    /// Weights, (out, in).
    pub weight: Array2<T>,
    /// Bias, (out), or none.
    pub bias: Option<Array1<T>>,
}

/// Which layers have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BiasPlacement {
    /// Only the first layer: published, keeps the net homogeneous in its parameters.
    FirstLayer,
    /// Every layer, the output included.
    Everywhere,
    /// No layer.
    Nowhere,
}

/// A multilayer perceptron; also the shape of a gradient or of a direction in its parameter space.
///
/// Invariants: at least one layer, widths chain, no empty dimension, every number finite on construction, and when it
/// is deserialised.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Vec<Dense<T>>", bound(deserialize = "T: Real + Deserialize<'de>"))]
pub struct Mlp<T> {
    layers: Vec<Dense<T>>,
}

impl<T: Real> TryFrom<Vec<Dense<T>>> for Mlp<T> {
    type Error = MlpError;

    fn try_from(layers: Vec<Dense<T>>) -> Result<Self, MlpError> {
        Self::new(layers)
    }
}

impl<T: Clone + Serialize> Serialize for Mlp<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.layers.serialize(serializer)
    }
}

impl<T: Real> Mlp<T> {
    /// A network of the given layers, first layer first.
    ///
    /// # Errors
    /// [`MlpError::NotANetwork`] when widths do not chain, a dimension is empty or there is no layer;
    /// [`MlpError::NotFinite`] when a number is NaN or infinite.
    pub fn new(layers: Vec<Dense<T>>) -> Result<Self, MlpError> {
        if layers.is_empty() {
            return Err(MlpError::NotANetwork("it has no layers".into()));
        }
        for (index, layer) in layers.iter().enumerate() {
            let (out, input) = layer.weight.dim();
            if out == 0 || input == 0 {
                return Err(MlpError::NotANetwork(format!(
                    "layer {index} has the empty shape ({out}, {input})"
                )));
            }
            if let Some(bias) = &layer.bias
                && bias.len() != out
            {
                return Err(MlpError::NotANetwork(format!(
                    "layer {index} has {out} outputs but a bias of {}",
                    bias.len()
                )));
            }
            if index > 0 && layers[index - 1].weight.nrows() != input {
                return Err(MlpError::NotANetwork(format!(
                    "widths do not chain: layer {} gives {} values, layer {index} takes {input}",
                    index - 1,
                    layers[index - 1].weight.nrows()
                )));
            }
            let finite = layer.weight.iter().all(|v| v.is_finite())
                && layer.bias.iter().flatten().all(|v| v.is_finite());
            if !finite {
                return Err(MlpError::NotFinite { layer: index });
            }
        }
        // Products and slices below assume row-major weights.
        let layers = layers
            .into_iter()
            .map(|l| Dense { weight: l.weight.as_standard_layout().into_owned(), bias: l.bias })
            .collect();
        Ok(Self { layers })
    }

    /// The published initialisation for widths `dims` = [inputs, hidden.., outputs].
    ///
    /// First layer (weights and bias) normal with standard deviation `first_layer_std`; other layers, and their
    /// bias if any, uniform in +-1/sqrt(fan in).
    ///
    /// # Panics
    /// When fewer than two widths are given, or one is 0.
    ///
    /// # Source
    /// Haim et al. (2022), section 5: first layer 1e-4, the others PyTorch's default.
    #[track_caller]
    pub fn initialise(dims: &[usize], placement: BiasPlacement, first_layer_std: f64, seed: Seed) -> Self {
        assert!(dims.len() >= 2 && dims.iter().all(|&d| d > 0), "initialise: widths {dims:?}");
        let layers = dims.windows(2).enumerate().map(|(index, pair)| {
            let (input, out) = (pair[0], pair[1]);
            let seed = seed.named("layer").indexed(index as u64);
            let (weight_rng, bias_rng) = (&mut seed.named("weight").rng(), &mut seed.named("bias").rng());
            // Drawn in f64 and rounded, so that f32 and f64 runs start from the same place.
            let (weight, bias): (Array2<f64>, Array1<f64>) = if index == 0 {
                (
                    Array2::random_using((out, input), StandardNormal, weight_rng) * first_layer_std,
                    Array1::random_using(out, StandardNormal, bias_rng) * first_layer_std,
                )
            } else {
                let bound = 1.0 / (input as f64).sqrt();
                let uniform = Uniform::new(-bound, bound).expect("the bound is positive and finite");
                (
                    Array2::random_using((out, input), uniform, weight_rng),
                    Array1::random_using(out, uniform, bias_rng),
                )
            };
            let has_bias = match placement {
                BiasPlacement::FirstLayer => index == 0,
                BiasPlacement::Everywhere => true,
                BiasPlacement::Nowhere => false,
            };
            Dense { weight: weight.mapv(T::of), bias: has_bias.then(|| bias.mapv(T::of)) }
        });
        Self { layers: layers.collect() }
    }

    /// The layers, first layer first.
    pub fn layers(&self) -> &[Dense<T>] {
        &self.layers
    }

    /// The layers for in-place changes; shapes must be kept.
    pub fn layers_mut(&mut self) -> &mut [Dense<T>] {
        &mut self.layers
    }

    /// Number of weight layers, L.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Number of inputs, d.
    pub fn inputs(&self) -> usize {
        self.layers[0].weight.ncols()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].weight.nrows()
    }

    /// All widths: [inputs, hidden.., outputs].
    pub fn dims(&self) -> Vec<usize> {
        std::iter::once(self.inputs()).chain(self.layers.iter().map(|l| l.weight.nrows())).collect()
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|l| l.weight.len() + l.bias.as_ref().map_or(0, Array1::len)).sum()
    }

    /// The same shape filled with zeros: a place for a gradient.
    pub fn zeros_like(&self) -> Self {
        let layers = self
            .layers
            .iter()
            .map(|l| Dense {
                weight: Array2::zeros(l.weight.dim()),
                bias: l.bias.as_ref().map(|b| Array1::zeros(b.len())),
            })
            .collect();
        Self { layers }
    }

    /// Copies `other` into this network without allocating.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn assign(&mut self, other: &Self) {
        assert_eq!(self.dims(), other.dims(), "assign: networks of different widths");
        for (to, from) in self.layers.iter_mut().zip(&other.layers) {
            to.weight.assign(&from.weight);
            if let (Some(to), Some(from)) = (&mut to.bias, &from.bias) {
                to.assign(from);
            }
        }
    }

    /// The same network in another precision, rounded to nearest.
    pub fn cast<U: Real>(&self) -> Mlp<U> {
        let layers = self
            .layers
            .iter()
            .map(|l| Dense {
                weight: l.weight.mapv(|v| U::of(v.wide())),
                bias: l.bias.as_ref().map(|b| b.mapv(|v| U::of(v.wide()))),
            })
            .collect();
        Mlp { layers }
    }

    /// The same network with another first-layer weight matrix, (out, any number of inputs).
    ///
    /// # Panics
    /// When the number of outputs differs.
    #[track_caller]
    pub(crate) fn with_first_weight(&self, weight: Array2<T>) -> Self {
        let mut layers = self.layers.clone();
        assert_eq!(weight.nrows(), layers[0].weight.nrows(), "with_first_weight: number of outputs");
        layers[0].weight = weight;
        Self { layers }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn impossible_networks_are_refused() {
        let dense = |out, input| Dense::<f64> { weight: Array2::zeros((out, input)), bias: None };
        assert!(Mlp::<f64>::new(vec![]).is_err());
        let message = Mlp::new(vec![dense(3, 2), dense(1, 4)]).unwrap_err().to_string();
        assert!(message.contains("layer 0 gives 3 values, layer 1 takes 4"), "{message}");
        assert!(Mlp::new(vec![dense(3, 0)]).is_err());
        let bias = Dense { weight: array![[1.0]], bias: Some(array![1.0, 2.0]) };
        assert!(Mlp::new(vec![bias]).is_err());
        let nan = Dense { weight: array![[f64::NAN]], bias: None };
        assert!(matches!(Mlp::new(vec![nan]), Err(MlpError::NotFinite { layer: 0 })));
    }

    #[test]
    fn initialisation_is_as_published_and_the_same_in_both_precisions() {
        let net = Mlp::<f64>::initialise(&[200, 300, 100, 1], BiasPlacement::FirstLayer, 1e-4, Seed::new(3));
        let std = (net.layers()[0].weight.iter().map(|v| v * v).sum::<f64>() / 60_000.0).sqrt();
        assert!((std / 1e-4 - 1.0).abs() < 0.02);
        assert!(net.layers()[1].weight.iter().all(|v| v.abs() <= 300_f64.sqrt().recip()));
        assert!(net.layers()[0].bias.is_some() && net.layers()[1].bias.is_none());
        assert_eq!(net.parameters(), 200 * 300 + 300 + 300 * 100 + 100);
        assert_eq!(
            net.cast::<f32>(),
            Mlp::initialise(&[200, 300, 100, 1], BiasPlacement::FirstLayer, 1e-4, Seed::new(3))
        );
    }
}
