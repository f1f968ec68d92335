//! Differential privacy in training: its options, and what `train.json` says of it.

use std::ops::Bound;

use clap::Args;
use palimpsest_mlp::train::{BatchSchedule, Privacy, SampledGaussian, Schedule};
use palimpsest_numerics::range::{positive, within};
use serde::{Deserialize, Serialize};

use crate::terminal::Misuse;

/// Options of differential privacy, all with sgd, adam or adamw.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct PrivacyArgs {
    /// Train with differential privacy (DP-SGD): noise of Z times --dp-clip on the sum of the gradients of a step.
    #[arg(long, value_name = "Z", help_heading = "Privacy", conflicts_with = "dp_epsilon")]
    pub dp_noise: Option<f64>,
    /// Train with the least noise that has this epsilon in all epochs together.
    #[arg(long, value_name = "E", help_heading = "Privacy")]
    pub dp_epsilon: Option<f64>,
    /// Norm to which the gradient of each example is clipped.
    #[arg(long, value_name = "C", help_heading = "Privacy")]
    pub dp_clip: Option<f64>,
    /// The delta at which epsilon holds; well below one over the number of examples.
    #[arg(long, value_name = "D", help_heading = "Privacy")]
    pub dp_delta: Option<f64>,
}

/// What a training has of differential privacy, `privacy` in `train.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacyRecord {
    /// Epsilon of all steps, by Rényi divergences of the sampled Gaussian mechanism.
    pub epsilon: f64,
    /// The delta at which it holds.
    pub delta: f64,
    /// Clipping and noise.
    #[serde(flatten)]
    pub privacy: Privacy,
    /// Probability of each example to be in a step, independently of the others (Poisson).
    pub sampling_rate: f64,
    /// Steps.
    pub steps: u64,
    /// Which training sets are told apart no better than epsilon and delta say.
    pub neighbours: String,
    /// What the guarantee does not cover.
    pub not_covered: String,
}

impl PrivacyArgs {
    /// Clipping, noise and delta for a training of `epochs` epochs on `examples` examples; nothing where privacy was not asked for.
    pub(super) fn privacy(
        &self,
        batches: &BatchSchedule,
        examples: usize,
        epochs: usize,
    ) -> Result<Option<(Privacy, f64)>, Misuse> {
        let Some(option) = self.any() else { return Ok(None) };
        let (Some(clip), Some(delta)) = (self.dp_clip, self.dp_delta) else {
            return Err(Misuse(format!("{option} needs --dp-clip and --dp-delta, as 1 and 1e-3, too")));
        };
        positive("--dp-clip", clip)?;
        let below_one = (Bound::Excluded(0.0), Bound::Excluded(1.0));
        within("--dp-delta", delta, below_one, "above 0 and below 1")?;
        let privacy = |noise_multiplier| Privacy { clip, noise_multiplier };
        let noise = match (self.dp_noise, self.dp_epsilon) {
            (Some(noise), _) => noise,
            (None, Some(epsilon)) => {
                positive("--dp-epsilon", epsilon)?;
                let made = SampledGaussian::of(batches, privacy(1.0), examples.max(1), epochs);
                SampledGaussian::for_epsilon(epsilon, delta, made.sampling_rate, made.steps)
                    .map_err(|error| Misuse(error.to_string()))?
                    .noise_multiplier
            }
            (None, None) => {
                return Err(Misuse(format!("{option} needs --dp-noise or --dp-epsilon, too")));
            }
        };
        positive("--dp-noise", noise)?;
        Ok(Some((privacy(noise), delta)))
    }

    /// One of the options that was given.
    pub(super) fn any(&self) -> Option<&'static str> {
        [
            (self.dp_noise, "--dp-noise"),
            (self.dp_epsilon, "--dp-epsilon"),
            (self.dp_clip, "--dp-clip"),
            (self.dp_delta, "--dp-delta"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.map(|_| name))
    }
}

impl PrivacyRecord {
    /// Of a training by `schedule` on so many examples that made so many epochs; nothing of one without privacy.
    pub(in crate::judging) fn of(
        schedule: &Schedule,
        delta: Option<f64>,
        examples: usize,
        epochs: usize,
    ) -> Option<Self> {
        let (Schedule::PrivateBatches { batches, privacy }, Some(delta)) = (schedule, delta) else {
            return None;
        };
        let made = SampledGaussian::of(batches, *privacy, examples, epochs);
        Some(Self {
            epsilon: if made.steps == 0 { 0.0 } else { made.epsilon(delta) },
            delta,
            privacy: *privacy,
            sampling_rate: made.sampling_rate,
            steps: made.steps,
            neighbours: "one has one example more".into(),
            not_covered: "the seed, from which the noise can be made again, and what is told of the training examples: their loss, \
                          their number, their errors"
                .into(),
        })
    }
}
