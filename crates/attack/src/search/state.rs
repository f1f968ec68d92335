//! Where an attack is: what it needs to go on from there to the same bits.
//!
//! Every attack moves candidates and multipliers by moments of their gradients, so one shape serves all: a point, and as
//! many moments of the same shape as the attack keeps. Whatever else a step needs follows from these and the options.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use palimpsest_numerics::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::error::AttackError;
use crate::search::restart::{Restart, TerminationReason};

/// What an attack has done so far, by index of the restart; [`crate::reconstruct_from`] goes on from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackState {
    /// Restarts that came to their end.
    pub finished: BTreeMap<u64, Restart>,
    /// Restarts that did not yet.
    pub under_way: BTreeMap<u64, RunState>,
}

impl AttackState {
    /// Whether everything in it can be of an attack whose restarts have the shape `expected`.
    pub(crate) fn check_fits(&self, expected: &RunShape) -> Result<(), AttackError> {
        for (&number, restart) in &self.finished {
            let (got, multipliers) = (restart.coordinates.dim(), restart.multipliers.len());
            if got != expected.point
                || restart.unrefined.as_ref().is_some_and(|unrefined| unrefined.dim() != got)
                || multipliers != expected.point.0
                || restart.termination == TerminationReason::TimeLimit
            {
                let problem = format!(
                    "{got:?} coordinates, {multipliers} multipliers, ended by {:?}; needed {:?}, to its end",
                    restart.termination, expected.point
                );
                return Err(AttackError::ForeignRestart { restart: number, problem });
            }
        }
        for (&number, state) in &self.under_way {
            if !state.fits(expected) {
                let problem = format!("{}; needed {expected:?}", state.shape());
                return Err(AttackError::ForeignRestart { restart: number, problem });
            }
        }
        Ok(())
    }
}

/// What all restarts of an attack have in common.
#[derive(Debug)]
pub(crate) struct RunShape {
    /// Candidates and coordinates, (m, r).
    pub(crate) point: (usize, usize),
    pub(crate) moments: usize,
    pub(crate) steps: usize,
}

/// Where a restart is before a step, as its observer sees it; the restart goes on from it to the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    pub(crate) index: usize,
    pub(crate) at: Point,
    pub(crate) moments: Vec<Point>,
    /// (step, relative residual), about a hundred points a restart.
    pub(crate) curve: Vec<(usize, f64)>,
}

/// Coordinates (m, r) and multipliers (m) of all candidates, in the units of the attack; or moments of their gradients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) coordinates: Array2<f32>,
    pub(crate) multipliers: Array1<f32>,
}

impl RunState {
    /// A restart before its first step, with moments of zero.
    pub(crate) fn start(coordinates: Array2<f32>, multipliers: Array1<f32>, moments: usize) -> Self {
        let zeros = Point {
            coordinates: Array2::zeros(coordinates.raw_dim()),
            multipliers: Array1::zeros(multipliers.raw_dim()),
        };
        let at = Point { coordinates, multipliers };
        Self { index: 0, at, moments: vec![zeros; moments], curve: Vec::new() }
    }

    /// Steps taken so far.
    pub fn steps_taken(&self) -> usize {
        self.index
    }

    /// The last residual that was seen.
    pub(crate) fn relative_residual(&self) -> f64 {
        self.curve.last().map_or(f64::NAN, |&(_, residual)| residual)
    }

    /// Adds a point to the curve where it is due in a restart of `steps`; a restart that goes on comes by its last one again.
    pub(crate) fn record(&mut self, steps: usize, relative_residual: impl FnOnce() -> f64) {
        let due = self.index.is_multiple_of((steps / 100).max(1)) || self.index + 1 == steps;
        if due && self.curve.last().is_none_or(|&(at, _)| at < self.index) {
            self.curve.push((self.index, relative_residual()));
        }
    }

    /// The restart that ends here, with multipliers in the convention without 1/m.
    pub(crate) fn end(self, multipliers: Array1<f32>, termination: TerminationReason) -> Restart {
        let relative_residual = self.relative_residual();
        Restart {
            coordinates: self.at.coordinates,
            unrefined: None,
            multipliers,
            relative_residual,
            curve: self.curve,
            termination,
        }
    }

    fn shape(&self) -> String {
        let (dim, moments) = (self.at.coordinates.dim(), self.moments.len());
        format!("{dim:?} coordinates and {moments} moments before step {}", self.index)
    }

    fn fits(&self, expected: &RunShape) -> bool {
        let same = |point: &Point| {
            point.coordinates.dim() == expected.point && point.multipliers.len() == expected.point.0
        };
        let points = self.moments.len() == expected.moments && self.moments.iter().all(same);
        same(&self.at) && points && self.index < expected.steps
    }
}

/// From where a restart begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// From a random start drawn from this seed.
    Random(Seed),
    /// From where another one was; all other arguments must be those of that one.
    State(RunState),
}

impl Start {
    /// The state before the first step to take; `random` makes that of a random start.
    #[track_caller]
    pub(crate) fn state(self, expected: &RunShape, random: impl FnOnce(Seed) -> RunState) -> RunState {
        match self {
            Self::Random(seed) => random(seed),
            Self::State(state) => {
                assert!(
                    state.fits(expected),
                    "a state of another restart: {}; needed {expected:?}",
                    state.shape()
                );
                state
            }
        }
    }
}

impl From<Seed> for Start {
    fn from(seed: Seed) -> Self {
        Self::Random(seed)
    }
}
