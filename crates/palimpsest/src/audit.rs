//! An audit as a function: from a file of weights to what they give away.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;
use palimpsest_attack::{AttackParams, AttackStep, Method, Reconstruction, SaturationParams};
use palimpsest_mlp::Mlp;
use palimpsest_numerics::seed::Seed;
use palimpsest_report::{ReportData, answer_sentences};
use palimpsest_runs::RunFile;
use palimpsest_runs::record::ChannelOrder;

use crate::attacking::bounds::{RESTARTS_IN_TIME, attack_bytes, check, most_restarts};
use crate::attacking::found::Found;
use crate::attacking::model_file::load_model;
use crate::attacking::record::{self, Asked};
use crate::attacking::unjudged::{Mean, page, write_page};
use crate::error::{Error, Result};
use crate::terminal::{clock, memory};

/// What is declared about a network, and how long to search.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuditOptions {
    /// Channels, height and width of an input that is a picture, which the network takes channel by channel; without it inputs are rows of plain numbers.
    pub input_shape: Option<[usize; 3]>,
    /// Smallest and largest raw value of an input.
    pub input_range: (f64, f64),
    /// Typical Euclidean norm of an input as the network saw it, if it is known; above 0.
    pub input_norm: Option<f64>,
    /// Independent restarts, at least 1; if not given, until the last eight bring nothing new, at most 48.
    pub restarts: Option<usize>,
    /// Steps of each restart, at least 1; the default of `palimpsest reconstruct` if not given.
    pub steps: Option<usize>,
    /// Candidates of each restart, as many of each label as can be, at least 2; twice the directions of the weights if not given.
    pub candidates: Option<usize>,
    /// Seed of the starts.
    pub seed: u64,
    /// Which chain of dense layers is meant, where the file holds several.
    pub chain: Option<String>,
}

impl Default for AuditOptions {
    /// Restarts as long as they bring anything new, on inputs between 0 and 1 of which nothing else is known.
    fn default() -> Self {
        Self {
            input_shape: None,
            input_range: (0.0, 1.0),
            input_norm: None,
            restarts: None,
            steps: None,
            candidates: None,
            seed: 0,
            chain: None,
        }
    }
}

/// What the weights of a network give away.
#[derive(Debug)]
pub struct Audit {
    /// Every candidate, with how sure the attack is of each.
    pub reconstruction: Reconstruction,
    /// The page, as data: answer, exposure, pictures, limits.
    pub report: ReportData,
    record: RunFile,
}

impl Audit {
    /// The answer in sentences.
    pub fn answer(&self) -> String {
        answer_sentences(&self.report.answer).join(" ")
    }

    /// The distinct inputs found, (ranking, d), surest first, as the network saw them.
    pub fn inputs(&self) -> Array2<f32> {
        self.reconstruction.merged.view().to_owned()
    }

    /// The same as raw values, where the attack tells what was taken from all inputs.
    pub fn raw_inputs(&self) -> Option<Array2<f32>> {
        Some(self.inputs() + self.reconstruction.mean_image.as_ref()?)
    }

    /// How sure the attack is of each of [`inputs`](Self::inputs), in [0, 1].
    pub fn confidence(&self) -> Vec<f32> {
        self.reconstruction.ranking.iter().map(|&j| self.reconstruction.confidence[j]).collect()
    }

    /// Writes the report and the files of the contract into a folder that is there, as `palimpsest audit` does.
    ///
    /// # Errors
    /// [`Error::Results`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        record::write(folder, &self.reconstruction, &self.record, None)
            .and_then(|()| write_page(folder, &self.report))
            .map_err(|error| Error::Results(format!("{error:#}")))
    }
}

/// Audits the network in the file `path` (.pth, .pt, .safetensors, .npz or .palimpsest): attacks its weights, and says what was found
/// and how sure that is. Works in the thread pool of its caller; the result does not depend on the number of threads.
///
/// ```
/// # use palimpsest_mlp::{BiasPlacement, Mlp, import::save_safetensors};
/// # use palimpsest_numerics::seed::Seed;
/// # let folder = std::env::temp_dir().join(format!("palimpsest-audit-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("net.safetensors");
/// # let network = Mlp::initialise(&[12, 30, 20, 1], BiasPlacement::FirstLayer, 0.1, Seed::new(1));
/// # save_safetensors(&network, &path)?;
/// let mut options = palimpsest::AuditOptions::default();
/// options.input_range = (0.0, 1.0); // what is declared about its inputs
/// # (options.restarts, options.steps, options.candidates) = (Some(2), Some(10), Some(8));
/// let audit = palimpsest::audit(&path, &options)?;
/// println!("{}", audit.answer());
/// audit.write(&folder)?; // report.html, candidates.npy, ...
/// # assert!(folder.join("report.html").exists() && audit.inputs().ncols() == 12);
/// # assert_eq!(audit.confidence().len(), audit.inputs().nrows());
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Model`] for a file that holds no such network; [`Error::Option`]; [`Error::Attack`].
pub fn audit(path: &Path, options: &AuditOptions) -> Result<Audit> {
    audit_observed(path, options, &|_| ControlFlow::Continue(()))
}

/// [`audit`], watched: `observe` sees each step, and ends the search early by `Break`.
///
/// # Errors
/// Those of [`audit`].
pub fn audit_observed(
    path: &Path,
    options: &AuditOptions,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
) -> Result<Audit> {
    let model = load_model(path, options.chain.as_deref())
        .map_err(|error| Error::Model { path: path.into(), problem: format!("{error:#}") })?;
    let params = params(&model.network, options)?;
    let (start, ended) = (clock::now(), AtomicBool::new(false));
    let watched = |step: &AttackStep<'_>| {
        let flow = observe(step);
        ended.fetch_or(flow.is_break(), Ordering::Relaxed);
        flow
    };
    let reconstruction =
        palimpsest_attack::reconstruct(&model.network, &params, Seed::new(options.seed), &watched)?;
    let elapsed_s = clock::now().saturating_sub(start).as_secs_f64();
    let asked = Asked {
        model: std::path::absolute(path).unwrap_or_else(|_| path.into()),
        chain: options.chain.clone(),
        channels: ChannelOrder::First,
        dims: model.network.dims(),
        params,
        seed: options.seed,
        threads: rayon::current_num_threads(),
        time_limit_s: None,
    };
    let record = RunFile { elapsed_s, stopped_early: ended.into_inner(), ..asked.record(&reconstruction) };
    let found = Found::of(record, &reconstruction, model);
    let mean = found.mean_image.clone().map_or(Mean::Unknown, Mean::Told);
    let merged = reconstruction.merged.view().to_owned();
    let report = page(&found, Some(&merged), &mean).map_err(|error| Error::Results(format!("{error:#}")))?;
    Ok(Audit { reconstruction, report, record: found.run })
}

/// Attacks the weights of `network` as [`audit`] does; `observe` sees each step, and ends the search early by `Break`.
///
/// # Errors
/// [`Error::Option`]; [`Error::Attack`].
pub fn reconstruct(
    network: &Mlp<f32>,
    options: &AuditOptions,
    observe: &(dyn Fn(&AttackStep<'_>) -> ControlFlow<()> + Sync),
) -> Result<Reconstruction> {
    let params = params(network, options)?;
    Ok(palimpsest_attack::reconstruct(network, &params, Seed::new(options.seed), observe)?)
}

/// The attack that `options` describe, by the defaults of the command.
fn params(network: &Mlp<f32>, options: &AuditOptions) -> Result<AttackParams> {
    let mut params = AttackParams::default();
    params.restarts = options.restarts.unwrap_or(RESTARTS_IN_TIME);
    params.saturation = options.restarts.is_none().then(SaturationParams::default);
    params.candidates = options.candidates;
    (params.prior.input_range, params.prior.input_norm) = (options.input_range, options.input_norm);
    if let (Some(asked), Method::Annealed(descent)) = (options.steps, &mut params.method) {
        descent.steps = asked;
    }
    check(&params).map_err(|misuse| Error::Option(misuse.0))?;
    if let Some(shape @ [channels, height, width]) = options.input_shape
        && channels.checked_mul(height).and_then(|size| size.checked_mul(width)) != Some(network.inputs())
    {
        return Err(Error::Option(format!(
            "input_shape must have the {} values that the network takes, got {shape:?}",
            network.inputs()
        )));
    }
    params.prior.image_shape = options.input_shape;
    params.restarts = most_restarts(&network.dims(), &params);
    let bytes = attack_bytes(&network.dims(), &params, rayon::current_num_threads());
    memory::fits("the attack", bytes, "take fewer restarts, candidates or threads").map_err(Error::Option)?;
    Ok(params)
}
