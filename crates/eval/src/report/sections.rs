//! The page's parts, from the top down.

use super::sheet::Sheet;
use super::{Answered, Effect, MapPoint, Pictures, Report, ReportError, Role, verdict};
use crate::Estimate;
use crate::plots::{self, Bars, tenths};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("map.js");
/// Pixels of all pictures of the map together, and of the montages: what keeps the file below 3 MB.
const MAP_PIXELS: usize = 2_000_000;
const MONTAGE_PIXELS: usize = 1_500_000;
/// Pictures on the map at most; of more, evenly spaced ones are drawn.
const MAP_PICTURES: usize = 3000;

pub(super) fn page(report: &Report<'_>, pictures: Pictures<'_>) -> Result<String, ReportError> {
    let answered = report.montage.iter().chain(&report.failures);
    let shown = answered.flat_map(|answered| {
        std::iter::once(answered.query).chain(answered.neighbours.iter().map(|neighbour| neighbour.row))
    });
    let sheet = Sheet::new(shown, MONTAGE_PIXELS, pictures.thumb)?;
    let map = map(&report.map, pictures)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                style { (PreEscaped(STYLE)) (PreEscaped(picture_rule(".cell", &sheet))) }
            }
            body {
                (headline(report))
                main {
                    (results(report))
                    (learning(report))
                    (index(report))
                    (map)
                    (montage("Queries and their nearest pictures",
                        "A query on the left, its nearest pictures to the right, nearest first.",
                        &report.montage, &sheet, pictures))
                    (montage("Worst failures",
                        "The queries whose first right answer lies furthest down the list. Look here for wrong \
                         labels, and for what the model cannot see.",
                        &report.failures, &sheet, pictures))
                    (checks(report))
                    (protocol(report))
                    (reproduction(report))
                }
            }
        }
    };
    Ok(page.into_string())
}

/// The rule that paints cells of a sheet; the URI is ours, so it holds no quote.
fn picture_rule(selector: &str, sheet: &Sheet) -> String {
    format!("{selector}{{background-image:url({});background-size:{}}}", sheet.uri, sheet.size())
}

fn headline(report: &Report<'_>) -> Markup {
    let verdict = verdict(&report.contenders);
    let class = match verdict.effect {
        Effect::Helped => "helped",
        Effect::Hurt => "hurt",
        Effect::NoMeasurableDifference | Effect::Unknown => "level",
    };
    html! {
        header {
            p.kicker { "Retrieval report" }
            h1 { (report.title) }
            p class={ "verdict " (class) } { (verdict.sentence) }
            @if let Some(warning) = &verdict.warning { p.warning { (warning) } }
            @if !report.facts.is_empty() { (facts(&report.facts)) }
        }
    }
}

fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        dl.facts { @for (what, value) in facts { div { dt { (what) } dd { (value) } } } }
    }
}

fn section(title: &str, body: &Markup) -> Markup {
    html! { section { h2 { (title) } (body) } }
}

fn results(report: &Report<'_>) -> Markup {
    let Some(first) = report.contenders.first() else { return html! {} };
    let mut names: Vec<String> = first.retrieval.recall.iter().map(|(k, _)| format!("recall@{k}")).collect();
    names.push("MAP@R".to_owned());
    let bars: Vec<Bars> = report
        .contenders
        .iter()
        .map(|contender| {
            let recalls =
                first.retrieval.recall.iter().filter_map(|(k, _)| contender.retrieval.recall_at(*k));
            Bars {
                name: contender.name.clone(),
                values: recalls.chain([contender.retrieval.map_at_r]).collect(),
            }
        })
        .collect();
    section(
        "Results",
        &html! {
            figure.wide { (PreEscaped(plots::bars("How often the answer is right", &names, &bars)))
                figcaption {
                    "recall@k: share of queries with a right picture among the k nearest. MAP@R: how purely the \
                     right pictures come first. Lines show 95 % intervals."
                }
            }
            (table(report))
        },
    )
}

fn table(report: &Report<'_>) -> Markup {
    let first = report.contenders[0].retrieval;
    let mut lines: Vec<(String, Vec<Option<Estimate>>)> = Vec::new();
    let mut line = |name: String, of: &dyn Fn(&crate::Retrieval) -> Option<Estimate>| {
        lines.push((name, report.contenders.iter().map(|contender| of(contender.retrieval)).collect()));
    };
    for (k, _) in &first.recall {
        line(format!("recall@{k}"), &|retrieval| retrieval.recall_at(*k));
    }
    line("MAP@R".to_owned(), &|retrieval| Some(retrieval.map_at_r));
    line("R-precision".to_owned(), &|retrieval| Some(retrieval.r_precision));
    line("NMI".to_owned(), &|retrieval| retrieval.nmi);
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "%" }
                @for contender in &report.contenders {
                    th.ours[contender.role == Role::Trained] scope="col" { (contender.name) }
                }
            } }
            tbody {
                @for (name, cells) in &lines {
                    @if cells.iter().any(Option::is_some) {
                        tr {
                            th scope="row" { (name) }
                            @for (cell, contender) in cells.iter().zip(&report.contenders) {
                                td.ours[contender.role == Role::Trained] { (number(*cell)) }
                            }
                        }
                    }
                }
            }
        } }
        p.note {
            "Small figures: 95 % interval over classes; for NMI (agreement of the classes with blind \
             clusters), the least and greatest run."
        }
    }
}

fn number(estimate: Option<Estimate>) -> Markup {
    html! {
        @match estimate {
            Some(estimate) => {
                b { (tenths(estimate.value)) }
                small { (tenths(estimate.low)) "\u{2013}" (tenths(estimate.high)) }
            }
            None => "\u{2013}",
        }
    }
}

fn learning(report: &Report<'_>) -> Markup {
    let charts = report.curves.charts();
    if charts.is_empty() && report.training.is_none() {
        return html! {};
    }
    section(
        "Training",
        &html! {
            div.pair { @for chart in &charts { figure { (PreEscaped(plots::line_chart(chart))) } } }
            @if let Some(training) = &report.training {
                (facts(&[
                    ("pictures a second".to_owned(), grouped(training.images_per_second)),
                    ("time".to_owned(), duration(training.seconds)),
                    ("peak memory".to_owned(), format!("{:.1} GB", training.peak_memory as f64 / 1e9)),
                ]))
            }
        },
    )
}

fn index(report: &Report<'_>) -> Markup {
    let Some(index) = &report.index else { return html! {} };
    section(
        "Index",
        &html! {
            p { code { (index.spec) } }
            (facts(&[
                ("of the 10 exact answers found".to_owned(), format!("{:.2} %", 100.0 * index.recall_at_10)),
                ("queries a second".to_owned(), grouped(index.queries_per_second)),
            ]))
        },
    )
}

fn map(points: &[MapPoint], pictures: Pictures<'_>) -> Result<Markup, ReportError> {
    let step = points.len().div_ceil(MAP_PICTURES).max(1);
    let shown: Vec<&MapPoint> = points.iter().step_by(step).filter(|point| finite(point)).collect();
    if shown.is_empty() {
        return Ok(html! {});
    }
    let sheet = Sheet::new(shown.iter().map(|point| point.row), MAP_PIXELS, pictures.thumb)?;
    let frame = Frame::around(&shown);
    let mut names = BTreeMap::new();
    for point in &shown {
        names.entry(point.label).or_insert_with(|| (pictures.class)(point.row));
    }
    let rule = picture_rule(".map i", &sheet);
    let style = format!("--side:{:.2}cqw;aspect-ratio:{:.3}", side(shown.len()), frame.aspect());
    Ok(section(
        "Map",
        &html! {
            p { "Each picture lies near those the model finds alike (t-SNE). Islands of one class are good; a \
                 picture among strangers is worth a look." }
            style { (PreEscaped(rule)) }
            div.map tabindex="0" style=(style) role="img" aria-label="t-SNE map of the test pictures" {
                div.plane {
                    @for point in &shown {
                        @let [left, top] = frame.place(point);
                        i data-c=(point.label) title=(names[&point.label])
                            style={ "left:" (left) "%;top:" (top) "%;background-position:" (sheet.position(point.row)) } {}
                    }
                }
            }
            p.note #map-note {
                @if step > 1 { "Every " (step) "th picture: " }
                (grouped(shown.len() as f64)) " pictures of " (grouped(names.len() as f64)) " classes."
            }
            script { (PreEscaped(SCRIPT)) }
        },
    ))
}

fn finite(point: &MapPoint) -> bool {
    point.place.iter().all(|value| value.is_finite())
}

/// Side of a picture in percent of the map's width: they may touch but not cover each other, on average.
fn side(pictures: usize) -> f64 {
    (80.0 / (pictures as f64).sqrt()).clamp(1.6, 7.0)
}

/// From map units to percent of the frame.
struct Frame {
    least: [f32; 2],
    span: [f32; 2],
}

impl Frame {
    fn around(points: &[&MapPoint]) -> Self {
        let fold = |axis: usize, start: f32, pick: fn(f32, f32) -> f32| {
            points.iter().map(|point| point.place[axis]).fold(start, pick)
        };
        let least = [0, 1].map(|axis| fold(axis, f32::INFINITY, f32::min));
        let most = [0, 1].map(|axis| fold(axis, f32::NEG_INFINITY, f32::max));
        let mut span = [0, 1].map(|axis| (most[axis] - least[axis]).max(f32::MIN_POSITIVE));
        // A frame between 4:5 and 16:10: the shorter side grows, so that the scale stays that of the data.
        let grown = [span[0].max(span[1] * 0.8), span[1].max(span[0] / 1.6)];
        let least = [0, 1].map(|axis| least[axis] - (grown[axis] - span[axis]) / 2.0);
        span = grown;
        Self { least, span }
    }

    fn aspect(&self) -> f32 {
        self.span[0] / self.span[1]
    }

    /// Left and top, percent; 4 % stay free at each edge.
    fn place(&self, point: &MapPoint) -> [String; 2] {
        let share = |axis: usize| (point.place[axis] - self.least[axis]) / self.span[axis];
        [share(0), 1.0 - share(1)].map(|share| format!("{:.2}", 4.0 + 92.0 * share))
    }
}

fn montage(title: &str, words: &str, rows: &[Answered], sheet: &Sheet, pictures: Pictures<'_>) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    let cell = |row: usize, kind: &str, badge: &str, words: &str| {
        let name = (pictures.class)(row);
        html! {
            figure class={ "shot " (kind) } {
                div.cell role="img" aria-label={ (words) ": " (name) } title=(name)
                    style={ "background-position:" (sheet.position(row)) } {}
                @if !badge.is_empty() { span.badge aria-hidden="true" { (badge) } }
                // Under a right answer the name would only repeat the query's.
                @if kind != "right" { figcaption { (name) } }
            }
        }
    };
    section(
        title,
        &html! {
            p { (words) " " span.key { span.badge.right { "\u{2713}" } " same class " span.badge.wrong { "\u{2715}" } " another" } }
            div.rows {
                @for row in rows {
                    div.answers {
                        (cell(row.query, "query", "", "query"))
                        div.list {
                            @for neighbour in &row.neighbours {
                                @if neighbour.right { (cell(neighbour.row, "right", "\u{2713}", "right")) }
                                @else { (cell(neighbour.row, "wrong", "\u{2715}", "wrong")) }
                            }
                        }
                        @if !row.note.is_empty() { p.note { (row.note) } }
                    }
                }
            }
        },
    )
}

fn checks(report: &Report<'_>) -> Markup {
    if report.checks.is_empty() {
        return html! {};
    }
    section(
        "Data check",
        &html! {
            ul.checks {
                @for check in &report.checks {
                    @let (class, mark, words) =
                        if check.passed { ("right", "\u{2713}", "passed") } else { ("wrong", "!", "look at this") };
                    li { span class={ "badge " (class) } role="img" aria-label=(words) { (mark) } span { (check.words) } }
                }
            }
        },
    )
}

fn protocol(report: &Report<'_>) -> Markup {
    let Some(first) = report.contenders.first() else { return html! {} };
    section(
        "How it was measured",
        &html! {
            p { code { (first.retrieval.protocol_id()) } }
            ul { @for words in first.retrieval.protocol_words() { li { (words) } } }
            @for other in &report.contenders {
                @if other.retrieval.protocol_id() != first.retrieval.protocol_id() {
                    p.warning {
                        (other.name) " was measured under " code { (other.retrieval.protocol_id()) }
                        " and must not be compared with the others."
                    }
                }
            }
        },
    )
}

fn reproduction(report: &Report<'_>) -> Markup {
    let reproduction = &report.reproduction;
    let mut lines = vec![("seed".to_owned(), reproduction.seed.to_string())];
    lines.extend(reproduction.versions.iter().cloned());
    if !reproduction.hardware.is_empty() {
        lines.push(("machine".to_owned(), reproduction.hardware.clone()));
    }
    section(
        "How to get these numbers again",
        &html! {
            @if !reproduction.command.is_empty() { pre { code { (reproduction.command) } } }
            dl.lines { @for (what, value) in &lines { dt { (what) } dd { (value) } } }
        },
    )
}

/// A rate or count with its thousands apart.
fn grouped(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!((grouped(12.34).as_str(), grouped(18.0).as_str()), ("12.3", "18"));
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(duration(754.0), "12 min 34 s");
        assert_eq!(duration(7_384.0), "2 h 3 min");
    }

    #[test]
    fn the_frame_keeps_the_scale() {
        let point = |x, y| MapPoint { row: 0, label: 0, place: [x, y] };
        let points = [point(0.0, 0.0), point(10.0, 1.0)];
        let frame = Frame::around(&points.iter().collect::<Vec<_>>());
        assert!((frame.aspect() - 1.6).abs() < 1e-6);
        assert_eq!(frame.place(&points[0]), ["4.00", "57.36"]); // y: 0.5 of 6.25 below the middle
        assert_eq!(frame.place(&points[1]), ["96.00", "42.64"]);
        let alone = Frame::around(&[&points[0]]);
        assert_eq!(alone.place(&points[0])[0].parse::<f32>().map(f32::is_finite), Ok(true));
    }
}
