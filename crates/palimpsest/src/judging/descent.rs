//! Training that can be interrupted: the descent, with its snapshots.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use ndarray::Array2;
use palimpsest_mlp::Mlp;
use palimpsest_mlp::loss::Targets;
use palimpsest_mlp::merge::AsOne;
use palimpsest_mlp::train::{Epoch, Schedule, TrainOutcome, TrainParams, TrainState, train_on};
use palimpsest_numerics::Real;
use palimpsest_runs::Snapshots;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::regime::{RegimeArgs, regime};
use crate::terminal::progress::{Measured, Progress};
use crate::terminal::{ResumeArgs, clock, host, interrupt, output};

/// A run of [`descend`].
pub(super) struct Descended {
    pub(super) outcome: TrainOutcome<f32>,
    /// Time of training, over all the sessions it took.
    pub(super) training_s: f64,
    pub(super) snapshots: Snapshots,
}

/// Trains `network` on `inputs` (n, d) in the precision T, or goes on training in the folder that is given; the network
/// comes back in the precision of checkpoints. `options` are all that decides the bits of the run.
pub(super) fn descend<T: Real + Serialize + DeserializeOwned>(
    network: Mlp<T>,
    inputs: &Array2<f32>,
    targets: &Targets,
    params: &TrainParams,
    (folder, resume): (&Path, &ResumeArgs),
    options: &impl Serialize,
) -> Result<Descended> {
    let (mut snapshots, from) =
        Snapshots::open::<(f64, TrainState<T>)>(folder, resume.start(), resume.interval()?, options, host())?;
    let inputs = inputs.mapv(|v| T::of(f64::from(v)));
    let (before_s, from) = from.map_or((0.0, None), |(seconds, state)| (seconds, Some(state)));
    if let Some(state) = &from {
        output::note(&format!("going on at epoch {}", state.epoch()));
    }
    let start = clock::now();
    let elapsed_s = || before_s + (clock::now() - start).as_secs_f64();
    let done = from.as_ref().map_or(0, |state| state.epoch() as u64);
    let progress = Progress::resume("training", params.max_epochs as u64, done);
    let mut observer = |epoch: &Epoch<'_, T>| {
        progress.step(|| Measured { log_loss: Some(epoch.log_loss), ..Measured::default() });
        let over = interrupt::requested();
        if over || snapshots.due() {
            snapshots.write(&(elapsed_s(), epoch.state));
        }
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let TrainOutcome { network, epochs, log_loss, training_errors, reason } =
        train_on(network, inputs.view(), targets, params, from, &mut observer)?;
    progress.finish();
    let outcome = TrainOutcome { network: network.cast(), epochs, log_loss, training_errors, reason };
    Ok(Descended { outcome, training_s: elapsed_s(), snapshots })
}

/// Whether descent is that of the whole network from its first step to its last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Descent {
    /// It is.
    #[default]
    Whole,
    /// With weight decay: layers between the first and the last start small, so that their neurons are soon parallel, and are then
    /// trained as one. It ends at a stationary point of the whole network.
    AsOne,
}

/// Momentum of [`Descent::AsOne`].
const MOMENTUM: f64 = 0.975;

impl Descent {
    /// Schedule, log loss to stop at and most epochs of this descent by `args`: as one with more momentum, so that the start is forgotten in
    /// a quarter of the epochs.
    pub(super) fn regime(
        self,
        args: &RegimeArgs,
        epochs: Option<usize>,
    ) -> Result<(Schedule, Option<f64>, usize)> {
        let (schedule, until_log_loss, epochs) = regime(args, epochs)?;
        let schedule = match (self, schedule) {
            (Self::AsOne, Schedule::WeightDecay { weight_decay, step_size }) => {
                Schedule::HeavyBall { weight_decay, step_size, momentum: MOMENTUM }
            }
            (_, schedule) => schedule,
        };
        Ok((schedule, until_log_loss, epochs))
    }
}

/// Steps of the whole network before its parallel neurons are trained as one.
const WHOLE: usize = 100;
/// How much smaller a layer that is to have parallel neurons starts.
const SMALL: f32 = 0.01;

/// [`descend`] by [`Descent::AsOne`]. The first steps are few, and are made again when training goes on.
pub(super) fn descend_as_one(
    mut network: Mlp<f32>,
    inputs: &Array2<f32>,
    targets: &Targets,
    params: &TrainParams,
    folder: (&Path, &ResumeArgs),
    options: &impl Serialize,
) -> Result<Descended> {
    let start = clock::now();
    let between = 1..network.depth().saturating_sub(1);
    network.layers_mut()[between].iter_mut().for_each(|layer| layer.weight *= SMALL);
    let whole = TrainParams { max_epochs: WHOLE, until_log_loss: None, ..*params };
    let begun = train_on(network, inputs.view(), targets, &whole, None, &mut |_| ControlFlow::Continue(()))?;
    let one = AsOne::of(&begun.network);
    let begun_s = (clock::now() - start).as_secs_f64();
    let mut descended = descend(one.network.clone(), inputs, targets, params, folder, options)?;
    descended.outcome.network = one.apart(&descended.outcome.network);
    descended.outcome.epochs += WHOLE;
    descended.training_s += begun_s;
    Ok(descended)
}
