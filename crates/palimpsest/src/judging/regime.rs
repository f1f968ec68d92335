//! How far and how full-batch descent goes: weight decay, the published point, the published recipe.

use std::ops::Bound;

use anyhow::Result;
use clap::Args;
use palimpsest_mlp::train::Schedule;
use palimpsest_numerics::range::{at_least_one, finite, within};

use crate::terminal::Misuse;

/// How far and how the victim is trained; loss-normalised to log loss -11.5 if nothing is said.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct RegimeArgs {
    /// Train with weight decay W (2e-3 suits n = 100, 1e-3 n = 500): ends near an exact stationary point.
    #[arg(long, value_name = "W")]
    pub weight_decay: Option<f64>,
    /// Train by loss-normalised descent until the log of the mean loss is L [default: -11.5, the published point].
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    pub until_log_loss: Option<f64>,
    /// Train by the published recipe: plain descent, step 0.01, in f64, for --epochs steps.
    #[arg(long)]
    pub published: bool,
}

/// Schedule, log loss to stop at and most epochs of full-batch descent.
pub(super) fn regime(regime: &RegimeArgs, epochs: Option<usize>) -> Result<(Schedule, Option<f64>, usize)> {
    let epochs = |default| epochs.unwrap_or(default);
    at_least_one("--epochs", epochs(1)).map_err(Misuse::from)?;
    Ok(if let Some(weight_decay) = regime.weight_decay {
        let range = (Bound::Excluded(0.0), Bound::Included(1.0));
        within("--weight-decay", weight_decay, range, "above 0 and at most 1").map_err(Misuse::from)?;
        (Schedule::WeightDecay { weight_decay, step_size: 0.15 }, None, epochs(4000))
    } else if regime.published {
        (Schedule::GradientDescent { step_size: 0.01 }, None, epochs(1_000_000))
    } else {
        let target = regime.until_log_loss.unwrap_or(-11.5);
        finite("--until-log-loss", target).map_err(Misuse::from)?;
        (Schedule::PacedFlow { step_size: 0.01 }, Some(target), epochs(1_000_000))
    })
}
