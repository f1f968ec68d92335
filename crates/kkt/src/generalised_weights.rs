//! Generalised least-squares weights: how much each equation of the first layer counts.
//!
//! The stationarity equation of neuron j along coordinate k is off by `sum_i e_ij x_ik`, where e_ij is what is wrong with the
//! activation and the backpropagated signal of neuron j at input i: a ReLU breakpoint, a backpropagated signal that changed while the network was trained. Errors of different
//! inputs are much like independent ones. So the equation of a coordinate is off in proportion to what inputs hold along it,
//! which falls along the spectrum by a factor of a hundred, and that of a neuron in proportion to that signal; counted alike,
//! the few largest equations, which are the most wrong, decide everything. Dividing by a power of the expected error mends
//! that (`docs/decisions/0011-equation-weights.md`).

use ndarray::ArrayView2;
use palimpsest_mlp::Mlp;
use palimpsest_numerics::reduce;

/// Factors of the squared residual of the first layer.
#[derive(Clone, Debug)]
pub struct GeneralisedWeights {
    /// One for each neuron, (h).
    pub neurons: Vec<f32>,
    /// One for each coordinate, (r); that of the bias, in which every input holds a 1, is 1.
    pub coordinates: Vec<f32>,
}

/// Power of the singular value with which what inputs hold along a coordinate falls: measured 0.70 and 0.87 on CIFAR-10
/// networks.
const EXTENT_POWER: f64 = 0.75;
/// Norm of a neuron's row, as a share of the root mean square, below which it counts as of this norm: smaller ones would
/// shout.
const LEAST_ROW: f64 = 0.1;

impl GeneralisedWeights {
    /// For the first layer of `network`, whose coordinates have the singular values `spectrum` (r) and hold inputs of norm
    /// `input_norm`; `powers` are those of the expected error along a coordinate and of a neuron, 0 for equal weights.
    pub fn of(network: &Mlp<f32>, spectrum: &[f32], input_norm: f64, powers: (f64, f64)) -> Self {
        let weight = network.layers()[0].weight.view();
        let rows: Vec<f64> = weight.rows().into_iter().map(reduce::norm).collect();
        let typical = reduce::norm(weight) / (rows.len() as f64).sqrt();
        let neuron = |row: &f64| (row / typical.max(f64::MIN_POSITIVE)).max(LEAST_ROW).powf(-2.0 * powers.1);
        let extents: Vec<f64> =
            spectrum.iter().map(|&s| f64::from(s).max(f64::MIN_POSITIVE).powf(EXTENT_POWER)).collect();
        let unit = input_norm / extents.iter().map(|e| e * e).sum::<f64>().sqrt();
        let coordinate = |extent: &f64| (extent * unit).powf(-2.0 * powers.0);
        Self {
            neurons: rows.iter().map(|row| neuron(row) as f32).collect(),
            coordinates: extents.iter().map(|extent| coordinate(extent) as f32).collect(),
        }
    }

    /// Weighed sum of the squares of `weight` (h, r).
    pub fn squared_norm(&self, weight: ArrayView2<'_, f32>) -> f64 {
        let rows = weight.rows().into_iter().zip(&self.neurons);
        rows.map(|(row, &neuron)| {
            let squares = row.iter().zip(&self.coordinates);
            f64::from(neuron) * squares.map(|(&w, &factor)| f64::from(w * w * factor)).sum::<f64>()
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use palimpsest_mlp::BiasPlacement;
    use palimpsest_numerics::seed::Seed;

    use super::*;

    #[test]
    fn small_equations_count_more_and_no_power_counts_all_alike() {
        let mut network = Mlp::<f32>::initialise(&[3, 8, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        network.layers_mut()[0].weight.row_mut(0).fill(0.0);
        network.layers_mut()[0].weight.row_mut(1).fill(9.0);
        let spectrum = [4.0, 1.0, 0.01];
        let alike = GeneralisedWeights::of(&network, &spectrum, 5.0, (0.0, 0.0));
        assert!(alike.neurons.iter().chain(&alike.coordinates).all(|&w| w == 1.0));
        let GeneralisedWeights { neurons, coordinates } =
            GeneralisedWeights::of(&network, &spectrum, 5.0, (1.0, 0.5));
        assert!((neurons[0] - 10.0).abs() < 1e-4, "the smallest row counts as a tenth of the typical one");
        assert!(neurons[1] < 1.0 && neurons[1] < neurons[2]);
        // Expected squares along the coordinates sum to the squared norm of an input.
        let squares: f64 = coordinates.iter().map(|&w| 1.0 / f64::from(w)).sum();
        assert!((squares - 25.0).abs() < 1e-3, "{squares}");
        assert!(coordinates.is_sorted());
    }
}
