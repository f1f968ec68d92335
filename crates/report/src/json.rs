//! The report as a JSON file, and back.

use serde::Deserialize;

use crate::data::{ReportData, SCHEMA};
use crate::error::{ReportError, Result};

/// Writes a report as indented JSON, without its pictures.
///
/// ```
/// use palimpsest_report::{Answer, ConfidenceKind, InputKind, ReportData, from_json, to_json};
/// let answer = Answer::Unjudged {
///     sure: 2,
///     candidates: 140,
///     confidence: ConfidenceKind::Probability,
///     bar: 0.8,
///     expected_precision: Some(0.9),
///     null: "untrained networks".into(),
///     null_count: None,
///     inputs: InputKind::Image,
/// };
/// let report = ReportData::new("Audit", "a network", answer);
/// assert_eq!(from_json(&to_json(&report)?)?, report);
/// # Ok::<(), palimpsest_report::ReportError>(())
/// ```
///
/// # Errors
/// [`ReportError::Json`] when a value cannot be written.
pub fn to_json(report: &ReportData) -> Result<String> {
    Ok(serde_json::to_string_pretty(report)?)
}

/// Reads what [`to_json`] wrote; pictures are absent, and the page then shows a list instead.
///
/// # Errors
/// [`ReportError::Json`], or [`ReportError::Schema`] for another version.
pub fn from_json(text: &str) -> Result<ReportData> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    // The version first: a newer file should say so rather than complain about a field.
    let Version { schema } = serde_json::from_str(text)?;
    if schema != SCHEMA {
        return Err(ReportError::Schema { expected: SCHEMA, got: schema });
    }
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn json_goes_round_without_pictures() {
        let mut report = sample::judged();
        let text = to_json(&report).unwrap();
        assert!(text.contains("\"schema\": 3") && !text.contains("base64") && text.len() < 8000);
        for view in &mut report.candidates {
            view.picture = None;
            view.truth.as_mut().unwrap().picture = None;
        }
        assert_eq!(from_json(&text).unwrap(), report);
    }

    #[test]
    fn nan_is_null_and_comes_back() {
        let mut report = sample::judged();
        report.judge.as_mut().unwrap().ssim_at_rate = f64::NAN;
        report.candidates[0].truth.as_mut().unwrap().ssim = f64::INFINITY;
        report.convergence.as_mut().unwrap().curves[0].values[1] = f64::NAN;
        let back = from_json(&to_json(&report).unwrap()).unwrap();
        assert!(back.judge.unwrap().ssim_at_rate.is_nan());
        assert!(back.candidates[0].truth.as_ref().unwrap().ssim.is_nan());
        assert!(back.convergence.unwrap().curves[0].values[1].is_nan());
    }

    #[test]
    fn another_schema_is_named() {
        let error = from_json(r#"{"schema": 4, "new": true}"#).unwrap_err();
        assert!(matches!(error, ReportError::Schema { expected: 3, got: 4 }), "{error}");
    }

    #[test]
    fn damaged_files_never_panic() {
        let text = to_json(&sample::audit()).unwrap();
        for end in 0..text.len() {
            assert!(from_json(&text[..end]).is_err());
        }
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 0x11;
            if let Some(report) = String::from_utf8(bytes).ok().and_then(|text| from_json(&text).ok()) {
                crate::render_html(&report).unwrap();
                crate::render_markdown(&report).unwrap();
            }
        }
    }
}
