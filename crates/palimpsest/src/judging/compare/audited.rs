//! What an audit left in its folder, as far as two of them are compared. The network itself is not read: it may be gone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array1, Array2};
use palimpsest_report::{Answer, ConfidenceKind, ReportData, from_json};
use palimpsest_runs::record::{
    AGREEMENT_FILE, CONFIDENCE_FILE, MEAN_IMAGE_FILE, RECONSTRUCTIONS_FILE, RUN_FILE,
};
use palimpsest_runs::{RunFile, files};

use crate::attacking::unjudged::Mean;
use crate::terminal::{Misuse, output};

/// An audit that came to its end.
pub(super) struct Audited {
    /// Its folder, by absolute path.
    pub(super) folder: PathBuf,
    pub(super) run: RunFile,
    pub(super) report: ReportData,
    /// The distinct inputs found, surest first, as the network sees them, (k, d).
    pub(super) inputs: Array2<f32>,
    /// What was taken from all inputs, for showing them.
    pub(super) mean: Mean,
    /// How sure the attack is of each, (k), in [0, 1].
    pub(super) confidence: Vec<f32>,
    /// Of which it is sure, (k).
    pub(super) sure: Vec<bool>,
}

impl Audited {
    /// Reads the `folder` of an audit.
    ///
    /// # Errors
    /// [`Misuse`] for a folder that holds no audit; files that cannot be read or do not fit together.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let page = folder.join("report.json");
        if !folder.join(RUN_FILE).exists() || !page.exists() {
            bail!(Misuse(format!(
                "{} holds no finished audit (run.json and report.json): name a folder that `audit` wrote, or write the report of one that \
                 `reconstruct` wrote: palimpsest report {}",
                folder.display(),
                folder.display()
            )));
        }
        let run: RunFile = files::read_json(&folder.join(RUN_FILE))?;
        let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        let report = from_json(&text).with_context(|| format!("cannot read {}", page.display()))?;
        let inputs: Array2<f32> = files::read_npy(&folder.join(RECONSTRUCTIONS_FILE))?;
        let (kind, bar, called) = match &report.answer {
            Answer::Unjudged { confidence, bar, sure, .. } => (*confidence, *bar, *sure),
            Answer::Judged { .. } => bail!(Misuse(format!(
                "{} holds a judge's report: name the folder of the audit",
                folder.display()
            ))),
        };
        let of_all = confidence(folder, kind)?;
        let unfit = || format!("the files in {} do not fit together; audit again", folder.display());
        ensure!(run.ranking.iter().all(|&i| i < of_all.len()), unfit());
        let confidence: Vec<f32> = run.ranking.iter().map(|&i| of_all[i]).collect();
        let fits = inputs.nrows() == confidence.len()
            && inputs.nrows() > 0
            && run.dims.first() == Some(&inputs.ncols())
            && inputs.iter().all(|v| v.is_finite());
        ensure!(fits, unfit());
        let sure: Vec<bool> = confidence.iter().map(|&c| f64::from(c) > bar).collect();
        ensure!(sure.iter().filter(|&&sure| sure).count() == called, unfit());
        if let Some([channels, height, width]) = run.input_shape {
            let size = channels.checked_mul(height).and_then(|size| size.checked_mul(width));
            ensure!(size == Some(inputs.ncols()), unfit());
        }
        let told = folder.join(MEAN_IMAGE_FILE);
        let told: Option<Array2<f32>> = told.exists().then(|| files::read_npy(&told)).transpose()?;
        ensure!(told.iter().all(|mean| mean.dim() == (1, inputs.ncols())), unfit());
        let mean = Mean::of(folder, told, inputs.ncols())?;
        Ok(Self { folder: output::absolute(folder), run, report, inputs, mean, confidence, sure })
    }

    /// Of how many it is sure.
    pub(super) fn called(&self) -> usize {
        self.sure.iter().filter(|&&sure| sure).count()
    }
}

/// What is claimed of each candidate, (M).
fn confidence(folder: &Path, kind: ConfidenceKind) -> Result<Array1<f32>> {
    let agreement = folder.join(AGREEMENT_FILE);
    let name = match kind {
        ConfidenceKind::Agreement if agreement.exists() => AGREEMENT_FILE,
        ConfidenceKind::Agreement | ConfidenceKind::Probability => CONFIDENCE_FILE,
    };
    Ok(files::read_npy(&folder.join(name))?)
}
