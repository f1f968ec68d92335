//! Separation by agreement on spans whose images are known, and on spans that hold none.

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ndarray::{Array1, Array2, s};
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::{StandardNormal, Uniform};
    use palimpsest_numerics::factor::svd;
    use palimpsest_numerics::gemm::{Parallelism, matmul};
    use palimpsest_numerics::reduce;
    use palimpsest_numerics::seed::Seed;
    use palimpsest_unmix::UnmixError;
    use palimpsest_unmix::agreement::{Agreement, AgreementParams, separate_by_agreement};

    const SHAPE: [usize; 3] = [3, 24, 24];
    const COUNT: usize = 32;

    /// Images of a few rectangles, each of one colour: few and strong edges.
    fn rectangles(count: usize, [channels, height, width]: [usize; 3], seed: u64) -> Array2<f32> {
        let unit = Uniform::new(0.0_f32, 1.0).unwrap();
        let drawn: Array2<f32> =
            Array2::random_using((count, 6 * (4 + channels)), unit, &mut Seed::new(seed).rng());
        let mut images = Array2::zeros((count, channels * height * width));
        for (numbers, mut image) in drawn.rows().into_iter().zip(images.rows_mut()) {
            for rectangle in numbers.to_vec().chunks(4 + channels) {
                let at = |share: f32, side: usize| (share * side as f32) as usize;
                let (top, left) = (at(rectangle[0], height), at(rectangle[1], width));
                let (tall, wide) =
                    (at(0.5 * rectangle[2], height).max(2), at(0.5 * rectangle[3], width).max(2));
                for c in 0..channels {
                    for y in top..(top + tall).min(height) {
                        for x in left..(left + wide).min(width) {
                            image[(c * height + y) * width + x] = rectangle[4 + c] - 0.5;
                        }
                    }
                }
            }
        }
        images
    }

    /// What smooth noise of power one over the frequency is like: sums of blocks of all sizes.
    fn smooth_noise(count: usize, [channels, height, width]: [usize; 3], seed: u64) -> Array2<f32> {
        let mut images = Array2::zeros((count, channels * height * width));
        for (octave, size) in [1, 2, 4, 8].into_iter().enumerate() {
            let seed = Seed::new(seed).indexed(octave as u64);
            let white: Array2<f32> = Array2::random_using(images.dim(), StandardNormal, &mut seed.rng());
            for (white, mut image) in white.rows().into_iter().zip(images.rows_mut()) {
                let white = white.to_shape((channels, height, width)).unwrap();
                for c in 0..channels {
                    for y in 0..height {
                        for x in 0..width {
                            // A moving average, so that there are no borders of blocks.
                            let block = white.slice(s![
                                c,
                                y.saturating_sub(size - 1)..=y,
                                x.saturating_sub(size - 1)..=x
                            ]);
                            image[(c * height + y) * width + x] += block.sum() / size as f32;
                        }
                    }
                }
            }
        }
        images
    }

    /// The spectrum of random mixtures of `images`.
    fn mixed(images: &Array2<f32>) -> (Array2<f32>, Array1<f64>) {
        let rows = images.nrows();
        let mixing: Array2<f32> =
            Array2::random_using((2 * rows, rows), StandardNormal, &mut Seed::new(5).rng());
        let svd = svd(
            matmul(mixing.view(), images.view(), Parallelism::Sequential).view(),
            Parallelism::Sequential,
        )
        .unwrap();
        (svd.vt.slice(s![..rows, ..]).to_owned(), svd.singular_values.slice(s![..rows]).mapv(f64::from))
    }

    fn params() -> AgreementParams {
        let mut params = AgreementParams::default();
        params.smallest_rank = 8;
        params
    }

    fn separated(images: &Array2<f32>, shape: [usize; 3]) -> (Agreement, Array2<f32>) {
        let (basis, values) = mixed(images);
        let go_on = &mut |_| ControlFlow::Continue(());
        let found = separate_by_agreement(
            basis.view(),
            values.view(),
            shape,
            &params(),
            Seed::new(3),
            Parallelism::Sequential,
            go_on,
        )
        .unwrap();
        let pictures = matmul(found.pictures.view(), basis.view(), Parallelism::Sequential);
        (found, pictures)
    }

    /// Images that one of `pictures` is, up to sign and length, to a cosine of 0.9.
    fn found_back(images: &Array2<f32>, pictures: &Array2<f32>) -> usize {
        let cosine = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
            (&a * &b).sum().abs() / (reduce::norm(a) * reduce::norm(b)) as f32
        };
        images
            .rows()
            .into_iter()
            .filter(|image| pictures.rows().into_iter().any(|p| cosine(*image, p) > 0.9))
            .count()
    }

    #[test]
    fn images_come_back_out_of_their_mixtures() {
        let images = rectangles(COUNT, SHAPE, 1);
        let (found, pictures) = separated(&images, SHAPE);
        let count = found_back(&images, &pictures);
        assert!(count >= COUNT * 9 / 10, "{count} of {COUNT}; {} pictures", pictures.nrows());
        assert_eq!(found.evidence.len(), found.pictures.nrows());
        // Surest first, none twice.
        assert!(found.evidence.is_sorted_by(|a, b| a.support >= b.support));
        let surest = pictures.slice(s![..COUNT / 2, ..]).to_owned();
        assert!(found_back(&images, &surest) >= COUNT / 2 - 1, "an image and its negative are one picture");
    }

    #[test]
    fn grey_images_come_back_as_well() {
        let shape = [1, 28, 28];
        let images = rectangles(COUNT, shape, 2);
        let (_, pictures) = separated(&images, shape);
        let count = found_back(&images, &pictures);
        assert!(count >= COUNT * 8 / 10, "{count} of {COUNT}");
    }

    #[test]
    fn noise_gives_nothing_sure() {
        let white = Array2::random_using((COUNT, 1728), StandardNormal, &mut Seed::new(4).rng());
        for images in [white, smooth_noise(COUNT, SHAPE, 6)] {
            let (found, _) = separated(&images, SHAPE);
            let sure = found.probabilities().iter().filter(|&&p| p >= 0.95).count();
            assert_eq!(sure, 0, "{:?}", found.evidence);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let images = rectangles(COUNT, SHAPE, 7);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| separated(&images, SHAPE).0)
        };
        let one = with(1);
        for threads in [2, 4] {
            let many = with(threads);
            assert_eq!(one.pictures, many.pictures);
            assert_eq!(one.evidence, many.evidence);
        }
    }

    #[test]
    fn an_observer_ends_the_search() {
        let (basis, values) = mixed(&rectangles(COUNT, SHAPE, 1));
        let mut seen = 0;
        let found = separate_by_agreement(
            basis.view(),
            values.view(),
            SHAPE,
            &params(),
            Seed::new(3),
            Parallelism::Sequential,
            &mut |_| {
                seen += 1;
                ControlFlow::Break(())
            },
        )
        .unwrap();
        assert_eq!((seen, found.diagnostics.ranks.len()), (1, 1));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (basis, values) = mixed(&rectangles(COUNT, SHAPE, 1));
        let attempt = |basis: &Array2<f32>, values: &Array1<f64>, shape, params: &AgreementParams| {
            let go_on = &mut |_| ControlFlow::Continue(());
            let (seed, alone) = (Seed::new(3), Parallelism::Sequential);
            separate_by_agreement(basis.view(), values.view(), shape, params, seed, alone, go_on).unwrap_err()
        };
        for shape in [[3, 24, 23], [0, 24, 24], [1728, 1, 1], [usize::MAX, 2, 2], [864, 1, 2]] {
            let error = attempt(&basis, &values, shape, &params());
            assert!(matches!(error, UnmixError::BadShape { columns: 1728, .. }), "{error}");
        }
        let error = attempt(&basis, &values.slice(s![1..]).to_owned(), SHAPE, &params());
        assert!(matches!(error, UnmixError::BadSpectrum { rows: 32, .. }), "{error}");
        let mut broken = basis.clone();
        broken[[3, 5]] = f32::NAN;
        assert!(matches!(attempt(&broken, &values, SHAPE, &params()), UnmixError::NotFinite { .. }));
        let error = attempt(&basis, &Array1::zeros(values.len()), SHAPE, &params());
        assert!(matches!(error, UnmixError::NothingMixed), "{error}");
        let error = attempt(&basis.slice(s![..0, ..]).to_owned(), &Array1::zeros(0), SHAPE, &params());
        assert!(matches!(error, UnmixError::NothingMixed), "{error}");
        let mut bad = params();
        bad.rank_growth = 1.0;
        let error = attempt(&basis, &values, SHAPE, &bad);
        assert_eq!(error.to_string(), "growth of ranks must be a finite number above 1, got 1");
    }
}
