//! The one place of `unsafe`: products of any shape and layout, compared with loops under AddressSanitizer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ndarray::{Array2, Axis, Slice};
use palimpsest_numerics::gemm::{Parallelism, gemm};

/// Small whole numbers, of which every product and sum is exact.
fn matrix(rows: usize, cols: usize, seed: u8) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((7 * i + 3 * j + usize::from(seed)) % 11) as f32 - 5.0)
}

/// (rows, cols) laid out as two bits say: transposed, and every second row of a larger one, upside down.
fn laid_out(rows: usize, cols: usize, seed: u8, layout: u8) -> Array2<f32> {
    let mut a = if layout & 1 == 0 { matrix(rows, cols, seed) } else { matrix(cols, rows, seed).reversed_axes() };
    if layout & 2 != 0 {
        a = matrix(2 * rows, cols, seed);
        a.slice_axis_inplace(Axis(0), Slice::new(0, None, -2));
    }
    a
}

fuzz_target!(|bytes: &[u8]| {
    let &[m, k, n, layout, seed, threads, ..] = bytes else { return };
    let (m, k, n) = (usize::from(m) % 70, usize::from(k) % 70, usize::from(n) % 70);
    let (a, b) = (laid_out(m, k, seed, layout), laid_out(k, n, seed / 3, layout >> 2));
    let mut c = laid_out(m, n, seed / 5, layout >> 4);
    let mut expected = c.mapv(|v| 2.0 * v);
    for ((i, j), sum) in expected.indexed_iter_mut() {
        *sum -= (0..k).map(|l| a[[i, l]] * b[[l, j]]).sum::<f32>();
    }
    gemm(-1.0, a.view(), b.view(), 2.0, c.view_mut(), Parallelism::of_threads(1 + usize::from(threads) % 3));
    assert_eq!(c, expected);
});
