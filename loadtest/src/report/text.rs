//! The figures for people, as text.

use std::fmt::Write;

use super::Report;
use crate::measurement::Figures;

/// Names of the spreads for people, by their name in keys.
const NAMES: [(&str, &str); 5] = [
    ("ttft", "time to first token"),
    ("tpot", "time per output token"),
    ("itl", "time between pieces"),
    ("e2el", "time to the end"),
    ("send_lag", "late sending"),
];

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    if !report.steps.is_empty() {
        write_steps(&mut text, report);
    }
    write_figures(&mut text, &report.figures);
    for error in &report.figures.errors {
        put(&mut text, format!("{} x {}, first: {}", error.count, error.class, error.example));
    }
    text
}

fn put(text: &mut String, line: String) {
    writeln!(text, "{line}").expect("a string takes all");
}

fn write_steps(text: &mut String, report: &Report) {
    put(
        text,
        format!("{:>12} {:>12} {:>8} {:>14} {:>14}", "offered/s", "answered/s", "kept", "TTFT p99 ms", "end p99 ms"),
    );
    for step in &report.steps {
        let figures = &step.figures;
        let throughput = figures.value("request_throughput").unwrap_or_default();
        let (ttft, e2el) = (figures.ttft.percentile_ms(99.0), figures.e2el.percentile_ms(99.0));
        let share = step.share * 100.0;
        put(text, format!("{:>12.2} {throughput:>12.2} {share:>6.0} % {ttft:>14.2} {e2el:>14.2}", step.rate));
    }
    put(
        text,
        match report.highest_kept() {
            Some(rate) => format!("highest rate kept: {rate:.2} requests/s; its figures:"),
            None => "not even the first rate was kept; its figures:".to_owned(),
        },
    );
}

fn write_figures(text: &mut String, figures: &Figures) {
    let value = |key: &str| figures.value(key).unwrap_or_default();
    let counts = figures.counts;
    put(
        text,
        format!(
            "{} requests in {:.2} s: {} whole, {} failed, {} left",
            counts.ended, figures.duration, counts.completed, counts.failed, counts.left
        ),
    );
    put(
        text,
        format!(
            "{:.2} requests/s, {:.1} output tokens/s, {:.1} tokens/s in all",
            value("request_throughput"),
            value("output_throughput"),
            value("total_token_throughput")
        ),
    );
    if figures.has_limits {
        put(text, format!("{:.2} requests/s within the limits of goodput", value("request_goodput")));
    }
    let head = ["mean", "p50", "p90", "p95", "p99", "p99.9"].map(|name| format!("{name:>10}")).concat();
    put(text, format!("{:<24}{head}  ms", ""));
    for ((key, spread), (_, name)) in figures.spreads().into_iter().zip(NAMES) {
        debug_assert!(NAMES.iter().any(|(named, _)| *named == key));
        if spread.count() == 0 {
            continue;
        }
        let percentiles =
            [50.0, 90.0, 95.0, 99.0, 99.9].map(|percent| format!("{:>10.2}", spread.percentile_ms(percent)));
        put(text, format!("{name:<24}{:>10.2}{}", spread.mean_ms(), percentiles.concat()));
    }
}
