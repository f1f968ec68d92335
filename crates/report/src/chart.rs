//! Where the lines, ticks and dots of a chart go; the template draws them as inline SVG.

use serde::Serialize;

use crate::data::{AxisScale, CalibrationBin, Convergence, Curve};
use crate::number;

/// Most lines drawn; more would be a grey smear.
pub(crate) const MAX_LINES: usize = 200;
/// Most points drawn of one line: about one every pixel.
const MAX_POINTS: usize = 500;

/// Drawing area of a chart, in SVG units.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Frame {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tick {
    /// SVG coordinate.
    pub(crate) at: f64,
    pub(crate) label: String,
}

/// Residual against step.
#[derive(Debug, Serialize)]
pub(crate) struct ConvergenceChart {
    pub(crate) frame: Frame,
    pub(crate) x_ticks: Vec<Tick>,
    pub(crate) y_ticks: Vec<Tick>,
    pub(crate) lines: Vec<Line>,
    /// Name and last value of the line that ends lowest.
    pub(crate) best: String,
    pub(crate) best_value: f64,
    /// Restarts left out because there were too many or because none of their values can be drawn.
    pub(crate) left_out: usize,
}

/// One restart.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// SVG path data.
    pub(crate) path: String,
    pub(crate) best: bool,
}

/// Lays out the convergence of all restarts; `None` when there is nothing that can be drawn.
pub(crate) fn convergence(data: &Convergence) -> Option<ConvergenceChart> {
    let frame = Frame { width: 520.0, height: 300.0, left: 62.0, right: 506.0, top: 12.0, bottom: 250.0 };
    let drawable: Vec<(&Curve, Vec<[f64; 2]>)> = data
        .curves
        .iter()
        .map(|curve| (curve, points(curve, data.scale)))
        .filter(|(_, points)| points.iter().any(|p| p[1].is_finite()))
        .take(MAX_LINES)
        .collect();
    let all = || drawable.iter().flat_map(|(_, points)| points).filter(|p| p[1].is_finite());
    let x = Axis::linear(extent(all().map(|p| p[0]))?, frame.left, frame.right);
    let values = extent(all().map(|p| p[1]))?;
    let y = match data.scale {
        AxisScale::Linear => Axis::linear(values, frame.bottom, frame.top),
        AxisScale::Log => Axis::log(values, frame.bottom, frame.top),
    };
    let last =
        |points: &[[f64; 2]]| points.iter().rev().map(|p| p[1]).find(|v| v.is_finite()).unwrap_or(f64::MAX);
    let best = (0..drawable.len())
        .min_by(|a, b| last(&drawable[*a].1).total_cmp(&last(&drawable[*b].1)))
        .unwrap_or(0);
    let (best_value, best_name) = (last(&drawable[best].1), drawable[best].0.name.clone());
    let mut lines: Vec<Line> = drawable
        .iter()
        .enumerate()
        .map(|(i, (curve, points))| Line {
            name: curve.name.clone(),
            path: path(points, &x, &y),
            best: i == best,
        })
        .collect();
    // The best line last, so that it lies on top.
    lines.sort_by_key(|line| line.best);
    Some(ConvergenceChart {
        frame,
        x_ticks: x.ticks,
        y_ticks: y.ticks,
        left_out: data.curves.len() - lines.len(),
        lines,
        best: best_name,
        best_value,
    })
}

/// Claimed confidence against the share that is real.
#[derive(Debug, Serialize)]
pub(crate) struct CalibrationChart {
    pub(crate) frame: Frame,
    pub(crate) x_ticks: Vec<Tick>,
    pub(crate) y_ticks: Vec<Tick>,
    pub(crate) dots: Vec<Dot>,
}

/// One bin.
#[derive(Debug, Serialize)]
pub(crate) struct Dot {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) radius: f64,
    pub(crate) label: String,
}

/// Lays out a calibration plot on the unit square; `None` when no bin can be drawn.
pub(crate) fn calibration(bins: &[CalibrationBin]) -> Option<CalibrationChart> {
    let frame = Frame { width: 300.0, height: 300.0, left: 54.0, right: 288.0, top: 12.0, bottom: 250.0 };
    let x = Axis::unit(frame.left, frame.right);
    let y = Axis::unit(frame.bottom, frame.top);
    let largest = bins.iter().map(|bin| bin.of).max().unwrap_or(0).max(1) as f64;
    let dots: Vec<Dot> = bins
        .iter()
        .filter(|bin| bin.claimed.is_finite() && bin.of > 0)
        .map(|bin| Dot {
            x: x.place(bin.claimed.clamp(0.0, 1.0)),
            y: y.place((bin.real as f64 / bin.of as f64).min(1.0)),
            // The area is proportional to the number of candidates.
            radius: tenths(3.0 + 6.0 * (bin.of as f64 / largest).sqrt()),
            label: format!(
                "claimed {}, real {} of {}",
                number::percent(Some(bin.claimed)),
                number::grouped(bin.real as u64),
                number::grouped(bin.of as u64)
            ),
        })
        .collect();
    (!dots.is_empty()).then_some(CalibrationChart { frame, x_ticks: x.ticks, y_ticks: y.ticks, dots })
}

/// A mapping from values to SVG coordinates with its marks.
pub(crate) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
    pub(crate) ticks: Vec<Tick>,
}

impl Axis {
    fn unit(from: f64, to: f64) -> Self {
        Self::linear([0.0, 1.0], from, to)
    }

    /// Covers the extent, widened to whole ticks.
    pub(crate) fn linear([low, high]: [f64; 2], from: f64, to: f64) -> Self {
        let marks = even_marks(low, high);
        let (low, high) = (marks[0].min(low), marks[marks.len() - 1].max(high));
        Self { low, high, from, to, log: false, ticks: Vec::new() }.with_ticks(&marks)
    }

    /// Covers a positive extent, with a little air.
    pub(crate) fn log([low, high]: [f64; 2], from: f64, to: f64) -> Self {
        let (low, high) = (low.log10(), high.log10());
        let air = (0.03 * (high - low)).max(0.02);
        let (low, high) = (low - air, high + air);
        let decades = high - low;
        let stride = ((decades / 6.0).ceil() as i32).max(1);
        let digits: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut marks: Vec<f64> = (low.floor() as i32..=high.ceil() as i32)
            .filter(|power| power.rem_euclid(stride) == 0)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
            .filter(|mark| (low..=high).contains(&mark.log10()))
            .collect();
        if marks.len() < 2 {
            let (low, high) = (10f64.powf(low), 10f64.powf(high));
            marks = even_marks(low, high).into_iter().filter(|mark| (low..=high).contains(mark)).collect();
        }
        Self { low, high, from, to, log: true, ticks: Vec::new() }.with_ticks(&marks)
    }

    fn with_ticks(mut self, marks: &[f64]) -> Self {
        let tick = |&mark: &f64| Tick { at: self.place(mark), label: tick_label(mark) };
        self.ticks = marks.iter().map(tick).collect();
        self
    }

    pub(crate) fn place(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        tenths(self.from + (self.to - self.from) * ((value - self.low) / (self.high - self.low)))
    }
}

/// About five round numbers around an extent, at least two.
fn even_marks(low: f64, high: f64) -> Vec<f64> {
    // A flat line still needs an axis with some height.
    let span = (high - low).max(1e-9 * low.abs().max(high.abs())).max(1e-300);
    let power = 10f64.powf((span / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| span / step <= 5.0);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).floor();
    let count = ((high / step).ceil() - first).clamp(1.0, 12.0) as u32;
    (0..=count).map(|i| (first + f64::from(i)) * step).collect()
}

fn tick_label(value: f64) -> String {
    if (1e3..1e7).contains(&value) && value.fract() == 0.0 {
        return number::grouped(value as u64);
    }
    number::significant(Some(value), 6)
}

/// The points of a curve, thinned; what the axis cannot show is NaN, which breaks the line.
fn points(curve: &Curve, scale: AxisScale) -> Vec<[f64; 2]> {
    let drawable = |v: f64| v.abs() < 1e150 && (scale == AxisScale::Linear || v > 1e-150);
    let length = curve.steps.len().min(curve.values.len());
    let stride = length.div_ceil(MAX_POINTS).max(1);
    (0..length)
        .filter(|i| i % stride == 0 || i + 1 == length)
        .map(|i| (curve.steps[i] as f64, curve.values[i]))
        .map(|(step, value)| [step, if drawable(value) { value } else { f64::NAN }])
        .collect()
}

pub(crate) fn path(points: &[[f64; 2]], x: &Axis, y: &Axis) -> String {
    let mut text = String::new();
    let mut pen_up = true;
    for [step, value] in points {
        if value.is_finite() {
            let command = if pen_up { 'M' } else { 'L' };
            text.push_str(&format!("{command}{} {}", x.place(*step), y.place(*value)));
        }
        pen_up = !value.is_finite();
    }
    text
}

fn extent(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |extent, value| match extent {
        None => Some([value; 2]),
        Some([low, high]) => Some([low.min(value), high.max(value)]),
    })
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chart(scale: AxisScale, values: &[f64]) -> Option<ConvergenceChart> {
        let curve =
            Curve { name: "r".into(), steps: (0..values.len() as u64).collect(), values: values.to_vec() };
        convergence(&Convergence { quantity: "residual".into(), scale, curves: vec![curve] })
    }

    proptest! {
        #[test]
        fn everything_stays_inside_the_frame(
            values in prop::collection::vec(any::<f64>(), 0..40), log in any::<bool>(),
        ) {
            let scale = if log { AxisScale::Log } else { AxisScale::Linear };
            if let Some(chart) = chart(scale, &values) {
                let frame = chart.frame;
                for (ticks, low, high) in [(&chart.x_ticks, frame.left, frame.right), (&chart.y_ticks, frame.top, frame.bottom)] {
                    prop_assert!(!ticks.is_empty() && ticks.len() <= 13);
                    prop_assert!(ticks.iter().all(|tick| (low..=high).contains(&tick.at)), "{ticks:?}");
                }
                for point in chart.lines[0].path.split(['M', 'L']).skip(1) {
                    let (x, y) = point.split_once(' ').unwrap();
                    let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                    prop_assert!((frame.left..=frame.right).contains(&x) && (frame.top..=frame.bottom).contains(&y));
                }
            }
        }
    }

    #[test]
    fn log_axis_places_equal_ratios_at_equal_distances() {
        let chart = chart(AxisScale::Log, &[1.0, 0.1, 0.01, 0.0, 0.001]).unwrap();
        let marks: Vec<&str> = chart.y_ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(marks, ["0.001", "0.01", "0.1", "1"]);
        let at: Vec<f64> = chart.y_ticks.iter().map(|tick| tick.at).collect();
        assert!(at.windows(2).all(|w| ((w[0] - w[1]) - (at[0] - at[1])).abs() < 0.21), "{at:?}");
        assert_eq!(chart.lines[0].path.matches('M').count(), 2, "zero breaks the line on a log axis");
        assert_eq!(chart.best_value, 0.001);
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert!(chart(AxisScale::Linear, &[]).is_none());
        assert!(chart(AxisScale::Linear, &[f64::NAN]).is_none());
        assert!(chart(AxisScale::Log, &[-1.0, 0.0]).is_none());
    }

    #[test]
    fn long_and_many_curves_are_thinned_and_counted() {
        let one = Curve { name: "r".into(), steps: (0..5001).collect(), values: vec![0.5; 5001] };
        let data =
            Convergence { quantity: "q".into(), scale: AxisScale::Linear, curves: vec![one; MAX_LINES + 3] };
        let chart = convergence(&data).unwrap();
        assert_eq!((chart.lines.len(), chart.left_out), (MAX_LINES, 3));
        let count = chart.lines[0].path.matches(['M', 'L']).count();
        assert!((MAX_POINTS / 2..=MAX_POINTS + 2).contains(&count), "{count}");
        assert!(chart.lines[0].path.contains("L506 "), "the last point is kept");
    }

    #[test]
    fn calibration_skips_empty_bins() {
        let bin = |claimed, real, of| CalibrationBin { claimed, real, of };
        let chart = calibration(&[bin(0.5, 0, 0), bin(f64::NAN, 1, 2), bin(1.0, 2, 2)]).unwrap();
        assert_eq!(chart.dots.len(), 1);
        assert_eq!((chart.dots[0].x, chart.dots[0].y), (288.0, 12.0));
        assert!(calibration(&[bin(0.5, 0, 0)]).is_none());
    }
}
