//! A page of sections, each with what it says, a figure and a table.

use minijinja::value::Serde;
use serde::Serialize;

use crate::error::Result;
use crate::html::environment;
use crate::picture::png_uri;

/// What the page says; everything was measured elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct IllustratedPage {
    /// Title of the page.
    pub title: String,
    /// What was looked into.
    pub subject: String,
    /// The answer, the first sentence set large.
    pub answer: Vec<String>,
    /// The rest, in order.
    pub sections: Vec<IllustratedSection>,
}

/// A part of the page.
#[derive(Clone, Debug, Serialize)]
pub struct IllustratedSection {
    /// Its heading.
    pub heading: String,
    /// Its paragraphs.
    pub text: Vec<String>,
    /// A picture, if there is one.
    pub figure: Option<Figure>,
    /// A table, if there is one.
    pub table: Option<PageTable>,
}

/// A picture with what it shows.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The bytes of a PNG file.
    #[serde(skip)]
    pub png: Vec<u8>,
    /// What it shows.
    pub caption: String,
}

/// A table of words.
#[derive(Clone, Debug, Serialize)]
pub struct PageTable {
    /// What the columns are.
    pub header: Vec<String>,
    /// A cell for each column.
    pub rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct View<'a> {
    page: &'a IllustratedPage,
    pictures: Vec<Option<String>>,
}

/// Renders the page as one self-contained HTML file: no script, nothing loaded.
///
/// ```
/// use palimpsest_report::{IllustratedPage, IllustratedSection, PageTable, render_illustrated};
/// let table = PageTable { header: vec!["found".into()], rows: vec![vec!["3 of 4".into()]] };
/// let section = IllustratedSection { heading: "Digits".into(), text: vec![], figure: None, table: Some(table) };
/// let page = IllustratedPage {
///     title: "What was found".into(),
///     subject: "a <small> network".into(),
///     answer: vec!["Three of four.".into()],
///     sections: vec![section],
/// };
/// let html = render_illustrated(&page)?;
/// assert!(html.contains("<td>3 of 4</td>") && html.contains("a &lt;small&gt; network"));
/// # Ok::<(), palimpsest_report::ReportError>(())
/// ```
///
/// # Errors
/// [`crate::ReportError::Template`].
pub fn render_illustrated(page: &IllustratedPage) -> Result<String> {
    let picture = |section: &IllustratedSection| section.figure.as_ref().map(|figure| png_uri(&figure.png));
    let view = View { page, pictures: page.sections.iter().map(picture).collect() };
    let mut text = environment()?.get_template("illustrated.html")?.render(Serde(&view))?;
    text.push('\n');
    Ok(text)
}
