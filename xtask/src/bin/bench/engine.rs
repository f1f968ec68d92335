//! Products, training epochs, attack steps and certificates, with their counts of floating-point operations.

use std::hint::black_box;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2};
use palimpsest_attack::search::alternating::{AlternatingParams, alternate};
use palimpsest_attack::search::annealed::DescentParams;
use palimpsest_attack::{AttackParams, AttackProblem, Method, PriorKnowledge, reconstruct};
use palimpsest_kkt::certify;
use palimpsest_kkt::stationarity::{StationarityResidual, TermWeights};
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::train::{Schedule, TrainParams, TrainingSpace, train};
use palimpsest_mlp::{Activation, Mlp};
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::seed::Seed;

use super::work::{Amount, Laps, Moment, Net, Work, binary, draw, repeated};

/// A product (m, k) (k, n); `transposed` says for each factor whether it is a transposed view, `t`, or not, `n`.
pub(super) fn product(m: usize, k: usize, n: usize, transposed: &str, threads: usize) -> Work {
    let a = if transposed.starts_with('t') { draw(k, m, "a").reversed_axes() } else { draw(m, k, "a") };
    let b = if transposed.ends_with('t') { draw(n, k, "b").reversed_axes() } else { draw(k, n, "b") };
    let mut c = Array2::zeros((m, n));
    let parallelism = Parallelism::of_threads(threads);
    let letters = match transposed {
        "nt" => "A B^T",
        "tn" => "A^T B",
        _ => "A B",
    };
    Work {
        group: "Products",
        name: format!("{letters}, {m} x {k} x {n}"),
        threads,
        amount: Amount::Operations(2.0 * (m * k * n) as f64),
        peer: Some(format!("product {m} {k} {n} {transposed}")),
        run: Box::new(move || {
            Ok(repeated(4, || gemm(1.0, a.view(), b.view(), 0.0, c.view_mut(), parallelism)))
        }),
    }
}

/// An epoch on `n` inputs: beside the peer of plain descent, as it does it, with all inputs of the published network; alone with
/// momentum, as `train` does.
pub(super) fn epoch(
    group: &'static str,
    name: &str,
    n: usize,
    net: Net,
    peer: Option<&str>,
    threads: usize,
) -> Work {
    let (first, hidden) = net.passes();
    let y = Array1::from_shape_fn(n, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
    let step_size = 1e-6;
    let schedule = match peer {
        Some(_) => Schedule::GradientDescent { step_size },
        None => Schedule::PacedFlow { step_size },
    };
    let params = TrainParams {
        max_epochs: 4,
        space: TrainingSpace::Full,
        parallelism: Parallelism::of_threads(threads),
        ..TrainParams::new(schedule)
    };
    let mut held: Option<(Mlp<f32>, Array2<f32>)> = None;
    Work {
        group,
        name: name.to_owned(),
        threads,
        amount: Amount::Operations(2.0 * n as f64 * (2.0 * first + 3.0 * hidden)),
        peer: peer.map(str::to_owned),
        run: Box::new(move || {
            let (network, x) = held.get_or_insert_with(|| (net.network(), draw(n, net.d, "x")));
            let mut laps = Laps::new(params.max_epochs);
            let mut observe = |epoch: &palimpsest_mlp::train::Epoch<'_, f32>| {
                laps.see(epoch.index);
                ControlFlow::Continue(())
            };
            train(network.clone(), x.view(), y.view(), &params, &mut observe)
                .expect("steps this small do not diverge");
            Ok(laps.sample())
        }),
    }
}

/// A step of the residual's closed-form gradient; with all layers it is the published attack's.
pub(super) fn closed_form(
    group: &'static str,
    name: &str,
    m: usize,
    net: Net,
    scope: Scope,
    peer: Option<&str>,
    threads: usize,
) -> Work {
    let (first, hidden) = net.passes();
    let hidden_products = if scope == Scope::AllLayers { 7.0 } else { 4.0 };
    let activation = Activation::SigmoidGate { alpha: 20.0 };
    let parallelism = Parallelism::of_threads(threads);
    let (pull, lambda) = (binary(m), Array1::from_elem(m, 0.01));
    let terms = TermWeights::uniform(net.depth);
    Work {
        group,
        name: name.to_owned(),
        threads,
        amount: Amount::Operations(2.0 * m as f64 * (5.0 * first + hidden_products * hidden)),
        peer: peer.map(str::to_owned),
        run: Box::new(move || {
            let (network, x) = (net.network(), draw(m, net.d, "x"));
            let mut residual = StationarityResidual::new(&network, m, scope);
            let (mut dx, mut dlambda) = (Array2::zeros((m, net.d)), Array1::zeros(m));
            Ok(repeated(1, || {
                let (x, lambda) = (x.view(), lambda.view());
                residual.evaluate(&network, activation, &pull, x, lambda, parallelism);
                residual.gradient(&network, activation, &terms, x, &mut dx, &mut dlambda, parallelism);
            }))
        }),
    }
}

/// A step of the alternating attack.
pub(super) fn alternating(group: &'static str, name: &str, m: usize, net: Net, threads: usize) -> Work {
    let (first, hidden) = net.passes();
    let (rows, columns) = (m as f64, net.d as f64 + 1.0);
    // Two passes, half of U U^T, U T, a Cholesky factor and two triangular solves.
    let multiplications = rows * (first + 2.0 * hidden)
        + rows * rows * net.width as f64 / 2.0
        + rows * net.width as f64 * columns
        + rows * rows * rows / 6.0
        + rows * rows * columns;
    let parallelism = Parallelism::of_threads(threads);
    let pull = binary(m);
    let mut problem: Option<AttackProblem> = None;
    Work {
        group,
        name: name.to_owned(),
        threads,
        amount: Amount::Operations(2.0 * multiplications),
        peer: Some(format!("alternating {m} {} {} {}", net.d, net.width, net.depth)),
        run: Box::new(move || {
            let problem = problem.get_or_insert_with(|| {
                AttackProblem::prepare(&net.network(), PriorKnowledge::default(), Some(net.d), parallelism)
                    .expect("a random network can be attacked")
            });
            // A hundred steps make one point of the curve a step; of so many, one in ten has one.
            let params = AlternatingParams { steps: 1000, ..AlternatingParams::default() };
            let mut laps = Laps::new(4);
            let mut observe = |step: &palimpsest_attack::Step<'_>| {
                laps.see(step.index);
                if step.index == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            alternate(problem, &pull, &params, Seed::new(1), parallelism, &mut observe);
            Ok(laps.sample())
        }),
    }
}

/// Steps of all restarts together, from a network of 100 coordinates: the time of one.
pub(super) fn restarted(restarts: usize, threads: usize) -> Work {
    let net = Net { d: 100, ..Net::PUBLISHED };
    let (first, hidden) = net.passes();
    let (m, steps) = (200, 10);
    let mut params =
        AttackParams::of(Method::Annealed(DescentParams { steps, ..DescentParams::default() }), restarts);
    params.candidates = Some(m);
    params.rank = Some(net.d);
    let network = net.network();
    Work {
        group: "Scaling in restarts",
        name: format!("a step of {restarts} restarts, start included, m = {m}, subspace {}", net.d),
        threads,
        amount: Amount::Operations(2.0 * m as f64 * (5.0 * first + 4.0 * hidden)),
        peer: None,
        run: Box::new(move || {
            let start = Moment::now();
            let found = reconstruct(&network, &params, Seed::new(1), &|_| ControlFlow::Continue(()));
            black_box(found.expect("a random network can be attacked"));
            Ok(start.until(Moment::now(), restarts * steps))
        }),
    }
}

/// A certificate of the first layer at `n` inputs, in f64. Its non-negative least squares are left out of the count.
pub(super) fn certificate(group: &'static str, n: usize, net: Net, threads: usize) -> Work {
    let (first, hidden) = net.passes();
    let rows = n as f64;
    // Two passes over the hidden layers forward and back, and back again; three over the first; two half Gram matrices.
    let multiplications =
        rows * (3.0 * first + 4.0 * hidden) + rows * rows * (net.d + net.width) as f64 / 2.0;
    let parallelism = Parallelism::of_threads(threads);
    let labels: Vec<i8> = (0..n).map(|i| if i % 2 == 0 { 1 } else { -1 }).collect();
    Work {
        group,
        name: format!("certificate, n = {n}, d = {}", net.d),
        threads,
        amount: Amount::Operations64(2.0 * multiplications),
        peer: None,
        run: Box::new(move || {
            let (network, x) = (net.network().cast::<f64>(), draw(n, net.d, "x").mapv(f64::from));
            let activation = Activation::SigmoidGate { alpha: 20.0 };
            let start = Moment::now();
            let certified = certify(&network, activation, x.view(), &labels, Scope::FirstLayer, parallelism);
            black_box(certified.expect("a random network has a certificate, if a bad one"));
            Ok(start.until(Moment::now(), 1))
        }),
    }
}
