//! A step of the residual's closed-form gradient: of the first layer's equation, as annealed descent uses it, and of all.

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::{Array1, Array2};
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_kkt::stationarity::{StationarityResidual, TermWeights};
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::{Activation, BiasPlacement, Mlp};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;

/// Candidates and coordinates of an attack on 100 training inputs.
const CANDIDATES: usize = 200;
const COORDINATES: usize = 100;

fn steps(criterion: &mut Criterion) {
    let network =
        Mlp::<f32>::initialise(&[COORDINATES, 1000, 1000, 1], BiasPlacement::FirstLayer, 0.02, Seed::new(1));
    let x =
        Array2::from_shape_fn((CANDIDATES, COORDINATES), |(i, j)| ((7 * i + 13 * j) % 17) as f32 * 0.1 - 0.8);
    let lambda = Array1::from_elem(CANDIDATES, 0.01);
    let pull = OutputPull::Binary((0..CANDIDATES).map(|i| Label((i + 1) % 2)).collect());
    let (activation, terms) =
        (Activation::SigmoidGate { alpha: 20.0 }, TermWeights::uniform(network.depth()));
    let (mut dx, mut dlambda) = (Array2::zeros(x.dim()), Array1::zeros(CANDIDATES));
    let mut group = criterion.benchmark_group("stationarity step, m = 200, r = 100");
    group.sample_size(20);
    for (name, scope) in [("first layer", Scope::FirstLayer), ("all layers", Scope::AllLayers)] {
        let mut residual = StationarityResidual::new(&network, CANDIDATES, scope);
        let parallelism = Parallelism::Sequential;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                residual.evaluate(&network, activation, &pull, x.view(), lambda.view(), parallelism);
                residual.gradient(&network, activation, &terms, x.view(), &mut dx, &mut dlambda, parallelism);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
