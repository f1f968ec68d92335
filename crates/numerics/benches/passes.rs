//! Elementwise passes and sums over the hidden values of 500 inputs at width 1000, beside a copy.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use palimpsest_numerics::elementwise::{bias_value_slope, multiply_assign, relu_gate, relu_step};
use palimpsest_numerics::reduce;

const ELEMENTS: usize = 500_000;

fn passes(criterion: &mut Criterion) {
    let source: Vec<f32> = (0..ELEMENTS).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
    // Without a bias, and with a factor of one, the values stay the same from walk to walk.
    let (bias, ones) = (vec![0.0; ELEMENTS], vec![1.0; ELEMENTS]);
    let (mut z, mut slope) = (source.clone(), vec![0.0; ELEMENTS]);
    let mut group = criterion.benchmark_group("passes");
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    group.bench_function("copy", |bencher| bencher.iter(|| black_box(&mut z).copy_from_slice(&source)));
    group.bench_function("bias, ReLU and step", |bencher| {
        bencher.iter(|| bias_value_slope(black_box(&mut z), Some(&bias), &mut slope, relu_step));
    });
    group.bench_function("bias, ReLU and sigmoid slope", |bencher| {
        bencher.iter(|| bias_value_slope(black_box(&mut z), Some(&bias), &mut slope, |z| relu_gate(z, 20.0)));
    });
    group.bench_function("product", |bencher| bencher.iter(|| multiply_assign(black_box(&mut z), &ones)));
    group
        .bench_function("sum of squares", |bencher| bencher.iter(|| reduce::sum_squares(black_box(&source))));
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
