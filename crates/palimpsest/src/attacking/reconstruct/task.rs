//! What an attack is to do, read from the command line and from the file of the network, and checked before long work.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use palimpsest_attack::{AttackError, AttackParams};
use palimpsest_mlp::Mlp;
use palimpsest_runs::record::ChannelOrder;
use palimpsest_runs::{MADE_BY, PoolForm};
use serde::Serialize;

use super::args::{ReconstructArgs, params, threads, time_limit};
use crate::attacking::bounds::{attack_bytes, most_restarts};
use crate::attacking::input_shape::{InputShape, check_size, to_channels_first};
use crate::attacking::model_file::{Model, load_model};
use crate::terminal::{Misuse, ResumeArgs, memory, output};

/// An attack to be made.
pub(in crate::attacking) struct Task {
    pub(in crate::attacking) model: PathBuf,
    pub(in crate::attacking) chain: Option<String>,
    /// In which order the network takes the values of a picture; here it takes them channel by channel.
    pub(in crate::attacking) channels: ChannelOrder,
    pub(in crate::attacking) network: Mlp<f32>,
    pub(in crate::attacking) params: AttackParams,
    pub(in crate::attacking) seed: u64,
    pub(in crate::attacking) threads: usize,
    pub(in crate::attacking) time_limit_s: Option<f64>,
    pub(in crate::attacking) out: PathBuf,
    pub(in crate::attacking) resume: ResumeArgs,
    /// In which form all candidates are written, if that was asked for.
    pub(in crate::attacking) pool: Option<PoolForm>,
    /// Whether the best list so far is told while it is under way, and its report written.
    pub(in crate::attacking) live: bool,
}

/// What decides the bits of an attack: a snapshot is of this attack when all of it is the same.
#[derive(Serialize)]
pub(super) struct Options<'a> {
    made_by: &'a str,
    /// Checksum of the weights.
    network: String,
    #[serde(flatten)]
    params: &'a AttackParams,
    seed: u64,
}

impl Task {
    /// What `args` describe.
    ///
    /// # Errors
    /// [`Misuse`] for options that cannot work, and a network that cannot be read.
    pub(in crate::attacking) fn of(args: &ReconstructArgs) -> Result<Self> {
        let mut params = params(args)?;
        let threads = threads(args.threads)?;
        args.time_limit.map(time_limit).transpose()?;
        if output::absolute(&args.model).to_str().is_none() {
            bail!(Misuse(
                "the path of --model must be UTF-8 to be named in run.json; rename the file".into()
            ));
        }
        let Model { mut network, provenance, .. } = load_model(&args.model, args.chain.as_deref())?;
        let from_file = || Some(InputShape::channels_first(provenance?.image_shape?));
        let input_shape = args.input_shape.or_else(from_file);
        if let Some(shape) = input_shape {
            check_size(shape, network.inputs())?;
            to_channels_first(&mut network, shape);
            if shape.channels == ChannelOrder::Last {
                output::note(
                    "the network takes the channels of a pixel side by side: all pictures are written channels first",
                );
            }
        }
        params.prior.image_shape = input_shape.map(|shape| shape.sides);
        params.restarts = most_restarts(&network.dims(), &params);
        Ok(Self {
            model: args.model.clone(),
            chain: args.chain.clone(),
            channels: input_shape.map_or_else(ChannelOrder::default, |shape| shape.channels),
            network,
            params,
            seed: args.seed,
            threads,
            time_limit_s: args.time_limit,
            out: args.out.clone(),
            resume: args.resume,
            pool: args.keep_pool.map(Into::into),
            live: args.live,
        })
    }

    /// Time after which no restart is begun or continued.
    pub(in crate::attacking) fn limit(&self) -> Option<Duration> {
        // Checked when it was read.
        self.time_limit_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Checks that there is the memory to make `restarts` restarts.
    ///
    /// # Errors
    /// [`Misuse`] when there is not.
    pub(in crate::attacking) fn require_memory(&self, restarts: usize) -> Result<()> {
        let mut params = self.params;
        params.restarts = restarts;
        memory::require(
            "the attack",
            attack_bytes(&self.network.dims(), &params, self.threads),
            "take fewer --candidates or --threads, or a smaller --rank",
        )
    }

    /// What decides its bits.
    pub(super) fn options(&self) -> Options<'_> {
        Options { made_by: MADE_BY, network: digest(&self.network), params: &self.params, seed: self.seed }
    }
}

/// Checksum of the weights.
pub(in crate::attacking) fn digest(network: &Mlp<f32>) -> String {
    let mut hasher = blake3::Hasher::new();
    for layer in network.layers() {
        for &size in layer.weight.shape() {
            hasher.update(&(size as u64).to_le_bytes());
        }
        for value in layer.weight.iter().chain(layer.bias.iter().flatten()) {
            hasher.update(&value.to_le_bytes());
        }
    }
    hasher.finalize().to_string()
}

/// What went wrong with an attack that was stopped, and what to do about it.
pub(in crate::attacking) fn sentence_of_stopped(error: AttackError) -> anyhow::Error {
    match error {
        AttackError::NothingFinished(_) => anyhow!(
            "the attack was stopped before a restart took its first step, and nothing was found by then: allow a longer --time-limit, \
             or take fewer --steps"
        ),
        error => sentence(error),
    }
}

/// What went wrong with an attack, and what to do about it.
pub(in crate::attacking) fn sentence(error: AttackError) -> anyhow::Error {
    match error {
        AttackError::BadOption { .. } => anyhow!(Misuse(error.to_string())),
        AttackError::EarlierRestarts { .. } => anyhow!(Misuse(format!(
            "{error}; make these first, as parts of their own, and name their folders by --known"
        ))),
        AttackError::NothingFinished(_) => anyhow!(
            "every restart met a NaN or infinity; check that this network was trained, or take smaller research options"
        ),
        AttackError::Factor(_) => anyhow::Error::new(error)
            .context("the first layer cannot be decomposed; check that its weights are of ordinary size"),
        error => error.into(),
    }
}
