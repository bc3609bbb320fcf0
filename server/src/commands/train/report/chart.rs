//! A chart of lines over steps, as SVG in the colours of the page.
//!
//! Used by the page.

use std::fmt::Write;

use super::number::written;
use super::scale::{Growth, Scale};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Most points of a line: more cannot be told apart at the chart's width.
const MOST_POINTS: usize = 360;

/// A chart.
pub struct Chart<'a> {
    /// Its heading, with the unit.
    pub title: &'a str,
    /// Growth along its vertical axis.
    pub growth: Growth,
    /// Lines, the last on top.
    pub lines: Vec<Line<'a>>,
    /// Steps at which a stage begins.
    pub marks: &'a [u64],
}

/// A line.
pub struct Line<'a> {
    /// Its name in the legend.
    pub label: &'a str,
    /// Steps with their figures, in the order of steps.
    pub points: Vec<(u64, f64)>,
    /// Whether every point is a dot. In a line without dots, points beyond [`MOST_POINTS`] become means of neighbours.
    pub has_dots: bool,
}

impl Chart<'_> {
    /// The chart with its heading and legend; nothing when no line has a point.
    pub fn html(&self) -> String {
        let figures = || self.lines.iter().flat_map(|line| line.points.iter());
        // Every chart begins at step 1, so that steps of charts below each other are aligned.
        let steps = Scale::around(Growth::Linear, figures().map(|(step, _)| *step as f64).chain([1.0]));
        let values = Scale::around(self.growth, figures().map(|(_, value)| *value));
        let (Some(steps), Some(values)) = (steps, values) else { return String::new() };
        let area = Area { steps, values };

        let mut html = format!("<figure>\n<figcaption>{}", self.title);
        for (number, line) in self.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()) {
            write!(html, " <span class=\"key line{number}\">{}</span>", line.label).expect("a string takes all");
        }
        write!(
            html,
            "</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            self.title
        )
        .expect("a string takes all");
        area.draw_axes(&mut html);
        for mark in self.marks.iter().filter_map(|mark| area.x(*mark)) {
            writeln!(html, "<path class=\"mark\" d=\"M{mark:.1} {TOP}V{:.1}\"/>", HEIGHT - BOTTOM)
                .expect("a string takes all");
        }
        for (number, line) in self.lines.iter().enumerate() {
            area.draw(&mut html, number, line);
        }
        html.push_str("</svg>\n</figure>\n");
        html
    }
}

/// The rectangle between the axes.
struct Area {
    steps: Scale,
    values: Scale,
}

impl Area {
    fn x(&self, step: u64) -> Option<f64> {
        let share = self.steps.share(step as f64).filter(|share| (0.0..=1.0).contains(share))?;
        Some(LEFT + share * (WIDTH - LEFT - RIGHT))
    }

    fn y(&self, value: f64) -> Option<f64> {
        Some(HEIGHT - BOTTOM - self.values.share(value)? * (HEIGHT - TOP - BOTTOM))
    }

    fn draw_axes(&self, html: &mut String) {
        let mut put = |line: String| {
            html.push_str(&line);
            html.push('\n');
        };
        for value in self.values.ticks(5) {
            let Some(y) = self.y(value) else { continue };
            put(format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", WIDTH - RIGHT));
            put(format!(
                "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                written(value)
            ));
        }
        for step in self.steps.ticks(6).into_iter().filter(|step| step.fract() == 0.0 && *step >= 0.0) {
            let Some(x) = self.x(step as u64) else { continue };
            put(format!("<text class=\"step\" x=\"{x:.1}\" y=\"{:.1}\">{step}</text>", HEIGHT - 8.0));
        }
    }

    fn draw(&self, html: &mut String, number: usize, line: &Line<'_>) {
        let placed = |(step, value): (u64, f64)| Some((self.x(step)?, self.y(value)?, step, value));
        let points = if line.has_dots { line.points.clone() } else { thinned(&line.points, MOST_POINTS) };
        let points: Vec<_> = points.into_iter().filter_map(placed).collect();
        let mut path = String::new();
        for (index, (x, y, ..)) in points.iter().enumerate() {
            write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' }).expect("a string takes all");
        }
        writeln!(html, "<path class=\"line{number}\" d=\"{path}\"/>").expect("a string takes all");
        // A single point makes no line, so it is a dot.
        for (x, y, step, value) in points.iter().filter(|_| line.has_dots || points.len() == 1) {
            let said = format!("step {step}: {}", written(*value));
            writeln!(
                html,
                "<circle class=\"line{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{said}</title></circle>"
            )
            .expect("a string takes all");
        }
    }
}

/// At most `most` points, each the mean of some neighbours.
fn thinned(points: &[(u64, f64)], most: usize) -> Vec<(u64, f64)> {
    let stretch = points.len().div_ceil(most).max(1);
    let mean = |points: &[(u64, f64)]| {
        let figures: Vec<f64> = points.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
        (points[points.len() / 2].0, figures.iter().sum::<f64>() / figures.len() as f64)
    };
    points.chunks(stretch).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: Vec<(u64, f64)>, has_dots: bool) -> Line<'static> {
        Line { label: "training", points, has_dots }
    }

    fn chart(lines: Vec<Line<'static>>) -> String {
        Chart { title: "loss", growth: Growth::Linear, lines, marks: &[3] }.html()
    }

    #[test]
    fn each_line_is_a_path_and_each_dot_says_its_figure() {
        let html = chart(vec![line(vec![(1, 3.0), (2, 2.0), (5, 1.0)], false), line(vec![(5, 1.5)], true)]);
        assert!(html.contains("<path class=\"line0\" d=\"M56.0 10.0L"), "{html}");
        assert_eq!(html.matches("<circle").count(), 1, "{html}");
        assert!(html.contains("<title>step 5: 1.5</title>") && html.contains("class=\"mark\""), "{html}");
    }

    #[test]
    fn a_chart_without_a_point_is_nothing() {
        assert_eq!(chart(vec![line(Vec::new(), false)]), "");
        assert_eq!(chart(vec![line(vec![(1, f64::NAN)], false)]), "");
    }

    #[test]
    fn a_long_line_is_thinned_to_means_of_neighbours() {
        let points: Vec<(u64, f64)> = (0..1000).map(|step| (step, step as f64)).collect();
        let thin = thinned(&points, 100);
        assert_eq!(thin.len(), 100);
        assert_eq!(thin[0], (5, 4.5));
        assert_eq!(thinned(&points[..3], 100), points[..3]);
    }
}
