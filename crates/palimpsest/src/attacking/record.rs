//! What an attack leaves behind: its record, and the files of the contract.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ndarray::{Array1, Array2, Axis};
use palimpsest_attack::{AttackParams, Label, Reconstruction};
use palimpsest_runs::pool::write_pool;
use palimpsest_runs::record::{
    APPEARANCE_FILE, ChannelOrder, LABELS_FILE, MEAN_IMAGE_FILE, RECONSTRUCTIONS_FILE,
};
use palimpsest_runs::{MADE_BY, PoolForm, RunFile, files};

/// What an attack was asked to do, and on what.
pub(crate) struct Asked {
    pub(crate) model: PathBuf,
    pub(crate) chain: Option<String>,
    pub(crate) channels: ChannelOrder,
    pub(crate) dims: Vec<usize>,
    pub(crate) params: AttackParams,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    pub(crate) time_limit_s: Option<f64>,
}

impl Asked {
    /// The record of what was found, by an attack that took no time and came to its end.
    pub(crate) fn record(self, found: &Reconstruction) -> RunFile {
        let Self { model, chain, channels, dims, params, seed, threads, time_limit_s } = self;
        RunFile {
            made_by: MADE_BY.into(),
            model,
            chain,
            dims,
            input_shape: params.prior.image_shape,
            channels,
            params,
            seed,
            threads,
            time_limit_s,
            exposure: found.exposure.clone(),
            saturation: found.saturation,
            rank: found.rank,
            candidates_per_restart: found.candidates_per_restart,
            candidates: found.candidates.len(),
            origins: found.origins.clone(),
            stages: found.stages.clone(),
            distinct_share: found.distinct_share,
            ranking: found.ranking.clone(),
            witnesses: found.witnesses.clone(),
            input_norm: found.input_norm,
            spectrum: found.spectrum.clone(),
            stopped_early: false,
            restarts: found.restarts.clone(),
            elapsed_s: 0.0,
        }
    }
}

/// Writes the labels: -1 and +1 where there are two, else class numbers.
fn write_labels(folder: &Path, found: &Reconstruction) -> Result<()> {
    let (path, labels) = (folder.join(LABELS_FILE), &found.labels);
    if found.head.labels() == 2 {
        let signs: Array1<i8> = labels.iter().map(|label| label.sign() as i8).collect();
        return Ok(files::write_npy(&path, &signs)?);
    }
    let classes: Array1<u32> = labels.iter().map(|&Label(class)| class as u32).collect();
    Ok(files::write_npy(&path, &classes)?)
}

/// Writes the files of the contract, the pool in the form asked for.
pub(crate) fn write(
    folder: &Path,
    found: &Reconstruction,
    record: &RunFile,
    pool: Option<PoolForm>,
) -> Result<()> {
    write_pool(folder, found.candidates.view(), found.in_span.as_ref(), pool)?;
    files::write_npy(&folder.join("multipliers.npy"), &found.multipliers)?;
    write_labels(folder, found)?;
    files::write_npy(&folder.join("confidence.npy"), &found.confidence)?;
    files::write_npy(&folder.join("agreement.npy"), &found.agreement)?;
    files::write_npy_if_any(&folder.join("bias_shares.npy"), found.bias_share.as_ref())?;
    let looks = found.appearance.as_ref().map(|looks| {
        Array2::from(
            looks.iter().map(|look| [look.contrast, look.brightness, look.unchanged]).collect::<Vec<_>>(),
        )
    });
    files::write_npy_if_any(&folder.join(APPEARANCE_FILE), looks.as_ref())?;
    let mean = found.mean_image.clone().map(|mean| mean.insert_axis(Axis(0)));
    files::write_npy_if_any(&folder.join(MEAN_IMAGE_FILE), mean.as_ref())?;
    files::write_npy(&folder.join(RECONSTRUCTIONS_FILE), &found.merged.view().to_owned())?;
    Ok(files::write_json(&folder.join("run.json"), record)?)
}
