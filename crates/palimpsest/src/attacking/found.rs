//! What `reconstruct` wrote, read back and checked as a whole before anyone judges or shows it.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use ndarray::{Array1, Array2, ArrayView1, Axis};
use palimpsest_attack::{AttackError, AttackParams, AttackProblem, Method, Reconstruction};
use palimpsest_mlp::{Mlp, Provenance};
use palimpsest_numerics::gemm::Parallelism;
use palimpsest_report::{ConfidenceKind, InputKind};
use palimpsest_runs::pool::read_pool;
use palimpsest_runs::record::{APPEARANCE_FILE, MEAN_IMAGE_FILE};
use palimpsest_runs::{RunFile, files};

use super::input_shape::{InputShape, to_channels_first};
use super::model_file::{Model, load_model};

/// A reconstruction and the network it came from; indices, lengths and widths fit each other.
pub struct Found {
    /// The record of the attack.
    pub run: RunFile,
    /// Candidates, (M, d), M >= 1, finite.
    pub candidates: Array2<f32>,
    /// What `confidence.npy` holds, (M), in [0, 1]: a probability where there is an `agreement`.
    confidence: Array1<f32>,
    /// Agreement of restarts, (M), in [0, 1]; files of older versions have it as confidence.
    agreement: Option<Array1<f32>>,
    /// How candidates look as raw images, (M, 2): contrast and brightness; where the attack knows what was taken from all inputs.
    pub appearance: Option<Array2<f32>>,
    /// What was taken from all inputs, as the attack tells it, (1, d).
    pub mean_image: Option<Array2<f32>>,
    /// The network that was attacked.
    pub network: Mlp<f32>,
    /// Where the network comes from, if its file says.
    pub provenance: Option<Provenance>,
}

/// Largest value of a candidate: its square still has room in an `f32`.
const LARGEST: f32 = 1e15;

impl Found {
    /// The best estimate of each ranked input, (ranking, d), as the attack wrote it into its `folder`; none if it did not.
    pub fn estimates(&self, folder: &Path) -> Result<Option<Array2<f32>>> {
        let path = folder.join("reconstructions.npy");
        if !path.exists() {
            return Ok(None);
        }
        let estimates: Array2<f32> = files::read_npy(&path)?;
        let fits = estimates.dim() == (self.run.ranking.len(), self.candidates.ncols());
        ensure!(
            fits && estimates.iter().all(|v| v.is_finite()),
            "{} does not fit run.json; run reconstruct again",
            path.display()
        );
        Ok(Some(estimates))
    }

    /// What an attack on `model` has just found, by its `record`.
    pub(crate) fn of(record: RunFile, found: &Reconstruction, model: Model) -> Self {
        let looks = found.appearance.as_ref().map(|looks| {
            let rows: Vec<_> =
                looks.iter().map(|look| [look.contrast, look.brightness, look.unchanged]).collect();
            Array2::from(rows)
        });
        Self {
            run: record,
            candidates: found.candidates.view().to_owned(),
            confidence: found.confidence.clone(),
            agreement: Some(found.agreement.clone()),
            appearance: looks,
            mean_image: found.mean_image.clone().map(|mean| mean.insert_axis(Axis(0))),
            network: model.network,
            provenance: model.provenance,
        }
    }

    /// Reads the folder that `reconstruct` wrote.
    pub fn read(folder: &Path) -> Result<Self> {
        let run: RunFile = files::read_json(&folder.join("run.json"))?;
        let candidates = read_pool(folder, Parallelism::of_threads(rayon::current_num_threads()))?;
        let confidence: Array1<f32> = files::read_npy(&folder.join("confidence.npy"))?;
        let path = folder.join("agreement.npy");
        let agreement: Option<Array1<f32>> = path.exists().then(|| files::read_npy(&path)).transpose()?;
        let unfit = |what: &str| {
            format!("the files in {} do not fit together: {what}; run reconstruct again", folder.display())
        };
        let optional = |name: &str| -> Result<Option<Array2<f32>>> {
            let path = folder.join(name);
            Ok(path.exists().then(|| files::read_npy(&path)).transpose()?)
        };
        let (appearance, mean_image) = (optional(APPEARANCE_FILE)?, optional(MEAN_IMAGE_FILE)?);
        let arrays = Arrays { candidates, confidence, agreement, appearance, mean_image };
        arrays.check(&run, unfit)?;
        let Arrays { candidates, confidence, agreement, appearance, mean_image } = arrays;
        let Model { mut network, provenance, .. } = load_model(&run.model, run.chain.as_deref())?;
        if let Some(sides) = run.input_shape {
            to_channels_first(&mut network, InputShape { sides, channels: run.channels });
        }
        ensure!(
            network.dims() == run.dims && network.inputs() == candidates.ncols(),
            "{} is no longer the network that was attacked; run reconstruct again",
            run.model.display()
        );
        Ok(Self { run, candidates, confidence, agreement, appearance, mean_image, network, provenance })
    }

    /// Orthonormal rows that span what the attack worked in, (r, d); none for an attack on all inputs.
    ///
    /// # Errors
    /// [`AttackError`].
    pub fn span(&self, parallelism: Parallelism) -> Result<Option<Array2<f32>>, AttackError> {
        let AttackParams { method, prior, .. } = self.run.params;
        match method {
            Method::Gradient(_) => Ok(None),
            Method::Annealed(_) | Method::Alternating(_) => {
                let problem = AttackProblem::prepare(&self.network, prior, Some(self.run.rank), parallelism)?;
                Ok(Some(problem.subspace.basis().to_owned()))
            }
        }
    }

    /// What may be claimed of each candidate, (M), in [0, 1], and what kind of number it is.
    ///
    /// Probabilities were calibrated on networks trained on images: of plain rows only agreement is claimed.
    pub fn claimed(&self, inputs: InputKind) -> (ConfidenceKind, ArrayView1<'_, f32>) {
        match (&self.agreement, inputs) {
            (Some(_), InputKind::Image) => (ConfidenceKind::Probability, self.confidence.view()),
            (Some(agreement), InputKind::Row) => (ConfidenceKind::Agreement, agreement.view()),
            (None, _) => (ConfidenceKind::Agreement, self.confidence.view()),
        }
    }
}

/// The arrays of a folder.
struct Arrays {
    candidates: Array2<f32>,
    confidence: Array1<f32>,
    agreement: Option<Array1<f32>>,
    appearance: Option<Array2<f32>>,
    mean_image: Option<Array2<f32>>,
}

impl Arrays {
    /// Checks that they fit each other and their record; `unfit` makes a sentence of what does not.
    fn check(&self, run: &RunFile, unfit: impl Fn(&str) -> String) -> Result<()> {
        let Self { candidates, confidence, agreement, appearance, mean_image } = self;
        let (m, d) = candidates.dim();
        ensure!(m > 0 && run.candidates == m, unfit("run.json and candidates.npy differ in length"));
        ensure!(confidence.len() == m, unfit("confidence.npy and candidates.npy differ in length"));
        ensure!(
            !run.ranking.is_empty() && run.ranking.iter().all(|&j| j < m),
            unfit("the ranking in run.json names candidates that are not there")
        );
        ensure!(
            candidates.iter().all(|v| v.abs() < LARGEST),
            unfit("a candidate has values that are not finite or above 1e15")
        );
        ensure!(
            confidence.iter().all(|c| (0.0..=1.0).contains(c)),
            unfit("confidence.npy has values outside [0, 1]")
        );
        ensure!(
            agreement.iter().all(|a| a.len() == m && a.iter().all(|a| (0.0..=1.0).contains(a))),
            unfit("agreement.npy has another length than candidates.npy or values outside [0, 1]")
        );
        ensure!(
            appearance.iter().all(|looks| looks.dim() == (m, 3) && looks.iter().all(|v| v.is_finite())),
            unfit(
                "appearance.npy has another shape than candidates.npy asks for, or values that are not finite"
            )
        );
        let values = |sides: [usize; 3]| sides.iter().try_fold(1_usize, |size, &side| size.checked_mul(side));
        if let Some(sides) = run.input_shape
            && values(sides) != Some(d)
        {
            bail!(unfit("the shape of an input in run.json is not that of a candidate"));
        }
        ensure!(
            mean_image.iter().all(|mean| mean.dim() == (1, d) && mean.iter().all(|v| v.abs() < LARGEST)),
            unfit(
                "mean_image.npy has not the width of candidates.npy, or values that are not finite or above 1e15"
            )
        );
        Ok(())
    }
}
