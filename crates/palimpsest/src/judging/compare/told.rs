//! What is said of two audits besides what became of their inputs.

use palimpsest_report::{Answer, CompareRow, Exposure};

use super::audited::Audited;
use crate::attacking::pages::chain;

/// What is known of both.
pub(super) fn rows(before: &Audited, after: &Audited) -> Vec<CompareRow> {
    let row = |name: &str, of: &dyn Fn(&Audited) -> String| CompareRow::new(name, of(before), of(after));
    let mut rows = vec![
        row("network", &|audited| chain(&audited.run.dims)),
        row("exposure, before any attack", &|audited| match &audited.report.exposure {
            Some(view) => match view.verdict {
                Exposure::Exposed => "exposed".into(),
                Exposure::Unclear => "unclear".into(),
                Exposure::Unlikely => "unlikely".into(),
            },
            None => "not told".into(),
        }),
        row("directions written by training", &|audited| audited.run.rank.to_string()),
        row("distinct inputs listed", &|audited| audited.run.ranking.len().to_string()),
        row("called sure", &|audited| audited.called().to_string()),
        row("of these expected to be real", &|audited| match audited.report.answer {
            Answer::Unjudged { expected_precision: Some(share), .. } => format!("{:.0} %", 100.0 * share),
            _ => "not known".into(),
        }),
        row("restarts", &|audited| audited.run.restarts.len().to_string()),
        row("seconds", &|audited| format!("{:.0}", audited.run.elapsed_s)),
    ];
    for stage in before.run.stages.iter().chain(&after.run.stages) {
        let name = format!("stage: {}", stage.stage);
        if rows.iter().any(|row| row.name == name) {
            continue;
        }
        let of = |audited: &Audited| match audited.run.stages.iter().find(|of| of.stage == stage.stage) {
            Some(found) => found.why_not.as_ref().map_or_else(
                || format!("{} candidates", found.candidates),
                |why_not| format!("not used: {why_not}"),
            ),
            None => "not there".into(),
        };
        rows.push(row(&name, &of));
    }
    rows
}

/// What else than the network differs.
pub(super) fn warnings(before: &Audited, after: &Audited) -> Vec<String> {
    let mut warnings = Vec::new();
    let (was, is) = (&before.run, &after.run);
    if was.params.prior != is.params.prior {
        warnings.push(
            "What was declared of the inputs differs (range, norm or task): part of the difference is that."
                .into(),
        );
    }
    if was.params.method != is.params.method || was.params.candidates != is.params.candidates {
        warnings.push("The attacks differ in their options: part of the difference is that.".into());
    }
    match (was.stopped_early, is.stopped_early) {
        (true, true) => warnings.push("Both audits were stopped early; longer ones may find more.".into()),
        (true, false) => {
            warnings.push("The audit before was stopped early; a longer one may find more.".into())
        }
        (false, true) => {
            warnings.push("The audit after was stopped early; a longer one may find more.".into())
        }
        (false, false) => {}
    }
    if was.made_by != is.made_by {
        warnings
            .push(format!("The audits were made by different programs: {} and {}.", was.made_by, is.made_by));
    }
    warnings
}

/// What the comparison means and what it does not.
pub(super) fn notes() -> Vec<String> {
    vec![
        "Nobody compared anything with training data: sure is what the attack calls sure.".into(),
        "Gone means that this attack no longer finds an input. It is no proof that the weights hold nothing of it.".into(),
        "NCC compares two reconstructions, brightness and contrast aside; a picture and its negative count as the same. Different pictures \
         can be alike: the null says how often."
            .into(),
        "Another seed of the same audit finds some others, too. Two audits of one network with different seeds show how many.".into(),
    ]
}
