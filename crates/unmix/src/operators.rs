//! Edge operators: what of an image is sparse.
//!
//! Each takes differences of pixels at *sites*. Differences that are large together, as those of all channels and both directions at a
//! pixel are, form a *group* whose length is what is sparse.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, s};

/// Sites of a tile: the planes of a group lie side by side for this many sites, so that a group is summed in registers.
pub(crate) const LANES: usize = 16;

/// `start` plus the squared length of each group of a tile.
#[inline(always)]
pub(crate) fn squares(tile: &[f32], start: f32) -> [f32; LANES] {
    let mut sums = [start; LANES];
    for plane in tile.chunks_exact(LANES) {
        for (sum, v) in sums.iter_mut().zip(plane) {
            *sum += v * v;
        }
    }
    sums
}

/// A way to take differences of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum EdgeOperator {
    /// Vertical and horizontal neighbours, each for itself.
    Neighbours,
    /// Neighbours in opponent colours, the two chroma differences weighed so many times.
    Opponent { chroma: f32 },
    /// Neighbours and both diagonals.
    Diagonals,
    /// Neighbours and the Laplacian.
    Laplacian,
    /// Both neighbours of all opponent colours at a pixel as one group.
    Joint { chroma: f32 },
    /// Both neighbours and both diagonals at a pixel as one group.
    JointDiagonals,
}

impl EdgeOperator {
    /// The operators used for images of so many channels; the second is [`Self::Neighbours`].
    ///
    /// The one with most edges comes first, so that two threads end together.
    pub(crate) fn of_channels(channels: usize) -> [Self; OPERATORS] {
        if channels == 3 {
            let (weak, strong) = (Self::Joint { chroma: 2.5 }, Self::Joint { chroma: 4.0 });
            [Self::Diagonals, Self::Neighbours, Self::Opponent { chroma: 2.5 }, weak, strong]
        } else {
            let joint = Self::Joint { chroma: 1.0 };
            [Self::Diagonals, Self::Neighbours, Self::Laplacian, joint, Self::JointDiagonals]
        }
    }

    /// Edges of each of `images` (m, d).
    pub(crate) fn edges(self, images: ArrayView2<'_, f32>, shape: [usize; 3]) -> Edges {
        let planes = self.planes(images.row(0), shape);
        let group = planes.first().map_or(1, Vec::len);
        let sites = planes.iter().map(|group| group[0].len()).sum::<usize>();
        let tiles: usize = planes.iter().map(|group| group[0].len().div_ceil(LANES)).sum();
        let mut values = Array2::zeros((images.nrows(), tiles * group * LANES));
        for (image, mut row) in images.rows().into_iter().zip(values.rows_mut()) {
            let row = row.as_slice_mut().expect("rows are contiguous");
            let mut rest = row;
            for group in self.planes(image, shape) {
                for start in (0..group[0].len()).step_by(LANES) {
                    for plane in &group {
                        let (lanes, after) = rest.split_at_mut(LANES);
                        let sites = &plane[start..plane.len().min(start + LANES)];
                        lanes[..sites.len()].copy_from_slice(sites);
                        rest = after;
                    }
                }
            }
        }
        Edges { values, group, sites }
    }

    /// Groups of planes of differences; the planes of a group have the same sites.
    fn planes(self, image: ndarray::ArrayView1<'_, f32>, shape: [usize; 3]) -> Vec<Vec<Vec<f32>>> {
        let [channels, height, width] = shape;
        let image =
            image.to_shape((channels, height, width)).expect("the shape was checked against the rows");
        let image = match self {
            Self::Opponent { chroma } | Self::Joint { chroma } if channels == 3 => {
                opponent(image.view(), chroma)
            }
            _ => image.to_owned(),
        };
        let alone = |planes: Vec<Vec<f32>>| planes.into_iter().map(|plane| vec![plane]).collect();
        let image = image.view();
        match self {
            Self::Neighbours | Self::Opponent { .. } => alone(neighbours(image)),
            Self::Diagonals => alone([neighbours(image), diagonals(image, 1.0)].concat()),
            Self::Laplacian => alone([neighbours(image), laplacian(image)].concat()),
            Self::Joint { .. } => vec![corners(image)],
            Self::JointDiagonals => vec![[corners(image), diagonals(image, JOINT_DIAGONALS)].concat()],
        }
    }
}

/// Operators that separate a span.
pub(crate) const OPERATORS: usize = 5;
/// Index of [`EdgeOperator::Neighbours`] among the operators.
pub(crate) const NEIGHBOURS: usize = 1;
/// Weight of a diagonal difference in a group with differences of neighbours: it is that much longer.
const JOINT_DIAGONALS: f32 = 0.7;

/// Edges of images, (m, columns): tiles of [`LANES`] sites, in which one plane of a group follows the other; sites missing in the last
/// tile of a plane are zero.
pub(crate) struct Edges {
    pub(crate) values: Array2<f32>,
    /// Differences of a group.
    pub(crate) group: usize,
    /// Groups of an image.
    pub(crate) sites: usize,
}

/// Luminance and two chroma differences of length one, the latter times `chroma`.
fn opponent(image: ArrayView3<'_, f32>, chroma: f32) -> Array3<f32> {
    let directions: [[f32; 3]; 3] = [[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [0.5, 0.5, -1.0]];
    let lengths: [f32; 3] = [3.0, 2.0, 1.5];
    let mut out = Array3::zeros(image.dim());
    for (k, (direction, length)) in directions.iter().zip(lengths).enumerate() {
        let weight = if k == 0 { 1.0 } else { chroma } / length.sqrt();
        let mut plane = out.index_axis_mut(Axis(0), k);
        for (channel, factor) in image.outer_iter().zip(direction) {
            plane.scaled_add(weight * factor, &channel);
        }
    }
    out
}

fn neighbours(image: ArrayView3<'_, f32>) -> Vec<Vec<f32>> {
    let difference = |a: ArrayView3<'_, f32>, b: ArrayView3<'_, f32>| (&a - &b).into_iter().collect();
    vec![
        difference(image.slice(s![.., 1.., ..]), image.slice(s![.., ..-1, ..])),
        difference(image.slice(s![.., .., 1..]), image.slice(s![.., .., ..-1])),
    ]
}

fn diagonals(image: ArrayView3<'_, f32>, weight: f32) -> Vec<Vec<f32>> {
    let corner = |down: usize, right: usize| {
        let (height, width) = (image.dim().1 - 1, image.dim().2 - 1);
        image.slice_move(s![.., down..down + height, right..right + width])
    };
    let pairs = [(corner(1, 1), corner(0, 0)), (corner(1, 0), corner(0, 1))];
    let planes = pairs.map(|(a, b)| channels(((&a - &b) * weight).view()));
    planes.concat()
}

fn laplacian(image: ArrayView3<'_, f32>) -> Vec<Vec<f32>> {
    let (height, width) = (image.dim().1 - 2, image.dim().2 - 2);
    let moved = |down: usize, right: usize| image.slice(s![.., down..down + height, right..right + width]);
    let mut sum = &moved(1, 1) * 4.0;
    for (down, right) in [(0, 1), (2, 1), (1, 0), (1, 2)] {
        sum -= &moved(down, right);
    }
    vec![sum.into_iter().collect()]
}

/// Differences of each pixel with the one below and the one to the right, a plane for each channel and direction.
fn corners(image: ArrayView3<'_, f32>) -> Vec<Vec<f32>> {
    let here = image.slice(s![.., ..-1, ..-1]);
    let below = &image.slice(s![.., 1.., ..-1]) - &here;
    let right = &image.slice(s![.., ..-1, 1..]) - &here;
    [channels(below.view()), channels(right.view())].concat()
}

fn channels(image: ArrayView3<'_, f32>) -> Vec<Vec<f32>> {
    image.outer_iter().map(|plane| plane.iter().copied().collect()).collect()
}
