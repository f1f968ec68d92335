//! SSIM of a hundred pairs of 32 x 32 colour images, with the published window.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use palimpsest_metrics::ImageShape;
use palimpsest_metrics::ssim::{Padding, SsimParams, ssim_pairs};

const PAIRS: usize = 100;

fn pairs(criterion: &mut Criterion) {
    let shape = ImageShape { channels: 3, height: 32, width: 32 };
    let params = SsimParams { window: 3, sigma: 1.5, data_range: 1.0, padding: Padding::Reflect };
    let images = |step: usize| {
        Array2::from_shape_fn((PAIRS, 3 * 32 * 32), |(i, j)| ((step * i + 13 * j) % 17) as f32 / 17.0)
    };
    let (a, b) = (images(7), images(5));
    let mut group = criterion.benchmark_group("ssim");
    group.throughput(Throughput::Elements(PAIRS as u64));
    group.bench_function("3 x 32 x 32", |bencher| {
        bencher.iter(|| ssim_pairs(a.view(), b.view(), shape, &params).expect("images fit their shape"));
    });
    group.finish();
}

criterion_group!(benches, pairs);
criterion_main!(benches);
