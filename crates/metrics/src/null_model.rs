//! What chance would have scored: the same contest with one side replaced by something unrelated.
//!
//! There are two ways to replace. Either the *targets* are images the net never saw, and the attack's candidates are
//! scored against them; or the *candidates* are something anybody could offer, and they are scored against the training
//! images. A null of the second kind is built here or taken from the checkpoint, and its mean is restored like that of
//! any candidate.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use palimpsest_numerics::quantile::median;
use palimpsest_numerics::reduce;
use palimpsest_numerics::seed::Seed;
pub use palimpsest_numerics::seed::random_noise;
use rand::seq::SliceRandom as _;

use crate::image::check_finite;
use crate::row_kind::RowKind;
use crate::{CandidateImages, Result, TargetImages};

/// A null model and its images.
#[derive(Clone, Copy, Debug)]
pub enum NullModel<'a> {
    /// Targets that were not trained on, of the same distribution; at least 1,000 of them give a 0.1 % rate a meaning.
    HeldOut(TargetImages<'a>),
    /// Candidates: the mean image of each class, from [`class_means`].
    ClassMeans(CandidateImages<'a>),
    /// Candidates: the rows of the first weight matrix, as an image each.
    WeightRows(CandidateImages<'a>),
    /// Candidates: noise from [`random_noise`].
    RandomNoise(CandidateImages<'a>),
}

impl<'a> NullModel<'a> {
    /// The contest of this null: its images on their side, the attack's candidates or the training images on the other.
    pub fn contest(
        self,
        attack: CandidateImages<'a>,
        training: TargetImages<'a>,
    ) -> (CandidateImages<'a>, TargetImages<'a>) {
        match self {
            Self::HeldOut(targets) => (attack, targets),
            Self::ClassMeans(candidates) | Self::WeightRows(candidates) | Self::RandomNoise(candidates) => {
                (candidates, training)
            }
        }
    }

    /// The row of the table it fills.
    pub fn kind(self) -> RowKind {
        match self {
            Self::HeldOut(_) => RowKind::HeldOut,
            Self::ClassMeans(_) => RowKind::ClassMeans,
            Self::WeightRows(_) => RowKind::WeightRows,
            Self::RandomNoise(_) => RowKind::RandomNoise,
        }
    }
}

/// Mean image of each class (classes, d) of images (n, d), classes in order of first appearance.
///
/// # Errors
/// [`MetricsError::Empty`](crate::MetricsError::Empty); [`MetricsError::NonFinite`](crate::MetricsError::NonFinite)
/// with the row.
///
/// # Panics
/// When there are not as many labels as images.
///
/// ```
/// use ndarray::array;
/// use palimpsest_metrics::null_model::class_means;
/// let means = class_means(array![[0.0, 1.0], [4.0, 4.0], [1.0, 0.0]].view(), &[-1, 1, -1])?;
/// assert_eq!(means, array![[0.5, 0.5], [4.0, 4.0]]);
/// # Ok::<(), palimpsest_metrics::MetricsError>(())
/// ```
#[track_caller]
pub fn class_means<L: PartialEq>(images: ArrayView2<'_, f32>, labels: &[L]) -> Result<Array2<f32>> {
    assert_eq!(
        images.nrows(),
        labels.len(),
        "images of shape {:?} and {} labels",
        images.dim(),
        labels.len()
    );
    check_finite("images for class means", images)?;
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (i, label) in labels.iter().enumerate() {
        match members.iter_mut().find(|class| labels[class[0]] == *label) {
            Some(class) => class.push(i),
            None => members.push(vec![i]),
        }
    }
    let mut means = Array2::zeros((members.len(), images.ncols()));
    for (class, mut mean) in members.iter().zip(means.axis_iter_mut(Axis(0))) {
        let mut column = vec![0.0; class.len()];
        for (j, mean) in mean.iter_mut().enumerate() {
            column.iter_mut().zip(class).for_each(|(v, &i)| *v = f64::from(images[[i, j]]));
            *mean = (reduce::sum(&column) / class.len() as f64) as f32;
        }
    }
    Ok(means)
}

/// Rows of a weight matrix (k, d) as candidates, each scaled to a norm; a zero row stays zero.
pub fn weight_rows(weight: ArrayView2<'_, f32>, norm: f64) -> Array2<f32> {
    let mut rows = weight.to_owned();
    for mut row in rows.rows_mut() {
        let length = reduce::norm(row.view());
        row.mapv_inplace(|v| if length > 0.0 { (f64::from(v) * norm / length) as f32 } else { 0.0 });
    }
    rows
}

/// Median norm of candidates (m, d), m at least 1: what a null of the second kind is scaled to.
///
/// # Panics
/// When there is no candidate.
#[track_caller]
pub fn typical_norm(candidates: ArrayView2<'_, f32>) -> f64 {
    median(&candidates.axis_iter(Axis(0)).map(|row| reduce::norm(row)).collect::<Vec<f64>>())
}

/// A first layer whose neurons have changed places: rows of its weights (k, d) and their biases (k) in another order, the
/// same for both.
///
/// With the later layers left as they are this is a network of the same weights that was trained on nothing. It passes
/// every gate that looks at the first layer alone.
///
/// # Panics
/// When there are not as many biases as rows.
#[track_caller]
pub fn permuted_neurons(
    weight: ArrayView2<'_, f32>,
    bias: Option<ArrayView1<'_, f32>>,
    seed: &Seed,
) -> (Array2<f32>, Option<Array1<f32>>) {
    let k = weight.nrows();
    assert!(bias.is_none_or(|bias| bias.len() == k), "weights of shape {:?} and other biases", weight.dim());
    let mut order: Vec<usize> = (0..k).collect();
    order.shuffle(&mut seed.rng());
    (weight.select(Axis(0), &order), bias.map(|bias| bias.select(Axis(0), &order)))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{ImageShape, MetricsError};

    #[test]
    fn classes_keep_their_order_of_appearance() {
        let images = array![[1.0, 0.0], [3.0, 0.5], [5.0, 1.0], [2.0, 2.0]];
        let means = class_means(images.view(), &["b", "a", "b", "c"]).unwrap();
        assert_eq!(means, array![[3.0, 0.5], [3.0, 0.5], [2.0, 2.0]]);
        let none = Array2::zeros((0, 2));
        assert!(matches!(class_means::<u8>(none.view(), &[]), Err(MetricsError::Empty { .. })));
    }

    #[test]
    fn rows_get_the_norm_of_a_typical_candidate() {
        let candidates = array![[3.0, 4.0], [0.0, 1.0], [0.0, 9.0]];
        let norm = typical_norm(candidates.view());
        assert_eq!(norm, 5.0);
        assert_eq!(
            weight_rows(array![[0.0, 2.0], [0.0, 0.0], [-0.6, 0.8]].view(), norm),
            array![[0.0, 5.0], [0.0, 0.0], [-3.0, 4.0]]
        );
    }

    #[test]
    fn neurons_change_places_with_their_biases() {
        let weight = Array2::from_shape_fn((40, 3), |(i, j)| (3 * i + j) as f32);
        let bias = Array1::from_shape_fn(40, |i| (3 * i) as f32);
        let (moved, moved_bias) = permuted_neurons(weight.view(), Some(bias.view()), &Seed::new(1));
        let moved_bias = moved_bias.unwrap();
        assert_ne!(moved, weight);
        assert_eq!(moved.column(0), moved_bias);
        let mut rows: Vec<usize> = moved_bias.iter().map(|&b| b as usize / 3).collect();
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..40));
        assert_eq!(permuted_neurons(weight.view(), None, &Seed::new(1)), (moved, None));
    }

    #[test]
    fn each_null_replaces_its_own_side() {
        let images = [array![[0.1, 0.2]], array![[0.3, 0.4]], array![[0.5, 0.6]]];
        let shape = ImageShape::vector(2);
        let views = images.each_ref().map(|images| images.view());
        let [attack, training, null] = views;
        let candidates = |view| CandidateImages::new(view, view, shape).unwrap();
        let targets = |view| TargetImages::new(view, view, shape).unwrap();
        for (model, expected) in [
            (NullModel::HeldOut(targets(null)), (attack, null)),
            (NullModel::ClassMeans(candidates(null)), (null, training)),
            (NullModel::WeightRows(candidates(null)), (null, training)),
            (NullModel::RandomNoise(candidates(null)), (null, training)),
        ] {
            let (offered, wanted) = model.contest(candidates(attack), targets(training));
            assert_eq!((offered.images().centered, wanted.images().centered), expected);
        }
    }
}
