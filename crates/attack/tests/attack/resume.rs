//! An attack broken off and gone on with gives the same bits as one without a break.

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    use palimpsest_attack::search::alternating::AlternatingParams;
    use palimpsest_attack::search::annealed::DescentParams;
    use palimpsest_attack::search::published::GradientParams;
    use palimpsest_attack::{
        AttackError, AttackParams, AttackState, AttackStep, Method, PriorKnowledge, Reconstruction, Restart,
        RunState, SaturationParams, reconstruct, reconstruct_from,
    };
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::seed::Seed;

    fn network() -> Mlp<f32> {
        Mlp::initialise(&[12, 60, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1))
    }

    fn attack(method: Method) -> AttackParams {
        let prior = PriorKnowledge::default();
        {
            let mut params = AttackParams::of(method, 5);
            params.candidates = Some(8);
            params.rank = Some(6);
            params.prior = prior;
            params
        }
    }

    fn assert_same(a: &Reconstruction, b: &Reconstruction) {
        assert_eq!(a.candidates, b.candidates);
        assert_eq!((&a.multipliers, &a.confidence, &a.ranking), (&b.multipliers, &b.confidence, &b.ranking));
        for (a, b) in a.restarts.iter().zip(&b.restarts) {
            assert_eq!((a.restart, &a.curve, a.collapsed), (b.restart, &b.curve, b.collapsed));
        }
    }

    /// A curve has a point at every second step, so that restarts are broken off at points and between them.
    fn methods() -> [Method; 3] {
        let steps = 200;
        [
            Method::Annealed(DescentParams { steps, ..DescentParams::default() }),
            Method::Alternating(AlternatingParams { steps, ..AlternatingParams::default() }),
            Method::Gradient(GradientParams { steps, ..GradientParams::default() }),
        ]
    }

    /// An attack that goes on from `from`, and what it has done by its end: with the state of each restart at the step
    /// that `stops` names for it, as it would be read back from a file.
    fn watched(method: Method, from: &AttackState, stops: [usize; 5]) -> (Reconstruction, AttackState) {
        let seen = Mutex::new(from.clone());
        let observe = |at: &AttackStep<'_>| {
            let AttackStep::Restart(at) = at else { unreachable!("no patterns were asked for") };
            if stops[at.restart as usize] == at.step.index {
                let bytes = postcard::to_stdvec(at.step.state).unwrap();
                let state = postcard::from_bytes(&bytes).unwrap();
                seen.lock().unwrap().under_way.insert(at.restart, state);
            }
            ControlFlow::Continue(())
        };
        let keep = |number: u64, restart: &Restart| {
            assert!(seen.lock().unwrap().finished.insert(number, restart.clone()).is_none(), "done twice");
        };
        let found =
            reconstruct_from(&network(), &attack(method), Seed::new(7), from, &observe, &keep).unwrap();
        (found, seen.into_inner().unwrap())
    }

    #[test]
    fn an_attack_that_ends_by_itself_is_one_of_so_many_restarts_also_after_a_break() {
        let mut params = attack(methods()[0]);
        params.restarts = 12;
        params.saturation = Some(SaturationParams { every: 4, agreement: 0.8, new_share: 1.0 });
        let go_on = |_: &AttackStep<'_>| ControlFlow::Continue(());
        let kept = Mutex::new(AttackState::default());
        let keep = |number: u64, restart: &Restart| {
            kept.lock().unwrap().finished.insert(number, restart.clone());
        };
        let seed = Seed::new(7);
        let from = AttackState::default();
        let found = reconstruct_from(&network(), &params, seed, &from, &go_on, &keep).unwrap();
        let ended = found.saturation.expect("all that is found may be new");
        assert_eq!((ended.restarts, ended.last, found.restarts.len()), (4, 2, 4));
        let told = found.stages.last().unwrap().why_not.as_ref().unwrap().to_string();
        assert_eq!(told, "the last 2 restarts brought nothing new");
        let mut state = kept.into_inner().unwrap();
        state.finished.remove(&2);
        let resumed = reconstruct_from(&network(), &params, seed, &state, &go_on, &|_, _| {}).unwrap();
        assert_same(&found, &resumed);
        params.saturation = None;
        params.restarts = 4;
        let counted = reconstruct(&network(), &params, seed, &go_on).unwrap();
        assert_same(&found, &counted);
        assert_eq!(counted.saturation, None);
    }

    #[test]
    fn an_attack_broken_off_anywhere_leads_to_the_same_bits() {
        for method in methods() {
            let (whole, done) = watched(method, &AttackState::default(), [0, 1, 50, 117, 199]);
            let go_on = |_: &AttackStep<'_>| ControlFlow::Continue(());
            assert_same(&whole, &reconstruct(&network(), &attack(method), Seed::new(7), &go_on).unwrap());
            assert_eq!((done.finished.len(), done.under_way.len()), (5, 5));
            let taken: Vec<usize> = done.under_way.values().map(RunState::steps_taken).collect();
            assert_eq!(taken, [0, 1, 50, 117, 199]);
            for (finished, under_way) in
                [(0b00001_u64, 0), (0b10110, 0), (0b11111, 0), (0, 0b11111), (0b00110, 0b01001)]
            {
                let mut from = done.clone();
                from.finished.retain(|i, _| finished >> i & 1 == 1);
                from.under_way.retain(|i, _| under_way >> i & 1 == 1);
                let (resumed, again) = watched(method, &from, [usize::MAX; 5]);
                assert_same(&whole, &resumed);
                assert_eq!(again.finished, done.finished);
            }
        }
    }

    #[test]
    fn a_run_broken_off_twice_leads_to_the_same_bits() {
        for method in methods() {
            let (whole, mut first) = watched(method, &AttackState::default(), [30; 5]);
            first.finished.clear();
            let (_, mut second) = watched(method, &first, [31, 60, 100, 150, 199]);
            second.finished.clear();
            let (resumed, _) = watched(method, &second, [usize::MAX; 5]);
            assert_same(&whole, &resumed);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

        /// A state whose bytes were altered, and whose checksum was put right again, ends in a result or an error.
        #[test]
        fn altered_states_do_not_panic(
            which in 0_usize..3,
            edits in proptest::collection::vec((0_usize..100_000, 0_u8..), 1..8),
        ) {
            let methods = [
                Method::Annealed(DescentParams { steps: 4, ..DescentParams::default() }),
                Method::Alternating(AlternatingParams { steps: 4, ..AlternatingParams::default() }),
                Method::Gradient(GradientParams { steps: 4, ..GradientParams::default() }),
            ];
            let (_, mut state) = watched(methods[which], &AttackState::default(), [2; 5]);
            state.finished.retain(|i, _| i % 2 == 0);
            state.under_way.retain(|i, _| i % 2 == 1);
            let mut bytes = postcard::to_stdvec(&state).unwrap();
            let length = bytes.len();
            edits.iter().for_each(|&(at, value)| bytes[at % length] = value);
            if let Ok(state) = postcard::from_bytes::<AttackState>(&bytes) {
                let go_on = |_: &AttackStep<'_>| ControlFlow::Continue(());
                let params = attack(methods[which]);
                let _ = reconstruct_from(&network(), &params, Seed::new(7), &state, &go_on, &|_, _| {});
            }
        }
    }

    #[test]
    fn runs_of_another_attack_are_refused() {
        let [annealed, alternating, gradient] = methods();
        let (_, done) = watched(annealed, &AttackState::default(), [3; 5]);
        let fewer = {
            let mut params = attack(annealed);
            params.candidates = Some(6);
            params
        };
        let shorter = attack(Method::Annealed(DescentParams { steps: 3, ..DescentParams::default() }));
        let mut finished = done.clone();
        finished.under_way.clear();
        let mut under_way = done;
        under_way.finished.clear();
        for (params, from) in [
            (fewer, &finished),
            (fewer, &under_way),
            (shorter, &under_way),
            (attack(alternating), &under_way),
            (attack(gradient), &under_way),
        ] {
            let go_on = |_: &AttackStep<'_>| ControlFlow::Continue(());
            let error = reconstruct_from(&network(), &params, Seed::new(7), from, &go_on, &|_, _| {});
            assert!(matches!(error, Err(AttackError::ForeignRestart { restart: 0, .. })), "{error:?}");
        }
    }
}
