//! Dots of several groups in panels side by side, as a picture of its own: what something costs against what it brings.

use std::fmt::Write as _;

use crate::chart::{Axis, Frame};

/// A picture with a panel for each quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// What the horizontal axes show; from 0 to 100.
    pub x: String,
    /// One panel each, left to right.
    pub panels: Vec<ScatterPanel>,
    /// Names of the groups, at most six, a colour each.
    pub groups: Vec<String>,
}

/// One panel.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterPanel {
    /// What the vertical axis shows; from 0 to 100.
    pub y: String,
    /// The dots.
    pub dots: Vec<ScatterDot>,
}

/// One dot.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterDot {
    /// Where it stands, each in [0, 100].
    pub at: [f64; 2],
    /// Number of its group.
    pub group: usize,
    /// Its shape.
    pub shape: DotShape,
    /// What is said of it when it is pointed at.
    pub label: String,
}

/// Shape of a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotShape {
    /// A disc.
    Disc,
    /// A square.
    Square,
}

/// Colours that are told apart also without red or green (Okabe and Ito).
const COLOURS: [&str; 6] = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00"];

const FRAME: Frame =
    Frame { width: 420.0, height: 320.0, left: 58.0, right: 404.0, top: 14.0, bottom: 270.0 };

/// Draws the picture as a self-contained SVG file. Dots that are not finite are left out.
///
/// ```
/// use palimpsest_report::{DotShape, Scatter, ScatterDot, ScatterPanel, render_scatter};
/// let dot = ScatterDot { at: [70.0, 3.0], group: 0, shape: DotShape::Disc, label: "no decay".into() };
/// let panels = vec![ScatterPanel { y: "found, %".into(), dots: vec![dot] }];
/// let svg = render_scatter(&Scatter { x: "accuracy, %".into(), panels, groups: vec!["decay".into()] });
/// assert!(svg.starts_with("<svg") && svg.contains("<title>no decay</title>"));
/// ```
pub fn render_scatter(scatter: &Scatter) -> String {
    let panels = scatter.panels.len() as f64;
    let (width, height) = (FRAME.width * panels, FRAME.height + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (number, panel) in scatter.panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", FRAME.width * number as f64);
        draw(&mut svg, panel, &scatter.x);
        svg.push_str("</g>\n");
    }
    for (number, group) in scatter.groups.iter().enumerate() {
        let x = FRAME.left + 125.0 * number as f64;
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"{0}\" r=\"5\" fill=\"{1}\"/><text x=\"{2}\" y=\"{3}\">{4}</text>",
            height - 16.0,
            colour(number),
            x + 10.0,
            height - 12.0,
            escaped(group)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &ScatterPanel, x_label: &str) {
    let x = Axis::linear([0.0, 100.0], FRAME.left, FRAME.right);
    let y = Axis::linear([0.0, 100.0], FRAME.bottom, FRAME.top);
    let Frame { left, right, top, bottom, .. } = FRAME;
    for tick in &y.ticks {
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {0}H{right}\" stroke=\"#dddddd\"/><text x=\"{1}\" y=\"{2}\" text-anchor=\"end\">{3}</text>",
            tick.at,
            left - 6.0,
            tick.at + 4.0,
            tick.label
        );
    }
    for tick in &x.ticks {
        let _ = writeln!(
            svg,
            "<path d=\"M{0} {bottom}v5\" stroke=\"#000000\"/><text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{2}</text>",
            tick.at,
            bottom + 18.0,
            tick.label
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#000000\"/>\
         <text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{2}</text>\
         <text transform=\"translate(16 {3}) rotate(-90)\" text-anchor=\"middle\">{4}</text>",
        0.5 * (left + right),
        bottom + 36.0,
        escaped(x_label),
        0.5 * (top + bottom),
        escaped(&panel.y)
    );
    for dot in panel.dots.iter().filter(|dot| dot.at.iter().all(|value| value.is_finite())) {
        let [cx, cy] = [x.place(dot.at[0].clamp(0.0, 100.0)), y.place(dot.at[1].clamp(0.0, 100.0))];
        let (fill, label) = (colour(dot.group), escaped(&dot.label));
        let _ = match dot.shape {
            DotShape::Disc => writeln!(
                svg,
                "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"5\" fill=\"{fill}\" fill-opacity=\"0.75\"><title>{label}</title></circle>"
            ),
            DotShape::Square => writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"9\" height=\"9\" fill=\"{fill}\" fill-opacity=\"0.75\"><title>{label}</title></rect>",
                cx - 4.5,
                cy - 4.5
            ),
        };
    }
}

fn colour(group: usize) -> &'static str {
    COLOURS[group % COLOURS.len()]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stay_in_their_panel_and_text_is_escaped() {
        let dot = |at, shape| ScatterDot { at, group: 7, shape, label: "a <b> & c".into() };
        let dots = vec![
            dot([-5.0, 200.0], DotShape::Disc),
            dot([100.0, 0.0], DotShape::Square),
            dot([f64::NAN, 1.0], DotShape::Disc),
        ];
        let panel = |y: &str| ScatterPanel { y: y.into(), dots: dots.clone() };
        let panels = vec![panel("left"), panel("right")];
        let svg = render_scatter(&Scatter { x: "cost".into(), panels, groups: vec!["one".into()] });
        assert_eq!(svg.matches("<title>a &lt;b&gt; &amp; c</title>").count(), 4);
        assert!(svg.contains("cx=\"58\" cy=\"14\"") && svg.contains("x=\"399.5\" y=\"265.5\""), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("<b>") && !svg.contains("script"));
        assert_eq!(svg.matches("<svg").count(), 1);
    }

    #[test]
    fn a_picture_of_nothing_is_a_picture() {
        let nothing = Scatter { x: "x".into(), panels: Vec::new(), groups: Vec::new() };
        assert!(render_scatter(&nothing).ends_with("</svg>\n"));
    }
}
