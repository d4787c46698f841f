//! Charts as SVG text: each stands alone as a file and fits into a page of either theme.
//!
//! Text and axes take the surrounding text colour (`currentColor`); series take `--series-1` and so on
//! from the page and else the palette of Okabe and Ito (2008), which colour-blind readers can tell apart.
//! Series also differ in dash, so that a chart survives a black-and-white printer.

use crate::Estimate;
use maud::{Markup, PreEscaped, html};

/// Rules shared by all charts; each SVG carries them.
const STYLE: &str = include_str!("plots.css");
/// Series that have a colour and a dash of their own; later ones start over.
pub(crate) const STYLES: usize = 5;

/// One line of a [`LineChart`].
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// `(x, y)`, by x; points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// How the numbers of an axis read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As they are.
    Plain,
    /// 0 to 1, written as 0 % to 100 %.
    Percent,
}

/// Lines over a common axis.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    /// Above the chart.
    pub title: String,
    /// Under the x axis.
    pub x: String,
    /// How the y axis reads.
    pub unit: Unit,
    /// The lines.
    pub series: Vec<Series>,
}

/// Loss and validation scores over the steps of a training run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// `(step, loss)`.
    pub loss: Vec<(f64, f64)>,
    /// Validation scores over steps, 0 to 1: recall@1, MAP@R.
    pub validation: Vec<Series>,
}

impl Curves {
    /// The charts that have anything to show.
    #[must_use]
    pub fn charts(&self) -> Vec<LineChart> {
        let chart = |title: &str, unit, series| LineChart {
            title: title.to_owned(),
            x: "step".to_owned(),
            unit,
            series,
        };
        let loss = vec![Series { name: "loss".to_owned(), points: self.loss.clone() }];
        [
            chart("Training loss", Unit::Plain, loss),
            chart("Validation", Unit::Percent, self.validation.clone()),
        ]
        .into_iter()
        .filter(|chart| chart.series.iter().any(|series| !series.points.is_empty()))
        .collect()
    }
}

/// Bars of one name in every group of a [`bars`] chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// Name in the legend.
    pub name: String,
    /// One value a group, 0 to 1.
    pub values: Vec<Estimate>,
}

/// The rectangle that data is drawn into, and the text around it, in SVG units.
pub(crate) struct Frame {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    pub(crate) fn x(&self, share: f64) -> f64 {
        self.left + share * (self.width - self.left - self.right)
    }

    pub(crate) fn y(&self, share: f64) -> f64 {
        self.height - self.bottom - share * (self.height - self.top - self.bottom)
    }

    pub(crate) fn wrap(&self, label: &str, body: &Markup) -> String {
        let view = format!("0 0 {} {}", self.width, self.height);
        html! {
            svg.plot xmlns="http://www.w3.org/2000/svg" viewBox=(view) role="img" aria-label=(label) {
                style { (PreEscaped(STYLE)) }
                (body)
            }
        }
        .into_string()
    }

    /// Horizontal grid lines with their numbers.
    fn grid(&self, ticks: &[f64], (low, high): (f64, f64), unit: Unit) -> Markup {
        html! {
            @for &tick in ticks {
                @let y = short(self.y((tick - low) / (high - low)));
                line.grid x1=(short(self.left)) x2=(short(self.width - self.right)) y1=(y) y2=(y) {}
                text.end x=(short(self.left - 7.0)) y=(y) dy=".32em" { (number(tick, unit)) }
            }
        }
    }
}

/// Draws lines with axes and a legend.
#[must_use]
pub fn line_chart(chart: &LineChart) -> String {
    let frame = Frame { width: 460.0, height: 270.0, left: 46.0, right: 20.0, top: 48.0, bottom: 40.0 };
    let finite = |series: &Series| -> Vec<(f64, f64)> {
        series.points.iter().copied().filter(|(x, y)| drawable(*x) && drawable(*y)).collect()
    };
    let lines: Vec<Vec<(f64, f64)>> = chart.series.iter().map(finite).collect();
    let x = range(lines.iter().flatten().map(|point| point.0));
    let y_ticks = ticks(range(lines.iter().flatten().map(|point| point.1)), 5);
    let y = (y_ticks[0], y_ticks[y_ticks.len() - 1]);
    let place = |&(px, py): &(f64, f64)| {
        let px = short(frame.x((px - x.0) / (x.1 - x.0)));
        format!("{px} {}", short(frame.y((py - y.0) / (y.1 - y.0))))
    };
    let path = |line: &[(f64, f64)]| format!("M{}", line.iter().map(place).collect::<Vec<_>>().join("L"));
    let base = short(frame.y(0.0));
    let body = html! {
        text.title x="0" y="15" { (chart.title) }
        (legend(&chart.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(), true, 34.0))
        (frame.grid(&y_ticks, y, chart.unit))
        @for tick in ticks(x, 5).into_iter().filter(|tick| (x.0..=x.1).contains(tick)) {
            @let px = short(frame.x((tick - x.0) / (x.1 - x.0)));
            line.axis x1=(px) x2=(px) y1=(base) y2=(short(frame.y(0.0) + 4.0)) {}
            text.middle x=(px) y=(short(frame.y(0.0) + 17.0)) { (number(tick, Unit::Plain)) }
        }
        text.middle.quiet x=(short(frame.x(0.5))) y=(short(frame.height - 5.0)) { (chart.x) }
        line.axis x1=(short(frame.left)) x2=(short(frame.width - frame.right)) y1=(base) y2=(base) {}
        @for (i, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            path class={ "line s" (i % STYLES + 1) } d=(path(line)) {}
            @if line.len() <= 24 {
                @for point in line {
                    @let px = short(frame.x((point.0 - x.0) / (x.1 - x.0)));
                    @let py = short(frame.y((point.1 - y.0) / (y.1 - y.0)));
                    circle class={ "dot s" (i % STYLES + 1) } cx=(px) cy=(py) r="2.4" {}
                }
            }
        }
    };
    frame.wrap(&format!("{}, over {}", chart.title, chart.x), &body)
}

/// Draws grouped bars from 0 % to 100 % with their intervals; `groups` names the groups.
///
/// The first bar of each group, the one the chart is about, has its value written above it.
#[must_use]
pub fn bars(title: &str, groups: &[String], bars: &[Bars]) -> String {
    // Narrow enough to be read on a phone, unless there is much to show.
    let width = (60.0 + 20.0 * (groups.len() * bars.len()) as f64).clamp(500.0, 1000.0);
    let frame = Frame { width, height: 310.0, left: 46.0, right: 6.0, top: 64.0, bottom: 28.0 };
    let slot = 1.0 / groups.len().max(1) as f64;
    let share = slot * 0.8 / bars.len().max(1) as f64;
    let names: Vec<&str> = bars.iter().map(|bars| bars.name.as_str()).collect();
    let bar = |group: usize, place: usize, estimate: Estimate| {
        let start = group as f64 * slot + slot * 0.1 + place as f64 * share;
        let (left, right) = (frame.x(start), frame.x(start + share) - 2.0);
        let middle = short(f64::midpoint(left, right));
        let y = |share: f64| frame.y(share.clamp(0.0, 1.0));
        let top = y(estimate.value);
        html! {
            rect class={ "bar s" (place % STYLES + 1) } x=(short(left)) y=(short(top))
                width=(short(right - left)) height=(short(frame.y(0.0) - top)) {
                title { (names[place]) ", " (groups[group]) ": " (percent(estimate)) }
            }
            path.whisker d={ "M" (middle) " " (short(y(estimate.low))) "V" (short(y(estimate.high))) } {}
            @if place == 0 {
                text.middle.value x=(middle) y=(short(y(estimate.high) - 5.0)) { (tenths(estimate.value)) }
            }
        }
    };
    let base = short(frame.y(0.0));
    let body = html! {
        text.title x="0" y="15" { (title) }
        (legend(&names, false, 34.0))
        (frame.grid(&[0.0, 0.25, 0.5, 0.75, 1.0], (0.0, 1.0), Unit::Percent))
        @for (group, name) in groups.iter().enumerate() {
            @for (place, bars) in bars.iter().enumerate() {
                @if let Some(&estimate) = bars.values.get(group) { (bar(group, place, estimate)) }
            }
            @let middle = frame.x((group as f64 + 0.5) * slot);
            text.middle x=(short(middle)) y=(short(frame.y(0.0) + 18.0)) { (name) }
        }
        line.axis x1=(short(frame.left)) x2=(short(frame.width - frame.right)) y1=(base) y2=(base) {}
    };
    frame.wrap(title, &body)
}

/// Names beside their swatches in one line, spaced by an estimate of their width.
fn legend(names: &[&str], lines: bool, y: f64) -> Markup {
    let swatch = if lines { 24.0 } else { 16.0 };
    let entries = names.iter().enumerate().scan(0.0, |next, (i, name)| {
        let x = *next;
        *next += swatch + 6.4 * name.chars().count() as f64 + 16.0;
        Some((i % STYLES + 1, x, name))
    });
    html! {
        @for (style, x, name) in entries {
            @if lines {
                path class={ "line s" (style) } d={ "M" (short(x)) " " (short(y - 4.0)) "h18" } {}
            } @else {
                rect class={ "bar s" (style) } x=(short(x)) y=(short(y - 9.0)) width="11" height="10" {}
            }
            text x=(short(x + swatch)) y=(short(y)) { (name) }
        }
    }
}

/// A percentage with one digit after the point.
pub(crate) fn tenths(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// `83.1 % (80.2 to 85.7)`.
pub(crate) fn percent(estimate: Estimate) -> String {
    format!("{} % ({} to {})", tenths(estimate.value), tenths(estimate.low), tenths(estimate.high))
}

/// SVG coordinates need no more than two digits after the point.
pub(crate) fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(crate) fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Percent => format!("{} %", trimmed(value * 100.0)),
        Unit::Plain if value.abs() >= 1e6 => format!("{}M", trimmed(value / 1e6)),
        Unit::Plain if value.abs() >= 1e4 => format!("{}k", trimmed(value / 1e3)),
        Unit::Plain => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Finite, and small enough that a difference of two stays finite.
pub(crate) fn drawable(value: f64) -> bool {
    value.abs() <= 1e300
}

/// Least and greatest of finite values, never equal; 0 to 1 when there is none.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        (0.0, 1.0)
    } else if low == high {
        let room = (low.abs() * 0.1).max(1e-3);
        (low - room, high + room)
    } else {
        (low, high)
    }
}

/// About `wanted` round numbers (1, 2, 2.5 or 5 times a power of ten) that reach beyond both ends.
pub(crate) fn ticks((low, high): (f64, f64), wanted: usize) -> Vec<f64> {
    let rough = (high - low) / wanted as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|round| round * power)
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power);
    // Values too close together for their size have no round step between them.
    if !(step.is_finite() && step > low.abs().max(high.abs()) * 1e-12) {
        return vec![low, high];
    }
    let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            title: "Loss <b>".to_owned(),
            x: "step & more".to_owned(),
            unit: Unit::Plain,
            series: vec![Series { name: "\"loss\"".to_owned(), points }],
        }
    }

    #[test]
    fn ticks_are_round_and_reach_around_the_values() {
        assert_eq!(ticks((0.0, 1.0), 5), [0.0, 0.2, 0.4, 0.600_000_000_000_000_1, 0.8, 1.0]);
        assert_eq!(ticks((3.0, 96.0), 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        for (low, high) in [(-1e-7, 3e-7), (1e9, 1e9 + 3.0), (1e17, 1e17 + 16.0), (-5.0, -4.99)] {
            let ticks = ticks((low, high), 5);
            assert!((2..=8).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks[0] <= low && ticks[ticks.len() - 1] >= high, "{ticks:?}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(0.6, Unit::Percent), "60 %");
        assert_eq!(number(12_500.0, Unit::Plain), "12.5k");
        assert_eq!(number(-0.000_001, Unit::Plain), "0");
        assert_eq!(short(3.10), "3.1");
    }

    #[test]
    fn a_line_runs_from_corner_to_corner() {
        let svg = line_chart(&chart(vec![(0.0, 0.0), (10.0, 1.0), (5.0, f64::NAN)]));
        // x from 46 to 460 - 20, y from 270 - 40 up to 48
        assert!(svg.contains("M46 230L440 48"), "{svg}");
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn words_are_escaped() {
        let svg = line_chart(&chart(vec![(1.0, 1.0)]));
        assert!(svg.contains("Loss &lt;b&gt;") && svg.contains("&quot;loss&quot;") && !svg.contains("<b>"));
    }

    #[test]
    fn odd_charts_are_still_charts() {
        for points in
            [vec![], vec![(3.0, 3.0)], vec![(0.0, 1e300), (1.0, -1e300)], vec![(0.0, f64::INFINITY)]]
        {
            let svg = line_chart(&chart(points));
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
        }
        assert!(bars("none", &[], &[]).ends_with("</svg>"));
    }

    #[test]
    fn a_bar_is_as_high_as_its_value() {
        let estimate = Estimate { value: 0.5, low: 0.4, high: 0.75 };
        let svg =
            bars("recall", &["@1".to_owned()], &[Bars { name: "ours".to_owned(), values: vec![estimate] }]);
        // 310 - 28 - 64 = 218 units are 100 %: half of it is 109, its top lies at 282 - 109
        assert!(svg.contains(r#"y="173""#) && svg.contains(r#"height="109""#), "{svg}");
        assert!(svg.contains("V118.5") && svg.contains("50.0 % (40.0 to 75.0)")); // 282 - 0.75 * 218
    }
}
