//! The work that is measured, with its count of floating-point operations.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use ndarray::{Array1, Array2};
use palimpsest_kkt::alternating::{AlternatingParams, alternate};
use palimpsest_kkt::descent::DescentParams;
use palimpsest_kkt::stationarity::{OutputWeighting, StationarityResidual, TermWeights};
use palimpsest_kkt::{AttackParams, AttackProblem, Method, PriorKnowledge, reconstruct};
use palimpsest_mlp::passes::Scope;
use palimpsest_mlp::train::{Schedule, TrainParams, TrainingSpace, train};
use palimpsest_mlp::{Activation, BiasPlacement, Mlp};
use palimpsest_numerics::elementwise::{bias_value_slope, relu_gate};
use palimpsest_numerics::gemm::{Parallelism, gemm};
use palimpsest_numerics::seed::Seed;

/// One step of some work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Seconds that all threads of the process were running.
    pub(super) cpu_seconds: f64,
    /// Allocations of the process a step.
    pub(super) allocations: f64,
}

/// A piece of work; `run` does a few steps and tells the mean of one.
pub(super) struct Work {
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) threads: usize,
    pub(super) operations: f64,
    /// What the peer is asked for, without threads.
    pub(super) peer: Option<String>,
    pub(super) run: Box<dyn FnMut() -> Sample + Send>,
}

/// Sizes of a network: inputs, width of all hidden layers, weight layers.
#[derive(Clone, Copy, Debug)]
struct Net {
    d: usize,
    width: usize,
    depth: usize,
}

const PUBLISHED: Net = Net { d: 3072, width: 1000, depth: 3 };
/// The published network on the coordinates of 500 training inputs.
const SUBSPACE: Net = Net { d: 500, ..PUBLISHED };

impl Net {
    fn network(self) -> Mlp<f32> {
        let mut dims = vec![self.width; self.depth + 1];
        (dims[0], dims[self.depth]) = (self.d, 1);
        Mlp::initialise(&dims, BiasPlacement::FirstLayer, 0.02, Seed::new(1))
    }

    /// Multiplications a row of a batch needs for one pass through the first layer, and through the other wide ones.
    fn passes(self) -> (f64, f64) {
        let width = self.width as f64;
        (self.d as f64 * width, (self.depth as f64 - 2.0) * width * width)
    }
}

/// What the documentation quotes.
pub(super) fn main_works(cores: usize) -> Vec<Work> {
    let mut works = Vec::new();
    let threads = if cores > 1 { vec![1, 2] } else { vec![1] };
    for &threads in &threads {
        for (m, k, n) in [(1000, 500, 1000), (1000, 1000, 1000), (1000, 3072, 1000), (198, 1000, 1000)] {
            for transposed in ["nn", "nt", "tn"] {
                works.push(product(m, k, n, transposed, threads));
            }
        }
        works.push(epoch("training epoch, n = 500, all inputs", 500, PUBLISHED, 500, threads));
        works.push(epoch("training epoch, n = 500, exact subspace", 500, SUBSPACE, PUBLISHED.d, threads));
        for (space, net) in [("all inputs", PUBLISHED), ("subspace 500", SUBSPACE)] {
            let all = format!("published attack step, m = 1000, {space}");
            let peer = format!("attack 1000 {} 1000 3 float32", PUBLISHED.d);
            works.push(closed_form(&all, 1000, net, Scope::AllLayers, Some(peer), threads));
        }
        let annealed = "annealed descent step, m = 1000, subspace 500";
        works.push(closed_form(annealed, 1000, SUBSPACE, Scope::FirstLayer, None, threads));
        works.push(alternating("alternating step, m = 1000, subspace 500", 1000, SUBSPACE, threads));
    }
    // One table a group; the sort keeps the order within.
    works
        .sort_by_key(|work| ["Products", "Training", "Attack"].iter().position(|&group| group == work.group));
    works
}

/// One size varied at a time.
pub(super) fn scaling_works(cores: usize) -> Vec<Work> {
    let mut works = Vec::new();
    let threads = cores.min(2);
    let net = |d, width, depth| Net { d, width, depth };
    for n in [100, 500, 1000, 2000, 5000] {
        works.push(epoch(
            &format!("epoch, n = {n}, exact subspace"),
            n,
            net(n.min(3072), 1000, 3),
            0,
            threads,
        ));
    }
    for width in [256, 1000, 2000, 4096] {
        works.push(epoch(&format!("epoch, n = 500, width {width}"), 500, net(500, width, 3), 0, threads));
    }
    for depth in [2, 3, 4, 5] {
        works.push(epoch(&format!("epoch, n = 500, {depth} layers"), 500, net(500, 1000, depth), 0, threads));
    }
    for m in [100, 200, 500, 1000, 2000] {
        let name = format!("annealed step, m = {m}, subspace {}", m / 2);
        works.push(closed_form(&name, m, net(m / 2, 1000, 3), Scope::FirstLayer, None, threads));
    }
    for d in [784, 3072, 12_288] {
        let name = format!("published step, m = 500, d = {d}");
        works.push(closed_form(&name, 500, net(d, 1000, 3), Scope::AllLayers, None, threads));
    }
    for restarts in [1, 2, 4] {
        works.push(restarted(restarts, threads));
    }
    works.iter_mut().for_each(|work| work.group = "Scaling");
    works
}

fn draw(rows: usize, cols: usize, name: &str) -> Array2<f32> {
    let net = Mlp::initialise(&[cols, rows], BiasPlacement::Nowhere, 1.0, Seed::new(1).named(name));
    net.layers()[0].weight.clone()
}

/// A moment, with what the process has used up to it.
#[derive(Clone, Copy)]
struct Moment {
    time: Instant,
    cpu_seconds: f64,
    allocations: usize,
}

impl Moment {
    fn now() -> Self {
        let allocations = crate::allocations();
        Self { time: Instant::now(), cpu_seconds: super::limit::cpu_seconds(), allocations }
    }

    /// Mean of `steps` steps from here to `end`.
    fn until(self, end: Self, steps: usize) -> Sample {
        let steps = steps.max(1) as f64;
        Sample {
            seconds: (end.time - self.time).as_secs_f64() / steps,
            cpu_seconds: (end.cpu_seconds - self.cpu_seconds) / steps,
            allocations: (end.allocations - self.allocations) as f64 / steps,
        }
    }
}

/// Mean of `steps` calls, after one that is not counted.
fn repeated(steps: usize, mut step: impl FnMut()) -> Sample {
    step();
    let start = Moment::now();
    let before = crate::allocations();
    (0..steps).for_each(|_| step());
    let made = crate::allocations() - before;
    Sample { allocations: made as f64 / steps as f64, ..start.until(Moment::now(), steps) }
}

/// Notes from the outside when the second step of a loop begins, and when its last one does.
struct Laps {
    last: usize,
    start: Option<Moment>,
    end: Option<Moment>,
    allocations: [usize; 2],
}

impl Laps {
    /// `last` is the index of the last step seen, above 1.
    fn new(last: usize) -> Self {
        Self { last, start: None, end: None, allocations: [0; 2] }
    }

    fn see(&mut self, index: usize) {
        if index == 1 {
            self.start = Some(Moment::now());
            self.allocations[0] = crate::allocations();
        } else if index == self.last {
            self.allocations[1] = crate::allocations();
            self.end = Some(Moment::now());
        }
    }

    fn sample(&self) -> Sample {
        let (start, end) = self.start.zip(self.end).expect("the loop ran to its last step");
        let steps = self.last - 1;
        let allocations = (self.allocations[1] - self.allocations[0]) as f64 / steps as f64;
        Sample { allocations, ..start.until(end, steps) }
    }
}

fn product(m: usize, k: usize, n: usize, transposed: &str, threads: usize) -> Work {
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
        operations: 2.0 * (m * k * n) as f64,
        peer: Some(format!("product {m} {k} {n} {transposed}")),
        run: Box::new(move || repeated(4, || gemm(1.0, a.view(), b.view(), 0.0, c.view_mut(), parallelism))),
    }
}

/// An epoch on `n` inputs; the peer does it with `peer_inputs` columns where they are not 0.
fn epoch(name: &str, n: usize, net: Net, peer_inputs: usize, threads: usize) -> Work {
    let (first, hidden) = net.passes();
    // The peer always has all inputs: it knows no subspace.
    let peer = (peer_inputs > 0).then(|| format!("epoch {n} {} {} {}", PUBLISHED.d, net.width, net.depth));
    let y = Array1::from_shape_fn(n, |i| if i % 2 == 0 { 1.0 } else { -1.0 });
    let params = TrainParams {
        max_epochs: 4,
        space: TrainingSpace::Full,
        parallelism: Parallelism::of_threads(threads),
        ..TrainParams::new(Schedule::PacedFlow { step_size: 1e-6 })
    };
    let mut held: Option<(Mlp<f32>, Array2<f32>)> = None;
    Work {
        group: "Training",
        name: name.to_owned(),
        threads,
        operations: 2.0 * n as f64 * (2.0 * first + 3.0 * hidden),
        peer,
        run: Box::new(move || {
            let (network, x) = held.get_or_insert_with(|| (net.network(), draw(n, net.d, "x")));
            let mut laps = Laps::new(params.max_epochs);
            let mut observe = |epoch: &palimpsest_mlp::train::Epoch<'_, f32>| {
                laps.see(epoch.index);
                ControlFlow::Continue(())
            };
            train(network.clone(), x.view(), y.view(), &params, &mut observe)
                .expect("steps this small do not diverge");
            laps.sample()
        }),
    }
}

fn binary(m: usize) -> OutputWeighting {
    OutputWeighting::Binary((0..m).map(|i| if i < m / 2 { -1 } else { 1 }).collect())
}

fn closed_form(name: &str, m: usize, net: Net, scope: Scope, peer: Option<String>, threads: usize) -> Work {
    let (first, hidden) = net.passes();
    let hidden_products = if scope == Scope::AllLayers { 7.0 } else { 4.0 };
    let activation = Activation::SigmoidGate { alpha: 20.0 };
    let parallelism = Parallelism::of_threads(threads);
    let (weighting, lambda) = (binary(m), Array1::from_elem(m, 0.01));
    let terms = TermWeights::uniform(net.depth);
    Work {
        group: "Attack",
        name: name.to_owned(),
        threads,
        operations: 2.0 * m as f64 * (5.0 * first + hidden_products * hidden),
        peer,
        run: Box::new(move || {
            let (network, x) = (net.network(), draw(m, net.d, "x"));
            let mut residual = StationarityResidual::new(&network, m, scope);
            let (mut dx, mut dlambda) = (Array2::zeros((m, net.d)), Array1::zeros(m));
            repeated(1, || {
                let (x, lambda) = (x.view(), lambda.view());
                residual.evaluate(&network, activation, &weighting, x, lambda, parallelism);
                residual.gradient(&network, activation, &terms, x, &mut dx, &mut dlambda, parallelism);
            })
        }),
    }
}

fn alternating(name: &str, m: usize, net: Net, threads: usize) -> Work {
    let (first, hidden) = net.passes();
    let (rows, columns) = (m as f64, net.d as f64 + 1.0);
    // Two passes, half of U U^T, U T, a Cholesky factor and two triangular solves.
    let multiplications = rows * (first + 2.0 * hidden)
        + rows * rows * net.width as f64 / 2.0
        + rows * net.width as f64 * columns
        + rows * rows * rows / 6.0
        + rows * rows * columns;
    let parallelism = Parallelism::of_threads(threads);
    let weighting = binary(m);
    let mut problem: Option<AttackProblem> = None;
    Work {
        group: "Attack",
        name: name.to_owned(),
        threads,
        operations: 2.0 * multiplications,
        peer: Some(format!("alternating {m} {} {} {}", net.d, net.width, net.depth)),
        run: Box::new(move || {
            let problem = problem.get_or_insert_with(|| {
                AttackProblem::prepare(&net.network(), PriorKnowledge::default(), Some(net.d), parallelism)
                    .expect("a random network can be attacked")
            });
            // A hundred steps make one point of the curve a step; of so many, one in ten has one.
            let params = AlternatingParams { steps: 1000, ..AlternatingParams::default() };
            let mut laps = Laps::new(4);
            let mut observe = |step: &palimpsest_kkt::Step<'_>| {
                laps.see(step.index);
                if step.index == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            alternate(problem, &weighting, &params, Seed::new(1), parallelism, &mut observe);
            laps.sample()
        }),
    }
}

/// Steps of all restarts together, from a network of 100 coordinates: the time of one.
fn restarted(restarts: usize, threads: usize) -> Work {
    let net = Net { d: 100, ..PUBLISHED };
    let (first, hidden) = net.passes();
    let (m, steps) = (200, 10);
    let params = AttackParams {
        method: Method::Annealed(DescentParams { steps, ..DescentParams::default() }),
        candidates: Some(m),
        restarts,
        rank: Some(net.d),
        prior: PriorKnowledge::default(),
        patterns: None,
    };
    let network = net.network();
    Work {
        group: "Attack",
        name: format!("a step of {restarts} restarts, start included, m = {m}, subspace {}", net.d),
        threads,
        operations: 2.0 * m as f64 * (5.0 * first + 4.0 * hidden),
        peer: None,
        run: Box::new(move || {
            let start = Moment::now();
            let found = reconstruct(&network, &params, Seed::new(1), &|_| ControlFlow::Continue(()));
            black_box(found.expect("a random network can be attacked"));
            start.until(Moment::now(), restarts * steps)
        }),
    }
}

/// Nanoseconds an element of elementwise passes over 500,000 numbers, and of copying them.
pub(super) fn elementwise_ns(rounds: usize) -> Vec<(String, f64)> {
    const LENGTH: usize = 500_000;
    let start: Vec<f32> = draw(1, LENGTH, "z").into_iter().collect();
    let (mut z, mut slope) = (start.clone(), vec![0.0; LENGTH]);
    let mut copies = Vec::new();
    let mut gates = Vec::new();
    let per_element = |sample: Sample| 1e9 * sample.seconds / LENGTH as f64;
    for _ in 0..rounds {
        copies.push(per_element(repeated(10, || black_box(&mut z).copy_from_slice(black_box(&start)))));
        gates.push(per_element(repeated(10, || {
            bias_value_slope(black_box(&mut z), Some(&start), &mut slope, |z| relu_gate(z, 20.0));
        })));
    }
    vec![
        ("copy".into(), super::median(&copies)),
        ("bias, ReLU and sigmoid slope in one pass".into(), super::median(&gates)),
    ]
}
