//! The report as one HTML page that needs nothing else.

use std::fmt::Write;

use super::chart::{Chart, Line};
use super::{Report, text};
use crate::error::LoadtestError;
use crate::measurement::{Figures, Second};
use crate::scrape::Sample;

const STYLE: &str = include_str!("style.css");
/// Most points of a line over time; neighbours are joined beyond it.
const MOST_POINTS: usize = 600;

/// The report as a page.
///
/// # Errors
/// A chart that could not be drawn.
pub fn html(report: &Report) -> Result<String, LoadtestError> {
    let title = format!("{} at {}", escaped(&report.model), escaped(&report.scenario.url));
    let verdict = if report.misses.is_empty() {
        "<p class=\"good\">Every answer was whole, and every limit held.</p>".to_owned()
    } else {
        let items: String = report.misses.iter().map(|miss| format!("<li>{}</li>", escaped(miss))).collect();
        format!("<ul class=\"bad\">{items}</ul>")
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>loadtest: {title}</title>\n\
         <style>\n{STYLE}</style>\n<h1>{title}</h1>\n{verdict}\n<pre>{}</pre>\n",
        escaped(&text(report))
    );
    for (heading, chart) in charts(report) {
        let svg = chart.svg()?;
        if !svg.is_empty() {
            writeln!(page, "<figure>\n<figcaption>{heading}</figcaption>\n{svg}\n</figure>")
                .expect("a string takes all");
        }
    }
    page.push_str("</html>\n");
    Ok(page)
}

fn charts(report: &Report) -> Vec<(&'static str, Chart<'static>)> {
    let mut charts = if report.steps.is_empty() { over_seconds(&report.figures) } else { over_steps(report) };
    charts.extend(over_time(&report.figures.seconds));
    charts.extend(of_server(&report.samples));
    charts
}

fn over_steps(report: &Report) -> Vec<(&'static str, Chart<'static>)> {
    let mut steps: Vec<_> = report.steps.iter().collect();
    steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let line = |name, value: &dyn Fn(&Figures) -> f64| Line {
        name,
        points: steps.iter().map(|step| (step.rate, value(&step.figures))).collect(),
    };
    let latencies = vec![
        line("TTFT p50", &|figures| figures.ttft.percentile_ms(50.0)),
        line("TTFT p99", &|figures| figures.ttft.percentile_ms(99.0)),
        line("end p50", &|figures| figures.e2el.percentile_ms(50.0)),
        line("end p99", &|figures| figures.e2el.percentile_ms(99.0)),
    ];
    let throughput = vec![line("answered", &|figures| figures.value("request_throughput").unwrap_or_default())];
    vec![
        ("Latency against offered load", chart("offered requests/s", "ms", latencies)),
        ("Throughput against offered load", chart("offered requests/s", "requests/s", throughput)),
    ]
}

/// The load that the seconds of a run offered, in place of the steps of a sweep.
fn over_seconds(figures: &Figures) -> Vec<(&'static str, Chart<'static>)> {
    let ended = figures.seconds.iter().filter(|second| second.completed > 0);
    let points = ended.map(|second| (second.due as f64, second.e2el_sum_ms / second.completed as f64)).collect();
    let lines = vec![Line { name: "mean time to the end", points }];
    let chart = Chart { x: "requests due in a second", y: "ms", has_dots: true, lines };
    vec![("Latency against offered load, second by second", chart)]
}

fn over_time(seconds: &[Second]) -> Vec<(&'static str, Chart<'static>)> {
    let line = |name, value: &dyn Fn(&Second) -> f64| Line {
        name,
        points: thinned(seconds.iter().enumerate().map(|(index, second)| (index as f64, value(second))).collect()),
    };
    let requests = vec![
        line("due", &|second| second.due as f64),
        line("whole", &|second| second.completed as f64),
        line("failed", &|second| second.failed as f64),
        line("in flight", &|second| second.active as f64),
    ];
    let latency = |second: &Second| second.e2el_sum_ms / second.completed.max(1) as f64;
    vec![
        ("Requests", chart("seconds", "requests/s", requests)),
        ("Throughput", chart("seconds", "tokens/s", vec![line("output tokens", &|second| second.tokens as f64)])),
        ("Latency", chart("seconds", "ms", vec![line("mean time to the end", &latency)])),
    ]
}

fn of_server(samples: &[Sample]) -> Vec<(&'static str, Chart<'static>)> {
    let line = |name, value: fn(&Sample) -> Option<f64>| Line {
        name,
        points: thinned(samples.iter().filter_map(|sample| Some((sample.time, value(sample)?))).collect()),
    };
    let load = vec![line("queue", |sample| sample.queue), line("rows", |sample| sample.rows)];
    let pages = vec![line("pages in use", |sample| Some(sample.pages? * 100.0))];
    vec![
        ("The server's queue and rows", chart("seconds", "requests", load)),
        ("The server's pages", chart("seconds", "percent", pages)),
    ]
}

fn chart(x: &'static str, y: &'static str, lines: Vec<Line<'static>>) -> Chart<'static> {
    Chart { x, y, has_dots: false, lines }
}

/// At most [`MOST_POINTS`] points, each the mean of some neighbours.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let sum = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / points.len() as f64;
        (sum(|point| point.0), sum(|point| point.1))
    };
    points.chunks(stretch).map(mean).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Recorder;
    use crate::report::Step;
    use crate::scenario::Scenario;

    fn report(steps: Vec<Step>) -> Report {
        let mut figures = Recorder::default().figures();
        let mut second = Second::default();
        (second.due, second.completed, second.tokens) = (3, 2, 9);
        figures.seconds = vec![second; 1500];
        let sample = Sample { time: 1.0, queue: Some(4.0), rows: Some(2.0), pages: Some(0.5) };
        let misses = vec!["<b>".to_owned()];
        Report { model: "m&m".to_owned(), scenario: Scenario::default(), figures, steps, samples: vec![sample], misses }
    }

    #[test]
    fn the_page_has_every_chart_and_asks_for_nothing_else() {
        let page = html(&report(Vec::new())).unwrap();
        assert_eq!(page.matches("<svg").count(), 6, "{page}");
        assert!(page.contains("m&amp;m") && page.contains("&lt;b&gt;"));
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_sweep_shows_latency_and_throughput_against_offered_load() {
        let step = |rate| Step { rate, figures: Recorder::default().figures(), share: 1.0 };
        let page = html(&report(vec![step(4.0), step(2.0)])).unwrap();
        assert!(page.contains("Throughput against offered load") && page.contains("highest rate kept: 4.00"));
        assert_eq!(page.matches("<svg").count(), 7);
    }
}
