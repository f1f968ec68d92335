//! The report of a reconstruction that nobody has judged: what an attacker alone can say.

use std::path::Path;

use anyhow::{Result, ensure};
use ndarray::{Array2, Axis};
use palimpsest_attack::evidence::confidence::{ConfidenceModel, Evidence};
use palimpsest_attack::{Origin, Saturation};
use palimpsest_numerics::display::min_max;
use palimpsest_numerics::quantile::{quantile, upper_median};
use palimpsest_report::{
    Answer, CandidateView, ConfidenceKind, Count, GridCell, InputKind, Picture, PictureShape, ReportData,
};
use palimpsest_runs::files;
use palimpsest_runs::record::MEAN_FILE;
use palimpsest_unmix::raw::Appearance;

use super::answers::{Answers, class_names, of_each_class};
use super::chance::agreement_of_mixtures;
use super::exposure::exposure;
use super::found::Found;
use super::model_file::describe;
use super::pages::{SHOWN, chain, columns, convergence, method, picture, values, write};
use super::protection::{Seen, candidate_records, protection};
use super::too_short::too_short;

/// Agreement or probability above which a candidate counts as found, unless chance reaches more.
const SURE: f64 = 0.8;
/// Share of random mixtures that may pass the bar: that of the judge's nulls.
const CHANCE_RATE: f64 = 0.001;
/// Where the judge's report lies beside this one, if there is one.
pub const JUDGE_PAGE: &str = "judge/report.html";

/// Writes the report of the reconstruction in `folder` into it.
pub fn unjudged(folder: &Path) -> Result<ReportData> {
    let found = Found::read(folder)?;
    let mean = Mean::of(folder, found.mean_image.clone(), found.candidates.ncols())?;
    let merged = found.estimates(folder)?;
    let mut report = page(&found, merged.as_ref(), &mean)?;
    report.judge_page = folder.join(JUDGE_PAGE).exists().then(|| JUDGE_PAGE.to_owned());
    write_page(folder, &report)?;
    Ok(report)
}

/// Writes a report in its three forms and as a grid of pictures.
pub(crate) fn write_page(folder: &Path, report: &ReportData) -> Result<()> {
    let grid: Vec<GridCell> = report.candidates.iter().filter_map(cell).collect();
    write(folder, report, &grid)
}

/// The report of `found`, whose best estimates are `merged`, (ranking, d), if there are any.
pub(crate) fn page(found: &Found, merged: Option<&Array2<f32>>, mean: &Mean) -> Result<ReportData> {
    let shape =
        found.run.input_shape.map(|[channels, height, width]| PictureShape { channels, height, width });
    let inputs = if shape.is_some() { InputKind::Image } else { InputKind::Row };
    let (answer, means) = answer(found, inputs);
    let (_, claimed) = found.claimed(inputs);
    let name = found.run.model.file_name().unwrap_or_default().to_string_lossy();
    let subject = format!("{name}: a network of dense layers, {}", chain(&found.run.dims));
    let mut report = ReportData::new("What these weights may remember", subject, answer);
    report.confidence_means = means;
    report.file = Some(describe(
        &found.run.model,
        found.run.chain.as_deref(),
        &found.network,
        found.provenance.as_ref(),
    )?);
    report.exposure = Some(exposure(&found.run.exposure, &found.run.spectrum));
    report.warnings.extend(too_short(&found.run));
    let ranked = merged.map_or_else(|| found.candidates.select(Axis(0), &found.run.ranking), Clone::clone);
    let answers = Answers::of(found, ranked.view());
    report.classes = of_each_class(found, &answers, &called_sure(found, &report.answer));
    let names = class_names(found);
    for (rank, &candidate) in found.run.ranking.iter().take(SHOWN).enumerate() {
        let best = ranked.row(rank);
        let row = mean.restore(&best.insert_axis(Axis(0)).to_owned());
        let shown: Option<Picture> =
            shape.map(|shape| picture(min_max(row.view()).row(0), shape)).transpose()?;
        report.candidates.push(CandidateView {
            candidate,
            picture: shown,
            values: shape.is_none().then(|| values(row.row(0))),
            rank: Some(rank + 1),
            confidence: Some(f64::from(claimed[candidate])),
            answer: Some(answers.words(rank, &names, (0.0, 1.0))),
            truth: None,
        });
    }
    // Nobody has judged: what the trainer's certificate says of the truth has no place here.
    report.method = Some(method(found, &[("attack".into(), found.run.elapsed_s)], &[]));
    report.convergence = Some(convergence(&found.run));
    report.limits = limits(found, shape, mean);
    let seen = Seen::of(found);
    report.candidate_records = candidate_records(seen, &name);
    report.protection = protection(seen);
    if shape.is_none() {
        report.columns = columns(&[], found.candidates.ncols());
    }
    Ok(report)
}

/// Which ranked inputs pass the bar of the `answer`, (ranking).
fn called_sure(found: &Found, answer: &Answer) -> Vec<bool> {
    let Answer::Unjudged { bar, inputs, .. } = answer else { return vec![false; found.run.ranking.len()] };
    let (_, claimed) = found.claimed(*inputs);
    found.run.ranking.iter().map(|&j| f64::from(claimed[j]) > *bar).collect()
}

/// The answer and what its confidence means.
fn answer(found: &Found, inputs: InputKind) -> (Answer, Vec<String>) {
    let ranking = &found.run.ranking;
    let (kind, claimed) = found.claimed(inputs);
    let mixtures = agreement_of_mixtures(found).map(|agreement| match kind {
        ConfidenceKind::Agreement => agreement,
        ConfidenceKind::Probability => agreement.into_iter().map(|a| probability(found, a)).collect(),
    });
    // The bar is that of the judge's nulls: at most one member in a thousand passes.
    let bar = mixtures.as_ref().map_or(SURE, |mixtures| quantile(mixtures, 1.0 - CHANCE_RATE).max(SURE));
    let passing: Vec<f64> =
        ranking.iter().map(|&j| f64::from(claimed[j])).filter(|&claimed| claimed > bar).collect();
    let null_count = mixtures.map(|mixtures| {
        let passing = mixtures.iter().filter(|&&agreement| agreement > bar).count();
        Count { count: passing, of: mixtures.len(), interval: None }
    });
    let null = match null_count {
        Some(_) => "random mixtures of the same candidates",
        None => "no null, as fewer than two restarts can be compared",
    };
    let expected = (kind == ConfidenceKind::Probability && !passing.is_empty())
        .then(|| passing.iter().sum::<f64>() / passing.len() as f64);
    let answer = Answer::Unjudged {
        sure: passing.len(),
        candidates: ranking.len(),
        confidence: kind,
        bar,
        expected_precision: expected,
        null: null.into(),
        null_count,
        inputs,
    };
    (answer, confidence_means(found, kind, null_count, bar))
}

/// The probability of a candidate of this `agreement` in the same attack, if the biases spoke for it.
fn probability(found: &Found, agreement: f64) -> f64 {
    let run = &found.run;
    let mut residuals: Vec<f64> = run.restarts.iter().map(|r| r.relative_residual).collect();
    let median = upper_median(&mut residuals).unwrap_or(1.0);
    f64::from(ConfidenceModel::default().probability(
        &Evidence {
            agreement: agreement as f32,
            distinct_share: run.distinct_share,
            bias_share: found.network.layers()[0].bias.as_ref().map(|_| 1.0),
            // It looks as the middle one of the candidates does.
            appearance: found.appearance.as_ref().map(|looks| {
                let middle =
                    |column: usize| quantile(&looks.column(column).mapv(f64::from).to_vec(), 0.5) as f32;
                Appearance { contrast: middle(0), brightness: middle(1), unchanged: middle(2) }
            }),
        },
        median,
        run.restarts.len(),
    ))
}

fn confidence_means(found: &Found, kind: ConfidenceKind, null_count: Option<Count>, bar: f64) -> Vec<String> {
    let exact = found.run.count(Origin::ActivationPattern);
    let chance = match null_count {
        Some(Count { count, of, .. }) => format!(
            "As a null, {of} random mixtures of the same candidates were compared with the restarts in the same way: \
             {} of them {} the bar of {bar:.2}. The bar is {SURE:.2}, or higher where chance alone would reach that.",
            if count == 0 { "none".into() } else { count.to_string() },
            if count == 1 { "passes" } else { "pass" },
        ),
        None => "Fewer than two restarts can be compared, so nothing can agree: run more of them.".into(),
    };
    let agreement = "Agreement is the mean cosine of a candidate with its nearest relative in each of the other \
                     restarts. 1 means that every restart, begun from other random numbers, came to the same input; \
                     inputs that really shaped the weights tend to be found again.";
    let caution = match kind {
        ConfidenceKind::Agreement => {
            "Agreement is not a probability and was not calibrated: restarts can also agree on something that no \
             training input looks like, such as a blend of two. Only somebody with the training data can tell them \
             apart."
        }
        ConfidenceKind::Probability if found.appearance.is_some() => {
            "The probability is estimated from agreement, from how a candidate looks (few and strong edges, a brightest pixel that \
             is white) and how near that is to what the equation alone found, from how much of what it would have written into the first layer's biases is there, and from how much of \
             the weights the candidates explain, by a logistic model. It was fitted on networks that were trained on pictures on \
             black for that purpose; on networks unlike those it may be off."
        }
        ConfidenceKind::Probability => {
            "The probability is estimated from agreement, from how few distinct candidates the restarts leave, from how much of \
             what a candidate would have written into the first layer's biases is there, and from how much of the weights \
             the candidates explain, by a logistic model. It was fitted on networks that were trained on \
             images for that purpose; on networks unlike those it may be off."
        }
    };
    let mut means = Vec::new();
    if exact > 0 && kind == ConfidenceKind::Probability {
        means.push(format!(
            "{exact} of the candidates were solved for exactly, each from the neurons that it switches on. Two things make \
             their probability. One is how many neurons a candidate leaves on the right side that were left out when it was \
             solved for: a wrong one would miss many. The other is how little it changes when they are left out. What follows \
             is about all others."
        ));
    }
    let agreed = found.run.count(Origin::Deflation);
    if agreed > 0 && kind == ConfidenceKind::Probability {
        means.push(format!(
            "{agreed} of the candidates are images on which the restarts of a round agreed, each the mean of what these found. \
             Their probability is estimated from that agreement, in edges, and from how much of what the image would have written into \
             the first layer's biases is there, which its negative lacks. Restarts of later rounds do not find them again, because \
             they were taken out of the equation. What follows is about all others."
        ));
    }
    means.extend([agreement.into(), caution.into(), chance]);
    means
}

fn limits(found: &Found, shape: Option<PictureShape>, mean: &Mean) -> Vec<String> {
    let mut limits = Vec::new();
    let d = found.candidates.ncols();
    match (shape, mean) {
        (Some(_), Mean::Unknown) => limits.push(
            "Pictures show candidates without the training mean, each stretched to full contrast; the mean can be given \
             with --mean."
                .into(),
        ),
        (Some(_), Mean::Given(_)) => {
            limits.push("Pictures show candidates plus the given mean, each stretched to full contrast.".into());
        }
        (Some(_), Mean::Told(mean)) => limits.push(match uniform(mean) {
            Some(value) => format!(
                "Pictures show candidates plus {value:.2}, each stretched to full contrast: the weights say that no mean image was \
                 taken from the inputs, a constant at most."
            ),
            None => "Pictures show candidates plus the mean image that the weights tell, each stretched to full contrast; the \
                     true one can be given with --mean."
                .into(),
        }),
        (None, _) if d > columns(&[], d).len() => limits.push(format!(
            "Only the first {} of {d} values of a row are shown. If the inputs are pictures, say so with --input-shape.",
            columns(&[], d).len()
        )),
        (None, _) => {}
    }
    if found.run.stopped_early {
        limits.push(
            "The attack was stopped early, by a time limit or an interrupt; a longer one may find more."
                .into(),
        );
    }
    if let Some(Saturation { restarts, last, found }) = found.run.saturation {
        limits.push(format!(
            "The attack ended by itself after {restarts} restarts, as the last {last} brought nothing new (inputs on which restarts agree: \
             {found}). What no restart has found may still be in the weights; a larger --restarts tries so many."
        ));
    }
    // Rounds end by themselves when enough was taken out.
    if found.run.count(Origin::Deflation) > 0 && found.run.restarts.len() == found.run.params.restarts {
        limits.push(
            "Rounds of restarts may still have found new images when the last one ended; more --restarts, or a --time-limit, would tell."
                .into(),
        );
    }
    limits
}

fn cell(view: &CandidateView) -> Option<GridCell> {
    let caption = format!("{:.2}", view.confidence?);
    Some(GridCell { top: view.picture.clone()?, bottom: None, caption })
}

/// The value of all pixels, if they have the same.
fn uniform(image: &Array2<f32>) -> Option<f32> {
    image.first().copied().filter(|first| image.iter().all(|v| v == first))
}

/// The training mean.
pub(crate) enum Mean {
    Unknown,
    /// By the user, with the deviation of each column below it, if that was given, too.
    Given(Array2<f32>),
    /// By the weights.
    Told(Array2<f32>),
}

impl Mean {
    /// Of inputs of `d` values in `folder`, where the attack has `told` one or not.
    pub(crate) fn of(folder: &Path, told: Option<Array2<f32>>, d: usize) -> Result<Self> {
        let path = folder.join(MEAN_FILE);
        if !path.exists() {
            return Ok(told.map_or(Self::Unknown, Self::Told));
        }
        let values: Array2<f32> = files::read_npy(&path)?;
        ensure!(
            values.ncols() == d && matches!(values.nrows(), 1 | 2) && values.iter().all(|v| v.is_finite()),
            "{} holds {:?} values; the mean of this network's inputs has {d}",
            path.display(),
            values.dim()
        );
        Ok(Self::Given(values))
    }

    /// Rows (m, d) in the units of the raw inputs, as far as they are known.
    pub(crate) fn restore(&self, rows: &Array2<f32>) -> Array2<f32> {
        match self {
            Self::Unknown => rows.clone(),
            Self::Given(values) if values.nrows() == 2 => rows * &values.row(1) + values.row(0),
            Self::Given(values) | Self::Told(values) => rows + &values.row(0),
        }
    }
}
