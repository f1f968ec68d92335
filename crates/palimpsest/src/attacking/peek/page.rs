//! The page of a look into one layer, and its sheet of pictures.

use std::path::Path;

use anyhow::Result;
use ndarray::Axis;
use palimpsest_numerics::display::min_max;
use palimpsest_report::{
    Answer, CandidateView, ConfidenceKind, GridCell, InputKind, Method, ModelFile, PictureShape, ReportData,
    Setting, Stage,
};

use super::record::PeekFile;
use crate::attacking::look::Found;
use crate::attacking::pages;

/// Pictures on the page and on the sheet, at most.
const SHOWN: usize = 200;

/// The report of what was found.
pub(super) fn page(found: &Found, record: &PeekFile) -> Result<ReportData> {
    let sure: Vec<f64> =
        record.pictures.iter().map(|picture| picture.probability).filter(|&p| p > record.bar).collect();
    let expected = (!sure.is_empty()).then(|| sure.iter().sum::<f64>() / sure.len() as f64);
    let answer = Answer::Unjudged {
        sure: record.sure,
        candidates: record.pictures.len(),
        confidence: ConfidenceKind::Probability,
        bar: record.bar,
        expected_precision: expected,
        null: "the spans without an image for which the probability was fitted".into(),
        null_count: None,
        inputs: InputKind::Image,
    };
    let file = record.model.file_name().unwrap_or_default().to_string_lossy();
    let [neurons, inputs] = record.layer_shape;
    let subject = format!("{file}: {}, {neurons} neurons that see {inputs} values", record.layer);
    let mut report = ReportData::new("Pictures in these weights", subject, answer);
    report.confidence_means = confidence_means();
    report.file = Some(ModelFile {
        found: vec![
            Setting::new("file", record.model.display()),
            Setting::new("format", &record.format),
            Setting::new("layer", &record.layer),
        ],
        assumed: vec![
            "the layer sees pictures of this shape, flattened channel by channel and row by row".into(),
        ],
    });
    let shape = shape(record);
    let rows = min_max(found.pictures.view());
    for (index, picture) in record.pictures.iter().enumerate().take(SHOWN) {
        report.candidates.push(CandidateView {
            candidate: index,
            picture: Some(pages::picture(rows.row(index), shape)?),
            values: None,
            rank: Some(index + 1),
            confidence: Some(picture.probability),
            answer: None,
            truth: None,
        });
    }
    report.method = Some(method(record));
    report.limits = limits(record);
    Ok(report)
}

/// Writes the page and the sheet, on which each picture stands above its negative.
pub(super) fn write(folder: &Path, found: &Found, record: &PeekFile, report: &ReportData) -> Result<()> {
    let shape = shape(record);
    let rows = min_max(found.pictures.view());
    let cells: Result<Vec<GridCell>> = rows
        .axis_iter(Axis(0))
        .zip(&record.pictures)
        .take(SHOWN)
        .map(|(row, picture)| {
            Ok(GridCell {
                top: pages::picture(row, shape)?,
                bottom: Some(pages::picture(row.mapv(|value| 1.0 - value).view(), shape)?),
                caption: format!("{:.2}", picture.probability),
            })
        })
        .collect();
    pages::write(folder, report, &cells?)
}

fn shape(record: &PeekFile) -> PictureShape {
    let [channels, height, width] = record.input_shape;
    PictureShape { channels, height, width }
}

fn method(record: &PeekFile) -> Method {
    Method {
        attack: "Separation by agreement: the row space of one layer is separated into pictures of few and strong edges, at nested \
                 truncations and with several edge operators. What many of these settings find independently is listed. Nothing of \
                 what the network computes is used."
            .into(),
        prior: vec![Setting::new("shape of a picture", format!("{:?}", record.input_shape))],
        parameters: vec![
            Setting::new("directions", record.directions),
            Setting::new("truncations", format!("{:?}", record.diagnostics.ranks)),
            Setting::new("smallest truncation", record.params.smallest_rank),
            Setting::new("least support", record.params.least_support),
            Setting::new("threads", record.threads),
        ],
        seeds: vec![Setting::new("separation", record.seed)],
        provenance: vec![Setting::new("made by", &record.made_by)],
        stages: vec![Stage { name: "separation".into(), elapsed_s: record.elapsed_s }],
        ..Method::default()
    }
}

fn confidence_means() -> Vec<String> {
    vec![
        "The probability is that of being one of the images that were mixed into the weights, or its negative. It is estimated from how \
         many separations found the picture, how well these agree, how many directions of the weights gave a picture at all, and \
         how few and strong its edges are."
            .into(),
        "It was fitted on networks that were trained on pictures and on spans that hold none. On layers unlike those it may be off, \
         above all where far more images than directions were mixed."
            .into(),
    ]
}

fn limits(record: &PeekFile) -> Vec<String> {
    let mut limits = vec![
        "Signs are unknown: each picture may be the negative of an image. The sheet pairs.png shows both.".into(),
        "Pictures show what the layer sees, without what was taken from all inputs, each stretched to full contrast.".into(),
    ];
    if record.shared_backgrounds > 0 {
        limits.push(format!(
            "{} more look like what all images have in common and are left out: shared_backgrounds.npy.",
            record.shared_backgrounds
        ));
    }
    if record.pictures.len() > SHOWN {
        limits.push(format!("Only the first {SHOWN} of {} pictures are shown.", record.pictures.len()));
    }
    if record.stopped_early {
        limits.push("It was stopped early by an interrupt; a whole run may find more.".into());
    }
    limits
}
