//! The rows of `docs/results/*.json`, made from what was judged.

use std::path::Path;

use anyhow::{Context, Result};
use palimpsest::judging::score::ScoreFile;
use palimpsest_datasets::DataName;
use palimpsest_metrics::judge::Judgement;
use palimpsest_metrics::judge::pool::{Bar, Measure, PoolCount};
use palimpsest_runs::{MADE_BY, RunFile, files};
use serde::{Deserialize, Serialize};

use super::victims::{Regime, ReproduceArgs, Victim};

/// A judged attack as the tables of the documents show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    victim: String,
    block: Option<String>,
    seed: u64,
    training_set: String,
    training: String,
    hidden: String,
    taken_from_inputs: String,
    #[serde(flatten)]
    counts: Counts,
    /// Over the pool, one to one, with an NCC above 0.9 and an SSIM above 0.4; of held-out images, of class means, and what the training images
    /// count themselves as far as the directions of the attack hold them.
    pool_ncc: usize,
    pool_ncc_held_out: usize,
    pool_ncc_class_means: usize,
    pool_ncc_limit: Option<usize>,
    pool_ssim_class_means: usize,
    pool_ssim_limit: Option<usize>,
    command: String,
}

/// What every table of judged attacks shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) restarts: usize,
    pub(super) seconds: u64,
    /// Distinct training images among the first n of the list with an NCC above 0.9.
    pub(super) legible: usize,
    /// The same of held-out images.
    pub(super) legible_held_out: usize,
    /// Negatives among these first n.
    pub(super) negatives: usize,
    /// Over the pool, one to one, with an SSIM above 0.4, and the same of held-out images.
    pub(super) pool_ssim: usize,
    pub(super) pool_ssim_held_out: usize,
    pub(super) sure: usize,
    pub(super) sure_real: usize,
    pub(super) sure_negative: usize,
    pub(super) build: String,
}

impl Counts {
    /// Of a judged attack in the folder `attacked`.
    pub(super) fn of(score: &ScoreFile, attacked: &Path) -> Result<Self> {
        let run: RunFile = files::read_json(&attacked.join("run.json"))?;
        let judgement = judgement(score)?;
        let ssim = over_pool(judgement, Measure::Ssim)?;
        let sure = judgement.reliability.as_ref().map(|reliability| reliability.sure);
        Ok(Self {
            restarts: run.restarts.len(),
            seconds: run.elapsed_s.round() as u64,
            legible: judgement.legible.legible,
            legible_held_out: judgement.legible_held_out,
            negatives: judgement.legible.negatives,
            pool_ssim: ssim.count,
            pool_ssim_held_out: ssim.held_out,
            sure: sure.map_or(0, |sure| sure.called),
            sure_real: sure.map_or(0, |sure| sure.real),
            sure_negative: sure.map_or(0, |sure| sure.negatives),
            build: MADE_BY.into(),
        })
    }
}

fn judgement(score: &ScoreFile) -> Result<&Judgement> {
    score.judgement.as_ref().context("score.json was written by an older build; judge again")
}

fn over_pool(judgement: &Judgement, measure: Measure) -> Result<&PoolCount> {
    let count = judgement.pool.count(measure, Bar::Fixed);
    count.context("score.json has no count over the pool at a fixed bar")
}

/// The rows of a folder of victims, `rows.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// Those that `file` has.
    pub(super) fn read(file: &Path) -> Result<Self> {
        Ok(if file.exists() { files::read_json(file)? } else { Self::default() })
    }

    /// Adds a row, in place of one of the same victim.
    pub(super) fn put(&mut self, row: Row) {
        match self.rows.iter_mut().find(|of| of.victim == row.victim) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
    }
}

impl Row {
    /// What rows of one network are alike in.
    pub(super) const OF_ONE: &[&str] = &["victim"];

    /// Of a judged attack in the folder `attacked`, made by `command`.
    pub(super) fn of(victim: &Victim, score: &ScoreFile, attacked: &Path, command: String) -> Result<Self> {
        let judgement = judgement(score)?;
        let (ncc, ssim) = (over_pool(judgement, Measure::Ncc)?, over_pool(judgement, Measure::Ssim)?);
        let pictures = match victim.data {
            DataName::Cifar10 => "photographs (CIFAR-10)",
            DataName::Mnist => "digits (MNIST)",
            _ => "garments (Fashion-MNIST)",
        };
        let hidden: Vec<String> = victim.hidden.iter().map(usize::to_string).collect();
        Ok(Self {
            victim: victim.to_string(),
            block: score.data.block.clone(),
            seed: victim.seed,
            training_set: format!("{} {pictures}", victim.n),
            training: match victim.regime {
                Regime::Published => "published point",
                Regime::Deep => "deep convergence",
                Regime::WeightDecay => "weight decay",
            }
            .into(),
            hidden: hidden.join(","),
            taken_from_inputs: match victim.subtract {
                None => "mean image".into(),
                Some(0.0) => "nothing".into(),
                Some(value) => value.to_string(),
            },
            counts: Counts::of(score, attacked)?,
            pool_ncc: ncc.count,
            pool_ncc_held_out: ncc.held_out,
            pool_ncc_class_means: ncc.class_means,
            pool_ncc_limit: ncc.span_keeps,
            pool_ssim_class_means: ssim.class_means,
            pool_ssim_limit: ssim.span_keeps,
            command,
        })
    }
}

/// A judged null as the table of the documents shows it.
#[derive(Debug, Serialize)]
pub(super) struct NullRow {
    /// Of which networks it takes the place.
    victim: String,
    /// What it is.
    instead: &'static str,
    seed: u64,
    sure: usize,
    sure_own: usize,
    command: String,
}

impl NullRow {
    /// What rows of one null are alike in.
    pub(super) const OF_ONE: &[&str] = &["victim", "instead", "seed"];

    /// Of a judged `victim` that is a null: how many were called sure, and how many of these are what its network was trained on.
    pub(super) fn of(args: &ReproduceArgs, victim: &Victim, sure: usize, sure_own: usize) -> Result<Self> {
        Ok(Self {
            victim: format!("{}-{}-{}", victim.data, victim.n, victim.regime),
            instead: victim.null.context("the network is no null")?.words(),
            seed: victim.seed,
            sure,
            sure_own,
            command: args.command("nulls", victim.data, victim, victim.seed),
        })
    }
}
