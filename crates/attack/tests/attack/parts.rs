//! An attack shared among machines gives the same bits as one alone, however it is split.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::{ControlFlow, Range};
    use std::sync::Mutex;

    use ndarray::Array2;
    use palimpsest_attack::search::alternating::AlternatingParams;
    use palimpsest_attack::search::annealed::DescentParams;
    use palimpsest_attack::search::published::GradientParams;
    use palimpsest_attack::{
        AttackError, AttackParams, AttackState, AttackStep, Method, Part, PriorKnowledge, Restart,
        make_restarts, reconstruct_from,
    };
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::seed::Seed;
    use palimpsest_unmix::separation::SeparationParams;

    const RESTARTS: u64 = 8;
    const SIDE: usize = 12;

    fn network() -> Mlp<f32> {
        Mlp::initialise(&[SIDE * SIDE, 60, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1))
    }

    fn params(method: Method) -> AttackParams {
        let mut params = AttackParams::of(method, RESTARTS as usize);
        params.candidates = Some(8);
        params.rank = Some(6);
        params
    }

    fn annealed(steps: usize) -> Method {
        Method::Annealed(DescentParams { steps, ..DescentParams::default() })
    }

    fn go_on(_: &AttackStep<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The restarts of an attack by itself, and its candidates.
    fn alone(params: &AttackParams, from: &AttackState) -> (BTreeMap<u64, Restart>, Array2<f32>) {
        let kept = Mutex::new(from.finished.clone());
        let keep =
            |number: u64, restart: &Restart| drop(kept.lock().unwrap().insert(number, restart.clone()));
        let found = reconstruct_from(&network(), params, Seed::new(7), from, &go_on, &keep).unwrap();
        (kept.into_inner().unwrap(), found.candidates.into_inner())
    }

    fn made(params: &AttackParams, numbers: Range<u64>) -> (BTreeMap<u64, Restart>, Part) {
        let kept = Mutex::new(BTreeMap::new());
        let keep =
            |number: u64, restart: &Restart| drop(kept.lock().unwrap().insert(number, restart.clone()));
        let part =
            make_restarts(&network(), params, Seed::new(7), numbers, &AttackState::default(), &go_on, &keep);
        (kept.into_inner().unwrap(), part.unwrap())
    }

    #[test]
    fn any_split_gives_the_restarts_of_one_attack() {
        let steps = 30;
        let mut separated = params(annealed(steps));
        separated.separation = Some(SeparationParams::default());
        separated.prior = PriorKnowledge { image_shape: Some([1, SIDE, SIDE]), ..PriorKnowledge::default() };
        for params in [
            params(annealed(steps)),
            separated,
            params(Method::Alternating(AlternatingParams { steps, ..AlternatingParams::default() })),
            params(Method::Gradient(GradientParams { steps, ..GradientParams::default() })),
        ] {
            let (whole, candidates) = alone(&params, &AttackState::default());
            assert_eq!(whole.len() as u64, RESTARTS);
            for splits in [vec![(0, 8)], vec![(0, 4), (4, 8)], vec![(6, 8), (0, 1), (1, 6)]] {
                let mut joined = AttackState::default();
                for (first, end) in splits {
                    let numbers = first..end;
                    let (restarts, part) = made(&params, numbers.clone());
                    assert_eq!(part, Part { finished: numbers.end - numbers.start, enough: None });
                    assert!(restarts.keys().copied().eq(numbers), "{:?}", restarts.keys());
                    joined.finished.extend(restarts);
                }
                assert_eq!(joined.finished, whole);
                assert_eq!(alone(&params, &joined).1, candidates);
            }
        }
    }

    #[test]
    fn an_observer_ends_a_part_and_what_is_finished_stays() {
        let kept = Mutex::new(BTreeMap::new());
        let keep =
            |number: u64, restart: &Restart| drop(kept.lock().unwrap().insert(number, restart.clone()));
        let observe = |at: &AttackStep<'_>| match at {
            AttackStep::Restart(at) if at.restart >= 5 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let (params, from) = (params(annealed(20)), AttackState::default());
        let part = pool
            .install(|| make_restarts(&network(), &params, Seed::new(7), 4..8, &from, &observe, &keep))
            .unwrap();
        assert_eq!((part.enough, part.finished), (None, kept.into_inner().unwrap().len() as u64));
        assert!(part.finished < 4);
    }

    #[test]
    fn no_numbers_are_refused() {
        let (params, from) = (params(annealed(2)), AttackState::default());
        let part = make_restarts(&network(), &params, Seed::new(7), 3..3, &from, &go_on, &|_, _| {});
        assert!(matches!(part, Err(AttackError::BadOption { name: "restarts", .. })), "{part:?}");
    }
}
