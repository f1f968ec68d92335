//! The page about two audits: what an attack found before and after something was changed.

use minijinja::value::Serde;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::html::environment;
use crate::number;
use crate::picture::Picture;

/// What the page says; everything was measured elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparePage {
    /// Title of the page.
    pub title: String,
    /// Which audits.
    pub subject: String,
    /// The answer, the first sentence set large.
    pub answer: Vec<String>,
    /// What keeps the two from being compared as they are.
    pub warnings: Vec<String>,
    /// What is known of both.
    pub rows: Vec<CompareRow>,
    /// Inputs by what became of them.
    pub groups: Vec<PictureGroup>,
    /// What the comparison means and what it does not.
    pub notes: Vec<String>,
}

/// A fact about both audits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareRow {
    /// What is compared.
    pub name: String,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

impl CompareRow {
    /// A row from anything that prints.
    pub fn new(name: impl Into<String>, before: impl ToString, after: impl ToString) -> Self {
        Self { name: name.into(), before: before.to_string(), after: after.to_string() }
    }
}

/// What became of an input that an attack found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The attack is sure of it in both.
    Sure,
    /// It was sure before; after, it is listed and no longer sure.
    Weaker,
    /// It was sure before; after, it is not listed.
    Gone,
    /// It is sure after; before, it was listed and not sure.
    Stronger,
    /// It is sure after; before, it was not listed.
    New,
}

/// Inputs that had the same fate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureGroup {
    /// Which.
    pub fate: Fate,
    /// Heading.
    pub title: String,
    /// What the group is.
    pub sentence: String,
    /// How many there are; fewer may be shown.
    pub count: usize,
    /// The inputs, surest first.
    pub kept: Vec<Kept>,
}

/// An input in one audit or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Place in the list before, 1 is surest.
    pub before_rank: Option<usize>,
    /// Place in the list after, 1 is surest.
    pub after_rank: Option<usize>,
    /// How sure the attack was before, in [0, 1].
    pub before_confidence: Option<f64>,
    /// How sure it is after, in [0, 1].
    pub after_confidence: Option<f64>,
    /// NCC of the two, in [-1, 1]; below 0 where one is the negative of the other.
    pub ncc: Option<f64>,
    /// How it looked before, if it is a picture; not part of the JSON.
    #[serde(skip)]
    pub before: Option<Picture>,
    /// How it looks after; not part of the JSON.
    #[serde(skip)]
    pub after: Option<Picture>,
}

#[derive(Serialize)]
struct View<'a> {
    page: &'a ComparePage,
    groups: Vec<GroupView<'a>>,
}

#[derive(Serialize)]
struct GroupView<'a> {
    title: &'a str,
    sentence: &'a str,
    kept: Vec<KeptView>,
}

/// An input with its pictures as addresses.
#[derive(Serialize)]
struct KeptView {
    has_before: bool,
    has_after: bool,
    before: Option<String>,
    after: Option<String>,
    before_rank: Option<usize>,
    after_rank: Option<usize>,
    caption: String,
}

/// Renders the page as one self-contained HTML file: no script, nothing loaded.
///
/// # Errors
/// [`crate::ReportError::Png`] or [`crate::ReportError::Template`].
pub fn render_compare(page: &ComparePage) -> Result<String> {
    let groups = page.groups.iter().map(|group| {
        let kept = group.kept.iter().map(view).collect::<Result<_>>()?;
        Ok(GroupView { title: &group.title, sentence: &group.sentence, kept })
    });
    let view = View { page, groups: groups.collect::<Result<_>>()? };
    let mut text = environment()?.get_template("compare.html")?.render(Serde(&view))?;
    text.push('\n');
    Ok(text)
}

fn view(kept: &Kept) -> Result<KeptView> {
    let address = |picture: &Option<Picture>| picture.as_ref().map(Picture::data_uri).transpose();
    Ok(KeptView {
        has_before: kept.before_rank.is_some(),
        has_after: kept.after_rank.is_some(),
        before: address(&kept.before)?,
        after: address(&kept.after)?,
        before_rank: kept.before_rank,
        after_rank: kept.after_rank,
        caption: caption(kept),
    })
}

/// How sure the attack is of it in each, and how alike they are.
fn caption(kept: &Kept) -> String {
    let one = |when: &str, rank: usize, confidence: Option<f64>| {
        format!("{when}: place {}, {}", number::grouped(rank as u64), number::fixed(confidence, 2))
    };
    let mut parts = Vec::new();
    parts.extend(kept.before_rank.map(|rank| one("before", rank, kept.before_confidence)));
    parts.extend(kept.after_rank.map(|rank| one("after", rank, kept.after_confidence)));
    parts.extend(kept.ncc.map(|ncc| format!("NCC {}", number::fixed(Some(ncc), 2))));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PictureShape;

    fn page() -> ComparePage {
        let shape = PictureShape { channels: 1, height: 1, width: 2 };
        let picture = || Some(Picture::new(shape, [0.0, 1.0]).unwrap());
        let kept = Kept {
            before_rank: Some(1),
            after_rank: Some(1203),
            before_confidence: Some(0.99),
            after_confidence: Some(f64::NAN),
            ncc: Some(-0.95),
            before: picture(),
            after: None,
        };
        let gone = Kept { after_rank: None, after_confidence: None, ncc: None, ..kept.clone() };
        let group = |fate, kept| PictureGroup {
            fate,
            title: "Still & sure".into(),
            sentence: "In both <lists>.".into(),
            count: 1,
            kept,
        };
        ComparePage {
            title: "Before and after".into(),
            subject: "<a> and b".into(),
            answer: vec!["1 of 2 is gone".into()],
            warnings: vec!["mind <this>".into()],
            rows: vec![CompareRow::new("called sure", 2, "1 & none")],
            groups: vec![
                group(Fate::Sure, vec![kept]),
                group(Fate::Gone, vec![gone]),
                group(Fate::New, vec![]),
            ],
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn the_page_escapes_text_runs_nothing_and_has_no_empty_group() {
        let html = render_compare(&page()).unwrap();
        for words in ["&lt;a&gt; and b", "1 &amp; none", "before: place 1, 0.99; after: place 1 203"] {
            assert!(
                html.contains(words) || html.contains(&words.replace("1 203", "1,203")),
                "{words}: {html}"
            );
        }
        assert_eq!(html.matches("<figure>").count(), 2, "what has no input has no section");
        assert_eq!(
            (html.matches("data:image/png;base64,").count(), html.matches("class=\"none\"").count()),
            (2, 1)
        );
        for word in ["<script", "http:", "https:", "url(", "NaN", "None", "undefined"] {
            assert!(!html.contains(word), "{word}");
        }
    }

    #[test]
    fn json_goes_round_without_pictures() {
        let mut page = page();
        page.groups[0].kept[0].after_confidence = Some(0.5);
        let text = serde_json::to_string(&page).unwrap();
        assert!(text.contains("\"gone\"") && !text.contains("picture"));
        let read: ComparePage = serde_json::from_str(&text).unwrap();
        page.groups.iter_mut().flat_map(|group| &mut group.kept).for_each(|kept| kept.before = None);
        assert_eq!(read, page);
    }
}
