//! A chart of lines or dots as SVG. Its colours are legible on white and on black.

use plotters::prelude::*;

use crate::error::LoadtestError;

const SIZE: (u32, u32) = (760, 280);
const TEXT: RGBColor = RGBColor(118, 118, 118);
/// Colours of lines in their order.
const COLOURS: [RGBColor; 5] = [
    RGBColor(47, 129, 247),
    RGBColor(217, 115, 13),
    RGBColor(45, 150, 75),
    RGBColor(163, 113, 247),
    RGBColor(214, 73, 98),
];
/// Share of the vertical range that is left free above the highest point.
const HEADROOM: f64 = 1.1;

/// A chart.
pub struct Chart<'a> {
    /// Text of the horizontal axis.
    pub x: &'a str,
    /// Text of the vertical axis.
    pub y: &'a str,
    /// Whether points are dots without a line between them.
    pub has_dots: bool,
    /// Lines with their names.
    pub lines: Vec<Line<'a>>,
}

/// A line, or a set of dots.
pub struct Line<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// Points as x and y.
    pub points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    /// The chart as SVG; empty when there is no point.
    ///
    /// # Errors
    /// When the drawing library refuses.
    pub fn svg(&self) -> Result<String, LoadtestError> {
        let mut svg = String::new();
        if self.lines.iter().any(|line| !line.points.is_empty()) {
            self.draw(&mut svg).map_err(|error| LoadtestError::Chart { fault: error.to_string() })?;
        }
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most = |value: fn(&(f64, f64)) -> f64| points().map(value).fold(0.0, f64::max);
        let (right, top) = (most(|point| point.0), most(|point| point.1));
        // An axis has a length even where every point is 0.
        let end = |most: f64| if most > 0.0 { most * HEADROOM } else { 1.0 };
        let text = ("sans-serif", 14).into_font().color(&TEXT);
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end(right), 0.0..end(top))?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(text.clone())
            .axis_style(TEXT)
            .bold_line_style(TEXT.mix(0.25))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle().copied()) {
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            let drawn = if self.has_dots {
                chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?
            } else {
                let line = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
                chart.draw_series(line.point_size(2))?
            };
            drawn.label(line.name).legend(sample);
        }
        chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).label_font(text).draw()?;
        area.present()
    }
}
