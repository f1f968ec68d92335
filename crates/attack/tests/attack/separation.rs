//! Images separated from a span and from weights: what is found, the same bits on any number of threads, and after a break.

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::{Array2, s};
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_attack::search::annealed::DescentParams;
    use palimpsest_attack::{
        AttackError, AttackParams, AttackState, AttackStep, Method, PriorKnowledge, Reconstruction,
        reconstruct, reconstruct_from,
    };
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::factor::orthonormal_rows;
    use palimpsest_numerics::gemm::{Parallelism, matmul};
    use palimpsest_numerics::reduce::unit_rows;
    use palimpsest_numerics::seed::Seed;
    use palimpsest_unmix::agreement::AgreementParams;
    use palimpsest_unmix::separation::{SeparationParams, WhitenedEdges, separate};
    use rand::Rng as _;

    const IMAGES: usize = 12;
    const SIDE: usize = 32;

    fn images() -> Array2<f32> {
        images_of(SIDE)
    }

    /// Images of eight rectangles of random grey each.
    fn images_of(side: usize) -> Array2<f32> {
        let mut rng = Seed::new(3).named("images").rng();
        let mut images = Array2::zeros((IMAGES, side * side));
        for image in images.rows_mut() {
            let mut image = image.into_shape_with_order((side, side)).unwrap();
            for _ in 0..8 {
                let (top, left) = (rng.random_range(0..side - 4), rng.random_range(0..side - 4));
                let (bottom, right) = (rng.random_range(top + 3..side), rng.random_range(left + 3..side));
                image.slice_mut(s![top..bottom, left..right]).fill(rng.random_range(-1.0..1.0));
            }
        }
        images
    }

    /// The same in shades from grey to white, on black.
    fn images_on_black() -> Array2<f32> {
        images().mapv(|v| if v == 0.0 { 0.0 } else { 0.65 + 0.35 * v })
    }

    fn network() -> Mlp<f32> {
        network_of(&images())
    }

    /// A network whose first layer is a random mixture of the images (n, d).
    fn network_of(images: &Array2<f32>) -> Mlp<f32> {
        let dims = [images.ncols(), 80, 1];
        let mut network = Mlp::<f32>::initialise(&dims, BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let mixture = Mlp::<f32>::initialise(&[IMAGES, 80], BiasPlacement::Nowhere, 0.1, Seed::new(2));
        network.layers_mut()[0].weight =
            matmul(mixture.layers()[0].weight.view(), images.view(), Parallelism::Sequential);
        network
    }

    fn params(image_shape: Option<[usize; 3]>) -> AttackParams {
        {
            let mut params = AttackParams::of(
                Method::Annealed(DescentParams { steps: 40, ..DescentParams::default() }),
                3,
            );
            params.candidates = Some(32);
            params.rank = Some(IMAGES);
            params.prior = PriorKnowledge { image_shape, ..PriorKnowledge::default() };
            params.separation = Some(SeparationParams::default());
            params
        }
    }

    const SHAPE: [usize; 3] = [1, SIDE, SIDE];

    /// Sources of the span of orthonormal rows, as images of length one.
    fn sources(basis: &Array2<f32>, observe: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Array2<f32> {
        let alone = Parallelism::Sequential;
        let edges = WhitenedEdges::of(basis.view(), SHAPE, alone).unwrap();
        let found = separate(&edges, &SeparationParams::default(), Seed::new(5), alone, observe).unwrap();
        matmul(found.coordinates.view(), basis.view(), alone)
    }

    fn basis(rows: &Array2<f32>) -> Array2<f32> {
        orthonormal_rows(rows.view(), Parallelism::Sequential).unwrap()
    }

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn images_are_told_from_their_span() {
        let recovered = recovered(&sources(&basis(&images()), &mut go_on));
        assert!(recovered >= 10, "{recovered} of {IMAGES}");
    }

    #[test]
    fn noise_is_not_separated() {
        let mut rng = Seed::new(4).named("noise").rng();
        let noise = Array2::random_using((40, SIDE * SIDE), StandardNormal, &mut rng);
        let found = sources(&basis(&noise), &mut go_on).nrows();
        assert!(found < 20, "{found} of 40");
    }

    #[test]
    fn nothing_is_found_where_there_are_no_edges_or_the_observer_ends_it() {
        let constant = Array2::from_elem((1, SIDE * SIDE), 1.0 / SIDE as f32);
        assert_eq!(sources(&constant, &mut go_on).nrows(), 0);
        let mut rounds = 0;
        let found = sources(&basis(&images()), &mut |found| {
            rounds += 1;
            assert_eq!(found, 0);
            ControlFlow::Break(())
        });
        assert_eq!((found.nrows(), rounds), (0, 1));
    }

    /// How many images have a row of the same direction, up to sign.
    fn recovered(found: &Array2<f32>) -> usize {
        recovered_of(&images(), found)
    }

    fn recovered_of(images: &Array2<f32>, found: &Array2<f32>) -> usize {
        let (images, candidates) = (unit_rows(images.view()), unit_rows(found.view()));
        let cosines = matmul(images.view(), candidates.t(), Parallelism::Sequential);
        cosines.rows().into_iter().filter(|row| row.iter().any(|cosine| cosine.abs() > 0.95)).count()
    }

    fn attacked(image_shape: Option<[usize; 3]>) -> Reconstruction {
        reconstruct(&network(), &params(image_shape), Seed::new(7), &|_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn images_are_found_where_their_shape_is_declared() {
        let found = |shape| recovered(&attacked(shape).candidates.into_inner());
        let (with, without) = (found(Some(SHAPE)), found(None));
        assert!(with >= 10 && without <= 3, "{with} and {without} of {IMAGES}");
        let separated: Vec<bool> =
            attacked(Some(SHAPE)).restarts.iter().map(|restart| restart.separated).collect();
        assert_eq!(separated, [true, false, true]);
    }

    #[test]
    fn raw_images_are_told_before_the_first_restart_and_nothing_is_separated_that_nobody_asks_for() {
        let network = network_of(&images_on_black());
        let attacked = |agreement| {
            let (rounds, told) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
            let observe = |at: &AttackStep<'_>| {
                match at {
                    AttackStep::Separation(_) => {
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                    AttackStep::Separated(images) => {
                        let raw = images.raw.expect("on black raw images are known");
                        told.lock().unwrap().push(raw.images(images.coordinates, Parallelism::Sequential));
                    }
                    _ => {
                        assert_eq!(told.lock().unwrap().len(), 1, "images are told before the first restart")
                    }
                }
                ControlFlow::Continue(())
            };
            let mut params = params(Some(SHAPE));
            params.agreement = agreement;
            let found = reconstruct(&network, &params, Seed::new(7), &observe).unwrap();
            assert!(found.restarts[0].separated);
            let images = told.into_inner().unwrap().remove(0);
            assert!(images.iter().all(|&v| v >= 0.0), "black is the darkest");
            (rounds.into_inner(), recovered_of(&images_on_black(), &images))
        };
        let (rounds, recovered) = attacked(None);
        assert!(rounds > 3 && recovered >= 10, "{rounds} rounds, {recovered} of {IMAGES}");
        assert_eq!(attacked(Some(AgreementParams::default())), (rounds, recovered));
    }

    #[test]
    fn separated_images_are_listed_where_no_restart_came_to_its_end() {
        let mut params = params(Some(SHAPE));
        params.agreement = Some(AgreementParams::default());
        let ended_at = |is_end: &(dyn Fn(&AttackStep<'_>) -> bool + Sync)| {
            let observe = |at: &AttackStep<'_>| {
                if is_end(at) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            reconstruct(&network(), &params, Seed::new(7), &observe)
        };
        let before = ended_at(&|at| matches!(at, AttackStep::Separated(_))).unwrap();
        assert!(before.restarts.is_empty());
        let during = ended_at(&|at| matches!(at, AttackStep::Restart(at) if at.step.index == 3)).unwrap();
        assert!(!during.restarts.is_empty());
        for found in [before, during] {
            let listed = recovered(&found.merged.clone().into_inner());
            assert!(listed >= 10, "{listed} of {IMAGES}");
            let witnesses = found.witnesses.unwrap();
            assert!(witnesses.iter().all(|of| of.found.is_none()), "no restart had its chance");
            assert!(witnesses[0].separation > 0.5 && found.confidence[found.ranking[0]] > 0.3);
            let compared = witnesses.iter().filter(|of| of.signals.is_some()).count();
            assert_eq!(compared, witnesses.len().min(14), "12 directions: what comes later is chance");
        }
        let nothing = ended_at(&|_| true);
        assert!(matches!(nothing, Err(AttackError::NothingFinished(_))), "{nothing:?}");
    }

    #[test]
    fn a_span_that_holds_a_quarter_of_all_pictures_is_not_separated() {
        // Twelve directions of 49 and of 36 pixels.
        for (side, separated) in [(7, true), (6, false)] {
            let params = params(Some([1, side, side]));
            let network = network_of(&images_of(side));
            let found = reconstruct(&network, &params, Seed::new(7), &|_| ControlFlow::Continue(())).unwrap();
            assert_eq!(found.restarts[0].separated, separated, "{side}");
        }
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads() {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| attacked(Some(SHAPE)))
        };
        let one = on(1);
        for threads in [2, 4] {
            let found = on(threads);
            assert_eq!(one.candidates, found.candidates, "{threads} threads");
            assert_eq!(one.multipliers, found.multipliers, "{threads} threads");
        }
    }

    #[test]
    fn the_same_bits_after_a_break() {
        let whole = attacked(Some(SHAPE));
        let seen = Mutex::new(AttackState::default());
        let observe = |at: &AttackStep<'_>| {
            if let AttackStep::Restart(at) = at
                && at.step.index == 10
            {
                seen.lock().unwrap().under_way.insert(at.restart, at.step.state.clone());
            }
            ControlFlow::Continue(())
        };
        reconstruct(&network(), &params(Some(SHAPE)), Seed::new(7), &observe).unwrap();
        let from = seen.into_inner().unwrap();
        assert_eq!(from.under_way.len(), 3);
        let go = |_: &AttackStep<'_>| ControlFlow::Continue(());
        let gone_on =
            reconstruct_from(&network(), &params(Some(SHAPE)), Seed::new(7), &from, &go, &|_, _| {}).unwrap();
        assert_eq!(whole.candidates, gone_on.candidates);
        assert_eq!(whole.multipliers, gone_on.multipliers);
    }

    #[test]
    fn a_shape_of_another_size_is_refused() {
        let refused = reconstruct(&network(), &params(Some([3, SIDE, SIDE])), Seed::new(7), &|_| {
            ControlFlow::Continue(())
        });
        assert!(matches!(refused, Err(AttackError::BadOption { name: "image shape", .. })), "{refused:?}");
    }
}
