//! The chart of a sweep: step time against batch size on logarithmic axes. Each precision has a line, and a dashed one
//! for its floor.
//!
//! Used by the report. The colours are legible on white and on black; the background is transparent.

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::row::SweepRow;
use crate::commands::error::CommandError;

const SIZE: (u32, u32) = (760, 440);
const TEXT: RGBColor = RGBColor(118, 118, 118);
/// Colours of the precisions in their order, repeated if there are more of them.
const COLOURS: [RGBColor; 6] = [
    RGBColor(217, 115, 13),
    RGBColor(47, 129, 247),
    RGBColor(45, 150, 75),
    RGBColor(163, 113, 247),
    RGBColor(214, 73, 98),
    RGBColor(18, 148, 160),
];
/// Steps within a power of ten at which an axis is labelled.
const TICKS: [f64; 3] = [1.0, 2.0, 5.0];
/// Factor by which the axes extend beyond their data.
const MARGIN: f64 = 1.15;

type PlotError = DrawingAreaErrorKind<std::io::Error>;

/// The points of one precision: `(batch, milliseconds)`.
struct Curve<'a> {
    name: &'a str,
    steps: Vec<(f64, f64)>,
    floors: Vec<(f64, f64)>,
    colour: RGBColor,
}

/// The chart as SVG.
///
/// # Errors
/// When the drawing library refuses.
pub fn step_time(rows: &[SweepRow]) -> Result<String, CommandError> {
    let mut svg = String::new();
    draw(&curves(rows), &mut svg).map_err(|source| CommandError::Chart { source })?;
    Ok(svg)
}

fn curves(rows: &[SweepRow]) -> Vec<Curve<'_>> {
    let by_precision = rows.chunk_by(|one, next| one.precision == next.precision);
    let curve = |(rows, &colour): (&[SweepRow], _)| {
        let points = |value: fn(&SweepRow) -> f64| {
            // The difference of two noisy times may be zero or negative, which has no logarithm.
            let points = rows.iter().map(|row| (row.figures.batch as f64, value(row))).filter(|point| point.1 > 0.0);
            let mut points: Vec<_> = points.collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            points
        };
        let (steps, floors) = (points(|row| row.figures.step_ms), points(|row| row.figures.floor_ms));
        Curve { name: rows.first().map_or("", |row| row.precision), steps, floors, colour }
    };
    by_precision.zip(COLOURS.iter().cycle()).map(curve).collect()
}

fn draw(curves: &[Curve<'_>], svg: &mut String) -> Result<(), PlotError> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let points = || curves.iter().flat_map(|curve| curve.steps.iter().chain(&curve.floors));
    let batches = range(points().map(|point| point.0));
    let times = range(points().map(|point| point.1));
    let mut batch_ticks: Vec<f64> = points().map(|point| point.0).collect();
    batch_ticks.sort_by(f64::total_cmp);
    batch_ticks.dedup();
    let (x, y) = (batches.log_scale().with_key_points(batch_ticks), times.clone().log_scale());
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y.with_key_points(ticks(times)))?;
    let text = ("sans-serif", 16).into_font().color(&TEXT);
    chart
        .configure_mesh()
        .x_desc("batch (sequences)")
        .y_desc("time of a step (ms)")
        .x_label_formatter(&|batch| batch.to_string())
        .y_label_formatter(&|time| time.to_string())
        .label_style(text.clone())
        .axis_style(TEXT)
        .bold_line_style(TEXT.mix(0.25))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for Curve { name, steps, floors, colour } in curves {
        let colour = *colour;
        let line = LineSeries::new(steps.iter().copied(), colour.filled().stroke_width(2)).point_size(3);
        let sample = move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(2));
        chart.draw_series(line)?.label(*name).legend(sample);
        chart.draw_series(DashedLineSeries::new(floors.clone(), 6, 5, colour.stroke_width(1)))?;
        // A floor of a single batch size is a point, and has no dashes.
        chart.draw_series(floors.iter().map(|&point| Circle::new(point, 3, colour.stroke_width(1))))?;
    }
    let floor_sample = |(x, y)| DashedPathElement::new([(x, y), (x + 22, y)], 6, 5, TEXT.stroke_width(1));
    chart.draw_series(DashedLineSeries::new(Vec::new(), 6, 5, TEXT.into()))?.label("floor").legend(floor_sample);
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(30)
        .label_font(text)
        .draw()?;
    area.present()
}

/// A range from a little below the least value to a little above the greatest.
fn range(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)));
    if least > most { 1.0..10.0 } else { least / MARGIN..most * MARGIN }
}

/// Round numbers inside a range.
fn ticks(range: std::ops::Range<f64>) -> Vec<f64> {
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    // Parsed, because 2 * 10^-1 by multiplication is not 0.2.
    let tick = |power| TICKS.map(|step| format!("{step}e{power}").parse().expect("digits and an exponent"));
    powers.flat_map(tick).filter(|tick| range.contains(tick)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::figures::BenchFigures;

    const NAMES: [&str; 4] = ["f32", "bf16", "int8", "int4"];
    const BATCHES: [usize; 4] = [1, 4, 32, 8];

    fn row(precision: &'static str, batch: usize, step_ms: f64, floor_ms: f64) -> SweepRow {
        let figures = BenchFigures { batch, step_ms, floor_ms, ..BenchFigures::default() };
        SweepRow { precision, cross_kv: "int8", figures }
    }

    fn rows() -> Vec<SweepRow> {
        let times = |index: usize, batch: usize| (40.0 / (index + 1) as f64 + batch as f64, 30.0 / (index + 1) as f64);
        let rows = NAMES.iter().enumerate().flat_map(|(index, name)| {
            BATCHES
                .map(|batch| (batch, times(index, batch)))
                .map(|(batch, (step, floor))| row(name, batch, step, floor))
        });
        rows.collect()
    }

    fn hexadecimal(colour: RGBColor) -> String {
        format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
    }

    fn polylines(svg: &str, colour: RGBColor) -> Vec<&str> {
        let colour = hexadecimal(colour);
        svg.split('<').filter(|part| part.starts_with("polyline") && part.contains(&colour)).collect()
    }

    fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
        element.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split('"').next()).unwrap()
    }

    fn points(polyline: &str) -> Vec<(f64, f64)> {
        let point = |text: &str| text.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap();
        attribute(polyline, "points").split_whitespace().map(point).collect()
    }

    #[test]
    fn every_precision_has_its_line_and_its_dashed_floor() {
        let svg = step_time(&rows()).unwrap();
        for (name, colour) in NAMES.into_iter().zip(COLOURS) {
            let lines = polylines(&svg, colour);
            let thick = |line: &&&str| attribute(line, "stroke-width") == "2";
            let measured: Vec<_> = lines.iter().filter(thick).map(|line| points(line)).collect();
            // The line and its sample in the legend.
            assert_eq!(measured.iter().map(Vec::len).collect::<Vec<_>>(), [BATCHES.len(), 2], "{name}");
            assert!(measured[0].is_sorted_by(|one, next| one.0 < next.0), "{name}: {measured:?}");
            assert!(measured[0].is_sorted_by(|one, next| one.1 > next.1), "{name}: larger batches take longer");
            assert!(lines.len() - 2 > 20, "{name}: {} dashes", lines.len() - 2);
            let circles = svg.split('<').filter(|part| part.starts_with("circle"));
            let own = circles.filter(|circle| circle.contains(&hexadecimal(colour))).count();
            assert_eq!(own, 2 * BATCHES.len(), "{name}: points of the line and of the floor");
            assert!(svg.contains(&format!("\n{name}\n")), "{name} is named");
        }
    }

    #[test]
    fn everything_is_inside_the_picture_and_the_axes_are_named() {
        for rows in [rows(), vec![row("bf16", 1, 0.09, 0.3)], vec![row("bf16", 2, 1e4, 3.0)], Vec::new()] {
            let svg = step_time(&rows).unwrap();
            let inside = |x: f64, y: f64| (0.0..=SIZE.0.into()).contains(&x) && (0.0..=SIZE.1.into()).contains(&y);
            for element in svg.split('<').filter(|part| part.starts_with("polyline")) {
                assert!(points(element).iter().all(|&(x, y)| inside(x, y)), "{element}");
            }
            for element in svg.split('<').filter(|part| part.starts_with("circle")) {
                let [x, y] = ["cx", "cy"].map(|name| attribute(element, name).parse().unwrap());
                assert!(inside(x, y), "{element}");
            }
            assert!(svg.contains("batch (sequences)") && svg.contains("time of a step (ms)"));
        }
    }

    #[test]
    fn nothing_depends_on_the_colour_of_the_page() {
        let svg = step_time(&rows()).unwrap();
        for colour in ["#000000", "#FFFFFF"] {
            assert!(!svg.contains(colour), "{colour} is lost on one of the two themes");
        }
        let luminance = |colour: RGBColor| {
            let linear = |value: u8| ((f64::from(value) / 255.0 + 0.055) / 1.055).powf(2.4);
            0.2126 * linear(colour.0) + 0.7152 * linear(colour.1) + 0.0722 * linear(colour.2)
        };
        for colour in COLOURS.into_iter().chain([TEXT]) {
            let (on_white, on_black) = (1.05 / (luminance(colour) + 0.05), (luminance(colour) + 0.05) / 0.05);
            assert!(on_white > 3.0 && on_black > 3.0, "{colour:?}: contrast {on_white:.1} and {on_black:.1}");
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(0.15..6.0), [0.2, 0.5, 1.0, 2.0, 5.0]);
        assert_eq!(ticks(9.0..60.0), [10.0, 20.0, 50.0]);
    }
}
