//! What inputs explain of the first layer's weights, as they are: multipliers by non-negative least squares.
//!
//! The equation `W = sum_i lambda_i delta_i x_i^T` is linear in the multipliers. Pictures are not exact, and a picture and its negative share
//! what they explain as the ridge lets them, so the shares say how sure a sign is. It takes no descent, and is not as good:
//! `docs/decisions/0036-signs.md`.

use ndarray::{Array1, ArrayView2, Axis};
use palimpsest_kkt::outputs::OutputPull;
use palimpsest_kkt::stationarity::StationarityResidual;
use palimpsest_mlp::Activation;
use palimpsest_mlp::passes::Scope;
use palimpsest_numerics::gemm::{Parallelism, matmul};
use palimpsest_numerics::nnls::{NnlsError, nnls};

use crate::problem::prepared::AttackProblem;

/// Ridge, in units of the mean square of what one input explains.
const RIDGE: f64 = 0.3;

/// Multipliers (m) of inputs `x` (m, r) that pull as `pull` says, with which they explain most of the first layer's weights.
///
/// # Errors
/// [`NnlsError`], where an input is not finite.
pub(crate) fn multipliers(
    problem: &AttackProblem,
    pull: &OutputPull,
    x: ArrayView2<'_, f32>,
    parallelism: Parallelism,
) -> Result<Array1<f32>, NnlsError> {
    let network = &problem.network;
    let mut equation = StationarityResidual::new(network, x.nrows(), Scope::FirstLayer);
    let ones = Array1::ones(x.nrows());
    equation.evaluate(network, Activation::Relu, pull, x, ones.view(), parallelism);
    let deltas = equation.first_deltas();
    let of_inputs = matmul(x, x.t(), parallelism).mapv(f64::from);
    let mut moments = matmul(deltas, deltas.t(), parallelism).mapv(f64::from) * of_inputs;
    let ridge = RIDGE * moments.diag().mean().unwrap_or(0.0);
    moments.diag_mut().mapv_inplace(|moment| moment + ridge);
    let explained = matmul(deltas, network.layers()[0].weight.view(), parallelism) * x;
    let explained = explained.mapv(f64::from).sum_axis(Axis(1));
    Ok(nnls(moments.view(), explained.view())?.x.mapv(|multiplier| multiplier as f32))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, concatenate};
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_kkt::outputs::Label;
    use palimpsest_mlp::passes::outputs;
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::seed::Seed;

    use super::*;
    use crate::problem::prior::PriorKnowledge;

    const INPUTS: usize = 8;
    const ALONE: Parallelism = Parallelism::Sequential;

    /// Pull of each of `x` (m, r) to the network's own answer.
    fn own_pull(network: &Mlp<f32>, x: ArrayView2<'_, f32>) -> OutputPull {
        OutputPull::Binary(outputs(network, x, ALONE).iter().map(|&answer| Label::of_sign(answer)).collect())
    }

    #[test]
    fn an_input_explains_more_than_its_negative() {
        let mut rng = Seed::new(4).named("inputs").rng();
        let inputs = Array2::<f32>::random_using((INPUTS, 60), StandardNormal, &mut rng);
        let mut network =
            Mlp::<f32>::initialise(&[60, 1000, 1], BiasPlacement::FirstLayer, 1.0, Seed::new(2));
        // The first layer becomes the sum of what its own inputs give it.
        for _ in 0..60 {
            let pull = own_pull(&network, inputs.view());
            let mut equation = StationarityResidual::new(&network, INPUTS, Scope::FirstLayer);
            let ones = Array1::ones(INPUTS);
            equation.evaluate(&network, Activation::Relu, &pull, inputs.view(), ones.view(), ALONE);
            network.layers_mut()[0].weight = matmul(equation.first_deltas().t(), inputs.view(), ALONE);
        }
        let problem =
            AttackProblem::prepare(&network, PriorKnowledge::default(), Some(INPUTS), ALONE).unwrap();
        let inside = problem.subspace.project(inputs.view(), ALONE);
        let both = concatenate![Axis(0), inside, -&inside];
        let pull = own_pull(&problem.network, both.view());
        let found = multipliers(&problem, &pull, both.view(), ALONE).unwrap();
        let right = (0..INPUTS).filter(|&i| found[i] > found[INPUTS + i]).count();
        assert!(right >= INPUTS - 1, "{found}");
    }
}
