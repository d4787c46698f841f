//! The chart of recall against speed: one line an index, speed on a logarithmic axis.

use crate::plots::{Frame, STYLES, Series, Unit, drawable, number, range, short, ticks};
use maud::{Markup, html};

/// Height of a line of the legend, SVG units.
const LINE: f64 = 17.0;

/// Draws `series` of `(recall, speed)`; speeds that are not above zero are left out.
///
/// The legend has a line for each, so that long names fit.
#[must_use]
pub fn pareto_chart(title: &str, x: &str, y: &str, series: &[Series]) -> String {
    let legend = LINE * series.len() as f64 + 8.0;
    let frame = Frame {
        width: 720.0,
        height: 450.0 + legend,
        left: 62.0,
        right: 24.0,
        top: 44.0,
        bottom: 46.0 + legend,
    };
    let logarithms = |series: &Series| -> Vec<(f64, f64)> {
        let kept = series.points.iter().filter(|(x, y)| drawable(*x) && drawable(*y) && *y > 0.0);
        kept.map(|&(x, y)| (x, y.log10())).collect()
    };
    let lines: Vec<Vec<(f64, f64)>> = series.iter().map(logarithms).collect();
    let across = range(lines.iter().flatten().map(|point| point.0));
    let x_ticks: Vec<f64> = ticks(across, 8).into_iter().filter(|tick| *tick <= 1.0 + 1e-9).collect();
    let across = (across.0.min(x_ticks[0]), across.1.max(x_ticks[x_ticks.len() - 1]));
    let y_ticks = log_ticks(range(lines.iter().flatten().map(|point| point.1)));
    let up = (y_ticks[0].log10(), y_ticks[y_ticks.len() - 1].log10());
    let at = |&(px, py): &(f64, f64)| {
        (short(frame.x((px - across.0) / (across.1 - across.0))), short(frame.y((py - up.0) / (up.1 - up.0))))
    };
    let path = |line: &[(f64, f64)]| {
        let places = line.iter().map(at).map(|(x, y)| format!("{x} {y}"));
        format!("M{}", places.collect::<Vec<_>>().join("L"))
    };
    let base = frame.y(0.0);
    let body = html! {
        text.title x="0" y="15" { (title) }
        text.quiet x="0" y="34" { (y) }
        @for &tick in &y_ticks {
            @let py = short(frame.y((tick.log10() - up.0) / (up.1 - up.0)));
            line.grid x1=(short(frame.left)) x2=(short(frame.width - frame.right)) y1=(py) y2=(py) {}
            text.end x=(short(frame.left - 7.0)) y=(py) dy=".32em" { (number(tick, Unit::Plain)) }
        }
        @for &tick in &x_ticks {
            @let px = short(frame.x((tick - across.0) / (across.1 - across.0)));
            line.grid x1=(px) x2=(px) y1=(short(frame.top)) y2=(short(base)) {}
            text.middle x=(px) y=(short(base + 17.0)) { (number(tick, Unit::Plain)) }
        }
        line.axis x1=(short(frame.left)) x2=(short(frame.width - frame.right)) y1=(short(base)) y2=(short(base)) {}
        text.middle.quiet x=(short(frame.x(0.5))) y=(short(base + 35.0)) { (x) }
        @for (i, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            path class={ "line s" (i % STYLES + 1) } d=(path(line)) {}
            @for (px, py) in line.iter().map(at) {
                (mark(i, &px, &py))
            }
        }
        @for (i, series) in series.iter().enumerate() {
            @let y = base + 46.0 + LINE * (i as f64 + 1.0);
            path class={ "line s" (i % STYLES + 1) } d={ "M" (short(frame.left)) " " (short(y - 4.0)) "h26" } {}
            (mark(i, &short(frame.left + 13.0), &short(y - 4.0)))
            text x=(short(frame.left + 34.0)) y=(short(y)) { (series.name) }
        }
    };
    frame.wrap(&format!("{title}, {y} over {x}"), &body)
}

/// A dot; a square where colours start over, so that no two of the first ten look alike.
fn mark(series: usize, x: &str, y: &str) -> Markup {
    html! {
        @if (series / STYLES).is_multiple_of(2) {
            circle class={ "dot s" (series % STYLES + 1) } cx=(x) cy=(y) r="3" {}
        } @else {
            rect class={ "dot s" (series % STYLES + 1) } x=(x) y=(y) width="7" height="7"
                transform="translate(-3.5 -3.5)" {}
        }
    }
}

/// 1, 2 and 5 times powers of ten that reach beyond both ends, given as logarithms; powers alone where there are many.
fn log_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let steps: &[f64] = if high - low > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (low.floor() as i32 - 1)..=(high.ceil() as i32 + 1);
    let all: Vec<f64> =
        powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power))).collect();
    let first = all.iter().rposition(|tick| tick.log10() <= low + 1e-9).unwrap_or(0);
    let last = all.iter().position(|tick| tick.log10() >= high - 1e-9).unwrap_or(all.len() - 1);
    all[first..=last.max(first + 1).min(all.len() - 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_reach_around_the_values() {
        let about = |low: f64, high: f64| log_ticks((low.log10(), high.log10()));
        let close = |got: Vec<f64>, want: &[f64]| {
            assert!(
                got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a / b - 1.0).abs() < 1e-9),
                "{got:?}"
            );
        };
        close(about(1500.0, 40_000.0), &[1e3, 2e3, 5e3, 1e4, 2e4, 5e4]);
        close(about(3.0, 30_000.0), &[1.0, 10.0, 100.0, 1000.0, 1e4, 1e5]);
        assert!(about(1000.0, 1000.0).len() >= 2);
    }

    #[test]
    fn a_line_goes_through_its_places() {
        let points = vec![(0.9, 1000.0), (1.0, 100.0), (0.95, 0.0), (f64::NAN, 5.0)];
        let svg =
            pareto_chart("Speed <b>", "recall@10", "queries/s", &[Series { name: "HNSW16".into(), points }]);
        // x from 62 to 720 - 24, y from 44 (1,000) down to 450 - 46 (100).
        assert!(svg.contains("M62 44L696 404"), "{svg}");
        assert!(svg.contains("HNSW16") && svg.contains("Speed &lt;b&gt;") && !svg.contains("NaN"));
    }

    #[test]
    fn nothing_to_draw_is_a_chart_all_the_same() {
        let svg = pareto_chart("none", "x", "y", &[]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
    }
}
