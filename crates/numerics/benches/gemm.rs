//! Products of the shapes that training and attacks are made of, in f32 on one thread.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use palimpsest_numerics::gemm::{Parallelism, gemm, symmetric};

fn filled(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((7 * i + 13 * j) % 17) as f32 * 0.1 - 0.8)
}

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm");
    for (m, k, n) in [(500, 500, 1000), (198, 1000, 1000), (1000, 1000, 1000)] {
        let (a, b, mut c) = (filled(m, k), filled(k, n), Array2::zeros((m, n)));
        let (a_turned, b_turned) = (filled(k, m), filled(n, k));
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        for (name, a, b) in [
            ("A B", a.view(), b.view()),
            ("A B^T", a.view(), b_turned.t()),
            ("A^T B", a_turned.t(), b.view()),
        ] {
            group.bench_function(BenchmarkId::new(name, format!("{m}x{k}x{n}")), |bencher| {
                bencher.iter(|| gemm(1.0, a, b, 0.0, c.view_mut(), Parallelism::Sequential));
            });
        }
    }
    let (a, mut c) = (filled(1000, 1000), Array2::zeros((1000, 1000)));
    group.bench_function("symmetric/1000x1000", |bencher| {
        bencher.iter(|| symmetric(a.view(), c.view_mut(), Parallelism::Sequential));
    });
    group.finish();
}

criterion_group!(benches, products);
criterion_main!(benches);
