//! A truncated singular value decomposition by orthogonal iteration: a whole one would take minutes for wide matrices.

use ndarray::{Array2, ArrayView2};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;

use crate::gemm::{Parallelism, matmul};
use crate::reduce;
use crate::seed::Seed;

/// The strongest directions of a matrix, nearly.
#[derive(Clone, Debug)]
pub struct Leading {
    /// Orthonormal rows, (k, w), the strongest first; a direction that there is not is a row of zeros.
    pub directions: Array2<f64>,
    /// Length of the matrix along each, (k).
    pub singular_values: Vec<f64>,
}

/// The `count` strongest right singular directions of `matrix` (h, w), at most min(h, w), after `rounds` of orthogonal
/// iteration from a random start.
///
/// # Source
/// Golub and Van Loan, Matrix Computations (2013), 8.2.4, on `matrix^T matrix`.
///
/// ```
/// use ndarray::array;
/// use palimpsest_numerics::{gemm::Parallelism, iterative::leading_directions, seed::Seed};
///
/// let matrix = array![[0.0, 9.0, 0.0], [1.0, 0.0, 0.0]];
/// let leading = leading_directions(matrix.view(), 1, 8, Seed::new(1), Parallelism::Sequential);
/// assert!((leading.singular_values[0] - 9.0).abs() < 1e-9);
/// ```
pub fn leading_directions(
    matrix: ArrayView2<'_, f64>,
    count: usize,
    rounds: usize,
    seed: Seed,
    parallelism: Parallelism,
) -> Leading {
    let (h, w) = matrix.dim();
    let count = count.min(h).min(w);
    let mut directions = Array2::random_using((count, w), StandardNormal, &mut seed.rng());
    for _ in 0..rounds {
        orthonormalise(&mut directions);
        let image = matmul(directions.view(), matrix.t(), parallelism);
        directions = matmul(image.view(), matrix, parallelism);
    }
    orthonormalise(&mut directions);
    let image = matmul(directions.view(), matrix.t(), parallelism);
    let singular_values = image.rows().into_iter().map(reduce::norm).collect();
    Leading { directions, singular_values }
}

/// Makes the rows orthonormal, the first unchanged in direction; rows that depend on those before become 0.
///
/// # Source
/// Giraud et al. (2005): Gram-Schmidt, twice, is as good as rounding allows.
fn orthonormalise(rows: &mut Array2<f64>) {
    let width = rows.ncols();
    let all = rows.as_slice_mut().expect("owned arrays are contiguous");
    for i in 0..all.len() / width.max(1) {
        let (before, rest) = all.split_at_mut(i * width);
        let row = &mut rest[..width];
        let length = reduce::inner(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks(width) {
                let along = reduce::inner(other, row);
                row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let left = reduce::inner(row, row).sqrt();
        let scale = if left > 1e-12 * length { 1.0 / left } else { 0.0 };
        row.iter_mut().for_each(|value| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::svd;

    const ALONE: Parallelism = Parallelism::Sequential;

    fn draw(rows: usize, cols: usize, name: &str) -> Array2<f64> {
        Array2::random_using((rows, cols), StandardNormal, &mut Seed::new(5).named(name).rng())
    }

    #[test]
    fn strong_directions_are_those_of_the_whole_decomposition() {
        // Three strong terms and a little noise.
        let strong = matmul(draw(30, 3, "left").view(), draw(3, 20, "right").view(), ALONE);
        let matrix = strong + draw(30, 20, "noise") * 0.01;
        let whole = svd(matrix.view(), ALONE).unwrap();
        let leading = leading_directions(matrix.view(), 3, 12, Seed::new(2), ALONE);
        let cosines =
            matmul(leading.directions.view(), whole.vt.slice(ndarray::s![..3, ..]).t(), ALONE).mapv(f64::abs);
        for (i, (seen, expected)) in leading.singular_values.iter().zip(&whole.singular_values).enumerate() {
            assert!((seen / expected - 1.0).abs() < 1e-3, "{i}: {seen} {expected}");
            assert!(cosines[[i, i]] > 0.99, "{cosines}");
        }
        let gram = matmul(leading.directions.view(), leading.directions.t(), ALONE);
        assert!((&gram - &Array2::<f64>::eye(3)).iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn there_are_no_more_than_sides_and_missing_ones_are_zero() {
        let rank_one = matmul(draw(6, 1, "left").view(), draw(1, 4, "right").view(), ALONE);
        let leading = leading_directions(rank_one.view(), 9, 4, Seed::new(2), ALONE);
        assert_eq!(leading.directions.dim(), (4, 4));
        assert!(leading.singular_values[0] > 0.0);
        assert!(leading.singular_values[1..].iter().all(|&v| v < 1e-9));
        let nothing = Array2::<f64>::zeros((0, 4));
        assert!(leading_directions(nothing.view(), 3, 4, Seed::new(2), ALONE).singular_values.is_empty());
    }
}
