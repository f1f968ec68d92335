//! Membership on small networks that are trained here: members are found, others are not, and what cannot work is refused.

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::LazyLock;

    use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand_distr::StandardNormal;
    use palimpsest_attack::evidence::membership::{
        Compared, Membership, MembershipError, Outputs, Weights, assess,
    };
    use palimpsest_mlp::train::{Schedule, TrainParams, train};
    use palimpsest_mlp::{BiasPlacement, Mlp};
    use palimpsest_numerics::gemm::{Parallelism, matmul};
    use palimpsest_numerics::seed::Seed;

    const SIDE: usize = 12;
    const INPUTS: usize = SIDE * SIDE;
    const MEMBERS: usize = 20;

    /// Smooth pictures: noise in which near pixels share most of what they are.
    fn pictures(count: usize, name: &str) -> Array2<f32> {
        let noise: Array2<f32> =
            Array2::random_using((count, INPUTS), StandardNormal, &mut Seed::new(5).named(name).rng());
        let near = Array2::from_shape_fn((INPUTS, INPUTS), |(a, b)| {
            let (y, x) = ((a / SIDE).abs_diff(b / SIDE), (a % SIDE).abs_diff(b % SIDE));
            (-((x * x + y * y) as f32) / 3.0).exp()
        });
        matmul(noise.view(), near.view(), Parallelism::Sequential)
    }

    struct Victim {
        network: Mlp<f32>,
        untrained: Mlp<f32>,
        members: Array2<f32>,
        others: Array2<f32>,
        references: Array2<f32>,
    }

    static VICTIM: LazyLock<Victim> =
        LazyLock::new(|| {
            let members = pictures(MEMBERS, "members");
            let labels = Array1::from_shape_fn(MEMBERS, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
            let network =
                Mlp::<f32>::initialise(&[INPUTS, 60, 1], BiasPlacement::FirstLayer, 0.05, Seed::new(3));
            let schedule = Schedule::WeightDecay { weight_decay: 5e-3, step_size: 0.05 };
            let params = TrainParams { max_epochs: 1500, ..TrainParams::new(schedule) };
            let trained = train(network.clone(), members.view(), labels.view(), &params, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            Victim {
                network: trained.network,
                untrained: network,
                members,
                others: pictures(400, "others"),
                references: pictures(300, "references"),
            }
        });

    fn look(network: &Mlp<f32>, records: &Array2<f32>, references: Option<&Array2<f32>>) -> Membership {
        assess(
            Weights::Network(network, Outputs::Classes),
            records.view(),
            references.map(|references| references.view()),
            Parallelism::Sequential,
        )
        .unwrap()
    }

    fn p_values(found: &Membership) -> Vec<f64> {
        found.records.iter().map(|record| record.log_p.unwrap().exp()).collect()
    }

    fn both(victim: &Victim) -> Array2<f32> {
        concatenate(Axis(0), &[victim.members.view(), victim.others.view()]).unwrap()
    }

    #[test]
    fn members_are_found_and_the_p_values_of_others_are_uniform() {
        let victim = &*VICTIM;
        let found = look(&victim.network, &both(victim), Some(&victim.references));
        let ps = p_values(&found);
        let members = ps[..MEMBERS].iter().filter(|&&p| p < 1e-3).count();
        assert!(members >= MEMBERS - 2, "{members} of {MEMBERS} members: {:?}", &ps[..MEMBERS]);
        let mut others = ps[MEMBERS..].to_vec();
        others.sort_by(f64::total_cmp);
        let n = others.len() as f64;
        let distance =
            others.iter().enumerate().map(|(i, p)| (p - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max);
        // Both samples have an error: 1.63 sqrt(1/400 + 1/300) is the bound at one in a hundred.
        assert!(distance < 0.125, "Kolmogorov-Smirnov {distance}");
        assert!(others.iter().filter(|&&p| p < 1e-3).count() <= 3);
        assert_eq!(found.compared, Compared::References { used: 300 });
        let multiplier = |range: std::ops::Range<usize>| -> f64 {
            let length = range.len() as f64;
            found.records[range].iter().map(|record| record.multiplier.unwrap()).sum::<f64>() / length
        };
        assert!(multiplier(0..MEMBERS) > 5.0 * multiplier(MEMBERS..MEMBERS + 400));
    }

    #[test]
    fn references_score_as_others_do_each_as_if_it_had_not_been_one() {
        let victim = &*VICTIM;
        let found = look(&victim.network, &victim.others, Some(&victim.references));
        let (others, references) =
            (found.records.iter().map(|r| r.score).collect::<Vec<_>>(), &found.reference_scores);
        assert_eq!(references.len(), 300);
        let share = |of: &[f64], at: f64| of.iter().filter(|&&v| v <= at).count() as f64 / of.len() as f64;
        let at = others.iter().chain(references);
        let distance = at.map(|&v| (share(&others, v) - share(references, v)).abs()).fold(0.0, f64::max);
        // 1.63 sqrt(1/400 + 1/300) is the bound of Kolmogorov and Smirnov at one in a hundred.
        assert!(distance < 0.125, "{distance}");
        // Members have other scores: what is measured does tell records apart.
        let members = look(&victim.network, &both(victim), Some(&victim.references));
        let largest = references.iter().fold(0.0, |a: f64, &b| a.max(b));
        assert!(members.records[..MEMBERS].iter().filter(|r| r.score > largest).count() > MEMBERS / 2);
        assert!(look(&victim.network, &victim.others, None).reference_scores.is_empty());
    }

    #[test]
    fn a_layer_alone_tells_members_by_their_span() {
        let victim = &*VICTIM;
        let layer = victim.network.layers()[0].weight.view();
        let records = both(victim);
        let found = assess(
            Weights::Layer(layer),
            records.view(),
            Some(victim.references.view()),
            Parallelism::Sequential,
        )
        .unwrap();
        let members = p_values(&found)[..MEMBERS].iter().filter(|&&p| p < 1e-3).count();
        // 16 when this was written: without the gradient the weakest members have no trace.
        assert!(members >= MEMBERS * 3 / 4, "{members}");
        assert!(found.records.iter().all(|r| r.gradient_score.is_none() && r.multiplier.is_none()));
    }

    #[test]
    fn a_network_that_never_saw_them_claims_nothing() {
        let victim = &*VICTIM;
        let found = look(&victim.untrained, &both(victim), Some(&victim.references));
        let small = p_values(&found).iter().filter(|&&p| p < 1e-3).count();
        assert!(small <= 3, "{small} of 420 below 0.001");
    }

    #[test]
    fn without_references_records_are_ranked_and_nothing_more() {
        let victim = &*VICTIM;
        let found = look(&victim.network, &both(victim), None);
        assert_eq!(found.compared, Compared::Themselves);
        assert!(found.records.iter().all(|record| record.log_p.is_none()));
        let mut order: Vec<usize> = (0..found.records.len()).collect();
        order.sort_by(|&a, &b| found.records[b].score.total_cmp(&found.records[a].score));
        let first = order[..MEMBERS].iter().filter(|&&i| i < MEMBERS).count();
        assert!(first >= MEMBERS - 2, "{first} of the first {MEMBERS}");
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let victim = &*VICTIM;
        let weights = Weights::Network(&victim.network, Outputs::Classes);
        let references = Some(victim.references.view());
        let all = both(victim);
        let one = assess(weights, all.view(), references, Parallelism::Sequential).unwrap();
        let four = assess(weights, all.view(), references, Parallelism::of_threads(4)).unwrap();
        assert_eq!(one.records, four.records);
    }

    #[test]
    fn a_record_that_is_a_reference_is_said_and_left_out() {
        let victim = &*VICTIM;
        let mut records = victim.others.slice(s![..40, ..]).to_owned();
        records.row_mut(7).assign(&victim.references.row(123));
        let found = look(&victim.network, &records, Some(&victim.references));
        assert_eq!(found.compared, Compared::References { used: 299 });
        for (row, record) in found.records.iter().enumerate() {
            assert_eq!(record.same_reference, (row == 7).then_some(123));
        }
    }

    #[test]
    fn records_of_another_range_or_order_are_strange() {
        let victim = &*VICTIM;
        let strange = |records: &Array2<f32>| {
            let found = look(&victim.network, records, Some(&victim.references));
            found.records.iter().filter(|record| record.strangeness > 6.0).count()
        };
        let records = victim.others.slice(s![..50, ..]).to_owned();
        assert_eq!(strange(&records), 0);
        assert_eq!(strange(&(&records * 255.0)), 50);
        // Pixels in another order are as large as ever, but rough.
        let order: Vec<usize> = (0..INPUTS).map(|i| i * 59 % INPUTS).collect();
        assert!(strange(&records.select(Axis(1), &order)) > 25);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_reason() {
        let victim = &*VICTIM;
        let refused = |records: ArrayView2<'_, f32>, references: Option<ArrayView2<'_, f32>>| {
            let weights = Weights::Network(&victim.network, Outputs::Classes);
            assess(weights, records, references, Parallelism::Sequential).unwrap_err()
        };
        let (records, references) = (victim.others.view(), victim.references.view());
        assert!(matches!(
            refused(records.slice(s![.., 1..]), Some(references)),
            MembershipError::Width { what: "records", got: 143, expected: 144 }
        ));
        assert!(matches!(
            refused(records, Some(references.slice(s![.., 1..]))),
            MembershipError::Width { what: "references", .. }
        ));
        assert!(matches!(
            refused(records, Some(references.slice(s![..199, ..]))),
            MembershipError::FewReferences { got: 199 }
        ));
        assert!(matches!(refused(records.slice(s![..0, ..]), Some(references)), MembershipError::None(_)));
        assert!(matches!(refused(records.slice(s![..9, ..]), None), MembershipError::FewRecords { got: 9 }));
        for bad in [f32::NAN, f32::INFINITY] {
            let mut broken = victim.others.clone();
            broken[[3, 5]] = bad;
            assert!(matches!(
                refused(broken.view(), Some(references)),
                MembershipError::NotFinite { what: "records", row: 3 }
            ));
        }
        let mut black = victim.others.clone();
        black.row_mut(2).fill(0.0);
        assert!(matches!(refused(black.view(), None), MembershipError::Zero { row: 2, .. }));
        let layer = Array2::zeros((5, INPUTS));
        let zero = assess(Weights::Layer(layer.view()), records, Some(references), Parallelism::Sequential);
        assert!(matches!(zero, Err(MembershipError::Factor(_))));
        // References that are all the same are no population, but no reason to panic.
        let same = Array2::ones((300, INPUTS));
        let _ = assess(
            Weights::Network(&victim.network, Outputs::Classes),
            records,
            Some(same.view()),
            Parallelism::Sequential,
        );
    }

    #[test]
    fn networks_of_any_outputs_are_looked_into() {
        for (outputs, dims) in [
            (Outputs::Classes, vec![INPUTS, 30, 20, 7]),
            (Outputs::Values, vec![INPUTS, 30, 3]),
            (Outputs::Values, vec![INPUTS, 1]),
        ] {
            let network = Mlp::<f32>::initialise(&dims, BiasPlacement::Everywhere, 0.1, Seed::new(1));
            let found = assess(
                Weights::Network(&network, outputs),
                VICTIM.others.view(),
                Some(VICTIM.references.view()),
                Parallelism::Sequential,
            )
            .unwrap();
            let ps = p_values(&found);
            assert!(ps.iter().all(|p| (0.0..=1.0).contains(p)), "{dims:?}");
            assert!(ps.iter().filter(|&&p| p < 1e-3).count() <= 3, "{dims:?}");
        }
    }
}
