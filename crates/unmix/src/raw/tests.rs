use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;
use palimpsest_numerics::factor::orthonormal_rows;
use palimpsest_numerics::seed::Seed;

use super::*;
use crate::mean_image::tests::{SHAPE, basis, centred, images};

/// Raw images of a span, estimated from its true images and the true mean image; the centred images, and the basis.
fn known() -> (RawImages, Array2<f32>, Array2<f32>) {
    let (centred, mean) = centred();
    let basis = basis(&centred);
    let mean_image = MeanImage::outside(basis.view(), mean, ALONE).unwrap();
    let sources = matmul(images().view(), mean_image.widen(basis.view()).t(), ALONE);
    let raw =
        RawImages::of(basis.view(), SHAPE, (0.0, 1.0), Some(&mean_image), sources.view(), &likely, ALONE);
    (raw.expect("sources tell it"), centred, basis)
}

/// Images have few edges.
fn likely(look: &Appearance) -> f32 {
    1.0 / (1.0 + (5.0 * (look.contrast - 2.5)).exp())
}

fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    reduce::inner(&a.to_vec(), &b.to_vec()) / reduce::norm(a) / reduce::norm(b)
}

/// Coordinates of the centred images, with noise of `share` of their length.
fn rough(centred: &Array2<f32>, basis: &Array2<f32>, share: f32) -> Array2<f32> {
    let mut rows = matmul(centred.view(), basis.t(), ALONE);
    let noise: Array2<f32> =
        Array2::random_using(rows.dim(), StandardNormal, &mut Seed::new(2).named("noise").rng());
    for (mut row, noise) in rows.rows_mut().into_iter().zip(noise.rows()) {
        let length = reduce::norm(row.view()) / reduce::norm(noise);
        row.scaled_add(share * length as f32, &noise);
    }
    rows
}

#[test]
fn rough_images_become_exact_ones() {
    let (raw, centred, basis) = known();
    let rough = rough(&centred, &basis, 0.5);
    let near = |candidates: &Array2<f32>| {
        let lifted = matmul(candidates.view(), basis.view(), ALONE);
        centred.rows().into_iter().zip(lifted.rows()).filter(|(a, b)| cosine(*a, *b) > 0.99).count()
    };
    assert_eq!(near(&rough), 0);
    let refined = raw.refine(rough.view());
    assert!(near(&refined) >= 24, "{} of {}", near(&refined), rough.nrows());
    // Whatever they become, they look more like images.
    let contrast = |candidates: &Array2<f32>| -> f32 {
        raw.appearances(candidates.view(), candidates.view(), ALONE).iter().map(|look| look.contrast).sum()
    };
    assert!(contrast(&refined) < 0.8 * contrast(&rough));
}

#[test]
fn raw_inputs_need_no_mean_image() {
    let images = images();
    let basis = orthonormal_rows(images.view(), ALONE).unwrap();
    let sources = matmul(images.view(), basis.t(), ALONE);
    let raw = RawImages::of(basis.view(), SHAPE, (0.0, 2.0), None, sources.view(), &likely, ALONE).unwrap();
    let mut rough = rough(&images, &basis, 0.4) * 3.0;
    // Some are found upside down.
    rough.slice_mut(s![..10, ..]).mapv_inplace(|v| -v);
    let near = |shown: &Array2<f32>| {
        let pairs = shown.rows().into_iter().zip(images.rows());
        pairs.filter(|(shown, image)| cosine(*shown, *image) > 0.98).count()
    };
    let shown = raw.images(raw.refine(rough.view()).view(), ALONE);
    assert_eq!(near(&raw.images(rough.view(), ALONE)), 0);
    assert!(near(&shown) >= 24, "{} of 30", near(&shown));
    for image in shown.rows() {
        assert!((second_largest(image) - 2.0).abs() < 1e-3, "white is 2");
    }
    let refined = raw.refine(rough.view());
    let looks = raw.appearances(refined.view(), rough.view(), ALONE);
    assert!(looks.iter().skip(10).all(|look| look.unchanged > 0.5), "{looks:?}");
    assert!(raw.mean_image(looks.into_iter().map(|look| (look, 1.0))).iter().all(|&v| v == 0.0));
}

#[test]
fn a_constant_that_was_taken_is_told_as_one() {
    let shifted = images() - 0.3;
    let basis = orthonormal_rows(shifted.view(), ALONE).unwrap();
    let mean_image = MeanImage::uniform(basis.view(), ALONE).unwrap();
    let sources = matmul(images().view(), mean_image.widen(basis.view()).t(), ALONE);
    let raw =
        RawImages::of(basis.view(), SHAPE, (0.0, 1.0), Some(&mean_image), sources.view(), &likely, ALONE)
            .unwrap();
    // Whatever all images share: descent leaves it out.
    let mean = images().mean_axis(Axis(0)).unwrap();
    let rows = matmul((images() - mean).view(), basis.t(), ALONE);
    let looks = raw.appearances(rows.view(), rows.view(), ALONE);
    let told = raw.mean_image(looks.into_iter().map(|look| (look, 1.0)));
    assert!(told.iter().all(|&v| v == told[0] && (v - 0.3).abs() < 0.05), "{}", told[0]);
}

#[test]
fn sources_tell_sign_and_length() {
    let (raw, centred, basis) = known();
    let (_, mean) = crate::mean_image::tests::centred();
    let mean_image = MeanImage::outside(basis.view(), mean, ALONE).unwrap();
    let mut sources = matmul(images().view(), mean_image.widen(basis.view()).t(), ALONE);
    for (i, mut source) in sources.rows_mut().into_iter().enumerate() {
        let length = reduce::norm(source.view()) as f32;
        source *= if i % 2 == 0 { 1.0 } else { -1.0 } / length;
    }
    let rows = matmul(raw.centred_sources(sources.view()).view(), basis.view(), ALONE);
    let pairs = || rows.rows().into_iter().zip(centred.rows());
    let right = pairs().filter(|(row, image)| cosine(*row, *image) > 0.95).count();
    assert!(right >= 24, "{right} of 30");
    for (row, image) in pairs() {
        let length = reduce::norm(row) / reduce::norm(image);
        assert!((0.5..2.0).contains(&length), "{length}");
    }
}

#[test]
fn true_images_look_like_images_and_mixtures_do_not() {
    let (raw, centred, basis) = known();
    let of = |share| {
        let rows = rough(&centred, &basis, share);
        raw.appearances(rows.view(), rows.view(), ALONE)
    };
    let least = of(2.0).iter().map(|look| look.contrast).fold(f32::INFINITY, f32::min);
    for look in of(0.0) {
        assert!(look.contrast < least, "{look:?}, {least}");
        assert!((0.4..1.6).contains(&look.brightness), "{look:?}");
    }
}

#[test]
fn images_are_in_range_and_the_mean_is_what_was_taken() {
    let (raw, centred, basis) = known();
    let rows = rough(&centred, &basis, 0.0);
    let shown = raw.images(rows.view(), ALONE);
    assert!(shown.iter().all(|v| (0.0..=1.0).contains(v)));
    for (looked_at, v) in raw.shown(rows.view(), ALONE).iter().zip(&shown) {
        assert_eq!(*looked_at, if *v < NEARLY_BLACK { 0.0 } else { *v });
    }
    for (shown, image) in shown.rows().into_iter().zip(images().rows()) {
        assert!(cosine(shown, image) > 0.98, "{}", cosine(shown, image));
    }
    let looks = raw.appearances(rows.view(), rows.view(), ALONE);
    let mean = raw.mean_image(looks.into_iter().map(|look| (look, 1.0)));
    let (_, truth) = crate::mean_image::tests::centred();
    assert!(cosine(mean.view(), truth.view()) > 0.98, "{}", cosine(mean.view(), truth.view()));
}

#[test]
fn what_refinement_changed_tells_the_mean() {
    let (raw, centred, basis) = known();
    let truth = matmul(centred.view(), basis.t(), ALONE);
    let images = raw.raw(truth.view());
    let error =
        |told: &RawImages| reduce::norm((&told.mean - &raw.mean).view()) / reduce::norm(raw.mean.view());
    // A mean that is wrong, and restarts whose candidates are multiples of the images without the right one.
    let mut wrong = raw.clone();
    wrong.mean += &(&images.row(0) * 0.2);
    let run = |before: Array2<f32>| (wrong.centred(images.clone()), before);
    let told_by =
        |runs: &mut [(Array2<f32>, Array2<f32>)]| wrong.told_by(runs.iter_mut().map(|(r, b)| (r, Some(&*b))));
    let mut runs = [0.2, 0.4, f32::NAN].map(|share| run(rough(&centred, &basis, share) * 1.7));
    let told = told_by(&mut runs);
    assert!(error(&wrong) > 0.1 && error(&told) < 0.4 * error(&wrong), "{} {}", error(&wrong), error(&told));
    for (refined, _) in &runs {
        let kept = told.raw(refined.view()) - &images;
        assert!(kept.iter().all(|v| v.abs() < 1e-4), "the images stay");
    }
    // Restarts that found nothing tell nothing.
    let mut runs = [run(rough(&centred, &basis, 50.0))];
    assert_eq!(told_by(&mut runs).mean, wrong.mean);
}

#[test]
fn what_is_not_finite_stays_as_it_is() {
    let (raw, centred, basis) = known();
    let mut rows = rough(&centred, &basis, 0.1);
    rows.row_mut(3).fill(f32::NAN);
    let refined = raw.refine(rows.view());
    assert!(refined.row(3).iter().all(|v| v.is_nan()));
    let finite = |row: ArrayView1<'_, f32>| row.iter().all(|v| v.is_finite());
    assert_eq!(refined.rows().into_iter().filter(|row| finite(*row)).count(), rows.nrows() - 1);
}

#[test]
fn a_median_that_is_not_positive_is_none() {
    let of = |values: &[(f32, f32)]| positive_median(values.iter().copied());
    assert_eq!(of(&[(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]), Some(2.0));
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[(0.0, 1.0)]), None);
}
