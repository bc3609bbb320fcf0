//! A line of a sweep's table: one arithmetic at one batch size.
//!
//! Filled by `sweep`; shown on the terminal, in the report and in its chart.

use super::figures::BenchFigures;

/// Names of the table's columns.
pub const COLUMNS: [&str; 7] =
    ["precision", "batch", "encode_ms", "step_ms", "floor_ms", "step over floor", "tokens/s"];

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRow {
    /// Name of the arithmetic.
    pub precision: &'static str,
    /// Name of the format in which the sources' keys and values are kept.
    pub cross_kv: &'static str,
    /// Measured figures.
    pub figures: BenchFigures,
}

impl SweepRow {
    /// Cells of the table's columns.
    pub fn cells(&self) -> Vec<String> {
        let BenchFigures { batch, encode_ms, step_ms, floor_ms, tokens_per_s, .. } = &self.figures;
        let mut cells = vec![self.precision.to_owned(), batch.to_string()];
        cells.extend([encode_ms, step_ms, floor_ms].map(|time| short(*time)));
        cells.extend([format!("{:.2}", step_ms / floor_ms), short(*tokens_per_s)]);
        cells
    }
}

/// Three significant digits, or all before the point: a repeated measurement may confirm so many.
fn short(value: f64) -> String {
    match value {
        ..0.0995 => format!("{value:.3}"),
        ..9.95 => format!("{value:.2}"),
        ..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.0871, 1.234, 9.949, 9.96, 45.67, 99.6, 1744.4].map(short);
        assert_eq!(texts, ["0.087", "1.23", "9.95", "10.0", "45.7", "100", "1744"]);
    }
}
