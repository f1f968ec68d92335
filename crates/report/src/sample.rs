//! Two small reports for the tests of this crate.

use crate::data::*;
use crate::picture::{Picture, PictureShape};

/// A report with every section.
pub(crate) fn judged() -> ReportData {
    let count =
        |count, of| Some(Count { count, of, interval: Some([count as f64 - 0.5, count as f64 + 2.5]) });
    let row = |name: &str, kind, hits, of| ScoreRow {
        name: name.into(),
        kind,
        above_cut: count(hits, of),
        ssim_at_rate: count(hits, of),
        ncc_at_rate: count(hits, of),
        unique: count(hits, of),
        mean_of_ten_best: Some(0.5),
    };
    let answer = Answer::Judged {
        recovered: Count { count: 50, of: 100, interval: Some([44.0, 57.0]) },
        measure: "SSIM".into(),
        threshold: 0.431,
        interval_level: 0.95,
        null: "held-out images of the same distribution".into(),
        null_count: Count { count: 1, of: 1000, interval: None },
    };
    ReportData {
        candidates: (0..3).map(candidate).collect(),
        judge: Some(Judge {
            protocol: "min-max to [0, 1]; SSIM window 3, data range 1".into(),
            ssim_cut: 0.4,
            held_out_rate: 0.001,
            ssim_at_rate: 0.431,
            ncc_at_rate: 0.62,
            interval_level: 0.95,
            rows: vec![
                row("candidates", RowKind::Candidates, 45, 100),
                row("held-out images", RowKind::Null, 1, 1000),
            ],
            ranking: Some(Ranking {
                by: "support across restarts".into(),
                precision_at: vec![PrecisionAt { k: 20, real: 16 }],
                calibration: vec![CalibrationBin { claimed: 0.75, real: 9, of: 12 }],
            }),
        }),
        method: Some(Method {
            model: vec![LayerView {
                name: "first".into(),
                shape: "1000 x 3072".into(),
                activation: "ReLU".into(),
                parameters: 3_073_000,
            }],
            prior: vec![Setting::new("labels", "half and half")],
            attack: "alternating".into(),
            parameters: vec![Setting::new("candidates", 140)],
            seeds: vec![Setting::new("attack", 7)],
            provenance: vec![Setting::new("version", "0.1.0")],
            stages: vec![Stage { name: "attack".into(), elapsed_s: 26.0 }],
            certificate: vec![LayerCertificate {
                layer: "first".into(),
                at_candidates: Some(0.27),
                at_truth: Some(0.22),
            }],
        }),
        convergence: Some(Convergence {
            quantity: "relative residual".into(),
            scale: AxisScale::Log,
            curves: vec![Curve {
                name: "restart 0".into(),
                steps: vec![0, 10, 20],
                values: vec![1.0, 0.4, 0.09],
            }],
        }),
        limits: vec!["One network only.".into()],
        ..ReportData::new("A sample", "synthetic pictures", answer)
    }
}

/// A report without truth.
pub(crate) fn audit() -> ReportData {
    let answer = Answer::Unjudged {
        sure: 2,
        candidates: 140,
        expected_precision: None,
        null: "candidates of untrained networks".into(),
    };
    let candidates = (0..2).map(|i| CandidateView { truth: None, ..candidate(i) }).collect();
    let convergence = judged().convergence;
    ReportData { candidates, convergence, ..ReportData::new("An audit", "somebody's network", answer) }
}

fn candidate(i: usize) -> CandidateView {
    let shape = PictureShape { channels: 1, height: 2, width: 2 };
    let picture = |value: f64| Some(Picture::new(shape, [0.0, value, 1.0, value]).unwrap());
    CandidateView {
        candidate: 10 + i,
        picture: picture(0.1 * i as f64),
        rank: Some(3 - i),
        confidence: Some(0.9 - 0.25 * i as f64),
        support: Some(7 - i),
        truth: Some(TruthMatch {
            index: 70 + i,
            picture: picture(0.2),
            ssim: 0.5 + 0.125 * i as f64,
            ncc: 0.75,
            recovered: i > 0,
        }),
    }
}
