//! The page and its Markdown summary, from one set of facts.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use crate::answer::{answer_sentences, headline};
use crate::chart::{self, CalibrationChart, ConvergenceChart};
use crate::data::{
    Answer, CandidateView, ConfidenceKind, Count, InputKind, Judge, Method, ReportData, ScoreRow,
};
use crate::error::Result;
use crate::number;
use crate::picture::Picture;
use crate::table;

/// Candidates shown at once, full rows of 4, 6 and 8; the rest stand behind a fold.
const SHOWN_AT_ONCE: usize = 24;
/// Pairs of rows shown at once.
const ROWS_AT_ONCE: usize = 8;
/// Candidates listed in Markdown.
const LISTED: usize = 10;
/// Most candidates on a page: beyond this a browser is no longer pleasant.
const MAX_SHOWN: usize = 1000;

/// Renders one self-contained HTML page: pictures, style and charts inside, no script, nothing loaded.
///
/// Candidates come best first: by the judge's SSIM where there is a judge, else by the attack's own confidence.
///
/// # Errors
/// [`crate::ReportError::Png`] or [`crate::ReportError::Template`].
pub fn render_html(report: &ReportData) -> Result<String> {
    render("report.html", report)
}

/// Renders the same facts as Markdown, without pictures and charts.
///
/// # Errors
/// [`crate::ReportError::Template`].
pub fn render_markdown(report: &ReportData) -> Result<String> {
    render("report.md", report)
}

/// Everything a template may use.
#[derive(Serialize)]
struct Page<'a> {
    report: &'a ReportData,
    sentences: [String; 2],
    headline: (usize, usize, String),
    /// What one input is called, and what the attack's confidence is called.
    one: &'static str,
    confidence_called: &'static str,
    /// Whether confidence is a probability, and so a percentage.
    is_probability: bool,
    has_values: bool,
    answer_judged: bool,
    has_pictures: bool,
    has_truth: bool,
    /// Whether pictures are small enough to show their pixels as squares.
    pixelated: bool,
    cards: Vec<Card<'a>>,
    shown_at_once: usize,
    /// Candidates in the Markdown list.
    listed: usize,
    has_certificate_at_truth: bool,
    score_header: Option<Vec<String>>,
    score_rows: Vec<ScoreCells<'a>>,
    parameters: u64,
    stage_total: f64,
    convergence: Option<ConvergenceChart>,
    calibration: Option<CalibrationChart>,
}

/// A candidate with its pictures as addresses.
#[derive(Serialize)]
struct Card<'a> {
    view: &'a CandidateView,
    picture: Option<String>,
    truth: Option<String>,
}

/// A row of the score table; a count keeps its parts, so that the template can set them apart.
#[derive(Serialize)]
struct ScoreCells<'a> {
    row: &'a ScoreRow,
    counts: Vec<Option<Count>>,
}

fn render(template: &str, report: &ReportData) -> Result<String> {
    let page = page(report)?;
    let mut text = environment()?.get_template(template)?.render(Serde(&page))?;
    text.push('\n');
    Ok(text)
}

fn page(report: &ReportData) -> Result<Page<'_>> {
    let candidates = &report.candidates;
    let judge = report.judge.as_ref();
    let calibration = judge.and_then(|judge| judge.ranking.as_ref()).map(|ranking| &ranking.calibration);
    let method = report.method.as_ref();
    let stages = method.map_or(&[][..], |method| &method.stages);
    let certificate = method.map_or(&[][..], |method| &method.certificate);
    Ok(Page {
        report,
        sentences: answer_sentences(&report.answer),
        headline: headline(&report.answer),
        one: match report.answer.inputs() {
            InputKind::Image => "image",
            InputKind::Row => "row",
        },
        confidence_called: match report.answer.confidence() {
            ConfidenceKind::Agreement => "agreement",
            ConfidenceKind::Probability => "probability",
        },
        is_probability: report.answer.confidence() == ConfidenceKind::Probability,
        has_values: candidates.iter().any(|view| view.values.is_some()),
        answer_judged: matches!(report.answer, Answer::Judged { .. }),
        has_pictures: candidates.iter().any(|view| view.picture.is_some()),
        has_truth: candidates.iter().any(|view| view.truth.is_some()),
        pixelated: candidates
            .iter()
            .flat_map(|view| &view.picture)
            .all(|picture| picture.shape().width <= 96),
        cards: cards(report)?,
        shown_at_once: if candidates.iter().any(|view| view.values.is_some()) {
            ROWS_AT_ONCE
        } else {
            SHOWN_AT_ONCE
        },
        listed: LISTED,
        has_certificate_at_truth: certificate.iter().any(|layer| layer.at_truth.is_some()),
        score_header: judge.map(table::score_header),
        score_rows: judge
            .map_or(Vec::new(), |judge| judge.rows.iter().map(|row| score_cells(judge, row)).collect()),
        parameters: method.map_or(0, total_parameters),
        stage_total: stages.iter().map(|stage| stage.elapsed_s).sum(),
        convergence: report.convergence.as_ref().and_then(chart::convergence),
        calibration: calibration.and_then(|bins| chart::calibration(bins)),
    })
}

pub(crate) fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".md") { AutoEscape::Custom("markdown".into()) } else { AutoEscape::Html }
    });
    environment.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Custom(_) => out.write_str(&markdown_text(&value.to_string())).map_err(Into::into),
        _ => minijinja::escape_formatter(out, state, value),
    });
    let float = |value: &Value| f64::try_from(value.clone()).ok();
    let whole = |value: &Value| u64::try_from(value.clone()).unwrap_or(0);
    environment
        .add_filter("fixed", move |value: &Value, decimals: usize| number::fixed(float(value), decimals));
    environment.add_filter("short", move |value: &Value| number::short(float(value)));
    environment.add_filter("percent", move |value: &Value| number::percent(float(value)));
    environment.add_filter("duration", move |value: &Value| number::duration(float(value)));
    environment.add_filter("grouped", move |value: &Value| number::grouped(whole(value)));
    environment.add_filter("percent_of", move |part: &Value, all: &Value| {
        number::percent_of(whole(part), whole(all))
    });
    environment.add_template("report.html", include_str!("../templates/report.html"))?;
    environment.add_template("report.md", include_str!("../templates/report.md"))?;
    environment.add_template("members.html", include_str!("../templates/members.html"))?;
    environment.add_template("illustrated.html", include_str!("../templates/illustrated.html"))?;
    environment.add_template("compare.html", include_str!("../templates/compare.html"))?;
    environment.add_template("head.html", include_str!("../templates/head.html"))?;
    environment.add_template("header.html", include_str!("../templates/header.html"))?;
    environment.add_template("plain.css", include_str!("../templates/plain.css"))?;
    Ok(environment)
}

/// Text that Markdown and the HTML it allows take literally, on one line.
fn markdown_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => safe.extend(['\\', character]),
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// Indices of the candidates, best first; what has no score comes last, ties keep their order.
fn best_first(report: &ReportData) -> Vec<usize> {
    let score = |index: &usize| {
        let view = &report.candidates[*index];
        let truth = view.truth.as_ref().map(|truth| truth.distance.map_or(truth.ssim, |distance| -distance));
        let score = truth.or(view.confidence);
        (view.truth.is_some(), score.filter(|score| !score.is_nan()).unwrap_or(f64::NEG_INFINITY))
    };
    let mut order: Vec<usize> = (0..report.candidates.len()).collect();
    order.sort_by(|a, b| {
        let ((judged_a, score_a), (judged_b, score_b)) = (score(a), score(b));
        judged_b.cmp(&judged_a).then(score_b.total_cmp(&score_a))
    });
    order
}

fn cards(report: &ReportData) -> Result<Vec<Card<'_>>> {
    let address = |picture: &Option<Picture>| picture.as_ref().map(Picture::data_uri).transpose();
    let card = |index: usize| -> Result<Card<'_>> {
        let view = &report.candidates[index];
        let truth = view.truth.as_ref().map_or(Ok(None), |truth| address(&truth.picture))?;
        Ok(Card { view, picture: address(&view.picture)?, truth })
    };
    best_first(report).into_iter().take(MAX_SHOWN).map(card).collect()
}

fn score_cells<'a>(judge: &Judge, row: &'a ScoreRow) -> ScoreCells<'a> {
    ScoreCells { row, counts: table::score_counts(judge, row) }
}

fn total_parameters(method: &Method) -> u64 {
    method.model.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.parameters))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::Setting;
    use crate::sample;

    /// The values of an attribute, in order.
    fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
        let start = format!(" {name}=\"");
        page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    /// Opening tags must be closed in order: a naive reading that knows only void and self-closed elements.
    fn assert_balanced(page: &str) {
        let body = page.split_once("</style>").unwrap().1;
        let mut open = vec!["html", "head"];
        for piece in body.split('<').skip(1) {
            let tag = piece.split('>').next().unwrap();
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') && !matches!(name, "img" | "meta" | "br") {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn classes_answers_and_warnings_are_shown() {
        let (audit, judged) = (sample::audit(), sample::judged());
        for page in [render_html(&audit).unwrap(), render_markdown(&audit).unwrap()] {
            for words in
                ["The time limit was too short for an answer.", "What the network takes them for", "class 0"]
            {
                assert!(page.contains(words), "{words}: {page}");
            }
        }
        assert!(render_html(&audit).unwrap().contains("These are the first 2 of 140. Select"));
        let page = render_html(&judged).unwrap();
        assert!(!page.contains("These are the first"));
        for words in ["Of each class", "dog &amp; fox", "The network answers class 1.", "labelled cat"] {
            assert!(page.contains(words), "{words}");
        }
        assert!(!page.contains("What the network takes them for") && !page.contains("class=\"warning\""));
        assert!(render_markdown(&judged).unwrap().contains("| cat | 60 | 31 |"));
    }

    #[test]
    fn page_is_well_formed_and_self_contained() {
        for report in [
            sample::judged(),
            sample::audit(),
            sample::rows(),
            ReportData { candidates: vec![], ..sample::audit() },
        ] {
            let page = render_html(&report).unwrap();
            assert_balanced(&page);
            for word in ["<script", "http:", "https:", "url(", "@import", "NaN", "None", "undefined"] {
                assert!(!page.contains(word), "{word}");
            }
            assert!(attributes(&page, "src").iter().all(|src| src.starts_with("data:image/png;base64,")));
            assert!(
                page.contains("default-src 'none'; img-src data:") && page.contains("<html lang=\"en\">")
            );
            let ids = attributes(&page, "id");
            let unique: BTreeSet<&str> = ids.iter().copied().collect();
            assert_eq!(ids.len(), unique.len());
            let targets = ["aria-labelledby", "popovertarget"].map(|name| attributes(&page, name)).concat();
            let links = attributes(&page, "href")
                .into_iter()
                .filter(|&href| Some(href.replace("&#x2f;", "/")) != report.judge_page)
                .map(|href| href.strip_prefix('#').unwrap());
            assert!(targets.into_iter().chain(links).all(|target| unique.contains(target)));
            assert_eq!(page.matches("<img ").count(), attributes(&page, "alt").len());
            assert_eq!(
                page.matches("<th").count(),
                page.matches("<th scope=").count() + page.matches("<thead").count()
            );
        }
    }

    #[test]
    fn sections_come_in_order() {
        let page = render_html(&sample::judged()).unwrap();
        let order = [
            "<h1>",
            "50 of 100 training images look recovered",
            "best first</h2>",
            "id=\"counts\"",
            "id=\"ranking\"",
            "id=\"method\"",
            "id=\"convergence\"",
            "id=\"limits\"",
            "id=\"records\"",
            "id=\"protection\"",
            "id=\"defence\"",
        ];
        let places: Vec<usize> = order.iter().map(|text| page.rfind(text).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn best_comes_first_and_without_score_last() {
        let mut report = sample::judged();
        report.candidates[2].truth.as_mut().unwrap().ssim = f64::NAN;
        assert_eq!(best_first(&report), [1, 0, 2]);
        let page = render_html(&report).unwrap();
        assert!(page.contains("SSIM \u{2014}, NCC 0.750"), "NaN is a dash");
        assert_eq!(best_first(&sample::audit()), [0, 1]);
    }

    #[test]
    fn only_the_judge_speaks_of_truth() {
        let page = render_html(&ReportData { judge_page: None, ..sample::audit() }).unwrap();
        let body = page.split_once("<body>").unwrap().1;
        for word in ["SSIM", "NCC", "class=\"truth\"", "Judge only", "is-judge", "by-judge", "Training image"]
        {
            assert!(!body.contains(word), "{word}");
        }
        assert!(body.contains("No judge") && body.contains("nothing was compared with training data"));
    }

    #[test]
    fn hostile_names_are_escaped_everywhere() {
        let evil = "<script>alert('x')</script>\"|`*\n#";
        let mut report = sample::judged();
        (report.title, report.subject, report.limits) = (evil.into(), evil.into(), vec![evil.into()]);
        let judge = report.judge.as_mut().unwrap();
        (judge.protocol, judge.rows[0].name) = (evil.into(), evil.into());
        judge.ranking.as_mut().unwrap().by = evil.into();
        let method = report.method.as_mut().unwrap();
        let setting = || vec![Setting::new(evil, evil)];
        (method.attack, method.prior, method.parameters) = (evil.into(), setting(), setting());
        (method.seeds, method.provenance) = (setting(), setting());
        (method.stages[0].name, method.certificate[0].layer) = (evil.into(), evil.into());
        let layer = &mut method.model[0];
        (layer.name, layer.shape, layer.activation) = (evil.into(), evil.into(), evil.into());
        let convergence = report.convergence.as_mut().unwrap();
        (convergence.quantity, convergence.curves[0].name) = (evil.into(), evil.into());
        let protection = report.protection.as_mut().unwrap();
        (protection.setting, protection.rows[0].defence) = (vec![evil.into()], evil.into());
        report.candidate_records = vec![evil.into()];
        let Answer::Judged { measure, null, .. } = &mut report.answer else { unreachable!() };
        (*measure, *null) = (evil.into(), evil.into());
        let page = render_html(&report).unwrap();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert_balanced(&page);
        let text = render_markdown(&report).unwrap();
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script"));
        // No name breaks out of its cell: within a table every line has the same number of bare bars.
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        for table in text.split("\n\n").filter(|block| block.starts_with('|')) {
            assert!(table.lines().all(|line| bars(line) == bars(table.lines().next().unwrap())), "{table}");
        }
    }

    #[test]
    fn markdown_holds_the_same_facts() {
        let text = render_markdown(&sample::judged()).unwrap();
        for fact in [
            "**50 of 100 training images look recovered (95 % interval: 44 to 57).**",
            "| held-out images | 1 of 1,000 (0.5 to 3.5) |",
            "| 20 | 16 | 80 % |",
            "| 12 | 1 | 0.40 | class 1 | 72 | 0.750 | 0.750 |",
            "| prior: labels | half and half |",
            "| time: attack | 26.0 s |",
            "## If you have candidate records",
            "## What would have protected this model",
            "bits | 71.5 % | 3 of 100 | 42 % |",
        ] {
            assert!(text.contains(fact), "{fact} in {text}");
        }
        assert!(!text.contains("\n\n\n"), "{text}");
        assert!(!render_markdown(&sample::audit()).unwrap().contains("SSIM"));
    }

    /// WCAG 2 contrast of every text colour on every ground it stands on, light and dark.
    #[test]
    fn text_has_a_contrast_of_at_least_four_and_a_half() {
        let page = render_html(&sample::audit()).unwrap();
        let style = page.split_once("</style>").unwrap().0;
        let (light, dark) = style.split_once("prefers-color-scheme: dark").unwrap();
        let luminance = |theme: &str, token: &str| {
            let hex = &theme.split_once(&format!("--{token}: #")).unwrap().1[..6];
            let channel = |i: usize| {
                let value = f64::from(u8::from_str_radix(&hex[i..i + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
        };
        for theme in [light, dark] {
            for text in ["ink", "faint", "attacker", "judge"] {
                for ground in ["paper", "sheet", "judge-wash", "attacker-wash"] {
                    let (a, b) = (luminance(theme, text), luminance(theme, ground));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
                }
            }
        }
    }
}
