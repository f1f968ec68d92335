//! Two small reports for the tests of this crate.

use crate::data::*;
use crate::picture::Picture;
use crate::shape::PictureShape;

/// A report with every section.
pub(crate) fn judged() -> ReportData {
    let answer = Answer::Judged {
        recovered: Count { count: 50, of: 100, interval: Some([44.0, 57.0]) },
        measure: "SSIM".into(),
        threshold: 0.431,
        interval_level: 0.95,
        null: "held-out images of the same distribution".into(),
        null_count: Count { count: 1, of: 1000, interval: None },
        smaller_is_better: false,
        confidence: ConfidenceKind::Agreement,
        inputs: InputKind::Image,
    };
    ReportData {
        candidate_records: vec!["Ask whose <data> it is.".into()],
        protection: Some(Protection {
            setting: vec!["Measured on others.".into()],
            rows: vec![ProtectionRow {
                defence: "four & bits".into(),
                test_accuracy: 71.5,
                nearly_exact: 3,
                of: 100,
                members: 42.0,
            }],
        }),
        candidates: (0..3).map(candidate).collect(),
        judge: Some(judge()),
        method: Some(method()),
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

fn judge() -> Judge {
    let count =
        |count, of| Some(Count { count, of, interval: Some([count as f64 - 0.5, count as f64 + 2.5]) });
    let row = |name: &str, kind, hits, of| ScoreRow {
        name: name.into(),
        kind,
        above_cut: count(hits, of),
        ssim_at_rate: count(hits, of),
        ncc_at_rate: count(hits, of),
        unique: count(hits, of),
        distance_at_rate: None,
        mean_of_ten_best: Some(0.5),
    };
    Judge {
        protocol: "min-max to [0, 1]; SSIM window 3, data range 1".into(),
        ssim_cut: 0.4,
        held_out_rate: 0.001,
        ssim_at_rate: 0.431,
        ncc_at_rate: 0.62,
        distance_at_rate: None,
        interval_level: 0.95,
        rows: vec![
            row("candidates", RowKind::Candidates, 45, 100),
            row("held-out images", RowKind::Null, 1, 1000),
        ],
        ranking: Some(Ranking {
            by: "how sure it is of each".into(),
            precision_at: vec![PrecisionAt { k: 20, real: 16 }],
            calibration: vec![CalibrationBin { claimed: 0.75, real: 9, of: 12 }],
        }),
        classes: vec![
            ClassCounts { name: "cat".into(), training: 60, recovered: 31 },
            ClassCounts { name: "dog & fox".into(), training: 40, recovered: 19 },
        ],
    }
}

fn method() -> Method {
    Method {
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
    }
}

/// A report without truth.
pub(crate) fn audit() -> ReportData {
    let answer = Answer::Unjudged {
        sure: 2,
        candidates: 140,
        confidence: ConfidenceKind::Agreement,
        bar: 0.8,
        expected_precision: None,
        null: "candidates of untrained networks".into(),
        null_count: None,
        inputs: InputKind::Image,
    };
    let candidates = (0..2).map(|i| CandidateView { truth: None, ..candidate(i) }).collect();
    let convergence = judged().convergence;
    ReportData {
        candidates,
        convergence,
        judge_page: Some("judge/report.html".into()),
        file: Some(ModelFile {
            found: vec![Setting::new("file", "net.safetensors")],
            assumed: vec!["ReLU between layers".into()],
        }),
        exposure: Some(ExposureView {
            verdict: Exposure::Exposed,
            sentence: "The first layer carries the marks of about 99 examples.".into(),
            signs: vec![Sign {
                name: "rank".into(),
                value: "99 of 1,000".into(),
                reading: "few examples".into(),
            }],
        }),
        confidence_means: vec!["Agreement is a mean cosine.".into()],
        warnings: vec!["The time limit was too short for an answer.".into()],
        classes: vec![
            ClassAnswers { name: "class 0".into(), listed: 90, sure: 2 },
            ClassAnswers { name: "class 1".into(), listed: 50, sure: 0 },
        ],
        ..ReportData::new("An audit", "somebody's network", answer)
    }
}

/// A judged report on plain numbers.
pub(crate) fn rows() -> ReportData {
    let mut report = judged();
    report.columns = vec!["radius".into(), "texture".into()];
    report.answer = Answer::Judged {
        recovered: Count { count: 1, of: 3, interval: None },
        measure: "scaled distance".into(),
        threshold: 0.3,
        interval_level: 0.95,
        null: "held-out rows".into(),
        null_count: Count { count: 0, of: 300, interval: None },
        smaller_is_better: true,
        confidence: ConfidenceKind::Agreement,
        inputs: InputKind::Row,
    };
    let judge = report.judge.as_mut().unwrap();
    judge.distance_at_rate = Some(0.3);
    judge.rows[0].distance_at_rate = Some(Count { count: 1, of: 3, interval: Some([0.0, 2.0]) });
    for (i, view) in report.candidates.iter_mut().enumerate() {
        (view.picture, view.values) = (None, Some(vec![17.5, -0.25]));
        let truth = view.truth.as_mut().unwrap();
        (truth.picture, truth.ssim) = (None, f64::NAN);
        (truth.values, truth.distance) = (Some(vec![17.99, 10.38]), Some(0.1 * (i + 1) as f64));
    }
    report
}

fn candidate(i: usize) -> CandidateView {
    let shape = PictureShape { channels: 1, height: 2, width: 2 };
    let picture = |value: f64| Some(Picture::new(shape, [0.0, value, 1.0, value]).unwrap());
    CandidateView {
        candidate: 10 + i,
        picture: picture(0.1 * i as f64),
        values: None,
        rank: Some(3 - i),
        confidence: Some(0.9 - 0.25 * i as f64),
        answer: Some("class 1".into()),
        truth: Some(TruthMatch {
            index: 70 + i,
            label: Some("cat".into()),
            picture: picture(0.2),
            values: None,
            distance: None,
            ssim: 0.5 + 0.125 * i as f64,
            ncc: 0.75,
            recovered: i > 0,
        }),
    }
}
