//! Separation by agreement of a span of 60 colour pictures of 32 times 32 pixels: all truncations and operators.

use std::ops::ControlFlow;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::{Array1, Array2};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_numerics::factor::svd;
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_numerics::seed::Seed;
use palimpsest_unmix::agreement::{AgreementParams, separate_by_agreement};

const DIRECTIONS: usize = 60;
const SHAPE: [usize; 3] = [3, 32, 32];

fn agreement(criterion: &mut Criterion) {
    let images: Array2<f32> =
        Array2::random_using((DIRECTIONS, 3072), StandardNormal, &mut Seed::new(1).rng());
    // Cubes of normal numbers are sparse.
    let images = images.mapv(|v| v * v * v);
    let svd = svd(images.view(), Parallelism::Sequential).expect("numbers are finite");
    let values: Array1<f64> = svd.singular_values.mapv(f64::from);
    let params = AgreementParams::default();
    let mut group = criterion.benchmark_group("separation by agreement, r = 60, 3x32x32");
    group.sample_size(10);
    group.bench_function("all settings", |bencher| {
        bencher.iter(|| {
            let go_on = &mut |_| ControlFlow::Continue(());
            let (seed, alone) = (Seed::new(2), Parallelism::Sequential);
            separate_by_agreement(svd.vt.view(), values.view(), SHAPE, &params, seed, alone, go_on)
        });
    });
    group.finish();
}

criterion_group!(benches, agreement);
criterion_main!(benches);
