//! The answer in words, made from its numbers so that the two cannot disagree.

use crate::data::{Answer, Count};
use crate::number;

/// The answer in two sentences: how many look recovered and how sure that is, then against which null.
///
/// ```
/// use palimpsest_report::{Answer, Count, answer_sentences};
/// let [first, second] = answer_sentences(&Answer::Judged {
///     recovered: Count { count: 50, of: 100, interval: Some([44.0, 57.0]) },
///     measure: "SSIM".into(),
///     threshold: 0.431,
///     interval_level: 0.95,
///     null: "held-out images of the same distribution".into(),
///     null_count: Count { count: 1, of: 1000, interval: None },
/// });
/// assert_eq!(first, "50 of 100 training images look recovered (95 % interval: 44 to 57).");
/// assert_eq!(
///     second,
///     "Each reaches SSIM 0.431, which only 1 of 1,000 held-out images of the same distribution reaches."
/// );
/// ```
pub fn answer_sentences(answer: &Answer) -> [String; 2] {
    let n = |count: usize| number::grouped(count as u64);
    match answer {
        Answer::Judged { recovered, measure, threshold, interval_level, null, null_count } => {
            let Count { count, of, interval } = *recovered;
            let sure = interval.map_or(String::new(), |[low, high]| {
                let (low, high) = (number::short(Some(low)), number::short(Some(high)));
                format!(" ({} interval: {low} to {high})", number::percent(Some(*interval_level)))
            });
            let first = match count {
                0 => format!("None of {} training images looks recovered{sure}.", n(of)),
                1 => format!("1 of {} training images looks recovered{sure}.", n(of)),
                _ => format!("{} of {} training images look recovered{sure}.", n(count), n(of)),
            };
            let bar = format!("{measure} {}", number::short(Some(*threshold)));
            let (only, of) = (n(null_count.count), n(null_count.of));
            let (reach, so_do) =
                if null_count.count == 1 { ("reaches", "so does") } else { ("reach", "so do") };
            let who = if count == 1 { "It" } else { "Each" };
            // A count that the null matches is not a finding, and the sentence must not sound like one.
            let beside_null = share(*null_count) >= 0.5 * share(*recovered);
            let second = match (count, null_count.count) {
                (0, _) => format!("The bar is {bar}, which {only} of {of} {null} {reach}."),
                (_, 0) => format!("{who} reaches {bar}, which none of {of} {null} reaches."),
                _ if beside_null => {
                    format!(
                        "{who} reaches {bar}, but {so_do} {only} of {of} {null}: this count means little."
                    )
                }
                _ => format!("{who} reaches {bar}, which only {only} of {of} {null} {reach}."),
            };
            [first, second]
        }
        Answer::Unjudged { sure, candidates, expected_precision, null } => {
            let are = if *sure == 1 { "is" } else { "are" };
            let (sure, all) = (n(*sure), n(*candidates));
            let first = format!(
                "{sure} of {all} reconstructed candidates {are} called sure, measured against {null}."
            );
            let second = match expected_precision {
                Some(share) if share.is_finite() => format!(
                    "No training data were given, so none was checked: in calibration runs {} of those called \
                     this sure were real.",
                    number::percent(Some(*share))
                ),
                _ => "No training data were given, so none was checked, and no calibration applies: read them as \
                      suspicions."
                    .into(),
            };
            [first, second]
        }
    }
}

/// The large number of the page: how many, of how many, of what.
pub(crate) fn headline(answer: &Answer) -> (usize, usize, &'static str) {
    match answer {
        Answer::Judged { recovered, .. } => (recovered.count, recovered.of, "training images look recovered"),
        Answer::Unjudged { sure, candidates, .. } => (*sure, *candidates, "candidates called sure"),
    }
}

fn share(count: Count) -> f64 {
    count.count as f64 / count.of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(count: usize, null: usize) -> String {
        answer_sentences(&Answer::Judged {
            recovered: Count { count, of: 100, interval: None },
            measure: "SSIM".into(),
            threshold: 0.4,
            interval_level: f64::NAN,
            null: "held-out images".into(),
            null_count: Count { count: null, of: 1000, interval: None },
        })
        .join(" ")
    }

    #[test]
    fn every_answer_is_a_sentence() {
        let cases = [
            (
                0,
                1,
                "None of 100 training images looks recovered. The bar is SSIM 0.4, which 1 of 1,000 held-out images reaches.",
            ),
            (
                1,
                0,
                "1 of 100 training images looks recovered. It reaches SSIM 0.4, which none of 1,000 held-out images reaches.",
            ),
            (
                1,
                2,
                "1 of 100 training images looks recovered. It reaches SSIM 0.4, which only 2 of 1,000 held-out images reach.",
            ),
            (
                9,
                0,
                "9 of 100 training images look recovered. Each reaches SSIM 0.4, which none of 1,000 held-out images reaches.",
            ),
        ];
        for (count, null, want) in cases {
            assert_eq!(judged(count, null), want);
        }
    }

    #[test]
    fn a_count_the_null_matches_is_not_sold_as_a_finding() {
        for (count, null) in [(98, 990), (1, 10), (9, 80)] {
            assert!(judged(count, null).ends_with("this count means little."), "{}", judged(count, null));
        }
    }

    #[test]
    fn without_a_judge_the_sentence_says_so() {
        let unjudged = |sure, expected_precision| {
            let null = "untrained networks".into();
            answer_sentences(&Answer::Unjudged { sure, candidates: 140, expected_precision, null }).join(" ")
        };
        assert!(
            unjudged(23, Some(0.8)).contains("in calibration runs 80 % of those called this sure were real.")
        );
        for none in [None, Some(f64::NAN)] {
            assert!(unjudged(1, none).starts_with("1 of 140 reconstructed candidates is called sure"));
            assert!(unjudged(1, none).ends_with("read them as suspicions."));
        }
    }
}
