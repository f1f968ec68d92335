//! A piece of work that is measured, and how a step of it is.

use std::time::Instant;

use anyhow::Result;
use ndarray::Array2;
use palimpsest_kkt::outputs::{Label, OutputPull};
use palimpsest_mlp::{BiasPlacement, Mlp};
use palimpsest_numerics::seed::Seed;
use serde::Serialize;

use super::{counted, limit};

/// A piece of work; `run` does a few steps and tells the mean of one.
pub(super) struct Work {
    /// Title of the table it stands in.
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) threads: usize,
    pub(super) amount: Amount,
    /// What the peer is asked for, without threads.
    pub(super) peer: Option<String>,
    pub(super) run: Box<dyn FnMut() -> Result<Sample> + Send>,
}

/// What bounds the time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) enum Amount {
    /// Floating-point operations in f32.
    Operations(f64),
    /// The same in f64, whose peak is half of that in f32.
    Operations64(f64),
    /// Numbers that a pass walks over.
    Elements(usize),
    /// Whole commands, run once.
    Commands,
}

/// One step of some work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Seconds that all threads of the process were running.
    pub(super) cpu_seconds: f64,
    /// Allocations of the process a step.
    pub(super) allocations: f64,
    /// Most memory held, where the work is a process of its own.
    pub(super) peak_bytes: Option<u64>,
}

/// Sizes of a network: inputs, width of all hidden layers, weight layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net {
    pub(super) d: usize,
    pub(super) width: usize,
    pub(super) depth: usize,
}

impl Net {
    /// The published network for CIFAR-10.
    pub(super) const PUBLISHED: Self = Self { d: 3072, width: 1000, depth: 3 };

    pub(super) fn network(self) -> Mlp<f32> {
        let mut dims = vec![self.width; self.depth + 1];
        (dims[0], dims[self.depth]) = (self.d, 1);
        Mlp::initialise(&dims, BiasPlacement::FirstLayer, 0.02, Seed::new(1))
    }

    /// Multiplications a row of a batch needs for one pass through the first layer, and through the other wide ones.
    pub(super) fn passes(self) -> (f64, f64) {
        let width = self.width as f64;
        (self.d as f64 * width, (self.depth as f64 - 2.0) * width * width)
    }
}

/// Standard normal numbers (rows, cols).
pub(super) fn draw(rows: usize, cols: usize, name: &str) -> Array2<f32> {
    let net = Mlp::initialise(&[cols, rows], BiasPlacement::Nowhere, 1.0, Seed::new(1).named(name));
    net.layers()[0].weight.clone()
}

/// `m` candidates, half of each label.
pub(super) fn binary(m: usize) -> OutputPull {
    OutputPull::Binary((0..m).map(|i| Label(2 * i / m)).collect())
}

/// A moment, with what the process has used up to it.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    time: Instant,
    cpu_seconds: f64,
    allocations: usize,
}

impl Moment {
    pub(super) fn now() -> Self {
        let allocations = counted::allocations();
        Self { time: Instant::now(), cpu_seconds: limit::cpu_seconds(), allocations }
    }

    /// Mean of `steps` steps from here to `end`.
    pub(super) fn until(self, end: Self, steps: usize) -> Sample {
        let steps = steps.max(1) as f64;
        Sample {
            seconds: (end.time - self.time).as_secs_f64() / steps,
            cpu_seconds: (end.cpu_seconds - self.cpu_seconds) / steps,
            allocations: (end.allocations - self.allocations) as f64 / steps,
            peak_bytes: None,
        }
    }
}

/// Mean of `steps` calls, after one that is not counted.
pub(super) fn repeated(steps: usize, mut step: impl FnMut()) -> Sample {
    step();
    let start = Moment::now();
    let before = counted::allocations();
    (0..steps).for_each(|_| step());
    let made = counted::allocations() - before;
    Sample { allocations: made as f64 / steps as f64, ..start.until(Moment::now(), steps) }
}

/// Notes from the outside when the second step of a loop begins, and when its last one does.
pub(super) struct Laps {
    last: usize,
    start: Option<Moment>,
    end: Option<Moment>,
    allocations: [usize; 2],
}

impl Laps {
    /// `last` is the index of the last step seen, above 1.
    pub(super) fn new(last: usize) -> Self {
        Self { last, start: None, end: None, allocations: [0; 2] }
    }

    pub(super) fn see(&mut self, index: usize) {
        if index == 1 {
            self.start = Some(Moment::now());
            self.allocations[0] = counted::allocations();
        } else if index == self.last {
            self.allocations[1] = counted::allocations();
            self.end = Some(Moment::now());
        }
    }

    pub(super) fn sample(&self) -> Sample {
        let (start, end) = self.start.zip(self.end).expect("the loop ran to its last step");
        let steps = self.last - 1;
        let allocations = (self.allocations[1] - self.allocations[0]) as f64 / steps as f64;
        Sample { allocations, ..start.until(end, steps) }
    }
}
