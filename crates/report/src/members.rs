//! The page about whose data a network holds: what was found, how strange that is, and the most exposed records.

use minijinja::value::Serde;
use serde::Serialize;

use crate::chart::{Axis, Frame, Tick, path};
use crate::data::Setting;
use crate::error::Result;
use crate::html::environment;
use crate::picture::Picture;

/// What the page says; everything was measured elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct MembersPage {
    /// Title of the page.
    pub title: String,
    /// What was looked into.
    pub subject: String,
    /// The answer, the first sentence set large.
    pub answer: Vec<String>,
    /// What keeps the numbers from being taken at their word.
    pub warnings: Vec<String>,
    /// How the scores are spread.
    pub histogram: Vec<Bar>,
    /// What the histogram's horizontal axis shows.
    pub histogram_of: String,
    /// True against false positives, where the truth was given.
    pub roc: Option<Roc>,
    /// The most exposed records, first the most exposed.
    pub rows: Vec<MemberRow>,
    /// What the numbers mean and what they do not.
    pub notes: Vec<String>,
    /// How it was made.
    pub settings: Vec<Setting>,
}

/// A bar of a histogram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// Its left and right end.
    pub range: [f64; 2],
    /// Records in it.
    pub count: usize,
    /// Records that chance would put there, if that can be said.
    pub expected: Option<f64>,
}

/// How many members are found at which cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roc {
    /// (false positive rate, true positive rate), ascending.
    pub points: Vec<[f64; 2]>,
    /// Members and others that were counted.
    pub counted: [usize; 2],
    /// True positive rate at some false positive rates, as (rate, share of members).
    pub at: Vec<[f64; 2]>,
}

/// One record.
#[derive(Clone, Debug, Serialize)]
pub struct MemberRow {
    /// Its row, from 0.
    pub record: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// How it looks, if it is a picture.
    #[serde(skip)]
    pub picture: Option<Picture>,
    /// Probability that another record shows as much.
    pub p_value: Option<f64>,
    /// Probability of being a member.
    pub probability: Option<f64>,
    /// Share of its square outside the span.
    pub span_share: f64,
    /// Deviations by which less of it is outside than usual.
    pub span_score: f64,
    /// Deviations by which its gradient is paired with the weights.
    pub gradient_score: Option<f64>,
    /// Multiplier.
    pub multiplier: Option<f64>,
    /// Whether it is a member, where the truth was given.
    pub member: Option<bool>,
}

#[derive(Serialize)]
struct View<'a> {
    page: &'a MembersPage,
    pictures: Vec<Option<String>>,
    histogram: Option<Chart>,
    roc: Option<Chart>,
    p_values: Vec<String>,
}

/// Where the parts of a chart go.
#[derive(Serialize)]
struct Chart {
    frame: Frame,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    bars: Vec<[f64; 4]>,
    line: String,
}

/// Renders the page as one self-contained HTML file: no script, nothing loaded.
///
/// # Errors
/// [`crate::ReportError::Png`] or [`crate::ReportError::Template`].
pub fn render_members(page: &MembersPage) -> Result<String> {
    let pictures = page.rows.iter().map(|row| row.picture.as_ref().map(Picture::data_uri).transpose());
    let view = View {
        page,
        pictures: pictures.collect::<Result<_>>()?,
        histogram: histogram(&page.histogram),
        roc: page.roc.as_ref().map(roc),
        p_values: page.rows.iter().map(|row| p_value(row.p_value)).collect(),
    };
    let mut text = environment()?.get_template("members.html")?.render(Serde(&view))?;
    text.push('\n');
    Ok(text)
}

/// A small probability as a person reads it.
fn p_value(p: Option<f64>) -> String {
    match p {
        None => crate::number::ABSENT.into(),
        Some(p) if p < 1e-9 => "below 1e-9".into(),
        Some(p) if p < 1e-3 => format!("{p:.0e}"),
        Some(p) => format!("{p:.3}"),
    }
}

const FRAME: Frame =
    Frame { width: 520.0, height: 300.0, left: 62.0, right: 506.0, top: 12.0, bottom: 250.0 };

/// Counts on a logarithmic axis that begins below one, so that a single record shows.
fn histogram(bars: &[Bar]) -> Option<Chart> {
    let (first, last) = (bars.first()?, bars.last()?);
    let most = bars.iter().map(|bar| bar.count as f64).fold(2.0, f64::max);
    let x = Axis::linear([first.range[0], last.range[1]], FRAME.left, FRAME.right);
    let y = Axis::log([0.5, most], FRAME.bottom, FRAME.top);
    let drawn = bars.iter().filter(|bar| bar.count > 0).map(|bar| {
        let [left, right] = bar.range.map(|value| x.place(value));
        let top = y.place(bar.count as f64);
        [left, top, (right - left - 1.0).max(0.5), FRAME.bottom - top]
    });
    let expected: Vec<[f64; 2]> = bars
        .iter()
        .filter_map(|bar| bar.expected.map(|e| [0.5 * (bar.range[0] + bar.range[1]), e]))
        .filter(|point| point[1] >= 0.5)
        .collect();
    Some(Chart {
        frame: FRAME,
        bars: drawn.collect(),
        line: path(&expected, &x, &y),
        x_ticks: x.ticks,
        y_ticks: y.ticks,
    })
}

fn roc(roc: &Roc) -> Chart {
    let least = (0.5 / roc.counted[1].max(1) as f64).min(0.1);
    let bottom = (0.5 / roc.counted[0].max(1) as f64).min(0.1);
    let x = Axis::log([least, 1.0], FRAME.left, FRAME.right);
    let y = Axis::log([bottom, 1.0], FRAME.bottom, FRAME.top);
    let points: Vec<[f64; 2]> = roc
        .points
        .iter()
        .map(|&[false_rate, true_rate]| [false_rate.max(least), true_rate.max(bottom)])
        .collect();
    Chart { frame: FRAME, line: path(&points, &x, &y), bars: Vec::new(), x_ticks: x.ticks, y_ticks: y.ticks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureShape;

    fn page() -> MembersPage {
        let shape = PictureShape { channels: 1, height: 1, width: 2 };
        let row = |record, picture| MemberRow {
            record,
            name: Some("<b>.png".into()),
            picture,
            p_value: Some(1e-30),
            probability: Some(0.999),
            span_share: 0.01,
            span_score: 12.0,
            gradient_score: None,
            multiplier: None,
            member: Some(true),
        };
        MembersPage {
            title: "Whose data".into(),
            subject: "net & co".into(),
            answer: vec!["3 of 40".into()],
            warnings: vec!["mind <this>".into()],
            histogram: (0..5)
                .map(|i| Bar { range: [f64::from(i), f64::from(i + 1)], count: 4, expected: Some(3.0) })
                .collect(),
            histogram_of: "score".into(),
            roc: Some(Roc {
                points: vec![[0.0, 0.4], [0.001, 0.5], [1.0, 1.0]],
                counted: [10, 1000],
                at: vec![[0.001, 0.5]],
            }),
            rows: vec![row(3, Some(Picture::new(shape, [0.0, 1.0]).unwrap())), row(4, None)],
            notes: vec!["a note".into()],
            settings: vec![Setting::new("made by", "a test")],
        }
    }

    #[test]
    fn the_page_holds_its_pictures_escapes_text_and_runs_nothing() {
        let html = render_members(&page()).unwrap();
        assert!(html.contains("data:image/png;base64,") && html.contains("below 1e-9"));
        assert!(html.contains("&lt;b&gt;.png") && !html.contains("<b>.png") && html.contains("net &amp; co"));
        assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("https://"));
        assert!(!html.contains("NaN") && !html.contains("inf"));
    }

    #[test]
    fn a_page_without_anything_to_draw_is_a_page() {
        let empty = MembersPage { histogram: Vec::new(), roc: None, rows: Vec::new(), ..page() };
        assert!(render_members(&empty).unwrap().contains("Whose data"));
    }

    #[test]
    fn charts_stay_in_their_frame() {
        let chart = roc(page().roc.as_ref().unwrap());
        let numbers: Vec<f64> = chart
            .line
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .filter_map(|n| n.parse().ok())
            .collect();
        assert!(numbers.len() >= 6 && numbers.iter().all(|n| (0.0..=FRAME.width).contains(n)), "{numbers:?}");
        for [x, y, width, height] in histogram(&page().histogram).unwrap().bars {
            assert!(
                x >= FRAME.left
                    && x + width <= FRAME.right
                    && y >= FRAME.top
                    && y + height <= FRAME.bottom + 0.1
            );
        }
    }
}
