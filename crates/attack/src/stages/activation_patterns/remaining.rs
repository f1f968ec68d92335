//! What is left to find once some first-layer deltas are known: a smaller problem of the same kind.
//!
//! Inputs whose first-layer delta is unknown are orthogonal to every known dual, so they lie in a space of fewer dimensions, which is
//! known; and the layer, freed of its component along the known first-layer deltas, is a sum over these inputs alone. The known inputs
//! themselves need not be known for that.

use ndarray::{Array1, Array2, ArrayView2, s};
use palimpsest_kkt::remaining::RemainingEquation;
use palimpsest_mlp::{Dense, Mlp};
use palimpsest_numerics::factor::{FactorError, orthonormal_rows, svd};
use palimpsest_numerics::gemm::{Parallelism, gemm, matmul, matvec};
use palimpsest_numerics::reduce;

use crate::stages::activation_patterns::layer::GatedLayer;
use crate::stages::activation_patterns::pattern::ActivationPattern;

const SEQUENTIAL: Parallelism = Parallelism::Sequential;

/// The problem that is left.
#[derive(Clone, Debug)]
pub struct RemainingProblem {
    /// From q coordinates and a 1 to the layer's coordinates, (k, q + 1).
    basis: Array2<f64>,
    /// The network on q coordinates.
    pub network: Mlp<f32>,
    /// Singular values of its first layer's weights, (q), descending.
    pub spectrum: Vec<f32>,
    /// The equation that is left.
    pub equation: RemainingEquation,
}

impl RemainingProblem {
    /// What is left of `layer`, the first of `network`, when `known` patterns are; nothing when fewer than two dimensions
    /// are.
    ///
    /// # Errors
    /// [`FactorError`] when the known duals or first-layer deltas cannot be decomposed.
    pub fn after(
        network: &Mlp<f32>,
        layer: &GatedLayer,
        known: &[ActivationPattern],
    ) -> Result<Option<Self>, FactorError> {
        let k = layer.coordinates();
        if known.is_empty() || known.len() + 3 > k {
            return Ok(None);
        }
        let rows = |of: &dyn Fn(&ActivationPattern) -> Array1<f64>, columns: usize| {
            let mut rows = Array2::zeros((known.len(), columns));
            for (mut row, pattern) in rows.rows_mut().into_iter().zip(known) {
                let values = of(pattern);
                row.assign(&(&values / reduce::norm(values.view()).max(f64::MIN_POSITIVE)));
            }
            rows
        };
        let duals = rows(&|pattern| pattern.dual.clone(), k);
        let duals = orthonormal_rows(duals.view(), SEQUENTIAL)?;
        let space = complement(duals.view(), k - duals.nrows())?;
        // Inputs have a 1 as last coordinate: they are a point of the space plus a smaller space that has a 0 there.
        let last = space.row(k - 1).to_owned();
        let square = reduce::squared_norm(last.view()).max(f64::MIN_POSITIVE);
        let point = matvec(space.view(), (&last / square).view());
        let direction = (&last / square.sqrt()).insert_axis(ndarray::Axis(0));
        let flat = matmul(space.view(), complement(direction.view(), space.ncols() - 1)?.view(), SEQUENTIAL);
        let seen = svd(matmul(layer.weight.view(), flat.view(), SEQUENTIAL).view(), SEQUENTIAL)?;
        let flat = matmul(flat.view(), seen.vt.t(), SEQUENTIAL);
        let q = flat.ncols();
        let mut basis = Array2::zeros((k, q + 1));
        basis.slice_mut(s![.., ..q]).assign(&flat);
        basis.column_mut(q).assign(&point);

        // On the left-hand side, neurons not yet at their stationary point hold their gain times the sum.
        let deltas = rows(&|pattern| &pattern.delta / &layer.gains(), layer.neurons());
        let mut left = layer.weight.clone();
        for (mut row, &gain) in left.rows_mut().into_iter().zip(layer.gains()) {
            row /= gain;
        }
        let weight = matmul(left.view(), flat.view(), SEQUENTIAL);
        let bias = matvec(left.view(), point.view()) / reduce::squared_norm(point.view());
        let equation = RemainingEquation::without(weight, bias, deltas, None, SEQUENTIAL)?;
        let narrow = |values: &Array2<f64>| values.mapv(|v| v as f32);
        let narrow1 = |values: Array1<f64>| values.mapv(|v| v as f32);
        let mut layers = network.layers().to_vec();
        layers[0] = Dense {
            weight: narrow(&matmul(layer.weight.view(), flat.view(), SEQUENTIAL)),
            bias: Some(narrow1(matvec(layer.weight.view(), point.view()))),
        };
        let network = Mlp::new(layers).expect("the first layer keeps its width");
        let spectrum = seen.singular_values.iter().map(|&s| s as f32).collect();
        Ok(Some(Self { basis, network, spectrum, equation }))
    }

    /// Coordinates of an input, q.
    pub fn rank(&self) -> usize {
        self.spectrum.len()
    }

    /// Coordinates of the layer with a 1 appended, (m, k), of inputs `z` (m, q).
    pub fn lift(&self, z: ArrayView2<'_, f32>) -> Array2<f64> {
        let mut with_one = Array2::ones((z.nrows(), z.ncols() + 1));
        with_one.slice_mut(s![.., ..z.ncols()]).assign(&z.mapv(f64::from));
        matmul(with_one.view(), self.basis.t(), SEQUENTIAL)
    }
}

/// Orthonormal columns (k, left) that span what is orthogonal to the orthonormal `rows` (K, k).
fn complement(rows: ArrayView2<'_, f64>, left: usize) -> Result<Array2<f64>, FactorError> {
    let mut projector = Array2::eye(rows.ncols());
    gemm(-1.0, rows.t(), rows, 1.0, projector.view_mut(), SEQUENTIAL);
    Ok(svd(projector.view(), SEQUENTIAL)?.u.slice(s![.., ..left]).to_owned())
}
