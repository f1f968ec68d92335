//! `cargo xtask reproduce calibrate-list`: how sure an entry of the list may be, fitted to attacks that were judged.

mod signs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ndarray::Array2;
use palimpsest::judging::score::ScoreFile;
use palimpsest::terminal::{Misuse, output};
use palimpsest_attack::evidence::witnesses::Witnesses;
use palimpsest_metrics::calibration::wilson;
use palimpsest_metrics::judge::reliability::Finding;
use palimpsest_metrics::logistic::fit_logistic;
use palimpsest_runs::{RunFile, files};

use self::signs::Sign;

/// The judged attacks to fit to.
#[derive(Clone, Debug, Args)]
pub(super) struct ListArgs {
    /// Folders that `evaluate` wrote; those of one data set and task are of one kind.
    #[arg(required = true, value_name = "DIR")]
    judged: Vec<PathBuf>,
}

/// Probability from which on an entry is called sure.
const SURE: f64 = 0.95;

/// A judged attack.
struct Judged {
    folder: PathBuf,
    /// Which model says how sure an entry is.
    model: Model,
    /// Features of each entry, (k).
    features: Vec<[f64; Witnesses::FEATURES]>,
    /// What each is, (k).
    findings: Vec<Finding>,
    /// Signs of separated pictures that are an image or its negative.
    signs: Vec<Sign>,
    /// Whether restarts know signs: they came to their end, and the pull of an input has the sign of the network's answer.
    restarts_know: bool,
}

/// Models of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    /// A restart came to its end.
    Plain,
    /// The sum of all inputs speaks besides.
    OfSum,
    /// No restart came to its end.
    WithoutRestart,
}

impl Model {
    /// Whether it is fitted to an attack that `model` is for.
    fn is_fitted_to(self, model: Self) -> bool {
        self == model || (self, model) == (Self::Plain, Self::OfSum)
    }
}

/// What was called sure.
#[derive(Clone, Copy, Default)]
struct Sure {
    called: usize,
    real: usize,
    negatives: usize,
}

/// Fits the model of the list, each attack counted alike; says what it calls sure on each kind when that is left out, and prints its
/// coefficients.
pub(super) fn calibrate(args: &ListArgs) -> Result<()> {
    let mut kinds: BTreeMap<String, Vec<Judged>> = BTreeMap::new();
    for folder in &args.judged {
        if let Some((kind, judged)) = read(folder)? {
            kinds.entry(kind).or_default().push(judged);
        }
    }
    ensure!(
        kinds.len() > 1,
        Misuse("leaving one kind out takes two; name attacks on other data sets, too".into())
    );
    let models = [
        ("the sum of inputs speaks", Model::OfSum),
        ("a restart came to its end", Model::Plain),
        ("no restart came to its end", Model::WithoutRestart),
    ];
    for (of, model) in models {
        let mut of_these: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
        for (kind, judged) in &kinds {
            let judged: Vec<&Judged> =
                judged.iter().filter(|judged| model.is_fitted_to(judged.model)).collect();
            if !judged.is_empty() {
                of_these.insert(kind, judged);
            }
        }
        output::line(&format!("attacks in which {of}:"));
        leave_one_out(&of_these)?;
    }
    for (of, know) in [("know signs", true), ("hardly know signs", false)] {
        output::line(&format!("signs of separated pictures where restarts {of}:"));
        let of_each = |of: &'_ Vec<Judged>| -> Vec<Vec<Sign>> {
            of.iter()
                .filter(|judged| judged.restarts_know == know && !judged.signs.is_empty())
                .map(|judged| judged.signs.clone())
                .collect()
        };
        let of_kinds = kinds.iter().map(|(kind, of)| (kind.as_str(), of_each(of)));
        signs::leave_one_out(&of_kinds.filter(|(_, of)| !of.is_empty()).collect())?;
    }
    Ok(())
}

/// Says what is called sure on each of `kinds` when that is left out of the fit, and the coefficients of all; nothing for fewer than two kinds.
fn leave_one_out(kinds: &BTreeMap<&str, Vec<&Judged>>) -> Result<()> {
    if kinds.len() < 2 {
        output::line("  none, or of one kind only: nothing was fitted");
        return Ok(());
    }
    let mut all = Sure::default();
    for (kind, left_out) in kinds {
        let others: Vec<&Judged> =
            kinds.iter().filter(|(other, _)| *other != kind).flat_map(|(_, of)| of.iter().copied()).collect();
        let coefficients = fit(&others)?;
        for judged in left_out {
            let sure = judged.called_sure(&coefficients);
            output::line(&format!("  {kind}, {}: {}", judged.folder.display(), sure.text()));
            all.add(sure);
        }
    }
    let of_all: Vec<&Judged> = kinds.values().flatten().copied().collect();
    output::line(&format!("  each kind by a fit without it: {}", all.text()));
    output::line(&format!(
        "  {} kinds, {} attacks, coefficients {:.2?}",
        kinds.len(),
        of_all.len(),
        fit(&of_all)?
    ));
    Ok(())
}

/// The kind of a judged attack and what it says; nothing where nobody knows who found the entries.
fn read(folder: &Path) -> Result<Option<(String, Judged)>> {
    let score: ScoreFile = files::read_json(&folder.join("score.json"))?;
    let run: RunFile = files::read_json(&score.reconstruction.join("run.json"))?;
    let (Some(witnesses), Some(judgement)) = (run.witnesses, score.judgement) else {
        output::note(&format!("{}: nothing is known of who found what; left out", folder.display()));
        return Ok(None);
    };
    let data_dir = score.data.data_dir.as_deref().and_then(Path::file_name).unwrap_or_default();
    let kind = format!("{} {} {}", score.data.data, data_dir.display(), score.data.task);
    let model =
        match (witnesses.iter().any(|of| of.found.is_none()), witnesses.iter().any(|of| of.sum.is_some())) {
            (true, _) => Model::WithoutRestart,
            (false, true) => Model::OfSum,
            (false, false) => Model::Plain,
        };
    let features = witnesses.iter().map(Witnesses::features).collect();
    // Where pictures are much alike, the bar of the held-out images can be above what is legible.
    let either = judgement.findings.iter().zip(&judgement.findings_legible);
    let findings = either.map(|(&found, &legible)| if legible == Finding::Real { legible } else { found });
    let findings: Vec<Finding> = findings.collect();
    let signs = witnesses.iter().zip(&findings).filter_map(|(of, finding)| {
        let features = of.of_sign?.features().map(f64::from);
        match finding {
            Finding::Real => Some(Sign { features, is_right: true }),
            Finding::Negative => Some(Sign { features, is_right: false }),
            Finding::Repeated | Finding::Chance => None,
        }
    });
    let signs = signs.collect();
    let restarts_know = model != Model::WithoutRestart && score.data.task != "regression";
    Ok(Some((kind, Judged { folder: folder.to_owned(), model, features, findings, signs, restarts_know })))
}

/// Coefficients of the features of the entries of `judged`, those of each attack weighing 100 together.
fn fit(judged: &[&Judged]) -> Result<[f64; Witnesses::FEATURES]> {
    let (mut rows, mut real, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for attack in judged {
        for (features, finding) in attack.features.iter().zip(&attack.findings) {
            rows.extend_from_slice(features);
            real.push(*finding == Finding::Real);
            weights.push(100.0 / attack.findings.len() as f64);
        }
    }
    let features = Array2::from_shape_vec((real.len(), Witnesses::FEATURES), rows)?;
    let fitted = fit_logistic(features.view(), &real, &weights)?;
    fitted.to_vec().try_into().ok().context("a coefficient for each feature")
}

impl Judged {
    fn called_sure(&self, coefficients: &[f64; Witnesses::FEATURES]) -> Sure {
        let mut sure = Sure::default();
        for (features, finding) in self.features.iter().zip(&self.findings) {
            let score: f64 = features.iter().zip(coefficients).map(|(f, c)| f * c).sum();
            if 1.0 / (1.0 + (-score).exp()) >= SURE {
                sure.called += 1;
                sure.real += usize::from(*finding == Finding::Real);
                sure.negatives += usize::from(*finding == Finding::Negative);
            }
        }
        sure
    }
}

impl Sure {
    fn add(&mut self, other: Self) {
        self.called += other.called;
        self.real += other.real;
        self.negatives += other.negatives;
    }

    fn text(&self) -> String {
        let Self { called, real, negatives } = *self;
        if called == 0 {
            return "none called sure".into();
        }
        let [low, high] = wilson(real, called).map(|share| 100.0 * share);
        format!("{called} called sure, {real} real ({low:.0} to {high:.0} %), {negatives} negatives")
    }
}
