//! An attack broken off and gone on with gives the same bits as one without a break.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    use palimpsest_kkt::alternating::AlternatingParams;
    use palimpsest_kkt::descent::DescentParams;
    use palimpsest_kkt::gradient::GradientParams;
    use palimpsest_kkt::{
        AttackParams, KktError, Method, PriorKnowledge, Reconstruction, Run, reconstruct, reconstruct_from,
    };
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::seed::Seed;

    fn network() -> Mlp<f32> {
        Mlp::initialise(&[12, 60, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1))
    }

    fn attack(method: Method) -> AttackParams {
        let prior = PriorKnowledge::default();
        AttackParams { method, candidates: Some(8), restarts: 5, rank: Some(6), prior }
    }

    fn assert_same(a: &Reconstruction, b: &Reconstruction) {
        assert_eq!(a.candidates, b.candidates);
        assert_eq!((&a.multipliers, &a.confidence, &a.ranking), (&b.multipliers, &b.confidence, &b.ranking));
        for (a, b) in a.runs.iter().zip(&b.runs) {
            assert_eq!((a.restart, &a.curve, a.collapsed), (b.restart, &b.curve, b.collapsed));
        }
    }

    #[test]
    fn any_set_of_finished_restarts_leads_to_the_same_bits() {
        for method in [
            Method::Annealed(DescentParams { steps: 30, ..DescentParams::default() }),
            Method::Alternating(AlternatingParams { steps: 20, ..AlternatingParams::default() }),
            Method::Gradient(GradientParams { steps: 20, ..GradientParams::default() }),
        ] {
            let (net, params, seed) = (network(), attack(method), Seed::new(7));
            let go_on = |_: &_| ControlFlow::Continue(());
            let all = Mutex::new(BTreeMap::new());
            let keep = |restart: u64, run: &Run| {
                all.lock().unwrap().insert(restart, run.clone());
            };
            let whole = reconstruct_from(&net, &params, seed, &BTreeMap::new(), &go_on, &keep).unwrap();
            assert_same(&whole, &reconstruct(&net, &params, seed, &go_on).unwrap());
            let all = all.into_inner().unwrap();
            assert_eq!(all.len(), 5);
            for chosen in [0b00001_u64, 0b10110, 0b11111] {
                let finished: BTreeMap<u64, Run> = all
                    .iter()
                    .filter(|(i, _)| chosen >> **i & 1 == 1)
                    .map(|(i, run)| (*i, run.clone()))
                    .collect();
                let more = Mutex::new(finished.clone());
                let keep = |restart: u64, run: &Run| {
                    assert!(more.lock().unwrap().insert(restart, run.clone()).is_none(), "done twice");
                };
                let resumed = reconstruct_from(&net, &params, seed, &finished, &go_on, &keep).unwrap();
                assert_same(&whole, &resumed);
                assert_eq!(more.into_inner().unwrap(), all);
            }
        }
    }

    #[test]
    fn runs_of_another_attack_are_refused() {
        let (net, params) = (network(), attack(Method::Annealed(DescentParams::default())));
        let fewer = AttackParams { candidates: Some(6), restarts: 1, ..params };
        let runs = Mutex::new(BTreeMap::new());
        let keep = |restart: u64, run: &Run| {
            runs.lock().unwrap().insert(restart, run.clone());
        };
        let go_on = |_: &_| ControlFlow::Continue(());
        reconstruct_from(&net, &fewer, Seed::new(7), &BTreeMap::new(), &go_on, &keep).unwrap();
        let error =
            reconstruct_from(&net, &params, Seed::new(7), &runs.into_inner().unwrap(), &go_on, &|_, _| {});
        assert!(matches!(error, Err(KktError::ForeignRun { restart: 0, .. })), "{error:?}");
    }
}
