//! Reweighted least squares of the edges and the dark pixels of an image.

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, s};
use palimpsest_numerics::elementwise::vectorised;
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::iterative::WeightedLeastSquares;
use palimpsest_numerics::reduce;

/// Products of a block: blocks run side by side.
pub(super) const ALONE: Parallelism = Parallelism::Sequential;
/// Edge, in units of the root mean square edge of an image, from which on an edge counts as strong: first and last.
pub(super) const EDGE_SCALES: (f64, f64) = (1.0, 0.1);
/// Fits from the first to the last edge scale.
const FIRST_FITS: usize = 6;
/// Fits at the last one, in which dark pixels count, too.
const LAST_FITS: usize = 4;
/// Pixel, in units of the root mean square pixel of an image, up to which a pixel is dark.
const DARK: f32 = 0.05;
/// Weight of dark pixels beside edges.
const DARK_WEIGHT: f32 = 0.1;
/// Ridge of the least squares, relative to their mean diagonal.
const RIDGE: f32 = 1e-6;

/// The reweighted least squares of one image, and its memory.
pub(super) struct Fit<'a> {
    /// Edges, then pixels, along each direction, (r or r + 1, edges + d).
    along: ArrayView2<'a, f32>,
    edges: usize,
    /// The image before the first step, (r or r + 1).
    before: Array1<f32>,
    /// Edges and pixels of the image, (1, edges + d).
    values: Array2<f32>,
    /// Square roots of the weights of the squares, (edges + d).
    roots: Vec<f32>,
    least_squares: WeightedLeastSquares<f32>,
    next: Array2<f32>,
}

impl<'a> Fit<'a> {
    /// For images whose first `edges` values `along` each direction are edges.
    pub(super) fn of(along: ArrayView2<'a, f32>, edges: usize) -> Self {
        let (order, columns) = along.dim();
        Self {
            along,
            edges,
            before: Array1::zeros(order),
            values: Array2::zeros((1, columns)),
            roots: vec![0.0; columns],
            least_squares: WeightedLeastSquares::with_shape(order, columns),
            next: Array2::zeros((order, 1)),
        }
    }

    /// Refines images (b, r or r + 1) in place; one that cannot be stays as it is.
    pub(super) fn refine(&mut self, mut block: ArrayViewMut2<'_, f32>) {
        for mut row in block.rows_mut() {
            self.before.assign(&row);
            let falling = EDGE_SCALES.1 / EDGE_SCALES.0;
            let scale = |fit: usize| EDGE_SCALES.0 * falling.powf(fit as f64 / (FIRST_FITS - 1) as f64);
            let first = (0..FIRST_FITS).map(|fit| (scale(fit) as f32, 0.0));
            let last = std::iter::repeat_n((EDGE_SCALES.1 as f32, DARK_WEIGHT), LAST_FITS);
            if !first.chain(last).all(|(scale, dark)| self.step(row.view_mut(), scale, dark)) {
                row.assign(&self.before);
            }
        }
    }

    /// Moves an image (r or r + 1) to the least weighted squares at edges as strong as before; whether that could be done.
    fn step(&mut self, mut image: ArrayViewMut1<'_, f32>, edge_scale: f32, dark_weight: f32) -> bool {
        let (along, edges) = (self.along, self.edges);
        gemm(1.0, image.view().insert_axis(Axis(0)), along, 0.0, self.values.view_mut(), ALONE);
        let values = self.values.as_slice_mut().expect("values are contiguous");
        let root_mean_square =
            |values: &[f32]| (reduce::sum_squares(values) / values.len() as f64).sqrt() as f32;
        let (of_edges, of_pixels) = values.split_at_mut(edges);
        let (edge, pixel) = (root_mean_square(of_edges), root_mean_square(of_pixels));
        let (edge_roots, pixel_roots) = self.roots.split_at_mut(edges);
        weigh_edges(of_edges, edge, edge_scale, edge_roots);
        weigh_pixels(of_pixels, pixel, 1.0 / (edge_scale * edge_scale), dark_weight, pixel_roots);
        if self.least_squares.factor(along, &self.roots, None, RIDGE).is_err() {
            return false;
        }
        // The slope of what is held: the mean square of the edges.
        let of_edges = self.values.slice(s![.., ..edges]);
        let next = self.next.view_mut();
        gemm(1.0 / edges as f32, along.slice(s![.., ..edges]), of_edges.t(), 0.0, next, ALONE);
        self.least_squares.solve_in_place(self.next.view_mut());
        gemm(1.0, self.next.t(), along, 0.0, self.values.view_mut(), ALONE);
        let now = root_mean_square(&self.values.as_slice().expect("values are contiguous")[..edges]);
        let length = edge / now;
        image.zip_mut_with(&self.next.column(0), |old, &new| *old = length * new);
        length.is_finite() && length > 0.0
    }
}

/// Square roots of the weights of edges: those that are strong, in units of `unit`, count little.
fn weigh_edges(edges: &[f32], unit: f32, scale: f32, roots: &mut [f32]) {
    let (strong, share) = (scale * scale, 1.0 / edges.len() as f32);
    let squared = 1.0 / (unit * unit);
    vectorised(|| {
        for (root, edge) in roots.iter_mut().zip(edges) {
            *root = (share / (strong + edge * edge * squared)).sqrt();
        }
    });
}

/// Square roots of the weights of pixels: those below black count `below`, dark ones `dark`.
fn weigh_pixels(pixels: &[f32], unit: f32, below: f32, dark: f32, roots: &mut [f32]) {
    let share = 1.0 / pixels.len() as f32;
    let squared = 1.0 / (unit * unit);
    vectorised(|| {
        for (root, &pixel) in roots.iter_mut().zip(pixels) {
            let black = if pixel < 0.0 { below } else { 0.0 };
            *root = (share * (black + dark / (DARK * DARK + pixel * pixel * squared))).sqrt();
        }
    });
}
