//! A stage that nobody knew of: a file with an `impl Stage` and a place in the list, and no edit anywhere else.

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ndarray::Array1;
    use palimpsest_attack::Label;
    use palimpsest_attack::search::annealed::DescentParams;
    use palimpsest_attack::stages;
    use palimpsest_attack::{
        AttackContext, AttackError, AttackParams, AttackState, AttackStep, Candidate, Method, Origin,
        Outcome, Reconstruction, Stage, WhyNot, reconstruct_by,
    };
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::seed::Seed;

    /// Finds what it was told, on networks with a first layer as wide as it likes.
    struct Toy {
        least_width: usize,
    }

    impl Stage for Toy {
        fn name(&self) -> &'static str {
            "toy"
        }

        fn applies(&self, context: &AttackContext<'_>) -> Result<(), WhyNot> {
            if context.network.dims()[1] < self.least_width {
                return Err(WhyNot::because("the first layer is too narrow"));
            }
            Ok(())
        }

        fn run(&self, context: &mut AttackContext<'_>) -> Result<Outcome, AttackError> {
            let coordinates = Array1::from_elem(context.problem.rank(), 0.5);
            let found = Candidate {
                origin: Origin::Separation,
                coordinates,
                multiplier: 1.0,
                label: Label::POSITIVE,
                probability: 0.75,
                support: None,
            };
            Ok(Outcome::Found(vec![found]))
        }
    }

    fn attacked(least_width: usize) -> Reconstruction {
        let network = Mlp::initialise(&[12, 60, 40, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
        let descent = DescentParams { steps: 5, ..DescentParams::default() };
        let mut params = AttackParams::of(Method::Annealed(descent), 2);
        params.candidates = Some(8);
        params.rank = Some(6);
        let mut list = stages::all();
        list.push(Box::new(Toy { least_width }));
        let go_on = |_: &AttackStep<'_>| ControlFlow::Continue(());
        let from = AttackState::default();
        reconstruct_by(&list, &network, &params, Seed::new(3), &from, &go_on, &|_, _| {})
            .expect("it can be attacked")
    }

    #[test]
    fn a_new_stage_is_a_file_and_a_place_in_the_list() {
        let found = attacked(10);
        let record = found.stages.last().expect("every stage has a record");
        assert_eq!((record.stage.as_str(), record.candidates, &record.why_not), ("toy", 1, &None));
        assert_eq!((found.candidates.len(), found.count(Origin::Separation)), (17, 1));
        assert_eq!(found.origins()[16], Origin::Separation);
        assert_eq!(
            (found.confidence[16], found.multipliers[16], found.labels[16]),
            (0.75, 1.0, Label::POSITIVE)
        );
    }

    #[test]
    fn a_stage_that_does_not_apply_says_why() {
        let found = attacked(100);
        let record = found.stages.last().expect("every stage has a record");
        let why_not = record.why_not.as_ref().map(ToString::to_string);
        assert_eq!((record.candidates, why_not.as_deref()), (0, Some("the first layer is too narrow")));
        assert_eq!((found.candidates.len(), found.count(Origin::Separation)), (16, 0));
        // So does every other that was left out.
        let left_out = found.stages.iter().filter(|record| record.why_not.is_some()).count();
        assert!(left_out >= 5, "{:?}", found.stages);
    }
}
