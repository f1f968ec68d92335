//! Writes two sample pages, their JSON and a picture grid from synthetic pictures into a folder.
//!
//! `cargo run -p palimpsest-report --example sample_report -- target/sample`
#![expect(clippy::print_stdout, reason = "an example speaks to the person who runs it")]

use std::error::Error;
use std::path::Path;

use palimpsest_report::*;

const SHAPE: PictureShape = PictureShape { channels: 3, height: 32, width: 32 };

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/sample".into());
    write_samples(Path::new(&folder))
}

fn write_samples(folder: &Path) -> std::result::Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let judged = judged_report()?;
    std::fs::write(folder.join("report.html"), render_html(&judged)?)?;
    std::fs::write(folder.join("report.md"), render_markdown(&judged)?)?;
    std::fs::write(folder.join("report.json"), to_json(&judged)?)?;
    std::fs::write(folder.join("audit.html"), render_html(&audit_report(&judged))?)?;
    std::fs::write(folder.join("bare.html"), render_html(&from_json(&to_json(&judged)?)?)?)?;
    let cells: Vec<GridCell> = judged.candidates[..10].iter().filter_map(cell).collect();
    std::fs::write(folder.join("grid.png"), render_grid(&cells, &GridParams { columns: 5, zoom: 3 })?)?;
    println!("{}", render_score_table(judged.judge.as_ref().ok_or("the sample has a judge")?));
    println!("wrote {}", folder.display());
    Ok(())
}

fn judged_report() -> Result<ReportData> {
    let answer = Answer::Judged {
        recovered: Count { count: 50, of: 100, interval: Some([44.0, 57.0]) },
        measure: "SSIM".into(),
        threshold: 0.431,
        interval_level: 0.95,
        null: "held-out images of the same distribution".into(),
        null_count: Count { count: 1, of: 1000, interval: None },
        smaller_is_better: false,
        confidence: ConfidenceKind::Probability,
        inputs: InputKind::Image,
    };
    let mut report = ReportData::new(
        "What a published network remembers",
        "Invented numbers and synthetic pictures: 100 images, animals against vehicles, three layers of width 1000",
        answer,
    );
    for i in 0..60 {
        report.candidates.push(candidate(i)?);
    }
    report.judge = Some(judge());
    report.method = Some(method());
    report.convergence = Some(Convergence {
        quantity: "relative residual of layer 1".into(),
        scale: AxisScale::Log,
        curves: (0..7).map(curve).collect(),
    });
    report.limits = vec!["Only one network was attacked; the spread between networks is not known.".into()];
    Ok(report)
}

/// What remains of the report when no training data are given.
fn audit_report(judged: &ReportData) -> ReportData {
    let answer = Answer::Unjudged {
        sure: 23,
        candidates: 140,
        confidence: ConfidenceKind::Probability,
        bar: 0.8,
        expected_precision: Some(0.9),
        null: "candidates of untrained networks of the same shape".into(),
        null_count: Some(Count { count: 0, of: 1000, interval: None }),
        inputs: InputKind::Image,
    };
    let mut audit = ReportData::new("Audit of a classifier", "network.safetensors, 3 layers", answer);
    audit.candidates = judged.candidates.iter().map(|c| CandidateView { truth: None, ..c.clone() }).collect();
    audit.convergence = judged.convergence.clone();
    audit.method = judged.method.clone();
    for layer in audit.method.iter_mut().flat_map(|method| &mut method.certificate) {
        layer.at_truth = None;
    }
    audit
}

fn candidate(i: usize) -> Result<CandidateView> {
    // The sure ones come out nearly clean, the others drown in noise.
    let noise = 0.05 + 0.015 * i as f64;
    let ssim = 0.86 - 0.0125 * i as f64;
    Ok(CandidateView {
        candidate: (i * 37) % 140,
        picture: Some(scene(i, noise)?),
        values: None,
        rank: Some((i * 7) % 60 + 1),
        confidence: Some((0.97 - 0.012 * ((i * 7) % 60) as f64).max(0.0)),
        answer: Some(if i.is_multiple_of(3) { "+1" } else { "-1" }.into()),
        truth: Some(TruthMatch {
            index: (i * 13) % 100,
            label: Some(if i.is_multiple_of(3) { "+1 (animals)" } else { "-1 (vehicles)" }.into()),
            picture: Some(scene(i, 0.0)?),
            values: None,
            distance: None,
            ssim,
            ncc: 1.0 - 0.6 * noise,
            recovered: ssim > 0.431,
        }),
    })
}

fn cell(view: &CandidateView) -> Option<GridCell> {
    let truth = view.truth.as_ref()?;
    Some(GridCell {
        top: view.picture.clone()?,
        bottom: truth.picture.clone(),
        caption: format!("SSIM {:.2}", truth.ssim),
    })
}

/// A sky, a ground and something round on it; noise blends in a fixed pattern.
fn scene(i: usize, noise: f64) -> Result<Picture> {
    let wave = |k: usize| (k as f64 * 0.754_877_7 + i as f64 * 0.569_840_3).fract();
    let (sky, ground, thing) =
        ([wave(1), wave(2), 0.9], [wave(3), 0.6, wave(4) * 0.5], [wave(5), wave(6), wave(7)]);
    let (horizon, centre, radius) =
        (14.0 + 8.0 * wave(8), [10.0 + 12.0 * wave(9), 18.0], 5.0 + 5.0 * wave(10));
    let pixel = |channel: usize, y: usize, x: usize| {
        let (row, column) = (y as f64, x as f64);
        let inside = (row - centre[1]).hypot(column - centre[0]) < radius;
        let clean = if inside {
            thing[channel] * (0.6 + 0.4 * (row / 32.0))
        } else if row < horizon {
            sky[channel] * (0.5 + row / 60.0)
        } else {
            ground[channel] * (1.3 - row / 45.0)
        };
        let speck = speck([channel, y, x, i]);
        clean * (1.0 - noise.min(0.9)) + speck * noise.min(0.9)
    };
    let positions = (0..SHAPE.channels)
        .flat_map(|c| (0..SHAPE.height).flat_map(move |y| (0..SHAPE.width).map(move |x| (c, y, x))));
    Picture::new(SHAPE, positions.map(|(c, y, x)| pixel(c, y, x)))
}

/// Noise without a generator: a position stirred until nothing of it shows.
fn speck(position: [usize; 4]) -> f64 {
    let stir = |hash: u64, part: usize| {
        let mixed = (hash ^ part as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    };
    (position.into_iter().fold(1, stir) >> 40) as f64 / (1 << 24) as f64
}

fn judge() -> Judge {
    let count = |count: usize, of: usize, spread: f64| {
        let ends = [(count as f64 - spread).max(0.0), count as f64 + spread];
        Some(Count { count, of, interval: Some(ends) })
    };
    let row = |name: &str, kind, of, counts: [usize; 4], mean: f64| ScoreRow {
        name: name.into(),
        kind,
        above_cut: count(counts[0], of, 6.0),
        ssim_at_rate: count(counts[1], of, 6.0),
        ncc_at_rate: count(counts[2], of, 5.0),
        unique: count(counts[3], of, 6.0),
        distance_at_rate: None,
        mean_of_ten_best: Some(mean),
    };
    Judge {
        protocol: "Candidate plus train mean, min-max to [0, 1] (min-max protocol). SSIM: window 3, Gaussian sigma 1.5, \
                   reflect padding, data range 1, mean over pixels and channels. NCC: per channel zero mean, unit norm."
            .into(),
        ssim_cut: 0.4,
        held_out_rate: 0.001,
        ssim_at_rate: 0.431,
        ncc_at_rate: 0.618,
        distance_at_rate: None,
        interval_level: 0.95,
        rows: vec![
            row("candidates", RowKind::Candidates, 100, [52, 50, 47, 45], 0.802),
            row("held-out images", RowKind::Null, 1000, [2, 1, 1, 2], 0.371),
            row("class means", RowKind::Null, 100, [0, 0, 0, 0], 0.214),
            row("rows of W1", RowKind::Null, 100, [4, 3, 2, 3], 0.393),
            ScoreRow { unique: None, mean_of_ten_best: Some(f64::NAN), ..row("random noise", RowKind::Null, 100, [1, 0, 0, 0], 0.0) },
        ],
        classes: vec![
            ClassCounts { name: "+1 (animals)".into(), training: 50, recovered: 27 },
            ClassCounts { name: "-1 (vehicles)".into(), training: 50, recovered: 23 },
        ],
        ranking: Some(Ranking {
            by: "how sure it is of each".into(),
            precision_at: [(5, 5), (10, 9), (20, 16), (50, 31)].map(|(k, real)| PrecisionAt { k, real }).to_vec(),
            calibration: [(0.08, 3, 41), (0.31, 11, 38), (0.52, 14, 29), (0.74, 13, 19), (0.93, 12, 13)]
                .map(|(claimed, real, of)| CalibrationBin { claimed, real, of })
                .to_vec(),
        }),
    }
}

fn method() -> Method {
    let layer = |name: &str, shape: &str, activation: &str, parameters| LayerView {
        name: name.into(),
        shape: shape.into(),
        activation: activation.into(),
        parameters,
    };
    Method {
        model: vec![
            layer("1", "1000 x 3072, bias", "ReLU", 3_073_000),
            layer("2", "1000 x 1000", "ReLU", 1_000_000),
            layer("3", "1 x 1000", "", 1000),
        ],
        prior: vec![
            Setting::new("pixel range", "[0, 1], train mean removed"),
            Setting::new("labels", "two classes, half and half"),
            Setting::new("weight decay", "not declared"),
        ],
        attack: "Alternating least squares with fixed gates, seven restarts, consensus, joint descent."
            .into(),
        parameters: vec![
            Setting::new("candidates", 140),
            Setting::new("restarts", 7),
            Setting::new("gate sharpness alpha", "5 to 100"),
            Setting::new("proximal weight", "10 to 0.1"),
            Setting::new("descent steps", 4000),
        ],
        seeds: vec![
            Setting::new("training", 1),
            Setting::new("attack", 20_261_122),
            Setting::new("bootstrap", 3),
        ],
        provenance: vec![
            Setting::new("palimpsest", "0.1.0"),
            Setting::new(
                "checkpoint blake3",
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            ),
        ],
        stages: [("load", 0.071), ("restarts", 73.4), ("consensus", 0.9), ("descent", 19.2), ("judge", 6.3)]
            .map(|(name, elapsed_s)| Stage { name: name.into(), elapsed_s })
            .to_vec(),
        certificate: [("1", 0.271, 0.221), ("2", 0.402, 0.337), ("3", 0.115, 0.094)]
            .map(|(layer, candidates, truth)| LayerCertificate {
                layer: layer.into(),
                at_candidates: Some(candidates),
                at_truth: Some(truth),
            })
            .to_vec(),
    }
}

fn curve(restart: usize) -> Curve {
    let steps: Vec<u64> = (0..=4000).step_by(20).collect();
    let floor = 0.08 + 0.02 * ((restart * 5) % 7) as f64;
    let value = |step: &u64| {
        let t = *step as f64 / 400.0;
        floor + 0.9 * (-t * (0.8 + 0.1 * restart as f64)).exp() + 0.004 * (t * 9.0 + restart as f64).sin()
    };
    Curve { name: format!("restart {restart}"), values: steps.iter().map(value).collect(), steps }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_sample_is_written() {
        let folder = tempfile::tempdir().unwrap();
        super::write_samples(folder.path()).unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        for page in ["report.html", "audit.html", "bare.html"] {
            assert!(read(page).starts_with(b"<!doctype html>"), "{page}");
        }
        assert!(read("report.md").starts_with(b"# ") && read("grid.png").starts_with(b"\x89PNG"));
        let json = String::from_utf8(read("report.json")).unwrap();
        assert_eq!(palimpsest_report::from_json(&json).unwrap().candidates.len(), 60);
    }
}
