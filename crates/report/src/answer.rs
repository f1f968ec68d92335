//! The answer in words, made from its numbers so that the two cannot disagree.

use crate::data::{Answer, ConfidenceKind, Count, InputKind};
use crate::number;

/// The answer in two sentences: how many look recovered and how sure that is, then against which null.
///
/// ```
/// use palimpsest_report::{Answer, ConfidenceKind, Count, InputKind, answer_sentences};
/// let [first, second] = answer_sentences(&Answer::Judged {
///     recovered: Count { count: 50, of: 100, interval: Some([44.0, 57.0]) },
///     measure: "SSIM".into(),
///     threshold: 0.431,
///     interval_level: 0.95,
///     null: "held-out images of the same distribution".into(),
///     null_count: Count { count: 1, of: 1000, interval: None },
///     smaller_is_better: false,
///     confidence: ConfidenceKind::Agreement,
///     inputs: InputKind::Image,
/// });
/// assert_eq!(first, "50 of 100 training images look recovered (95 % interval: 44 to 57).");
/// assert_eq!(
///     second,
///     "Each reaches SSIM 0.431; only 1 of 1,000 held-out images of the same distribution does."
/// );
/// ```
pub fn answer_sentences(answer: &Answer) -> [String; 2] {
    match answer {
        Answer::Judged {
            recovered,
            measure,
            threshold,
            interval_level,
            null,
            null_count,
            smaller_is_better,
            inputs,
            ..
        } => {
            let Count { count, of, interval } = *recovered;
            // Resampling nothing gives 0 to 0, which would sound like a certainty.
            let sure = interval.filter(|[_, high]| *high > 0.0).map_or(String::new(), |[low, high]| {
                let (low, high) = (number::short(Some(low)), number::short(Some(high)));
                format!(" ({} interval: {low} to {high})", number::percent(Some(*interval_level)))
            });
            let looks = counted(count, of, &format!("training {}", plural(*inputs)), LOOK_RECOVERED);
            let reaches = if *smaller_is_better { "comes within" } else { "reaches" };
            let bar = format!("{reaches} {measure} {}", number::short(Some(*threshold)));
            [format!("{looks}{sure}."), format!("{}.", beside_null(&bar, *recovered, null, *null_count))]
        }
        Answer::Unjudged {
            sure,
            candidates,
            confidence,
            bar,
            expected_precision,
            null,
            null_count,
            inputs,
        } => {
            let noun = format!("reconstructed {}", plural(*inputs));
            let looks = match confidence {
                ConfidenceKind::Agreement => counted(*sure, *candidates, &noun, AGREE),
                ConfidenceKind::Probability => counted(*sure, *candidates, &noun, LOOK_RECOVERED),
            };
            let called = Count { count: *sure, of: *candidates, interval: None };
            let bar = passes(*confidence, *bar);
            let bar = match null_count {
                Some(null_count) => beside_null(&bar, called, null, *null_count),
                None => {
                    let who = if *sure == 1 { "It" } else { "Each" };
                    let said = if *sure == 0 { format!("None {bar}") } else { format!("{who} {bar}") };
                    format!("{said}, measured against {null}")
                }
            };
            let meant = what_sure_means(*confidence, *expected_precision);
            [format!("{looks}."), format!("{bar}; {meant}.")]
        }
    }
}

/// The bar that sure candidates pass.
fn passes(confidence: ConfidenceKind, bar: f64) -> String {
    match confidence {
        ConfidenceKind::Agreement => {
            format!("passes an agreement of {} between restarts", number::significant(Some(bar), 2))
        }
        ConfidenceKind::Probability => {
            format!("has a probability of at least {}", number::percent(Some(bar)))
        }
    }
}

/// What passing it means without a truth.
fn what_sure_means(confidence: ConfidenceKind, expected_precision: Option<f64>) -> String {
    match (confidence, expected_precision) {
        (ConfidenceKind::Agreement, _) => {
            "restarts can agree on a blend, too, and nothing was compared with training data".into()
        }
        (_, Some(share)) if share.is_finite() => format!(
            "{} of them should be real, and nothing was compared with training data",
            number::percent(Some(share))
        ),
        _ => "nothing was compared with training data".into(),
    }
}

/// What each counted input passes, and how many members of the null do the same.
fn beside_null(bar: &str, found: Count, null: &str, null_count: Count) -> String {
    let (only, of) = (n(null_count.count), n(null_count.of));
    let does = if null_count.count == 1 { "does" } else { "do" };
    let who = match found.count {
        0 => return format!("None {bar}, and {only} of {of} {null} {does}"),
        1 => "It",
        _ => "Each",
    };
    match null_count.count {
        0 => format!("{who} {bar}; none of {of} {null} does"),
        // A count that the null matches is not a finding, and the sentence must not sound like one.
        _ if share(null_count) >= 0.5 * share(found) => {
            format!("{who} {bar}, but so {does} {only} of {of} {null}: this count means little")
        }
        _ => format!("{who} {bar}; only {only} of {of} {null} {does}"),
    }
}

/// What is said of one input, and of several.
type Verb = [&'static str; 2];
const LOOK_RECOVERED: Verb = ["looks recovered", "look recovered"];
/// Agreement is no evidence of a training input, and the sentence must not sound like one.
const AGREE: Verb = ["comes back from every restart", "come back from every restart"];

fn counted(count: usize, of: usize, noun: &str, [one, several]: Verb) -> String {
    match count {
        0 => format!("None of {} {noun} {one}", n(of)),
        1 => format!("1 of {} {noun} {one}", n(of)),
        _ => format!("{} of {} {noun} {several}", n(count), n(of)),
    }
}

/// The large number of the page: how many, of how many, of what.
pub(crate) fn headline(answer: &Answer) -> (usize, usize, String) {
    match answer {
        Answer::Judged { recovered, inputs, .. } => {
            (recovered.count, recovered.of, format!("training {} {}", plural(*inputs), LOOK_RECOVERED[1]))
        }
        Answer::Unjudged { sure, candidates, confidence, inputs, .. } => {
            let verb = match confidence {
                ConfidenceKind::Agreement => AGREE,
                ConfidenceKind::Probability => LOOK_RECOVERED,
            };
            (*sure, *candidates, format!("reconstructed {} {}", plural(*inputs), verb[1]))
        }
    }
}

fn plural(inputs: InputKind) -> &'static str {
    match inputs {
        InputKind::Image => "images",
        InputKind::Row => "rows",
    }
}

fn n(count: usize) -> String {
    number::grouped(count as u64)
}

fn share(count: Count) -> f64 {
    count.count as f64 / count.of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize, of: usize) -> Count {
        Count { count, of, interval: None }
    }

    fn judged(count: usize, null: usize, smaller_is_better: bool) -> String {
        answer_sentences(&Answer::Judged {
            recovered: of(count, 100),
            measure: if smaller_is_better { "scaled distance" } else { "SSIM" }.into(),
            threshold: 0.4,
            interval_level: f64::NAN,
            null: "held-out images".into(),
            null_count: of(null, 1000),
            smaller_is_better,
            confidence: ConfidenceKind::Agreement,
            inputs: if smaller_is_better { InputKind::Row } else { InputKind::Image },
        })
        .join(" ")
    }

    fn unjudged(sure: usize, confidence: ConfidenceKind, null: Option<usize>, real: Option<f64>) -> String {
        answer_sentences(&Answer::Unjudged {
            sure,
            candidates: 140,
            confidence,
            bar: 0.8,
            expected_precision: real,
            null: "untrained networks".into(),
            null_count: null.map(|count| of(count, 1000)),
            inputs: InputKind::Image,
        })
        .join(" ")
    }

    #[test]
    fn nothing_found_is_no_certainty() {
        let recovered = Count { count: 0, of: 20, interval: Some([0.0, 0.0]) };
        let answer = Answer::Judged {
            recovered,
            measure: "SSIM".into(),
            threshold: 0.4,
            interval_level: 0.95,
            null: "held-out images".into(),
            null_count: of(1, 1000),
            smaller_is_better: false,
            confidence: ConfidenceKind::Agreement,
            inputs: InputKind::Image,
        };
        assert_eq!(answer_sentences(&answer)[0], "None of 20 training images looks recovered.");
    }

    #[test]
    fn every_answer_is_a_sentence() {
        let cases = [
            (
                0,
                1,
                "None of 100 training images looks recovered. None reaches SSIM 0.4, and 1 of 1,000 held-out images does.",
            ),
            (
                1,
                0,
                "1 of 100 training images looks recovered. It reaches SSIM 0.4; none of 1,000 held-out images does.",
            ),
            (
                1,
                2,
                "1 of 100 training images looks recovered. It reaches SSIM 0.4; only 2 of 1,000 held-out images do.",
            ),
            (
                9,
                0,
                "9 of 100 training images look recovered. Each reaches SSIM 0.4; none of 1,000 held-out images does.",
            ),
        ];
        for (count, null, want) in cases {
            assert_eq!(judged(count, null, false), want);
        }
        let rows = judged(9, 1, true);
        assert!(
            rows.starts_with("9 of 100 training rows")
                && rows.contains("Each comes within scaled distance 0.4;")
        );
    }

    #[test]
    fn a_count_the_null_matches_is_not_sold_as_a_finding() {
        for (count, null) in [(98, 990), (1, 10), (9, 80)] {
            let text = judged(count, null, false);
            assert!(text.ends_with("this count means little."), "{text}");
        }
        assert!(unjudged(10, ConfidenceKind::Agreement, Some(500), None).contains("this count means little"));
    }

    #[test]
    fn without_a_judge_the_sentence_says_so() {
        for sure in [0, 1, 23] {
            for null in [None, Some(0), Some(1)] {
                let agreement = unjudged(sure, ConfidenceKind::Agreement, null, Some(0.9));
                assert!(
                    agreement.contains("can agree on a blend") && !agreement.contains('%'),
                    "{agreement}"
                );
                let calibrated = unjudged(sure, ConfidenceKind::Probability, null, Some(0.9));
                assert!(calibrated.contains("90 % of them should be real"), "{calibrated}");
                for text in [agreement, calibrated] {
                    assert!(text.contains("nothing was compared with training data."), "{text}");
                }
            }
        }
        assert!(!unjudged(3, ConfidenceKind::Probability, None, Some(f64::NAN)).contains("should be real"));
        assert_eq!(
            unjudged(23, ConfidenceKind::Agreement, Some(0), None),
            "23 of 140 reconstructed images come back from every restart. Each passes an agreement of 0.8 between \
             restarts; none of 1,000 untrained networks does; restarts can agree on a blend, too, and nothing was \
             compared with training data."
        );
    }
}
